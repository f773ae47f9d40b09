//! The three kinds of values that both databases share, and how our types travel as them.
//!
//! Everything in a row is a 64-bit integer, a text or bytes. Times are microseconds since 1970,
//! ids are 16 bytes, booleans are 0 and 1, JSON is text.

use mantle_shared::Digest;
use mantle_shared::tls::Fingerprint;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::error::{Result, StoreError};

/// A value for a statement. The kind is known also when the value is absent, for PostgreSQL asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Param {
    /// An integer.
    Int(Option<i64>),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Blob(Option<Vec<u8>>),
}

/// A type that can be handed to a statement.
pub(super) trait ToParam {
    /// The value of this kind when there is none.
    const NONE: Param;

    /// The value as the database takes it.
    fn to_param(&self) -> Param;
}

/// The values of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::value::ToParam::to_param(&$value)),*]
    };
}
pub(super) use params;

/// A row of either database.
pub(super) enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The value of a column that is never null.
    pub(super) fn get<T: Column>(&self, name: &'static str) -> Result<T> {
        self.find(name)?
            .ok_or_else(|| StoreError::corrupt(format!("column {name}, which is null")))
    }

    /// The value of a column that may be null.
    pub(super) fn find<T: Column>(&self, name: &'static str) -> Result<Option<T>> {
        match T::Raw::read(self, name)? {
            None => Ok(None),
            Some(raw) => T::from_raw(raw)
                .map(Some)
                .ok_or_else(|| StoreError::corrupt(format!("column {name}"))),
        }
    }
}

/// A type that can be read from a column.
pub(super) trait Column: Sized {
    /// What the column holds.
    type Raw: RawColumn;

    /// Reads the value back; `None` if it cannot be one.
    fn from_raw(raw: Self::Raw) -> Option<Self>;
}

/// One of the three kinds of columns.
pub(super) trait RawColumn: Sized {
    /// Reads the named column.
    fn read(row: &Row, name: &'static str) -> Result<Option<Self>>;
}

macro_rules! raw_column {
    ($($type:ty),*) => {$(
        impl RawColumn for $type {
            fn read(row: &Row, name: &'static str) -> Result<Option<Self>> {
                Ok(match row {
                    Row::Sqlite(row) => row.try_get::<Option<Self>, _>(name)?,
                    Row::Postgres(row) => row.try_get::<Option<Self>, _>(name)?,
                })
            }
        }
    )*};
}
raw_column!(i64, String, Vec<u8>);

impl<T: ToParam> ToParam for Option<T> {
    const NONE: Param = T::NONE;

    fn to_param(&self) -> Param {
        self.as_ref().map_or(Self::NONE, ToParam::to_param)
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    const NONE: Param = T::NONE;

    fn to_param(&self) -> Param {
        (**self).to_param()
    }
}

impl ToParam for i64 {
    const NONE: Param = Param::Int(None);

    fn to_param(&self) -> Param {
        Param::Int(Some(*self))
    }
}

impl Column for i64 {
    type Raw = Self;

    fn from_raw(raw: Self) -> Option<Self> {
        Some(raw)
    }
}

/// Integers whose values all stand for counts that never come near the sign bit.
macro_rules! integer {
    ($($type:ty),*) => {$(
        impl ToParam for $type {
            const NONE: Param = Param::Int(None);

            fn to_param(&self) -> Param {
                Param::Int(Some(i64::try_from(*self).unwrap_or(i64::MAX)))
            }
        }

        impl Column for $type {
            type Raw = i64;

            fn from_raw(raw: i64) -> Option<Self> {
                raw.try_into().ok()
            }
        }
    )*};
}
integer!(u64, u32, i32, usize);

impl ToParam for bool {
    const NONE: Param = Param::Int(None);

    fn to_param(&self) -> Param {
        Param::Int(Some(i64::from(*self)))
    }
}

impl Column for bool {
    type Raw = i64;

    fn from_raw(raw: i64) -> Option<Self> {
        match raw {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl ToParam for str {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        Param::Text(Some(self.to_owned()))
    }
}

impl ToParam for String {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        Param::Text(Some(self.clone()))
    }
}

impl Column for String {
    type Raw = Self;

    fn from_raw(raw: Self) -> Option<Self> {
        Some(raw)
    }
}

impl ToParam for [u8] {
    const NONE: Param = Param::Blob(None);

    fn to_param(&self) -> Param {
        Param::Blob(Some(self.to_vec()))
    }
}

impl ToParam for Vec<u8> {
    const NONE: Param = Param::Blob(None);

    fn to_param(&self) -> Param {
        Param::Blob(Some(self.clone()))
    }
}

impl Column for Vec<u8> {
    type Raw = Self;

    fn from_raw(raw: Self) -> Option<Self> {
        Some(raw)
    }
}

impl<const N: usize> ToParam for [u8; N] {
    const NONE: Param = Param::Blob(None);

    fn to_param(&self) -> Param {
        Param::Blob(Some(self.to_vec()))
    }
}

impl<const N: usize> Column for [u8; N] {
    type Raw = Vec<u8>;

    fn from_raw(raw: Vec<u8>) -> Option<Self> {
        raw.try_into().ok()
    }
}

/// Types that are stored as the bytes they are made of.
macro_rules! bytes_column {
    ($($type:ty),* $(,)?) => {$(
        impl ToParam for $type {
            const NONE: Param = Param::Blob(None);

            fn to_param(&self) -> Param {
                Param::Blob(Some(self.as_bytes().to_vec()))
            }
        }

        impl Column for $type {
            type Raw = Vec<u8>;

            fn from_raw(raw: Vec<u8>) -> Option<Self> {
                Self::from_slice(&raw)
            }
        }
    )*};
}
bytes_column!(
    Digest,
    Fingerprint,
    super::ids::UploadId,
    super::ids::NodeId,
    mantle_domain::ids::AgentId,
    mantle_domain::ids::ApiKeyId,
    mantle_domain::ids::AttemptId,
    mantle_domain::ids::EnvironmentId,
    mantle_domain::ids::HealthCheckId,
    mantle_domain::ids::JoinTokenId,
    mantle_domain::ids::LifecycleId,
    mantle_domain::ids::VariableSetId,
    mantle_domain::ids::PackageVersionId,
    mantle_domain::ids::ProjectId,
    mantle_domain::ids::ReleaseId,
    mantle_domain::ids::SecretVersionId,
    mantle_domain::ids::TargetId,
    mantle_domain::ids::TaskId,
);

impl ToParam for mantle_domain::queue::Priority {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        Param::Text(Some(self.word().to_owned()))
    }
}

impl Column for mantle_domain::queue::Priority {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Self::from_word(&raw)
    }
}

impl ToParam for mantle_shared::lock::LockMode {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        Param::Text(Some(self.word().to_owned()))
    }
}

impl Column for mantle_shared::lock::LockMode {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Self::from_word(&raw)
    }
}

/// Declares an enum that is stored as a word.
macro_rules! word_enum {
    (
        $(#[$doc:meta])*
        pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that stands for it, in the database and for people.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads the word back.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl $crate::store::value::ToParam for $name {
            const NONE: $crate::store::value::Param = $crate::store::value::Param::Text(None);

            fn to_param(&self) -> $crate::store::value::Param {
                $crate::store::value::Param::Text(Some(self.word().to_owned()))
            }
        }

        impl $crate::store::value::Column for $name {
            type Raw = String;

            fn from_raw(raw: String) -> Option<Self> {
                Self::from_word(&raw)
            }
        }
    };
}
pub(super) use word_enum;
