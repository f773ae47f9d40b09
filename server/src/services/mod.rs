//! The use cases: authorise, ask the domain, write in one transaction, wake the orchestrator.

mod error;
pub mod feed;
pub mod wake;

pub use error::{Error, Result, nearest};
