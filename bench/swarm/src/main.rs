//! `mantle-swarm`: many agents in one process, for load tests of a server.
//!
//! What holds here: each agent has an identity of its own, which it got by joining; it speaks the real
//! protocol over real QUIC, by the code of `tentacle` itself; its brain decides and its journal is
//! written and synced before anything is answered. What it does not have is a supervisor: a step is not
//! run, it ends as the command line says. A few sockets are shared among all.

mod agent;
mod fleet;
mod journal;
mod limits;
mod script;
mod tally;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use mantle_shared::token::JoinToken;
use tentacle::artifacts::Artifacts;
use tentacle::cache::{Acquirer, Cache};
use tentacle::connection::{ServerAddress, Sockets, Timing};
use tentacle::state_dir::StateDir;
use tokio::sync::watch;

use agent::Common;
use fleet::{Fleet, Joining};
use script::Script;
use tally::Tally;

/// Threads that wait for the disk: so many journals are synced at once, and share the disk's turns.
const DISK_THREADS: usize = 128;
/// For all agents to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);

/// Is many agents at once, until it is told to stop
///
/// Joins those that are missing, connects all, and does what the server orders without running
/// anything. Standard output has a line of JSON for each change in the counts.
#[derive(Debug, Parser)]
#[command(name = "mantle-swarm", version)]
struct Cli {
    /// The server's QUIC address
    #[arg(long, value_name = "HOST:PORT")]
    server: ServerAddress,
    /// How many agents
    #[arg(long)]
    agents: usize,
    /// Where their identities and journals are; those that are there already do not join again
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A join token for those that are missing: 'mantle agent token create --uses N'
    #[arg(long, env = "TENTACLE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// What their names begin with; a number follows
    #[arg(long, default_value = "swarm")]
    name: String,
    /// A tag that all of them get; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The first N of them also get the tag first-N; may be given again
    #[arg(long = "first", value_name = "N")]
    firsts: Vec<usize>,
    /// An environment that all of them are in; may be given again
    #[arg(short, long = "environment", value_name = "ENV")]
    environments: Vec<String>,
    /// An address of this machine to dial from; may be given again. A server limits what comes from one
    #[arg(long = "from", value_name = "IP")]
    locals: Vec<IpAddr>,
    /// How many sockets at each of these addresses
    #[arg(long, default_value_t = 1)]
    sockets: usize,
    /// How many join and connect a second, at most
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// How many lines a step prints
    #[arg(long, default_value_t = 0)]
    lines: u64,
    /// How long a step takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    step_ms: u64,
    /// Every N-th agent's steps fail
    #[arg(long, value_name = "N")]
    fail_every: Option<usize>,
    /// Journals are written but not synced: no agent does so
    #[arg(long)]
    no_sync: bool,
    /// Stop when standard input ends, as for a program that starts this one
    #[arg(long)]
    stop_at_eof: bool,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("MANTLE_SWARM_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let locals = match cli.locals.as_slice() {
        [] => vec![Ipv4Addr::UNSPECIFIED.into()],
        given => given.to_vec(),
    };
    limits::raise(cli.agents, locals.len() * cli.sockets)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .build()
        .context("the runtime")?;
    let done = runtime.block_on(run(cli, &locals));
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

async fn run(cli: Cli, locals: &[IpAddr]) -> Result<()> {
    let sockets = Sockets::shared(locals, cli.sockets)
        .with_context(|| format!("no UDP socket can be bound at {locals:?}"))?;
    let token: Option<JoinToken> = cli
        .token
        .as_deref()
        .map(str::parse)
        .transpose()
        .context("the join token")?;
    let tally = Arc::new(Tally::default());
    let (stop, stopped) = watch::channel(false);
    let signals = stop_signals(cli.stop_at_eof)?;
    let printing = tokio::spawn(tally::print(Arc::clone(&tally), stopped.clone()));
    let fleet = Fleet::at(&cli.data, &cli.name)?;
    let joining = Joining {
        server: cli.server,
        token,
        tags: cli.tags,
        firsts: cli.firsts,
        environments: cli.environments,
        timing: Timing::default(),
        sockets: sockets.clone(),
        a_second: cli.rate,
    };
    let state_dir = StateDir::at(fleet.root().join("shared"));
    state_dir.create().context("the folder of the cache")?;
    let cache = Cache::at(state_dir.cache());
    cache.prepare().context("the cache")?;
    let common = Arc::new(Common {
        timing: Timing::from_environment(),
        sockets,
        // What the first one fetches the others find: one machine's disk need not hold it so often.
        acquirer: Arc::new(Acquirer::new(cache, state_dir.apps())),
        artifacts: Artifacts::at(&state_dir),
        features: tentacle::actions::features(),
        boot_id: tentacle::process::boot_id(),
        script: Script {
            lines: cli.lines,
            lasts: Duration::from_millis(cli.step_ms),
            fail_every: cli.fail_every,
        },
        sync: !cli.no_sync,
        tally: Arc::clone(&tally),
        stop: stopped,
    });
    let work = async {
        fleet.join_missing(cli.agents, joining, &tally).await?;
        agent::run_all(&fleet, cli.agents, cli.rate, common).await
    };
    tokio::pin!(work);
    let done = tokio::select! {
        done = &mut work => done,
        () = signals => {
            // Nobody listens any more if nothing runs yet.
            let _ = stop.send(true);
            tokio::time::timeout(GOODBYE, work).await.unwrap_or(Ok(()))
        }
    };
    let _ = stop.send(true);
    // It ends by itself once it is told.
    let _ = printing.await;
    done
}

/// Resolves when somebody wants an end.
fn stop_signals(at_eof: bool) -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("the signal to end")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("the signal to end")?;
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let mut kept = Some(ended);
    if at_eof {
        let ended = kept.take();
        // A thread of its own: a read from a pipe cannot be given up.
        std::thread::spawn(move || {
            // What comes means nothing, and an error is an end too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(ended);
        });
    }
    Ok(async move {
        // Without anybody who reads there is no end.
        let _kept = kept;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = end => {}
        }
    })
}
