//! The connection to the server: dial, greet, work, and dial again. The only place with quinn.
//!
//! What must hold:
//! - the server proves the pinned authority before the agent says a word;
//! - the agent counts as connected at `Welcome`, not before, and waits grow until a connection
//!   has lasted;
//! - every wait has a deadline, every channel a bound;
//! - a stream that lies is given up alone and counted; nothing that comes off the network panics.

mod address;
mod artifacts;
mod backoff;
mod dial;
mod endpoint;
mod enrol;
mod framed;
mod handshake;
mod leave;
mod plain_udp;
mod probe;
mod reason;
mod renewal;
mod reports;
mod session;
mod silence;
mod sockets;
#[cfg(test)]
mod tests;
mod timing;
mod tls;
mod transfer;

pub use address::{BadAddress, DEFAULT_PORT, ResolveError, ServerAddress};
pub use dial::{DialError, Dialled};
pub use enrol::{EnrolError, enrol};
pub use framed::bad_streams;
pub use handshake::HandshakeError;
pub use leave::{LeaveError, Left, leave};
pub use probe::{ProbeError, RoundTrip, probe_enrolment, round_trip};
pub use sockets::Sockets;
pub use timing::Timing;

pub(crate) use handshake::host_name;

use std::sync::Arc;
use std::time::Duration;

use mantle_shared::protocol::close;
use tokio::time::Instant;

use crate::artifacts::Artifacts;
use crate::cache::Acquirer;
use crate::identity::Identities;
use crate::link::{HelloFacts, LinkCommand, LinkEvent, LinkPeer};
use crate::output::recorder::now_us;
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
    pub identities: Identities,
    /// How long it waits for what.
    pub timing: Timing,
    /// Where it dials from.
    pub sockets: Sockets,
    /// Where packages go.
    pub acquirer: Arc<Acquirer>,
    /// What attempts left behind.
    pub artifacts: Artifacts,
}

/// Keeps the agent connected until the driver says [`LinkCommand::Close`] or is gone.
pub async fn run(mut settings: Settings, mut peer: LinkPeer) {
    let mut backoff = Backoff::new(&settings.timing);
    let addresses = settings.identities.shown().servers.clone();
    let mut servers = Rotation::new(&addresses);
    let mut complaint = Complaint::default();
    let mut sessions = 0;
    loop {
        let facts = peer.facts.borrow().clone();
        let timing = Timing {
            connect_timeout: backoff.dial_timeout(settings.timing.connect_timeout),
            ..settings.timing
        };
        let attempt = connect(&settings, &timing, servers.current(), facts);
        let Some(attempt) = meanwhile(&mut peer, attempt).await else {
            return;
        };
        let asked = match attempt {
            Ok(connected) => {
                complaint.forget();
                if let Err(error) = settings.identities.let_in() {
                    // It is tried again at the next connection; until then both are good.
                    tracing::warn!(%error, "the renewed certificate could not take the other's place");
                }
                tracing::info!(server.address = servers.current(), server.version = %connected.welcomed.welcome.version, "connected");
                let since = Instant::now();
                sessions += 1;
                let end = session::run(
                    connected.dialled.connection.clone(),
                    connected.welcomed,
                    sessions,
                    &mut peer,
                    (Arc::clone(&settings.acquirer), settings.artifacts.clone()),
                    &mut settings.identities,
                    &settings.timing,
                )
                .await;
                let leave = connected.dialled.gone();
                if end.closed_by_driver {
                    let _ = tokio::time::timeout(LEAVE_TIMEOUT, leave).await;
                    return;
                }
                if end.renewed {
                    tracing::info!(reason = %end.reason, "connecting anew");
                } else {
                    tracing::warn!(reason = %end.reason, "disconnected");
                }
                let gone = LinkEvent::Disconnected { reason: end.reason };
                if peer.events.send(gone).await.is_err() {
                    return;
                }
                if end.renewed {
                    continue;
                }
                // A server that died at work is not one that throws everybody out.
                if end.server_vanished || since.elapsed() >= settings.timing.stable_after {
                    backoff.reset();
                }
                end.retry_after
            }
            Err(error) => {
                if let Some(reason) = complaint.log(servers.current(), &error) {
                    // Only for people: a driver that is busy is told the next reason.
                    let _ = peer.events.try_send(LinkEvent::NotConnected { reason });
                }
                match error.code() {
                    Some(close::CERTIFICATE_ENDED) => {
                        let renewal = renewal::after_the_end(&mut settings, servers.current());
                        match meanwhile(&mut peer, renewal).await {
                            None => return,
                            Some(Ok(())) => continue,
                            Some(Err(error)) => {
                                tracing::warn!(%error, "the certificate could not be renewed; trying again");
                            }
                        }
                    }
                    Some(close::NOT_AUTHORISED) => settings.identities.refused(),
                    Some(_) | None => {}
                }
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
    #[error(
        "this agent's certificate ended at {until} and the server does not renew it any more; type \
         'mantle agent revoke {name}' and 'mantle agent token create' on the server, then here \
         'tentacle join --force --server {server} --name {name} --token TOKEN'"
    )]
    Ended {
        until: String,
        name: String,
        server: String,
        #[source]
        source: HandshakeError,
    },
}

impl ConnectError {
    /// The code with which the server closed, if it did.
    fn code(&self) -> Option<u32> {
        match self {
            Self::Handshake(error) | Self::Ended { source: error, .. } => match error {
                HandshakeError::Closed { code, .. } => *code,
                HandshakeError::Stream(_)
                | HandshakeError::Timeout { .. }
                | HandshakeError::Silent { .. }
                | HandshakeError::Unexpected { .. }
                | HandshakeError::Version { .. } => None,
            },
            Self::Address(_) | Self::Dial(_) => None,
        }
    }

    /// The same, saying more of an agent whose certificate has ended.
    fn about(self, identities: &Identities, server: &str) -> Self {
        let (last_end_us, name) = (identities.last_end_us(), &identities.shown().name);
        match (self.code(), self) {
            (Some(close::NOT_AUTHORISED), Self::Handshake(source)) if last_end_us < now_us() => {
                Self::Ended {
                    until: jiff::Timestamp::from_microsecond(last_end_us)
                        .unwrap_or_default()
                        .to_string(),
                    name: name.clone(),
                    server: server.to_owned(),
                    source,
                }
            }
            (_, error) => error,
        }
    }
}

struct Connected {
    dialled: Dialled,
    welcomed: handshake::Welcomed,
}

async fn connect(
    settings: &Settings,
    timing: &Timing,
    server: &str,
    facts: HelloFacts,
) -> Result<Connected, ConnectError> {
    let address: ServerAddress = server.parse()?;
    let dialled = dial::server(&address, timing, &settings.sockets, |verdict| {
        tls::work(settings.identities.shown(), verdict)
    })
    .await?;
    match handshake::greet(&dialled.connection, &facts, timing).await {
        Ok(welcomed) => Ok(Connected { dialled, welcomed }),
        Err(error) => {
            dialled.connection.close(close::GOING_AWAY.into(), b"");
            Err(ConnectError::from(error).about(&settings.identities, server))
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

/// How often a reason that stays the same is said loudly again.
const COMPLAIN_AGAIN: Duration = Duration::from_hours(1);

/// Says each new reason loudly and its repetitions quietly: a server that is down for a night
/// must not fill the disk.
#[derive(Default)]
struct Complaint {
    last: String,
    said: Option<Instant>,
}

impl Complaint {
    /// Gives the reason if it was said loudly.
    fn log(&mut self, server: &str, error: &ConnectError) -> Option<String> {
        let text = error.to_string();
        let recently = self.said.is_some_and(|at| at.elapsed() < COMPLAIN_AGAIN);
        if text == self.last && recently {
            tracing::debug!(server.address = server, reason = %text, "still not connected");
            return None;
        }
        self.said = Some(Instant::now());
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
        self.last.clone_from(&text);
        Some(text)
    }

    fn forget(&mut self) {
        self.last.clear();
    }
}
