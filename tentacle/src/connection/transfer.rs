//! Fetching objects over bulk streams: the agent asks, by digest and offset.

use std::time::Duration;

use mantle_shared::protocol::{
    BULK_LIMIT_BYTES, Encoding, FetchObjects, Message, ObjectFollows, ObjectRefusal,
};
use quinn::{Connection, RecvStream};

use super::framed::{self, StreamError, count_bad_stream};
use super::priority;
use crate::cache::{FetchError, ObjectSink, ObjectSource};

/// The longest silence within a transfer. The server paces bulk, but never to a standstill.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is taken from the stream at once.
const READ_BYTES: usize = 256 * 1024;

/// The server at the other end of one connection, as a source of objects.
#[derive(Debug, Clone)]
pub(super) struct BulkSource {
    connection: Connection,
}

impl BulkSource {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }
}

impl ObjectSource for BulkSource {
    async fn fetch<S: ObjectSink>(
        &self,
        request: FetchObjects,
        sink: &mut S,
    ) -> Result<(), FetchError> {
        let (mut send, mut recv) = within(self.connection.open_bi())
            .await?
            .map_err(|error| FetchError::Network(super::reason::describe(&error)))?;
        let _ = send.set_priority(priority::BULK);
        let asked: Vec<_> = request.objects.iter().map(|object| object.digest).collect();
        within(framed::write(&mut send, &request.into()))
            .await?
            .map_err(stream_failed)?;
        let _ = send.finish();
        for digest in asked {
            let answer = within(framed::read_one(&mut recv, BULK_LIMIT_BYTES)).await?;
            match answer.map_err(stream_failed)? {
                Message::ObjectFollows(follows) if follows.digest == digest => {
                    receive(&mut recv, follows, sink).await?;
                }
                Message::ObjectRefused(refused) if refused.digest == digest => {
                    match refused.reason {
                        ObjectRefusal::Busy => return Err(FetchError::Busy),
                        ObjectRefusal::NotGranted | ObjectRefusal::Missing => {
                            return Err(FetchError::Refused {
                                digest,
                                reason: refused.reason,
                            });
                        }
                    }
                }
                other => {
                    count_bad_stream();
                    let _ = recv.stop(mantle_shared::protocol::close::PROTOCOL.into());
                    return Err(FetchError::Network(format!(
                        "the server answered a request for an object with {} of another",
                        other.name()
                    )));
                }
            }
        }
        Ok(())
    }
}

async fn receive<S: ObjectSink>(
    recv: &mut RecvStream,
    follows: ObjectFollows,
    sink: &mut S,
) -> Result<(), FetchError> {
    sink.begin(
        follows.digest,
        matches!(follows.encoding, Encoding::Zstd),
        follows.wire_bytes,
        follows.size_bytes,
    )?;
    let mut left = follows.wire_bytes;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let chunk = within(recv.read_chunk(most, true))
            .await?
            .map_err(|error| stream_failed(error.into()))?
            .ok_or_else(|| stream_failed(StreamError::Ended))?;
        left = left.saturating_sub(chunk.bytes.len() as u64);
        sink.data(&chunk.bytes)?;
    }
    sink.end().await
}

async fn within<T>(future: impl Future<Output = T>) -> Result<T, FetchError> {
    tokio::time::timeout(STALL_TIMEOUT, future)
        .await
        .map_err(|_elapsed| {
            FetchError::Network(format!(
                "nothing came for {} s in the middle of a transfer",
                STALL_TIMEOUT.as_secs()
            ))
        })
}

fn stream_failed(error: StreamError) -> FetchError {
    if error.is_peers_fault() {
        count_bad_stream();
    }
    FetchError::Network(error.to_string())
}
