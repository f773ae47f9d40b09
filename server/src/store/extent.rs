//! How much of a list is read. To show many is one thing, to know all another: what decides by a list
//! must have all of it, and says so.

use super::value::{Param, ToParam};

/// How many rows of a list are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// So many at most, for people or for a page.
    First(u32),
    /// Every one, for what is decided by them.
    All,
}

impl ToParam for Extent {
    const NONE: Param = Param::Int(None);

    fn to_param(&self) -> Param {
        Param::Int(Some(match self {
            Self::First(count) => i64::from(*count),
            Self::All => i64::MAX,
        }))
    }
}
