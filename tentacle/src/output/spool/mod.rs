//! The spool: an attempt's records on disk, one line each, in segments.
//!
//! ```text
//! spool-00000000000000000000, spool-00000000000000048211, ...
//!   mantle-spool 2 <attempt id> <number of the first record> <digest over all before it>
//!   <record>
//!   <record>
//!   ...
//! ```
//!
//! A segment is named by the number of its first record, so that a reader which has come to a segment's
//! end finds the next one by its name, and knows that the end is one. What holds here:
//! - the supervisor alone appends, to the last segment, and begins the next when that is full;
//! - the agent alone removes, from the front, what the server has acknowledged, and never the last one;
//! - each segment can be read and verified without those before it, which may be gone;
//! - a line without its line feed is not there yet while the writer lives, and torn once it does not:
//!   [`settle`] cuts a damaged end off and says so in a record of its own; records that are missing
//!   between two segments are reported as such by the reader.
//!
//! A supervisor of the release before wrote one file, `spool`, with a shorter first line: it is read as
//! the first segment.

mod codec;
mod reader;
mod segments;
mod settle;
mod writer;

use std::io;

pub use codec::{decode, encode};
pub use reader::{Next, SpoolReader};
pub use segments::{Extent, count, extent, is_there, remove_below};
pub use settle::{Settled, settle};
pub use writer::{END_RESERVE_BYTES, Held, SEGMENT_BYTES, SpoolStore, SpoolWriter, is_held};

/// Why a spool cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file could not be read or written.
    #[error("the record files of the attempt could not be read")]
    Io(#[from] io::Error),
    /// The first line is not a header that this build knows.
    #[error(
        "the record file of the attempt begins with '{found}', which this version does not know"
    )]
    Header {
        /// What was found.
        found: String,
    },
    /// A whole line is not a record.
    #[error("the record file of the attempt is damaged at byte {offset}")]
    Damaged {
        /// Where.
        offset: u64,
    },
}

#[cfg(test)]
mod tests;
