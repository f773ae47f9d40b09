//! Server and agents in this process, and peers that do not keep to the rules.
//!
//! [`Server`] is all of the server but HTTP. [`LinkAgent`] is the agent's real connection with the
//! test in the driver's place; [`FullAgent`] is connection and driver, watched. [`Peer`] is bare
//! QUIC, for what no agent of ours would say.

mod full;
mod link;
mod logs;
mod peer;
mod server;

use std::path::PathBuf;
use std::time::Duration;

pub use full::FullAgent;
pub use link::{LinkAgent, succeeded};
pub use logs::Logs;
pub use peer::{Control, Credentials, Leaf, Mint, Peer, hello, private};
pub use server::Server;

use mantle_shared::AgentId;
use tentacle::identity::Identity;
use tentacle::state_dir::StateDir;

/// Long beside anything that these tests wait for, on a busy machine too.
pub const SOON: Duration = Duration::from_secs(30);

/// An enrolled agent's home on disk.
#[derive(Clone)]
pub struct Home {
    /// The id that the server gave it.
    pub agent: AgentId,
    /// Its data directory.
    pub root: PathBuf,
}

impl Home {
    /// Who it is, from disk.
    pub fn identity(&self) -> Identity {
        Identity::load(&self.root).unwrap()
    }

    /// Its state directory.
    pub fn state_dir(&self) -> StateDir {
        StateDir::at(&self.root)
    }
}

/// How agents wait here: as always, but they dial again at once.
pub fn patient() -> tentacle::connection::Timing {
    tentacle::connection::Timing {
        backoff_first: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        ..tentacle::connection::Timing::default()
    }
}

/// The same, with an idle timeout that a test can wait for.
pub fn hasty(idle_timeout: Duration) -> tentacle::connection::Timing {
    tentacle::connection::Timing {
        idle_timeout,
        keepalive: idle_timeout / 4,
        ..patient()
    }
}
