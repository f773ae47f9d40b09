//! A Salt master and its minions, each a process with a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal};

use super::cost;
use super::place::{Place, finish};
use crate::rig::Process;

/// For all minions to answer: their keys are made and they start one after another.
const START_DEADLINE: Duration = Duration::from_mins(8);
/// For all to end by themselves.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How many minions start at once.
const START_TOGETHER: usize = 4;
/// The master's address; its port number is the machine's choice.
const HOST: &str = "127.0.0.1";

/// Salt.
#[derive(Debug)]
pub(crate) struct Salt {
    program: PathBuf,
    /// The folder of everything.
    pub(crate) folder: PathBuf,
    // Minions first: they are stopped before their master.
    minions: Vec<Process>,
    master: Process,
}

impl Salt {
    /// A master and so many minions, all of which answer.
    pub(crate) fn start(place: &Place, count: usize) -> Result<Self> {
        let program = place.python("salt", "salt")?;
        let folder = place.fresh("run-salt")?;
        let ports = (free_port()?, free_port()?);
        let bin = program.parent().context("the folder of salt")?.to_owned();
        let start = |who: &str, settings: &str, name: &str| -> Result<Process> {
            let home = folder.join(name);
            let etc = home.join("etc");
            std::fs::create_dir_all(&etc).with_context(|| etc.display().to_string())?;
            let common = common_settings(&home);
            std::fs::write(etc.join(who), format!("{common}{settings}"))
                .with_context(|| etc.display().to_string())?;
            let mut command = Command::new(bin.join(format!("salt-{who}")));
            command.arg("-c").arg(&etc).args(["-l", "error"]);
            Process::start(command, &home.join("out"))
        };
        let (publish, back) = ports;
        let files = folder.join("files");
        std::fs::create_dir_all(&files).context("the master's files")?;
        let settings = format!(
            "interface: {HOST}\npublish_port: {publish}\nret_port: {back}\nauto_accept: true\nfile_roots: {{base: [{}]}}\nmax_open_files: 8192\n",
            files.display()
        );
        let master = start("master", &settings, "master")?;
        let mut salt = Self {
            program,
            folder: folder.clone(),
            minions: Vec::new(),
            master,
        };
        let deadline = Instant::now() + START_DEADLINE;
        for number in 1..=count {
            let settings = format!(
                "master: {HOST}\npublish_port: {publish}\nmaster_port: {back}\nid: t{number}\ngrains_cache: true\nacceptance_wait_time: 2\n"
            );
            salt.minions
                .push(start("minion", &settings, &format!("t{number}"))?);
            // Python starts slowly, and fifty at once would not answer in time.
            if number % START_TOGETHER == 0 || number == count {
                while salt.answering(number)? < number {
                    ensure!(
                        Instant::now() < deadline,
                        "not all of {number} minions answered within {} s",
                        START_DEADLINE.as_secs()
                    );
                }
            }
        }
        Ok(salt)
    }

    fn answering(&self, count: usize) -> Result<usize> {
        let mut command = self.command(count, 5);
        command.args(["test.ping"]);
        let said = command.output().context("starting salt")?.stdout;
        Ok(String::from_utf8_lossy(&said).matches(": True").count())
    }

    /// The command line, for the first so many minions.
    fn command(&self, count: usize, timeout_s: u32) -> Command {
        let minions: Vec<String> = (1..=count).map(|number| format!("t{number}")).collect();
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(self.folder.join("master").join("etc"))
            .args([
                "--out=txt",
                "-t",
                &timeout_s.to_string(),
                "-L",
                &minions.join(","),
            ]);
        command
    }

    /// Orders something of the first so many minions, all of which must answer with a line that ends so.
    pub(crate) fn order(&self, count: usize, words: &[&str], answer: &str) -> Result<()> {
        let mut command = self.command(count, 300);
        command.args(words);
        let said = finish(command, "salt")?;
        let good = said
            .lines()
            .filter(|line| line.trim_end().ends_with(answer))
            .count();
        ensure!(
            good == count,
            "{good} of {count} minions answered '{answer}': {said}"
        );
        Ok(())
    }

    /// The master, whose processor time is that of the server.
    pub(crate) fn master(&self) -> u32 {
        self.master.pid()
    }

    /// The minions.
    pub(crate) fn minions(&self) -> Vec<u32> {
        self.minions.iter().map(Process::pid).collect()
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        // Both start processes of their own, which a master that is killed would leave behind.
        let mut roots = self.minions();
        roots.push(self.master());
        let all = cost::tree(&roots).unwrap_or_default();
        self.minions.iter_mut().for_each(Process::terminate);
        self.master.terminate();
        let deadline = Instant::now() + STOP_DEADLINE;
        while !(self.minions.iter_mut().all(Process::is_over) && self.master.is_over())
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        for pid in all
            .into_iter()
            .filter_map(|pid| Pid::from_raw(pid.cast_signed()))
        {
            // Most are over.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

fn common_settings(home: &Path) -> String {
    let home = home.display();
    format!(
        "root_dir: {home}\npki_dir: {home}/pki\ncachedir: {home}/cache\nsock_dir: {home}/sock\nlog_file: {home}/log\nkeysize: 2048\nuser: {}\n",
        std::env::var("USER").unwrap_or_else(|_| "root".to_owned())
    )
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((HOST, 0)).context("a port for Salt")?;
    Ok(listener.local_addr().context("a port for Salt")?.port())
}
