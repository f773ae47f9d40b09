//! The Windows agent, under Wine. `./test.sh windows` builds it and runs these.
//!
//! Wine is not Windows. What is known to differ, and so is not shown here:
//! - Wine's PowerShell is a stand-in that runs nothing and exits with 0; scripts here are `cmd`'s.
//! - The kernel's count of boots is always 0 there, so that a restart of the machine cannot be told.
//! - Its `mklink` makes no junctions, so that `current` is not there, and the agent's test build is told
//!   to warn where it would fail.
//! - There is no `bcryptprimitives.dll`; one of ours lies beside the agent in these tests.
//! - There is no IIS. A stand-in for `appcmd.exe` (`tentacle/examples/appcmd.rs`) keeps sites and pools; no
//!   `netsh` binds certificates.
//! - Its service control manager has no delayed start, no recovery and no event log; `icacls` does nothing.
//!   The agent says what is "not implemented" there, and nothing else is let pass.
//! - QUIC's own socket cannot be opened for want of its options, so these tests always take the
//!   plain one.

mod deployment;
mod iis;
mod msi;
mod services;
mod supervisor;

use mantle_tests::World;
use mantle_tests::cli::Cli;
use mantle_tests::wine::{agent_program, windows_path};

#[tokio::test]
async fn the_agent_tells_its_version_and_checks_its_machine() {
    let world = World::new();
    let cli = Cli::new(&world, &agent_program(&world));
    let version = cli.run(&["--version"]).await.ok().stdout;
    assert!(version.starts_with("tentacle "), "{version}");
    let data = windows_path(&world.path("agent"));
    let doctor = cli.run(&["--data", &data, "doctor", "-o", "json"]).await;
    let doctor = doctor.ok().json();
    let good = |what: &str| {
        let checks = doctor["checks"].as_array().unwrap();
        checks
            .iter()
            .any(|check| check["what"] == what && check["verdict"] == "good")
    };
    for what in ["state directory", "disk", "processes", "shell cmd"] {
        assert!(good(what), "{what}: {doctor:#}");
    }
}
