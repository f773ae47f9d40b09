//! The Mantle server and its command line.

pub mod api;
pub mod app;
pub mod artifacts;
pub mod backup;
pub mod cli;
pub mod client;
pub mod gateway;
pub mod installers;
pub mod orchestrator;
pub mod packages;
pub mod security;
pub mod services;
pub mod store;
pub mod supervise;
