//! What the running agent says of itself, for `tentacle status`.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable::{self, Privacy};
use crate::output::recorder::now_us;

/// A look at the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it was started.
    pub started_at_us: i64,
    /// Whether the server is there.
    pub connection: Connection,
    /// Attempts that are not over.
    pub running: usize,
    /// Attempts of which the server does not have everything.
    pub unacknowledged: usize,
    /// When the agent found its journal lost and began another, if it ever did.
    #[serde(default)]
    pub journal_lost_at_us: Option<i64>,
}

/// Whether the server is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Connection {
    /// Not yet.
    Connecting,
    /// It is.
    Connected {
        /// Since when, by the agent's clock.
        since_us: i64,
        /// How far the agent's clock is ahead of the server's.
        clock_ahead_us: i64,
        /// The server is a restored backup: nothing is obeyed.
        stale: bool,
    },
    /// It was.
    Disconnected {
        /// Why not any more.
        reason: String,
    },
    /// The agent was stopped.
    Stopped,
}

impl Status {
    /// A fresh start.
    pub(super) fn new() -> Self {
        Self {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_us: now_us(),
            connection: Connection::Connecting,
            running: 0,
            unacknowledged: 0,
            journal_lost_at_us: None,
        }
    }

    /// One line, for a service manager.
    pub fn line(&self) -> String {
        let connection = match &self.connection {
            Connection::Connecting => "not connected yet",
            Connection::Connected { stale: false, .. } => "connected",
            Connection::Connected { stale: true, .. } => "connected to a restored backup",
            Connection::Disconnected { .. } => "not connected",
            Connection::Stopped => "stopped",
        };
        match self.running {
            1 => format!("{connection}; 1 step running"),
            steps => format!("{connection}; {steps} steps running"),
        }
    }

    pub(super) fn connected(&mut self, clock_ahead_us: i64, stale: bool) {
        self.connection = Connection::Connected {
            since_us: now_us(),
            clock_ahead_us,
            stale,
        };
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        durable::write(path, &json, Privacy::Owner)
    }

    /// Reads what an agent wrote; `None` if none ever ran here.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
