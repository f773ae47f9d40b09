//! What a deployment in fact used, for people.

use mantle_domain::manifest::{Manifest, ManifestAction, ManifestValue};

use super::live::harmless;
use super::output::names;

/// So much of a digest tells two apart.
const DIGEST_SHOWN: usize = 12;

/// The lines of a manifest.
pub(super) fn lines(manifest: &Manifest) -> Vec<String> {
    let Manifest {
        project,
        release,
        environment,
        channel,
        ..
    } = manifest;
    let mut lines = vec![format!(
        "{project} {release} -> {environment}  channel {channel}"
    )];
    if !manifest.comment.is_empty() {
        lines.push(format!("comment  {}", harmless(&manifest.comment)));
    }
    let fields = manifest.fields.iter();
    lines.extend(fields.map(|(name, value)| format!("field {name}: {}", harmless(value))));
    section(
        &mut lines,
        "targets",
        manifest.targets.iter().map(|target| {
            let (name, version, tags) = (&target.name, &target.agent_version, &target.tags);
            format!("{name}  agent {version}  tags {}", names(tags))
        }),
    );
    section(
        &mut lines,
        "left out",
        manifest
            .left_out
            .iter()
            .map(|target| format!("{}  {}", target.name, target.why.words())),
    );
    section(
        &mut lines,
        "packages",
        manifest.packages.iter().map(|package| {
            let digest = package.archive.to_string();
            let digest = digest.get(..DIGEST_SHOWN).unwrap_or(&digest);
            format!("{} {}  {digest}", package.id, package.version)
        }),
    );
    for action in &manifest.actions {
        lines.extend(of_action(action));
    }
    lines
}

fn section(lines: &mut Vec<String>, title: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.map(|item| format!("  {item}")).collect();
    if !items.is_empty() {
        lines.push(title.to_owned());
        lines.extend(items);
    }
}

fn of_action(action: &ManifestAction) -> Vec<String> {
    let name = if action.step == action.action {
        action.action.clone()
    } else {
        format!("{} / {}", action.step, action.action)
    };
    let about = names(&action.nodes);
    let mut lines = vec![format!("{name}  {}  {about}", action.uses)];
    for (name, ManifestValue { value, on }) in &action.values {
        lines.push(format!("  {name} = {}", harmless(value)));
        for (target, other) in on {
            let other = other.as_deref().map_or("(no value)".to_owned(), harmless);
            lines.push(format!("    on {target}: {other}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifest_reads_as_lines() {
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "format": 2,
            "task": "00000000-0000-0000-0000-000000000001",
            "project": "shop",
            "environment": "test",
            "release": "1.0",
            "channel": "default",
            "comment": "at last",
            "targets": [],
            "packages": [],
            "actions": [{
                "step": "Farm",
                "action": "Look",
                "uses": "script",
                "nodes": ["web01", "web02"],
                "values": { "Port": { "value": "80", "on": { "web02": "81", "web03": null } } },
            }],
        }))
        .unwrap();
        assert_eq!(
            lines(&manifest),
            [
                "shop 1.0 -> test  channel default",
                "comment  at last",
                "Farm / Look  script  web01, web02",
                "  Port = 80",
                "    on web02: 81",
                "    on web03: (no value)",
            ]
        );
    }
}
