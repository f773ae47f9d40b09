//! A load generator that hides nothing: keep-alive connections, no retries, every request recorded.
//!
//! Requests start on a fixed schedule, whatever became of those before. A connection is used until
//! the peer closes it in good order (after an answer, by `Connection: close`) or an error ends it;
//! an error is a failed request and never tried again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout};

/// What the load is.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Where requests go.
    pub target: SocketAddr,
    /// How many start each second.
    pub per_second: u32,
    /// One of this many asks for `/slow`.
    pub slow_one_in: u64,
    /// How many connections are held.
    pub connections: usize,
}

impl LoadOptions {
    /// 250 requests a second, one in ten slow. With answers after two seconds 50 are under way at
    /// any time; twice as many connections leave room for a queue.
    pub fn of(target: SocketAddr) -> Self {
        Self {
            target,
            per_second: 250,
            slow_one_in: 10,
            connections: 120,
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent.
    pub started: Instant,
    /// When its answer was there, or its error.
    pub ended: Instant,
    /// It asked for `/slow`.
    pub slow: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer.
    Answered {
        /// The status.
        status: u16,
        /// Which server answered, by its own word.
        server: String,
        /// Which version it served, by its own word.
        version: String,
    },
    /// No whole answer: why.
    Failed(String),
}

impl Sample {
    /// A whole answer with status 200.
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { status: 200, .. })
    }
}

/// All requests of a load.
#[derive(Debug, Default)]
pub struct Report {
    /// The requests, in the order of their ends.
    pub samples: Vec<Sample>,
}

impl Report {
    /// Requests without a good answer.
    pub fn failures(&self) -> Vec<&Sample> {
        self.samples.iter().filter(|s| !s.is_good()).collect()
    }

    /// Requests that were under way at some time between two moments.
    pub fn between(&self, from: Instant, to: Instant) -> usize {
        self.samples
            .iter()
            .filter(|s| s.started <= to && s.ended >= from)
            .count()
    }

    /// Requests sent after `since` that `server` answered with the version `old`.
    pub fn served_after(&self, server: &str, old: &str, since: Instant) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|sample| {
                sample.started > since
                    && matches!(&sample.outcome, Outcome::Answered { server: s, version, .. }
                        if s == server && version == old)
            })
            .collect()
    }

    /// Requests started a second, over the whole load.
    pub fn per_second(&self) -> f64 {
        let first = self.samples.iter().map(|s| s.started).min();
        let last = self.samples.iter().map(|s| s.started).max();
        match (first, last) {
            (Some(first), Some(last)) if last > first => {
                self.samples.len() as f64 / (last - first).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// One quick request on a connection of its own.
pub async fn get(target: SocketAddr) -> Result<Outcome, String> {
    timeout(REQUEST_DEADLINE, request(&mut None, target, false))
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// A load that runs.
pub struct Load {
    stopping: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    samples: mpsc::UnboundedReceiver<Sample>,
}

impl Load {
    /// Starts it; to be called within a runtime.
    pub fn start(options: LoadOptions) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        // Tickets that wait for a connection are bounded by a second's worth.
        let (tickets, due) = mpsc::channel(options.per_second as usize);
        let (record, samples) = mpsc::unbounded_channel();
        let due = Arc::new(Mutex::new(due));
        let mut tasks = JoinSet::new();
        tasks.spawn(schedule(options, Arc::clone(&stopping), tickets));
        for _ in 0..options.connections {
            tasks.spawn(work(options.target, Arc::clone(&due), record.clone()));
        }
        Self {
            stopping,
            tasks,
            samples,
        }
    }

    /// Starts no more requests, waits for those under way, and gives all.
    pub async fn stop(mut self) -> Report {
        self.stopping.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
        let mut report = Report::default();
        while let Some(sample) = self.samples.recv().await {
            report.samples.push(sample);
        }
        report
    }
}

async fn schedule(options: LoadOptions, stopping: Arc<AtomicBool>, tickets: mpsc::Sender<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / options.per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0_u64.. {
        ticks.tick().await;
        // Its place in each round moves on, or a balancer that takes turns would give all the slow
        // ones to the same servers.
        let (round, place) = (number / options.slow_one_in, number % options.slow_one_in);
        let slow = place == round % options.slow_one_in;
        if stopping.load(Ordering::SeqCst) || tickets.send(slow).await.is_err() {
            return;
        }
    }
}

/// No request takes longer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

async fn work(
    target: SocketAddr,
    due: Arc<Mutex<mpsc::Receiver<bool>>>,
    record: mpsc::UnboundedSender<Sample>,
) {
    let mut connection: Option<Connection> = None;
    loop {
        let Some(slow) = due.lock().await.recv().await else {
            return;
        };
        let started = Instant::now();
        let answer = timeout(REQUEST_DEADLINE, request(&mut connection, target, slow)).await;
        let outcome = match answer {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                connection = None;
                Outcome::Failed(error)
            }
            Err(_) => {
                connection = None;
                Outcome::Failed("no answer in time".to_owned())
            }
        };
        let sample = Sample {
            started,
            ended: Instant::now(),
            slow,
            outcome,
        };
        if record.send(sample).is_err() {
            return;
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

async fn request(
    held: &mut Option<Connection>,
    target: SocketAddr,
    slow: bool,
) -> Result<Outcome, String> {
    let mut connection = if let Some(connection) = held.take() {
        connection
    } else {
        let stream = TcpStream::connect(target)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        Connection {
            stream,
            buffer: Vec::new(),
        }
    };
    let path = if slow { "/slow" } else { "/" };
    let text = format!("GET {path} HTTP/1.1\r\nHost: octofx\r\n\r\n");
    connection
        .stream
        .write_all(text.as_bytes())
        .await
        .map_err(|error| format!("send: {error}"))?;
    let (outcome, goes_on) = connection.answer().await?;
    if goes_on {
        *held = Some(connection);
    }
    Ok(outcome)
}

impl Connection {
    /// The answer, and whether the connection can be used again.
    async fn answer(&mut self) -> Result<(Outcome, bool), String> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| format!("not an answer: {head}"))?;
        let length = header(&head, "content-length").and_then(|value| value.parse().ok());
        let closes = header(&head, "connection").is_some_and(|value| value == "close");
        match length {
            Some(length) => {
                while self.buffer.len() < length {
                    self.more().await?;
                }
                self.buffer.drain(..length);
            }
            // Without a length the body lasts as long as the connection.
            None if closes => while self.more().await.is_ok() {},
            None => return Err(format!("an answer without a length: {head}")),
        }
        let outcome = Outcome::Answered {
            status,
            server: header(&head, "x-server").unwrap_or_default(),
            version: header(&head, "x-version").unwrap_or_default(),
        };
        Ok((outcome, !closes))
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("receive: {error}")),
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}
