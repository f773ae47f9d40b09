//! Server-Sent Events: reading the stream, and following one over lost connections.
//!
//! A follower remembers the last sequence that it handed out and asks for what comes after it, so
//! that over any number of reconnects no event is lost and none is seen twice.

use std::time::Duration;

use tokio::time::Instant;

use super::{Client, ClientError};

/// The server sends a comment at least every 10 s; three missed ones mean a dead connection.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest event: a log line of 64 KiB in JSON, escaped at its worst, with room.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// Its name.
    pub name: String,
    /// Its sequence, when it has one.
    pub id: Option<u64>,
    /// Its data.
    pub data: String,
}

/// Takes the bytes of a stream apart.
#[derive(Debug, Default)]
pub struct SseParser {
    buffer: Vec<u8>,
    event: SseEvent,
    has_data: bool,
}

impl SseParser {
    /// Takes more bytes and appends the events that they complete. `false` if an event is larger
    /// than this client accepts.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> bool {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self
            .buffer
            .get(start..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let line = self.buffer.get(start..start + length).unwrap_or_default();
            let line =
                String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            start += length + 1;
            self.line(&line, events);
        }
        self.buffer.drain(..start);
        self.buffer.len() + self.event.data.len() <= MAX_EVENT_BYTES
    }

    fn line(&mut self, line: &str, events: &mut Vec<SseEvent>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = value.parse().ok(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // A comment (empty field) or a field of a later server.
            _ => {}
        }
    }
}

/// What a follower reports.
#[derive(Debug)]
pub enum Followed {
    /// The next event.
    Event(SseEvent),
    /// The connection was lost; it will be tried again after a while.
    Lost(ClientError),
    /// The stream is complete: the server said so.
    End,
}

/// Follows one stream over lost connections, in order, each event once.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    path: Vec<String>,
    after: Option<u64>,
    open: Option<reqwest::Response>,
    parser: SseParser,
    ready: std::collections::VecDeque<SseEvent>,
    backoff: Duration,
    retry_at: Option<Instant>,
    ended: bool,
}

impl Follower {
    /// Follows what comes after a sequence, or everything.
    pub fn new(client: Client, path: &[&str], after: Option<u64>) -> Self {
        Self {
            client,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            after,
            open: None,
            parser: SseParser::default(),
            ready: std::collections::VecDeque::new(),
            backoff: FIRST_BACKOFF,
            retry_at: None,
            ended: false,
        }
    }

    /// The next event. An error is final; a lost connection is not. Cancel safe: what was received
    /// is kept.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if let Some(followed) = self.accept(event) {
                    return Ok(followed);
                }
                continue;
            }
            if self.ended {
                return Ok(Followed::End);
            }
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            if let Err(error) = self.read().await {
                if !error.is_passing() {
                    return Err(error);
                }
                self.lose();
                return Ok(Followed::Lost(error));
            }
        }
    }

    fn accept(&mut self, event: SseEvent) -> Option<Followed> {
        if event.name == "done" {
            self.ended = true;
            return Some(Followed::Event(event));
        }
        if let Some(id) = event.id {
            if self.after.is_some_and(|after| id <= after) {
                return None;
            }
            self.after = Some(id);
        }
        Some(Followed::Event(event))
    }

    fn lose(&mut self) {
        self.open = None;
        self.parser = SseParser::default();
        self.retry_at = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        if self.open.is_none() {
            let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
            self.open = Some(self.client.open_stream(&path, self.after).await?);
        }
        let broken = |why: &str| ClientError::Broken {
            url: self.client.url().to_owned(),
            why: why.to_owned(),
        };
        let Some(response) = self.open.as_mut() else {
            return Err(broken("it was never open"));
        };
        let chunk = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Err(_) => return Err(broken("nothing was heard for 30 s")),
            // Whatever ends a stream early is a lost connection, never a verdict.
            Ok(Err(_)) => return Err(broken("it was cut")),
            Ok(Ok(None)) => return Err(broken("the server closed it")),
            Ok(Ok(Some(chunk))) => chunk,
        };
        let mut events = Vec::new();
        if !self.parser.push(&chunk, &mut events) {
            return Err(ClientError::Strange {
                url: self.client.url().to_owned(),
                why: "an event is larger than 1 MiB".to_owned(),
            });
        }
        if !events.is_empty() {
            self.backoff = FIRST_BACKOFF;
        }
        self.ready.extend(events);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        for piece in pieces {
            assert!(parser.push(piece, &mut events));
        }
        events
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text =
            "id: 7\nevent: log\ndata: {\"a\":1}\n\n: keep-alive\n\nevent: done\r\ndata: ž\r\n\r\n";
        let whole = parse(&[text.as_bytes()]);
        assert_eq!(whole.len(), 2);
        assert_eq!(
            whole.first().map(|e| (e.id, e.data.as_str())),
            Some((Some(7), "{\"a\":1}"))
        );
        assert_eq!(whole.get(1).map(|e| e.data.as_str()), Some("ž"));
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(parse(&single), whole);
    }

    #[tokio::test]
    async fn what_was_seen_before_a_reconnect_is_not_seen_again() {
        let client = Client::new(&crate::client::Endpoint {
            url: "https://127.0.0.1:1".to_owned(),
            trust: crate::client::Trust::System,
            token: None,
        });
        let Ok(client) = client else {
            panic!("no client");
        };
        let mut follower = Follower::new(client, &["x"], Some(5));
        let event = |id| SseEvent {
            name: "log".to_owned(),
            id: Some(id),
            data: String::new(),
        };
        follower
            .ready
            .extend([event(4), event(5), event(6), event(6), event(8)]);
        follower.ready.push_back(SseEvent {
            name: "done".to_owned(),
            ..SseEvent::default()
        });
        let mut seen = Vec::new();
        while let Ok(Followed::Event(event)) = follower.next().await {
            seen.push(event.id);
        }
        assert_eq!(seen, [Some(6), Some(8), None]);
        assert_eq!(follower.after, Some(8));
    }

    #[test]
    fn an_endless_event_is_refused() {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        assert!(!parser.push(&vec![b'x'; MAX_EVENT_BYTES + 1], &mut events));
    }
}
