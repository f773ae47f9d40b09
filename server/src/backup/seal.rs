//! The form of a backup file: a header, then frames that are each encrypted and authenticated.
//!
//! The key comes from a passphrase by Argon2id, with the parameters that stand in the header. Each
//! frame has a nonce of its own (a random prefix, then its number) and says, authenticated, whether it
//! is the last one; so frames that were changed, swapped, left out or cut off do not pass.

use std::io::{self, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rand::RngCore as _;
use zeroize::Zeroizing;

/// What every backup file begins with; the last byte is the form's version.
const MAGIC: &[u8; 16] = b"MANTLE BACKUP \n\x01";
const SALT_BYTES: usize = 16;
const PREFIX_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + 12 + SALT_BYTES + PREFIX_BYTES;
/// Plain bytes a frame.
const FRAME_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
/// Set in a frame's length if it is the last one.
const LAST: u32 = 1 << 31;

/// 64 MiB and three passes: half a second, for whoever tries a passphrase too.
const COST: Cost = Cost {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 1,
};
/// What a file may ask of whoever reads it.
const MOST: Cost = Cost {
    memory_kib: 1024 * 1024,
    passes: 16,
    lanes: 8,
};

/// What deriving the key costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why a backup file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is something else.
    #[error("it is no backup of a mantle server, or of a newer one")]
    Other,
    /// Its first frame does not open.
    #[error("the passphrase is wrong, or the file was changed")]
    Passphrase,
    /// A later frame does not open.
    #[error("the file was changed or damaged")]
    Changed,
    /// It ends before its last frame.
    #[error("the file is cut off")]
    CutOff,
    /// The key cannot be derived.
    #[error("the key cannot be derived from the passphrase: {0}")]
    Derive(String),
    /// It cannot be read or written.
    #[error("the file cannot be read or written")]
    Io(#[from] io::Error),
}

struct Frames {
    cipher: XChaCha20Poly1305,
    prefix: [u8; PREFIX_BYTES],
    next: u64,
}

impl Frames {
    fn nonce(&mut self) -> XNonce {
        let mut nonce = [0_u8; PREFIX_BYTES + 8];
        let (prefix, number) = nonce.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(&self.prefix);
        number.copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        XNonce::from(nonce)
    }
}

/// Encrypts what is written to it.
pub(super) struct SealWriter<W> {
    inner: W,
    frames: Frames,
    header: Vec<u8>,
    buffer: Zeroizing<Vec<u8>>,
}

impl<W: Write> SealWriter<W> {
    /// Writes the header.
    pub(super) fn new(mut inner: W, passphrase: &str) -> Result<Self, SealError> {
        let (mut salt, mut prefix) = ([0_u8; SALT_BYTES], [0_u8; PREFIX_BYTES]);
        rand::rng().fill_bytes(&mut salt);
        rand::rng().fill_bytes(&mut prefix);
        let mut header = MAGIC.to_vec();
        for number in [COST.memory_kib, COST.passes, COST.lanes] {
            header.extend(number.to_be_bytes());
        }
        header.extend(salt);
        header.extend(prefix);
        let cipher = cipher(passphrase, &salt, COST)?;
        inner.write_all(&header)?;
        Ok(Self {
            inner,
            frames: Frames {
                cipher,
                prefix,
                next: 0,
            },
            header,
            buffer: Zeroizing::new(Vec::with_capacity(FRAME_BYTES)),
        })
    }

    /// Writes the last frame; gives what is below.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.frame(LAST)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn frame(&mut self, last: u32) -> io::Result<()> {
        let nonce = self.frames.nonce();
        let length = u32::try_from(self.buffer.len() + TAG_BYTES).map_err(io::Error::other)? | last;
        let aad = [self.header.as_slice(), &length.to_be_bytes()].concat();
        let payload = Payload {
            msg: &self.buffer,
            aad: &aad,
        };
        let sealed = self.frames.cipher.encrypt(&nonce, payload);
        let sealed = sealed.map_err(|_| io::Error::other("a frame could not be encrypted"))?;
        self.inner.write_all(&length.to_be_bytes())?;
        self.inner.write_all(&sealed)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when there is more: the last frame may be a full one.
        if self.buffer.len() == FRAME_BYTES && !bytes.is_empty() {
            self.frame(0)?;
        }
        let taken = bytes.len().min(FRAME_BYTES - self.buffer.len());
        self.buffer.extend(bytes.iter().take(taken));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A frame leaves when it is full, or at the end.
        Ok(())
    }
}

/// Decrypts what is read from it.
pub(super) struct OpenReader<R> {
    inner: R,
    frames: Frames,
    header: Vec<u8>,
    plain: Zeroizing<Vec<u8>>,
    at: usize,
    ended: bool,
}

impl<R: Read> OpenReader<R> {
    /// Reads the header and the first frame, by which a wrong passphrase shows.
    pub(super) fn new(mut inner: R, passphrase: &str) -> Result<Self, SealError> {
        let mut header = vec![0_u8; HEADER_BYTES];
        read_whole(&mut inner, &mut header).map_err(|error| match error {
            SealError::CutOff => SealError::Other,
            other => other,
        })?;
        let rest = header.strip_prefix(MAGIC).ok_or(SealError::Other)?;
        let (numbers, rest) = rest.split_at_checked(12).ok_or(SealError::Other)?;
        let number = |at: usize| {
            let bytes = numbers.get(at * 4..at * 4 + 4).unwrap_or_default();
            bytes.try_into().map_or(0, u32::from_be_bytes)
        };
        let cost = Cost {
            memory_kib: number(0),
            passes: number(1),
            lanes: number(2),
        };
        let too_much = cost.memory_kib > MOST.memory_kib
            || cost.passes > MOST.passes
            || cost.lanes > MOST.lanes;
        if too_much {
            return Err(SealError::Other);
        }
        let (salt, prefix) = rest.split_at_checked(SALT_BYTES).ok_or(SealError::Other)?;
        let prefix = prefix.try_into().map_err(|_| SealError::Other)?;
        let cipher = cipher(passphrase, salt, cost)?;
        let mut reader = Self {
            inner,
            frames: Frames {
                cipher,
                prefix,
                next: 0,
            },
            header,
            plain: Zeroizing::new(Vec::new()),
            at: 0,
            ended: false,
        };
        reader.next_frame().map_err(|error| match error {
            SealError::Changed => SealError::Passphrase,
            other => other,
        })?;
        Ok(reader)
    }

    fn next_frame(&mut self) -> Result<(), SealError> {
        let mut length = [0_u8; 4];
        read_whole(&mut self.inner, &mut length)?;
        let length = u32::from_be_bytes(length);
        let size = usize::try_from(length & !LAST).map_err(|_| SealError::Changed)?;
        if !(TAG_BYTES..=FRAME_BYTES + TAG_BYTES).contains(&size) {
            return Err(SealError::Changed);
        }
        let mut sealed = vec![0_u8; size];
        read_whole(&mut self.inner, &mut sealed)?;
        let aad = [self.header.as_slice(), &length.to_be_bytes()].concat();
        let payload = Payload {
            msg: &sealed,
            aad: &aad,
        };
        let nonce = self.frames.nonce();
        let plain = self.frames.cipher.decrypt(&nonce, payload);
        self.plain = Zeroizing::new(plain.map_err(|_| SealError::Changed)?);
        self.at = 0;
        self.ended = length & LAST != 0;
        if self.ended && self.inner.read(&mut [0])? != 0 {
            return Err(SealError::Changed);
        }
        Ok(())
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if self.ended {
                return Ok(0);
            }
            self.next_frame().map_err(io::Error::other)?;
        }
        let rest = self.plain.get(self.at..).unwrap_or_default();
        let count = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += count;
        Ok(count)
    }
}

fn read_whole(from: &mut impl Read, into: &mut [u8]) -> Result<(), SealError> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SealError::CutOff,
        _ => SealError::Io(error),
    })
}

fn cipher(passphrase: &str, salt: &[u8], cost: Cost) -> Result<XChaCha20Poly1305, SealError> {
    let failed = |error: argon2::Error| SealError::Derive(error.to_string());
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .map_err(failed)?;
    Ok(XChaCha20Poly1305::new(&Key::from(*key)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const WORDS: &str = "correct horse battery staple";

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut writer = SealWriter::new(Vec::new(), WORDS).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn open(file: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
        let mut reader = OpenReader::new(file, passphrase).map_err(|error| error.to_string())?;
        let mut plain = Vec::new();
        let read = reader.read_to_end(&mut plain);
        read.map(|_| plain).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_sealed_opens_whatever_its_length() {
        for length in [
            0,
            1,
            FRAME_BYTES - 1,
            FRAME_BYTES,
            FRAME_BYTES + 1,
            3 * FRAME_BYTES,
        ] {
            let plain: Vec<u8> = (0..length)
                .map(|n| u8::try_from(n % 251).unwrap())
                .collect();
            assert_eq!(open(&sealed(&plain), WORDS).unwrap(), plain, "{length}");
        }
    }

    #[test]
    fn a_wrong_passphrase_and_every_change_are_noticed() {
        let plain = vec![7_u8; FRAME_BYTES * 2 + 10];
        let file = sealed(&plain);
        let says = |file: &[u8], passphrase| open(file, passphrase).unwrap_err();
        assert!(says(&file, "correct horse").contains("passphrase is wrong"));
        assert!(says(b"something else that is long enough to be one", WORDS).contains("no backup"));
        assert!(says(&file[..30], WORDS).contains("no backup"));
        // Cut anywhere: between frames, and in the middle of one.
        let frame = FRAME_BYTES + TAG_BYTES + 4;
        for length in [
            HEADER_BYTES + frame,
            HEADER_BYTES + frame + 9,
            file.len() - 1,
        ] {
            assert!(says(&file[..length], WORDS).contains("cut off"), "{length}");
        }
        // A frame left out, two swapped, one that was made the last one, something behind the end.
        let (head, rest) = file.split_at(HEADER_BYTES);
        let (first, rest) = rest.split_at(frame);
        let (second, last) = rest.split_at(frame);
        let mut early = first.to_vec();
        early[0] |= 0x80;
        for parts in [
            vec![head, second, last],
            vec![head, second, first, last],
            vec![head, first, last],
            vec![head, &early],
            vec![head, first, second, last, b"x"],
        ] {
            assert!(open(&parts.concat(), WORDS).is_err());
        }
        // Any bit, of the header's costs too.
        for at in [
            0,
            15,
            19,
            23,
            27,
            30,
            50,
            HEADER_BYTES + 1,
            HEADER_BYTES + 100,
            file.len() - 1,
        ] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&changed, WORDS).is_err(), "{at}");
        }
    }

    #[test]
    fn a_file_that_asks_for_all_of_the_memory_is_none() {
        let mut file = sealed(b"x");
        file[16] = 0xff;
        assert!(open(&file, WORDS).unwrap_err().contains("no backup"));
    }
}
