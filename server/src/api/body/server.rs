//! The server itself, and the frame of every list.

use jiff::Timestamp;
use mantle_shared::ids::AgentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A list, or one page of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that fits on one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Who answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerInfo {
    /// The server's version.
    pub version: String,
    /// The API's version.
    pub api: String,
    /// What join tokens and agents are told to dial.
    pub advertise: String,
    /// The fingerprint of the server's certificate authority.
    pub ca_fingerprint: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// The name of the API key that asked.
    pub key: String,
    /// The team of the API key that asked.
    pub team: String,
}

/// How the server stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerStatus {
    /// Its version.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// What the system gave its UDP socket.
    pub udp_buffers: UdpBuffers,
    /// The epoch counter.
    pub epoch: u64,
    /// It was restored from a backup and not yet recovered: it orders nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoredServer>,
    /// Agents that saw a higher epoch than this server gave out; they are not let in.
    pub ahead: Vec<AgentAhead>,
    /// How much room there is for its database.
    #[serde(default)]
    pub room: ServerRoom,
    /// Packages whose content is not in the repository; the first hundred.
    pub missing_packages: Vec<MissingPackage>,
    /// How many those are.
    pub missing_count: u64,
}

/// How much room a server has for its database. Without any it goes no further.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ServerRoom {
    /// Its data directory, if the database is in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The file system that it is on, by where that is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// What is free there, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// There is no room, since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_since: Option<Timestamp>,
    /// The tasks that wait for some; the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// How many those are.
    #[serde(default)]
    pub waiting_count: u64,
}

/// The buffers of the UDP socket. What is smaller than asked loses packets when many agents are spoken to
/// at once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct UdpBuffers {
    /// How large each should be.
    pub asked_bytes: u64,
    /// How large the one for packets that come is.
    pub receive_bytes: u64,
    /// How large the one for packets that leave is.
    pub send_bytes: u64,
}

/// A server that comes from a backup.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RestoredServer {
    /// When the backup was taken.
    pub taken_at: Timestamp,
    /// When it was restored.
    pub restored_at: Timestamp,
}

/// An agent that knows of more than the server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AgentAhead {
    /// Which.
    #[schema(value_type = String, format = "uuid")]
    pub agent: AgentId,
    /// Its target's name.
    pub target: String,
    /// The epoch that it saw.
    pub epoch: u64,
}

/// A package whose content is not in the repository.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MissingPackage {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
}

/// What taking a restored server into use did.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServerRecovered {
    /// Where the epoch counter stood.
    pub epoch_before: u64,
    /// Where it stands.
    pub epoch: u64,
}
