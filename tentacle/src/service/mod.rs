//! The agent as a service of its machine: installed, started, stopped and removed by itself.
//!
//! What holds here: each command may be typed twice and says what it did; the data directory is never
//! touched by removing the service; a restart of the service ends no step.

pub mod log_file;
pub mod notify;
#[cfg(target_os = "linux")]
pub mod systemd;
pub mod unit;
#[cfg(windows)]
pub mod windows;

#[cfg(test)]
mod tests;

pub use notify::Manager;
pub use unit::{Profile, UnitOptions};
