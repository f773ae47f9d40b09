//! What the README and `demo.sh` promise to a newcomer, done as they say it.
//!
//! The README's blocks are typed word for word, in terminals on a network of their own, so that
//! its fixed port is no one else's. Only `cargo build` is stood in for: it finds the programs built.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mantle_tests::World;
use mantle_tests::binaries::binary;
use mantle_tests::cli::{Cli, Output};
use mantle_tests::document::{Block, blocks, commands, inline_code};
use mantle_tests::process::Process;
use mantle_tests::terminal::{Network, Terminal};
use mantle_tests::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::fleet::SOON;

const WALK: &str = "From zero to a rolling deployment of your own";
/// The demo with programs of a debug build, on a busy machine.
const DEMO: Duration = Duration::from_mins(4);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

fn folder_of_programs() -> PathBuf {
    binary("tentacle");
    binary("mantle").parent().unwrap().to_owned()
}

/// `cargo build --release -p NAME...` for programs that are built: they appear where they would.
const CARGO: &str = r#"#!/bin/sh
set -e
[ "$1 $2" = "build --release" ] || { echo "not a release build: $*" >&2; exit 101; }
shift 2
mkdir -p target/release
while [ $# -gt 0 ]; do
  [ "$1" = -p ] || { echo "unexpected: $1" >&2; exit 101; }
  cp --reflink=auto "$PROGRAMS/$2" target/release/
  shift 2
done
"#;

/// A newcomer's clone and terminals.
struct Newcomer {
    clone: PathBuf,
    first: Terminal,
    second: Terminal,
}

impl Newcomer {
    async fn new(world: &World) -> Self {
        let bin = world.dir("bin");
        let cargo = CARGO.replace("$PROGRAMS", &folder_of_programs().display().to_string());
        let path = world.file("bin/cargo", cargo);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        let network = Network::new(world).await;
        let clone = world.dir("clone");
        Self {
            first: Terminal::open(world, &network, "first", &clone, &path).await,
            second: Terminal::open(world, &network, "second", &clone, &path).await,
            clone,
        }
    }

    async fn json(&mut self, command: &str) -> Value {
        let text = format!("{command} -o json\n");
        self.second.run(&text, SOON).await.ok().json()
    }

    /// A file that a deployment has installed.
    fn page(&self, target: &str, environment: &str) -> String {
        let apps = self.clone.join(format!("try/{target}/apps/{environment}"));
        let page = apps.join("hello/Hello/current/index.html");
        std::fs::read_to_string(&page).unwrap_or_else(|error| error.to_string())
    }

    /// Does what the blocks say, up to the first that fails, and sees what the text between them
    /// promises.
    async fn walk(&mut self, blocks: &[Block]) -> Result<(), Output> {
        let is_server = |block: &Block| block.text.contains("mantle server run");
        let server = blocks
            .iter()
            .position(is_server)
            .expect("the server is started");
        let (build, rest) = blocks.split_at(server);
        for block in build {
            passed(self.first.run(&block.text, SOON).await)?;
        }
        self.first.start(&rest[0].text).await;
        let first = &self.first;
        wait_for("the server says that it is up", SOON, || {
            let printed = first.printed();
            async move { printed.contains("is up").then_some(()).ok_or(printed) }
        })
        .await;
        for block in &rest[1..] {
            let done = passed(self.second.run(&block.text, SOON).await)?;
            self.promised(&block.text, &done).await;
        }
        Ok(())
    }

    /// What must hold after a block.
    async fn promised(&mut self, typed: &str, done: &Output) {
        if typed.contains("tentacle --data") {
            // "both are online after a moment"
            let deadline = tokio::time::Instant::now() + SOON;
            while self.online().await != ["one", "two"] {
                assert!(tokio::time::Instant::now() < deadline, "not online\n{done}");
            }
        }
        if typed.contains("mantle deploy ") {
            let said = format!("{}{}", done.stdout, done.stderr);
            assert!(said.contains("succeeded"), "{done}");
            for target in ["one", "two"] {
                let page =
                    format!("<h1>Hello from the test system from {target}, release 1.0.0</h1>");
                assert_eq!(self.page(target, "test").trim(), page);
                assert!(
                    said.contains(&page),
                    "the step's output is seen live\n{done}"
                );
            }
        }
        if typed.contains("mantle promote ") {
            for target in ["one", "two"] {
                let page = format!("<h1>Hello from {target}, release 1.0.0</h1>");
                assert_eq!(self.page(target, "production").trim(), page);
            }
            // The last command of the block is `mantle status`: latest, test, production.
            let rows = done
                .stdout
                .lines()
                .map(|line| line.split_whitespace().collect());
            let rows: Vec<Vec<&str>> = rows.collect();
            assert!(
                rows.contains(&vec!["hello", "1.0.0", "1.0.0", "1.0.0"]),
                "{done}"
            );
        }
    }

    async fn online(&mut self) -> Vec<String> {
        let list = self.json("mantle target list").await;
        let targets = list["items"].as_array().unwrap().iter();
        let mut online: Vec<String> = targets
            .filter(|target| target["state"] == "online")
            .map(|target| target["name"].as_str().unwrap().to_owned())
            .collect();
        online.sort();
        online
    }
}

fn passed(output: Output) -> Result<Output, Output> {
    if output.code == Some(0) {
        Ok(output)
    } else {
        Err(output)
    }
}

fn walkthrough(readme: &str) -> Vec<Block> {
    let all = blocks(readme).into_iter();
    all.filter(|block| block.language == "sh" && block.heading == WALK)
        .collect()
}

#[tokio::test]
async fn the_walkthrough_of_the_readme_works_word_for_word() {
    let world = World::new();
    let readme = readme();
    let mut newcomer = Newcomer::new(&world).await;
    newcomer
        .walk(&walkthrough(&readme))
        .await
        .unwrap_or_else(|failed| panic!("{failed}"));

    let key = std::fs::read_to_string(newcomer.clone.join("try/server/admin.key")).unwrap();
    let kept = newcomer.first.complained() + &newcomer.first.printed();
    assert!(
        !kept.contains(key.trim()),
        "the key is in a file that is no secret"
    );
    assert!(kept.contains("try/server/admin.key"), "{kept}");

    // "Stop the agents with `kill %1 %2`, the server with Ctrl-C; `try/` is all that is left."
    let stop = inline_code(&readme)
        .into_iter()
        .find(|(_, code)| code.starts_with("kill "));
    let (_, stop) = stop.expect("how to stop the agents");
    newcomer
        .second
        .run(&format!("{stop}\nwait\n"), SOON)
        .await
        .ok();
    newcomer.first.interrupt();
    newcomer.first.finish(SOON).await.ok();
    let programs = world.dir("clone/target/release");
    wait_until("none of our programs runs", SOON, || {
        let exe = |pid: i32| std::fs::read_link(format!("/proc/{pid}/exe"));
        !world
            .processes()
            .into_iter()
            .any(|pid| exe(pid).is_ok_and(|exe| exe.starts_with(&programs)))
    })
    .await;
    let left = std::fs::read_dir(&newcomer.clone).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["target", "try"]);
}

#[tokio::test]
async fn the_first_key_is_shown_to_a_person_at_a_terminal() {
    let world = World::new();
    let data = world.path("data");
    let mut command = Command::new("script");
    let server = format!(
        "{} server run --data {} --listen-https 127.0.0.1:0 --listen-quic 127.0.0.1:0",
        binary("mantle").display(),
        data.display()
    );
    command.args(["--quiet", "--flush", "--command", &server, "/dev/null"]);
    let mut terminal = Process::spawn(&world, "terminal", command);
    let is_said = |line: &str| line.contains("API key, shown this once");
    terminal.line("the note of the key", SOON, is_said).await;
    let key = std::fs::read_to_string(data.join("admin.key")).unwrap();
    terminal
        .line("the key itself", SOON, |line| line.trim() == key.trim())
        .await;
}

#[tokio::test]
async fn a_walkthrough_with_a_mistake_stops_at_it() {
    let world = World::new();
    let mut walk = walkthrough(&readme());
    let files = walk
        .iter_mut()
        .find(|block| block.text.contains("targets:"))
        .unwrap();
    files.text = files.text.replace("targets:", "tragets:");
    let failed = Newcomer::new(&world).await.walk(&walk).await.unwrap_err();
    assert!(failed.line.contains("tragets:"), "{failed}");
    failed.exit(7).complains(&["'tragets'", "targets"]);
}

/// What the demo's last table says: each machine with its environments' versions.
fn answers(demo: &str) -> Vec<(&str, &str, &str)> {
    let (_, table) = demo
        .split_once("What runs where, as each machine answers over HTTP")
        .unwrap_or_default();
    let rows = table.lines().skip(1).map(str::split_whitespace);
    rows.map_while(|mut words| Some((words.next()?, words.next()?, words.next()?)))
        .collect()
}

#[test]
fn the_demos_table_is_read_to_its_end() {
    let demo = "x\n== What runs where, as each machine answers over HTTP\u{1b}[0m\n\
                web01  test        1.1\nweb01  production  1.0\n\n== Done in 3 s\nweb02 test 1.1\n";
    assert_eq!(
        answers(demo),
        [("web01", "test", "1.1"), ("web01", "production", "1.0")]
    );
    assert_eq!(answers("web01 test 1.1"), []);
}

#[tokio::test]
async fn the_demo_runs_to_its_end_and_leaves_nothing() {
    let world = World::new();
    let temporary = world.dir("temporary");
    let mut command = Command::new("bash");
    let folder = repository();
    command
        .arg("-c")
        .arg("cd \"$1\" && ./demo.sh --bin \"$2\" </dev/null; echo \"exit code $?\"")
        .arg("demo")
        .arg(folder.canonicalize().unwrap())
        .arg(folder_of_programs())
        .env("HOME", world.dir("home"))
        .env("TMPDIR", &temporary);
    keep_toolchain(&mut command);
    let mut demo = Process::spawn(&world, "demo", command);
    let end = demo
        .line("its end", DEMO, |line| line.starts_with("exit code "))
        .await;
    let said = demo.stdout();
    assert_eq!(end, "exit code 0", "{said}\n{}", demo.stderr());

    let expected: Vec<(&str, &str, &str)> = ["web01", "web02", "web03", "web04"]
        .into_iter()
        .flat_map(|name| ["test", "production"].map(|environment| (name, environment, "1.1")))
        .collect();
    assert_eq!(answers(&said), expected, "{said}");
    let left = std::fs::read_dir(&temporary).unwrap().count();
    assert_eq!(left, 0, "its folder is removed");
}

/// The demo compiles its web server: rustup looks for the toolchain below HOME.
fn keep_toolchain(command: &mut Command) {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    for (name, folder) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
        let value = std::env::var_os(name).map_or_else(|| home.join(folder), PathBuf::from);
        command.env(name, value);
    }
}

#[tokio::test]
async fn the_demo_says_what_is_missing() {
    let world = World::new();
    let demo = repository().join("demo.sh").canonicalize().unwrap();
    let nothing = world.dir("nothing").display().to_string();
    let output = Cli::new(&world, &demo)
        .env("TMPDIR", world.dir("tmp").display())
        .run(&["--bin", &nothing])
        .await;
    output
        .exit(1)
        .complains(&["there is no ", "/nothing/mantle"]);
    let output = Cli::new(&world, &demo).run(&["--halp"]).await;
    output.exit(2).complains(&["usage: ./demo.sh"]);
}

#[test]
fn what_the_demo_suggests_at_its_end_is_there() {
    let text = std::fs::read_to_string(repository().join("demo.sh")).unwrap();
    let (_, after) = text.split_once("cat <<TEXT\n").unwrap();
    let (said, _) = after.split_once("\nTEXT\n").unwrap();
    let suggested: Vec<_> = commands(said)
        .into_iter()
        .filter(|typed| typed.words.first().is_some_and(|word| word == "mantle"))
        .collect();
    assert!(suggested.len() >= 4, "{suggested:?}");
    for typed in suggested {
        let parsed = mantle::cli::command().try_get_matches_from(&typed.words);
        assert!(parsed.is_ok(), "{typed:?}: {parsed:?}");
    }
}
