//! The supervisor: the small detached process that owns one attempt and outlives the agent.
//!
//! What holds here:
//! - it reads the whole order from its standard input, then claims the attempt; without the claim it
//!   does nothing at all;
//! - nothing that the agent does or fails to do can block or harm it: the wake channel has a thread of
//!   its own, and a dead agent is not noticed;
//! - secrets are in its memory, and in files of the private folder, which it removes;
//! - `result.json` is written last: where it is, the spool is complete.

mod artifacts;
mod child;
mod evaluate;
pub mod files;
pub mod handover;
mod own;
mod packages;
mod run;
mod stop;
mod wake;

use std::path::Path;

use mantle_shared::fault;
use mantle_shared::order::{ORDER_FORMAT, Order};

use crate::process::{self, Tree};
use crate::state_dir::StateDir;
use files::Claim;

/// The order arrived, and what became of it stands in the attempt's folder.
pub const EXIT_DONE: u8 = 0;
/// Nothing was started, and nothing was claimed: the order did not arrive whole.
pub const EXIT_NO_ORDER: u8 = 3;
/// Nothing was started: somebody else has the claim.
pub const EXIT_NOT_MINE: u8 = 4;
/// Nothing was started: the folder or the process could not be set up.
pub const EXIT_SETUP: u8 = 5;

/// Runs the supervisor of the attempt in `dir`; gives the exit code. Complaints go to standard error,
/// which the agent has pointed at a file of the attempt.
///
/// `output_cap` is the most bytes of output that are kept, whatever the order allows.
pub fn exec_attempt(dir: &Path, state_dir: &StateDir, output_cap: u64) -> u8 {
    let order = match handover::read(&mut std::io::stdin().lock()) {
        Ok(bytes) => match serde_json::from_slice::<Order>(&bytes) {
            Ok(order) if order.format == ORDER_FORMAT => order,
            Ok(order) => return complain(EXIT_NO_ORDER, &format!("order format {}", order.format)),
            // The error may quote the order, secrets and all.
            Err(_) => return complain(EXIT_NO_ORDER, "the order is not what this version reads"),
        },
        Err(error) => return complain(EXIT_NO_ORDER, &error.to_string()),
    };
    fault::point("supervisor.before_claim");
    let watcher = match run::Watcher::new() {
        Ok(watcher) => watcher,
        Err(error) => return complain(EXIT_SETUP, &format!("no event loop: {error}")),
    };
    let tree = match Tree::new(&order.attempt.to_string()) {
        Ok(tree) => tree,
        Err(error) => return complain(EXIT_SETUP, &format!("no process tree of its own: {error}")),
    };
    let claim = Claim::Supervisor {
        process: process::own_identity(),
    };
    match files::take_claim(dir, &claim) {
        Ok(true) => {}
        Ok(false) => return complain(EXIT_NOT_MINE, "the attempt is claimed already"),
        Err(error) => return complain(EXIT_SETUP, &format!("the claim was not written: {error}")),
    }
    fault::point("supervisor.claimed");
    run::run(dir, state_dir, (order, output_cap), tree, watcher)
}

fn complain(code: u8, message: &str) -> u8 {
    use std::io::Write;
    // The file may be on the full disk that is complained about.
    let _ = writeln!(std::io::stderr(), "supervisor: {message}");
    code
}
