//! What the connection and the driver say to each other.
//!
//! The connection owns the network: it dials or listens, says hello, reconnects, keeps the streams.
//! The driver owns the journal and decides. Between them are channels alone, each bounded, so that
//! either can be tested without the other.
//!
//! After every [`LinkEvent::Connected`] the driver says [`LinkCommand::Begin`], then which
//! [`Journal`](mantle_shared::protocol::Journal) it goes by and its
//! [`Resync`](mantle_shared::protocol::Resync) portions by [`LinkCommand::Control`]; whatever the server then says on the control stream comes as
//! [`LinkEvent::Received`], in order. The connection answers `Echo` and `Unsupported` by itself.

use mantle_shared::protocol::{Acquire, Message, Welcome};
use mantle_shared::{AttemptId, Digest};
use tokio::sync::{mpsc, watch};

/// How many events wait for the driver: more than the answers to one portion of a resync.
pub const EVENTS_QUEUE: usize = 64;
/// How many commands wait for the connection.
pub const COMMANDS_QUEUE: usize = 64;
/// How many report messages (each up to `RECORDS_TARGET_BYTES`) wait for an attempt's stream.
pub const REPORTS_QUEUE: usize = 2;

/// What the connection tells the driver.
#[derive(Debug)]
pub enum LinkEvent {
    /// The server took the agent in. Nothing was sent on the control stream since `Hello`.
    Connected {
        /// Which session this is, counted from 1 since the agent's start.
        session: u64,
        /// What the server said.
        welcome: Welcome,
    },
    /// A message of the server on the control stream.
    Received(Message),
    /// The connection is gone; the connection task is dialling again. Receivers of
    /// [`LinkCommand::Reports`] were dropped.
    Disconnected {
        /// Why, for the log and for `tentacle status`.
        reason: String,
    },
    /// There is no connection, for this reason; the connection task goes on dialling. Told when the
    /// reason is another one, not at each dial, and not at all to a driver that is busy.
    NotConnected {
        /// Why, for `tentacle status`.
        reason: String,
    },
}

/// What the driver tells the connection.
#[derive(Debug)]
pub enum LinkCommand {
    /// The resync of this session begins: what comes before it was meant for an earlier one, and is
    /// dropped. Without the number a last portion that is left over would pass for a whole resync.
    Begin {
        /// The number that came with [`LinkEvent::Connected`].
        session: u64,
    },
    /// Send this on the control stream. Dropped if there is no connection: every answer can be
    /// asked for again, and a resync says the rest.
    Control(Message),
    /// Send what comes out of `messages` (`Records`, then perhaps `AttemptEnded`) on a stream of
    /// this attempt's own while permits last, otherwise on the shared events stream. The sender
    /// waits while the stream is full. When the senders are gone, finish the stream; when the
    /// connection is lost, drop the receiver.
    Reports {
        /// Whose reports.
        attempt: AttemptId,
        /// The reports, in order.
        messages: mpsc::Receiver<Message>,
    },
    /// The brain let this through: bring the packages in, send `AcquireProgress` and, exactly once,
    /// `AcquireAnswer`. Two of the same task may run at once.
    Acquire(Acquire),
    /// The agent goes down: flush the control stream, close with `GOING_AWAY`, end the task.
    Close,
}

/// What `Hello` says of the agent's state; looked at anew on each connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloFacts {
    /// Such as `action:script`.
    pub features: Vec<String>,
    /// Changes when the machine boots.
    pub boot_id: String,
    /// The highest epoch that any server ever sent.
    pub highest_epoch: u64,
    /// The digest of the journal's live state.
    pub journal: Digest,
}

/// The driver's end.
#[derive(Debug)]
pub struct Link {
    /// What the connection says.
    pub events: mpsc::Receiver<LinkEvent>,
    /// What the driver says.
    pub commands: mpsc::Sender<LinkCommand>,
    /// What the next `Hello` says.
    pub facts: watch::Sender<HelloFacts>,
}

/// The connection's end.
#[derive(Debug)]
pub struct LinkPeer {
    /// To the driver.
    pub events: mpsc::Sender<LinkEvent>,
    /// From the driver.
    pub commands: mpsc::Receiver<LinkCommand>,
    /// What `Hello` is to say.
    pub facts: watch::Receiver<HelloFacts>,
}

/// Makes both ends.
pub fn link(facts: HelloFacts) -> (Link, LinkPeer) {
    let (event_sender, events) = mpsc::channel(EVENTS_QUEUE);
    let (commands, command_receiver) = mpsc::channel(COMMANDS_QUEUE);
    let (facts, fact_receiver) = watch::channel(facts);
    (
        Link {
            events,
            commands,
            facts,
        },
        LinkPeer {
            events: event_sender,
            commands: command_receiver,
            facts: fact_receiver,
        },
    )
}
