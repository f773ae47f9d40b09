//! Tests of the store, each against SQLite and PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod answered;
mod artifacts;
mod audit;
mod configuration;
mod faults;
mod fixtures;
mod health;
mod interruptions;
mod locks;
mod logs;
mod migrations;
mod releases;
mod resolutions;
mod schema;
mod tasks;
mod turns;
mod upkeep;
