//! Typed identities.
//!
//! Every id is a UUID behind a type of its own, so that a task's id can never be passed where a
//! target's is meant. Ids are minted by the caller (`UUIDv7`); nothing here reads a clock or a
//! random source. An attempt's id alone is derived, see [`AttemptId::derive`].

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Declares a UUID newtype with its text, JSON and byte forms.
#[macro_export]
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name($crate::uuid::Uuid);

        impl $name {
            /// Wraps a UUID that the caller minted or read back.
            pub const fn from_uuid(id: $crate::uuid::Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside.
            pub const fn as_uuid(&self) -> $crate::uuid::Uuid {
                self.0
            }

            /// The 16 bytes, as stored in the database.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads back what [`Self::as_bytes`] wrote; `None` unless there are exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                $crate::uuid::Uuid::from_slice(bytes).ok().map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::uuid::Uuid::parse_str(text).map(Self)
            }
        }
    };
}

typed_id!(
    /// An enrolled agent. Never reused, also when a target of the same name joins again.
    AgentId
);
typed_id!(
    /// Anything queued: a deployment, a health check, an upgrade. A deployment's id is its task's.
    TaskId
);
typed_id!(
    /// A machine as the server knows it.
    TargetId
);
typed_id!(
    /// One agent's journal. An agent that lost its journal goes on with another one.
    JournalId
);

/// One start of one node. Derived from what it starts, so that a repeated order is the same order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(Uuid);

/// What an attempt's id is derived from.
#[derive(Debug, Clone, Copy)]
pub struct AttemptKey {
    /// The deployment that the attempt belongs to.
    pub task: TaskId,
    /// The step's index in the plan.
    pub step: u32,
    /// The action's index in its step.
    pub action: u32,
    /// The target that the work is about.
    pub subject: TargetId,
    /// The target whose agent runs it.
    pub executor: TargetId,
    /// 1 for the first start of the node, one more for each retry.
    pub attempt: u32,
}

impl AttemptId {
    /// The id of this start: a `UUIDv8` made of the first 16 bytes of a BLAKE3 hash over the key.
    pub fn derive(key: &AttemptKey) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("mantle 2026 attempt id v1");
        hasher.update(key.task.as_bytes());
        hasher.update(&key.step.to_be_bytes());
        hasher.update(&key.action.to_be_bytes());
        hasher.update(key.subject.as_bytes());
        hasher.update(key.executor.as_bytes());
        hasher.update(&key.attempt.to_be_bytes());
        let mut bytes = [0_u8; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(Uuid::new_v8(bytes))
    }

    /// Wraps an id that was read back.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The 16 bytes, as stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads back what [`Self::as_bytes`] wrote.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttemptId({})", self.0)
    }
}

impl std::str::FromStr for AttemptId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AttemptKey {
        AttemptKey {
            task: TaskId::from_uuid(Uuid::from_u128(1)),
            step: 2,
            action: 3,
            subject: TargetId::from_uuid(Uuid::from_u128(4)),
            executor: TargetId::from_uuid(Uuid::from_u128(5)),
            attempt: 1,
        }
    }

    #[test]
    fn s32_ids_that_differ_in_case_are_one_id_and_have_one_spelling() {
        let id = AttemptId::derive(&key());
        let spelt = id.to_string();
        assert_eq!(spelt, spelt.to_lowercase(), "what folders are named by");
        assert_eq!(spelt.to_uppercase().parse(), Ok(id));
        let mixed: String = spelt
            .chars()
            .enumerate()
            .map(|(at, c)| {
                if at % 2 == 0 {
                    c
                } else {
                    c.to_ascii_uppercase()
                }
            })
            .collect();
        let read: AttemptId = mixed.parse().unwrap();
        assert_eq!((read, read.to_string()), (id, spelt.clone()));
        let task = TaskId::from_uuid(Uuid::from_u128(0xABCD_EF01));
        assert_eq!(task.to_string().to_uppercase().parse(), Ok(task));
        // Letters of other scripts are no digits, however alike they look.
        assert!(
            spelt
                .replacen(|c: char| c.is_ascii_digit(), "\u{ff11}", 1)
                .parse::<AttemptId>()
                .is_err()
        );
    }

    #[test]
    fn the_same_start_has_the_same_id_and_a_retry_another() {
        let first = AttemptId::derive(&key());
        assert_eq!(first, AttemptId::derive(&key()));
        assert_ne!(
            first,
            AttemptId::derive(&AttemptKey {
                attempt: 2,
                ..key()
            })
        );
        assert_ne!(
            first,
            AttemptId::derive(&AttemptKey {
                step: 3,
                action: 2,
                ..key()
            })
        );
    }

    #[test]
    fn the_derivation_is_fixed() {
        // Golden: journals and databases hold these ids, so the derivation may never change.
        assert_eq!(
            AttemptId::derive(&key()).to_string(),
            "d4a5ff59-dc84-83a2-a634-92090cda75ca"
        );
    }
}
