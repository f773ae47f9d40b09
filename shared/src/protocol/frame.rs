//! Frames: an eight-byte header and a payload.
//!
//! ```text
//! version u8 | type u16 BE | flags u8 | length u32 BE | payload (length bytes)
//! ```
//!
//! The decoder is fed bytes as they come and gives whole frames back. It does no I/O, so that it
//! can be tested and fuzzed as it is used.

use super::codec::MAX_PAYLOAD_BYTES;

/// The size of the header.
pub const HEADER_BYTES: usize = 8;
/// The frame layout that this build writes and reads.
const FRAME_VERSION: u8 = 1;

/// What precedes each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which message the payload holds.
    pub kind: u16,
    /// Reserved; 0 is written, anything is read.
    pub flags: u8,
    /// How many payload bytes follow.
    pub length: u32,
}

/// A header and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which message the payload holds.
    pub kind: u16,
    /// The encoded message.
    pub payload: Vec<u8>,
}

/// Why bytes are not a frame. The stream that carried them is reset; the connection lives on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte is not a layout that this build reads.
    #[error("frame layout {found} is not one that this build reads")]
    Version {
        /// The byte that was found.
        found: u8,
    },
    /// The length is over what the stream allows.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What the header claims.
        length: u32,
        /// What is allowed.
        limit: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended {missing} bytes before the end of a frame")]
    Truncated {
        /// How many bytes were still due, as far as is known.
        missing: usize,
    },
}

impl Header {
    /// Writes the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let [k0, k1] = self.kind.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [FRAME_VERSION, k0, k1, self.flags, l0, l1, l2, l3]
    }

    /// Reads a header; a length over `limit` is refused before anything is reserved for it.
    pub fn decode(bytes: [u8; HEADER_BYTES], limit: usize) -> Result<Self, FrameError> {
        let [version, k0, k1, flags, l0, l1, l2, l3] = bytes;
        if version != FRAME_VERSION {
            return Err(FrameError::Version { found: version });
        }
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length as usize > limit.min(MAX_PAYLOAD_BYTES) {
            return Err(FrameError::TooLong {
                length,
                limit: limit.min(MAX_PAYLOAD_BYTES),
            });
        }
        Ok(Self {
            kind: u16::from_be_bytes([k0, k1]),
            flags,
            length,
        })
    }
}

/// Takes bytes in any portions and gives whole frames.
///
/// It holds at most one frame and the portion given last, so its memory is bounded by the limit
/// plus what one read returns.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    buffer: Vec<u8>,
    start: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames with more payload than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn ingest(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes are there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, body)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::decode(*header, self.limit)?;
        let length = header.length as usize;
        let Some(payload) = body.get(..length) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.start += HEADER_BYTES + length;
        Ok(Some(Frame {
            kind: header.kind,
            payload,
        }))
    }

    /// Bytes that came after the last whole frame; a bulk stream continues with them, raw.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.get(self.start..).unwrap_or_default().to_vec();
        self.buffer.clear();
        self.start = 0;
        rest
    }

    /// To be called at the stream's end: an error if it ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let missing = match rest.split_first_chunk::<HEADER_BYTES>() {
            None => HEADER_BYTES - rest.len(),
            Some((header, body)) => {
                (Header::decode(*header, self.limit)?.length as usize).saturating_sub(body.len())
            }
        };
        Err(FrameError::Truncated { missing })
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
