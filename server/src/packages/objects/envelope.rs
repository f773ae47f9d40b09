//! The form of an object at rest: fixed for good, since stores outlive versions.
//!
//! ```text
//! envelope = encoding:u8 checksum:u32 body        encoding 0 = raw, 1 = one zstd frame
//! ```
//!
//! The checksum is CRC-32C over encoding and body, big-endian. It lets the server send a stored
//! body as it is, without decoding and hashing it once for each agent, and yet never send rot. A
//! zstd frame states its content size.

use bytes::Bytes;
use mantle_shared::protocol::Encoding;

const HEADER_BYTES: usize = 5;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Level 3 is where zstd's gain for its time is best on mixed content; it runs at disk speed.
const LEVEL: i32 = 3;
/// Below this a frame's own header eats what it saves.
const SMALLEST_WORTH_PACKING: usize = 64;

/// A sealed object, taken apart but not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) encoding: Encoding,
    pub(crate) body: Bytes,
    pub(crate) size_bytes: u64,
}

/// Seals objects; it keeps the compressor's tables between them.
pub(crate) struct Sealer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Sealer {
    pub(crate) fn new() -> Self {
        // Without a compressor (no memory for its tables) objects are stored raw, which is right too.
        Self {
            compressor: zstd::bulk::Compressor::new(LEVEL).ok(),
        }
    }

    /// The envelope of these bytes: packed where that saves at least a twentieth.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        if plain.len() >= SMALLEST_WORTH_PACKING
            && let Some(compressor) = &mut self.compressor
            && let Ok(packed) = compressor.compress(plain)
            && packed.len() <= plain.len() - plain.len() / 20
        {
            return envelope(ZSTD, &packed);
        }
        envelope(RAW, plain)
    }
}

fn envelope(encoding: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.push(encoding);
    out.extend_from_slice(&checksum(encoding, body).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn checksum(encoding: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[encoding]), body)
}

/// Takes a stored envelope apart; the error says what is wrong with it.
pub(crate) fn open(stored: &Bytes) -> Result<Envelope, &'static str> {
    let Some((&[encoding, a, b, c, d], body)) = stored.split_first_chunk::<HEADER_BYTES>() else {
        return Err("it is cut short");
    };
    if checksum(encoding, body) != u32::from_be_bytes([a, b, c, d]) {
        return Err("its checksum does not match");
    }
    let body = stored.slice(HEADER_BYTES..);
    let (encoding, size_bytes) = match encoding {
        RAW => (Encoding::Raw, body.len() as u64),
        ZSTD => match zstd::zstd_safe::get_frame_content_size(&body) {
            Ok(Some(size_bytes)) => (Encoding::Zstd, size_bytes),
            _ => return Err("it does not state its size"),
        },
        _ => return Err("its encoding is of a newer version"),
    };
    Ok(Envelope {
        encoding,
        body,
        size_bytes,
    })
}

impl Envelope {
    /// The plain bytes, at most `limit_bytes` of them.
    pub(crate) fn decode(self, limit_bytes: usize) -> Result<Bytes, &'static str> {
        let size = usize::try_from(self.size_bytes).unwrap_or(usize::MAX);
        if size > limit_bytes {
            return Err("it is larger than an object may be");
        }
        match self.encoding {
            Encoding::Raw => Ok(self.body),
            Encoding::Zstd => {
                let plain = zstd::bulk::decompress(&self.body, size)
                    .map_err(|_| "it cannot be decompressed")?;
                if plain.len() == size {
                    Ok(plain.into())
                } else {
                    Err("it has not the size that it states")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_again_packed_only_where_it_pays() {
        let mut noise = vec![0_u8; 4096];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for (plain, encoding) in [
            (Vec::new(), Encoding::Raw),
            (b"short".to_vec(), Encoding::Raw),
            (vec![b'a'; 4096], Encoding::Zstd),
            (noise, Encoding::Raw),
        ] {
            let opened = open(&Sealer::new().seal(&plain).into()).unwrap();
            assert_eq!(opened.encoding, encoding);
            assert_eq!(opened.size_bytes, plain.len() as u64);
            assert_eq!(opened.decode(4096).unwrap(), plain);
        }
    }

    #[test]
    fn every_flipped_bit_shows() {
        let sealed = Sealer::new().seal(&[b'x'; 200]);
        for at in 0..sealed.len() {
            let mut rotten = sealed.clone();
            rotten[at] ^= 0x10;
            assert!(open(&rotten.into()).is_err(), "byte {at}");
        }
        assert!(open(&Bytes::from_static(b"\0\0")).is_err());
    }

    #[test]
    fn the_form_is_fixed() {
        assert_eq!(
            hex::encode(Sealer::new().seal(b"mantle")),
            "00980f4b966d616e746c65"
        );
    }

    #[test]
    fn a_frame_that_claims_more_than_the_limit_is_not_decoded() {
        let sealed = Sealer::new().seal(&vec![0; 1 << 20]);
        assert!(open(&sealed.into()).unwrap().decode(1000).is_err());
    }
}
