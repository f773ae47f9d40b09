//! Seals a sensitive output variable before it touches the disk.
//!
//! XChaCha20-Poly1305 under the order's key. The sealed text is base64 over nonce (24 bytes) and
//! ciphertext; the attempt's id (16 bytes) and the variable's name are authenticated with it, so
//! that a sealed value cannot be moved to another variable.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use mantle_shared::AttemptId;
use rand::RngCore;
use zeroize::Zeroizing;

/// The key and the attempt.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    attempt: AttemptId,
}

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The order's key is not 32 bytes in base64.
    #[error("the order's seal key is not 32 bytes in base64")]
    Key,
    /// The cipher refused; values beyond 256 GiB alone do that.
    #[error("the value could not be sealed")]
    Cipher,
}

impl Sealer {
    /// Reads the order's key.
    pub fn new(seal_key: &str, attempt: AttemptId) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(STANDARD.decode(seal_key).map_err(|_| SealError::Key)?);
        let key = Key::try_from(bytes.as_slice()).map_err(|_| SealError::Key)?;
        Ok(Self {
            cipher: XChaCha20Poly1305::new(&key),
            attempt,
        })
    }

    /// Seals a value.
    pub fn seal(&self, name: &str, value: &str) -> Result<String, SealError> {
        let mut bytes = [0_u8; 24];
        rand::rng().fill_bytes(&mut bytes);
        let nonce = XNonce::from(bytes);
        let aad = [self.attempt.as_bytes().as_slice(), name.as_bytes()].concat();
        let payload = Payload {
            msg: value.as_bytes(),
            aad: &aad,
        };
        let sealed = self
            .cipher
            .encrypt(&nonce, payload)
            .map_err(|_| SealError::Cipher)?;
        Ok(STANDARD.encode([bytes.as_slice(), &sealed].concat()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use mantle_shared::uuid::Uuid;

    #[test]
    fn what_is_sealed_opens_under_its_own_name_alone() {
        let attempt = AttemptId::from_uuid(Uuid::from_u128(7));
        let key = STANDARD.encode([9_u8; 32]);
        let sealed = Sealer::new(&key, attempt)
            .unwrap()
            .seal("Token", "s3cret")
            .unwrap();
        let bytes = STANDARD.decode(sealed).unwrap();
        let (nonce, ciphertext) = bytes.split_first_chunk::<24>().unwrap();
        let cipher = XChaCha20Poly1305::new(&Key::from([9_u8; 32]));
        let open = |name: &str| {
            let aad = [attempt.as_bytes().as_slice(), name.as_bytes()].concat();
            let payload = Payload {
                msg: ciphertext,
                aad: &aad,
            };
            cipher.decrypt(&XNonce::from(*nonce), payload)
        };
        assert_eq!(open("Token").unwrap(), b"s3cret");
        assert!(open("Other").is_err());
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let attempt = AttemptId::from_uuid(Uuid::from_u128(7));
        assert!(Sealer::new("AAAA", attempt).is_err());
        assert!(Sealer::new("not base64", attempt).is_err());
    }
}
