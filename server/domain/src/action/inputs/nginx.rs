//! What the actions about nginx take.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Span;

/// `nginx.drain`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxDrain {
    /// The upstream's name.
    pub upstream: String,
    /// The server, as its line in the upstream names it.
    pub server: String,
    /// The file with the servers of the upstream, which nginx includes; by default
    /// `/etc/nginx/mantle/UPSTREAM.conf`.
    #[serde(default)]
    pub file: Option<String>,
    /// The configuration of nginx; by default the distribution's.
    #[serde(default)]
    pub config: Option<String>,
    /// How long connections may take to end; 30 seconds by default.
    #[serde(default)]
    pub wait: Option<Span>,
}

/// `nginx.enable`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxEnable {
    /// The upstream's name.
    pub upstream: String,
    /// The server, as its line in the upstream names it; it is added if there is none.
    pub server: String,
    /// The file with the servers of the upstream, which nginx includes; by default
    /// `/etc/nginx/mantle/UPSTREAM.conf`.
    #[serde(default)]
    pub file: Option<String>,
    /// The configuration of nginx; by default the distribution's.
    #[serde(default)]
    pub config: Option<String>,
}
