//! Messages over QUIC streams: frames in, frames out.
//!
//! A stream that lies (a bad header, a payload that is no such message, an end inside a frame) is
//! an error of that stream alone. A type that this build does not know is not: it is handed up as
//! such, so that `Unsupported` can be answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mantle_shared::protocol::{
    CodecError, Frame, FrameDecoder, FrameError, HEADER_BYTES, Header, Message,
};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Streams that were given up because of what came on them. For `tentacle status` and the tests.
static BAD_STREAMS: AtomicU64 = AtomicU64::new(0);

/// How many streams were given up because of what came on them since the agent started.
pub fn bad_streams() -> u64 {
    BAD_STREAMS.load(Ordering::Relaxed)
}

/// Counts a stream that was given up.
pub(super) fn count_bad_stream() {
    BAD_STREAMS.fetch_add(1, Ordering::Relaxed);
}

/// What came.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message.
    Message(Box<Message>),
    /// A frame of a type that this build does not know.
    Unknown(u16),
}

/// Why nothing more can be read from a stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The frame is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The payload is wrong.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The stream or the connection is gone.
    #[error("the stream broke off")]
    Read(#[from] ReadError),
    /// The stream could not be written.
    #[error("the stream cannot be written")]
    Write(#[from] WriteError),
    /// The stream ended where a message was due.
    #[error("the stream ended where a message was due")]
    Ended,
    /// What was due did not come in time.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
}

impl StreamError {
    /// Did the peer send something that no correct peer sends?
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::Frame(_) | Self::Codec(_) => true,
            Self::Read(_) | Self::Write(_) | Self::Ended | Self::Silent(_) => false,
        }
    }
}

/// Reads messages one after the other. [`Self::next`] may be dropped and called again.
#[derive(Debug)]
pub(super) struct MessageReader {
    stream: RecvStream,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl MessageReader {
    pub(super) fn new(stream: RecvStream, limit_bytes: usize) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(limit_bytes),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// The next message; `None` when the stream ended between two.
    pub(super) async fn next(&mut self) -> Result<Option<Incoming>, StreamError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return incoming(&frame).map(Some);
            }
            let Some(count) = self.stream.read(&mut self.buffer).await? else {
                self.decoder.finish()?;
                return Ok(None);
            };
            self.decoder
                .ingest(self.buffer.get(..count).unwrap_or_default());
        }
    }

    /// Tells the peer that nothing more is read here.
    pub(super) fn stop(&mut self, code: u32) {
        // Fails only when the stream is over already.
        let _ = self.stream.stop(code.into());
    }
}

fn incoming(frame: &Frame) -> Result<Incoming, StreamError> {
    match Message::decode(frame) {
        Ok(message) => Ok(Incoming::Message(Box::new(message))),
        Err(CodecError::UnknownType { kind }) => Ok(Incoming::Unknown(kind)),
        Err(error) => Err(error.into()),
    }
}

/// Reads exactly one frame and not a byte more, for streams where raw bytes follow.
pub(super) async fn read_one(
    stream: &mut RecvStream,
    limit_bytes: usize,
) -> Result<Message, StreamError> {
    let mut header = [0; HEADER_BYTES];
    read_exact(stream, &mut header).await?;
    let header = Header::decode(header, limit_bytes)?;
    let mut payload = vec![0; header.length as usize];
    read_exact(stream, &mut payload).await?;
    Ok(Message::decode(&Frame {
        kind: header.kind,
        payload,
    })?)
}

async fn read_exact(stream: &mut RecvStream, bytes: &mut [u8]) -> Result<(), StreamError> {
    stream.read_exact(bytes).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => StreamError::Ended,
        ReadExactError::ReadError(error) => StreamError::Read(error),
    })
}

/// Writes one message.
pub(super) async fn write(stream: &mut SendStream, message: &Message) -> Result<(), StreamError> {
    let frame = message.to_frame()?;
    stream.write_all(&frame).await?;
    Ok(())
}
