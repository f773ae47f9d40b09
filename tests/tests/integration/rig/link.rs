//! The agent's real connection, with the test in the driver's place.

use std::sync::Arc;
use std::time::Duration;

use mantle_shared::protocol::{
    AttemptEnd, AttemptEnded, AttemptReport, Journal, Message, Outcome, RecordHasher, Resync,
    Resynced, StartAnswer, StartAttempt, StartResult,
};
use mantle_shared::{AttemptId, Digest, JournalId};
use tentacle::artifacts::Artifacts;
use tentacle::cache::{Acquirer, Cache};
use tentacle::connection::{self, Settings, Sockets, Timing};
use tentacle::identity::Identities;
use tentacle::link::{HelloFacts, Link, LinkCommand, LinkEvent, LinkPeer, link};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Home, SOON};

/// A connection and the driver's end of it.
pub struct LinkAgent {
    /// The driver's end.
    pub link: Link,
    /// The journal that it says it goes by.
    pub journal: Option<JournalId>,
    task: JoinHandle<()>,
}

impl Drop for LinkAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an agent says of itself that has run nothing.
fn facts() -> HelloFacts {
    HelloFacts {
        features: tentacle::actions::features(),
        boot_id: "boot".to_owned(),
        highest_epoch: 0,
        journal: Digest::of(b""),
    }
}

/// The settings of a connection.
pub fn settings(home: &Home, timing: Timing) -> Settings {
    let state = home.state_dir();
    state.create().unwrap();
    let cache = Cache::at(state.cache());
    cache.prepare().unwrap();
    Settings {
        identities: Identities::load(&home.root).unwrap(),
        timing,
        sockets: Sockets::own(),
        acquirer: Arc::new(Acquirer::new(cache, state.apps())),
        artifacts: Artifacts::at(&state),
    }
}

impl LinkAgent {
    /// Begins to dial, and goes on doing so.
    pub fn start(home: &Home, timing: Timing) -> Self {
        let (link, peer): (Link, LinkPeer) = link(facts());
        let task = tokio::spawn(connection::run(settings(home, timing), peer));
        Self {
            link,
            journal: None,
            task,
        }
    }

    /// Starts under this journal and goes through its first resync.
    pub async fn connect_under(home: &Home, timing: Timing, journal: JournalId) -> Self {
        let mut agent = Self::start(home, timing);
        agent.journal = Some(journal);
        agent.resync(Vec::new()).await;
        agent
    }

    /// Starts and goes through its first resync.
    pub async fn connect(home: &Home, timing: Timing) -> Self {
        let mut agent = Self::start(home, timing);
        agent.resync(Vec::new()).await;
        agent
    }

    /// Ends it for good: once this returns it dials no more, and takes no other connection's place.
    pub async fn leave(mut self) {
        self.task.abort();
        // It was cut off on purpose.
        let _ = (&mut self.task).await;
    }

    /// The next event of the connection, in time.
    pub async fn event_within(&mut self, within: Duration) -> Option<LinkEvent> {
        match tokio::time::timeout(within, self.link.events.recv()).await {
            Ok(event) => Some(event.expect("the connection runs")),
            Err(_) => None,
        }
    }

    /// The next event of the connection.
    pub async fn event(&mut self) -> LinkEvent {
        let event = self.event_within(SOON).await;
        event.unwrap_or_else(|| panic!("waited {SOON:?} for an event of the connection"))
    }

    /// Waits for the next connection and reports this on it.
    pub async fn resync(&mut self, reports: Vec<AttemptReport>) -> Resynced {
        let session = loop {
            match self.event().await {
                LinkEvent::Connected { session, .. } => break session,
                LinkEvent::Disconnected { .. } | LinkEvent::NotConnected { .. } => {}
                LinkEvent::Received(message) => panic!("{} before a welcome", message.name()),
            }
        };
        let begin = LinkCommand::Begin { session };
        self.link.commands.send(begin).await.unwrap();
        if let Some(journal) = self.journal {
            self.say(Journal {
                journal,
                began_at_us: 1,
                after_loss: false,
            })
            .await;
        }
        let last = true;
        self.say(Resync { reports, last }).await;
        match self.message().await {
            Message::Resynced(resynced) => resynced,
            other => panic!("{} in the place of Resynced", other.name()),
        }
    }

    /// Says something on the control stream.
    pub async fn say(&self, message: impl Into<Message>) {
        let command = LinkCommand::Control(message.into());
        self.link.commands.send(command).await.unwrap();
    }

    /// The next message of the server.
    pub async fn message(&mut self) -> Message {
        match self.event().await {
            LinkEvent::Received(message) => message,
            other => panic!("{other:?} in the place of a message"),
        }
    }

    /// The next order to start something.
    pub async fn order(&mut self) -> StartAttempt {
        loop {
            match self.message().await {
                Message::StartAttempt(start) => return start,
                Message::Ack(_) => {}
                other => panic!("{} in the place of an order", other.name()),
            }
        }
    }

    /// Waits until the connection is gone and gives the reason.
    pub async fn gone(&mut self) -> String {
        loop {
            if let LinkEvent::Disconnected { reason } = self.event().await {
                return reason;
            }
        }
    }

    /// Answers that an attempt stands in the journal.
    pub async fn accept(&self, start: &StartAttempt) {
        let (request, attempt) = (start.request, start.attempt);
        let result = StartResult::Accepted;
        self.say(StartAnswer {
            request,
            attempt,
            result,
        })
        .await;
    }

    /// Reports on an attempt's own stream.
    pub async fn report(&self, attempt: AttemptId, reports: Vec<Message>) {
        let (sender, messages) = mpsc::channel(reports.len().max(1));
        for report in reports {
            sender.try_send(report).unwrap();
        }
        let command = LinkCommand::Reports { attempt, messages };
        self.link.commands.send(command).await.unwrap();
    }

    /// Reports that an attempt succeeded without a word.
    pub async fn succeed(&self, attempt: AttemptId) {
        let end = succeeded();
        self.report(attempt, vec![AttemptEnded { attempt, end }.into()])
            .await;
    }
}

/// The end of an attempt that printed nothing.
pub fn succeeded() -> AttemptEnd {
    AttemptEnd {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        message: String::new(),
        records: 0,
        log: RecordHasher::new().digest(),
        started_at_us: 1,
        ended_at_us: 2,
    }
}
