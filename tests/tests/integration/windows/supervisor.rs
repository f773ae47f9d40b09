//! One supervisor at a time on Windows, run by hand: scripts, job objects, claims.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use mantle_shared::order::{ORDER_FORMAT, Order, OrderVariable, OutputLimits};
use mantle_shared::protocol::{
    AttemptEnd, Level, Outcome, Record, RecordBody, RecordHasher, Stream,
};
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, TaskId};
use mantle_tests::World;
use mantle_tests::wait::wait_until;
use mantle_tests::wine::{agent_program, windows_path};
use tentacle::output::spool::{Next, SpoolReader};
use tentacle::state_dir::StateDir;
use tentacle::supervisor::{EXIT_NOT_MINE, files, handover};

/// Longer than anything here takes, the start of Wine included.
const PATIENCE: Duration = Duration::from_mins(1);

/// Loops until it is killed; found among the processes by its name.
const BEAT: &str =
    "@echo off\r\necho beating\r\n:again\r\nping -n 2 127.0.0.1 >nul\r\ngoto again\r\n";

#[tokio::test]
async fn lines_of_a_cmd_script_are_there_while_it_runs_and_its_exit_code_arrives() {
    let test = Bench::new();
    let go = test.world.path("go");
    let script = r#"
echo waiting for %OCTOPUS_RELEASE_NUMBER%
echo to stderr 1>&2
echo ##octopus[setVariable name='R3JlZXRpbmc=' value='aGVsbG8=']
:wait
if exist "%GO_FILE%" goto go
ping -n 2 127.0.0.1 >nul
goto wait
:go
echo going
exit 7
"#;
    let mut order = order(script);
    order.variables = vec![
        variable("Octopus.Release.Number", "1.2.3"),
        variable("Go.File", &windows_path(&go)),
    ];
    let running = test.start(&order);
    running.line("waiting for 1.2.3").await;
    running.line("to stderr").await;
    assert!(!running.texts().iter().any(|text| text.contains("going")));
    std::fs::write(&go, "").unwrap();
    let (end, records) = running.finish().await;
    assert_eq!(
        (end.outcome, end.exit_code),
        (Outcome::Failed, Some(7)),
        "{}",
        end.message
    );
    let has = |stream, level, line: &str| {
        records.iter().any(|record| matches!(&record.body, RecordBody::Line { stream: s, level: l, text } if (*s, *l) == (stream, level) && text.trim() == line))
    };
    assert!(has(Stream::Stdout, Level::Info, "going"), "{records:?}");
    assert!(
        has(Stream::Stderr, Level::Error, "to stderr"),
        "{records:?}"
    );
    assert!(
        records.iter().any(|record| matches!(&record.body, RecordBody::Variable { name, value, .. } if name == "Greeting" && value == "hello")),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_cancel_ends_the_whole_tree_of_a_script() {
    let test = Bench::new();
    test.world.file("beat.cmd", BEAT);
    let beat = windows_path(&test.world.path("beat.cmd"));
    let script = format!("start /b cmd /c {beat}\r\ncall {beat}\r\n");
    let running = test.start(&order(&script));
    let both = || {
        running
            .texts()
            .iter()
            .filter(|text| text.contains("beating"))
            .count()
            == 2
    };
    wait_until("script and grandchild run", PATIENCE, both).await;
    assert!(test.beating() > 0);
    files::write_cancel(&running.dir, files::CancelFile { grace_ms: 500 }).unwrap();
    let (end, _) = running.finish().await;
    assert_eq!(end.outcome, Outcome::Cancelled, "{}", end.message);
    wait_until("none of it is left", PATIENCE, || test.beating() == 0).await;
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_does_not_hold_the_end() {
    let test = Bench::new();
    test.world.file("beat.cmd", BEAT);
    let beat = windows_path(&test.world.path("beat.cmd"));
    let running = test.start(&order(&format!("start /b cmd /c {beat}\r\nexit 0\r\n")));
    let (end, records) = running.finish().await;
    assert_eq!(end.outcome, Outcome::Succeeded, "{}", end.message);
    let warned = |record: &Record| matches!(&record.body, RecordBody::Line { level: Level::Warning, text, .. } if text.contains("cmd.exe"));
    assert!(records.iter().any(warned), "{records:?}");
    wait_until("it is killed", PATIENCE, || test.beating() == 0).await;
}

#[tokio::test]
async fn of_two_supervisors_of_one_attempt_one_runs_the_script() {
    let test = Bench::new();
    let started = windows_path(&test.world.path("started"));
    let order = order(&format!("echo started >> {started}\r\n"));
    let (one, other) = (test.start(&order), test.start(&order));
    let dir = one.dir.clone();
    let mut codes = [one.exit_code().await, other.exit_code().await];
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(EXIT_NOT_MINE.into())]);
    let end = files::read_result(&dir, order.attempt).unwrap().unwrap();
    assert_eq!(end.outcome, Outcome::Succeeded, "{}", end.message);
    let text = std::fs::read_to_string(test.world.path("started")).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// A state directory on this machine for supervisors under Wine.
struct Bench {
    world: World,
    state: StateDir,
    program: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let state = StateDir::at(world.path("state"));
        state.create().unwrap();
        let program = agent_program(&world);
        Self {
            world,
            state,
            program,
        }
    }

    fn start(&self, order: &Order) -> Supervisor {
        let dir = self.state.attempt(order.attempt);
        files::prepare(&dir).unwrap();
        let mut child = mantle_tests::cli::Cli::new(&self.world, &self.program)
            .command(&[
                "exec-attempt",
                "--data",
                &windows_path(self.state.root()),
                "--dir",
                &windows_path(&dir),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let bytes = handover::frame(&serde_json::to_vec(order).unwrap());
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        Supervisor {
            dir,
            attempt: order.attempt,
            child,
        }
    }

    /// How many processes of this world run `beat.cmd`.
    fn beating(&self) -> usize {
        self.world
            .processes()
            .into_iter()
            .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains("beat.cmd"))
            .count()
    }
}

fn order(script: &str) -> Order {
    Order {
        format: ORDER_FORMAT,
        attempt: AttemptId::from_uuid(Uuid::from_u128(1)),
        task: TaskId::from_uuid(Uuid::from_u128(77)),
        task_number: "T-7".to_owned(),
        project: "shop".to_owned(),
        environment: "test".to_owned(),
        release: "1.0.0".to_owned(),
        step: "Say".to_owned(),
        action: "Say".to_owned(),
        subject: "web01".to_owned(),
        executor: "web01".to_owned(),
        uses: "script".to_owned(),
        with: serde_json::json!({"shell": "cmd", "run": format!("@echo off\r\n{script}")})
            .as_object()
            .unwrap()
            .clone(),
        variables: Vec::new(),
        withheld: Vec::new(),
        packages: Vec::new(),
        timeout_ms: 120_000,
        grace_ms: 500,
        // 32 zero bytes.
        seal_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        output: OutputLimits::default(),
        locks: Vec::new(),
        despite: Vec::new(),
    }
}

fn variable(name: &str, value: &str) -> OrderVariable {
    OrderVariable {
        name: name.to_owned(),
        value: value.to_owned(),
        sensitive: false,
        exported: true,
    }
}

struct Supervisor {
    dir: PathBuf,
    attempt: AttemptId,
    child: Child,
}

impl Supervisor {
    async fn line(&self, text: &str) {
        wait_until(&format!("the line '{text}'"), PATIENCE, || {
            self.texts().iter().any(|line| line.contains(text))
        })
        .await;
    }

    fn texts(&self) -> Vec<String> {
        records(&self.dir)
            .into_iter()
            .filter_map(|record| match record.body {
                RecordBody::Line { text, .. } => Some(text),
                _ => None,
            })
            .collect()
    }

    async fn exit_code(mut self) -> Option<i32> {
        wait_until("the supervisor's end", PATIENCE, || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
        self.child.wait().unwrap().code()
    }

    /// Waits for its end; gives it with all records, whose count and digest are checked.
    async fn finish(self) -> (AttemptEnd, Vec<Record>) {
        let (dir, attempt) = (self.dir.clone(), self.attempt);
        assert_eq!(self.exit_code().await, Some(0));
        let end = files::read_result(&dir, attempt)
            .unwrap()
            .expect("a result");
        let records = records(&dir);
        let mut hasher = RecordHasher::new();
        for record in &records {
            hasher.update(record);
        }
        assert_eq!((end.records, end.log), (hasher.count(), hasher.digest()));
        assert!(
            !dir.join(files::PRIVATE_DIR).exists(),
            "secrets are left over"
        );
        (end, records)
    }
}

fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    if let Some(mut reader) = SpoolReader::open(dir, 0).unwrap() {
        while let Next::Record(record) = reader.advance().unwrap() {
            records.push(record);
        }
    }
    records
}
