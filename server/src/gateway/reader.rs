//! Reading messages from a stream, bounded in size and time.

use std::time::Duration;

use mantle_shared::protocol::{CodecError, Frame, FrameDecoder, FrameError, Message};
use quinn::RecvStream;
use tokio::time::{Instant, timeout_at};

/// How much one read takes from the stream.
const READ_BYTES: usize = 64 * 1024;

/// Messages from a stream.
pub(super) struct Reader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The bytes are not frames.
    #[error("the bytes are not frames")]
    Frame(#[from] FrameError),
    /// A frame's payload is not its message.
    #[error("a frame does not hold its message")]
    Codec(#[from] CodecError),
    /// The stream or its connection broke.
    #[error("the stream broke")]
    Stream(#[from] quinn::ReadError),
    /// Nothing whole came in time.
    #[error("no whole message came in time")]
    Timeout,
}

/// What a stream gives next.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one turn of a loop on the stack"
)]
pub(super) enum Next {
    /// A message.
    Message(Message),
    /// A frame of a type that is not known here.
    Unknown(u16),
    /// The stream ended between two frames.
    End,
}

impl Reader {
    /// Reads frames with payloads of up to `limit` bytes.
    pub(super) fn new(stream: RecvStream, limit: usize) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(limit),
        }
    }

    /// Allows other sizes from now on.
    pub(super) fn into_limit(self, limit: usize) -> Self {
        let mut decoder = FrameDecoder::new(limit);
        let mut old = self.decoder;
        decoder.ingest(&old.take_rest());
        Self {
            stream: self.stream,
            decoder,
        }
    }

    /// The next message, however long it takes.
    pub(super) async fn next(&mut self) -> Result<Next, ReadError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return decode(&frame);
            }
            let Some(chunk) = self.stream.read_chunk(READ_BYTES, true).await? else {
                self.decoder.finish()?;
                return Ok(Next::End);
            };
            self.decoder.ingest(&chunk.bytes);
        }
    }

    /// The next message: however long until it begins, but then whole within `limit`. A sender
    /// that gives a byte now and then would hold memory for ever otherwise.
    pub(super) async fn next_whole_within(&mut self, limit: Duration) -> Result<Next, ReadError> {
        let mut deadline = None;
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return decode(&frame);
            }
            if deadline.is_none() && self.decoder.finish().is_err() {
                deadline = Some(Instant::now() + limit);
            }
            let read = self.stream.read_chunk(READ_BYTES, true);
            let read = match deadline {
                None => read.await,
                Some(at) => timeout_at(at, read).await.map_err(|_| ReadError::Timeout)?,
            };
            let Some(chunk) = read? else {
                self.decoder.finish()?;
                return Ok(Next::End);
            };
            self.decoder.ingest(&chunk.bytes);
        }
    }

    /// The next message, if it is there in time.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Result<Next, ReadError> {
        tokio::time::timeout(limit, self.next())
            .await
            .map_err(|_| ReadError::Timeout)?
    }

    /// What was read behind the last message.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        self.decoder.take_rest()
    }

    /// The stream itself, whose raw bytes go on behind [`Self::take_rest`].
    pub(super) fn into_stream(self) -> RecvStream {
        self.stream
    }

    /// Tells the sender to stop: what it sent was not the protocol.
    pub(super) fn reset(mut self, code: u32) {
        let _ = self.stream.stop(quinn::VarInt::from_u32(code));
    }
}

fn decode(frame: &Frame) -> Result<Next, ReadError> {
    match Message::decode(frame) {
        Ok(message) => Ok(Next::Message(message)),
        Err(CodecError::UnknownType { kind }) => Ok(Next::Unknown(kind)),
        Err(error) => Err(error.into()),
    }
}
