//! `mantle server`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use mantle_domain::upkeep::{Keep, UpkeepRules};
use tracing_subscriber::EnvFilter;

use super::args::{Global, duration, keep, size};
use super::connect::default_data_dir;
use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, line_out, with_schema};
use super::{server_care, server_doctor};
use crate::api::error_chain;
use crate::app::server_file::ServerFile;
use crate::app::{AgentCertificates, App, ServerOptions, StartError, TlsFiles};
use crate::gateway::{PushRate, PushRates};
use crate::security::Secret;
use crate::store::MAX_RUNNING;

/// What to do with the server.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server in the foreground, with --data as its directory
    Run(Box<RunArgs>),
    /// Write a backup of the server in --data to one file; it may be running
    Backup(server_care::BackupArgs),
    /// Make the data directory --data from a backup
    Restore(server_care::RestoreArgs),
    /// Take a restored server into use: its agents obey it from then on
    Recover(server_care::RecoverArgs),
    /// Show how the server stands: restored, ahead of it, missing
    Status,
    /// Look for what keeps agents and people from the server of this machine, or its data from being
    /// safe
    Doctor,
}

/// How to run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Where HTTPS listens (TCP); port 0 takes any
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "0.0.0.0:7443",
        env = "MANTLE_LISTEN_HTTPS",
        hide_env_values = true
    )]
    listen_https: SocketAddr,
    /// Where agents' QUIC listens (UDP); by default HTTPS's address and number
    #[arg(
        long,
        value_name = "ADDR",
        env = "MANTLE_LISTEN_QUIC",
        hide_env_values = true
    )]
    listen_quic: Option<SocketAddr>,
    /// The name and port that agents and people reach this server by; goes into tokens and
    /// certificates
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "MANTLE_ADVERTISE",
        hide_env_values = true
    )]
    advertise: Option<String>,
    /// An operator's own certificate for HTTPS: a PEM file, the server's certificate first
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "MANTLE_TLS_CERT",
        hide_env_values = true
    )]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert: a PEM file
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "MANTLE_TLS_KEY",
        hide_env_values = true
    )]
    tls_key: Option<PathBuf>,
    /// How long an agent's certificate lasts; it is renewed at half of that, by itself
    #[arg(
        long,
        value_name = "SPAN",
        default_value = "30d",
        value_parser = certificate_life,
        env = "MANTLE_AGENT_CERTIFICATE",
        hide_env_values = true
    )]
    agent_certificate: Duration,
    /// For how long after its certificate's end an agent may still renew it, as one that was
    /// switched off
    #[arg(
        long,
        value_name = "SPAN",
        default_value = "90d",
        value_parser = duration,
        env = "MANTLE_AGENT_CERTIFICATE_GRACE",
        hide_env_values = true
    )]
    agent_certificate_grace: Duration,
    /// How many tasks run at once; what waits for a person does not count
    #[arg(
        long,
        value_name = "N",
        default_value_t = MAX_RUNNING,
        value_parser = clap::value_parser!(u32).range(1..=1000),
        env = "MANTLE_MAX_RUNNING",
        hide_env_values = true
    )]
    max_running: u32,
    /// How much of packages is pushed to all agents together in a second, such as 100MiB; by default
    /// as much as the line takes
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = server_rate,
        env = "MANTLE_PUSH_RATE",
        hide_env_values = true
    )]
    push_rate: Option<PushRate>,
    /// How much is pushed to each agent in a second
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = agent_rate,
        env = "MANTLE_PUSH_RATE_PER_AGENT",
        hide_env_values = true
    )]
    push_rate_per_agent: Option<PushRate>,
    /// How much is kept of tasks that are over: an age, a size or both, such as 365d,10GiB; by default
    /// all
    #[arg(
        long,
        value_name = "AGE,SIZE",
        value_parser = keep,
        env = "MANTLE_KEEP_TASKS",
        hide_env_values = true
    )]
    keep_tasks: Option<Keep>,
    /// How much is kept of what tasks printed; the tasks stay
    #[arg(
        long,
        value_name = "AGE,SIZE",
        value_parser = keep,
        env = "MANTLE_KEEP_LOGS",
        hide_env_values = true
    )]
    keep_logs: Option<Keep>,
    /// How much is kept of the audit trail, which can still be verified after
    #[arg(
        long,
        value_name = "AGE,SIZE",
        value_parser = keep,
        env = "MANTLE_KEEP_AUDIT",
        hide_env_values = true
    )]
    keep_audit: Option<Keep>,
    /// Let this machine run the steps that have no targets, by an agent that the server starts itself:
    /// the program 'tentacle' beside this one, or another one
    #[arg(
        long,
        value_name = "PROGRAM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = BESIDE,
        env = "MANTLE_WORKER",
        hide_env_values = true
    )]
    worker: Option<String>,
    /// Where the agent's programs are that 'agent install-command' lets machines fetch; by default the
    /// folder 'agents' in the data directory, and then beside this program
    #[arg(
        long,
        value_name = "DIR",
        env = "MANTLE_AGENTS",
        hide_env_values = true
    )]
    agents: Option<PathBuf>,
    /// Let it run none, whatever the environment says; as without --worker
    #[arg(long)]
    no_worker: bool,
}

/// What stands for the agent's program beside this one.
const BESIDE: &str = "beside";

/// The agent's program for the server's own worker, if it is to have one.
fn worker_program(args: &RunArgs) -> Result<Option<PathBuf>, Failure> {
    let Some(wanted) = args.worker.as_deref().filter(|_| !args.no_worker) else {
        return Ok(None);
    };
    let program = if wanted == BESIDE {
        let own = std::env::current_exe()
            .map_err(|error| Failure::io("where this program is cannot be told", &error))?;
        own.with_file_name(format!("tentacle{}", std::env::consts::EXE_SUFFIX))
    } else {
        PathBuf::from(wanted)
    };
    if program.is_file() {
        return Ok(Some(program));
    }
    let mut failure = Failure::new(
        Exit::Usage,
        format!(
            "the server does not start: its worker needs the agent's program, and {} is none",
            program.display()
        ),
    );
    failure.help = Some(
        "put 'tentacle' beside 'mantle', or name it with --worker=PROGRAM; without --worker no step without targets runs here".to_owned(),
    );
    Err(failure)
}

/// Lower ones let transfers of a large fleet stand still.
fn server_rate(text: &str) -> Result<PushRate, String> {
    rate(
        text,
        PushRate::SERVER_LEAST,
        "the server pushes at least 1MiB a second",
    )
}

fn agent_rate(text: &str) -> Result<PushRate, String> {
    rate(
        text,
        PushRate::AGENT_LEAST,
        "an agent is sent at least 64KiB a second",
    )
}

fn rate(text: &str, least: u64, otherwise: &str) -> Result<PushRate, String> {
    let bytes = size(text.strip_suffix("/s").unwrap_or(text))?;
    PushRate::new(bytes)
        .filter(|_| bytes >= least)
        .ok_or_else(|| format!("{otherwise}; leave the option out for no limit"))
}

/// Shorter ones would end before they arrive, longer ones after the authority's own certificate.
fn certificate_life(text: &str) -> Result<Duration, String> {
    let life = duration(text)?;
    if (Duration::from_secs(2)..=Duration::from_hours(365 * 24)).contains(&life) {
        Ok(life)
    } else {
        Err("a certificate lasts between 2s and 365d".to_owned())
    }
}

/// Does what needs no running server; gives the rest back.
pub(super) fn local(
    command: Command,
    global: &Global,
    out: Output,
) -> Result<CliResult, Box<Command>> {
    match command {
        Command::Run(args) => Ok(run(*args, global, out)),
        Command::Backup(args) => Ok(server_care::backup(&args, global, out)),
        Command::Restore(args) => Ok(server_care::restore(&args, global, out)),
        command @ (Command::Recover(_) | Command::Status | Command::Doctor) => {
            Err(Box::new(command))
        }
    }
}

/// Does what is asked of a running server.
pub(super) async fn remote(command: Command, global: &Global, out: Output) -> CliResult {
    match command {
        Command::Recover(args) => server_care::recover(args, global, out).await,
        Command::Status => server_care::status(global, out).await,
        Command::Doctor => server_doctor::doctor(global, out).await,
        // The others were done before.
        Command::Run(_) | Command::Backup(_) | Command::Restore(_) => Ok(Exit::Success),
    }
}

fn run(args: RunArgs, global: &Global, out: Output) -> CliResult {
    log_to_stderr();
    let worker = worker_program(&args)?;
    let options = ServerOptions {
        worker,
        agents: args.agents,
        data: global.data.clone().unwrap_or_else(default_data_dir),
        listen_https: args.listen_https,
        listen_quic: args.listen_quic.unwrap_or(args.listen_https),
        advertise: args.advertise,
        tls: args
            .tls_cert
            .zip(args.tls_key)
            .map(|(certificate, key)| TlsFiles { certificate, key }),
        agent_certificates: AgentCertificates {
            lasts: args.agent_certificate,
            grace: args.agent_certificate_grace,
        },
        max_running: args.max_running,
        upkeep: UpkeepRules {
            tasks: args.keep_tasks.unwrap_or_default(),
            logs: args.keep_logs.unwrap_or_default(),
            audit: args.keep_audit.unwrap_or_default(),
        },
        push_rates: PushRates {
            server: args.push_rate,
            agent: args.push_rate_per_agent,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    runtime.block_on(serve(&options, out))
}

async fn serve(options: &ServerOptions, out: Output) -> CliResult {
    // Asked for first: a signal that comes while the server starts must not be lost.
    let shutdown = shutdown_signal()?;
    let app = App::build(options).await.map_err(refused)?;
    if let Some(key) = app.first_key() {
        let seen = std::io::stderr().is_terminal();
        out.note(&first_key_note(key, &app.file().admin_key_file, seen));
    }
    let mut failure = None;
    let ran = app
        .run(shutdown, |file| failure = announce(file, out).err())
        .await;
    match (ran, failure) {
        (Err(error), _) => Err(Failure::new(Exit::Internal, error_chain(&error))),
        // Whoever started it does not read on: it serves all the same.
        (Ok(()), _) => Ok(Exit::Success),
    }
}

/// What is said of a key that was just made. Where nobody looks, standard error is a journal or a
/// file, which keeps what it gets and which others may read: the key is not put there.
fn first_key_note(key: &Secret, file: &str, seen: bool) -> String {
    if seen {
        let key = key.expose();
        format!("the administrator's API key, shown this once (it is stored in {file}):\n  {key}")
    } else {
        format!("the administrator's API key was made; it stands in {file}, for this user alone")
    }
}

fn announce(file: &ServerFile, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return line_out(&with_schema(file)?.to_string());
    }
    line_out(&format!("mantle {} is up", file.version))?;
    line_out(&format!("  https        {}", file.url))?;
    line_out(&format!("  agents       {} (QUIC)", file.advertise))?;
    line_out(&format!("  fingerprint  {}", file.ca_fingerprint))
}

fn refused(error: StartError) -> Failure {
    let help = error.help();
    let mut failure = Failure::new(
        Exit::Internal,
        format!("the server does not start: {}", error_chain(&error)),
    );
    failure.help = help;
    failure
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("MANTLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber is refused; the first one, of a test, then stays.
    if std::io::stderr().is_terminal() {
        let _ = builder.with_target(false).try_init();
    } else {
        let _ = builder.json().flatten_event(true).try_init();
    }
}

#[cfg(unix)]
fn shutdown_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::io("cannot listen for signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
    })
}

#[cfg(not(unix))]
fn shutdown_signal() -> Result<impl Future<Output = ()>, Failure> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_shown_to_a_person_and_to_nothing_that_keeps_it() {
        let key = Secret::new("mtl_sample".to_owned());
        let shown = first_key_note(&key, "data/admin.key", true);
        assert!(shown.contains("mtl_sample") && shown.contains("data/admin.key"));
        let kept = first_key_note(&key, "data/admin.key", false);
        assert!(!kept.contains("mtl_sample") && kept.contains("data/admin.key"));
    }

    #[test]
    fn a_rate_is_a_size_a_second_and_not_too_low() {
        let mib = 1024 * 1024;
        assert_eq!(server_rate("10MiB/s").ok(), PushRate::new(10 * mib));
        assert_eq!(server_rate("1MiB"), agent_rate("1MiB"));
        for text in ["0", "1MiB/m", "900KiB", "fast"] {
            assert!(server_rate(text).is_err(), "{text}");
        }
        assert!(agent_rate("900KiB").is_ok());
        assert!(agent_rate("63KiB").is_err());
    }
}
