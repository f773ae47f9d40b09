//! Asking an agent for the files that its attempts left behind, on streams that the server opens.

use std::time::Duration;

use bytes::Bytes;
use mantle_shared::ids::AgentId;
use mantle_shared::protocol::{
    ArtifactRefusal, BULK_LIMIT_BYTES, DropArtifact, FetchArtifact, Message, close,
};
use quinn::{Connection, RecvStream, VarInt};

use super::reader::{Next, Reader};
use super::sessions::Sessions;
use super::transfer::BULK_PRIORITY;

/// The longest silence of an agent that is to say something.
const SILENCE: Duration = Duration::from_secs(30);
/// How much is taken from the stream at once.
const READ_BYTES: usize = 256 * 1024;

/// Why an agent does not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not connected.
    #[error("the agent is not connected")]
    Away,
    /// It has it no more.
    #[error("the agent has it no more")]
    Missing,
    /// It cannot read it now.
    #[error("the agent cannot read it now")]
    Unreadable,
    /// The stream broke, or nothing came.
    #[error("the transfer broke off: {0}")]
    Broken(String),
}

/// The bytes of a file, as they come.
pub struct ArtifactStream {
    receive: RecvStream,
    /// What was read together with the answer.
    first: Bytes,
    left: u64,
}

impl ArtifactStream {
    /// How many bytes are to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes; none after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ArtifactError> {
        if self.left == 0 {
            return Ok(None);
        }
        let bytes = if self.first.is_empty() {
            let most = usize::try_from(self.left)
                .unwrap_or(READ_BYTES)
                .min(READ_BYTES);
            let read = tokio::time::timeout(SILENCE, self.receive.read_chunk(most, true));
            let chunk = read.await.map_err(|_| silent())?.map_err(broken)?;
            chunk
                .ok_or_else(|| broken("the stream ended too early"))?
                .bytes
        } else {
            std::mem::take(&mut self.first)
        };
        let length = bytes.len() as u64;
        if length > self.left {
            return Err(broken("more came than was announced"));
        }
        self.left -= length;
        Ok(Some(bytes))
    }
}

impl Drop for ArtifactStream {
    fn drop(&mut self) {
        if self.left > 0 {
            // The agent need not send what nobody reads.
            let _ = self.receive.stop(VarInt::from_u32(close::GOING_AWAY));
        }
    }
}

impl Sessions {
    /// Asks an agent for a file.
    pub async fn artifact_fetch(
        &self,
        agent: AgentId,
        fetch: FetchArtifact,
    ) -> Result<ArtifactStream, ArtifactError> {
        let connection = self.connection(agent).ok_or(ArtifactError::Away)?;
        let (answer, mut reader) = ask(&connection, &fetch.into()).await?;
        match answer {
            Message::ArtifactFollows(follows) => Ok(ArtifactStream {
                first: reader.take_rest().into(),
                receive: reader.into_stream(),
                left: follows.wire_bytes,
            }),
            Message::ArtifactRefused(refused) => Err(match refused.reason {
                ArtifactRefusal::Missing => ArtifactError::Missing,
                ArtifactRefusal::Unreadable => ArtifactError::Unreadable,
            }),
            other => {
                reader.reset(close::PROTOCOL);
                Err(broken(format!("{} came instead", other.name())))
            }
        }
    }

    /// Tells an agent that it may remove a file; returns when it has.
    pub async fn artifact_drop(
        &self,
        agent: AgentId,
        drop: DropArtifact,
    ) -> Result<(), ArtifactError> {
        let connection = self.connection(agent).ok_or(ArtifactError::Away)?;
        let (answer, reader) = ask(&connection, &drop.into()).await?;
        match answer {
            Message::ArtifactDropped(_) => Ok(()),
            other => {
                reader.reset(close::PROTOCOL);
                Err(broken(format!("{} came instead", other.name())))
            }
        }
    }
}

async fn ask(
    connection: &Connection,
    question: &Message,
) -> Result<(Message, Reader), ArtifactError> {
    let asked = async {
        let (mut send, receive) = connection.open_bi().await.map_err(broken)?;
        let _ = send.set_priority(BULK_PRIORITY);
        let frame = question.to_frame().map_err(broken)?;
        send.write_all(&frame).await.map_err(broken)?;
        let _ = send.finish();
        let mut reader = Reader::new(receive, BULK_LIMIT_BYTES);
        match reader.next().await.map_err(broken)? {
            Next::Message(message) => Ok((message, reader)),
            Next::Unknown(kind) => Err(broken(format!("a message of the unknown type {kind}"))),
            Next::End => Err(broken("the stream ended without an answer")),
        }
    };
    tokio::time::timeout(SILENCE, asked)
        .await
        .map_err(|_| silent())?
}

fn silent() -> ArtifactError {
    broken(format!("nothing came for {} s", SILENCE.as_secs()))
}

fn broken(why: impl std::fmt::Display) -> ArtifactError {
    ArtifactError::Broken(why.to_string())
}
