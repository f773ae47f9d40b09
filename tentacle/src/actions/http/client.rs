//! One request over HTTP/1.1, with a deadline for all of it.
//!
//! Small on purpose: no redirects, no cookies, no compression, one connection a request. What comes
//! is bounded: the head to 64 KiB, the body to 1 MiB, of which more is simply not read.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::url::Url;
use crate::actions::StopToken;

const MAX_HEAD_BYTES: u64 = 64 * 1024;
const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// How often a waiting read looks whether it should stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Answer {
    pub(in crate::actions) status: u16,
    pub(in crate::actions) reason: String,
    pub(in crate::actions) body: Vec<u8>,
}

/// What is sent along.
pub(in crate::actions) struct Body<'a> {
    /// Its media type.
    pub(in crate::actions) kind: &'a str,
    pub(in crate::actions) bytes: &'a [u8],
}

/// What is asked, and until when. With a body it is a POST, without one a GET.
pub(in crate::actions) struct Request<'a> {
    pub(in crate::actions) url: &'a Url,
    pub(in crate::actions) headers: &'a BTreeMap<String, String>,
    pub(in crate::actions) body: Option<Body<'a>>,
    pub(in crate::actions) tls: Option<&'a Arc<ClientConfig>>,
    pub(in crate::actions) deadline: Instant,
    pub(in crate::actions) stop: &'a StopToken,
}

/// Refuses headers that would break the request.
pub(in crate::actions) fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in headers {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(format!("headers: {name:?} is no header name"));
        }
        if value.contains(['\r', '\n', '\0']) {
            return Err(format!("headers: the value of {name} holds a line break"));
        }
    }
    Ok(())
}

impl Request<'_> {
    /// Sends it; the error is for people.
    pub(in crate::actions) fn send(&self) -> Result<Answer, String> {
        let stream = self.connect()?;
        let answer = match self.tls {
            None => self.exchange(stream),
            Some(config) => {
                let name = ServerName::try_from(self.url.host.clone())
                    .map_err(|_| format!("'{}' is no name for TLS", self.url.host))?;
                let connection = ClientConnection::new(Arc::clone(config), name)
                    .map_err(|error| format!("TLS cannot begin: {error}"))?;
                self.exchange(StreamOwned::new(connection, stream))
            }
        };
        answer.map_err(|error| self.explain(&error))
    }

    fn connect(&self) -> Result<Patient<'_>, String> {
        let place = (self.url.host.as_str(), self.url.port);
        let addresses = place
            .to_socket_addrs()
            .map_err(|error| format!("the name '{}' cannot be resolved: {error}", self.url.host))?;
        let mut last = format!("the name '{}' has no address", self.url.host);
        for address in addresses {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    return Patient::new(stream, self.deadline, self.stop)
                        .map_err(|error| error.to_string());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    last = format!("connection refused by {address}: nothing listens there");
                }
                Err(error) => last = format!("no connection to {address}: {error}"),
            }
        }
        Err(last)
    }

    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<Answer> {
        stream.write_all(self.head().as_bytes())?;
        if let Some(body) = &self.body {
            stream.write_all(body.bytes)?;
        }
        stream.flush()?;
        read_answer(stream)
    }

    fn head(&self) -> String {
        let method = self.body.as_ref().map_or("GET", |_| "POST");
        let mut head = format!("{method} {} HTTP/1.1\r\n", self.url.target);
        let mut add = |name: &str, value: &str| {
            if !self
                .headers
                .keys()
                .any(|own| own.eq_ignore_ascii_case(name))
            {
                head.push_str(name);
                head.push_str(": ");
                head.push_str(value);
                head.push_str("\r\n");
            }
        };
        add("Host", &self.url.host_header());
        add(
            "User-Agent",
            concat!("tentacle/", env!("CARGO_PKG_VERSION")),
        );
        add("Accept", "*/*");
        add("Connection", "close");
        if let Some(body) = &self.body {
            add("Content-Type", body.kind);
            add("Content-Length", &body.bytes.len().to_string());
        }
        for (name, value) in self.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }

    fn explain(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::TimedOut => "no complete answer in time".to_owned(),
            io::ErrorKind::UnexpectedEof => "the connection ended before the answer did".to_owned(),
            io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
            _ if self.url.is_https => {
                format!("{error}; if the certificate is one of your own, say 'insecure: true'")
            }
            _ => error.to_string(),
        }
    }
}

fn read_answer(stream: impl Read) -> io::Result<Answer> {
    let mut reader = BufReader::new(stream);
    loop {
        let (status, reason, headers) = read_head(&mut reader)?;
        // 1xx answers precede the real one.
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let body = if status == 204 || status == 304 {
            Vec::new()
        } else {
            read_body(&mut reader, &headers)?
        };
        return Ok(Answer {
            status,
            reason,
            body,
        });
    }
}

type Headers = Vec<(String, String)>;

fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, String, Headers)> {
    let mut head = reader.take(MAX_HEAD_BYTES);
    let first = read_line(&mut head)?;
    let mut parts = first.splitn(3, ' ');
    let version = parts.next().unwrap_or_default();
    let status = parts.next().and_then(|code| code.parse::<u16>().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err(invalid("what answers does not speak HTTP/1"));
    };
    let reason: String = parts
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(80)
        .collect();
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut head)?;
        if line.is_empty() {
            return Ok((status, reason, headers));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

/// One line without its end.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_body(reader: &mut impl BufRead, headers: &Headers) -> io::Result<Vec<u8>> {
    let header = |name: &str| {
        headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return read_chunked(reader);
    }
    let mut body = Vec::new();
    match header("content-length") {
        Some(length) => {
            let length: u64 = length
                .parse()
                .map_err(|_| invalid("the answer's length is no number"))?;
            let due = length.min(MAX_BODY_BYTES);
            reader.take(due).read_to_end(&mut body)?;
            if (body.len() as u64) < due {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        None => match reader.take(MAX_BODY_BYTES).read_to_end(&mut body) {
            // Without a length the end of the connection is the end of the body, and many servers
            // end it without TLS's farewell.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            other => {
                other?;
            }
        },
    }
    Ok(body)
}

fn read_chunked(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(&mut reader.take(MAX_HEAD_BYTES))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| invalid("a chunk of the answer has no size"))?;
        if size == 0 {
            return Ok(body);
        }
        let room = MAX_BODY_BYTES.saturating_sub(body.len() as u64);
        if size > room {
            reader.take(room).read_to_end(&mut body)?;
            return Ok(body);
        }
        let before = body.len() as u64;
        reader.take(size).read_to_end(&mut body)?;
        if (body.len() as u64) < before + size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_line(&mut reader.take(MAX_HEAD_BYTES))?;
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A TCP stream whose reads and writes wait until the deadline, and end when asked to stop.
struct Patient<'a> {
    stream: TcpStream,
    deadline: Instant,
    stop: &'a StopToken,
}

impl<'a> Patient<'a> {
    fn new(stream: TcpStream, deadline: Instant, stop: &'a StopToken) -> io::Result<Self> {
        stream.set_read_timeout(Some(LOOK_INTERVAL))?;
        stream.set_write_timeout(Some(LOOK_INTERVAL))?;
        Ok(Self {
            stream,
            deadline,
            stop,
        })
    }

    fn wait(&self, mut work: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match work(&self.stream) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    if self.stop.is_stopped() || Instant::now() >= self.deadline {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                // Drip-fed answers must not outlive the deadline either.
                Ok(_) if Instant::now() >= self.deadline => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                done => return done,
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.wait(|mut stream| stream.read(bytes))
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
