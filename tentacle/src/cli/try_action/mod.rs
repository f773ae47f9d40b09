//! `tentacle try`: one action here, without a server, as a supervisor carries it out.
//!
//! What holds here: the action runs in the same process, by the same code and with the same masks as
//! in a deployment; nothing of an agent on this machine is touched or needed; what only a server can
//! do is refused before anything starts.

mod file;
mod show;
mod variables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use mantle_shared::order::{ORDER_FORMAT, Order, OrderVariable, OutputLimits};
use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::{AttemptId, TaskId};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use uuid::Uuid;

use self::file::ActionFile;
use self::show::Screen;
use super::{EXIT_CANCELLED, EXIT_FAILED, EXIT_INTERNAL, Failure};
use crate::durable;
use crate::process;
use crate::state_dir::StateDir;
use crate::supervisor::files::{self, CancelFile};
use crate::supervisor::handover;

/// How often new output is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Which action, and with what.
#[derive(Debug, Args)]
pub(super) struct TryArgs {
    /// A YAML file of one action, as it stands in a process: `uses`, `with`, `timeout`, `grace`.
    action: PathBuf,
    /// A JSON file of the variables: an object of names and values, or a list of
    /// `{"name": ..., "value": ..., "sensitive": true}`.
    #[arg(long, value_name = "FILE.json")]
    variables: Option<PathBuf>,
    /// A variable of the file that is a secret: it is masked. May be given more than once.
    #[arg(long, value_name = "NAME")]
    sensitive: Vec<String>,
    /// Shows details too.
    #[arg(long)]
    verbose: bool,
    /// Leaves the folder in which it ran, and says where it is.
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &TryArgs) -> Result<(), Failure> {
    let action = ActionFile::read(&args.action)?;
    let variables = match &args.variables {
        Some(path) => variables::read(path, &args.sensitive)?,
        None => variables::none(&args.sensitive)?,
    };
    let mut place = Place::make()?;
    let order = order(&action, variables);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(EXIT_INTERNAL, format!("no event loop: {error}")))?;
    let end = runtime.block_on(carry_out(&place, &order, args.verbose));
    if args.keep {
        show::say(&format!("its folder is {}", place.folder.display()));
        place.kept = true;
    }
    conclude(&end?)
}

/// A folder that is an agent's for as long as one action runs.
struct Place {
    folder: PathBuf,
    state_dir: StateDir,
    /// Somebody wants to look into it.
    kept: bool,
}

impl Place {
    fn make() -> Result<Self, Failure> {
        let name = format!("tentacle-try-{}", Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(name);
        let state_dir = StateDir::at(&folder);
        let made = durable::create_private_folder(&folder).map_err(|error| {
            let why = format!(
                "{}: {error}; name another folder with TMPDIR",
                folder.display()
            );
            Failure::new(EXIT_INTERNAL, why)
        });
        // From here on it is removed, whatever comes.
        let place = Self {
            folder,
            state_dir,
            kept: false,
        };
        made?;
        place
            .state_dir
            .create()
            .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            // What a process that was left behind still holds is the system's to clear away.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The order that a server would have sent.
fn order(action: &ActionFile, variables: Vec<OrderVariable>) -> Order {
    let here = host_name();
    let name = action.name.clone();
    let mut order = Order {
        format: ORDER_FORMAT,
        attempt: AttemptId::from_uuid(Uuid::now_v7()),
        task: TaskId::from_uuid(Uuid::now_v7()),
        task_number: "T-0".to_owned(),
        project: "try".to_owned(),
        environment: "try".to_owned(),
        release: "0.0.0".to_owned(),
        step: name.clone(),
        action: name,
        subject: here.clone(),
        executor: here,
        uses: action.uses.clone(),
        with: action.with.clone(),
        variables,
        withheld: Vec::new(),
        packages: Vec::new(),
        timeout_ms: action.timeout_ms,
        grace_ms: action.grace_ms,
        // What is sealed here nobody opens.
        seal_key: STANDARD.encode(rand::random::<[u8; 32]>()),
        output: OutputLimits::default(),
        locks: Vec::new(),
        despite: Vec::new(),
    };
    for (name, value) in [
        ("Octopus.Action.Name", order.action.clone()),
        ("Octopus.Step.Name", order.step.clone()),
        ("Octopus.Machine.Name", order.subject.clone()),
        ("Octopus.Environment.Name", order.environment.clone()),
        ("Octopus.Project.Name", order.project.clone()),
        ("Octopus.Release.Number", order.release.clone()),
    ] {
        let known = |own: &OrderVariable| mantle_template::same_name(&own.name, name);
        if !order.variables.iter().any(known) {
            order.variables.push(OrderVariable {
                name: name.to_owned(),
                value,
                sensitive: false,
                exported: true,
            });
        }
    }
    order
}

fn host_name() -> String {
    let name = ["HOSTNAME", "COMPUTERNAME"].map(std::env::var);
    name.into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Starts the supervisor, shows what it says, and hands on a Ctrl-C.
async fn carry_out(place: &Place, order: &Order, verbose: bool) -> Result<AttemptEnd, Failure> {
    let dir = place.state_dir.attempt(order.attempt);
    let internal = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(EXIT_INTERNAL, format!("{what}: {error}"))
    };
    files::prepare(&dir).map_err(|error| internal("the folder of the attempt", &error))?;
    let mut child =
        start(place, &dir).map_err(|error| internal("the supervisor did not start", &error))?;
    let bytes = serde_json::to_vec(order).map_err(|error| internal("the order", &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Should it not take the order, its end says why.
        let _ = stdin.write_all(&handover::frame(&bytes)).await;
    }
    let mut screen = Screen::new(&dir, verbose);
    let mut look = tokio::time::interval(LOOK);
    let mut stopping = false;
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    let code = loop {
        tokio::select! {
            ended = child.wait() => break ended.ok().and_then(|status| status.code()),
            _ = look.tick() => screen.show(),
            () = &mut interrupted, if !stopping => {
                stopping = true;
                show::say("stopping it; what does not end by itself is killed");
                cancel(&dir, order).map_err(|error| internal("the cancel", &error))?;
            }
        }
    };
    screen.show();
    let read = files::read_result(&dir, order.attempt);
    let read = read.map_err(|error| internal("the result", &error))?;
    read.ok_or_else(|| {
        let said = fs::read_to_string(dir.join(files::SUPERVISOR_LOG)).unwrap_or_default();
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        Failure::new(
            EXIT_INTERNAL,
            format!("the supervisor ended with {code} and left no result; {said}"),
        )
    })
}

/// Somebody wants it to end: Ctrl-C, or the terminal is gone. The supervisor does not hear of it by
/// itself, since it has a session of its own.
#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Somebody wants it to end.
#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

fn start(place: &Place, dir: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(process::own_program());
    command
        .arg("exec-attempt")
        .arg("--data")
        .arg(place.state_dir.root())
        .arg("--dir")
        .arg(dir)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join(files::SUPERVISOR_LOG))?);
    process::spawn_detached(command)
}

fn cancel(dir: &Path, order: &Order) -> std::io::Result<()> {
    let grace_ms = u32::try_from(order.grace_ms).unwrap_or(u32::MAX);
    files::write_cancel(dir, CancelFile { grace_ms })
}

/// The last word, and the exit code.
fn conclude(end: &AttemptEnd) -> Result<(), Failure> {
    let code = match end.outcome {
        Outcome::Succeeded => {
            let took_us = end.ended_at_us.saturating_sub(end.started_at_us).max(0);
            let took = Duration::from_micros(took_us.unsigned_abs());
            let took = format!("succeeded in {:.1} s", took.as_secs_f64());
            show::say(&match end.message.as_str() {
                "" => took,
                message => format!("{took}: {message}"),
            });
            return Ok(());
        }
        Outcome::Cancelled => EXIT_CANCELLED,
        Outcome::NotStarted => EXIT_INTERNAL,
        Outcome::Failed
        | Outcome::TimedOut
        | Outcome::Interrupted
        | Outcome::Unknown
        | Outcome::Abandoned => EXIT_FAILED,
    };
    Err(Failure::new(code, end.message.clone()))
}
