//! Many projects with variables and releases: what the operator's commands take then, beside one that
//! asks the server for next to nothing.
//!
//! The projects are of the kind that people have: they include variable sets, hold secrets, and choose
//! their packages by the rules of channels.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};

use crate::memory::mib;
use crate::payload;
use crate::report::{Row, ToReach, Unit};
use crate::rig::{ENVIRONMENT, Rig};
use crate::statistics::Samples;

/// An apply without a change, of everything.
const APPLY_MS: f64 = 1000.0;
/// One release more.
const RELEASE_MS: f64 = 200.0;
/// The explanation of one variable.
const EXPLAIN_MS: f64 = 50.0;
/// The package of all releases.
const PACKAGE: &str = "Common";
/// Its files, all of which a release is looked through for secrets in.
const PACKAGE_FILES: usize = 400;
/// The one of them that names a secret.
const TAGGED_FILE: usize = 250;
/// What the repository holds of it: what the rules of channels must choose from.
const PACKAGE_VERSIONS: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0"];
/// Variable sets; each project includes two of them.
const SETS: usize = 5;
/// Plain variables of a set, beside its secret and its domain.
const SET_VARIABLES: usize = 20;
/// How many commands are typed at once while the server is filled; what is measured is typed alone.
const HANDS: usize = 4;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// Projects.
    pub(crate) projects: usize,
    /// Of each.
    pub(crate) variables: usize,
    /// Of each.
    pub(crate) releases: usize,
    /// How often a command is measured, each time on another project.
    pub(crate) samples: usize,
}

/// Fills a server and measures.
pub(crate) fn rows(rig: &Rig, crowd: Crowd) -> Result<Vec<Row>> {
    let folder = write_files(rig, crowd)?;
    let folder = folder.display().to_string();
    for (seed, version) in (0..).zip(PACKAGE_VERSIONS) {
        let archive = rig.folder().join(format!("{PACKAGE}.{version}.tar.gz"));
        payload::pack_files(&archive, &configuration(seed))?;
        rig.run(&["package", "push", &archive.display().to_string()])?;
    }
    keep_secrets(rig, crowd)?;
    let first = timed(|| rig.run(&["apply", "--yes", "-f", &folder]))?;
    // All but the last release of each, which is measured.
    fill(rig, crowd)?;
    let samples = crowd.samples.min(crowd.projects);
    // Spread over all of them.
    let chosen = (0..samples).map(|nth| nth * crowd.projects / samples);
    let floor: Samples = several(chosen.clone(), |_| rig.run(&["environment", "list"]))?;
    let floor = floor.median();
    let version = version(crowd.releases);
    let release = several(chosen.clone(), |nth| {
        rig.run(&["release", "create", &name(nth), &version])
    })?;
    let explain = several(chosen, |nth| {
        let project = name(nth);
        let asked = ["-p", &project, "-e", ENVIRONMENT];
        rig.run(&[&["variable", "explain", "Value.0"][..], &asked].concat())
    })?;
    let apply = several(0..samples.min(5), |_| {
        rig.run(&["apply", "--yes", "-f", &folder])
    })?;
    let beside = "a list of one";
    let count = crowd.projects;
    Ok(vec![
        Row::single(format!("first apply of {count} projects"), first, Unit::Ms),
        Row::median(
            format!("apply without a change, {count} projects"),
            &apply,
            Unit::Ms,
        )
        .beside(beside, floor)
        .reaching(ToReach::AtMost(APPLY_MS)),
        Row::median(
            format!("release create among {count} projects"),
            &release,
            Unit::Ms,
        )
        .beside(beside, floor)
        .reaching(ToReach::AtMost(RELEASE_MS)),
        Row::median(
            format!("variable explain among {count} projects"),
            &explain,
            Unit::Ms,
        )
        .beside(beside, floor)
        .reaching(ToReach::AtMost(EXPLAIN_MS)),
        Row::single(
            format!("the database of {count} projects"),
            mib(database_bytes(rig)?),
            Unit::MiB,
        ),
    ])
}

fn write_files(rig: &Rig, crowd: Crowd) -> Result<PathBuf> {
    let folder = rig.folder().join("projects");
    std::fs::create_dir_all(&folder).context("a folder for project files")?;
    for nth in 0..crowd.projects {
        let file = folder.join(format!("{}.yaml", name(nth)));
        std::fs::write(&file, project_file(nth, crowd.variables))
            .with_context(|| file.display().to_string())?;
    }
    let file = folder.join("sets.yaml");
    std::fs::write(&file, sets_file()).with_context(|| file.display().to_string())?;
    Ok(folder)
}

/// A folder of settings, others for another seed; in one of them stands a tag that reaches a secret.
fn configuration(seed: u64) -> Vec<(String, String)> {
    let files = (0..PACKAGE_FILES).map(|nth| {
        let mut text = format!("# settings {nth} of {seed}\n");
        for line in 0..20 {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "service.{nth}.option.{line} = {}", nth * line);
        }
        if nth == TAGGED_FILE {
            text.push_str("service.login = #{Login}\n");
        }
        (format!("conf/{nth:03}.conf"), text)
    });
    files.collect()
}

/// One secret a project and one a set.
fn keep_secrets(rig: &Rig, crowd: Crowd) -> Result<()> {
    let input = rig.folder().join("secret.txt");
    std::fs::write(&input, "not to be read\n").with_context(|| input.display().to_string())?;
    let paths: Vec<String> = (0..crowd.projects)
        .map(name)
        .chain((0..SETS).map(set_name))
        .map(|owner| format!("{owner}/password"))
        .collect();
    by_hands(paths.len(), |nth| {
        let path = paths.get(nth).context("a secret's path")?;
        rig.run_with(&["secret", "set", path], &input).map(drop)
    })
}

fn name(nth: usize) -> String {
    format!("project-{nth:03}")
}

fn version(number: usize) -> String {
    format!("1.0.{number}")
}

fn set_name(nth: usize) -> String {
    format!("common-{}", nth % SETS)
}

/// The sets, with values for the environment, and a secret that another variable is made of.
fn sets_file() -> String {
    let mut text = String::new();
    for nth in 0..SETS {
        let set = set_name(nth);
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "{between}mantle: v1
variable_set: {set}
variables:
  Domain.{nth}:
    - {{ value: \"{set}.example\" }}
    - {{ value: \"{set}.{ENVIRONMENT}.example\", environment: {ENVIRONMENT} }}
  Password.{nth}: {{ secret: {set}/password }}
  Connection.{nth}: \"server=db.#{{Domain.{nth}}};password=#{{Password.{nth}}}\"
",
            between = if nth == 0 { "" } else { "---\n" }
        );
        for number in 0..SET_VARIABLES {
            let _ = writeln!(
                text,
                "  Shared.{nth}.{number}: \"{number} at #{{Domain.{nth}}}\""
            );
        }
    }
    text
}

/// A project with two sets, a secret of its own and two channels. Of its variables one in five has a
/// value of its own for the environment, and each refers to the next, the last one to a set.
fn project_file(nth: usize, variables: usize) -> String {
    let mut text = format!(
        "mantle: v1
project: {project}
lifecycle: bench
include: [{set}, {other}]
packages: [{{ id: {PACKAGE} }}]
channels:
  - name: stable
    default: true
    rules: [{{ package: {PACKAGE}, range: \"[1.0,2.0)\", prerelease: \"^$\" }}]
  - name: preview
    rules: [{{ package: {PACKAGE}, prerelease: \"^rc\" }}]
process:
  - step: install
    targets: {{ tag: first-1 }}
    uses: package
    with: {{ package: {PACKAGE}, keep: 1, substitute: [conf/**] }}
  - step: say
    targets: {{ tag: first-1 }}
    uses: script
    with: {{ shell: sh, run: 'echo \"$Value_0\"' }}
    secrets: [Password]
variables:
  Password: {{ secret: {project}/password }}
  Login: \"{project}:#{{Password}}\"
",
        project = name(nth),
        set = set_name(nth),
        other = set_name(nth + 1),
    );
    for number in 0..variables {
        let value = if number + 1 == variables {
            format!("of {} at #{{Domain.{}}}", name(nth), nth % SETS)
        } else {
            format!("{number} before #{{Value.{}}}", number + 1)
        };
        // Writing to a text cannot fail.
        let _ = if number % 5 == 0 {
            writeln!(
                text,
                "  Value.{number}:\n    - {{ value: \"{value}\" }}\n    - {{ value: \"{value}, here\", environment: {ENVIRONMENT} }}"
            )
        } else {
            writeln!(text, "  Value.{number}: \"{value}\"")
        };
    }
    text
}

/// Creates all releases but the last of each project, by several hands.
fn fill(rig: &Rig, crowd: Crowd) -> Result<()> {
    by_hands(crowd.projects, |nth| {
        for number in 1..crowd.releases {
            rig.run(&["release", "create", &name(nth), &version(number)])?;
        }
        Ok(())
    })
}

/// Does something so many times, several at once.
fn by_hands(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| scope.spawn(move || (hand..count).step_by(HANDS).try_for_each(work)))
            .collect();
        hands.into_iter().try_for_each(|hand| {
            hand.join()
                .map_err(|_| anyhow!("a hand that types commands panicked"))?
        })
    })
}

fn several(
    which: impl Iterator<Item = usize>,
    mut command: impl FnMut(usize) -> Result<String>,
) -> Result<Samples> {
    which.map(|nth| timed(|| command(nth))).collect()
}

fn timed(command: impl FnOnce() -> Result<String>) -> Result<f64> {
    let begun = Instant::now();
    command()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// The files of the database, those of its journal included.
fn database_bytes(rig: &Rig) -> Result<u64> {
    let folder = rig.folder().join("server");
    let mut bytes = 0;
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry.context("the server's folder")?;
        if entry.file_name().to_string_lossy().contains(".db") {
            bytes += entry.metadata().context("a file of the database")?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{PACKAGE_FILES, SETS, configuration, project_file, sets_file};

    #[test]
    fn the_package_has_a_folder_of_files_of_which_one_names_a_secret() {
        let files = configuration(3);
        assert_eq!(files.len(), PACKAGE_FILES);
        let tagged = files.iter().filter(|(_, text)| text.contains("#{"));
        assert_eq!(tagged.count(), 1);
        let project = project_file(7, 50);
        assert!(project.contains("substitute: [conf/**]"), "{project}");
        assert!(project.contains("Login: \"project-007:#{Password}\""));
    }

    #[test]
    fn every_variable_refers_to_one_that_is_there() {
        let file = project_file(7, 50);
        for number in 0..50 {
            assert!(file.contains(&format!("\n  Value.{number}:")), "{file}");
        }
        assert!(file.contains("#{Value.49}") && !file.contains("#{Value.50}"));
    }

    #[test]
    fn projects_have_sets_secrets_and_channels_and_the_sets_are_there() {
        let (file, sets) = (project_file(7, 50), sets_file());
        for part in [
            "include: [common-2, common-3]",
            "secret: project-007/password",
            "range: \"[1.0,2.0)\"",
            "at #{Domain.2}",
        ] {
            assert!(file.contains(part), "{part}\n{file}");
        }
        assert_eq!(sets.matches("variable_set: common-").count(), SETS);
        assert!(sets.contains("\n  Domain.2:\n"), "{sets}");
    }
}
