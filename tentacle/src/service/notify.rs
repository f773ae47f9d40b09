//! What the agent's loop tells the service manager: that it runs, that it still goes round, that it
//! ends (`sd_notify`).
//!
//! One datagram each, and nothing that waits: where there is no manager, or it does not read, the loop
//! goes on as if nothing had been said.

use std::time::Duration;

use tokio::time::Instant;

/// The variables by which systemd says where and how often it is to be told. Meant for the agent alone.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// So often a sign of life fits into the time in which one is expected: two may be late or lost.
#[cfg(target_os = "linux")]
const SIGNS_OF_LIFE: u32 = 3;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    #[cfg(target_os = "linux")]
    socket: Option<std::os::unix::net::UnixDatagram>,
    every: Option<Duration>,
    last: Option<Instant>,
    said: String,
}

impl Manager {
    /// No manager.
    pub fn none() -> Self {
        Self::default()
    }

    /// The manager that started this process, by its environment.
    #[cfg(target_os = "linux")]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// There is none of this kind.
    #[cfg(not(target_os = "linux"))]
    pub fn from_environment() -> Self {
        Self::none()
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let [socket, usec, pid] = VARIABLES;
        // The watchdog may be another process's, of which this one is a child.
        let ours = number(pid).is_none_or(|pid| pid == u64::from(std::process::id()));
        let expected = number(usec).filter(|usec| ours && *usec > 0);
        Self {
            socket: variable(socket).and_then(|name| connect(&name).ok()),
            every: expected.map(|usec| Duration::from_micros(usec) / SIGNS_OF_LIFE),
            last: None,
            said: String::new(),
        }
    }

    /// The agent works.
    pub fn ready(&mut self, status: &str) {
        status.clone_into(&mut self.said);
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// The loop has gone round once more. Says so where it is expected, and the status where it is news.
    pub fn alive(&mut self, now: Instant, status: &str) {
        let mut words = String::new();
        let due = |last: Instant, every| now.saturating_duration_since(last) >= every;
        if let Some(every) = self.every
            && self.last.is_none_or(|last| due(last, every))
        {
            self.last = Some(now);
            words.push_str("WATCHDOG=1\n");
        }
        if status != self.said {
            status.clone_into(&mut self.said);
            words.push_str("STATUS=");
            words.push_str(status);
        }
        if !words.is_empty() {
            self.say(words.trim_end());
        }
    }

    /// The agent ends.
    pub fn stopping(&mut self) {
        self.say("STOPPING=1\nSTATUS=stopping; running steps go on");
    }

    #[cfg(target_os = "linux")]
    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket {
            // A manager that does not read is told the next time.
            let _ = socket.send(words.as_bytes());
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn say(&self, _words: &str) {}
}

#[cfg(target_os = "linux")]
fn connect(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::ffi::OsString;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::path::Path;

    use super::*;

    fn variables(socket: OsString, usec: &str, pid: &str) -> Manager {
        let (usec, pid) = (OsString::from(usec), OsString::from(pid));
        Manager::from_variables(move |name| match name {
            "NOTIFY_SOCKET" => Some(socket.clone()),
            "WATCHDOG_USEC" => Some(usec.clone()),
            "WATCHDOG_PID" => Some(pid.clone()),
            _ => None,
        })
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    fn listen(path: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    #[test]
    fn the_manager_hears_of_the_beginning_the_life_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = listen(&path);
        let own = std::process::id().to_string();
        let mut manager = variables(path.into(), "3000000", &own);
        manager.ready("not connected");
        assert_eq!(heard(&socket).unwrap(), "READY=1\nSTATUS=not connected");
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        manager.alive(begin, "not connected");
        assert_eq!(heard(&socket).unwrap(), "WATCHDOG=1");
        // Not sooner than it has to, and the status only when it is another.
        manager.alive(begin + second / 2, "not connected");
        assert_eq!(heard(&socket), None);
        manager.alive(begin + second, "connected");
        assert_eq!(heard(&socket).unwrap(), "WATCHDOG=1\nSTATUS=connected");
        manager.alive(begin + second, "not connected");
        assert_eq!(heard(&socket).unwrap(), "STATUS=not connected");
        manager.stopping();
        assert!(heard(&socket).unwrap().starts_with("STOPPING=1\n"));
    }

    #[test]
    fn a_socket_without_a_file_is_found_and_anothers_watchdog_is_not_fed() {
        let name = format!("mantle-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut manager = variables(format!("@{name}").into(), "3000000", "1");
        manager.ready("here");
        assert!(heard(&socket).unwrap().contains("READY=1"));
        manager.alive(Instant::now(), "here");
        assert_eq!(heard(&socket), None);
    }

    #[test]
    fn without_a_manager_or_with_one_that_is_gone_nothing_happens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = listen(&path);
        let mut manager = variables(path.clone().into(), "x", "y");
        drop(socket);
        manager.ready("here");
        manager.alive(Instant::now(), "there");
        let mut none = variables("relative/and/missing".into(), "", "");
        none.ready("here");
        Manager::none().stopping();
    }
}
