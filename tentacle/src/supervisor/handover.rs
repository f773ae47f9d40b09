//! How the agent hands an order to a supervisor: through its standard input, framed so that a part
//! of it is never taken for the whole.

use std::io::{self, Read};

/// What the pipe begins with; the last byte is the layout.
const MAGIC: [u8; 8] = *b"MTORDER\x01";
/// The largest order, which is the largest payload of the wire.
const LARGEST_BYTES: usize = 4 * 1024 * 1024;

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The pipe ended early: whoever wrote it died.
    #[error("the order did not arrive whole")]
    Incomplete(#[source] io::Error),
    /// It is not an order of a layout that this build knows, or it was damaged.
    #[error("what arrived is not an order")]
    Damaged,
}

/// The bytes to write.
pub fn frame(order: &[u8]) -> Vec<u8> {
    let length = u32::try_from(order.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(order.len() + 16);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(order).to_be_bytes());
    bytes.extend_from_slice(order);
    bytes
}

/// Reads an order to its end.
pub fn read(from: &mut impl Read) -> Result<Vec<u8>, HandoverError> {
    let mut magic = [0; 8];
    let mut length = [0; 4];
    let mut sum = [0; 4];
    for part in [&mut magic[..], &mut length[..], &mut sum[..]] {
        from.read_exact(part).map_err(HandoverError::Incomplete)?;
    }
    let length = u32::from_be_bytes(length) as usize;
    if magic != MAGIC || length > LARGEST_BYTES {
        return Err(HandoverError::Damaged);
    }
    let mut order = vec![0; length];
    from.read_exact(&mut order)
        .map_err(HandoverError::Incomplete)?;
    if crc32c::crc32c(&order) != u32::from_be_bytes(sum) {
        return Err(HandoverError::Damaged);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_part_of_an_order_is_none() {
        let whole = frame(b"{\"format\":1}");
        assert_eq!(read(&mut whole.as_slice()).unwrap(), b"{\"format\":1}");
        for length in 0..whole.len() {
            assert!(read(&mut &whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            assert!(read(&mut damaged.as_slice()).is_err(), "{at}");
        }
    }
}
