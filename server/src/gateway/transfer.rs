//! Bulk streams: giving package objects out to agents that were granted them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mantle_shared::Digest;
use mantle_shared::ids::{AgentId, TaskId};
use mantle_shared::protocol::{
    BULK_LIMIT_BYTES, Encoding, FetchObjects, MAX_OBJECTS_A_REQUEST, Message, ObjectFollows,
    ObjectRefusal, ObjectRefused, ObjectRequest, Unsupported, close,
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::Semaphore;

use super::Shared;
use super::counters::Counters;
use super::pace::{Bucket, Pace};
use super::reader::{Next, Reader};

/// Bulk goes after control and logs.
pub(super) const BULK_PRIORITY: i32 = -10;
/// Transfers that one agent may have at once: one is on the line while the next is asked for.
const TRANSFERS_AN_AGENT: usize = 2;

/// An object as it is stored, so that it is read and compressed once for many agents.
#[derive(Debug, Clone)]
pub struct WireObject {
    /// How its bytes are encoded.
    pub encoding: Encoding,
    /// Its size once decoded.
    pub size_bytes: u64,
    /// Its bytes.
    pub bytes: bytes::Bytes,
}

/// Gives package objects out. Judges whether the agent was granted them.
pub trait ObjectSource: Send + Sync {
    /// An object that can be reached from the manifest's root, which the task granted the agent.
    fn object(
        &self,
        agent: AgentId,
        task: TaskId,
        root: Digest,
        object: Digest,
    ) -> Pin<Box<dyn Future<Output = Result<WireObject, ObjectRefusal>> + Send + '_>>;
}

/// Serves an agent's bulk streams until its connection ends.
pub(super) async fn serve(connection: &Connection, agent: AgentId, shared: &Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(TRANSFERS_AN_AGENT));
    let bucket = Arc::new(shared.agent_rate.map(Bucket::new));
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (shared, permits) = (Arc::clone(shared), Arc::clone(&permits));
        let bucket = Arc::clone(&bucket);
        // Bounded by the number of streams that the transport allows; ends with the connection.
        tokio::spawn(async move {
            if let Ok(_permit) = permits.acquire().await {
                let pace = Pace {
                    agent: bucket.as_ref().as_ref(),
                    server: shared.push_bucket.as_ref(),
                };
                one(send, receive, (agent, pace), &shared).await;
            }
        });
    }
}

async fn one(
    mut send: SendStream,
    receive: RecvStream,
    (agent, pace): (AgentId, Pace<'_>),
    shared: &Shared,
) {
    let _ = send.set_priority(BULK_PRIORITY);
    let mut reader = Reader::new(receive, BULK_LIMIT_BYTES);
    let request = match reader.next_within(shared.timing.bulk).await {
        Ok(Next::Message(Message::FetchObjects(request)))
            if request.objects.len() <= MAX_OBJECTS_A_REQUEST =>
        {
            request
        }
        Ok(Next::Unknown(kind)) => {
            Counters::count(&shared.parts.counters.unsupported);
            if let Ok(frame) = Message::from(Unsupported { kind }).to_frame() {
                // A few bytes: the stream has room for them, or nobody reads.
                let _ = tokio::time::timeout(shared.timing.stall, send.write_all(&frame)).await;
            }
            return;
        }
        Ok(Next::Message(_) | Next::End) | Err(_) => {
            Counters::count(&shared.parts.counters.bad_streams);
            reader.reset(close::PROTOCOL);
            let _ = send.reset(quinn::VarInt::from_u32(close::PROTOCOL));
            return;
        }
    };
    for object in &request.objects {
        let sent = give(&mut send, &request, object, (agent, pace), shared).await;
        if sent.is_err() {
            // The agent went away or reads nothing; it asks again from where it stands.
            let _ = send.reset(quinn::VarInt::from_u32(close::GOING_AWAY));
            return;
        }
    }
    let _ = send.finish();
}

async fn give(
    send: &mut SendStream,
    request: &FetchObjects,
    object: &ObjectRequest,
    (agent, pace): (AgentId, Pace<'_>),
    shared: &Shared,
) -> Result<(), NotTaken> {
    let found = if shared.parts.trust.holds(agent) {
        let (task, root) = (request.task, request.root);
        let object = shared
            .parts
            .objects
            .object(agent, task, root, object.digest);
        tokio::time::timeout(shared.timing.bulk, object)
            .await
            .map_err(|_| NotTaken)?
    } else {
        Err(ObjectRefusal::NotGranted)
    };
    let rest = found.map(|found| {
        let length = found.bytes.len() as u64;
        let offset = usize::try_from(object.offset.min(length)).unwrap_or(usize::MAX);
        // Beyond the end: the agent holds something else under this name, and starts over.
        let rest = if object.offset > length {
            found.bytes.clone()
        } else {
            found.bytes.slice(offset..)
        };
        (found, rest)
    });
    match rest {
        Ok((found, rest)) => {
            let follows = ObjectFollows {
                digest: object.digest,
                encoding: found.encoding,
                wire_bytes: rest.len() as u64,
                size_bytes: found.size_bytes,
            };
            if let Ok(frame) = Message::from(follows).to_frame() {
                within(shared, send.write_all(&frame)).await?;
                paced(send, rest, pace, shared).await?;
            }
        }
        Err(reason) => {
            let refused = ObjectRefused {
                digest: object.digest,
                reason,
            };
            if let Ok(frame) = Message::from(refused).to_frame() {
                within(shared, send.write_all(&frame)).await?;
            }
        }
    }
    Ok(())
}

/// Writes an object's bytes in pieces, each at its turn.
async fn paced(
    send: &mut SendStream,
    mut rest: bytes::Bytes,
    pace: Pace<'_>,
    shared: &Shared,
) -> Result<(), NotTaken> {
    let most = pace.piece_bytes().unwrap_or(usize::MAX);
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(most));
        let length = piece.len();
        // Beside the deadline: how long a turn takes is the operator's choice, and it comes.
        pace.turn(length).await;
        within(shared, send.write_chunk(piece)).await?;
        let sent = &shared.parts.counters.bulk_bytes;
        sent.fetch_add(length as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// The agent went away, or takes nothing of what it is sent, or the store does not answer.
struct NotTaken;

async fn within(
    shared: &Shared,
    write: impl Future<Output = Result<(), quinn::WriteError>>,
) -> Result<(), NotTaken> {
    match tokio::time::timeout(shared.timing.bulk, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(NotTaken),
    }
}
