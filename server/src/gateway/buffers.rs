//! The buffers of the server's UDP socket: asked for, and looked at what the system gave.
//!
//! A fan-out to a thousand agents is a thousand packets at once, and as many answers. What finds no room
//! is dropped by the kernel without a word, and comes again only when a timer has run out.

use std::net::UdpSocket;

use socket2::SockRef;

/// What is asked for in each direction: a packet to and from each of a few thousand agents.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Linux keeps as much again for its own records, and counts that when it is asked.
const COUNTED: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

/// What the system gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketBuffers {
    /// For packets that come.
    pub receive_bytes: usize,
    /// For packets that leave.
    pub send_bytes: usize,
}

impl SocketBuffers {
    /// Both are as large as was asked for.
    pub fn are_full(self) -> bool {
        self.receive_bytes.min(self.send_bytes) >= SOCKET_BUFFER_BYTES
    }
}

/// Asks for large buffers and says what was given. Less works too, only worse with many agents.
pub fn enlarge_buffers(socket: &UdpSocket) -> SocketBuffers {
    let socket = SockRef::from(socket);
    // Linux gives what it allows; others refuse what is more, and leave it as it was.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let granted = SocketBuffers {
        receive_bytes: socket.recv_buffer_size().unwrap_or(0) / COUNTED,
        send_bytes: socket.send_buffer_size().unwrap_or(0) / COUNTED,
    };
    if !granted.are_full() {
        tracing::warn!(
            asked_bytes = SOCKET_BUFFER_BYTES,
            receive_bytes = granted.receive_bytes,
            send_bytes = granted.send_bytes,
            "the kernel grants smaller UDP buffers than asked; 'mantle server doctor' says what to type"
        );
    }
    granted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_granted_is_what_the_kernel_allows_and_not_twice_as_much() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let granted = enlarge_buffers(&socket);
        assert!(granted.receive_bytes > 0 && granted.send_bytes > 0);
        #[cfg(target_os = "linux")]
        for (limit, granted) in [
            ("rmem_max", granted.receive_bytes),
            ("wmem_max", granted.send_bytes),
        ] {
            let path = format!("/proc/sys/net/core/{limit}");
            let allowed: usize = std::fs::read_to_string(path)
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            assert_eq!(granted, allowed.min(SOCKET_BUFFER_BYTES), "{limit}");
        }
    }

    #[test]
    fn one_small_direction_is_told() {
        let both = |receive_bytes, send_bytes| SocketBuffers {
            receive_bytes,
            send_bytes,
        };
        let (full, small) = (SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES - 1);
        assert!(both(full, full).are_full());
        assert!(!both(small, full).are_full());
        assert!(!both(full, small).are_full());
    }
}
