//! The agent's connection and driver, with a witness between them.

use std::sync::{Arc, Mutex};

use mantle_shared::protocol::{CancelAnswer, CancelAttempt, Message, StartAnswer, StartAttempt};
use mantle_tests::binaries::binary;
use tentacle::connection::{self, Timing};
use tentacle::driver::{Driver, DriverConfig};
use tentacle::link::{Link, LinkCommand, LinkEvent, LinkPeer, link};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Home;
use super::link::settings;

/// What passed between connection and driver.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Orders that arrived.
    pub starts: Vec<StartAttempt>,
    /// The driver's answers.
    pub answers: Vec<StartAnswer>,
    /// Cancels that arrived.
    pub cancels: Vec<CancelAttempt>,
    /// The driver's answers to them.
    pub cancel_answers: Vec<CancelAnswer>,
    /// How often a server took the agent in.
    pub connections: usize,
    /// Why connections ended.
    pub ends: Vec<String>,
}

/// An agent in this process; its supervisors are processes of the real binary.
pub struct FullAgent {
    seen: Arc<Mutex<Seen>>,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<()>,
}

impl FullAgent {
    /// Starts it.
    pub fn start(home: &Home, timing: Timing) -> Self {
        let settings = settings(home, timing);
        let config = DriverConfig {
            program: binary("tentacle"),
            ..DriverConfig::new(home.state_dir())
        };
        let driver = Driver::open(config).unwrap();
        let (outer, outer_peer) = link(driver.facts());
        let (inner, inner_peer) = link(driver.facts());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection::run(settings, outer_peer));
        tasks.spawn(witness(outer, inner_peer, Arc::clone(&seen)));
        tasks.spawn(driver.run(inner, async move {
            let _ = stopped.await;
        }));
        Self {
            seen,
            stop: Some(stop),
            tasks,
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Stops it in good order; running steps go on.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Passes everything on, and remembers some.
async fn witness(mut outer: Link, mut inner: LinkPeer, seen: Arc<Mutex<Seen>>) {
    loop {
        tokio::select! {
            event = outer.events.recv() => {
                let Some(event) = event else { return };
                note_event(&mut seen.lock().unwrap(), &event);
                if inner.events.send(event).await.is_err() {
                    return;
                }
            }
            command = inner.commands.recv() => {
                let Some(command) = command else { return };
                match &command {
                    LinkCommand::Control(Message::StartAnswer(answer)) => {
                        seen.lock().unwrap().answers.push(answer.clone());
                    }
                    LinkCommand::Control(Message::CancelAnswer(answer)) => {
                        seen.lock().unwrap().cancel_answers.push(answer.clone());
                    }
                    LinkCommand::Begin { .. }
                    | LinkCommand::Control(_)
                    | LinkCommand::Reports { .. }
                    | LinkCommand::Acquire(_)
                    | LinkCommand::Close => {}
                }
                if outer.commands.send(command).await.is_err() {
                    return;
                }
            }
            changed = inner.facts.changed() => {
                if changed.is_err() {
                    return;
                }
                let facts = inner.facts.borrow_and_update().clone();
                outer.facts.send_replace(facts);
            }
        }
    }
}

fn note_event(seen: &mut Seen, event: &LinkEvent) {
    match event {
        LinkEvent::Connected { .. } => seen.connections += 1,
        LinkEvent::Received(Message::StartAttempt(start)) => seen.starts.push(start.clone()),
        LinkEvent::Received(Message::CancelAttempt(cancel)) => seen.cancels.push(cancel.clone()),
        LinkEvent::Received(_) | LinkEvent::NotConnected { .. } => {}
        LinkEvent::Disconnected { reason } => seen.ends.push(reason.clone()),
    }
}
