//! What the server and the agent must agree on: identities, the wire protocol, package manifests,
//! the order that an attempt carries out and how its inputs are written, how text files are read, how
//! secrets are masked.
//!
//! This crate is small and slow-moving, since everything is rebuilt after it. It opens no file and
//! no socket. HTTP bodies, database rows and rules are not in it.

pub mod artifacts;
pub mod convention;
pub mod digest;
pub mod fault;
pub mod ids;
pub mod inputs;
pub mod lock;
pub mod manifest;
pub mod mask;
pub mod order;
pub mod outputs;
pub mod protocol;
pub mod text_file;
pub mod tls;
pub mod token;
pub mod transform_rule;

pub use digest::Digest;
pub use ids::{AgentId, AttemptId, JournalId, TaskId};
pub use uuid;
