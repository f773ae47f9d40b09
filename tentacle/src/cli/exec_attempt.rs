//! `tentacle exec-attempt`: the supervisor's process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::state_dir::StateDir;
use crate::supervisor;

/// What the supervisor is told; the order itself comes through standard input.
#[derive(Debug, Args)]
pub(super) struct ExecAttemptArgs {
    /// The attempt's folder.
    #[arg(long)]
    dir: PathBuf,
    /// The root of installed versions.
    #[arg(long)]
    apps: Option<PathBuf>,
    /// The most bytes of output that are kept.
    #[arg(long)]
    output_cap: Option<u64>,
}

pub(super) fn run(args: &ExecAttemptArgs, state_dir: &StateDir) -> ExitCode {
    let mut state_dir = state_dir.clone();
    if let Some(apps) = &args.apps {
        state_dir = state_dir.with_apps(apps.clone());
    }
    let output_cap = args.output_cap.unwrap_or(u64::MAX);
    ExitCode::from(supervisor::exec_attempt(&args.dir, &state_dir, output_cap))
}
