//! From an address to a QUIC connection, or the precise reason why not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mantle_shared::tls::{Fingerprint, SERVER_NAME};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportErrorCode};

use super::address::{ResolveError, ServerAddress};
use super::endpoint;
use super::reason;
use super::sockets::Sockets;
use super::timing::Timing;
use super::tls::{TlsError, Verdict, VerdictCell};

/// TLS alert 120: the two ends share no application protocol.
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// A connection and the socket under it.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub connection: Connection,
    /// Its endpoint; kept for an orderly end.
    pub endpoint: Endpoint,
    /// Other connections have the same endpoint.
    pub(super) is_shared: bool,
}

impl Dialled {
    /// Waits until the last packets of an end have left.
    pub(super) async fn gone(&self) {
        if self.is_shared {
            // The endpoint goes on, and sends what is left by itself.
            self.connection.closed().await;
        } else {
            self.endpoint.wait_idle().await;
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No packet came back.
    #[error(
        "{address} does not answer over UDP within {} s: the server is down, or a firewall between here and there drops UDP",
        .waited.as_secs_f32().ceil()
    )]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server belongs to another authority than the pinned one.
    #[error(
        "the server at {address} is not the one that this agent trusts: expected authority {expected}, got {got}; nothing was sent"
    )]
    WrongAuthority {
        /// Where.
        address: SocketAddr,
        /// The pinned authority.
        expected: Fingerprint,
        /// What was shown.
        got: Fingerprint,
    },
    /// The server's certificate is not valid by this machine's clock.
    #[error(
        "the server's certificate is not valid by this machine's clock: {detail}; set the clocks of both machines"
    )]
    Clock {
        /// What TLS said.
        detail: String,
    },
    /// The server's certificate is wrong.
    #[error("the certificate of the server at {address} is wrong: {detail}")]
    Certificate {
        /// Where.
        address: SocketAddr,
        /// What is wrong.
        detail: String,
    },
    /// Something answers, but it is no mantle server or a far older or newer one.
    #[error(
        "what answers at {address} does not speak this protocol: it is no mantle server, or one of another age"
    )]
    OtherProtocol {
        /// Where.
        address: SocketAddr,
    },
    /// The server ended the handshake.
    #[error("the server at {address} ended the handshake: {detail}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        detail: String,
    },
    /// This machine cannot open a UDP socket or send from it.
    #[error("no UDP socket can be opened towards {address}")]
    Socket {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The agent's own certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Dials all addresses of a server in turn; the first that answers wins. The error is the most
/// telling one: that of an address which answered, else the last.
pub(crate) async fn server(
    server: &ServerAddress,
    timing: &Timing,
    sockets: &Sockets,
    tls: impl Fn(VerdictCell) -> Result<QuicClientConfig, TlsError>,
) -> Result<Dialled, DialError> {
    let mut telling: Option<DialError> = None;
    let mut last = None;
    for address in server.resolve().await? {
        let verdict = VerdictCell::default();
        let crypto = tls(verdict.clone())?;
        match one(address, timing, sockets, crypto, &verdict).await {
            Ok(dialled) => return Ok(dialled),
            Err(error @ (DialError::NoAnswer { .. } | DialError::Socket { .. })) => {
                last = Some(error);
            }
            Err(error) => telling = Some(error),
        }
    }
    // The list of addresses is never empty, so one of the two is set.
    Err(telling.or(last).unwrap_or_else(|| {
        DialError::Resolve(ResolveError::Empty {
            host: server.host.clone(),
        })
    }))
}

async fn one(
    address: SocketAddr,
    timing: &Timing,
    sockets: &Sockets,
    crypto: QuicClientConfig,
    verdict: &VerdictCell,
) -> Result<Dialled, DialError> {
    let socket = |source| DialError::Socket { address, source };
    let endpoint = sockets.endpoint(address).map_err(socket)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(endpoint::transport(timing)));
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| socket(std::io::Error::other(error)))?;
    let connected = tokio::time::timeout(timing.connect_timeout, connecting).await;
    let no_answer = || DialError::NoAnswer {
        address,
        waited: timing.connect_timeout.min(timing.idle_timeout),
    };
    match connected {
        Ok(Ok(connection)) => Ok(Dialled {
            connection,
            endpoint,
            is_shared: sockets.are_shared(),
        }),
        Ok(Err(error)) => Err(explain(address, &error, verdict.get(), no_answer)),
        Err(_elapsed) => Err(no_answer()),
    }
}

fn explain(
    address: SocketAddr,
    error: &ConnectionError,
    verdict: Option<Verdict>,
    no_answer: impl Fn() -> DialError,
) -> DialError {
    match verdict {
        Some(Verdict::WrongAuthority { expected, got }) => {
            return DialError::WrongAuthority {
                address,
                expected,
                got,
            };
        }
        Some(Verdict::Time(detail)) => return DialError::Clock { detail },
        Some(Verdict::Invalid(detail)) => return DialError::Certificate { address, detail },
        Some(Verdict::Trusted) | None => {}
    }
    let no_protocol = TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL);
    match error {
        ConnectionError::TimedOut => no_answer(),
        ConnectionError::VersionMismatch => DialError::OtherProtocol { address },
        ConnectionError::TransportError(error) if error.code == no_protocol => {
            DialError::OtherProtocol { address }
        }
        ConnectionError::ConnectionClosed(closed) if closed.error_code == no_protocol => {
            DialError::OtherProtocol { address }
        }
        other => DialError::Refused {
            address,
            detail: reason::describe(other),
        },
    }
}
