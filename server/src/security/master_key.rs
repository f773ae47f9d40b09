//! Secrets at rest: the master keys, and what is derived from them.
//!
//! The key file holds a ring of master keys, of which the last seals what is new, and the compare
//! key, which is never rotated. It is not in the database; a check value there tells a wrong file
//! from the right one before anything is written under the wrong key.
//!
//! Each row is sealed under a key of its own (HKDF) with table and row id as associated data, so
//! that a ciphertext moved to another row does not open.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use mantle_shared::AttemptId;
use rand::RngCore as _;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::files::{self, FileError};
use super::secret::Secret;
use crate::store::{
    META_MASTER_KEY_CHECK, Store, StoreError, server_meta_find, server_meta_keep,
    server_meta_replace,
};

const NONCE_BYTES: usize = 24;
const CHECK_BYTES: usize = 16;
/// In the check value the compare key stands under this id; master keys count from 1.
const COMPARE_ID: u32 = 0;

const HEADER: &str = "\
# The master keys of a Mantle server. Whoever has this file and the database can read every secret;
# without this file nobody can. Keep a copy of it apart from the database's backups.
";

type Bytes32 = Zeroizing<[u8; 32]>;

/// The keys under which secrets are kept.
pub struct MasterKey {
    compare: Bytes32,
    /// By id, rising; never empty. The last one seals.
    ring: Vec<(u32, Bytes32)>,
}

/// Why the server cannot use its master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The database was written with a key that is not there.
    #[error(
        "the master key {path} is missing, but the database holds secrets that were sealed with \
         it; put the file back from your copy (a new one could not open them)"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// The file is another server's, or an old one.
    #[error(
        "the master key {path} is not the one that this database was written with; put the right \
         file back from your copy"
    )]
    Wrong {
        /// The file.
        path: String,
    },
    /// The file does not have its form.
    #[error("the master key {path} is damaged at line {line}; put it back from your copy")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        line: usize,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed under a master key that is not in the key file.
    #[error("the value was sealed with master key {id}, which is not in the key file")]
    UnknownKey {
        /// The key.
        id: u32,
    },
    /// It was changed, or belongs to another row.
    #[error("the sealed value was changed or belongs elsewhere")]
    Forged,
    /// It is not text.
    #[error("the sealed value is not text")]
    NotText,
}

/// Reads the key file and compares it with the database's check value; makes both on the very
/// first start. Never overwrites a key file.
pub async fn master_key_open(store: &Store, path: &Path) -> Result<MasterKey, MasterKeyError> {
    let mut tx = store.begin().await?;
    let known = server_meta_find(&mut tx, META_MASTER_KEY_CHECK).await?;
    let shown = path.display().to_string();
    let key = match (files::read_private(path)?, &known) {
        (Some(text), _) => MasterKey::parse(&text).map_err(|line| MasterKeyError::Damaged {
            path: shown.clone(),
            line,
        })?,
        (None, Some(_)) => return Err(MasterKeyError::Missing { path: shown }),
        (None, None) => {
            let key = MasterKey::generate();
            files::write_new(path, &key.text())?;
            key
        }
    };
    match known {
        Some(known) if !key.covers(&known) => return Err(MasterKeyError::Wrong { path: shown }),
        Some(_) => server_meta_replace(&mut tx, META_MASTER_KEY_CHECK, &key.check()).await?,
        None => {
            server_meta_keep(&mut tx, META_MASTER_KEY_CHECK, &key.check()).await?;
        }
    }
    tx.commit().await?;
    Ok(key)
}

/// Whether a key file is the one that a database with this check value was written with.
pub fn master_key_fits(file: &[u8], check: &[u8]) -> bool {
    MasterKey::parse(file).is_ok_and(|key| key.covers(check))
}

impl MasterKey {
    /// Fresh keys, written nowhere.
    pub fn generate() -> Self {
        Self {
            compare: random(),
            ring: vec![(1, random())],
        }
    }

    /// The id of the key that seals what is new.
    pub fn active_id(&self) -> u32 {
        self.ring.last().map_or(COMPARE_ID, |(id, _)| *id)
    }

    /// Seals a value for one row of one table. The key's id stands in front, then the nonce.
    pub fn seal(&self, table: &str, row: &[u8], value: &Secret) -> Result<Vec<u8>, SealError> {
        let id = self.active_id();
        let cipher = cipher(&self.row_key(id, table, row)?);
        let mut nonce = [0_u8; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let aad = row_name(table, row);
        let payload = Payload {
            msg: value.expose().as_bytes(),
            aad: &aad,
        };
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Forged)?;
        Ok([id.to_be_bytes().as_slice(), &nonce, &sealed].concat())
    }

    /// Opens what [`Self::seal`] sealed for the same row.
    pub fn unseal(&self, table: &str, row: &[u8], sealed: &[u8]) -> Result<Secret, SealError> {
        let (id, rest) = sealed.split_first_chunk().ok_or(SealError::Forged)?;
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Forged)?;
        let cipher = cipher(&self.row_key(u32::from_be_bytes(*id), table, row)?);
        let aad = row_name(table, row);
        let value = cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .map_err(|_| SealError::Forged)?;
        Secret::from_bytes(value).ok_or(SealError::NotText)
    }

    /// HMAC of a value: equal values have equal marks, and nothing can be read from one. Hex.
    pub fn mark(&self, value: &Secret) -> String {
        let key = expand(&self.compare, &[b"mantle mark v1"]);
        // A key of any length is fine for HMAC, so this arm is never taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*key) else {
            return String::new();
        };
        mac.update(value.expose().as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// The key under which an attempt seals its sensitive output variables, as its order carries
    /// it: base64.
    pub fn seal_key(&self, attempt: AttemptId) -> Secret {
        let key = self
            .ring
            .last()
            .map(|(_, master)| attempt_key(master, attempt))
            .unwrap_or_default();
        Secret::new(STANDARD.encode(*key))
    }

    /// Opens an output variable that an attempt sealed: base64 over nonce and ciphertext, bound to
    /// the attempt's id and the variable's name.
    pub fn unseal_output(
        &self,
        attempt: AttemptId,
        name: &str,
        sealed: &str,
    ) -> Result<Secret, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::Forged)?;
        let (nonce, sealed) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Forged)?;
        let aad = [attempt.as_bytes().as_slice(), name.as_bytes()].concat();
        // The newest first: a rotation between order and report is rare.
        for (_, master) in self.ring.iter().rev() {
            let payload = Payload {
                msg: sealed,
                aad: &aad,
            };
            if let Ok(value) =
                cipher(&attempt_key(master, attempt)).decrypt(&XNonce::from(*nonce), payload)
            {
                return Secret::from_bytes(value).ok_or(SealError::NotText);
            }
        }
        Err(SealError::Forged)
    }

    /// The same ring with one more key, which seals from now on.
    pub(super) fn with_new_key(&self) -> Self {
        let mut ring = self.ring.clone();
        ring.push((self.active_id() + 1, random()));
        Self {
            compare: self.compare.clone(),
            ring,
        }
    }

    /// The same ring without the keys before the active one.
    pub(super) fn without_old_keys(&self) -> Self {
        Self {
            compare: self.compare.clone(),
            ring: self.ring.last().cloned().into_iter().collect(),
        }
    }

    /// It holds keys besides the active one: a rotation was begun.
    pub(super) fn has_old_keys(&self) -> bool {
        self.ring.len() > 1
    }

    /// What proves, without telling anything, which keys these are: (id, derived check) of each.
    pub(super) fn check(&self) -> Vec<u8> {
        std::iter::once((COMPARE_ID, &self.compare))
            .chain(self.ring.iter().map(|(id, key)| (*id, key)))
            .flat_map(|(id, key)| {
                let check = expand(key, &[b"mantle key check v1"]);
                let mut entry = id.to_be_bytes().to_vec();
                entry.extend(check.iter().take(CHECK_BYTES));
                entry
            })
            .collect()
    }

    /// Every key that a check value names is one of these.
    pub(super) fn covers(&self, known: &[u8]) -> bool {
        let own = self.check();
        let width = 4 + CHECK_BYTES;
        !known.is_empty()
            && known.len().is_multiple_of(width)
            && known
                .chunks(width)
                .all(|entry| own.chunks(width).any(|mine| bool::from(mine.ct_eq(entry))))
    }

    /// The key file's content.
    pub(super) fn text(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(HEADER.to_owned());
        let compare = Zeroizing::new(hex::encode(*self.compare));
        text.push_str(&Zeroizing::new(format!("compare {}\n", *compare)));
        for (id, key) in &self.ring {
            let key = Zeroizing::new(hex::encode(**key));
            text.push_str(&Zeroizing::new(format!("key {id} {}\n", *key)));
        }
        Zeroizing::new(text.as_bytes().to_vec())
    }

    /// Reads a key file's content back, or names the bad line.
    pub(super) fn parse(text: &[u8]) -> Result<Self, usize> {
        let text = std::str::from_utf8(text).map_err(|_| 1_usize)?;
        let (mut compare, mut ring, mut count) = (None, Vec::<(u32, Bytes32)>::new(), 0);
        for (line, number) in text.lines().zip(1..) {
            count = number;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["compare", key] if compare.is_none() => {
                    compare = Some(parse_key(key).ok_or(number)?);
                }
                ["key", id, key] => {
                    let id: u32 = id.parse().map_err(|_| number)?;
                    if id <= ring.last().map_or(COMPARE_ID, |(last, _)| *last) {
                        return Err(number);
                    }
                    ring.push((id, parse_key(key).ok_or(number)?));
                }
                _ => return Err(number),
            }
        }
        match compare {
            Some(compare) if !ring.is_empty() => Ok(Self { compare, ring }),
            _ => Err(count + 1),
        }
    }

    fn row_key(&self, id: u32, table: &str, row: &[u8]) -> Result<Bytes32, SealError> {
        let (_, master) = self
            .ring
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(SealError::UnknownKey { id })?;
        Ok(expand(master, &[b"mantle row v1", &row_name(table, row)]))
    }
}

fn attempt_key(master: &Bytes32, attempt: AttemptId) -> Bytes32 {
    expand(master, &[b"mantle attempt v1", attempt.as_bytes()])
}

/// Table names hold no NUL, so no two rows have the same name.
fn row_name(table: &str, row: &[u8]) -> Vec<u8> {
    [table.as_bytes(), b"\0", row].concat()
}

fn cipher(key: &Bytes32) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(**key))
}

fn expand(master: &Bytes32, info: &[&[u8]]) -> Bytes32 {
    let mut key = Bytes32::default();
    let expanded = Hkdf::<Sha256>::new(None, master.as_slice()).expand_multi_info(info, &mut *key);
    debug_assert!(expanded.is_ok(), "32 bytes are a length that HKDF gives");
    key
}

fn random() -> Bytes32 {
    let mut key = Bytes32::default();
    rand::rng().fill_bytes(&mut *key);
    key
}

fn parse_key(text: &str) -> Option<Bytes32> {
    let mut key = Bytes32::default();
    hex::decode_to_slice(text, &mut *key).ok()?;
    Some(key)
}
