//! Reads what the processes of a run have left: the steps' own notes, the agents' journals, the
//! server's word, installed packages, and what must stand nowhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mantle::api::body::{LogKind, Page, TaskDetail, TaskEventKind};
use mantle::client::{Client, ClientError};
use serde_json::Value;
use tentacle::journal::Record;

use super::workload::{FILES, file_content};
use crate::checker::{
    ActionEnd, AgentHistory, AuditRow, Line, NotedLock, PackageSighting, Segment, StepEnd,
    StepStart, Survivor, TaskEvent, TaskHistory,
};

/// The notes of the steps. A line that is being written is left out.
///
/// # Panics
/// On a line that no step can have written.
pub(super) fn steps(path: &Path) -> (Vec<StepStart>, Vec<StepEnd>) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for line in whole.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<f64>().unwrap_or_default();
        match words[..] {
            ["start", attempt, task, action, target, locks, pid, at] => starts.push(StepStart {
                attempt: attempt.to_owned(),
                task: task.to_owned(),
                // A word of a note has no spaces, the name of an undo does.
                action: action.replace('_', " "),
                target: target.to_owned(),
                locks: NotedLock::all(locks)
                    .unwrap_or_else(|| panic!("no step wrote this: {line}")),
                pid: pid.parse().unwrap_or_default(),
                at: number(at),
            }),
            ["end", attempt, code, lines, at] => ends.push(StepEnd {
                attempt: attempt.to_owned(),
                code: code.parse().unwrap_or(-1),
                lines: lines.parse().unwrap_or_default(),
                at: number(at),
            }),
            _ => panic!("no step wrote this: {line}"),
        }
    }
    (starts, ends)
}

/// Processes of a task's steps that are there.
pub(super) fn survivors(path: &Path, task: &str) -> Vec<Survivor> {
    let (starts, _) = steps(path);
    let of_task = starts.into_iter().filter(|start| start.task == task);
    of_task
        .filter(|start| lives(start.pid, &start.attempt))
        .map(|start| Survivor {
            task: start.task,
            attempt: start.attempt,
            pid: start.pid,
        })
        .collect()
}

/// Whether this process is there and works in the folder of this attempt: numbers are used again.
fn lives(pid: i32, attempt: &str) -> bool {
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim();
    folder.to_string_lossy().contains(attempt) && !state.is_empty() && !state.starts_with('Z')
}

/// Reads a journal as it grows, so that what a later summary leaves out is not lost.
pub(super) struct JournalReader {
    path: PathBuf,
    file: u64,
    offset: u64,
    pub(super) history: AgentHistory,
}

impl JournalReader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: 0,
            offset: 0,
            history: AgentHistory::default(),
        }
    }

    /// Takes what was added since. A file that cannot be read now is read the next time.
    pub(super) fn read(&mut self) {
        let Ok(mut file) = fs::File::open(&self.path) else {
            return;
        };
        let Ok(meta) = file.metadata() else {
            return;
        };
        let mut bytes = Vec::new();
        if file.read_to_end(&mut bytes).is_err() {
            return;
        }
        let anew = meta.ino() != self.file || (bytes.len() as u64) < self.offset;
        let from = if anew {
            self.file = meta.ino();
            self.offset = 0;
            self.history.segments.push(Segment::default());
            0
        } else {
            usize::try_from(self.offset).unwrap_or(usize::MAX)
        };
        let first = self.history.segments.len() == 1;
        let Some(segment) = self.history.segments.last_mut() else {
            return;
        };
        for line in bytes[from..].split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            match record(line) {
                Ok(record) => segment.records.extend(record),
                Err(Torn) => break,
            }
            self.offset += line.len() as u64;
        }
        if anew && !first {
            segment.summary = segment.records.len();
        }
    }
}

/// A line that was not written whole.
struct Torn;

/// A record; none for the file's own first line.
fn record(line: &[u8]) -> Result<Option<Record>, Torn> {
    if line.starts_with(b"mantle-journal ") {
        return Ok(None);
    }
    // Behind the checksum.
    let json = line.get(9..).ok_or(Torn)?;
    serde_json::from_slice(json).map(Some).map_err(|_| Torn)
}

/// Everything that the server says of a task.
pub(super) async fn task(client: &Client, number: &str) -> Result<TaskHistory, ClientError> {
    let detail = client.task(number).await?;
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let page = client.task_events(number, after).await?;
        let last = page.items.last().map(|event| event.seq);
        events.extend(page.items.into_iter().filter_map(|event| {
            // The failure of an attempt is a note: the action may go on.
            let of_action = matches!(event.kind, TaskEventKind::Action | TaskEventKind::Note);
            let (action, state) = (event.action?, event.state?);
            of_action.then(|| TaskEvent {
                seq: event.seq,
                action,
                target: event.target.unwrap_or_default(),
                state: state.as_str().to_owned(),
                attempt: event.attempt,
            })
        }));
        match (page.next, last) {
            (Some(_), Some(last)) => after = last,
            _ => break,
        }
    }
    Ok(TaskHistory {
        number: detail.task.number.clone(),
        project: detail.task.project.clone(),
        state: detail.task.state.as_str().to_owned(),
        message: detail.task.message.clone(),
        actions: actions(&detail),
        events,
        log: log(client, number).await?,
        ..TaskHistory::default()
    })
}

fn actions(detail: &TaskDetail) -> Vec<ActionEnd> {
    let subjects = detail.steps.iter().flat_map(|step| &step.targets);
    subjects
        .flat_map(|subject| {
            subject.actions.iter().map(|action| ActionEnd {
                action: action.name.clone(),
                target: subject.target.clone(),
                state: action.state.as_str().to_owned(),
                attempts: action.attempts,
                exit_code: action.exit_code,
                message: action.message.clone(),
                resolved: action.resolution.as_ref().map(|one| one.ended.clone()),
            })
        })
        .collect()
}

async fn log(client: &Client, number: &str) -> Result<Vec<Line>, ClientError> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let Page { items, next } = client.task_log(number, after).await?;
        let last = items.last().map(|line| line.seq);
        all.extend(items.into_iter().map(|line| Line {
            seq: line.seq,
            gap: line.kind == LogKind::Gap,
            // What the agent itself remarks is no line of the step.
            text: match line.kind {
                LogKind::Stdout | LogKind::Gap => line.text,
                LogKind::Stderr | LogKind::Agent | LogKind::Server => format!("({})", line.text),
            },
            action: line.action,
            target: line.target,
            attempt: line.attempt,
        }));
        match (next, last) {
            (Some(_), Some(last)) => after = last,
            _ => return Ok(all),
        }
    }
}

/// The numbers of all tasks, also of those whose answer was lost.
pub(super) async fn task_numbers(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut numbers = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let page = client.tasks(None, before.as_deref(), 100).await?;
        let last = page.items.last().map(|task| task.number.clone());
        numbers.extend(page.items.into_iter().map(|task| task.number));
        match (page.next, last) {
            (Some(_), Some(last)) => before = Some(last),
            _ => break,
        }
    }
    numbers.reverse();
    Ok(numbers)
}

/// The rows of the audit trail that are about tasks.
pub(super) async fn audit(client: &Client) -> Result<Vec<AuditRow>, ClientError> {
    let mut rows = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let page = client.audit(before.as_deref(), 500).await?;
        let last = page.items.last().map(|row| row.seq);
        for row in page.items {
            let named = row.detail.get("task").and_then(Value::as_str);
            let task = named.unwrap_or(&row.subject);
            if task.starts_with("T-") {
                rows.push(AuditRow {
                    action: row.action,
                    task: task.to_owned(),
                });
            }
        }
        match (page.next, last) {
            (Some(_), Some(last)) => before = Some(last.to_string()),
            _ => break,
        }
    }
    rows.reverse();
    Ok(rows)
}

/// What is wrong with the version that `current` names, if anything is. `None` as well if there is
/// none, or if it was switched under our eyes.
pub(super) fn package_fault(current: &Path) -> Option<Result<(), PackageSighting>> {
    let named = fs::read_link(current).ok()?;
    let folder = current.parent()?.join(&named);
    let version = named.to_str()?.split('_').next()?.to_owned();
    let mut fault = None;
    for number in 0..FILES {
        let path = folder.join(format!("file{number:02}.txt"));
        match fs::read_to_string(&path) {
            Ok(text) if text == file_content(&version, number) => {}
            Ok(text) => {
                fault = Some(format!(
                    "{} of version {version} holds {} bytes beginning with {:?}",
                    path.display(),
                    text.len(),
                    text.chars().take(20).collect::<String>()
                ));
            }
            Err(error) => fault = Some(format!("{}: {error}", path.display())),
        }
    }
    let Some(fault) = fault else {
        return Some(Ok(()));
    };
    // A version that was switched away from meanwhile may be removed.
    (fs::read_link(current).ok()? == named).then(|| {
        Err(PackageSighting {
            path: folder.display().to_string(),
            fault,
        })
    })
}

/// All links `current` below a root of installed versions.
pub(super) fn currents(apps: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let packages = folders(apps)
        .into_iter()
        .flat_map(|environment| folders(&environment))
        .flat_map(|project| folders(&project));
    packages
        .map(|package| package.join("current"))
        .filter(|current| current.symlink_metadata().is_ok())
        .collect()
}

/// The forms in which a secret may not stand anywhere.
pub(super) fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![
        secret.as_bytes().to_vec(),
        secret
            .bytes()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
            .into_bytes(),
    ];
    for shift in 0..3 {
        let padded = [&b"xxx"[..shift], secret.as_bytes()].concat();
        let encoded = STANDARD.encode(&padded);
        // Without what the neighbours have a part in.
        let from = if shift == 0 { 0 } else { 4 };
        let text = encoded.trim_end_matches('=');
        let until = text.len() - usize::from(padded.len() % 3 != 0);
        forms.push(text.as_bytes()[from..until].to_vec());
    }
    forms
}

/// Files below `root` in which one of the forms stands.
pub(super) fn places_of(root: &Path, forms: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                // A file that is gone meanwhile holds nothing any more.
                let bytes = fs::read(&path).unwrap_or_default();
                if forms.iter().any(|form| holds(&bytes, form)) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    let Some(first) = form.first() else {
        return false;
    };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(form) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// What a process holds: kilobytes of memory, descriptors, threads.
pub(super) fn holdings(pid: i32) -> BTreeMap<&'static str, u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    BTreeMap::from([
        ("KiB of memory", field("VmRSS:")),
        ("threads", field("Threads:")),
        ("descriptors", descriptors as u64),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = "s3cret/+value";
        let forms = forms(secret);
        for prefix in ["", "a", "ab", "abc"] {
            let text = format!("{prefix}{secret} and more");
            let encoded = STANDARD.encode(&text);
            assert!(
                forms.iter().any(|form| holds(encoded.as_bytes(), form)),
                "{encoded}"
            );
        }
        assert!(holds(b"xx s3cret/+value yy", &forms[0]));
        assert!(!forms.iter().any(|form| holds(b"another text", form)));
    }

    #[test]
    fn a_journal_is_read_as_it_grows_and_anew_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let seen = |epoch: u64| {
            format!(
                "00000000 {{\"kind\":\"epoch_seen\",\"task\":null,\"epoch\":{epoch},\"at_us\":1}}\n"
            )
        };
        fs::write(
            &path,
            format!("mantle-journal 1\n{}{}torn", seen(1), seen(2)),
        )
        .unwrap();
        let mut reader = JournalReader::new(path.clone());
        reader.read();
        assert_eq!(reader.history.segments[0].records.len(), 2);
        fs::write(
            &path,
            format!("mantle-journal 1\n{}{}{}", seen(1), seen(2), seen(3)),
        )
        .unwrap();
        reader.read();
        assert_eq!(reader.history.segments[0].records.len(), 3);
        let other = dir.path().join("other");
        fs::write(&other, format!("mantle-journal 1\n{}", seen(3))).unwrap();
        fs::rename(&other, &path).unwrap();
        reader.read();
        reader.read();
        assert_eq!(reader.history.segments.len(), 2);
        assert_eq!(reader.history.segments[1].summary, 1);
    }
}
