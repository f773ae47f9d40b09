//! What waits to be said to one agent, bounded in messages and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mantle_shared::protocol::Message;
use tokio::sync::mpsc;

/// How many messages wait for one agent. An agent that reads nothing is disconnected, not waited
/// for: it reports its whole journal when it comes back.
const MESSAGES: usize = 1024;
/// How many bytes wait for one agent: eight of the largest orders. Times the agents that read
/// nothing, for as long as they are given.
const BYTES: usize = 32 * 1024 * 1024;

/// What goes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A message's frame.
    Frame(Vec<u8>),
    /// Nothing more: the stream ends when everything before was received.
    Last,
}

/// Makes both ends.
pub(super) fn outbox() -> (Outbox, Queue) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        receiver,
        bytes: Arc::clone(&bytes),
    };
    (Outbox { sender, bytes }, queue)
}

/// Takes messages. Never waits.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits already.
    Full,
    /// Nobody writes any more.
    Closed,
    /// It cannot be written as a message, most likely because it is too large. It never will be.
    Unfit,
}

impl Outbox {
    /// Puts a message behind the others.
    pub(super) fn push(&self, message: &Message) -> Result<(), Refused> {
        let frame = match message.to_frame() {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(message = message.name(), %error, "a message could not be encoded");
                return Err(Refused::Unfit);
            }
        };
        let length = frame.len();
        if self.bytes.fetch_add(length, Ordering::Relaxed) + length > BYTES {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        self.sender
            .try_send(Outgoing::Frame(frame))
            .map_err(|error| {
                self.bytes.fetch_sub(length, Ordering::Relaxed);
                match error {
                    mpsc::error::TrySendError::Full(_) => Refused::Full,
                    mpsc::error::TrySendError::Closed(_) => Refused::Closed,
                }
            })
    }

    /// Ends the stream behind what was said so far.
    pub(super) fn end(&self) {
        // Where there is no room, nothing is read: such a stream need not end in good order.
        let _ = self.sender.try_send(Outgoing::Last);
    }
}

/// Gives frames out, in order.
#[derive(Debug)]
pub(super) struct Queue {
    receiver: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// What goes out next; `None` once nobody can say anything any more.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        self.receiver.recv().await
    }

    /// A frame of this length has left.
    pub(super) fn written(&self, length: usize) {
        self.bytes.fetch_sub(length, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::protocol::Echo;

    use super::*;

    fn echo(bytes: usize) -> Message {
        let payload = vec![0; bytes];
        Echo {
            request: 1,
            payload,
        }
        .into()
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_come_free_when_they_were_written() {
        let (outbox, mut queue) = outbox();
        let message = echo(4 * 1024 * 1024 - 64);
        let taken = (0..20)
            .take_while(|_| outbox.push(&message).is_ok())
            .count();
        assert_eq!(taken, 8);
        assert_eq!(outbox.push(&message), Err(Refused::Full));
        let Some(Outgoing::Frame(frame)) = queue.next().await else {
            panic!("there are frames");
        };
        queue.written(frame.len());
        assert_eq!(outbox.push(&message), Ok(()));
    }

    #[tokio::test]
    async fn what_no_message_can_hold_is_refused_and_not_taken_for_sent() {
        let (outbox, _queue) = outbox();
        assert_eq!(outbox.push(&echo(4 * 1024 * 1024 + 1)), Err(Refused::Unfit));
        assert_eq!(outbox.push(&echo(1)), Ok(()));
    }

    #[tokio::test]
    async fn messages_are_bounded_and_a_closed_queue_says_so() {
        let (outbox, queue) = outbox();
        let taken = (0..5000)
            .take_while(|_| outbox.push(&echo(1)).is_ok())
            .count();
        assert_eq!(taken, MESSAGES);
        drop(queue);
        assert_eq!(outbox.push(&echo(1)), Err(Refused::Closed));
    }
}
