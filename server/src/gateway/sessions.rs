//! Who is connected, and how to say something to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::{Echo, GoAway, Message, close};
use quinn::{Connection, VarInt};
use tokio::sync::{Notify, watch};

use super::copies::{Copies, Machine};
use super::counters::Counters;
use super::outbox::{Outbox, Refused};

/// Tells one connection of an agent from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// The connected agents. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    open: Mutex<HashMap<AgentId, Open>>,
    /// Rung when a connection was taken out.
    left: Notify,
    /// Machines that were turned away as copies.
    copies: Copies,
    /// The number of the last sign of life that was asked for, of any agent.
    asked: AtomicU64,
}

struct Open {
    id: SessionId,
    connection: Connection,
    control: Outbox,
    counters: Arc<Counters>,
    machine: Machine,
    /// The highest number among its signs of life.
    alive: watch::Sender<u64>,
}

impl Sessions {
    /// Nobody is connected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a connection in. An older one of the same agent is closed: the newest wins.
    pub(super) fn open(
        &self,
        agent: AgentId,
        connection: Connection,
        control: Outbox,
        counters: Arc<Counters>,
        machine: Machine,
    ) -> SessionId {
        let id = SessionId(self.inner.next.fetch_add(1, Ordering::Relaxed));
        let older = self.lock().insert(
            agent,
            Open {
                id,
                connection,
                control,
                counters,
                machine,
                alive: watch::Sender::new(0),
            },
        );
        if let Some(older) = older {
            older
                .connection
                .close(VarInt::from_u32(close::SUPERSEDED), b"");
        }
        id
    }

    /// Takes a connection out, unless a newer one of the same agent is there.
    pub(super) fn close_session(&self, agent: AgentId, session: SessionId) {
        let mut open = self.lock();
        if open.get(&agent).is_some_and(|known| known.id == session) {
            open.remove(&agent);
            self.inner.left.notify_waiters();
        }
    }

    /// Says something to an agent on this connection and no other; `false` if it was not
    /// taken: the connection is gone, or no message can hold it.
    pub fn send(&self, agent: AgentId, session: SessionId, message: Message) -> bool {
        // Encoding a large order takes a while: nobody else waits for it.
        let control = match self.lock().get(&agent) {
            Some(known) if known.id == session => known.control.clone(),
            Some(_) | None => return false,
        };
        match control.push(&message) {
            Ok(()) => true,
            Err(Refused::Closed | Refused::Unfit) => false,
            Err(Refused::Full) => {
                self.give_up(agent, session);
                false
            }
        }
    }

    /// Disconnects an agent that does not read what it is sent.
    fn give_up(&self, agent: AgentId, session: SessionId) {
        let open = self.lock();
        if let Some(known) = open.get(&agent).filter(|known| known.id == session) {
            Counters::count(&known.counters.slow_agents);
            tracing::warn!(agent.id = %agent, "the agent does not read what it is sent; disconnected");
            known
                .connection
                .close(VarInt::from_u32(close::GOING_AWAY), b"");
        }
    }

    /// Ends an agent's connection at once.
    pub fn disconnect(&self, agent: AgentId, code: u32) {
        if let Some(known) = self.lock().remove(&agent) {
            known.connection.close(VarInt::from_u32(code), b"");
            self.inner.left.notify_waiters();
        }
    }

    /// The agent's connection, whether or not its resync was taken in.
    pub fn current(&self, agent: AgentId) -> Option<SessionId> {
        self.lock().get(&agent).map(|known| known.id)
    }

    /// The agent's connection itself.
    pub(super) fn connection(&self, agent: AgentId) -> Option<Connection> {
        self.lock()
            .get(&agent)
            .map(|known| known.connection.clone())
    }

    /// The agent's connection, and the machine at its other end.
    pub(super) fn machine(&self, agent: AgentId) -> Option<(SessionId, Machine)> {
        let open = self.lock();
        let known = open.get(&agent)?;
        Some((known.id, known.machine.clone()))
    }

    /// Asks an agent on this connection for a sign of life and waits for it; `false` if the connection
    /// is gone. The caller sets the deadline.
    pub(super) async fn ask_for_life(&self, agent: AgentId, session: SessionId) -> bool {
        let number = self.inner.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let signs = match self.lock().get(&agent) {
            Some(known) if known.id == session => known.alive.subscribe(),
            Some(_) | None => return false,
        };
        let echo = Echo {
            request: number,
            payload: Vec::new(),
        };
        let mut signs = signs;
        self.send(agent, session, echo.into())
            && signs.wait_for(|seen| *seen >= number).await.is_ok()
    }

    /// An agent answered an echo; `false` if it was not asked for.
    pub(super) fn is_alive(&self, agent: AgentId, number: u64) -> bool {
        let open = self.lock();
        let was_asked = number > 0 && number <= self.inner.asked.load(Ordering::Relaxed);
        match open.get(&agent) {
            Some(known) if was_asked => {
                known.alive.send_modify(|seen| *seen = number.max(*seen));
                true
            }
            Some(_) | None => false,
        }
    }

    /// The machines that were turned away as copies.
    pub fn copies(&self) -> &Copies {
        &self.inner.copies
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells every agent that the server goes away, and waits until they have heard it and left.
    /// The caller sets the deadline.
    pub(super) async fn go_away(&self, reason: &str, retry_after_ms: u32) {
        let message = Message::from(GoAway {
            retry_after_ms,
            reason: reason.to_owned(),
        });
        let controls: Vec<_> = self
            .lock()
            .values()
            .map(|known| known.control.clone())
            .collect();
        for control in controls {
            let _ = control.push(&message);
            control.end();
        }
        loop {
            let left = self.inner.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AgentId, Open>> {
        self.inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
