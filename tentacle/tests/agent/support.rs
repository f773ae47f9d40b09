//! What the tests share: orders, a supervisor run by hand, a driver with a server made of channels.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mantle_shared::order::{ORDER_FORMAT, Order, OrderVariable, OutputLimits};
use mantle_shared::protocol::{
    Ack, AttemptEnd, AttemptPosition, AttemptReport, CancelAnswer, CancelAttempt, Level, Message,
    Record, RecordBody, RecordHasher, Resynced, StartAnswer, StartAttempt, Stream, Welcome,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, TaskId};
use tentacle::driver::{Driver, DriverConfig};
use tentacle::link::{LinkCommand, LinkEvent, LinkPeer, link};
use tentacle::output::spool::{Next, SpoolReader};
use tentacle::state_dir::StateDir;
use tentacle::supervisor::{files, handover};
use tokio::sync::{mpsc, oneshot};

/// Longer than anything here takes, also on a machine that does other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tentacle"))
}

pub(crate) fn attempt(number: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(77))
}

/// An order for a script.
pub(crate) fn script(number: u128, run: &str) -> Order {
    Order {
        format: ORDER_FORMAT,
        attempt: attempt(number),
        task: task(),
        task_number: "T-7".to_owned(),
        project: "shop".to_owned(),
        environment: "test".to_owned(),
        release: "1.0.0".to_owned(),
        step: "Say".to_owned(),
        action: "Say".to_owned(),
        subject: "web01".to_owned(),
        executor: "web01".to_owned(),
        uses: "script".to_owned(),
        with: serde_json::json!({"run": run}).as_object().unwrap().clone(),
        variables: Vec::new(),
        withheld: Vec::new(),
        packages: Vec::new(),
        timeout_ms: 120_000,
        grace_ms: 500,
        // 32 zero bytes.
        seal_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        output: OutputLimits::default(),
        locks: Vec::new(),
        despite: Vec::new(),
    }
}

pub(crate) fn variable(name: &str, value: &str, sensitive: bool) -> OrderVariable {
    OrderVariable {
        name: name.to_owned(),
        value: value.to_owned(),
        sensitive,
        exported: true,
    }
}

/// A supervisor that a test runs by hand.
pub(crate) struct Supervisor {
    pub(crate) dir: PathBuf,
    pub(crate) attempt: AttemptId,
    child: Child,
}

impl Supervisor {
    pub(crate) fn start(state: &StateDir, order: &Order) -> Self {
        Self::start_with(state, order, |_| {})
    }

    /// With something done to the bytes of the handover.
    pub(crate) fn start_with(
        state: &StateDir,
        order: &Order,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let dir = state.attempt(order.attempt);
        files::prepare(&dir).unwrap();
        let mut child = Command::new(program())
            .arg("exec-attempt")
            .arg("--data")
            .arg(state.root())
            .arg("--dir")
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut bytes = handover::frame(&serde_json::to_vec(order).unwrap());
        change(&mut bytes);
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
        Self {
            dir,
            attempt: order.attempt,
            child,
        }
    }

    pub(crate) fn cancel(&self, grace_ms: u32) {
        files::write_cancel(&self.dir, files::CancelFile { grace_ms }).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn close_wakes(&mut self) {
        drop(self.child.stdout.take());
    }

    /// Waits for its end, where there is no result.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        until("the supervisor's end", || {
            self.child.try_wait().unwrap().is_some()
        });
        self.child.wait().unwrap().code()
    }

    /// Waits for a line, while it runs.
    pub(crate) fn wait_for(&self, text: &str) {
        until("a line", || {
            texts(&records(&self.dir))
                .iter()
                .any(|line| line.contains(text))
        });
    }

    /// Waits for its end; gives it with all records, whose count and digest are checked.
    pub(crate) fn finish(mut self) -> (AttemptEnd, Vec<Record>) {
        until("the supervisor's end", || {
            self.child.try_wait().unwrap().is_some()
        });
        let end = files::read_result(&self.dir, self.attempt)
            .unwrap()
            .expect("a result");
        let records = records(&self.dir);
        check(&end, &records);
        assert!(
            !self.dir.join(files::PRIVATE_DIR).exists(),
            "secrets are left over"
        );
        (end, records)
    }
}

pub(crate) fn check(end: &AttemptEnd, records: &[Record]) {
    let mut hasher = RecordHasher::new();
    for record in records {
        hasher.update(record);
    }
    assert_eq!((end.records, end.log), (hasher.count(), hasher.digest()));
}

pub(crate) fn run(order: &Order) -> (AttemptEnd, Vec<Record>) {
    let (_dir, state) = state();
    Supervisor::start(&state, order).finish()
}

pub(crate) fn state() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().join("state"));
    state.create().unwrap();
    (dir, state)
}

pub(crate) fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    if let Some(mut reader) = SpoolReader::open(dir, 0).unwrap() {
        while let Next::Record(record) = reader.advance().unwrap() {
            records.push(record);
        }
    }
    records
}

pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .filter_map(|record| match &record.body {
            RecordBody::Line { text, .. } => Some(text.clone()),
            _ => None,
        })
        .collect()
}

pub(crate) fn lines(records: &[Record]) -> Vec<(Stream, Level, &str)> {
    records
        .iter()
        .filter_map(|record| match &record.body {
            RecordBody::Line {
                stream,
                level,
                text,
            } => Some((*stream, *level, text.as_str())),
            _ => None,
        })
        .collect()
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same, while the driver goes on.
pub(crate) async fn until_then(what: &str, mut so: impl FnMut() -> bool) {
    let waited = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(what, waited).await;
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(elapsed) => panic!("waited too long for {what}: {elapsed}"),
    }
}

/// A driver, and the server at the other end of its link.
pub(crate) struct World {
    pub(crate) peer: LinkPeer,
    pub(crate) incoming: mpsc::Receiver<Message>,
    reports: mpsc::Sender<Message>,
    driver: tokio::task::JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    request: u64,
    sessions: u64,
}

impl World {
    pub(crate) fn start(state: &StateDir) -> Self {
        let config = DriverConfig {
            program: program(),
            ..DriverConfig::new(state.clone())
        };
        let driver = Driver::open(config).unwrap();
        let (link, peer) = link(driver.facts());
        let (stop, stopped) = oneshot::channel();
        let driver = tokio::spawn(driver.run(link, async move {
            let _ = stopped.await;
        }));
        let (reports, incoming) = mpsc::channel(1024);
        Self {
            peer,
            incoming,
            reports,
            driver,
            stop: Some(stop),
            request: 0,
            sessions: 0,
        }
    }

    /// As kill -9 would: nothing is said, nothing is waited for.
    pub(crate) async fn kill(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }

    /// As SIGTERM would.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        loop {
            match in_time("a close", self.peer.commands.recv()).await {
                Some(LinkCommand::Close) | None => break,
                Some(_) => {}
            }
        }
        drop(self.peer);
        in_time("the driver's end", self.driver).await.unwrap();
    }

    pub(crate) async fn event(&self, event: LinkEvent) {
        in_time("the driver", self.peer.events.send(event))
            .await
            .unwrap();
    }

    /// Connects with this epoch; gives the resync.
    pub(crate) async fn connect(&mut self, epoch: u64) -> Vec<AttemptReport> {
        let welcome = Welcome {
            protocol: 1,
            version: String::new(),
            now_us: 0,
            epoch,
        };
        self.sessions += 1;
        let session = self.sessions;
        self.event(LinkEvent::Connected { session, welcome }).await;
        let mut reports = Vec::new();
        loop {
            if let Message::Resync(resync) = self.control().await {
                reports.extend(resync.reports);
                if resync.last {
                    return reports;
                }
            }
        }
    }

    /// The next message on the control stream; report streams are taken up on the way.
    pub(crate) async fn control(&mut self) -> Message {
        loop {
            match in_time("the driver", self.peer.commands.recv())
                .await
                .expect("a command")
            {
                LinkCommand::Begin { session } => assert_eq!(session, self.sessions),
                LinkCommand::Control(message) => return message,
                LinkCommand::Reports { mut messages, .. } => {
                    let reports = self.reports.clone();
                    tokio::spawn(async move {
                        while let Some(message) = messages.recv().await {
                            if reports.send(message).await.is_err() {
                                return;
                            }
                        }
                    });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn start_attempt(&mut self, epoch: u64, order: &Order) -> StartAnswer {
        self.request += 1;
        let message = StartAttempt {
            request: self.request,
            deadline_ms: 1000,
            epoch,
            task: order.task,
            attempt: order.attempt,
            order: serde_json::to_vec(order).unwrap(),
        };
        self.event(LinkEvent::Received(message.into())).await;
        loop {
            if let Message::StartAnswer(answer) = self.control().await {
                assert_eq!(answer.request, self.request);
                return answer;
            }
        }
    }

    pub(crate) async fn cancel(&mut self, epoch: u64, attempt: AttemptId) -> CancelAnswer {
        self.request += 1;
        let message = CancelAttempt {
            request: self.request,
            deadline_ms: 1000,
            epoch,
            task: task(),
            attempt,
            grace_ms: 300,
        };
        self.event(LinkEvent::Received(message.into())).await;
        loop {
            if let Message::CancelAnswer(answer) = self.control().await {
                return answer;
            }
        }
    }

    pub(crate) async fn resynced(&self, attempt: AttemptId, next_seq: u64) {
        let position = AttemptPosition {
            attempt,
            known: true,
            next_seq,
            end_stored: false,
        };
        let message = Resynced {
            positions: vec![position],
            last: true,
        };
        self.event(LinkEvent::Received(message.into())).await;
    }

    /// The server's answer to a portion of records: what it lacks begins here.
    pub(crate) async fn stored(&self, attempt: AttemptId, next_seq: u64) {
        let position = AttemptPosition {
            attempt,
            known: true,
            next_seq,
            end_stored: false,
        };
        let message = Ack {
            positions: vec![position],
        };
        self.event(LinkEvent::Received(message.into())).await;
    }

    pub(crate) async fn acknowledge(&self, attempt: AttemptId, next_seq: u64) {
        let position = AttemptPosition {
            attempt,
            known: true,
            next_seq,
            end_stored: true,
        };
        let message = Ack {
            positions: vec![position],
        };
        self.event(LinkEvent::Received(message.into())).await;
    }

    /// The connection is gone: what was under way on its streams is gone with it.
    pub(crate) fn reports_anew(world: &mut Self) -> mpsc::Receiver<Message> {
        let (reports, incoming) = mpsc::channel(1024);
        world.reports = reports;
        std::mem::replace(&mut world.incoming, incoming)
    }

    /// The next report, while control goes on.
    pub(crate) async fn report(&mut self) -> Message {
        loop {
            let command = tokio::select! {
                biased;
                message = self.incoming.recv() => return message.expect("a report"),
                command = self.peer.commands.recv() => command,
                () = tokio::time::sleep(PATIENCE) => panic!("waited too long for a report"),
            };
            match command.expect("a command") {
                LinkCommand::Reports { mut messages, .. } => {
                    let reports = self.reports.clone();
                    tokio::spawn(async move {
                        while let Some(message) = messages.recv().await {
                            if reports.send(message).await.is_err() {
                                return;
                            }
                        }
                    });
                }
                LinkCommand::Begin { .. } | LinkCommand::Control(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes reports until the end; the numbers must follow each other from `from`.
    pub(crate) async fn collect(
        &mut self,
        attempt: AttemptId,
        from: u64,
    ) -> (Vec<Record>, AttemptEnd) {
        let mut found = Vec::new();
        loop {
            match self.report().await {
                Message::Records(records) if records.attempt == attempt => {
                    assert_eq!(records.first_seq, from + found.len() as u64);
                    found.extend(records.records);
                }
                Message::AttemptEnded(ended) if ended.attempt == attempt => {
                    assert_eq!(ended.end.records, from + found.len() as u64);
                    return (found, ended.end);
                }
                other => panic!("{}", other.name()),
            }
        }
    }

    /// Takes reports until a line holds this text; gives the records so far.
    pub(crate) async fn collect_until(&mut self, text: &str) -> Vec<Record> {
        let mut found = Vec::new();
        while !texts(&found).iter().any(|line| line.contains(text)) {
            match self.report().await {
                Message::Records(records) => found.extend(records.records),
                other => panic!("{}", other.name()),
            }
        }
        found
    }
}
