//! End to end: the real binaries, a real network, faults. One module a part of the product.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking and are read for their names"
)]

mod windows;
