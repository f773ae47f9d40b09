//! A terminal for one command: what it shows there, and what somebody types.
//!
//! `script` of util-linux makes the pseudo terminal, since opening one needs what this house keeps
//! out. Its echo is on, as at any desk: what is typed is shown unless the command turns that off.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};

use crate::cli::Cli;
use crate::wait::wait_for;

/// A command at a terminal.
pub struct Pty {
    child: Child,
    input: ChildStdin,
    shown: Arc<Mutex<String>>,
    /// So much of it was looked at.
    seen: usize,
}

impl Pty {
    /// Starts a command there.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(cli: &Cli, args: &[&str]) -> Self {
        let inner = cli.command(args);
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        let quoted: Vec<String> = words
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let mut command = std::process::Command::new("script");
        command
            .args(["--quiet", "--return", "--flush", "--echo", "always"])
            .args(["--command", &quoted.join(" "), "/dev/null"])
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            // Whatever runs the tests, somebody sits here.
            .env("CI", "")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(folder) = inner.get_current_dir() {
            command.current_dir(folder);
        }
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .expect("script, of util-linux");
        let mut output = child.stdout.take().expect("it was piped");
        let shown = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&shown);
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes).await {
                let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&text);
            }
        });
        Self {
            input: child.stdin.take().expect("it was piped"),
            child,
            shown,
            seen: 0,
        }
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    /// Waits until this is shown, after what was waited for before.
    pub async fn shows(&mut self, text: &str, within: Duration) {
        self.seen = wait_for(&format!("the terminal shows {text:?}"), within, || {
            let shown = self.shown();
            let rest = shown.get(self.seen..).unwrap_or_default();
            let found = rest.find(text).map(|at| self.seen + at + text.len());
            async move { found.ok_or(shown) }
        })
        .await;
    }

    /// Types this.
    ///
    /// # Panics
    /// When the command has ended.
    pub async fn types(&mut self, text: &str) {
        self.input
            .write_all(text.as_bytes())
            .await
            .expect("somebody listens");
        self.input.flush().await.expect("somebody listens");
    }

    /// Waits for the end, and gives the command's exit code.
    pub async fn ends(&mut self, within: Duration) -> Option<i32> {
        let Self { child, shown, .. } = self;
        wait_for("the command at the terminal ends", within, || {
            let ended = child.try_wait().expect("the state of a process");
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            async move { ended.map(|status| status.code()).ok_or(shown) }
        })
        .await
    }
}
