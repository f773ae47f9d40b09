//! The agent: carries out on a Windows or Linux target what the server orders.
//!
//! What holds here:
//! - the agent starts nothing that is not in its [`journal`], and forgets nothing that the server
//!   has not acknowledged;
//! - [`brain`] decides, [`driver`] does: the brain has no clock, no file and no socket;
//! - the agent itself runs no action: each attempt has a [`supervisor`] process that outlives it;
//! - quinn is in [`connection`] only; the rest talks to it through [`link`].

pub mod actions;
pub mod artifacts;
pub mod brain;
pub mod cache;
pub mod cli;
pub mod config;
pub mod connection;
pub mod driver;
pub mod durable;
pub mod identity;
pub mod journal;
pub mod link;
pub mod output;
pub mod process;
pub mod rights;
pub mod scm;
pub mod service;
pub mod settings;
pub mod state_dir;
pub mod supervisor;
