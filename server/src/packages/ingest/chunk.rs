//! Cuts a stream into chunks by its content, so that a change in one place leaves the rest alone.
//!
//! FastCDC (2020) with normalization level 1 and the default gear table. The sizes are fixed for
//! good, as other cuts would give the same file another digest:
//! - average 64 KiB: a one-byte change costs about that much on the wire, and a chunk's entry in
//!   the manifest (36 bytes) stays under a thousandth of its content;
//! - minimum 16 KiB: most files of a site are below and are one object each;
//! - maximum 256 KiB: bounds what is held in memory and what is sent again after a cut.

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};
use mantle_shared::Digest;
use mantle_shared::manifest::Chunk;

use super::error::IngestError;
use crate::packages::objects::Writer;

pub(super) const MIN_BYTES: usize = 16 * 1024;
const AVERAGE_BYTES: usize = 64 * 1024;
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// A file's content, stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size_bytes: u64,
    pub(super) digest: Digest,
    /// Empty when the file is one chunk.
    pub(super) chunks: Vec<Chunk>,
    /// It begins as an ELF binary or a script does.
    pub(super) looks_executable: bool,
}

/// Cuts streams; it keeps its buffer between them.
pub(super) struct Chunker {
    buffer: Vec<u8>,
}

impl Chunker {
    pub(super) fn new() -> Self {
        // Twice the largest chunk, so that what is left over moves to the front only now and then.
        Self {
            buffer: vec![0; 2 * MAX_BYTES],
        }
    }

    /// Stores what this stream holds. `spend` is told of every piece read, and may refuse more.
    pub(super) fn store(
        &mut self,
        reader: &mut dyn Read,
        reading: &str,
        writer: &mut Writer,
        spend: &mut dyn FnMut(usize) -> Result<(), IngestError>,
    ) -> Result<Content, IngestError> {
        let mut window = Window::default();
        let mut whole = blake3::Hasher::new();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut size_bytes = 0_u64;
        let mut looks_executable = false;
        loop {
            while window.wants_more() {
                let read = window
                    .fill(&mut self.buffer, reader)
                    .map_err(|e| IngestError::read(e, reading))?;
                spend(read)?;
            }
            let rest = window.bytes(&self.buffer);
            let (chunk, last) = match rest.get(..cut(rest)) {
                Some(chunk) if !chunk.is_empty() => (chunk, chunk.len() == rest.len()),
                _ => break,
            };
            let digest = writer.put(chunk)?;
            if chunks.is_empty() {
                looks_executable = starts_executable(chunk);
                if last && window.ended {
                    return Ok(Content {
                        size_bytes: chunk.len() as u64,
                        digest,
                        chunks,
                        looks_executable,
                    });
                }
            }
            whole.update(chunk);
            size_bytes += chunk.len() as u64;
            chunks.push(Chunk {
                length: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
                digest,
            });
            window.start += chunk.len();
        }
        let digest = if chunks.is_empty() {
            writer.put(b"")?
        } else {
            whole.finalize().into()
        };
        Ok(Content {
            size_bytes,
            digest,
            chunks,
            looks_executable,
        })
    }
}

/// What of the buffer is read and not yet cut.
#[derive(Debug, Default)]
struct Window {
    start: usize,
    end: usize,
    ended: bool,
}

impl Window {
    /// A cut depends on the content alone only if the largest chunk is in view, or the end.
    fn wants_more(&self) -> bool {
        !self.ended && self.end - self.start < MAX_BYTES
    }

    fn bytes<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn fill(&mut self, buffer: &mut [u8], reader: &mut dyn Read) -> io::Result<usize> {
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let free = buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match reader.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.ended = read == 0;
        self.end += read;
        Ok(read)
    }
}

/// The length of the first chunk of these bytes.
fn cut(bytes: &[u8]) -> usize {
    if bytes.len() <= MIN_BYTES {
        return bytes.len();
    }
    FastCDC::with_level(
        bytes,
        MIN_BYTES,
        AVERAGE_BYTES,
        MAX_BYTES,
        Normalization::Level1,
    )
    .cut(0, bytes.len())
    .1
}

fn starts_executable(content: &[u8]) -> bool {
    content.starts_with(b"#!") || content.starts_with(b"\x7fELF")
}
