//! The rules of releases and deployments.
//!
//! Pure: no clock, no file, no socket, no randomness. What a rule needs to know comes in as an
//! argument, what it decides goes out as a value. Everything here can be tested by a table.

pub mod ids;
pub mod plan;
pub mod process;
pub mod snapshot;
pub mod state;
pub mod target;
pub mod variable;
