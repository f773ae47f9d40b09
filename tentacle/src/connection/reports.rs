//! The streams on which attempts report.
//!
//! A live attempt has a stream of its own while permits last, so that one that the server reads
//! slowly holds up no other. The rest share one stream; what they send is framed by attempt id
//! anyway. Back-pressure is the stream's: when the server does not read, the write waits, the
//! attempt's channel fills, and the driver leaves the records on disk. That wait has no deadline of
//! its own: a server whose log store is full may take hours, and the connection's idle timeout ends
//! it if the server is gone.
//!
//! A stream that breaks ends the connection, be it an attempt's own or the shared one: what was on its
//! way is on disk, but only the resync of a new connection finds out from where on the server lacks it.

use std::sync::Arc;
use std::time::Duration;

use mantle_shared::AttemptId;
use mantle_shared::protocol::Message;
use quinn::{Connection, SendStream, StoppedError, VarInt, WriteError};
use tokio::sync::{Semaphore, mpsc};

use super::framed::{self, StreamError};
use super::priority;

/// Streams for single attempts, of the sixteen that a server allows: the shared one and those that
/// are finished but not yet read to their end need room as well.
const OWN_STREAMS: usize = 12;
/// How long to wait for the server's leave to open a stream before the shared one is taken.
const OPEN_TIMEOUT: Duration = Duration::from_millis(250);
/// Messages that wait for the shared stream.
const SHARED_QUEUE: usize = 4;

/// Hands out streams for one connection.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    connection: Connection,
    permits: Arc<Semaphore>,
    shared: mpsc::Sender<Message>,
}

impl Reports {
    /// For this connection; the second part is the shared stream's task, to be run beside.
    pub(super) fn new(connection: Connection) -> (Self, impl Future<Output = ()> + Send) {
        let (shared, messages) = mpsc::channel(SHARED_QUEUE);
        let task = write_shared(connection.clone(), messages);
        let reports = Self {
            connection,
            permits: Arc::new(Semaphore::new(OWN_STREAMS)),
            shared,
        };
        (reports, task)
    }

    /// Sends one attempt's reports until its channel ends or its stream breaks.
    pub(super) async fn send(self, attempt: AttemptId, mut messages: mpsc::Receiver<Message>) {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        if permit.is_some()
            && let Ok(Ok(stream)) =
                tokio::time::timeout(OPEN_TIMEOUT, self.connection.open_uni()).await
        {
            if let Err(error) = write_own(stream, &mut messages).await {
                broke(&self.connection, &format!("attempt {attempt}"), &error);
            }
            return;
        }
        drop(permit);
        while let Some(message) = messages.recv().await {
            if self.shared.send(message).await.is_err() {
                return;
            }
        }
    }
}

async fn write_own(
    mut stream: SendStream,
    messages: &mut mpsc::Receiver<Message>,
) -> Result<(), StreamError> {
    // Fails only on a stream that is over, which the write then reports.
    let _ = stream.set_priority(priority::REPORTS);
    // Ends with a code if the server wants no more, which an idle script's stream must notice too,
    // and without one once the server has all of a finished stream.
    let stopped = stream.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => framed::write(&mut stream, &message).await?,
                None => break,
            },
            end = &mut stopped => return ended(end),
        }
    }
    let _ = stream.finish();
    ended(stopped.await)
}

/// What the end of a stream that the server read, or did not, means.
fn ended(end: Result<Option<VarInt>, StoppedError>) -> Result<(), StreamError> {
    match end {
        Ok(None) => Ok(()),
        Ok(Some(code)) => Err(WriteError::Stopped(code).into()),
        Err(StoppedError::ConnectionLost(error)) => Err(WriteError::ConnectionLost(error).into()),
        Err(StoppedError::ZeroRttRejected) => Err(WriteError::ZeroRttRejected.into()),
    }
}

/// Closes the connection over a broken report stream, unless it is over already.
fn broke(connection: &Connection, whose: &str, error: &StreamError) {
    if connection.close_reason().is_some() {
        return;
    }
    tracing::warn!(whose, %error, "a report stream broke; reconnecting");
    connection.close(
        mantle_shared::protocol::close::GOING_AWAY.into(),
        b"report stream broke",
    );
}

/// Writes the shared stream; opened when first needed.
async fn write_shared(connection: Connection, mut messages: mpsc::Receiver<Message>) {
    let mut stream: Option<SendStream> = None;
    while let Some(message) = messages.recv().await {
        let mut open = match stream.take() {
            Some(open) => open,
            None => match connection.open_uni().await {
                Ok(open) => {
                    let _ = open.set_priority(priority::REPORTS);
                    open
                }
                Err(_closed) => return,
            },
        };
        match framed::write(&mut open, &message).await {
            Ok(()) => stream = Some(open),
            Err(error) => return broke(&connection, "several attempts", &error),
        }
    }
}
