//! The connection to the server: dial, greet, work, and dial again. The only place with quinn.
//!
//! What must hold:
//! - the server proves the pinned authority before the agent says a word;
//! - the agent counts as connected at `Welcome`, not before, and waits grow until a connection
//!   has lasted;
//! - every wait has a deadline, every channel a bound;
//! - a stream that lies is given up alone and counted; nothing that comes off the network panics.

mod address;
mod backoff;
mod dial;
mod endpoint;
mod enrol;
mod framed;
mod handshake;
mod plain_udp;
mod probe;
mod reason;
mod reports;
mod session;
#[cfg(test)]
mod tests;
mod timing;
mod tls;
mod transfer;

pub use address::{BadAddress, DEFAULT_PORT, ResolveError, ServerAddress};
pub use dial::{DialError, Dialled};
pub use enrol::EnrolError;
pub use framed::bad_streams;
pub use handshake::HandshakeError;
pub use probe::{ProbeError, RoundTrip, probe_enrolment, round_trip};
pub use timing::Timing;

pub(crate) use enrol::enrol;
pub(crate) use handshake::host_name;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Acquirer;
use crate::identity::Identity;
use crate::link::{HelloFacts, LinkCommand, LinkEvent, LinkPeer};
use backoff::Backoff;

/// What the streams of one connection are worth to each other: higher goes first.
mod priority {
    /// Orders, answers, acknowledgements.
    pub(super) const CONTROL: i32 = 10;
    /// What attempts report.
    pub(super) const REPORTS: i32 = 0;
    /// Packages.
    pub(super) const BULK: i32 = -10;
}

/// How long the last packets of an orderly end may take to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the connection needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Who the agent is and where its server.
    pub identity: Identity,
    /// How long it waits for what.
    pub timing: Timing,
    /// Where packages go.
    pub acquirer: Arc<Acquirer>,
}

/// Keeps the agent connected until the driver says [`LinkCommand::Close`] or is gone.
pub async fn run(settings: Settings, mut peer: LinkPeer) {
    let mut backoff = Backoff::new(&settings.timing);
    let mut servers = Rotation::new(&settings.identity.servers);
    let mut complaint = Complaint::default();
    let mut sessions = 0;
    loop {
        let facts = peer.facts.borrow().clone();
        let attempt = connect(&settings, servers.current(), facts);
        let Some(attempt) = meanwhile(&mut peer, attempt).await else {
            return;
        };
        let asked = match attempt {
            Ok(connected) => {
                complaint.forget();
                tracing::info!(server.address = servers.current(), server.version = %connected.welcomed.welcome.version, "connected");
                let since = Instant::now();
                sessions += 1;
                let end = session::run(
                    connected.dialled.connection.clone(),
                    connected.welcomed,
                    sessions,
                    &mut peer,
                    Arc::clone(&settings.acquirer),
                    &settings.timing,
                )
                .await;
                let leave = connected.dialled.endpoint.wait_idle();
                if end.closed_by_driver {
                    let _ = tokio::time::timeout(LEAVE_TIMEOUT, leave).await;
                    return;
                }
                tracing::warn!(reason = %end.reason, "disconnected");
                let gone = LinkEvent::Disconnected { reason: end.reason };
                if peer.events.send(gone).await.is_err() {
                    return;
                }
                if since.elapsed() >= settings.timing.stable_after {
                    backoff.reset();
                }
                end.retry_after
            }
            Err(error) => {
                complaint.log(servers.current(), &error);
                servers.advance();
                None
            }
        };
        let wait = backoff.next(rand::random(), asked);
        tracing::debug!(
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "waiting before the next dial"
        );
        if meanwhile(&mut peer, tokio::time::sleep(wait))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Why the agent is not connected.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

struct Connected {
    dialled: Dialled,
    welcomed: handshake::Welcomed,
}

async fn connect(
    settings: &Settings,
    server: &str,
    facts: HelloFacts,
) -> Result<Connected, ConnectError> {
    let address: ServerAddress = server.parse()?;
    let timing = &settings.timing;
    let dialled = dial::server(&address, timing, |verdict| {
        tls::work(&settings.identity, verdict)
    })
    .await?;
    match handshake::greet(&dialled.connection, &facts, timing).await {
        Ok(welcomed) => Ok(Connected { dialled, welcomed }),
        Err(error) => {
            dialled
                .connection
                .close(mantle_shared::protocol::close::GOING_AWAY.into(), b"");
            Err(error.into())
        }
    }
}

/// Does something while there is no connection: what the driver says meanwhile is dropped, since
/// it can be asked for again. `None` when the agent is to stop.
async fn meanwhile<T>(peer: &mut LinkPeer, work: impl Future<Output = T>) -> Option<T> {
    let commands = &mut peer.commands;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            command = commands.recv() => match command {
                Some(
                    LinkCommand::Begin { .. }
                    | LinkCommand::Control(_)
                    | LinkCommand::Reports { .. }
                    | LinkCommand::Acquire(_),
                ) => {}
                Some(LinkCommand::Close) | None => return None,
            },
        }
    }
}

/// The servers in turn.
struct Rotation<'a> {
    servers: &'a [String],
    at: usize,
}

impl<'a> Rotation<'a> {
    fn new(servers: &'a [String]) -> Self {
        Self { servers, at: 0 }
    }

    fn current(&self) -> &'a str {
        self.servers.get(self.at).map_or("", String::as_str)
    }

    fn advance(&mut self) {
        self.at = (self.at + 1) % self.servers.len().max(1);
    }
}

/// Says each new reason loudly and its repetitions quietly: a server that is down for a night
/// must not fill the disk.
#[derive(Default)]
struct Complaint {
    last: String,
}

impl Complaint {
    fn log(&mut self, server: &str, error: &ConnectError) {
        let text = error.to_string();
        if text == self.last {
            tracing::debug!(server.address = server, reason = %text, "still not connected");
            return;
        }
        if let ConnectError::Dial(DialError::WrongAuthority { expected, got, .. }) = error {
            tracing::error!(server.address = server, %expected, %got, "the server is not the one that this agent trusts; nothing was sent");
        } else {
            let mut source = std::error::Error::source(error);
            let mut causes = String::new();
            while let Some(cause) = source {
                causes = format!("{causes}: {cause}");
                source = cause.source();
            }
            tracing::warn!(server.address = server, reason = %format!("{text}{causes}"), "not connected; trying again");
        }
        self.last = text;
    }

    fn forget(&mut self) {
        self.last.clear();
    }
}
