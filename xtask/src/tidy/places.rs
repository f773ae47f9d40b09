//! What may stand only in certain places. These absences hold the house up.

use regex::Regex;

use super::Findings;
use crate::tree::Tree;

/// Whether a path is one of these files or lies in one of these folders (given with `/`).
fn is_in(path: &str, places: &[&str]) -> bool {
    places
        .iter()
        .any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

/// The rules themselves hold samples of what they forbid.
const RULES_THEMSELVES: &str = "xtask/";

/// A pattern of this file; a mistake in one fails every test of the rules.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// Names each line of code, outside `places`, that holds one of these words.
fn words_only_in(tree: &Tree, findings: &mut Findings, words: &str, places: &[&str], why: &str) {
    let Some(pattern) = pattern(&format!(r"\b({words})\b")) else {
        findings.add("xtask/src/tidy/places.rs", 1, "a pattern cannot be read");
        return;
    };
    for (file, source) in tree.rust() {
        if is_in(&file.path, places) || is_in(&file.path, &[RULES_THEMSELVES]) {
            continue;
        }
        for (line, code) in source.code() {
            if let Some(found) = pattern.find(code) {
                findings.add(&file.path, line, format!("`{}` {why}", found.as_str()));
            }
        }
    }
}

const STORE: &[&str] = &["server/src/store/", "server/src/store.rs"];

/// SQL and its library are in the store only.
pub(super) fn sql_in_store(tree: &Tree, findings: &mut Findings) {
    words_only_in(
        tree,
        findings,
        "sqlx",
        STORE,
        "is used outside server/src/store",
    );
    let Some(statement) = pattern(
        r"\b(SELECT\s.*\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\b|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX|UNIQUE)\b|ALTER\s+TABLE\b|DROP\s+TABLE\b|BEGIN\s+IMMEDIATE\b|PRAGMA\s+\w)",
    ) else {
        findings.add("xtask/src/tidy/places.rs", 1, "a pattern cannot be read");
        return;
    };
    for (file, source) in tree.rust() {
        if is_in(&file.path, STORE) || is_in(&file.path, &[RULES_THEMSELVES]) {
            continue;
        }
        for (line, text) in source.texts() {
            if let Some(found) = statement.find(text) {
                let what = found.as_str().trim();
                findings.add(
                    &file.path,
                    line,
                    format!("SQL outside server/src/store: {what}"),
                );
            }
        }
    }
}

/// The transport's library is behind the gateway and the agent's connection.
pub(super) fn quinn_in_its_places(tree: &Tree, findings: &mut Findings) {
    words_only_in(
        tree,
        findings,
        "quinn|quinn_proto|quinn_udp",
        &[
            "server/src/gateway/",
            "tentacle/src/connection/",
            "tests/",
            "bench/",
            "server/tests/",
            "tentacle/tests/",
        ],
        "is used outside the gateway and the agent's connection",
    );
}

/// The payload codec's library is behind one file.
pub(super) fn bincode_in_codec(tree: &Tree, findings: &mut Findings) {
    words_only_in(
        tree,
        findings,
        "bincode",
        &["shared/src/protocol/codec.rs"],
        "is used outside shared/src/protocol/codec.rs",
    );
    for manifest in tree.manifests() {
        if is_in(&manifest.path, &["Cargo.toml", "shared/Cargo.toml"]) {
            continue;
        }
        for (line, text) in (1..).zip(manifest.text.lines()) {
            if text.starts_with("bincode") {
                findings.add(&manifest.path, line, "only shared depends on bincode");
            }
        }
    }
}

/// The domain has no clock, file, socket, thread or randomness. Its tests may read fixtures.
pub(super) fn domain_is_pure(tree: &Tree, findings: &mut Findings) {
    let Some(pattern) = pattern(
        r"\bstd::(fs|net|process|thread|env)\b|\b(SystemTime|Instant)\b|\bTimestamp::now\b|\bZoned::now\b|\bUuid::(new_v4|now_v7)\b|\brand::|\btokio\b",
    ) else {
        findings.add("xtask/src/tidy/places.rs", 1, "a pattern cannot be read");
        return;
    };
    for (file, source) in tree.rust() {
        let is_test = file.path.contains("/tests/") || file.path.ends_with("tests.rs");
        if !file.path.starts_with("server/domain/src/") || is_test {
            continue;
        }
        for (line, code) in source.code() {
            if let Some(found) = pattern.find(code) {
                findings.add(
                    &file.path,
                    line,
                    format!(
                        "the domain is pure: `{}` comes in as an argument",
                        found.as_str()
                    ),
                );
            }
        }
    }
}

/// Server and agent never use each other: what both need is in `shared`.
pub(super) fn server_and_agent_are_apart(tree: &Tree, findings: &mut Findings) {
    for (manifest, other) in [
        ("server/Cargo.toml", "tentacle"),
        ("server/domain/Cargo.toml", "tentacle"),
        ("tentacle/Cargo.toml", "mantle"),
        ("tentacle/Cargo.toml", "mantle-domain"),
        ("shared/Cargo.toml", "mantle"),
        ("shared/Cargo.toml", "mantle-domain"),
        ("shared/Cargo.toml", "tentacle"),
    ] {
        for file in tree.manifests().filter(|file| file.path == manifest) {
            for (line, text) in (1..).zip(file.text.lines()) {
                let name = text.split(['.', ' ', '=']).next().unwrap_or_default();
                if name == other {
                    findings.add(manifest, line, format!("it may not depend on {other}"));
                }
            }
        }
    }
}
