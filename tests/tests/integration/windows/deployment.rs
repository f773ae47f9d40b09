//! A Linux server deploys to an agent on Windows: a package, and a `cmd` script seen while it runs.

use std::path::PathBuf;
use std::time::Duration;

use mantle_tests::lines::check_lines;
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::wine::windows_path;
use mantle_tests::{Agent, Effects, Joining, Platform, Server, World};
use serde_json::Value;

use crate::fleet::kill_supervisors;

/// Longer than anything here takes: Wine starts, and the machine does other things.
const PATIENCE: Duration = Duration::from_mins(2);

const INFRASTRUCTURE: &str = r"mantle: v1
environments:
  - name: test
lifecycles:
  - name: standard
    phases:
      - name: Test
        environments: [test]
";

/// Lines 1 to 3, then it waits for a file, then lines 4 to 6.
const SCRIPT: &str = r#"
          run: |
            @echo off
            >>"%EFFECTS_FILE%" echo start talk %MANTLE_TARGET% cmd
            for %%i in (1 2 3) do echo line %%i
            echo installed in %PLACE% 1>&2
            :wait
            if exist "%GO_FILE%" goto go
            ping -n 2 127.0.0.1 >nul
            goto wait
            :go
            for %%i in (4 5 6) do echo line %%i
"#;

#[tokio::test]
async fn a_package_is_installed_and_a_cmd_script_is_seen_while_it_runs() {
    let farm = Farm::start().await;
    farm.release("1.0.0").await;
    let task = farm.deploy("1.0.0").await;
    farm.logged(&task, "line 3").await;
    let log = farm.log(&task).await;
    assert!(!log.iter().any(|line| line["text"] == "line 4"), "{log:?}");
    farm.go();
    farm.ran_once(&task).await;

    let log = farm.log(&task).await;
    let texts: Vec<_> = log
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    let report = check_lines(texts.iter().copied(), "line", 6);
    assert!(report.is_right(), "{report}");
    let place = log
        .iter()
        .find(|line| line["kind"] == "stderr")
        .and_then(|line| line["text"].as_str()?.trim().strip_prefix("installed in "));
    assert_eq!(place, Some(windows_path(&farm.installed("1.0.0")).as_str()));
    assert_eq!(farm.page("1.0.0"), "1.0.0: Gulls on win01\n");
    let picture = std::fs::read(farm.installed("1.0.0").join("web/picture.raw")).unwrap();
    assert!(
        picture == noise(),
        "the file that is too large for one chunk"
    );
    assert_eq!(farm.current(), "1.0.0");
}

#[tokio::test]
async fn a_second_version_stands_beside_the_first_and_going_back_only_switches() {
    let farm = Farm::start().await;
    farm.go();
    for version in ["1.0.0", "1.1.0"] {
        farm.release(version).await;
        farm.succeeded(&farm.deploy(version).await).await;
        assert_eq!(farm.current(), version);
    }
    let task = farm.deploy("1.0.0").await;
    farm.succeeded(&task).await;
    assert_eq!(farm.current(), "1.0.0");
    assert_eq!(farm.page("1.1.0"), "1.1.0: Gulls on win01\n");
    let said = "1.0.0 is installed already";
    assert!(farm.log(&task).await.iter().any(|line| {
        line["text"]
            .as_str()
            .is_some_and(|text| text.contains(said))
    }));
}

#[tokio::test]
async fn an_agent_that_is_killed_in_the_middle_of_a_script_finds_it_again() {
    let mut farm = Farm::start().await;
    farm.release("1.0.0").await;
    let task = farm.deploy("1.0.0").await;
    farm.logged(&task, "line 3").await;
    farm.agent.kill9();
    farm.agent.run();
    let found = |line: &str| line.contains("looked into") && line.contains("running");
    let agent = farm.agent.process();
    agent.line("it finds the script", PATIENCE, found).await;
    farm.go();
    farm.ran_once(&task).await;
    // The folder of an attempt is of no use once the server has all of it.
    let attempts = farm.agent.data().join("attempts");
    wait_until("the attempts' folders are removed", PATIENCE, || {
        std::fs::read_dir(&attempts).unwrap().count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_script_that_ends_while_the_agent_is_down_is_reported_in_full() {
    let mut farm = Farm::start().await;
    farm.release("1.0.0").await;
    let task = farm.deploy("1.0.0").await;
    farm.logged(&task, "line 3").await;
    farm.agent.kill9();
    farm.go();
    let attempts = farm.agent.data().join("attempts");
    let talking = |folder: &std::fs::DirEntry| folder.path().join("work").exists();
    wait_until("the script ends", PATIENCE, || {
        let folders = std::fs::read_dir(&attempts).unwrap().flatten();
        let mut folders = folders.filter(talking).map(|folder| folder.path());
        folders.all(|folder| folder.join("result.json").exists())
    })
    .await;
    farm.agent.run();
    farm.ran_once(&task).await;
}

/// The system closes the job object of a supervisor that dies, however that was, and with it ends all that the
/// script started.
#[tokio::test]
async fn a_script_ends_with_its_killed_supervisor_and_how_it_ended_is_unknown() {
    let farm = Farm::start().await;
    farm.release("1.0.0").await;
    let task = farm.deploy("1.0.0").await;
    farm.logged(&task, "line 3").await;
    assert!(!farm.scripts().is_empty(), "the script runs");
    assert_eq!(kill_supervisors(&farm.world), 1);
    wait_until("the script is gone", PATIENCE, || farm.scripts().is_empty()).await;
    farm.go();
    let waited = farm.server.run(&["task", "wait", &task]).await.exit(3);
    let shown = farm.server.json(&["task", "show", &task]).await;
    let action = &shown["steps"][0]["targets"][0]["actions"][1];
    assert_eq!(action["state"], "unknown", "{shown}\n{waited}");
    assert_eq!(action["attempts"], 1, "nothing runs again by itself");
    let log = farm.log(&task).await;
    assert!(!log.iter().any(|line| line["text"] == "line 4"), "{log:?}");
    farm.effects.assert_each_once([("talk", "win01")]);
    // Nothing of it lives, so that its lock on the target is free.
    let task = farm.deploy("1.0.0").await;
    farm.succeeded(&task).await;
}

#[tokio::test]
async fn a_second_agent_with_the_same_folder_is_refused() {
    let farm = Farm::start().await;
    let second = farm.agent.cli().run(&["run"]).await;
    second.exit(1).complains(&["another tentacle is running"]);
}

#[tokio::test]
async fn scripts_of_a_package_run_by_cmd_in_their_order_and_its_copy_is_served() {
    let farm = Farm::start().await;
    let live = farm.world.path("live");
    farm.world.file("live/left.txt", "somebody's");
    let yaml = format!(
        r#"mantle: v1
project: scripted
lifecycle: standard
packages: [{{ id: Scripted }}]
process:
  - step: Web
    targets: {{ tag: web }}
    uses: package
    with:
      package: Scripted
      packaged_scripts: true
      substitute: [page.txt]
      custom_directory: {{ path: '{}', purge: true }}
      scripts:
        shell: cmd
        pre_deploy: |
          @echo off
          echo said pre_deploy
          copy page.template page.txt >nul
          "%MANTLE_TENTACLE%" set-variable Color blue
        post_deploy: |
          @echo off
          echo said post_deploy %COLOR% %CD%
"#,
        windows_path(&live)
    );
    let file = farm.world.file("scripted.yaml", yaml).display().to_string();
    farm.server.ok(&["apply", "--yes", "-f", &file]).await;
    let files = [
        ("page.template", "#{Color}"),
        (
            "Deploy.cmd",
            "@echo off\r\necho said Deploy %COLOR% %CD%\r\n",
        ),
    ];
    for (name, text) in files {
        farm.world.file(&format!("scripted-1.0/{name}"), text);
    }
    farm.push("scripted-1.0", "Scripted.1.0.tar.gz").await;
    farm.server
        .ok(&["release", "create", "scripted", "1.0"])
        .await;
    let words = ["deploy", "scripted", "1.0", "-e", "test", "--detach"];
    let task = farm.server.json(&words).await;
    let task = task["number"].as_str().unwrap().to_owned();
    farm.succeeded(&task).await;
    let log = farm.log(&task).await;
    let said = log.iter().filter_map(|line| line["text"].as_str());
    let said: Vec<&str> = said.filter_map(|text| text.strip_prefix("said ")).collect();
    let place = windows_path(&live);
    assert_eq!(
        said,
        [
            "pre_deploy",
            &format!("Deploy blue {place}"),
            &format!("post_deploy blue {place}"),
        ]
    );
    let page = std::fs::read_to_string(live.join("page.txt")).unwrap();
    assert_eq!(page, "blue");
    let mut left: Vec<String> = std::fs::read_dir(&live)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["page.template", "page.txt"]);
}

/// A server and one Windows agent.
struct Farm {
    world: World,
    server: Server,
    agent: Agent,
    effects: Effects,
}

impl Farm {
    async fn start() -> Self {
        let world = World::new();
        let server = Server::start(&world).await;
        let effects = Effects::at(world.path("effects"));
        let infrastructure = world.file("infrastructure.yaml", INFRASTRUCTURE);
        let project = world.file("site.yaml", project(&world, &effects));
        for file in [infrastructure, project] {
            let file = file.display().to_string();
            server.ok(&["apply", "--yes", "-f", &file]).await;
        }
        let how = Joining {
            tags: &["web"],
            environments: &["test"],
            platform: Platform::Wine,
            ..Joining::default()
        };
        let agent = Agent::start(&world, &server, "win01", how).await;
        Self {
            world,
            server,
            agent,
            effects,
        }
    }

    /// Pushes a package of this version and makes a release of it.
    async fn release(&self, version: &str) {
        let folder = format!("site-{version}");
        let page = format!("{version}: #{{Site.Title}} on #{{Octopus.Machine.Name}}\n");
        self.world.file(&format!("{folder}/web/index.html"), page);
        self.world
            .file(&format!("{folder}/web/picture.raw"), noise());
        self.push(&folder, &format!("Site.{version}.tar.gz")).await;
        self.server
            .ok(&["release", "create", "site", version])
            .await;
    }

    /// Packs a folder and pushes it.
    async fn push(&self, folder: &str, archive: &str) {
        let archive = self.world.path(archive);
        let packed = std::process::Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(self.world.path(folder))
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let archive = archive.display().to_string();
        self.server.ok(&["package", "push", &archive]).await;
    }

    /// The number of the task that deploys it.
    async fn deploy(&self, version: &str) -> String {
        let words = ["deploy", "site", version, "-e", "test", "--detach"];
        let task = self.server.json(&words).await;
        task["number"]
            .as_str()
            .expect("the task's number")
            .to_owned()
    }

    /// The processes of scripts.
    fn scripts(&self) -> Vec<i32> {
        let mut processes = self.world.processes();
        processes.retain(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line)
                .to_lowercase()
                .contains("cmd.exe")
        });
        processes
    }

    /// Lets the script go on.
    fn go(&self) {
        self.world.file("go", "");
    }

    async fn logged(&self, task: &str, text: &str) {
        wait_for(&format!("the line '{text}'"), PATIENCE, || async {
            let log = self.log(task).await;
            if log.iter().any(|line| line["text"] == text) {
                Ok(())
            } else {
                Err(format!("{log:#?}"))
            }
        })
        .await;
    }

    async fn log(&self, task: &str) -> Vec<Value> {
        let output = self.server.ok(&["task", "logs", task, "-o", "json"]).await;
        output
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn succeeded(&self, task: &str) {
        self.server
            .ok(&["task", "wait", task, "--timeout", "2m"])
            .await;
    }

    /// The deployment succeeds, every line of the script arrived once, and it was started once.
    async fn ran_once(&self, task: &str) {
        self.succeeded(task).await;
        let log = self.log(task).await;
        let texts = log.iter().filter_map(|line| line["text"].as_str());
        let report = check_lines(texts, "line", 6);
        assert!(report.is_right(), "{report}");
        self.effects.assert_each_once([("talk", "win01")]);
    }

    fn installed(&self, version: &str) -> PathBuf {
        let root = self.agent.data().join("apps/test/site/Site");
        if version.is_empty() {
            root
        } else {
            root.join(version)
        }
    }

    fn page(&self, version: &str) -> String {
        std::fs::read_to_string(self.installed(version).join("web/index.html")).unwrap()
    }

    /// The version in use. On Windows a file says so; the junction beside it only follows, and Wine's
    /// `mklink` makes none.
    fn current(&self) -> String {
        let text = std::fs::read_to_string(self.installed("").join("current.json")).unwrap();
        let current: Value = serde_json::from_str(&text).unwrap();
        current["version"].as_str().unwrap().to_owned()
    }
}

/// 4 MiB that no compression makes smaller: many chunks, over the network as they are.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(512 * 1024).flatten().collect()
}

fn project(world: &World, effects: &Effects) -> String {
    let go = windows_path(&world.path("go"));
    let effects = windows_path(effects.path());
    format!(
        "mantle: v1
project: site
lifecycle: standard
packages:
  - id: Site
variables:
  Site.Title: Gulls
  Go.File: '{go}'
  Effects.File: '{effects}'
  Place: '#{{Octopus.Action[Install].Output.Package.InstallationDirectoryPath}}'
process:
  - step: Web
    targets: {{ tag: web }}
    actions:
      - action: Install
        uses: package
        with: {{ package: Site, substitute: ['**/*.html'] }}
      - action: Talk
        uses: script
        with:
          shell: cmd{SCRIPT}"
    )
}
