//! Single exchanges outside the agent's loop: what `tentacle join` and `tentacle doctor` prove.

use std::net::SocketAddr;
use std::time::Duration;

use mantle_shared::protocol::{Echo, Message, close};
use mantle_shared::tls::Fingerprint;
use tokio::time::Instant;

use super::address::ServerAddress;
use super::dial::{self, DialError, Dialled};
use super::framed::{self, Incoming, StreamError};
use super::handshake::{self, HandshakeError};
use super::reason;
use super::sockets::Sockets;
use super::timing::Timing;
use super::tls;
use crate::identity::Identity;
use crate::link::HelloFacts;

/// How long an echo may take.
const ECHO_TIMEOUT: Duration = Duration::from_secs(10);
/// What travels there and back.
const ECHO_PAYLOAD: &[u8] = b"is anybody there?";

/// A round trip that was made.
#[derive(Debug, Clone)]
pub struct RoundTrip {
    /// Where the server answered.
    pub address: SocketAddr,
    /// The server's version.
    pub server_version: String,
    /// How long the echo took.
    pub time: Duration,
    /// The server's clock less this machine's, in microseconds.
    pub clock_ahead_us: i64,
}

/// Why there was none.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Not let in.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Let in, then cut off.
    #[error("the server let the agent in and then ended the connection: {0}")]
    Closed(String),
    /// The stream broke.
    #[error("the echo broke off")]
    Stream(#[source] StreamError),
    /// No answer to the echo.
    #[error("the server let the agent in but did not answer its echo within {} s", ECHO_TIMEOUT.as_secs())]
    Silent,
}

/// Dials for enrolment: proves that the server is reachable and has the pinned authority.
pub async fn probe_enrolment(
    address: &ServerAddress,
    pin: Fingerprint,
    timing: &Timing,
    sockets: &Sockets,
) -> Result<Dialled, DialError> {
    let tls = |verdict| tls::enrol(pin, verdict);
    dial::server(address, timing, sockets, tls).await
}

/// Makes a work connection, sends an echo and waits for it to come back. No resync is begun, so
/// the server orders nothing meanwhile.
pub async fn round_trip(
    address: &ServerAddress,
    identity: &Identity,
    facts: &HelloFacts,
    timing: &Timing,
) -> Result<RoundTrip, ProbeError> {
    let tls = |verdict| tls::work(identity, verdict);
    let dialled = dial::server(address, timing, &Sockets::own(), tls).await?;
    let result = exchange(&dialled, facts, timing).await;
    dialled.connection.close(close::GOING_AWAY.into(), b"probe");
    // The close should reach the server, else it waits for the idle timeout.
    let _ = tokio::time::timeout(Duration::from_secs(1), dialled.gone()).await;
    result
}

async fn exchange(
    dialled: &Dialled,
    facts: &HelloFacts,
    timing: &Timing,
) -> Result<RoundTrip, ProbeError> {
    let connection = &dialled.connection;
    let mut welcomed = handshake::greet(connection, facts, timing).await?;
    let clock_ahead_us = welcomed
        .welcome
        .now_us
        .saturating_sub(jiff::Timestamp::now().as_microsecond());
    let begun = Instant::now();
    let broken = |error: StreamError| match connection.close_reason() {
        Some(closed) => ProbeError::Closed(reason::describe(&closed)),
        None => ProbeError::Stream(error),
    };
    let echo = Echo {
        request: 1,
        payload: ECHO_PAYLOAD.to_vec(),
    };
    let talk = async {
        framed::write(&mut welcomed.send, &echo.into())
            .await
            .map_err(broken)?;
        loop {
            match welcomed.reader.next().await.map_err(broken)? {
                Some(Incoming::Message(message)) => match *message {
                    Message::EchoAnswer(answer) if answer.payload == ECHO_PAYLOAD => return Ok(()),
                    other => tracing::debug!(message = other.name(), "left unanswered by a probe"),
                },
                Some(Incoming::Unknown(_)) => {}
                None => return Err(broken(StreamError::Ended)),
            }
        }
    };
    tokio::time::timeout(ECHO_TIMEOUT, talk)
        .await
        .map_err(|_elapsed| ProbeError::Silent)??;
    Ok(RoundTrip {
        address: connection.remote_address(),
        server_version: welcomed.welcome.version,
        time: begun.elapsed(),
        clock_ahead_us,
    })
}
