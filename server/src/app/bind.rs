//! The two listening sockets, bound before anything else is set up, so that a taken port changes
//! nothing.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::gateway::{SocketBuffers, enlarge_buffers};

/// Enough for the burst of a fleet that reconnects; the kernel caps it at its own limit.
const BACKLOG: i32 = 1024;

/// The server's sockets.
#[derive(Debug)]
pub struct Sockets {
    /// For HTTPS.
    pub https: TcpListener,
    /// For QUIC.
    pub quic: UdpSocket,
    /// What the system gave the latter.
    pub buffers: SocketBuffers,
}

/// A socket cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for {what} on {address}/{protocol}: {why}")]
pub struct BindError {
    /// `HTTPS` or `QUIC`.
    pub what: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The option that chooses another address.
    pub option: &'static str,
    /// Why not.
    pub why: String,
}

impl BindError {
    /// What to type next.
    pub fn help(&self) -> String {
        format!(
            "'ss -lpn sport = :{}' shows who has it; choose another address with {} HOST:PORT",
            self.address.port(),
            self.option
        )
    }
}

/// Binds both. When `quic` asks for port 0, it first tries the number that HTTPS got, so that one
/// number is enough for people.
pub fn bind(https: SocketAddr, quic: SocketAddr) -> Result<Sockets, BindError> {
    let tcp = bind_tcp(https).map_err(|error| refused("HTTPS", "tcp", https, &error))?;
    let port = tcp.local_addr().map_or(0, |address| address.port());
    let udp = if quic.port() == 0 {
        let same = SocketAddr::new(quic.ip(), port);
        UdpSocket::bind(same).or_else(|_| UdpSocket::bind(quic))
    } else {
        UdpSocket::bind(quic)
    };
    let udp = udp.map_err(|error| refused("QUIC", "udp", quic, &error))?;
    udp.set_nonblocking(true)
        .map_err(|error| refused("QUIC", "udp", quic, &error))?;
    Ok(Sockets {
        https: tcp,
        buffers: enlarge_buffers(&udp),
        quic: udp,
    })
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restarted server must get its port back while old connections still linger. On Windows
    // the same option would let a second server take the port away.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn refused(
    what: &'static str,
    protocol: &'static str,
    address: SocketAddr,
    error: &io::Error,
) -> BindError {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another program".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this user may not (ports below 1024 are for root)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    };
    BindError {
        what,
        address,
        protocol,
        option: if protocol == "tcp" {
            "--listen-https"
        } else {
            "--listen-quic"
        },
        why,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_port_in_use_is_named_with_the_option_that_chooses_another() {
        let taken = TcpListener::bind(any()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address, any()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen for HTTPS on {address}/tcp: the port is in use by another program"
            )
        );
        assert!(error.help().contains("--listen-https"));

        let taken = UdpSocket::bind(any()).unwrap();
        let error = bind(any(), taken.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("/udp"), "{error}");
        assert!(error.help().contains("--listen-quic"));
    }

    #[test]
    fn quic_follows_the_number_that_https_got() {
        // Another program may hold that UDP port at that moment, so one success of several counts.
        let follows = (0..5).any(|_| {
            let sockets = bind(any(), any()).unwrap();
            sockets.https.local_addr().unwrap().port() == sockets.quic.local_addr().unwrap().port()
        });
        assert!(follows);
    }
}
