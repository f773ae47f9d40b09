//! The agent with real supervisor processes: one integration binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod supervisor;
mod support;
mod through_restarts;
