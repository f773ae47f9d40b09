//! The command lines that the harness itself types, and the shape of what it reads: in one place,
//! so that a flag that moves is changed once.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

/// The environment variable that names the server's data directory.
pub const SERVER_DATA: &str = "MANTLE_DATA";
/// The environment variable that names the agent's data directory.
pub const AGENT_DATA: &str = "TENTACLE_DATA";
/// The file in the server's data directory that holds the bound addresses.
pub const ADDRESSES_FILE: &str = "server.json";

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// HTTPS, TCP.
    pub https: SocketAddr,
    /// QUIC, UDP.
    pub quic: SocketAddr,
}

/// `mantle server run`.
pub fn server_run(data: &Path, https: SocketAddr, quic: SocketAddr) -> Vec<String> {
    words(&[
        "server",
        "run",
        "--data",
        &data.display().to_string(),
        "--listen-https",
        &https.to_string(),
        "--listen-quic",
        &quic.to_string(),
        "-o",
        "json",
    ])
}

/// Reads [`ADDRESSES_FILE`].
pub fn read_addresses(text: &str) -> Option<Addresses> {
    let value: Value = serde_json::from_str(text).ok()?;
    let address = |name: &str| value.get(name)?.as_str()?.parse().ok();
    Some(Addresses {
        https: address("https")?,
        quic: address("quic")?,
    })
}

/// `mantle agent token create`, as JSON.
pub fn token_create() -> Vec<String> {
    words(&["agent", "token", "create", "-o", "json"])
}

/// The token in what [`token_create`] prints.
pub fn token_of(created: &Value) -> Option<String> {
    find_text(created, &|text| text.starts_with("mj1."))
}

/// `tentacle join`.
pub fn agent_join(
    data: &Path,
    server: &str,
    token: &str,
    name: &str,
    tags: &[&str],
    environments: &[&str],
) -> Vec<String> {
    let mut words = words(&[
        "--data",
        &data.display().to_string(),
        "join",
        "--server",
        server,
        "--token",
        token,
        "--name",
        name,
    ]);
    for tag in tags {
        words.extend(["--tag".to_owned(), (*tag).to_owned()]);
    }
    for environment in environments {
        words.extend(["--environment".to_owned(), (*environment).to_owned()]);
    }
    words
}

/// `tentacle run`.
pub fn agent_run(data: &Path) -> Vec<String> {
    words(&["--data", &data.display().to_string(), "run"])
}

/// `mantle target list`, as JSON.
pub fn target_list() -> Vec<String> {
    words(&["target", "list", "-o", "json"])
}

/// Whether the target is connected, by what [`target_list`] prints.
pub fn target_online(list: &Value, name: &str) -> bool {
    items(list).iter().any(|target| {
        target.get("name").and_then(Value::as_str) == Some(name)
            && (target.get("online").and_then(Value::as_bool) == Some(true)
                || ["state", "status", "health"].iter().any(|field| {
                    matches!(
                        target.get(*field).and_then(Value::as_str),
                        Some("online" | "connected" | "healthy")
                    )
                }))
    })
}

/// The list in a JSON answer: the answer itself or its `items`.
pub fn items(value: &Value) -> Vec<Value> {
    value
        .as_array()
        .or_else(|| value.get("items").and_then(Value::as_array))
        .cloned()
        .unwrap_or_default()
}

fn find_text(value: &Value, wanted: &dyn Fn(&str) -> bool) -> Option<String> {
    match value {
        Value::String(text) => wanted(text).then(|| text.clone()),
        Value::Array(all) => all.iter().find_map(|value| find_text(value, wanted)),
        Value::Object(all) => all.values().find_map(|value| find_text(value, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
