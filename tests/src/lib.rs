//! The harness of the end-to-end tests: real processes, a real network, faults.
//!
//! `proxy` breaks the network, `wait` waits for named conditions. The tests themselves are in
//! `tests/`, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a harness fails a test by panicking"
)]

pub mod proxy;
pub mod wait;
