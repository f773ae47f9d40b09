//! A running nginx: whether it takes its configuration, and which of its workers are new and old.
//!
//! A reload is an order that nobody answers: that it was followed shows in workers that were not
//! there before, and that old connections have ended in old workers that are gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::tool::ask;
use super::super::values::show_duration;
use super::super::{ActionError, StopToken};

/// nginx tests a configuration in well under a second; names that it looks up may take longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a reload may take until there are new workers.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the workers are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// One nginx of this machine.
pub(super) struct Nginx<'a> {
    config: Option<&'a str>,
    stop: &'a StopToken,
}

impl<'a> Nginx<'a> {
    /// The one with this configuration file, or that of the distribution.
    pub(super) fn of(config: Option<&'a str>, stop: &'a StopToken) -> Self {
        Self { config, stop }
    }

    /// The same one, with another reason to give up.
    pub(super) fn with<'b>(&'b self, stop: &'b StopToken) -> Nginx<'b> {
        Nginx {
            config: self.config,
            stop,
        }
    }

    /// Tests the configuration and gives all of it.
    pub(super) fn test(&self) -> Result<String, ActionError> {
        let answer = self.nginx(&["-T", "-q"])?;
        if answer.is_ok() {
            return Ok(answer.out);
        }
        Err(ActionError::failed(format!(
            "nginx does not take its configuration: {}",
            answer.complaint()
        )))
    }

    /// Reloads it and waits for the new workers; gives the old ones.
    pub(super) fn reload(&self, dump: &str) -> Result<BTreeSet<u32>, ActionError> {
        let master = self.master(dump)?;
        let old = workers(master);
        let answer = self.nginx(&["-s", "reload"])?;
        if !answer.is_ok() {
            return Err(ActionError::failed(format!(
                "nginx does not reload: {}",
                answer.complaint()
            )));
        }
        let deadline = Instant::now() + RELOAD_TIMEOUT;
        while workers(master).is_subset(&old) {
            if Instant::now() >= deadline {
                return Err(ActionError::failed(format!(
                    "nginx (process {master}) has no new workers {} after it was told to reload; its error log says why",
                    show_duration(RELOAD_TIMEOUT)
                )));
            }
            self.stop.sleep(POLL_INTERVAL)?;
        }
        Ok(old)
    }

    /// Waits until these workers, which end with their last connection, are gone.
    pub(super) fn wait_until_gone(
        &self,
        dump: &str,
        old: &BTreeSet<u32>,
        within: Duration,
    ) -> Result<(), ActionError> {
        let master = self.master(dump)?;
        let deadline = Instant::now() + within;
        loop {
            let left = workers(master).intersection(old).count();
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ActionError::failed(format!(
                    "{left} workers of nginx still have connections from before, {} after the reload; give it a longer 'wait', or nginx a worker_shutdown_timeout",
                    show_duration(within)
                )));
            }
            self.stop.sleep(POLL_INTERVAL)?;
        }
    }

    fn nginx(&self, words: &[&str]) -> Result<super::super::tool::Said, ActionError> {
        let config: &[&str] = match &self.config {
            Some(path) => &["-c", path],
            None => &[],
        };
        ask(
            "nginx",
            &[config, words].concat(),
            ANSWER_TIMEOUT,
            self.stop,
        )
        .map_err(|error| match error {
            ActionError::Failed { message, .. } => ActionError::failed(format!(
                "{message}; nginx must be on this machine and in the agent's PATH"
            )),
            error => error,
        })
    }

    /// The process that reads the configuration, by its pid file.
    fn master(&self, dump: &str) -> Result<u32, ActionError> {
        let path = match pid_file(dump) {
            Some(path) => path,
            None => self.usual_pid_file()?,
        };
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let pid = text.trim().parse().ok();
        pid.filter(|pid| Path::new(&format!("/proc/{pid}/stat")).exists())
            .ok_or_else(|| {
                ActionError::failed(format!(
                    "nginx does not run: {} names no process; start it, such as by 'service'",
                    path.display()
                ))
            })
    }

    fn usual_pid_file(&self) -> Result<PathBuf, ActionError> {
        let built = self.nginx(&["-V"])?.err;
        let mut words = built.split_whitespace();
        let path = words.find_map(|word| word.strip_prefix("--pid-path="));
        Ok(PathBuf::from(path.unwrap_or("/run/nginx.pid")))
    }
}

/// The pid file that a configuration names, wherever on a line it does.
fn pid_file(dump: &str) -> Option<PathBuf> {
    let lines = dump
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let statements = lines.flat_map(|line| line.split([';', '{', '}']));
    let path = statements
        .map(str::trim)
        .find_map(|one| one.strip_prefix("pid "))?;
    Some(PathBuf::from(path.trim().trim_matches(['"', '\''])))
}

/// The worker processes of a master, those that are shutting down among them.
fn workers(master: u32) -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        is_child(&read("stat"), master) && read("cmdline").starts_with("nginx: worker")
    })
    .collect()
}

/// By the fields after the name in parentheses: state, then parent.
fn is_child(stat: &str, parent: u32) -> bool {
    let fields = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace());
    fields.and_then(|mut fields| fields.nth(1)?.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_found_wherever_it_stands() {
        for (text, path) in [
            ("user a;\n  pid   /run/x.pid;\n", Some("/run/x.pid")),
            (
                "user a; pid \"/run/y.pid\"; events {}\n",
                Some("/run/y.pid"),
            ),
            ("# pid /run/no.pid;\nhttp { pids on; }\n", None),
        ] {
            assert_eq!(pid_file(text), path.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn children_are_told_by_the_field_after_the_name() {
        assert!(is_child("12 (nginx (x) y) S 7 12 12", 7));
        assert!(!is_child("12 (nginx 7) S 8 12 12", 7) && !is_child("", 7));
    }
}
