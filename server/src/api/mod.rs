//! HTTP: one file a resource, each handler extracts, authorises, calls a service and shapes.

pub mod body;
pub mod problem;
