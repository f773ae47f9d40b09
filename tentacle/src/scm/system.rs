//! What else of Windows a service needs: the event log, and who may use its folder. Both by what Windows
//! brings along, for neither has a form that is safe to call.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use windows_registry::LOCAL_MACHINE;

use super::ScmError;

/// The event log of applications.
const EVENT_LOG: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
/// It holds a message for each number up to 1000 that is nothing but the text itself, and is there on every
/// Windows.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// Errors, warnings and information.
const ALL_TYPES: u32 = 7;
/// A large cache takes a while.
const LIMIT: Duration = Duration::from_mins(5);
/// The well-known accounts that may use the agent's folder, whatever the machine calls them:
/// the system, and administrators.
const SYSTEM: &str = "*S-1-5-18";
const ADMINISTRATORS: &str = "*S-1-5-32-544";

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It went as it should.
    Information,
    /// It did not.
    Error,
}

/// Makes this name known to the event log, so that what it says there is shown as text.
pub fn register_source(source: &str) -> Result<(), ScmError> {
    let key = LOCAL_MACHINE.create(format!(r"{EVENT_LOG}\{source}"));
    key.and_then(|key| {
        key.set_expand_string("EventMessageFile", MESSAGES)?;
        key.set_u32("TypesSupported", ALL_TYPES)?;
        // Without it, `eventcreate` takes the name for that of a program which it may not speak for.
        key.set_u32("CustomSource", 1)
    })
    .map_err(|error| registry(&error, source))
}

/// Takes the name away again. Gives whether it was there.
pub fn remove_source(source: &str) -> Result<bool, ScmError> {
    if !has_source(source) {
        return Ok(false);
    }
    let log = LOCAL_MACHINE.options().read().write().open(EVENT_LOG);
    log.and_then(|log| log.remove_tree(source))
        .map(|()| true)
        .map_err(|error| registry(&error, source))
}

/// Whether the event log knows the name.
pub fn has_source(source: &str) -> bool {
    LOCAL_MACHINE.open(format!(r"{EVENT_LOG}\{source}")).is_ok()
}

fn registry(error: &dyn std::fmt::Display, source: &str) -> ScmError {
    ScmError::Program {
        program: format!(r"the registry's HKLM\{EVENT_LOG}\{source}"),
        text: error.to_string(),
    }
}

/// Writes into the event log. Nobody waits for it: the agent's own log has the same, and a system
/// without the program has no such log.
pub fn tell_event_log(source: &str, severity: Severity, text: &str) {
    let (kind, id) = match severity {
        Severity::Information => ("INFORMATION", "1"),
        Severity::Error => ("ERROR", "2"),
    };
    // What is longer is refused.
    let text: String = text.chars().take(8_000).collect();
    let words = [
        "/L",
        "APPLICATION",
        "/T",
        kind,
        "/SO",
        source,
        "/ID",
        id,
        "/D",
        &text,
    ];
    let spawned = command("eventcreate.exe").args(words).spawn();
    if let Err(error) = spawned
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the event log cannot be written");
    }
}

/// Closes a folder and all in it to everybody but the system and administrators.
pub fn close_folder(folder: &Path) -> Result<(), ScmError> {
    let folder = folder.to_string_lossy();
    let full = |who: &str| format!("{who}:(OI)(CI)F");
    let (system, administrators) = (full(SYSTEM), full(ADMINISTRATORS));
    let words = [
        &*folder,
        "/inheritance:r",
        "/grant:r",
        &system,
        &administrators,
        "/Q",
    ];
    let refused = |text: String| ScmError::Program {
        program: format!("icacls {}", words.join(" ")),
        text,
    };
    let output = run("icacls.exe", &words).map_err(|error| refused(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    });
    Err(refused(said.trim().to_owned()))
}

fn run(program: &str, words: &[&str]) -> io::Result<Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut command = tokio::process::Command::from(command(program));
        let output = command
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(LIMIT, output)
            .await
            .unwrap_or_else(|_| {
                let text = format!("no answer within {} s", LIMIT.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            })
    })
}

/// A program of Windows itself, wherever the path of programs leads.
fn command(program: &str) -> Command {
    let root = std::env::var_os("SystemRoot").map_or_else(|| r"C:\Windows".into(), PathBuf::from);
    let mut command = Command::new(root.join("System32").join(program));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
