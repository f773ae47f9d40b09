//! The UDP socket and what QUIC may use of it. Limits are set here, never inherited.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Once;

use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::plain_udp::PlainUdp;
use super::timing::Timing;

/// What is asked of the system for each direction; a burst of a package fits.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// What one stream may have in flight towards the agent. Two transfers at once make up what the server
/// keeps unconfirmed for an agent (packages at 100 Mbit/s over 300 ms); more would only be memory, for
/// what a slow disk has not taken yet waits in it.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// What all streams together may. quinn's default is without a bound.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// What the agent may have in flight towards the server.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Streams that the server may open; each allowed one costs memory at connect.
const MAX_BIDI: u32 = 8;
/// Likewise, one-way.
const MAX_UNI: u32 = 16;

/// An endpoint of its own that dials peers of this address's family.
pub(super) fn client(peer: SocketAddr) -> io::Result<Endpoint> {
    bound(match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    })
}

/// An endpoint that dials from this address.
pub(super) fn bound(local: IpAddr) -> io::Result<Endpoint> {
    let socket = open(local)?;
    if !plain_is_forced() {
        let native = socket.try_clone()?;
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            None,
            native.into(),
            Arc::new(TokioRuntime),
        );
        match endpoint {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => log_fallback(&error),
        }
    }
    socket.set_nonblocking(true)?;
    let plain = Arc::new(PlainUdp::new(socket.into())?);
    Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        None,
        plain,
        Arc::new(TokioRuntime),
    )
}

/// What a connection may use.
pub(super) fn transport(timing: &Timing) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_BIDI))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_UNI))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .keep_alive_interval(Some(timing.keepalive))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    // A timeout over what the protocol can carry would mean none at all.
    let idle = timing
        .idle_timeout
        .try_into()
        .unwrap_or_else(|_| VarInt::from_u32(45_000).into());
    config.max_idle_timeout(Some(idle));
    config
}

/// Sends a packet that the server must answer, now.
///
/// A packet that was lost is repeated after twice as long each time; a server that was away for eight
/// seconds would be asked again after another eight. Something new is sent at once. quinn has no ping
/// of its own, so the window is announced anew, a byte wider; taking the byte back first keeps it from
/// growing.
pub(super) fn ask(connection: &Connection) {
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES + 1));
}

fn open(local: IpAddr) -> io::Result<Socket> {
    let local = SocketAddr::from((local, 0));
    let domain = Domain::for_address(local);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // The system may grant less; it works all the same, only slower.
    let asked = socket
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    tracing::debug!(
        asked_bytes = SOCKET_BUFFER_BYTES,
        receive_bytes = socket.recv_buffer_size().unwrap_or_default(),
        send_bytes = socket.send_buffer_size().unwrap_or_default(),
        error = asked.err().map(tracing::field::display),
        "socket buffers granted"
    );
    socket.bind(&local.into())?;
    Ok(socket)
}

fn plain_is_forced() -> bool {
    std::env::var_os("TENTACLE_PLAIN_UDP").is_some_and(|value| value == "1")
}

fn log_fallback(error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            %error,
            "this system lacks socket options that QUIC likes to have; a plain UDP socket is used, which is slower"
        );
    });
}
