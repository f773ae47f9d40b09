//! Terminals in which a test types what a document says, unaltered, on a network of its own.
//!
//! A document names fixed ports (`127.0.0.1:7443`), and tests run beside each other: so the shells
//! get a network namespace with a loopback of its own, as root directly, else in a user namespace.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};

use crate::cli::Output;
use crate::namespaces::unshare;
use crate::process::Process;
use crate::wait::wait_for;
use crate::world::{MARK, World};

const SOON: Duration = Duration::from_secs(30);

/// A network with nothing but a loopback. It lasts while a process of it does.
pub struct Network {
    holder: Process,
}

impl Network {
    /// Makes one.
    ///
    /// # Panics
    /// When the system allows none.
    pub async fn new(world: &World) -> Self {
        let mut command = unshare(&["--net"]);
        let hold = "ip link set lo up && echo up && exec tail -f /dev/null";
        command.args(["sh", "-c", hold]);
        let mut holder = Process::spawn(world, "network", command);
        holder.line("its loopback", SOON, |line| line == "up").await;
        Self { holder }
    }

    /// A program that runs on it.
    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.pid().to_string(), "--net"]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(program);
        command
    }
}

/// A shell that keeps its variables, folder and jobs from one text to the next.
pub struct Terminal {
    world: World,
    name: String,
    shell: Child,
    input: ChildStdin,
    typed: usize,
}

impl Terminal {
    /// Opens one in this folder, with `path` as its PATH and little else in its environment. Any
    /// command that fails ends it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn open(
        world: &World,
        network: &Network,
        name: &str,
        folder: &Path,
        path: &str,
    ) -> Self {
        let mut command = network.enter("bash");
        command
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .env_clear()
            .env("PATH", path)
            .env("HOME", world.dir("home"))
            .env(MARK, world.mark())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        // What the shell itself complains of: a text's own complaints go to a file of their own.
        let complaints = world.path(&format!("terminal-{name}.err"));
        let file = std::fs::File::create(&complaints).expect("a file of the test's world");
        command.stderr(file);
        world.watch_log(&format!("{name}, the shell"), &complaints);
        // A process group, so that Ctrl-C reaches what runs in it and nothing else.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut shell = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("terminal {name} cannot be opened: {error}"));
        let mut terminal = Self {
            world: world.clone(),
            name: name.to_owned(),
            input: shell.stdin.take().expect("it was piped"),
            shell,
            typed: 0,
        };
        // Only once the shell answers is it on the network, which may go when its holder does.
        terminal.run("set -e -o pipefail\n", SOON).await.ok();
        terminal
    }

    async fn send(&mut self, text: &str) {
        // A shell that has ended is noticed by whoever waits for what it does.
        let _ = self.input.write_all(text.as_bytes()).await;
        let _ = self.input.flush().await;
    }

    fn file(&self, what: &str) -> PathBuf {
        let Self { name, typed, .. } = self;
        self.world.path(&format!("terminal-{name}-{typed}.{what}"))
    }

    /// Types a text and does not wait for its end.
    pub async fn start(&mut self, text: &str) {
        self.typed += 1;
        let [script, out, err, done] = ["sh", "out", "err", "done"].map(|what| self.file(what));
        std::fs::write(&script, text).expect("a file of the test's world");
        self.world
            .watch_log(&format!("{}, typed", self.name), &script);
        self.world
            .watch_log(&format!("{}, printed", self.name), &out);
        self.world
            .watch_log(&format!("{}, complained", self.name), &err);
        let [script, out, err, done] =
            [script, out, err, done].map(|path| path.display().to_string());
        // Not in a subshell: what it exports and starts stays.
        self.send(&format!(". '{script}' >'{out}' 2>'{err}'\n: >'{done}'\n"))
            .await;
    }

    /// What the text that was typed last has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.file("out")).unwrap_or_default()
    }

    /// What it has written to standard error so far.
    pub fn complained(&self) -> String {
        std::fs::read_to_string(self.file("err")).unwrap_or_default()
    }

    /// Waits for the end of what was started. A command that failed has ended the shell.
    pub async fn finish(&mut self, within: Duration) -> Output {
        let (done, name) = (self.file("done"), self.name.clone());
        let code = wait_for(&format!("the end of what {name} was told"), within, || {
            let ended = self.shell.try_wait().expect("the state of a shell");
            let is_done = done.exists();
            async move {
                match ended {
                    _ if is_done => Ok(Some(0)),
                    Some(status) => Ok(status.code()),
                    None => Err("it goes on".to_owned()),
                }
            }
        })
        .await;
        let read = |what| std::fs::read_to_string(self.file(what)).unwrap_or_default();
        Output {
            line: read("sh"),
            code,
            stdout: read("out"),
            stderr: read("err"),
        }
    }

    /// Types a text and waits for its end.
    pub async fn run(&mut self, text: &str, within: Duration) -> Output {
        self.start(text).await;
        self.finish(within).await
    }

    /// Presses Ctrl-C.
    ///
    /// # Panics
    /// When the shell has ended.
    pub fn interrupt(&self) {
        let id = self.shell.id().expect("the shell runs").cast_signed();
        let group = Pid::from_raw(id).expect("a process id");
        rustix::process::kill_process_group(group, Signal::INT).expect("a group of ours");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_terminal_keeps_its_state_and_ends_at_a_failure() {
        let world = World::new();
        let network = Network::new(&world).await;
        let path = std::env::var("PATH").unwrap();
        let folder = world.dir("folder");
        let mut terminal = Terminal::open(&world, &network, "one", &folder, &path).await;
        terminal
            .run("export A=1; cd ..; false | true || :\n", SOON)
            .await
            .ok();
        let output = terminal.run("echo $A; pwd; echo no >&2", SOON).await.ok();
        assert_eq!(output.stdout, format!("1\n{}\n", world.root().display()));
        assert_eq!(output.stderr, "no\n");
        let output = terminal.run("echo before\nfalse\necho after", SOON).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), "before\n"));
    }

    #[tokio::test]
    async fn two_terminals_share_a_loopback_that_no_other_has() {
        let world = World::new();
        let (here, there) = (Network::new(&world).await, Network::new(&world).await);
        let path = std::env::var("PATH").unwrap();
        let listen = "import socket; s=socket.socket(); s.bind(('127.0.0.1', 7443)); s.listen(); \
                      print('up', flush=True); s.accept()";
        let mut listener = Terminal::open(&world, &here, "listener", world.root(), &path).await;
        listener.start(&format!("python3 -c \"{listen}\"")).await;
        wait_for("it listens", SOON, || {
            let printed = listener.printed();
            async move { (printed == "up\n").then_some(()).ok_or(printed) }
        })
        .await;
        let dial = "exec 3<>/dev/tcp/127.0.0.1/7443";
        let mut stranger = Terminal::open(&world, &there, "stranger", world.root(), &path).await;
        assert_ne!(stranger.run(dial, SOON).await.code, Some(0));
        let mut neighbour = Terminal::open(&world, &here, "neighbour", world.root(), &path).await;
        neighbour.run(dial, SOON).await.ok();
        listener.finish(SOON).await.ok();
    }

    #[tokio::test]
    async fn ctrl_c_ends_what_runs() {
        let world = World::new();
        let network = Network::new(&world).await;
        let path = std::env::var("PATH").unwrap();
        let mut terminal = Terminal::open(&world, &network, "one", world.root(), &path).await;
        terminal.start("echo up; tail -f /dev/null").await;
        wait_for("it runs", SOON, || {
            let printed = terminal.printed();
            async move { (printed == "up\n").then_some(()).ok_or(printed) }
        })
        .await;
        terminal.interrupt();
        assert_ne!(terminal.finish(SOON).await.code, Some(0));
    }
}
