//! `tentacle run`: the agent itself, in the foreground.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::{EXIT_INTERNAL, EXIT_INVALID, EXIT_NOT_FOUND, EXIT_USAGE, Failure};
use crate::actions;
use crate::artifacts::Artifacts;
use crate::cache::{Acquirer, Cache};
use crate::connection::{self, Settings, Sockets, Timing};
use crate::driver::{Driver, DriverConfig, OpenDriverError};
use crate::identity::{Identities, IdentityError};
use crate::journal::OpenError;
use crate::link::link;
use crate::process::STOP_AT_EOF;
use crate::rights;
use crate::service::Manager;
use crate::settings::{self, Origin, SettingsError};
use crate::state_dir::{StateDir, StateDirError, StateLock};

/// Threads for what may block, such as reading a long spool; each costs memory while it idles. On
/// Windows a supervisor's pipes take two of them.
const BLOCKING_THREADS: usize = if cfg!(windows) { 160 } else { 4 };
/// How long the end of the connection may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(4);
/// How often, and how far apart, the lock is tried before somebody else is running.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What `tentacle run` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// The root of installed versions; kept, so that it need be said once only.
    #[arg(long, value_name = "DIR", env = "TENTACLE_APPS")]
    apps: Option<PathBuf>,
    /// The most that is kept of what one attempt prints, such as 512MiB, where the server allows more. What is
    /// beyond it is counted; its last lines are kept.
    #[arg(long, value_name = "SIZE", env = "TENTACLE_OUTPUT_CAP", value_parser = size)]
    output_cap: Option<u64>,
    /// The service as which the service control manager starts it; for that alone.
    #[cfg(windows)]
    #[arg(long, value_name = "NAME", hide = true)]
    service: Option<String>,
}

/// What the agent runs under.
pub(super) trait Host {
    /// Resolves when the agent is to stop. Asked for within the runtime.
    fn stop(&mut self) -> Result<impl Future<Output = ()> + 'static, Failure>;
    /// The agent works.
    fn ready(&mut self);
}

/// Whoever typed the command, or a service manager that takes the agent for an ordinary program.
struct Foreground;

impl Host for Foreground {
    fn stop(&mut self) -> Result<impl Future<Output = ()> + 'static, Failure> {
        let (stop, eof) = (stop_signals()?, end_of_input()?);
        Ok(async move {
            tokio::select! {
                () = stop => {}
                () = eof => tracing::info!("whoever started the agent is gone"),
            }
        })
    }

    fn ready(&mut self) {}
}

/// The least that makes sense: a screen of text and the end of it.
const LEAST_OUTPUT_CAP: u64 = 64 * 1024;

/// Reads a size such as `512MiB`, `4GiB` or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write it like 512MiB or 4GiB".to_owned()),
    };
    let count: u64 = digits
        .parse()
        .map_err(|_| "write it like 512MiB or 4GiB".to_owned())?;
    match count.checked_mul(unit) {
        Some(bytes) if bytes >= LEAST_OUTPUT_CAP => Ok(bytes),
        Some(_) => Err("it is less than 64KiB, which no step can do with".to_owned()),
        None => Err("it is more than any disk has".to_owned()),
    }
}

pub(super) fn run(args: &RunArgs, state_dir: &StateDir) -> Result<(), Failure> {
    #[cfg(windows)]
    if let Some(name) = &args.service {
        return super::run_service::run(name, args, state_dir);
    }
    log();
    agent(args, state_dir, Foreground)
}

/// Runs the agent until its host wants it to stop.
pub(super) fn agent(args: &RunArgs, state_dir: &StateDir, host: impl Host) -> Result<(), Failure> {
    rights::check(state_dir).map_err(|error| Failure::from_error(EXIT_INVALID, &error))?;
    let identities = Identities::load(state_dir.root()).map_err(|error| {
        let code = match &error {
            IdentityError::NotJoined { .. } => EXIT_NOT_FOUND,
            _ => EXIT_INVALID,
        };
        Failure::from_error(code, &error)
    })?;
    let fail = |error: &dyn std::error::Error| Failure::from_error(EXIT_INTERNAL, error);
    state_dir.create().map_err(|error| fail(&error))?;
    let _lock = lock(state_dir).map_err(|error| fail(&error))?;
    let state_dir = &settled(args, state_dir)?;
    let cache = Cache::at(state_dir.cache());
    cache.prepare().map_err(|error| fail(&error))?;
    actions::complete_switches(&state_dir.apps());
    let settings = Settings {
        identities,
        timing: Timing::from_environment(),
        sockets: Sockets::own(),
        acquirer: Arc::new(Acquirer::new(cache, state_dir.apps())),
        artifacts: Artifacts::at(state_dir),
    };
    // One thread for everything: an agent idles nearly always, and memory counts on every target.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| fail(&error))?;
    let done = runtime.block_on(work(state_dir, settings, args.output_cap, host));
    // Whatever still reads a spool is of no use to anybody.
    runtime.shutdown_background();
    done
}

/// The state directory with the root of installed versions, which is made and kept.
fn settled(args: &RunArgs, state_dir: &StateDir) -> Result<StateDir, Failure> {
    let apps = settings::settle(state_dir, args.apps.as_deref())
        .and_then(|apps| settings::create(&apps.path).map(|()| apps))
        .map_err(|error| {
            let code = match &error {
                SettingsError::OwnFolder { .. } => EXIT_USAGE,
                SettingsError::Damaged { .. } => EXIT_INVALID,
                SettingsError::Io { .. } | SettingsError::Create { .. } => EXIT_INTERNAL,
            };
            Failure::from_error(code, &error)
        })?;
    if apps.origin == Origin::InUse {
        tracing::info!(
            apps = %apps.path.display(),
            "installed versions stay in the data directory, where this agent has some already, and where only its user can read them; 'tentacle run --apps DIR' lets the next ones go elsewhere"
        );
    }
    Ok(state_dir.clone().with_apps(apps.path))
}

/// `tentacle status` holds the lock for an instant while it looks whether somebody has it.
fn lock(state_dir: &StateDir) -> Result<StateLock, StateDirError> {
    for _ in 0..LOCK_TRIES {
        match state_dir.lock() {
            Err(StateDirError::InUse { .. }) => std::thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    state_dir.lock()
}

async fn work(
    state_dir: &StateDir,
    settings: Settings,
    output_cap: Option<u64>,
    mut host: impl Host,
) -> Result<(), Failure> {
    let config = DriverConfig {
        output_cap,
        authority: Some(settings.identities.shown().authority_fingerprint()),
        ..DriverConfig::new(state_dir.clone())
    };
    let driver = Driver::open(config).map_err(|error| {
        let code = match &error {
            OpenDriverError::Journal {
                source: OpenError::Format { .. },
                ..
            }
            | OpenDriverError::Damaged { .. }
            | OpenDriverError::Contradicts { .. }
            | OpenDriverError::Illegal(_) => EXIT_INVALID,
            OpenDriverError::Journal { .. }
            | OpenDriverError::Mark { .. }
            | OpenDriverError::Attempts { .. }
            | OpenDriverError::Begin(_) => EXIT_INTERNAL,
        };
        Failure::from_error(code, &error)
    })?;
    let driver = driver.with_manager(Manager::from_environment());
    let stop = host.stop()?;
    let (link, peer) = link(driver.facts());
    tracing::info!(
        agent.name = settings.identities.shown().name,
        version = env!("CARGO_PKG_VERSION"),
        "the agent runs"
    );
    host.ready();
    let mut connection = tokio::spawn(connection::run(settings, peer));
    driver.run(link, stop).await;
    // With the driver gone the connection says goodbye by itself, so that the server need not wait
    // for silence to know.
    if tokio::time::timeout(GOODBYE_TIMEOUT, &mut connection)
        .await
        .is_err()
    {
        connection.abort();
    }
    tracing::info!("the agent stopped; running steps go on");
    Ok(())
}

/// Logs go to standard error; `TENTACLE_LOG` says how much.
fn log() {
    // Fails only if a test has set one up before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

/// How much is logged.
pub(super) fn log_filter() -> EnvFilter {
    EnvFilter::try_from_env("TENTACLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Resolves when standard input ends, if whoever started the agent has said that it is to go with them.
/// The system closes the other end however they die.
fn end_of_input() -> Result<impl Future<Output = ()>, Failure> {
    let (ended, end) = oneshot::channel::<()>();
    let wanted = std::env::var_os(STOP_AT_EOF).is_some_and(|value| value == "1");
    // A thread of its own: a read from a pipe cannot be given up on every platform.
    let reader = wanted.then(|| {
        std::thread::Builder::new()
            .name("input".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                // What comes means nothing, and an error is an end too.
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                drop(ended);
            })
    });
    reader
        .transpose()
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?;
    Ok(async move {
        if wanted {
            // It is never sent, only dropped.
            let _ = end.await;
        } else {
            std::future::pending::<()>().await;
        }
    })
}

/// Resolves when the service manager or a person wants the agent to stop.
#[cfg(unix)]
fn stop_signals() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::from_error(EXIT_INTERNAL, &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the service manager or a person wants the agent to stop.
#[cfg(windows)]
fn stop_signals() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_shutdown};
    let failed = |error: std::io::Error| Failure::from_error(EXIT_INTERNAL, &error);
    let mut interrupt = ctrl_c().map_err(failed)?;
    let mut brk = ctrl_break().map_err(failed)?;
    let mut shutdown = ctrl_shutdown().map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = brk.recv() => {}
            _ = shutdown.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("65536", 65_536), ("512MiB", 512 << 20), ("4GiB", 4 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "4 GiB", "4GB", "1KiB", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
