//! The scripts of an installation, with real processes: in which order they run and where, what they
//! hand to each other, and what is in use when one fails.

use std::fmt::Write as _;
use std::path::PathBuf;

use mantle_tests::wait::wait_until;

use crate::fleet::{Fleet, SOON, number, project_of, quoted};

/// Says who runs, and what is in use then.
const TELL: &str = "tell() { printf 'said %s in %s, %s in use\\n' \"$1\" \"${PWD##*/}\" \"$(basename \"$(readlink ../current)\")\"; }\n";

fn packaged(stage: &str, more: &str) -> String {
    format!("#!/bin/sh\n{TELL}tell '{stage} of the package'\n{more}\n")
}

/// A step with a script of its own at every stage, each with some more to do.
fn process(more: &[(&str, &str)], around: &str) -> String {
    let mut scripts = String::new();
    for stage in ["pre_deploy", "deploy", "post_deploy", "deploy_failed"] {
        let more = more.iter().filter(|(of, _)| *of == stage);
        let more: Vec<&str> = more.map(|(_, text)| *text).collect();
        let text = format!("{TELL}tell '{stage} of the step'\n{}", more.join("\n"));
        let _ = writeln!(scripts, "            {stage}: {}", quoted(&text));
    }
    format!(
        "  - step: Farm
    targets: {{ tag: web }}
{around}    actions:
      - action: install
        uses: package
        with:
          package: Site
          packaged_scripts: true
          substitute: [page.txt]
          keep: 1
          scripts:
{scripts}"
    )
}

async fn release(fleet: &Fleet, version: &str, process: &str, files: &[(&str, &str)]) {
    fleet.push("Site", version, files).await;
    let yaml = project_of("site", process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    fleet.apply("site", &yaml).await;
    fleet
        .server
        .ok(&["release", "create", "site", version])
        .await;
}

/// Deploys it; gives the task's number.
async fn deploy(fleet: &Fleet, version: &str, state: &str) -> String {
    let args = ["deploy", "site", version, "-e", "test", "--detach"];
    let task = number(&fleet.server.json(&args).await);
    fleet.task_is(&task, state, SOON).await;
    task
}

/// What scripts have said of themselves, in order.
async fn said(fleet: &Fleet, task: &str) -> Vec<String> {
    let log = fleet.log(task).await.into_iter();
    log.filter_map(|line| line.text.strip_prefix("said ").map(str::to_owned))
        .collect()
}

fn home(fleet: &Fleet) -> PathBuf {
    fleet.world.path("agent-web01/apps/test/site/Site")
}

fn in_use(fleet: &Fleet) -> String {
    let link = std::fs::read_link(home(fleet).join("current")).unwrap();
    link.display().to_string()
}

/// The folders of versions, whoever is in use.
fn versions(fleet: &Fleet) -> Vec<String> {
    let entries = std::fs::read_dir(home(fleet)).unwrap().flatten();
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_run_in_their_order_and_hand_on_what_they_set() {
    let fleet = Fleet::new(1).await;
    let greet = "get_octopusvariable Octopus.Action[install].Output[web01].Color";
    let process = process(
        &[
            ("pre_deploy", "cp page.template page.txt"),
            ("deploy", "printf 'said page %s\\n' \"$(cat page.txt)\""),
            (
                "post_deploy",
                &format!(
                    "printf 'said %s %s\\n' \"$COLOR\" \"$({greet})\"\nset_octopusvariable Last yes"
                ),
            ),
        ],
        "",
    ) + "      - { action: after, uses: script, with: { run: \"echo 'said after #{Octopus.Action[install].Output.Color} #{Octopus.Action[install].Output.Last}'\", substitute: true } }\n";
    let pre = packaged("PreDeploy", "set_octopusvariable Color blue");
    let deploy_py = "import os\nprint('said Deploy.py in', os.path.basename(os.getcwd()), get_octopusvariable('Color'))\n";
    let post = packaged("PostDeploy", "");
    let files = [
        (
            "page.template",
            "#{Color} in #{Octopus.Action.Package.InstallationDirectoryPath}",
        ),
        ("PreDeploy.sh", pre.as_str()),
        ("PreDeploy.py", "raise SystemExit('the second choice')"),
        ("deploy.py", deploy_py),
        ("PostDeploy.sh", post.as_str()),
        ("DeployFailed.sh", "echo 'said nobody failed'"),
        ("sub/Deploy.sh", "echo 'said from below'"),
    ];
    release(&fleet, "1.0", &process, &files).await;
    let task = deploy(&fleet, "1.0", "succeeded").await;
    let page = format!("page blue in {}", home(&fleet).join("1.0").display());
    assert_eq!(
        said(&fleet, &task).await,
        [
            "pre_deploy of the step in 1.0,  in use",
            "PreDeploy of the package in 1.0,  in use",
            "Deploy.py in 1.0 blue",
            "deploy of the step in 1.0,  in use",
            &page,
            "PostDeploy of the package in 1.0, 1.0 in use",
            "post_deploy of the step in 1.0, 1.0 in use",
            "blue blue",
            "after blue yes",
        ]
    );
    let mut left: Vec<String> = std::fs::read_dir(home(&fleet).join("1.0"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["page.template", "page.txt", "sub"],
        "scripts are not served"
    );

    // Once more: scripts never work in a folder that is in use.
    let task = deploy(&fleet, "1.0", "succeeded").await;
    let again = said(&fleet, &task).await;
    assert_eq!(again[0], "pre_deploy of the step in 1.0_1, 1.0 in use");
    assert_eq!(again[6], "post_deploy of the step in 1.0_1, 1.0_1 in use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_before_the_switch_changes_nothing_and_after_it_leaves_the_new_version() {
    let fleet = Fleet::new(1).await;
    let why = "printf 'said why: %s\\n' \"$OCTOPUSLASTERRORMESSAGE\"; exit 9";
    let fine = process(&[], "");
    release(&fleet, "1.0", &fine, &[("page.txt", "one")]).await;
    deploy(&fleet, "1.0", "succeeded").await;

    let early = process(&[("deploy", "exit 4"), ("deploy_failed", why)], "");
    let failed = packaged("DeployFailed", "fail_step 'not the reason'");
    let files = [("page.txt", "two"), ("DeployFailed.sh", failed.as_str())];
    release(&fleet, "2.0", &early, &files).await;
    let task = deploy(&fleet, "2.0", "failed").await;
    assert_eq!(
        said(&fleet, &task).await,
        [
            "pre_deploy of the step in 2.0, 1.0 in use",
            "deploy of the step in 2.0, 1.0 in use",
            "DeployFailed of the package in 2.0, 1.0 in use",
            "deploy_failed of the step in 2.0, 1.0 in use",
            "why: Deploy of the step: the script ended with exit code 4",
        ]
    );
    let shown = fleet.task(&task).await;
    let message = shown["message"].as_str().unwrap();
    assert!(
        message.contains("Deploy of the step: the script ended with exit code 4"),
        "{message}"
    );
    assert_eq!(
        (in_use(&fleet), versions(&fleet)),
        ("1.0".to_owned(), vec!["1.0".to_owned(), "2.0".to_owned()])
    );

    let late = process(&[("post_deploy", "exit 5")], "");
    release(&fleet, "3.0", &late, &[("page.txt", "three")]).await;
    deploy(&fleet, "3.0", "failed").await;
    assert_eq!(in_use(&fleet), "3.0");
    assert_eq!(versions(&fleet), ["1.0", "3.0"], "what failed before goes");

    // The same with a way back, tried twice: to what was in use before the first try.
    let back = late
        .replace(
            "    actions:\n",
            "    rolling: { window: 1, on_failure: rollback }\n    actions:\n",
        )
        .replace(
            "uses: package\n",
            "uses: package\n        retries: { count: 1, backoff: 10ms }\n",
        );
    release(&fleet, "4.0", &back, &[("page.txt", "four")]).await;
    let task = deploy(&fleet, "4.0", "failed").await;
    let said = said(&fleet, &task).await;
    assert_eq!(said[2], "post_deploy of the step in 4.0, 4.0 in use");
    assert_eq!(said[6], "post_deploy of the step in 4.0_1, 4.0_1 in use");
    assert_eq!(in_use(&fleet), "3.0");

    // One good version is kept, and those that failed do not count.
    release(&fleet, "5.0", &fine, &[("page.txt", "five")]).await;
    deploy(&fleet, "5.0", "succeeded").await;
    assert_eq!(
        versions(&fleet),
        ["1.0", "3.0", "5.0"],
        "3.0 is what it took the place of"
    );
    release(&fleet, "6.0", &fine, &[("page.txt", "six")]).await;
    deploy(&fleet, "6.0", "succeeded").await;
    assert_eq!(versions(&fleet), ["5.0", "6.0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_may_end_the_conventions_and_variables_switch_scripts_off() {
    let fleet = Fleet::new(1).await;
    let skip = "set_octopusvariable Octopus.Action.SkipRemainingConventions True";
    let process_skipping = process(&[("deploy", skip)], "");
    let deploy_sh = packaged("Deploy", "");
    let files = [("page.txt", "one"), ("Deploy.sh", deploy_sh.as_str())];
    release(&fleet, "1.0", &process_skipping, &files).await;
    let task = deploy(&fleet, "1.0", "succeeded").await;
    assert_eq!(said(&fleet, &task).await.len(), 3);
    assert!(!home(&fleet).join("current").exists());

    let off = "variables:\n  Octopus.Action.Package.RunScripts: \"False\"\n  OctopusDeleteScriptsOnCleanup: \"False\"\n";
    let process = process(&[], "");
    fleet.push("Site", "2.0", &files).await;
    let yaml = project_of("site", &process).replace(
        "process:",
        &format!("packages: [{{ id: Site }}]\nversion: {{ package: Site }}\n{off}process:"),
    );
    fleet.apply("site", &yaml).await;
    fleet.server.ok(&["release", "create", "site", "2.0"]).await;
    let task = deploy(&fleet, "2.0", "succeeded").await;
    let said = said(&fleet, &task).await;
    assert!(
        said.iter().all(|line| line.contains("of the step")),
        "{said:?}"
    );
    assert!(home(&fleet).join("2.0/Deploy.sh").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_run_once_each_over_a_killed_agent_and_not_again_after_a_killed_supervisor() {
    let mut fleet = Fleet::new(1).await;
    let (pre, deploying) = (
        fleet.effects.shell("start", "pre", "$MANTLE_TARGET"),
        fleet.effects.shell("start", "deploy", "$MANTLE_TARGET"),
    );
    let gate = fleet.world.path("gate").display().to_string();
    let waits = format!("{deploying}\nwhile [ ! -e '{gate}' ]; do sleep 0.02; done");
    let post = fleet.effects.shell("start", "post", "$MANTLE_TARGET");
    let process = process(
        &[
            ("pre_deploy", &pre),
            ("deploy", &waits),
            ("post_deploy", &post),
        ],
        "",
    );
    release(&fleet, "1.0", &process, &[("page.txt", "one")]).await;
    let args = ["deploy", "site", "1.0", "-e", "test", "--detach"];
    let task = number(&fleet.server.json(&args).await);
    let count = |fleet: &Fleet, step: &str| fleet.effects.count("start", step, "web01");
    wait_until("it deploys", SOON, || count(&fleet, "deploy") == 1).await;
    fleet.agents[0].kill9();
    fleet.agents[0].run();
    fleet.all_online().await;
    fleet.world.file("gate", "");
    fleet.task_is(&task, "succeeded", SOON).await;
    fleet
        .effects
        .assert_each_once([("pre", "web01"), ("deploy", "web01"), ("post", "web01")]);

    std::fs::remove_file(&gate).unwrap();
    let task = number(&fleet.server.json(&args).await);
    wait_until("it deploys again", SOON, || count(&fleet, "deploy") == 2).await;
    fleet.kill_supervisors();
    fleet.world.file("gate", "");
    let ended = fleet.task_is(&task, "failed", SOON).await;
    let counts = ["pre", "deploy", "post"].map(|step| count(&fleet, step));
    assert_eq!(counts, [2, 2, 1], "{ended}");
    assert_eq!(in_use(&fleet), "1.0", "what was in use still is");
}

fn list(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_its_own_is_made_equal_to_the_version_and_back_again() {
    let fleet = Fleet::new(1).await;
    let live = fleet.world.path("www/shop");
    let with = format!(
        "          custom_directory: {{ path: '{}', purge: true, exclude: [uploads] }}\n          skip_if_installed: true\n",
        live.display()
    );
    let custom = |more: &[(&str, &str)], around: &str| {
        process(more, around).replace("          keep: 1\n", &with)
    };
    fleet.world.file("www/shop/left.txt", "somebody's");
    fleet.world.file("www/shop/uploads/cat.png", "a cat");
    let where_ =
        "printf 'said %s %s\\n' \"$PWD\" \"$OCTOPUS_ACTION_PACKAGE_CUSTOMINSTALLATIONDIRECTORY\"";
    let fine = custom(&[("deploy", where_)], "")
        + "      - { action: after, uses: script, with: { run: \"echo 'said #{Octopus.Action[install].Output.Package.InstallationDirectoryPath}'\", substitute: true } }\n";
    let deploy_sh = packaged("Deploy", "");
    let files = [
        ("page.txt", "one"),
        ("old.txt", "goes"),
        ("Deploy.sh", deploy_sh.as_str()),
    ];
    release(&fleet, "1.0", &fine, &files).await;
    let task = deploy(&fleet, "1.0", "succeeded").await;
    let lines = said(&fleet, &task).await;
    let (place, lines) = (live.display().to_string(), &lines[1..]);
    assert!(
        lines[0].starts_with("Deploy of the package in shop"),
        "{lines:?}"
    );
    assert_eq!(lines[2], format!("{place} {place}"));
    assert_eq!(lines.last(), Some(&place));
    assert_eq!(list(&live), ["old.txt", "page.txt", "uploads"]);
    assert!(live.join("uploads/cat.png").exists());

    // What is in use already is left alone: no script runs.
    let task = deploy(&fleet, "1.0", "succeeded").await;
    assert_eq!(said(&fleet, &task).await, std::slice::from_ref(&place));
    assert_eq!(
        (in_use(&fleet), versions(&fleet)),
        ("1.0".to_owned(), vec!["1.0".to_owned()])
    );

    // A way back brings the folder back too.
    let failing = custom(
        &[("deploy", "exit 7")],
        "    rolling: { window: 1, on_failure: rollback }\n",
    );
    release(
        &fleet,
        "2.0",
        &failing,
        &[("page.txt", "two"), ("new.txt", "n")],
    )
    .await;
    let task = deploy(&fleet, "2.0", "failed").await;
    let log = fleet.log(&task).await;
    let copied = format!("{place}: 2 files written, 0 were the same, 1 removed");
    assert!(log.iter().any(|line| line.text == copied), "{log:?}");
    assert_eq!(in_use(&fleet), "1.0");
    assert_eq!(list(&live), ["old.txt", "page.txt", "uploads"]);
    let page = std::fs::read_to_string(live.join("page.txt")).unwrap();
    assert_eq!(page, "one");
}
