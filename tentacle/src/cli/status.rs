//! `tentacle status`.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{EXIT_INTERNAL, EXIT_NOT_FOUND, Failure, Output, print, print_json};
use crate::driver::{Connection, Status};
use crate::identity::Identity;
use crate::output::recorder::now_us;
use crate::settings;
use crate::state_dir::{StateDir, StateDirError};

const HOUR_US: i64 = 60 * 60 * 1_000_000;

/// How to print.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(super) fn run(args: &StatusArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let status = Status::read(&state_dir.status_file()).map_err(|error| {
        let path = state_dir.status_file().display().to_string();
        Failure::new(
            EXIT_INTERNAL,
            format!("{path} cannot be read: {error}; run as the agent's user"),
        )
    })?;
    let Some(status) = status else {
        let root = state_dir.root().display();
        return Err(Failure::new(
            EXIT_NOT_FOUND,
            format!(
                "no agent has run with the state directory {root}; join with 'tentacle join' and start it with 'tentacle run', or name another directory with --data"
            ),
        ));
    };
    // The lock is the truth: the file may be what a killed agent left.
    let running = matches!(state_dir.lock(), Err(StateDirError::InUse { .. }));
    // An agent that runs has settled it; for another this is where it would be.
    let apps = settings::apps(state_dir)
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?
        .path;
    // An agent that left its server is shown all the same.
    let identity = Identity::load(state_dir.root()).ok();
    match args.output {
        Output::Json => print_json(&json!({
            "schema": "tentacle.cli/v1",
            "running": running,
            "applications": apps,
            "certificate_until_us": identity.as_ref().map(|identity| identity.not_after_us),
            "agent": status,
        })),
        Output::Table => {
            table(running, &status, &apps);
            if let Some(identity) = identity {
                print(&format!("certificate  {}", until(&identity, now_us())));
            }
        }
    }
    Ok(())
}

/// When the certificate ends.
fn until(identity: &Identity, now_us: i64) -> String {
    let until = jiff::Timestamp::from_microsecond(identity.not_after_us).unwrap_or_default();
    let left_hours = (identity.not_after_us - now_us) / HOUR_US;
    match left_hours {
        ..0 => format!("ended at {until:.0}"),
        0..48 => format!("until {until:.0} ({left_hours} h); renewed at half of its life"),
        48.. => format!(
            "until {until:.0} ({} days); renewed at half of its life",
            left_hours / 24
        ),
    }
}

fn table(running: bool, status: &Status, apps: &Path) {
    let process = if running {
        format!("running, pid {}", status.pid)
    } else {
        "not running".to_owned()
    };
    print(&format!(
        "agent        {process}, version {}",
        status.version
    ));
    let connection = match (&status.connection, running) {
        (_, false) => "none".to_owned(),
        (Connection::Connecting, _) => "not yet".to_owned(),
        (Connection::Connected { stale: true, .. }, _) => {
            "connected, but the server is a restored backup: nothing is obeyed until it runs on its newest data again".to_owned()
        }
        (Connection::Connected { clock_ahead_us, .. }, _) => {
            format!("connected, clocks {} ms apart", clock_ahead_us.unsigned_abs() / 1000)
        }
        (Connection::Disconnected { reason }, _) => format!("not connected: {reason}"),
        (Connection::Stopped, _) => "stopped".to_owned(),
    };
    print(&format!("server       {connection}"));
    print(&format!(
        "steps        {} running, {} not yet stored by the server",
        status.running, status.unacknowledged
    ));
    print(&format!("applications {}", apps.display()));
    if let Some(at_us) = status.journal_lost_at_us {
        let at = jiff::Timestamp::from_microsecond(at_us).unwrap_or_default();
        print(&format!(
            "journal      the one before was found lost at {at:.0}; what it alone held is unknown to the server"
        ));
    }
}
