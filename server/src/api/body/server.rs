//! The server itself, and the frame of every list.

use jiff::Timestamp;
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
