//! What is deployed meanwhile: projects whose steps note what they do, and whose ends are known.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::checker::Expected;

/// The package that one of the projects installs.
pub(super) const PACKAGE: &str = "app";
/// The versions of it, and so of the releases.
pub(super) const VERSIONS: [&str; 2] = ["1.0", "2.0"];
/// So many small files a package has.
pub(super) const FILES: usize = 20;
/// The environments.
pub(super) const ENVIRONMENTS: [&str; 2] = ["test", "production"];
/// The file that declares them: agents join into environments.
pub(super) const DECLARED_ENVIRONMENTS: &str =
    "mantle: v1\nenvironments: [{ name: test }, { name: production }]\n";
/// How many agents are in each group: projects are about a group.
pub(super) const GROUPS: usize = 3;

/// A project of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Project {
    /// Its slug.
    pub(super) name: &'static str,
    /// The tag of its targets.
    pub(super) tag: &'static str,
    /// How deployments of each version end by themselves.
    ends: [Expected; VERSIONS.len()],
    /// How often it is chosen, beside the others.
    pub(super) weight: u32,
    /// Its steps.
    process: fn(&Path) -> String,
}

impl Project {
    /// How deployments of this version end by themselves.
    pub(super) fn expected(&self, version: &str) -> Expected {
        let at = VERSIONS.iter().position(|one| *one == version);
        self.ends[at.unwrap_or_default()]
    }

    /// Whether it installs the package.
    pub(super) fn installs(&self) -> bool {
        matches!(self.name, "rolls" | "returns")
    }
}

/// Every version succeeds.
const SUCCEEDS: [Expected; VERSIONS.len()] = [Expected::Succeeds; VERSIONS.len()];

/// All projects.
pub(super) const PROJECTS: &[Project] = &[
    Project {
        name: "rolls",
        tag: "group0",
        ends: SUCCEEDS,
        weight: 3,
        process: rolls,
    },
    Project {
        name: "wide",
        tag: "all",
        ends: SUCCEEDS,
        weight: 2,
        process: wide,
    },
    Project {
        name: "breaks",
        tag: "group1",
        ends: [Expected::Fails; VERSIONS.len()],
        weight: 1,
        process: breaks,
    },
    Project {
        name: "slow",
        tag: "group1",
        ends: SUCCEEDS,
        weight: 2,
        process: slow,
    },
    Project {
        name: "stubborn",
        tag: "group2",
        ends: SUCCEEDS,
        weight: 1,
        process: stubborn,
    },
    Project {
        name: "retries",
        tag: "group2",
        ends: SUCCEEDS,
        weight: 2,
        process: retries,
    },
    Project {
        name: "whispers",
        tag: "group0",
        ends: SUCCEEDS,
        weight: 1,
        process: whispers,
    },
    Project {
        name: "shares",
        tag: "group0",
        ends: SUCCEEDS,
        weight: 2,
        process: shares,
    },
    Project {
        name: "returns",
        tag: "group1",
        ends: [Expected::Succeeds, Expected::Fails],
        weight: 3,
        process: returns,
    },
    Project {
        name: "asks",
        tag: "group2",
        ends: SUCCEEDS,
        weight: 1,
        process: asks,
    },
];

/// The project of this name.
pub(super) fn project(name: &str) -> Option<&'static Project> {
    PROJECTS.iter().find(|project| project.name == name)
}

/// The tags of the agent with this number.
pub(super) fn tags(agent: usize) -> Vec<String> {
    vec!["all".to_owned(), format!("group{}", agent % GROUPS)]
}

/// Whether a project is about this agent.
pub(super) fn is_about(project: &Project, agent: usize) -> bool {
    tags(agent).iter().any(|tag| tag == project.tag)
}

/// The files of everything that is applied: what is declared, as one text.
pub(super) fn declared(steps: &Path) -> String {
    let mut text = String::new();
    for project in PROJECTS {
        let packages = if project.installs() {
            format!("packages: [{{ id: {PACKAGE} }}]\n")
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "---\nmantle: v1\nproject: {}\n{packages}{}process:\n{}",
            project.name,
            match project.name {
                "whispers" => "variables:\n  Canary: { secret: chaos/canary }\n",
                "asks" => "guided_failure: true\n",
                _ => "",
            },
            (project.process)(steps)
        );
    }
    text
}

/// A script that holds its target alone, as scripts do. It notes its start, prints so many lines with
/// a pause after each, runs `last` and notes its end. `last` may set `code`.
fn script(steps: &Path, lines: u64, pause: &str, first: &str, last: &str) -> String {
    holding("target:x", steps, lines, pause, first, last)
}

/// The same for a script that does not hold its target alone: it notes these locks.
fn holding(locks: &str, steps: &Path, lines: u64, pause: &str, first: &str, last: &str) -> String {
    let steps = steps.display();
    format!(
        r#"a=${{PWD%/work}}; a=${{a##*/}}; code=0; i=0
now() {{ read -r u _ < /proc/uptime; }}
over() {{ now; printf 'end %s %s %s %s\n' "$a" "$1" "$2" "$u" >> '{steps}'; exit "$1"; }}
now; printf 'start %s %s %s %s %s %s %s\n' "$a" "$MANTLE_TASK" "$(printf %s "$MANTLE_ACTION" | tr ' ' _)" "$MANTLE_TARGET" '{locks}' "$$" "$u" >> '{steps}'
trap 'over 143 $((i > 0 ? i - 1 : 0))' TERM
{first}
echo "attempt $a"
while [ $i -lt {lines} ]; do i=$((i+1)); echo "line $i"; sleep {pause}; done
{last}
trap - TERM
over $code $i
"#
    )
}

fn action(name: &str, options: &str, script: &str) -> String {
    format!(
        "      - {{ action: {name}, uses: script, {options}with: {{ run: {} }} }}\n",
        Value::from(script)
    )
}

fn rolls(steps: &Path) -> String {
    format!(
        "  - step: roll\n    targets: {{ tag: group0 }}\n    rolling: {{ window: 2 }}\n    actions:\n      - {{ action: install, uses: package, with: {{ package: {PACKAGE} }} }}\n{}{}",
        action("first", "", &script(steps, 10, "0.05", "", "")),
        action("second", "", &script(steps, 20, "0.1", "", "")),
    )
}

fn wide(steps: &Path) -> String {
    format!(
        "  - step: all\n    targets: {{ tag: all }}\n    actions:\n{}",
        action("work", "", &script(steps, 10, "0.05", "", ""))
    )
}

/// Fails on the first target of its group, and then does what is done after a failure.
fn breaks(steps: &Path) -> String {
    let fails = "case $MANTLE_TARGET in *01) code=3;; esac";
    format!(
        "  - step: breaks\n    targets: {{ tag: group1 }}\n    actions:\n{}  - step: after\n    run: failure\n    targets: {{ tag: group1 }}\n    actions:\n{}",
        action("fails", "", &script(steps, 5, "0.05", "", fails)),
        action("cleans", "", &script(steps, 3, "0.05", "", "")),
    )
}

fn slow(steps: &Path) -> String {
    format!(
        "  - step: slow\n    targets: {{ tag: group1 }}\n    actions:\n{}",
        action("waits", "grace: 3s, ", &script(steps, 60, "0.1", "", ""))
    )
}

/// Does not listen when it is asked to stop.
fn stubborn(steps: &Path) -> String {
    format!(
        "  - step: stubborn\n    targets: {{ tag: group2 }}\n    actions:\n{}",
        action(
            "stays",
            "grace: 1s, ",
            &script(steps, 40, "0.1", "trap '' TERM", "")
        )
    )
}

/// Fails once for each task and target.
fn retries(steps: &Path) -> String {
    format!(
        "  - step: retried\n    targets: {{ tag: group2 }}\n    actions:\n{}",
        action(
            "again",
            "retries: { count: 5, backoff: 1s }, ",
            &script(steps, 5, "0.05", "", &fails_once(steps))
        )
    )
}

/// Prints what nobody may read.
fn whispers(steps: &Path) -> String {
    let says = r#"s=$(mantle_get Canary); echo "said $s"; printf '%s' "$s" | base64; printf %s "x$s" | base64"#;
    format!(
        "  - step: whispers\n    targets: {{ tag: group0 }}\n    actions:\n{}",
        action(
            "says",
            "secrets: [Canary], ",
            &script(steps, 5, "0.05", says, "")
        )
    )
}

/// Takes back what it did when the last version fails, which it does on the first target: the package
/// and what the script before it did.
fn returns(steps: &Path) -> String {
    let fails = format!(
        "case $(mantle_get Octopus.Release.Number)$MANTLE_TARGET in {}*01) code=3;; esac",
        VERSIONS[1]
    );
    let moves = Value::from(script(steps, 5, "0.05", "", ""));
    format!(
        "  - step: returns\n    targets: {{ tag: group1 }}\n    rolling: {{ window: 2, on_failure: rollback }}\n    actions:\n      - {{ action: moves, uses: script, with: {{ run: {moves}, rollback: {moves} }} }}\n      - {{ action: install, uses: package, with: {{ package: {PACKAGE} }} }}\n{}",
        action("looks", "", &script(steps, 10, "0.1", "", &fails)),
    )
}

/// Waits for a person, and asks one again when it fails, which it does once for each task and target.
fn asks(steps: &Path) -> String {
    format!(
        "  - {{ step: sign, uses: manual, with: {{ instructions: may it go on }} }}\n  - step: asks\n    targets: {{ tag: group2 }}\n    actions:\n{}",
        action(
            "once",
            "",
            &script(steps, 5, "0.05", "", &fails_once(steps))
        )
    )
}

/// What a script does last that fails once for each task and target.
fn fails_once(steps: &Path) -> String {
    let marks = steps.with_extension("tried");
    format!(
        "mkdir '{}'-$MANTLE_TASK-$MANTLE_TARGET 2>/dev/null && code=9",
        marks.display()
    )
}

/// Steps at the same time: two share a lock, the third wants it alone. Agents are in
/// both environments, so that two deployments of it meet, too.
fn shares(steps: &Path) -> String {
    let step = |name: &str, start: &str, locks: &str, noted: &str| {
        format!(
            "  - step: {name}\n{start}    targets: {{ tag: group0 }}\n    actions:\n{}",
            action(
                &format!("{name}-disk"),
                &format!("locks: [{locks}], "),
                &holding(noted, steps, 10, "0.1", "", "")
            )
        )
    };
    let together = "    start: with_previous\n";
    let shared = "{ name: disk, mode: shared }";
    [
        step("reads", "", shared, "disk:s"),
        step("counts", together, shared, "disk:s"),
        step("writes", together, "disk", "disk:x"),
    ]
    .concat()
}

/// The content of a file of the package.
pub(super) fn file_content(version: &str, number: usize) -> String {
    format!("{PACKAGE} {version} {number}\n").repeat(200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_notes_its_start_and_end_and_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let steps = dir.path().join("steps");
        let work = dir.path().join("attempts/some-id/work");
        std::fs::create_dir_all(&work).unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", &script(&steps, 3, "0", "", "code=4")])
            .current_dir(&work)
            .env("PWD", &work)
            .env("MANTLE_TASK", "T-1")
            .env("MANTLE_ACTION", "work")
            .env("MANTLE_TARGET", "web01")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, "attempt some-id\nline 1\nline 2\nline 3\n");
        let noted = std::fs::read_to_string(&steps).unwrap();
        let words: Vec<Vec<&str>> = noted.lines().map(|l| l.split(' ').collect()).collect();
        assert_eq!(
            words[0][..6],
            ["start", "some-id", "T-1", "work", "web01", "target:x"]
        );
        assert_eq!(words[1][..4], ["end", "some-id", "4", "3"]);
    }

    #[test]
    fn what_scripts_note_is_what_they_hold() {
        let text = declared(Path::new("/tmp/steps"));
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines().filter(|line| line.contains("uses: script")) {
            let noted = match line.split_once("locks: ") {
                None => "'target:x'",
                Some((_, locks)) if locks.starts_with("[disk]") => "'disk:x'",
                Some((_, locks)) if locks.starts_with("[{ name: disk, mode: shared }]") => {
                    "'disk:s'"
                }
                Some((_, locks)) => panic!("nobody says what is noted for {locks}"),
            };
            assert!(line.contains(noted), "{noted}: {line}");
            seen.insert(noted);
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
    }

    #[test]
    fn what_is_declared_is_understood() {
        let text = declared(Path::new("/tmp/steps"));
        let documents: Vec<_> = text.split("---\n").skip(1).collect();
        assert_eq!(documents.len(), PROJECTS.len());
        for document in documents {
            assert!(document.starts_with("mantle: v1\nproject: "), "{document}");
        }
        let groups: Vec<_> = (0..4).map(tags).collect();
        assert_eq!(groups[0], groups[3]);
    }
}
