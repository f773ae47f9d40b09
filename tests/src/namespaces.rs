//! Namespaces of a process's own: mounts, a network, a host name. Debian allows them to everyone, within
//! a user namespace where the caller is not root.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A command that runs its further arguments with these namespaces of its own, such as `--mount`.
pub fn unshare(kinds: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(kinds);
    command
}

/// Does this work in the network of a process: a socket that it opens stays there.
///
/// # Errors
/// When the network cannot be entered, which takes root; and what the work gives.
///
/// # Panics
/// When the work does.
pub fn in_network_of<T: Send>(
    pid: i32,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    // A thread has a network of its own; this one ends with the work.
    let enter = move || {
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().expect("the work"))
}

/// A way from here to a port on the loopback of another network, for TCP; it ends with this.
pub struct WayIn {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl WayIn {
    /// Opens a way to this port in the network of a process.
    ///
    /// # Panics
    /// When no port is free here.
    pub async fn open(pid: i32, port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            while let Ok((mut outer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Where nobody listens the connection ends, as it would without the way.
                    if let Ok(mut inner) = connect(pid, port).await {
                        let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
        Self { address, task }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WayIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(pid: i32, port: u16) -> io::Result<TcpStream> {
    let connect = move || {
        in_network_of(pid, || {
            let stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        })
    };
    let stream = tokio::task::spawn_blocking(connect).await??;
    TcpStream::from_std(stream)
}
