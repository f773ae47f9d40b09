//! The agent's key: P-256, made here, never sent anywhere.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// A key that is not on disk yet.
pub struct NewKey(KeyPair);

/// Why there is no key or no signing request.
#[derive(Debug, thiserror::Error)]
#[error("the key or its signing request could not be made: {0}")]
pub struct NewKeyError(#[from] rcgen::Error);

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey")
    }
}

impl NewKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, NewKeyError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// A signing request, DER. The server takes the public key of it and nothing else.
    pub fn signing_request(&self, name: &str) -> Result<Vec<u8>, NewKeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }

    /// The public key's bits, as they stand in a certificate.
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key_raw()
    }

    /// The key in PKCS#8, wiped when dropped.
    pub(super) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }
}

/// Can these bytes be used as the agent's key?
pub(super) fn check(pkcs8: &[u8]) -> Result<(), NewKeyError> {
    KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(pkcs8),
        &PKCS_ECDSA_P256_SHA256,
    )?;
    Ok(())
}
