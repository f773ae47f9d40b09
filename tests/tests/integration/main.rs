//! The whole, or nearly: what only shows when the real parts meet.
//!
//! One binary with a module a theme, so that it is linked once. [`rig`] holds the server (everything
//! but HTTP) and agents in this process; real processes come from the harness, `mantle_tests`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "the modules of one binary")]

mod agent_faults;
mod agent_settings;
mod agent_stops;
mod archives;
mod artifacts;
mod backups;
mod cancels;
mod certificates;
mod choices;
mod conditions;
mod config_files;
mod conventions;
mod copies;
mod database_away;
mod delivery;
mod denials;
mod deploy;
mod documents;
mod errors;
mod file_actions;
mod fleet;
mod forbidden;
mod full_disks;
mod haproxy_rollout;
mod health;
mod hints;
mod hostile;
mod hostile_files;
mod install;
mod installed_versions;
mod line;
mod locks;
mod lost_state;
mod maintenance;
mod many;
mod masking;
mod messages;
mod nginx_site;
mod notify;
mod octofx;
mod offline;
mod others;
mod output;
mod pacing;
mod packaging;
mod people;
mod profiles;
mod queue;
mod records;
mod releases;
mod resolutions;
mod rig;
mod rollbacks;
mod rolling_back;
mod server_faults;
mod service;
mod services;
mod snapshot;
mod swarm;
mod transfers;
mod tries;
mod trust;
mod unwritable;
mod upkeep;
mod variables;
mod windows;
mod worker;
