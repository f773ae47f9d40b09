//! HTTP: one file a resource, each handler extracts, authorises, calls a service and shapes.

pub mod body;
mod error;
mod extract;
// mod layers;
pub mod problem;

pub(crate) use self::error::chain as error_chain;
