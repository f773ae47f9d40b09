//! The first two messages: `Hello` and `Welcome`.
//!
//! Nothing here knows who dialled. Until `Welcome` has come the agent does not count as connected:
//! with TLS 1.3 a client's handshake is done before the server has judged its certificate, so a
//! refusal shows only when the first answer is read.

use mantle_shared::protocol::{
    CONTROL_LIMIT_BYTES, Hello, Message, PROTOCOL_MAX, PROTOCOL_MIN, Welcome, negotiate,
};
use quinn::{Connection, SendStream};

use super::framed::{self, Incoming, MessageReader, StreamError};
use super::priority;
use super::reason;
use super::silence::fell_silent;
use super::timing::Timing;
use crate::link::HelloFacts;

/// The control stream, once the server has taken the agent in.
#[derive(Debug)]
pub(super) struct Welcomed {
    pub(super) send: SendStream,
    pub(super) reader: MessageReader,
    pub(super) welcome: Welcome,
}

/// Why the server did not take the agent in.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The server closed the connection.
    #[error("{reason}")]
    Closed {
        /// Why.
        reason: String,
        /// The code it closed with.
        code: Option<u32>,
    },
    /// The control stream failed.
    #[error("the greeting failed: {0}")]
    Stream(#[source] StreamError),
    /// The server did not answer.
    #[error("the server did not answer the agent's greeting within {seconds} s")]
    Timeout {
        /// How long it was waited for.
        seconds: u64,
    },
    /// Nothing came from the server any more.
    #[error(
        "the server fell silent in the middle of the greeting, for {seconds} s; it was most likely restarted"
    )]
    Silent {
        /// How long nothing came.
        seconds: u64,
    },
    /// The server said something else.
    #[error("the server answered the agent's greeting with {got}; it is of another age")]
    Unexpected {
        /// What it said.
        got: String,
    },
    /// The server chose a protocol version that the agent did not offer.
    #[error(
        "the server chose protocol version {chosen}, this agent speaks {PROTOCOL_MIN} to {PROTOCOL_MAX}"
    )]
    Version {
        /// What it chose.
        chosen: u16,
    },
}

/// Says hello and waits to be welcomed.
pub(super) async fn greet(
    connection: &Connection,
    facts: &HelloFacts,
    timing: &Timing,
) -> Result<Welcomed, HandshakeError> {
    let greeting = exchange(connection, hello(facts));
    let greeting = tokio::time::timeout(timing.welcome_timeout, greeting);
    tokio::select! {
        biased;
        greeted = greeting => match greeted {
            Ok(Ok(welcomed)) => Ok(welcomed),
            Ok(Err(error)) => Err(closed_or(connection, error)),
            Err(_elapsed) => Err(HandshakeError::Timeout {
                seconds: timing.welcome_timeout.as_secs(),
            }),
        },
        () = fell_silent(connection, timing.greeting_silence) => Err(HandshakeError::Silent {
            seconds: timing.greeting_silence.as_secs(),
        }),
    }
}

async fn exchange(connection: &Connection, hello: Hello) -> Result<Welcomed, HandshakeError> {
    let stream = |error: StreamError| HandshakeError::Stream(error);
    let (mut send, recv) = connection
        .open_bi()
        .await
        .map_err(|error| HandshakeError::Closed {
            reason: reason::describe(&error),
            code: reason::close_code(&error),
        })?;
    // Fails only on a stream that is over, which the write then reports.
    let _ = send.set_priority(priority::CONTROL);
    framed::write(&mut send, &hello.into())
        .await
        .map_err(stream)?;
    let mut reader = MessageReader::new(recv, CONTROL_LIMIT_BYTES);
    match reader.next().await.map_err(stream)? {
        Some(Incoming::Message(message)) => match *message {
            Message::Welcome(welcome) => {
                if negotiate(welcome.protocol, welcome.protocol) != Some(welcome.protocol) {
                    return Err(HandshakeError::Version {
                        chosen: welcome.protocol,
                    });
                }
                Ok(Welcomed {
                    send,
                    reader,
                    welcome,
                })
            }
            other => Err(HandshakeError::Unexpected {
                got: other.name().to_owned(),
            }),
        },
        Some(Incoming::Unknown(kind)) => Err(HandshakeError::Unexpected {
            got: format!("a message of the unknown type {kind}"),
        }),
        None => Err(HandshakeError::Stream(StreamError::Ended)),
    }
}

/// A broken stream says little; why the connection closed says more.
fn closed_or(connection: &Connection, error: HandshakeError) -> HandshakeError {
    match (error, connection.close_reason()) {
        (HandshakeError::Stream(_), Some(closed)) => HandshakeError::Closed {
            reason: reason::describe(&closed),
            code: reason::close_code(&closed),
        },
        (error, _) => error,
    }
}

fn hello(facts: &HelloFacts) -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        host_name: host_name(),
        features: facts.features.clone(),
        boot_id: facts.boot_id.clone(),
        highest_epoch: facts.highest_epoch,
        journal: facts.journal,
    }
}

/// What the machine calls itself; empty if it does not say.
pub(crate) fn host_name() -> String {
    #[cfg(unix)]
    {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    }
    #[cfg(not(unix))]
    {
        std::env::var("COMPUTERNAME").unwrap_or_default()
    }
}
