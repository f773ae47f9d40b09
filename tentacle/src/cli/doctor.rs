//! `tentacle doctor`: what of this machine would make steps fail.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{EXIT_INTERNAL, Failure, Output, print, print_json};
use crate::actions::Shell;
use crate::connection::{self, Sockets, Timing};
use crate::driver::{Connection, Status, inspect};
use crate::durable;
use crate::identity::{Identity, IdentityError};
use crate::output::recorder::now_us;
use crate::process;
use crate::rights as access;
use crate::settings;
use crate::state_dir::StateDir;

/// Less room than this makes a common package fail.
const LITTLE_ROOM_BYTES: u64 = 512 * 1024 * 1024;
/// A clock that is this far off makes logs misleading, and certificates at last invalid.
const CLOCK_APART_US: u64 = 60 * 1_000_000;
/// 2024-01-01; a clock before it was never set.
const EARLIEST_UNIX_SECONDS: u64 = 1_704_067_200;

/// One day.
const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// How to print.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Good,
    Note,
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    what: String,
    verdict: Verdict,
    detail: String,
}

fn check(what: &str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check {
        what: what.to_owned(),
        verdict,
        detail: detail.into(),
    }
}

pub(super) fn run(args: &DoctorArgs, state_dir: &StateDir) -> Result<(), Failure> {
    // To look must change nothing on a machine that is no agent.
    let folders = [
        state_dir.identity(),
        state_dir.journal(),
        state_dir.attempts(),
        state_dir.cache(),
    ];
    let missing = durable::missing(folders.iter().map(PathBuf::as_path));
    let mut checks = vec![
        // Before the folders are made, which makes some of them private.
        privacy(state_dir),
        rights(state_dir),
        journal(state_dir),
        applications(state_dir),
        disk(state_dir),
        clock(state_dir),
        processes(),
    ];
    checks.extend(server(state_dir));
    durable::remove_empty(&missing);
    checks.extend(Shell::ALL.into_iter().map(shell));
    match args.output {
        Output::Json => print_json(&json!({"schema": "tentacle.cli/v1", "checks": checks})),
        Output::Table => {
            for check in &checks {
                let mark = match check.verdict {
                    Verdict::Good => "\u{2714}",
                    Verdict::Note => "-",
                    Verdict::Bad => "\u{2718}",
                };
                print(&format!("{mark} {:<18} {}", check.what, check.detail));
            }
        }
    }
    let bad = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Bad)
        .count();
    if bad > 0 {
        return Err(Failure::new(
            EXIT_INTERNAL,
            format!("{bad} of {} checks failed", checks.len()),
        ));
    }
    Ok(())
}

/// Whether the server can be reached and is the one that this agent trusts. Nothing is said to it:
/// a second work connection would put the running agent's off.
fn server(state_dir: &StateDir) -> Vec<Check> {
    let identity = match Identity::load(state_dir.root()) {
        Ok(identity) => identity,
        Err(error) => {
            let verdict = match error {
                IdentityError::NotJoined { .. } => Verdict::Note,
                _ => Verdict::Bad,
            };
            let why = Failure::from_error(EXIT_INTERNAL, &error).message;
            return vec![check("identity", verdict, why)];
        }
    };
    let mut checks = vec![certificate(&identity)];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return checks;
    };
    let (pin, timing) = (identity.authority_fingerprint(), Timing::from_environment());
    for address in &identity.servers {
        let Ok(parsed) = address.parse() else {
            checks.push(check(
                "server",
                Verdict::Bad,
                format!("'{address}' is no address"),
            ));
            continue;
        };
        let sockets = Sockets::own();
        let probe = connection::probe_enrolment(&parsed, pin, &timing, &sockets);
        checks.push(match runtime.block_on(probe) {
            Ok(dialled) => {
                let peer = dialled.connection.remote_address();
                let time = dialled.connection.rtt().as_secs_f64() * 1000.0;
                let found = format!(
                    "{address} ({peer}) answers over QUIC in {time:.1} ms, authority {pin}"
                );
                check("server", Verdict::Good, found)
            }
            Err(error) => {
                let why = Failure::from_error(EXIT_INTERNAL, &error).message;
                check("server", Verdict::Bad, why)
            }
        });
    }
    checks
}

fn certificate(identity: &Identity) -> Check {
    let left_us = identity.not_after_us - now_us();
    let until = jiff::Timestamp::from_microsecond(identity.not_after_us).unwrap_or_default();
    if left_us <= 0 {
        let detail = format!(
            "it ended at {until:.0}; a server that still renews it does so when the agent connects, otherwise join again with 'tentacle join --force'"
        );
        return check("certificate", Verdict::Bad, detail);
    }
    let detail = format!(
        "'{}', agent {}, until {until:.0} ({} days); it is renewed at half of its life",
        identity.name,
        identity.agent,
        left_us / DAY_US
    );
    check("certificate", Verdict::Good, detail)
}

/// Whether others can get at what the agent goes by, so that it would not start.
fn privacy(state_dir: &StateDir) -> Check {
    let what = "privacy";
    match access::check(state_dir) {
        Ok(()) => check(
            what,
            Verdict::Good,
            "settings, keys and journal are for the agent's user alone",
        ),
        Err(weak) => check(what, Verdict::Bad, weak.to_string()),
    }
}

fn rights(state_dir: &StateDir) -> Check {
    let what = "state directory";
    let path = state_dir
        .root()
        .join(format!("doctor.{}", std::process::id()));
    let tried = state_dir
        .create()
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error).message)
        .and_then(|()| durable::write_private(&path, b"x").map_err(|error| error.to_string()));
    // Nothing was written if the try failed.
    let _ = std::fs::remove_file(&path);
    match tried {
        Ok(()) => check(
            what,
            Verdict::Good,
            format!("{} can be written", state_dir.root().display()),
        ),
        Err(error) => check(what, Verdict::Bad, error),
    }
}

/// Whether the journal says what ran here: an agent does not start by one that is damaged.
fn journal(state_dir: &StateDir) -> Check {
    let what = "journal";
    match inspect(state_dir) {
        Ok(Some(attempts)) => {
            let detail = format!("it is whole, and remembers {attempts} attempts");
            check(what, Verdict::Good, detail)
        }
        Ok(None) => check(what, Verdict::Note, "there is none yet: no agent has run"),
        Err(error) => {
            let why = Failure::from_error(EXIT_INTERNAL, &error).message;
            check(what, Verdict::Bad, why)
        }
    }
}

/// Where installed versions are, and whether what serves them can read them.
fn applications(state_dir: &StateDir) -> Check {
    let what = "applications";
    match settings::apps(state_dir) {
        Ok(apps) => {
            let path = apps.path.display();
            match closed_to_others(&apps.path) {
                Some(closed) => check(
                    what,
                    Verdict::Note,
                    format!(
                        "{path}; other users cannot enter {}: what serves installed versions must run as the agent's user, or type 'tentacle run --apps DIR'",
                        closed.display()
                    ),
                ),
                None => check(what, Verdict::Good, format!("{path}, readable by others")),
            }
        }
        Err(error) => {
            let why = Failure::from_error(EXIT_INTERNAL, &error).message;
            check(what, Verdict::Bad, why)
        }
    }
}

/// The first folder on the way that others may not enter; what is not there yet will be open.
#[cfg(unix)]
fn closed_to_others(path: &Path) -> Option<&Path> {
    use std::os::unix::fs::PermissionsExt as _;
    path.ancestors().find(|folder| {
        std::fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 == 0)
    })
}

/// Windows decides by access lists, which are the administrator's.
#[cfg(not(unix))]
fn closed_to_others(_path: &Path) -> Option<&Path> {
    None
}

fn disk(state_dir: &StateDir) -> Check {
    let what = "disk";
    match process::free_bytes(state_dir.root()) {
        Some(free) if free < LITTLE_ROOM_BYTES => {
            let detail = format!(
                "only {} MiB free: packages may not fit; free some room",
                free >> 20
            );
            check(what, Verdict::Bad, detail)
        }
        Some(free) => check(what, Verdict::Good, format!("{} MiB free", free >> 20)),
        None => check(what, Verdict::Note, "the room that is left cannot be told"),
    }
}

fn clock(state_dir: &StateDir) -> Check {
    let what = "clock";
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    if now < EARLIEST_UNIX_SECONDS {
        return check(
            what,
            Verdict::Bad,
            "the clock was never set; set it, or run an NTP client",
        );
    }
    match Status::read(&state_dir.status_file()) {
        Ok(Some(Status {
            connection: Connection::Connected { clock_ahead_us, .. },
            ..
        })) => {
            let apart = clock_ahead_us.unsigned_abs();
            let detail = format!("{} ms from the server's", apart / 1000);
            let verdict = if apart > CLOCK_APART_US {
                Verdict::Bad
            } else {
                Verdict::Good
            };
            check(what, verdict, detail)
        }
        _ => check(
            what,
            Verdict::Note,
            "not compared: the agent is not connected",
        ),
    }
}

fn processes() -> Check {
    let own = process::own_identity();
    if own.start_time == 0 || own.boot_id.is_empty() {
        return check(
            "processes",
            Verdict::Bad,
            "start times cannot be read (is /proc mounted?): running steps could not be found again",
        );
    }
    check(
        "processes",
        Verdict::Good,
        "running steps can be found again after a restart",
    )
}

fn shell(shell: Shell) -> Check {
    let what = format!("shell {shell}");
    match shell.find() {
        Some(path) => check(&what, Verdict::Good, path.display().to_string()),
        None => check(
            &what,
            Verdict::Note,
            "not found; scripts that name it will fail here",
        ),
    }
}
