//! The harness of the end-to-end tests: real processes, a real network, faults.
//!
//! [`World`] is a test's folder and all its processes; [`Server`] and [`Agent`] are the real
//! binaries in it; [`proxy`] breaks the network between them; [`wait`] waits for named conditions;
//! [`haproxy`] and [`load`] are a balanced site under load; [`wine`] runs the Windows agent;
//! [`document`] reads the README and the manual, [`terminal`] types what they say; [`effects`] and
//! [`lines`] check from outside that each step was started once and each line arrived once; [`chaos`]
//! breaks a whole fleet at random, and [`checker`] reads what is left and judges. The tests
//! themselves are in `tests/`, one binary.
//!
//! ```no_run
//! # async fn example() {
//! use mantle_tests::{Agent, Joining, Server, World};
//! let world = World::new();
//! let server = Server::start(&world).await;
//! let how = Joining { tags: &["web"], environments: &["test"], ..Joining::default() };
//! let mut agent = Agent::start(&world, &server, "web01", how).await;
//! server.ok(&["target", "list"]).await;
//! agent.kill9();
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a harness fails a test by panicking"
)]

pub mod agent;
pub mod binaries;
pub mod chaos;
pub mod checker;
pub mod cli;
pub mod document;
pub mod effects;
#[cfg(test)]
mod fuzz_replay;
pub mod grammar;
pub mod haproxy;
#[cfg(test)]
mod haproxy_tests;
pub mod hosts;
#[cfg(test)]
mod inputs_tests;
pub mod lines;
pub mod load;
pub mod locked_database;
#[cfg(test)]
mod manual_tests;
pub mod model;
pub mod namespaces;
#[cfg(test)]
mod powershell_tests;
pub mod process;
pub mod proxy;
pub mod pty;
pub mod receivers;
#[cfg(test)]
mod refusals_tests;
pub mod sabotage;
pub mod server;
pub mod small_disk;
pub mod stuck_disk;
pub mod systemd;
pub mod terminal;
pub mod wait;
pub mod wine;
pub mod world;

pub use agent::{Agent, Joining, Platform};
pub use effects::Effects;
pub use server::Server;
pub use world::World;
