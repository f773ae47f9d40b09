//! What holds for every crate's manifest and for what is built in all.

use super::Findings;
use crate::tree::Tree;

/// What the domain may depend on: data and text, nothing that reaches outside. A new name here is
/// a decision about the architecture.
const DOMAIN_MAY_USE: &[&str] = &[
    "mantle-shared",
    "mantle-template",
    "blake3",
    "fancy-regex",
    "hex",
    "jiff",
    "schemars",
    "serde",
    "serde-saphyr",
    "serde_json",
    "strsim",
    "thiserror",
    "uuid",
];

/// One TLS stack and one provider: these are others.
const OTHER_TLS: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl",
    "openssl-sys",
    "native-tls",
];

/// The lines of a section of a manifest, with their numbers.
fn section<'a>(text: &'a str, name: &str) -> Vec<(usize, &'a str)> {
    let header = format!("[{name}]");
    (1..)
        .zip(text.lines())
        .skip_while(|(_, line)| line.trim() != header)
        .skip(1)
        .take_while(|(_, line)| !line.trim_start().starts_with('['))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .collect()
}

/// Every crate of the workspace inherits its lints.
pub(super) fn lints_inherited(tree: &Tree, findings: &mut Findings) {
    for manifest in tree.manifests() {
        // The workspace's own manifest has no package; fuzz and bench targets of another
        // workspace cannot inherit.
        let is_crate = manifest.text.contains("[package]");
        let is_foreign =
            manifest.text.contains("[workspace]") || manifest.path.starts_with("fuzz/");
        if !is_crate || is_foreign {
            continue;
        }
        let lints = section(&manifest.text, "lints");
        let inherits = lints
            .iter()
            .any(|(_, line)| line.replace(' ', "") == "workspace=true");
        if !inherits {
            findings.add(
                &manifest.path,
                1,
                "a crate inherits the lints: `[lints] workspace = true`",
            );
        }
    }
}

/// The domain depends on what is listed and nothing else.
pub(super) fn domain_dependencies(tree: &Tree, findings: &mut Findings) {
    for manifest in tree
        .manifests()
        .filter(|m| m.path == "server/domain/Cargo.toml")
    {
        for (line, text) in section(&manifest.text, "dependencies") {
            let name = text.split(['.', ' ', '=']).next().unwrap_or_default();
            if !DOMAIN_MAY_USE.contains(&name) {
                findings.add(
                    &manifest.path,
                    line,
                    format!("`{name}` is not on the list of what the domain may use"),
                );
            }
        }
    }
}

/// No second TLS stack or provider, by whatever way it came in.
pub(super) fn one_tls(tree: &Tree, findings: &mut Findings) {
    for lock in tree.files().filter(|file| file.path == "Cargo.lock") {
        for (line, text) in (1..).zip(lock.text.lines()) {
            let name = text
                .strip_prefix("name = \"")
                .and_then(|rest| rest.strip_suffix('"'));
            if let Some(name) = name.filter(|name| OTHER_TLS.contains(name)) {
                findings.add(
                    &lock.path,
                    line,
                    format!("`{name}` came in: `cargo tree -i {name}` says how"),
                );
            }
        }
    }
}
