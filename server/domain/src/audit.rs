//! The chain of the audit log: each row's hash covers the one before, so that a row that was
//! changed, removed or put in between shows.

use mantle_shared::Digest;
use serde::{Deserialize, Serialize};

/// The hash before the first row.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// What a row says. The order of the fields is part of the hash: only ever append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its number, from 1, without gaps.
    pub sequence: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// Who.
    pub actor: String,
    /// What was done, such as `release.create`.
    pub action: String,
    /// To what, such as `octofx 1.2.3`.
    pub subject: String,
    /// The particulars, as JSON text; never a secret.
    pub detail: String,
}

/// What the row says that removes the beginning of the trail.
pub const CUT_ACTION: &str = "audit.cut";

/// The end of what was removed from the beginning of the trail. The chain goes on from its hash, and a
/// row of the chain vouches for it, so that nobody can remove rows without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The last row that was removed; 0 if none was.
    pub through: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Cut {
    /// Whether this row, which stands in the chain, says that the trail was cut there.
    pub fn is_vouched_by(&self, row: &AuditRow) -> bool {
        row.action == CUT_ACTION
            && serde_json::from_str::<Self>(&row.detail).is_ok_and(|said| said == *self)
    }
}

/// Where a chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A row's number does not follow the one before.
    #[error("audit row {expected} is missing: row {found} follows {}", expected.saturating_sub(1))]
    Gap {
        /// The number that should stand there.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// A row is not what its hash says.
    #[error("audit row {sequence} was changed after it was written")]
    Changed {
        /// The row.
        sequence: u64,
    },
}

/// The hash of a row that follows one with the hash `previous`.
pub fn hash(previous: &Digest, row: &AuditRow) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("mantle 2026 audit chain v1");
    hasher.update(previous.as_bytes());
    hasher.update(&row.sequence.to_be_bytes());
    hasher.update(&row.at_us.to_be_bytes());
    for text in [&row.actor, &row.action, &row.subject, &row.detail] {
        // The length goes first, so that text cannot move from one field into the next.
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// Checks that a row follows `previous` (its number and hash) and is what `stored` says.
pub fn verify(
    previous: (u64, &Digest),
    row: &AuditRow,
    stored: &Digest,
) -> Result<(), BrokenChain> {
    let expected = previous.0 + 1;
    if row.sequence != expected {
        return Err(BrokenChain::Gap {
            expected,
            found: row.sequence,
        });
    }
    if hash(previous.1, row) != *stored {
        return Err(BrokenChain::Changed {
            sequence: row.sequence,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: u64) -> AuditRow {
        AuditRow {
            sequence,
            at_us: 1_800_000_000_000_000,
            actor: "ada".to_owned(),
            action: "release.create".to_owned(),
            subject: "octofx 1.0".to_owned(),
            detail: "{}".to_owned(),
        }
    }

    #[test]
    fn a_changed_missing_or_moved_row_shows() {
        let first = hash(&GENESIS, &row(1));
        let second = hash(&first, &row(2));
        assert_eq!(verify((0, &GENESIS), &row(1), &first), Ok(()));
        assert_eq!(verify((1, &first), &row(2), &second), Ok(()));
        let mut forged = row(2);
        forged.actor = "eve".to_owned();
        assert_eq!(
            verify((1, &first), &forged, &second),
            Err(BrokenChain::Changed { sequence: 2 })
        );
        assert_eq!(
            verify((0, &GENESIS), &row(2), &second),
            Err(BrokenChain::Gap {
                expected: 1,
                found: 2
            })
        );
        assert!(verify((1, &GENESIS), &row(2), &second).is_err());
    }

    #[test]
    fn a_cut_is_vouched_for_by_the_row_that_says_just_that() {
        let cut = Cut {
            through: 7,
            hash: hash(&GENESIS, &row(1)),
        };
        let vouching = |detail: serde_json::Value| AuditRow {
            action: CUT_ACTION.to_owned(),
            detail: detail.to_string(),
            ..row(9)
        };
        let said = serde_json::json!({ "through": 7, "hash": cut.hash, "why": "old", "rows": 7 });
        assert!(cut.is_vouched_by(&vouching(said.clone())));
        for (name, value) in [("through", 8.into()), ("hash", GENESIS.to_string().into())] {
            let mut other = said.clone();
            other[name] = value;
            assert!(!cut.is_vouched_by(&vouching(other)), "{name}");
        }
        assert!(!cut.is_vouched_by(&row(9)));
        assert!(!cut.is_vouched_by(&vouching(serde_json::json!([]))));
    }

    #[test]
    fn text_cannot_move_between_fields() {
        let mut shifted = row(1);
        shifted.actor = "adarelease.create".to_owned();
        shifted.action = String::new();
        assert_ne!(hash(&GENESIS, &row(1)), hash(&GENESIS, &shifted));
    }

    #[test]
    fn the_hash_is_fixed() {
        // Golden: databases hold these hashes, so the function may never change.
        assert_eq!(hash(&GENESIS, &row(1)).short(), "e3e007bc8678");
    }
}
