//! Locks: what an attempt holds on its executor while it lives, so that no other touches the same.
//!
//! The server decides by them who may start, across deployments; the agent refuses what conflicts
//! with an attempt that its journal holds. Both use the one rule here.

use serde::{Deserialize, Serialize};

/// The lock on the whole of a target: whoever holds it alone is alone there.
pub const TARGET: &str = "target";

/// A lock, as an attempt wants or holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lock {
    /// Its name; locks of the same name on the same executor are the same lock.
    pub name: String,
    /// Whether others may hold it too.
    #[serde(default, skip_serializing_if = "LockMode::is_exclusive")]
    pub mode: LockMode,
}

/// Whether others may hold a lock too.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Nobody else.
    #[default]
    Exclusive,
    /// Others that share it.
    Shared,
}

impl LockMode {
    /// Nobody else may hold it.
    pub fn is_exclusive(&self) -> bool {
        *self == Self::Exclusive
    }

    /// The word in files, the database and for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "exclusive" => Some(Self::Exclusive),
            "shared" => Some(Self::Shared),
            _ => None,
        }
    }
}

impl Lock {
    /// A lock that nobody else may hold.
    pub fn exclusive(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: LockMode::Exclusive,
        }
    }

    /// A lock that others may share.
    pub fn shared(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: LockMode::Shared,
        }
    }

    /// Both cannot be held at once.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.name == other.name && (self.mode.is_exclusive() || other.mode.is_exclusive())
    }
}

/// The first of the wanted locks that cannot be had beside those that are held.
pub fn conflict<'a>(wanted: &'a [Lock], held: &[Lock]) -> Option<&'a Lock> {
    wanted
        .iter()
        .find(|wanted| held.iter().any(|held| wanted.conflicts(held)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn only_those_that_share_hold_a_lock_together() {
        let (full, part) = (Lock::exclusive("x"), Lock::shared("x"));
        let other = Lock::exclusive("y");
        for (one, other, both) in [
            (&full, &full, false),
            (&full, &part, false),
            (&part, &full, false),
            (&part, &part, true),
            (&full, &other, true),
        ] {
            assert_eq!(!one.conflicts(other), both, "{one:?} {other:?}");
        }
        let wanted = [Lock::shared("a"), Lock::exclusive("x")];
        assert_eq!(conflict(&wanted, &[part]), Some(&wanted[1]));
        assert_eq!(conflict(&wanted, &[Lock::shared("a")]), None);
    }

    #[test]
    fn a_lock_is_exclusive_unless_it_says_otherwise() {
        let lock: Lock = serde_json::from_str(r#"{"name":"x"}"#).unwrap();
        assert_eq!(lock, Lock::exclusive("x"));
        assert_eq!(serde_json::to_string(&lock).unwrap(), r#"{"name":"x"}"#);
        let shared = serde_json::to_string(&Lock::shared("x")).unwrap();
        assert_eq!(shared, r#"{"name":"x","mode":"shared"}"#);
        for mode in [LockMode::Exclusive, LockMode::Shared] {
            assert_eq!(LockMode::from_word(mode.word()), Some(mode));
        }
    }
}
