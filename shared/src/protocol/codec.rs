//! The codec of payloads: bincode, and the only place that knows it.
//!
//! Always with a limit (a lying length would make it reserve memory without end), always over a
//! slice whose length was checked, and bytes left over are an error. `docs/adr/` says why this
//! version and how it will be left.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest payload of any message: an order with its variables.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// Variable-width integers, since most of what travels is short lines of text.
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_PAYLOAD_BYTES>> =
    bincode::config::standard().with_limit::<MAX_PAYLOAD_BYTES>();

/// Why a payload could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The message is larger than any payload may be.
    #[error("the message is over {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    /// The message could not be written.
    #[error("the message could not be encoded")]
    Encode(#[source] bincode::error::EncodeError),
    /// The bytes are not such a message.
    #[error("the bytes are not a message of type {kind}")]
    Decode {
        /// The message type that the header named.
        kind: u16,
        /// What was wrong.
        #[source]
        source: bincode::error::DecodeError,
    },
    /// The message ended before its payload did.
    #[error("{extra} bytes follow the message of type {kind}")]
    TrailingBytes {
        /// The message type that the header named.
        kind: u16,
        /// How many bytes were left over.
        extra: usize,
    },
    /// The type is not one that this build knows.
    #[error("message type {kind} is not known")]
    UnknownType {
        /// The message type that the header named.
        kind: u16,
    },
}

/// Writes one message.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, CONFIG).map_err(CodecError::Encode)?;
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err(CodecError::TooLarge);
    }
    Ok(bytes)
}

/// Reads one message; every byte must belong to it.
pub(super) fn decode<T: DeserializeOwned>(kind: u16, payload: &[u8]) -> Result<T, CodecError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(CodecError::TooLarge);
    }
    let (message, used) = bincode::serde::decode_from_slice(payload, CONFIG)
        .map_err(|source| CodecError::Decode { kind, source })?;
    if used != payload.len() {
        return Err(CodecError::TrailingBytes {
            kind,
            extra: payload.len() - used,
        });
    }
    Ok(message)
}
