//! The rules of releases and deployments.
//!
//! Pure: no clock, no file, no socket, no randomness. What a rule needs to know comes in as an
//! argument, what it decides goes out as a value. Everything here can be tested by a table.

pub mod action;
pub mod audit;
pub mod channel;
pub mod condition;
pub mod environment;
pub mod explain;
pub mod file;
pub mod fleet;
pub mod health;
pub mod ids;
pub mod interruption;
pub mod lifecycle;
pub mod lock;
pub mod manifest;
pub mod name;
pub mod order;
pub mod permission;
pub mod plan;
pub mod planner;
pub mod process;
pub mod project;
pub mod queue;
pub mod release;
pub mod retention;
pub mod snapshot;
pub mod state;
pub mod target;
#[cfg(test)]
mod testing;
pub mod upkeep;
pub mod variable;
pub mod variable_set;
pub mod version;
mod work;
