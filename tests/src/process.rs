//! A real process of a test: its output in files, signals by its id, killed when dropped.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait::{block_until, wait_for};
use crate::world::{MARK, World};

/// A process that the test started.
pub struct Process {
    /// Its name in messages, such as `server` or `agent web01`.
    pub name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    /// Where this life's output starts in the files, which a restart appends to.
    out_from: u64,
    err_from: u64,
    _world: World,
}

impl Process {
    /// Starts it in the world's folder with the world's mark. Output goes to `<name>.out` and
    /// `<name>.err` there, after what earlier lives wrote.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(world: &World, name: &str, mut command: Command) -> Self {
        let file_name = name.replace(' ', "-");
        let (out, err) = (
            world.path(&format!("{file_name}.out")),
            world.path(&format!("{file_name}.err")),
        );
        let append = |path: &PathBuf| -> (File, u64) {
            let file = File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("a log file");
            let length = file.metadata().map_or(0, |meta| meta.len());
            (file, length)
        };
        let ((out_file, out_from), (err_file, err_from)) = (append(&out), append(&err));
        let child = command
            .env(MARK, world.mark())
            .current_dir(world.root())
            .stdin(Stdio::null())
            .stdout(out_file)
            .stderr(err_file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        world.watch_log(&format!("{name}, standard output"), &out);
        world.watch_log(&format!("{name}, standard error"), &err);
        Self {
            name: name.to_owned(),
            child,
            out,
            err,
            out_from,
            err_from,
            _world: world.clone(),
        }
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it wrote to standard output in this life.
    pub fn stdout(&self) -> String {
        read_from(&self.out, self.out_from)
    }

    /// What it wrote to standard error in this life.
    pub fn stderr(&self) -> String {
        read_from(&self.err, self.err_from)
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Sends a signal. Nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none()
            && let Some(pid) = Pid::from_raw(self.pid())
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Kills it without a chance to react, and waits until it is gone.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Freezes it: it lives, holds its sockets and answers nothing.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn stop(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let name = self.name.clone();
        wait_for(&format!("{name} ends after SIGTERM"), within, || {
            let ended = self.ended();
            async move { ended.ok_or_else(|| "it is still running".to_owned()) }
        })
        .await
    }

    /// Waits until a line of this life's output (either stream) satisfies `matches`.
    ///
    /// # Panics
    /// When none comes in time, or when the process ends without it.
    pub async fn line(
        &mut self,
        what: &str,
        within: Duration,
        matches: impl Fn(&str) -> bool,
    ) -> String {
        let name = self.name.clone();
        wait_for(&format!("{name}: {what}"), within, || {
            let ended = self.ended();
            let text = format!("{}{}", self.stdout(), self.stderr());
            let found = text.lines().find(|line| matches(line)).map(str::to_owned);
            assert!(
                found.is_some() || ended.is_none(),
                "{name} ended ({ended:?}) before: {what}"
            );
            async move { found.ok_or_else(|| format!("{} lines without it", text.lines().count())) }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        block_until(Duration::from_secs(5), || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        });
    }
}

fn read_from(path: &PathBuf, from: u64) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn output_is_read_by_lives() {
        let world = World::new();
        let mut first = Process::spawn(&world, "the app", shell("echo one; echo two >&2"));
        first.line("its word", SOON, |line| line == "two").await;
        drop(first);
        let mut second = Process::spawn(&world, "the app", shell("echo three; exec sleep 60"));
        second.line("its word", SOON, |line| line == "three").await;
        assert_eq!(second.stdout(), "three\n");
        assert_eq!(second.stderr(), "");
    }

    #[tokio::test]
    async fn a_detached_grandchild_does_not_outlive_its_world() {
        let world = World::new();
        let mut parent = Process::spawn(
            &world,
            "parent",
            shell("setsid sh -c 'echo $$; exec sleep 600' & wait"),
        );
        let line = parent.line("a pid", SOON, |_| true).await;
        let pid: i32 = line.parse().unwrap();
        parent.kill9();
        assert!(world.processes().contains(&pid), "it was detached");
        let root = world.root().to_owned();
        drop((parent, world));
        assert!(!root.exists(), "the folder is gone");
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!command.contains("sleep"), "{command} is alive");
    }

    #[tokio::test]
    #[should_panic(expected = "ended")]
    async fn an_end_before_the_line_is_told_at_once() {
        let world = World::new();
        let mut process = Process::spawn(&world, "short", shell("echo no"));
        process
            .line("yes", Duration::from_mins(1), |line| line == "yes")
            .await;
    }

    #[tokio::test]
    async fn a_polite_stop_gives_the_exit_code() {
        let world = World::new();
        let mut process = Process::spawn(
            &world,
            "polite",
            shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"),
        );
        process.line("its word", SOON, |line| line == "up").await;
        assert_eq!(process.stop(SOON).await.code(), Some(7));
    }
}
