//! Commands as an operator types them: what they print, where, and their exit code.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::world::{MARK, World};

/// No command takes longer, unless the test says so.
pub const COMMAND_DEADLINE: Duration = Duration::from_mins(2);

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "$ {}\nexit code {:?}\n-- standard output\n{}-- standard error\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

impl Output {
    /// Asserts that it succeeded.
    ///
    /// # Panics
    /// When it did not: with all that it said.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exit(0)
    }

    /// Asserts its exit code.
    ///
    /// # Panics
    /// When it is another: with all that it said.
    #[track_caller]
    pub fn exit(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// Asserts that standard error holds every one of these.
    ///
    /// # Panics
    /// When one is not there: with all that it said.
    #[track_caller]
    pub fn complains(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "expected on standard error: {part}\n{self}"
            );
        }
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}\n{self}"))
    }
}

/// A command of one binary with an environment of its own.
#[derive(Clone)]
pub struct Cli {
    world: World,
    program: std::path::PathBuf,
    env: Vec<(String, String)>,
}

impl Cli {
    /// Commands of `program`. Its home is the world's, so that no file of the person who runs the
    /// tests is read or written.
    pub fn new(world: &World, program: &Path) -> Self {
        Self {
            world: world.clone(),
            program: program.to_owned(),
            env: vec![("HOME".to_owned(), world.dir("home").display().to_string())],
        }
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.run_with_input(args, b"").await
    }

    /// Runs a command to its end, with this on its standard input.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub async fn run_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::from(self.command(args));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let line = self.line(args);
        let work = async {
            let mut child = command
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
            if let Some(mut stdin) = child.stdin.take() {
                // A command that reads no input closes it: no concern of ours.
                let _ = stdin.write_all(input).await;
            }
            child.wait_with_output().await.expect("a command's output")
        };
        let output = tokio::time::timeout(COMMAND_DEADLINE, work)
            .await
            .unwrap_or_else(|_| panic!("still running after {COMMAND_DEADLINE:?}: {line}"));
        Output {
            line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command, for a process that the test runs beside others.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(args)
            .current_dir(self.world.root())
            .env(MARK, self.world.mark())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn line(&self, args: &[&str]) -> String {
        let name = self.program.file_stem().unwrap_or_default();
        format!("{} {}", name.to_string_lossy(), args.join(" "))
    }
}
