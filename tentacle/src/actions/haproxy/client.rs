//! HAProxy's runtime API: one connection a command, the answer until it closes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where distributions and manuals put the socket.
const USUAL_SOCKETS: &[&str] = &[
    "/run/haproxy/admin.sock",
    "/var/run/haproxy/admin.sock",
    "/run/haproxy.sock",
    "/var/run/haproxy.sock",
    "/var/lib/haproxy/stats",
    "/var/lib/haproxy/admin.sock",
];
/// HAProxy answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read: some thousands of servers.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Why HAProxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "no HAProxy socket was found (looked for {tried}); say where it is with 'socket', a path or HOST:PORT, and give the configuration's global section a line such as 'stats socket /run/haproxy/admin.sock mode 660 level admin'"
    )]
    NoSocket { tried: String },
    #[error(
        "the HAProxy socket {} is not there; is HAProxy running, and does its configuration say 'stats socket {} level admin'?",
        .path.display(), .path.display()
    )]
    Missing { path: PathBuf },
    #[cfg(unix)]
    #[error(
        "the agent may not use the HAProxy socket {}; add the agent's user to the socket's group, or give the socket 'mode 660 group ...' in HAProxy's configuration",
        .path.display()
    )]
    Permission { path: PathBuf },
    #[error("'{text}' is no HAProxy socket: write a path or HOST:PORT")]
    Address { text: String },
    #[error("HAProxy does not answer at {place}")]
    Unreachable {
        place: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "the HAProxy socket at {place} does not have the right to change anything; give it 'level admin' in HAProxy's configuration"
    )]
    Level { place: String },
    #[error("HAProxy at {place} refused '{command}': {answer}")]
    Refused {
        place: String,
        command: String,
        answer: String,
    },
}

/// Where HAProxy listens for commands.
#[derive(Debug, Clone)]
pub(super) enum Client {
    Path(PathBuf),
    Tcp(String),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl Client {
    /// The socket that was named, or the first usual one that is there.
    pub(super) fn open(socket: Option<&str>) -> Result<Self, ClientError> {
        match socket.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => Self::named(text),
            None => Self::usual(USUAL_SOCKETS),
        }
    }

    fn named(text: &str) -> Result<Self, ClientError> {
        let text = text.strip_prefix("unix@").unwrap_or(text);
        if text.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        let address = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("ipv4@"))
            .unwrap_or(text);
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if matches!(port, Some(Ok(port)) if port > 0) {
            return Ok(Self::Tcp(address.to_owned()));
        }
        Err(ClientError::Address {
            text: text.to_owned(),
        })
    }

    fn usual(places: &[&str]) -> Result<Self, ClientError> {
        places
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .map(|path| Self::Path(path.to_owned()))
            .ok_or_else(|| ClientError::NoSocket {
                tried: places.join(", "),
            })
    }

    /// Asks something; the answer as it is.
    pub(super) fn ask(&self, command: &str) -> Result<String, ClientError> {
        let answer = match self {
            Self::Path(path) => self.ask_path(path, command)?,
            Self::Tcp(address) => {
                let stream = connect(address).map_err(|source| self.unreachable(source))?;
                exchange(stream, command).map_err(|source| self.unreachable(source))?
            }
        };
        if answer.trim().eq_ignore_ascii_case("permission denied") {
            return Err(ClientError::Level {
                place: self.to_string(),
            });
        }
        Ok(answer)
    }

    /// Orders something: HAProxy says nothing when it obeys.
    pub(super) fn order(&self, command: &str) -> Result<(), ClientError> {
        let answer = self.ask(command)?;
        if answer.trim().is_empty() {
            return Ok(());
        }
        Err(ClientError::Refused {
            place: self.to_string(),
            command: command.to_owned(),
            answer: answer.trim().chars().take(300).collect(),
        })
    }

    #[cfg(unix)]
    fn ask_path(&self, path: &Path, command: &str) -> Result<String, ClientError> {
        let stream =
            std::os::unix::net::UnixStream::connect(path).map_err(|source| {
                match source.kind() {
                    io::ErrorKind::NotFound => ClientError::Missing {
                        path: path.to_owned(),
                    },
                    io::ErrorKind::PermissionDenied => ClientError::Permission {
                        path: path.to_owned(),
                    },
                    _ => self.unreachable(source),
                }
            })?;
        stream
            .set_read_timeout(Some(TIMEOUT))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
            .and_then(|()| exchange(stream, command))
            .map_err(|source| self.unreachable(source))
    }

    #[cfg(not(unix))]
    fn ask_path(&self, path: &Path, _command: &str) -> Result<String, ClientError> {
        Err(ClientError::Missing {
            path: path.to_owned(),
        })
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable {
            place: self.to_string(),
            source,
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: impl Read + Write, command: &str) -> io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_as_people_write_them() {
        for (text, shown) in [
            ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("unix@/x", "/x"),
            ("127.0.0.1:9999", "127.0.0.1:9999"),
            ("tcp://lb01:9999", "lb01:9999"),
        ] {
            assert_eq!(Client::open(Some(text)).unwrap().to_string(), shown);
        }
        for text in ["lb01", "lb01:", "lb01:0", "run/x"] {
            assert!(matches!(
                Client::open(Some(text)),
                Err(ClientError::Address { .. })
            ));
        }
    }

    #[test]
    fn without_a_socket_the_error_says_where_was_looked() {
        let error = Client::usual(&["/no/such/socket"]).unwrap_err().to_string();
        assert!(
            error.contains("/no/such/socket") && error.contains("level admin"),
            "{error}"
        );
    }
}
