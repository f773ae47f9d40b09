//! What a page of the dashboard costs: many projects by many environments, lists, and a task with a very
//! long log. Asked by `curl`, several times over one connection, as a browser does.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::report::{Row, ToReach, Unit};
use crate::rig::Rig;
use crate::statistics::Samples;

/// A whole dashboard, and any list.
const LIST_MS: f64 = 50.0;
/// A task's page, at any place of its log.
const TASK_MS: f64 = 100.0;
/// How often each page is asked for; the first time is cold and not counted.
const TIMES: usize = 9;
/// How many deployments are asked for at once while the server is filled.
const HANDS: usize = 8;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    /// Projects.
    pub(crate) projects: usize,
    /// Environments, to each of which each project is deployed.
    pub(crate) environments: usize,
    /// Lines that one step prints.
    pub(crate) lines: u64,
}

/// Fills a server and measures.
pub(crate) fn rows(rig: &Rig, pages: Pages) -> Result<Vec<Row>> {
    if Command::new("curl").arg("--version").output().is_err() {
        bail!(
            "curl is not here, by which pages are asked for; 'apt install curl', or leave this part out"
        );
    }
    rig.apply("places", &places_file(pages))?;
    let folder = rig.folder().join("places");
    std::fs::create_dir_all(&folder).context("a folder for project files")?;
    for nth in 0..pages.projects {
        let file = folder.join(format!("{}.yaml", name(nth)));
        std::fs::write(&file, project_file(nth)).with_context(|| file.display().to_string())?;
    }
    rig.run(&["apply", "--yes", "-f", &folder.display().to_string()])?;
    // One agent, which is everywhere; and what it prints is asked for here alone.
    let mut options: Vec<String> = ["--agents", "1", "--lines", "0"].map(str::to_owned).into();
    for nth in 0..pages.environments {
        options.extend(["--environment".to_owned(), place(nth)]);
    }
    let mut swarm = rig.swarm_with(&options, false)?;
    swarm.wait(
        "the agent is connected",
        crate::rig::START_DEADLINE,
        |now| now.connected == 1,
    )?;
    fill(rig, pages)?;
    swarm.stop()?;
    let log = long_log(rig, pages)?;
    let (count, places) = (pages.projects, pages.environments);
    let mut rows = Vec::new();
    let dashboard = ask(rig, "/status")?;
    rows.push(
        Row::median(
            format!("the dashboard of {count} projects by {places} environments"),
            &dashboard,
            Unit::Ms,
        )
        .reaching(ToReach::AtMost(LIST_MS)),
    );
    for (what, path) in [
        ("the list of projects", "/projects"),
        ("the list of tasks", "/tasks"),
        ("the list of targets", "/targets"),
        ("the list of agents", "/agents"),
    ] {
        let row = Row::median(
            format!("{what}, {count} projects"),
            &ask(rig, path)?,
            Unit::Ms,
        );
        rows.push(row.reaching(ToReach::AtMost(LIST_MS)));
    }
    let task = Row::median(
        format!("a task with {} lines, its page", pages.lines),
        &ask(rig, &format!("/tasks/{log}"))?,
        Unit::Ms,
    );
    rows.push(task.reaching(ToReach::AtMost(TASK_MS)));
    for (place, after) in [
        ("at its beginning", 0),
        ("in its middle", pages.lines / 2),
        ("at its end", pages.lines.saturating_sub(100)),
    ] {
        let path = format!("/tasks/{log}/log?after={after}");
        let row = Row::median(
            format!("a task with {} lines, its log {place}", pages.lines),
            &ask(rig, &path)?,
            Unit::Ms,
        );
        rows.push(row.reaching(ToReach::AtMost(TASK_MS)));
    }
    Ok(rows)
}

fn name(nth: usize) -> String {
    format!("page-{nth:03}")
}

fn place(nth: usize) -> String {
    format!("place-{nth:02}")
}

fn places_file(pages: Pages) -> String {
    let places: Vec<String> = (0..pages.environments).map(place).collect();
    let mut text = "mantle: v1\nenvironments:\n".to_owned();
    for place in &places {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  - {{ name: {place} }}");
    }
    let all = places.join(", ");
    let _ = writeln!(
        text,
        "lifecycles:\n  - name: everywhere\n    phases: [{{ name: All, environments: [{all}] }}]"
    );
    text
}

fn project_file(nth: usize) -> String {
    format!(
        "mantle: v1
project: {}
lifecycle: everywhere
process:
  - step: nothing
    targets: {{ tag: all }}
    uses: script
    with: {{ shell: sh, run: \"true\" }}
",
        name(nth)
    )
}

/// Deploys everything everywhere, by several hands.
fn fill(rig: &Rig, pages: Pages) -> Result<()> {
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                scope.spawn(move || -> Result<()> {
                    for nth in (hand..pages.projects).step_by(HANDS) {
                        let project = name(nth);
                        rig.run(&["release", "create", &project, "1.0"])?;
                        for place in (0..pages.environments).map(place) {
                            let args = ["deploy", &project, "1.0", "-e", &place, "--no-logs"];
                            rig.run(&args)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        hands.into_iter().try_for_each(|hand| {
            hand.join()
                .map_err(|_| anyhow::anyhow!("a hand that deploys panicked"))?
        })
    })
}

/// A deployment whose one step prints so many lines; gives its task.
fn long_log(rig: &Rig, pages: Pages) -> Result<String> {
    let options = ["--agents", "1", "--lines", &pages.lines.to_string()].map(str::to_owned);
    let mut swarm = rig.swarm_with(&options, false)?;
    swarm.wait(
        "the agent is connected",
        crate::rig::START_DEADLINE,
        |now| now.connected == 1,
    )?;
    let args = ["deploy", &name(0), "1.0", "-e", &place(0), "--no-logs"];
    let task = rig.json(&args)?;
    swarm.stop()?;
    let number = task.get("number").and_then(Value::as_str);
    Ok(number.context("a task has no number")?.to_owned())
}

/// Milliseconds that a page takes, several times over one connection.
fn ask(rig: &Rig, path: &str) -> Result<Samples> {
    let (url, key) = rig.api()?;
    let url = format!("{url}/api/v1{path}");
    let mut command = Command::new("curl");
    command
        .args([
            "-s",
            "-k",
            "-f",
            "-H",
            &format!("Authorization: Bearer {key}"),
        ])
        .args([
            "-w",
            "%{time_pretransfer} %{time_total} %{size_download}\\n",
        ]);
    for _ in 0..=TIMES {
        command.args(["-o", "/dev/null", &url]);
    }
    let output = command.output().context("starting curl")?;
    ensure!(
        output.status.success(),
        "curl {url}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let times: Vec<f64> = said
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(str::parse::<f64>);
            let (before, total) = (words.next()?.ok()?, words.next()?.ok()?);
            Some((total - before) * 1e3)
        })
        .collect();
    ensure!(times.len() == TIMES + 1, "curl said:\n{said}");
    Ok(times.into_iter().skip(1).collect())
}

#[cfg(test)]
mod tests {
    use super::{Pages, places_file, project_file};

    #[test]
    fn every_environment_is_declared_and_in_the_lifecycle() {
        let pages = Pages {
            projects: 1,
            environments: 3,
            lines: 1,
        };
        let text = places_file(pages);
        assert!(
            text.contains("environments: [place-00, place-01, place-02]"),
            "{text}"
        );
        assert_eq!(text.matches("{ name: place-").count(), 3);
        assert!(project_file(7).contains("project: page-007"));
    }
}
