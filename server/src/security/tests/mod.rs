//! Tests of keys, certificates and tokens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authority;
mod credentials;
mod master_key;
