//! The wire: frames, the codec and every message.
//!
//! Version 2 adds two kinds of records, artifacts and pieces of lines; between two ends of which one
//! speaks version 1 they do not appear.
//!
//! Rules that hold here:
//! - the frame header is hand-written and bounded; an unknown type is skipped and answered with
//!   [`Unsupported`], a lie about the length is an error of that stream alone;
//! - message types are append-only: a field is never added to, taken from or moved within a
//!   message that was released, a new message type is made instead; enums grow at their end only;
//! - golden bytes of every message are in `shared/tests/golden` and must decode for ever.

mod codec;
mod frame;
mod messages;

pub use codec::{CodecError, MAX_PAYLOAD_BYTES};
pub use frame::{Frame, FrameDecoder, FrameError, HEADER_BYTES, Header};
pub use messages::*;

/// The newest protocol version that this build speaks.
pub const PROTOCOL_MAX: u16 = 2;
/// The first version that has [`RecordBody::Artifact`].
pub const PROTOCOL_ARTIFACTS: u16 = 2;
/// The oldest protocol version that this build still speaks.
pub const PROTOCOL_MIN: u16 = 1;

/// Picks the newest version that both ends speak; `None` if the ranges do not meet.
pub fn negotiate(peer_min: u16, peer_max: u16) -> Option<u16> {
    let newest = peer_max.min(PROTOCOL_MAX);
    (newest >= peer_min.max(PROTOCOL_MIN)).then_some(newest)
}
