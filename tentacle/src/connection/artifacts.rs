//! Gives the server the files that attempts left behind: it asks, by digest and offset.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use mantle_shared::protocol::{
    ArtifactDropped, ArtifactFollows, ArtifactRefusal, ArtifactRefused, BULK_LIMIT_BYTES,
    DropArtifact, FetchArtifact, Message, close,
};
use quinn::{RecvStream, SendStream};
use tokio::task::spawn_blocking;

use super::framed::{self, StreamError, count_bad_stream};
use super::priority;
use crate::artifacts::Artifacts;

/// The longest time in which the server says nothing, or takes nothing of what it asked for.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is read from the disk at once.
const READ_BYTES: usize = 256 * 1024;

/// Answers one stream that the server opened.
pub(super) async fn serve(mut send: SendStream, mut recv: RecvStream, artifacts: Artifacts) {
    let _ = send.set_priority(priority::BULK);
    let asked = within(framed::read_one(&mut recv, BULK_LIMIT_BYTES)).await;
    let done = match asked {
        Ok(Message::FetchArtifact(fetch)) => give(&mut send, fetch, artifacts).await,
        Ok(Message::DropArtifact(drop)) => remove(&mut send, drop, artifacts).await,
        Ok(_) => Err(refused(&mut recv)),
        Err(error) => {
            if error.is_peers_fault() {
                count_bad_stream();
            }
            Err(error)
        }
    };
    match done {
        Ok(()) => {
            let _ = send.finish();
        }
        Err(error) => {
            // The server asks again from where it stands.
            tracing::debug!(%error, "a collected file was not sent to its end");
            let _ = send.reset(close::GOING_AWAY.into());
        }
    }
}

fn refused(recv: &mut RecvStream) -> StreamError {
    count_bad_stream();
    let _ = recv.stop(close::PROTOCOL.into());
    StreamError::Ended
}

async fn give(
    send: &mut SendStream,
    fetch: FetchArtifact,
    artifacts: Artifacts,
) -> Result<(), StreamError> {
    let opened = spawn_blocking(move || artifacts.open(fetch.attempt, &fetch.digest, fetch.offset))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    let (mut file, wire_bytes) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let reason = if error.kind() == io::ErrorKind::NotFound {
                ArtifactRefusal::Missing
            } else {
                tracing::error!(attempt.id = %fetch.attempt, %error, "a collected file cannot be read");
                ArtifactRefusal::Unreadable
            };
            return within(framed::write(send, &ArtifactRefused { reason }.into())).await;
        }
    };
    within(framed::write(send, &ArtifactFollows { wire_bytes }.into())).await?;
    let mut left = wire_bytes;
    while left > 0 {
        let (read, bytes) = next(file, left).await?;
        file = read;
        if bytes.is_empty() {
            // It was there whole; a disk that gives less now is told by the end of the stream.
            return Err(StreamError::Ended);
        }
        left = left.saturating_sub(bytes.len() as u64);
        within(async { Ok(send.write_all(&bytes).await?) }).await?;
    }
    Ok(())
}

/// The next piece, read where that may block.
async fn next(mut file: File, left: u64) -> Result<(File, Vec<u8>), StreamError> {
    let most = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
    let read = spawn_blocking(move || {
        let mut bytes = vec![0; most];
        let count = file.read(&mut bytes)?;
        bytes.truncate(count);
        Ok::<_, io::Error>((file, bytes))
    });
    match read.await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(_)) | Err(_) => Err(StreamError::Ended),
    }
}

async fn remove(
    send: &mut SendStream,
    drop: DropArtifact,
    artifacts: Artifacts,
) -> Result<(), StreamError> {
    let DropArtifact { attempt, digest } = drop;
    let removed = spawn_blocking(move || artifacts.remove(attempt, &digest)).await;
    match removed {
        Ok(Ok(())) => within(framed::write(send, &ArtifactDropped { digest }.into())).await,
        Ok(Err(error)) => {
            // The server says it again.
            tracing::warn!(attempt.id = %attempt, %error, "a collected file that the server has cannot be removed");
            Err(StreamError::Ended)
        }
        Err(_) => Err(StreamError::Ended),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, StreamError>>) -> Result<T, StreamError> {
    tokio::time::timeout(STALL_TIMEOUT, work)
        .await
        .unwrap_or(Err(StreamError::Silent(STALL_TIMEOUT)))
}
