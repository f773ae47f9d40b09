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
}

pub(super) fn run(args: &ExecAttemptArgs, state_dir: &StateDir) -> ExitCode {
    ExitCode::from(supervisor::exec_attempt(&args.dir, state_dir))
}
