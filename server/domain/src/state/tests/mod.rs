//! The state machine by tables, and against a model world with random faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod asking;
mod builders;
mod cancel;
mod conditions;
mod effort;
mod evidence;
mod failure;
mod faults;
mod golden;
mod late;
mod laws;
mod locks;
mod parallel;
mod resolution;
mod returning;
mod rolling;
mod rolling_back;
mod table;
mod time;
mod together;
mod unsuccessful;
