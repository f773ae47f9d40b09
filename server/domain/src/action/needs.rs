//! What an action needs of the agent that runs it, beside its type: inputs that agents of before do
//! not take, and a shell that may not be on the machine.

use std::path::Path;

use serde_json::Value;

use crate::process::Action;
use crate::target::Platform;

/// What agents that take the later inputs of `package` announce.
pub const PACKAGE_SCRIPTS: &str = "inputs:package.scripts";
/// Those inputs.
const LATER_INPUTS: [&str; 4] = [
    "scripts",
    "packaged_scripts",
    "custom_directory",
    "skip_if_installed",
];

/// The feature that an agent must announce for the inputs of an action, and the first input that asks
/// for it.
pub fn inputs(action: &Action) -> Option<(&'static str, &'static str)> {
    let given = |key: &&str| action.with.get(*key).is_some_and(|value| !value.is_null());
    let first = LATER_INPUTS.into_iter().find(given)?;
    (action.uses == "package").then_some((PACKAGE_SCRIPTS, first))
}

/// What an agent announces that has this shell. One that announces no shell at all does not tell.
pub fn shell_feature(shell: &str) -> String {
    format!("{SHELL}{shell}")
}

/// Whether a word of an agent tells of a shell.
pub fn tells_of_shells(feature: &str) -> bool {
    feature.starts_with(SHELL)
}

const SHELL: &str = "shell:";

/// The shell that an action runs on a platform, as far as its inputs say: a package's own scripts are
/// known to the agent alone.
pub fn shell(action: &Action, platform: Platform) -> Option<&str> {
    let text = |key: &str| action.with.get(key).and_then(Value::as_str);
    match action.uses.as_str() {
        "script" => {
            let of_file = text("file").and_then(|file| of_file(file, platform));
            text("shell")
                .or(of_file)
                .or_else(|| Some(default(platform)))
        }
        "package" => {
            let scripts = action.with.get("scripts")?.as_object()?;
            let runs = ["pre_deploy", "deploy", "post_deploy", "deploy_failed"]
                .into_iter()
                .any(|stage| scripts.get(stage).is_some_and(Value::is_string));
            let shell = scripts.get("shell").and_then(Value::as_str);
            runs.then(|| shell.unwrap_or(default(platform)))
        }
        _ => None,
    }
}

const fn default(platform: Platform) -> &'static str {
    match platform {
        Platform::Linux => "sh",
        Platform::Windows => "powershell",
    }
}

/// As the agent takes it from the file's name; `sh` may turn out to be bash.
fn of_file(file: &str, platform: Platform) -> Option<&'static str> {
    let extension = Path::new(file).extension()?.to_str()?.to_ascii_lowercase();
    match (extension.as_str(), platform) {
        ("sh", _) => Some("sh"),
        ("bash", _) => Some("bash"),
        ("py", _) => Some("python"),
        ("cmd" | "bat", _) => Some("cmd"),
        ("ps1", Platform::Windows) => Some("powershell"),
        ("ps1", Platform::Linux) => Some("pwsh"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::a_project;

    #[test]
    fn shells_follow_from_the_inputs_as_on_the_agent() {
        let yaml = concat!(
            "packages: [{ id: Web }]\n",
            "process:\n",
            "  - step: S\n",
            "    targets: { tag: web }\n",
            "    actions:\n",
            "      - { action: a, uses: script, with: { run: x } }\n",
            "      - { action: b, uses: script, with: { run: x, shell: pwsh } }\n",
            "      - { action: c, uses: script, with: { package: Web, file: d/a.PS1 } }\n",
            "      - { action: d, uses: script, with: { package: Web, file: a.py } }\n",
            "      - { action: e, uses: script, with: { package: Web, file: run } }\n",
            "      - { action: f, uses: package, with: { package: Web, packaged_scripts: true } }\n",
            "      - { action: g, uses: package, with: { package: Web, scripts: { shell: bash } } }\n",
            "      - { action: h, uses: package, with: { package: Web, scripts: { shell: bash, deploy: x } } }\n",
            "      - { action: i, uses: package, with: { package: Web, scripts: { deploy: x } } }\n",
            "      - { action: j, uses: package, with: { package: Web } }\n",
        );
        let project = a_project(yaml);
        let actions = &project.process.steps[0].actions;
        let shells = |platform| -> Vec<Option<&str>> {
            actions
                .iter()
                .map(|action| shell(action, platform))
                .collect()
        };
        assert_eq!(
            shells(Platform::Linux),
            [
                Some("sh"),
                Some("pwsh"),
                Some("pwsh"),
                Some("python"),
                Some("sh"),
                None,
                None,
                Some("bash"),
                Some("sh"),
                None
            ]
        );
        let windows = shells(Platform::Windows);
        assert_eq!(
            (windows[0], windows[2]),
            (Some("powershell"), Some("powershell"))
        );
        let asked: Vec<_> = actions
            .iter()
            .map(|action| inputs(action).map(|(_, input)| input))
            .collect();
        assert_eq!(
            asked[4..],
            [
                None,
                Some("packaged_scripts"),
                Some("scripts"),
                Some("scripts"),
                Some("scripts"),
                None
            ]
        );
    }
}
