//! The server's own worker: an agent on the server's machine that runs the steps without targets.
//!
//! It is the same `tentacle` as on every other machine, in a process of its own: joined over loopback
//! with a token that is made for it alone, started again when it ends, and stopped with the server. As of
//! every agent its steps outlive it. The server holds the other end of its standard input: however the
//! server dies the system closes that, and the worker stops, so that the next server may start its own
//! or none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mantle_domain::process::WORKER_TAG;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::data_dir::write_private;
use crate::api::body::JoinTokenCreate;
use crate::api::error_chain;
use crate::services::{Caller, Services};
use crate::supervise::{Stage, Supervisor};

/// The worker's name as a target, and that of its folder in the data directory.
const NAME: &str = "server-worker";
const FOLDER: &str = "worker";
/// Where it joined; its presence says that it did.
const JOINED_FILE: &str = "joined-at";
/// Joining over loopback takes a second.
const JOIN_DEADLINE: Duration = Duration::from_mins(1);
/// The token need not outlive the attempt to join.
const TOKEN_LASTS_S: u64 = 120;
/// Before it is started again; doubled each time, until it has run for a while.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Tells an agent to stop when its standard input ends.
const STOP_AT_EOF: &str = "TENTACLE_STOP_AT_EOF";
/// An agent says goodbye within seconds; after this it is killed, which its steps outlive too.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// The worker, not yet running.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    program: PathBuf,
    home: PathBuf,
    dial: SocketAddr,
}

/// Why the worker does not run.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    /// A program or a file.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token.
    #[error(transparent)]
    Token(#[from] crate::services::Error),
    /// It could not join.
    #[error("it cannot join: {0}")]
    Join(String),
    /// It ended.
    #[error("it ended: {0}")]
    Ended(String),
}

impl Worker {
    pub(super) fn new(program: &Path, data: &Path, quic: SocketAddr) -> Self {
        Self {
            program: program.to_owned(),
            home: data.join(FOLDER),
            dial: loopback(quic),
        }
    }

    /// Keeps it running until the server stops. What goes wrong with it stops nothing else.
    pub(super) fn start(self, services: Services, supervisor: &mut Supervisor) {
        let stop = supervisor.stop_token(Stage::Intake);
        supervisor.spawn(Stage::Intake, "worker", async move {
            self.run(&services, &stop).await;
            Ok(())
        });
    }

    async fn run(&self, services: &Services, stop: &CancellationToken) {
        let mut wait = FIRST_WAIT;
        while !stop.is_cancelled() {
            let since = Instant::now();
            let lived = tokio::select! {
                () = stop.cancelled() => return,
                ready = self.ready(services) => match ready {
                    Ok(()) => self.live(stop).await,
                    Err(error) => Err(error),
                },
            };
            let Err(error) = lived else { return };
            if since.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            let error = error_chain(&error);
            tracing::warn!(
                error,
                wait_s = wait.as_secs(),
                "the server's worker does not run; it is started again"
            );
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Joins, unless it has joined there before.
    async fn ready(&self, services: &Services) -> Result<(), WorkerError> {
        let marker = self.home.join(JOINED_FILE);
        let joined = tokio::fs::read_to_string(&marker).await.unwrap_or_default();
        if joined == self.dial.to_string() {
            return Ok(());
        }
        if joined.is_empty() {
            self.join(services).await?;
        } else {
            // The server has another port: the agent is the same, and is told where to dial.
            self.forget(services).await?;
            self.join(services).await?;
        }
        let kept = write_private(&marker, self.dial.to_string().as_bytes());
        kept.map_err(|source| WorkerError::Io {
            what: marker.display().to_string(),
            source,
        })
    }

    /// Revokes the identity that it has, so that it may join anew under its name.
    async fn forget(&self, services: &Services) -> Result<(), WorkerError> {
        match services.agent_revoke(&Caller::server(), NAME).await {
            Ok(_) | Err(crate::services::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn join(&self, services: &Services) -> Result<(), WorkerError> {
        let request = JoinTokenCreate {
            uses: Some(1),
            ttl_s: Some(TOKEN_LASTS_S),
            tags: vec![WORKER_TAG.to_owned()],
            environments: Vec::new(),
            name: Some(NAME.to_owned()),
        };
        let created = services
            .join_token_create(&Caller::server(), &request)
            .await?;
        let mut command = self.command();
        command
            .args(["join", "--force", "--name", NAME, "--server"])
            .arg(self.dial.to_string())
            .env("TENTACLE_TOKEN", created.token)
            .kill_on_drop(true);
        let joined = tokio::time::timeout(JOIN_DEADLINE, command.output()).await;
        let joined = joined
            .map_err(|_| WorkerError::Join("it took longer than a minute".to_owned()))?
            .map_err(|source| self.not_run(source))?;
        if joined.status.success() {
            tracing::info!(target.name = NAME, "the server's worker has joined");
            return Ok(());
        }
        let said = String::from_utf8_lossy(&joined.stderr);
        Err(WorkerError::Join(said.trim().to_owned()))
    }

    /// Runs it until it ends, which is an error, or until the server stops.
    async fn live(&self, stop: &CancellationToken) -> Result<(), WorkerError> {
        let mut command = self.command();
        command
            .arg("run")
            .env(STOP_AT_EOF, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        // An interrupt from the terminal is for the server, which then stops it.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| self.not_run(source))?;
        // Waiting for a child closes its input, unless somebody else has it.
        let input = child.stdin.take();
        tokio::select! {
            ended = child.wait() => {
                let status = ended.map_err(|source| self.not_run(source))?;
                Err(WorkerError::Ended(status.to_string()))
            }
            () = stop.cancelled() => {
                drop(input);
                end(&mut child).await;
                Ok(())
            }
        }
    }

    /// The program about this agent, without what is meant for the server alone.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .stdin(Stdio::null())
            .env("TENTACLE_DATA", &self.home);
        for name in ["MANTLE_TOKEN", "MANTLE_DATA", "MANTLE_TLS_KEY"] {
            command.env_remove(name);
        }
        command
    }

    fn not_run(&self, source: std::io::Error) -> WorkerError {
        WorkerError::Io {
            what: self.program.display().to_string(),
            source,
        }
    }
}

/// Says of a worker that ran with an earlier server why it does not with this one.
pub(super) fn tell_absent(data: &Path) {
    if data.join(FOLDER).join(JOINED_FILE).exists() {
        tracing::warn!(
            target.name = NAME,
            "the server's own worker does not run without --worker: its target stays offline, and how its steps \
             ended is known once it is back"
        );
    }
}

/// Asks it to stop, then kills it.
async fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended in this moment.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    // Elsewhere the end of its input, which is closed already, says the same.
    if tokio::time::timeout(STOP_GRACE, child.wait())
        .await
        .is_err()
    {
        let _ = child.kill().await;
    }
}

/// The address by which this machine reaches what listens there.
fn loopback(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn it_dials_what_is_served_on_this_machine() {
        for (listens, dials) in [
            ("0.0.0.0:7443", "127.0.0.1:7443"),
            ("[::]:7443", "[::1]:7443"),
            ("10.0.0.5:7443", "10.0.0.5:7443"),
        ] {
            let address: SocketAddr = listens.parse().unwrap();
            assert_eq!(loopback(address).to_string(), dials);
        }
    }
}
