//! What runs on this machine: from `/proc` on Linux, from `tasklist` on Windows.

use super::super::{ActionError, StopToken};

/// A process that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) pid: u32,
    /// What it may be called: its program, and what it calls itself.
    pub(super) names: Vec<String>,
    /// Its command line, with spaces between the arguments.
    pub(super) command: String,
    /// The number of its user.
    pub(super) user: Option<u32>,
}

/// All of them.
#[cfg(target_os = "linux")]
pub(super) fn all(_stop: &StopToken) -> Result<Vec<Running>, ActionError> {
    let entries = std::fs::read_dir("/proc").map_err(|error| {
        ActionError::failed(format!("what runs cannot be read from /proc: {error}"))
    })?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(of_proc).collect())
}

/// One by its folder; `None` if it has ended by now, also where nobody has asked yet how.
#[cfg(target_os = "linux")]
fn of_proc(pid: u32) -> Option<Running> {
    use std::os::unix::fs::MetadataExt as _;
    let folder = std::path::PathBuf::from(format!("/proc/{pid}"));
    let read = |file: &str| std::fs::read(folder.join(file)).ok();
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    let (before, after) = stat.rsplit_once(')')?;
    if matches!(after.trim_start().chars().next(), Some('Z' | 'X')) {
        return None;
    }
    let own = before.split_once('(').map(|(_, name)| name.to_owned());
    let line = read("cmdline")?;
    let arguments: Vec<String> = line
        .split(|byte| *byte == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let first = arguments.first().filter(|first| !first.is_empty());
    let program = std::fs::read_link(folder.join("exe")).ok();
    let program = program.map(|path| base(&path.to_string_lossy()));
    let names = [own, first.map(|first| base(first)), program];
    let command = arguments.join(" ");
    Some(Running {
        pid,
        names: names.into_iter().flatten().collect(),
        command: command.trim_end().to_owned(),
        user: std::fs::metadata(&folder).ok().map(|folder| folder.uid()),
    })
}

/// All of them.
#[cfg(not(target_os = "linux"))]
pub(super) fn all(stop: &StopToken) -> Result<Vec<Running>, ActionError> {
    /// Many processes take a while to be listed.
    const LIST_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(1);
    let said = super::super::tool::ask("tasklist", &["/FO", "CSV", "/NH"], LIST_TIMEOUT, stop)?;
    if !said.is_ok() {
        return Err(ActionError::failed(format!(
            "'tasklist' does not say what runs: {}",
            said.complaint()
        )));
    }
    Ok(of_tasklist(&said.out))
}

/// Lines such as `"w3wp.exe","4242","Services","0","12,345 K"`.
#[cfg(any(not(target_os = "linux"), test))]
fn of_tasklist(text: &str) -> Vec<Running> {
    let of_line = |line: &str| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once("\",\"")?;
        let (pid, _) = rest.split_once('"')?;
        Some(Running {
            pid: pid.parse().ok()?,
            names: vec![name.to_owned()],
            command: name.to_owned(),
            user: None,
        })
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tasklist_are_read_and_others_are_not() {
        let text = "\r\n\"System Idle Process\",\"0\",\"Services\",\"0\",\"8 K\"\r\n\"w3wp.exe\",\"4242\",\"Services\",\"0\",\"12,345 K\"\r\nINFO: none\r\n";
        let found = of_tasklist(text);
        let shown: Vec<_> = found
            .iter()
            .map(|one| (one.pid, one.names[0].as_str()))
            .collect();
        assert_eq!(shown, [(0, "System Idle Process"), (4242, "w3wp.exe")]);
    }
}
