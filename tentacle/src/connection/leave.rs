//! Telling the server that this agent leaves for good.

use std::time::Duration;

use mantle_shared::protocol::{Leave, LeaveResult, Message, close};

use super::address::ServerAddress;
use super::dial::{self, DialError};
use super::framed::{self, Incoming, StreamError};
use super::handshake::{self, HandshakeError};
use super::sockets::Sockets;
use super::timing::Timing;
use super::{reason, tls};
use crate::identity::Identity;
use crate::link::HelloFacts;

/// How long the answer may take: the server writes it down.
const ANSWER: Duration = Duration::from_secs(20);

/// What the server knows of the agent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It has written down that the agent left.
    Now,
    /// It let the agent in no more anyway.
    Before,
}

/// Why the server does not know it.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Not taken in, for another reason than that it is revoked.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// The stream broke.
    #[error("the exchange broke off: {0}")]
    Stream(#[source] StreamError),
    /// The server closed the connection.
    #[error("the server closed the connection: {0}")]
    Closed(String),
    /// No answer.
    #[error("the server did not answer within {} s", ANSWER.as_secs())]
    Silent,
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// The server is older than the message.
    #[error("the server is older than this agent and cannot be told")]
    Unsupported,
}

/// Tells the server. Once it returns well, the agent's key opens nothing there.
pub async fn leave(
    address: &ServerAddress,
    identity: &Identity,
    facts: &HelloFacts,
    timing: &Timing,
) -> Result<Left, LeaveError> {
    let tls = |verdict| tls::work(identity, verdict);
    let dialled = dial::server(address, timing, &Sockets::own(), tls).await?;
    let asked = tokio::time::timeout(ANSWER, ask(&dialled.connection, facts, timing)).await;
    dialled.connection.close(close::GOING_AWAY.into(), b"left");
    // The close should reach the server, else it waits for the idle timeout.
    let _ = tokio::time::timeout(Duration::from_secs(1), dialled.gone()).await;
    asked.map_err(|_elapsed| LeaveError::Silent)?
}

async fn ask(
    connection: &quinn::Connection,
    facts: &HelloFacts,
    timing: &Timing,
) -> Result<Left, LeaveError> {
    let mut welcomed = match handshake::greet(connection, facts, timing).await {
        Ok(welcomed) => welcomed,
        Err(HandshakeError::Closed {
            code: Some(close::NOT_AUTHORISED),
            ..
        }) => return Ok(Left::Before),
        Err(error) => return Err(LeaveError::Handshake(error)),
    };
    let broken = |error: StreamError| match connection.close_reason() {
        Some(closed) => LeaveError::Closed(reason::describe(&closed)),
        None => LeaveError::Stream(error),
    };
    let leave = Message::from(Leave { request: 1 });
    framed::write(&mut welcomed.send, &leave)
        .await
        .map_err(broken)?;
    loop {
        match welcomed.reader.next().await.map_err(broken)? {
            Some(Incoming::Message(message)) => match *message {
                Message::LeaveAnswer(answer) => {
                    return match answer.result {
                        LeaveResult::Left => Ok(Left::Now),
                        LeaveResult::Refused { reason } => Err(LeaveError::Refused(reason)),
                    };
                }
                Message::Unsupported(_) => return Err(LeaveError::Unsupported),
                Message::GoAway(told) => return Err(LeaveError::Refused(told.reason)),
                other => tracing::debug!(message = other.name(), "left unanswered"),
            },
            Some(Incoming::Unknown(_)) => {}
            None => return Err(broken(StreamError::Ended)),
        }
    }
}
