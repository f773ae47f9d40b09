//! Without a terminal: one line a change, each log line with its target and action.

use jiff::Timestamp;
use mantle_shared::protocol::CUT_MARK;
use tokio::time::Instant;

use super::picture::Picture;
use super::{HEARTBEAT, Screen};
use crate::api::body::{
    LogKind, LogLine, PackagesView, TaskEvent, TaskEventKind, TaskState, WorkState,
};
use crate::cli::output::{clock, line_err};
use crate::cli::task::on_the_way;

/// Prints lines.
pub(super) struct Plain {
    spoke: Instant,
}

impl Plain {
    /// Prints on standard error.
    pub(super) fn new() -> Self {
        Self {
            spoke: Instant::now(),
        }
    }

    fn say(&mut self, text: &str) {
        self.spoke = Instant::now();
        line_err(text);
    }
}

impl Screen for Plain {
    fn event(&mut self, picture: &Picture, event: &TaskEvent) {
        if let Some(text) = event_line(picture, event) {
            self.say(&text);
        }
    }

    fn line(&mut self, _picture: &Picture, line: &LogLine) {
        self.say(&log_line(line));
    }

    fn note(&mut self, _picture: &Picture, text: &str) {
        self.say(text);
    }

    fn tick(&mut self, picture: &Picture) {
        if self.spoke.elapsed() >= HEARTBEAT {
            let text = format!("still waiting: {}", doing(picture, Timestamp::now()));
            self.say(&text);
        }
    }

    fn finish(&mut self, _picture: &Picture) {}
}

/// A log line with where it comes from.
pub(in crate::cli) fn log_line(line: &LogLine) -> String {
    let mark = match line.kind {
        LogKind::Stdout | LogKind::Agent | LogKind::Server => "|",
        LogKind::Stderr => "!",
        LogKind::Gap => "~",
    };
    let text = match line.percent {
        Some(percent) if line.text.is_empty() => format!("{percent} %"),
        Some(percent) => format!("{percent} % {}", harmless(&line.text)),
        None if line.level == "highlight" => format!("★ {}", harmless(&line.text)),
        None => harmless(&line.text),
    };
    let text = if line.continues {
        text + CUT_MARK
    } else {
        text
    };
    match (line.target.is_empty(), line.executor == line.target) {
        (true, _) => format!("server {mark} {text}"),
        (false, true) => format!("{} › {} {mark} {text}", line.target, line.action),
        (false, false) => format!(
            "{} › {} (on {}) {mark} {text}",
            line.target, line.action, line.executor
        ),
    }
}

/// What a target printed must not steer the operator's terminal: escape sequences are left out,
/// other control characters shown. JSON has the text as it was.
pub(in crate::cli) fn harmless(text: &str) -> String {
    let stripped = anstream::adapter::strip_str(text).to_string();
    stripped
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A change in one line; `None` for what nobody reads.
pub(super) fn event_line(picture: &Picture, event: &TaskEvent) -> Option<String> {
    let state = event.state.map(WorkState::as_str).unwrap_or_default();
    let target = event.target.as_deref().unwrap_or_default();
    let message = if event.message.is_empty() {
        String::new()
    } else {
        format!(": {}", event.message)
    };
    let time = event.at.strftime("%H:%M:%S");
    if let Some(text) = asked_line(picture, event) {
        return Some(format!("{time} {text}"));
    }
    let what = match event.kind {
        TaskEventKind::Task => {
            let state = event.task_state.map(TaskState::as_str);
            format!("{} {}", picture.task.number, state.unwrap_or_default())
        }
        TaskEventKind::Packages => format!("{target} packages {state}"),
        TaskEventKind::Step => {
            let number = event.step.unwrap_or_default();
            format!("step {number} '{}' {state}", picture.step_name(number))
        }
        // The actions of a target say the same in detail; what was passed over has none.
        TaskEventKind::Target if event.state == Some(WorkState::Skipped) => {
            format!("{target} {state}")
        }
        TaskEventKind::Target => return None,
        // Mostly it waits for a moment; if it goes on, the signs of life name it.
        TaskEventKind::Action if event.state == Some(WorkState::Waiting) => return None,
        TaskEventKind::Action => {
            let action = event.action.as_deref().unwrap_or_default();
            let on = match event.executor.as_deref() {
                Some(executor) if executor != target => format!(" (on {executor})"),
                _ => String::new(),
            };
            let again = match event.attempt {
                Some(attempt) if attempt > 1 => format!(" (attempt {attempt})"),
                _ => String::new(),
            };
            format!("{target} › {action}{on} {state}{again}")
        }
        TaskEventKind::Note => match &event.action {
            Some(action) => format!("{target} › {action} attempt {state}"),
            None if target.is_empty() => {
                let number = event.step.unwrap_or_default();
                format!("step {number} '{}'", picture.step_name(number))
            }
            None => target.to_owned(),
        },
    };
    Some(format!("{time} {what}{message}"))
}

/// What a person is asked, or what was answered, in a line; `None` for any other event.
fn asked_line(picture: &Picture, event: &TaskEvent) -> Option<String> {
    let name = format!("{}.{}", picture.task.number, event.interruption?);
    let message = harmless(&event.message);
    if event.state != Some(WorkState::Waiting) {
        return Some(format!("? {name} {message}"));
    }
    let about = if let (Some(target), Some(action)) = (&event.target, &event.action) {
        format!("{target} › {action}")
    } else {
        let step = picture.step_name(event.step.unwrap_or_default());
        format!("step '{step}'")
    };
    Some(format!(
        "? {about} {message}; 'mantle interruption show {name}' says who may answer what"
    ))
}

/// What is under way, for a sign of life.
fn doing(picture: &Picture, now: Timestamp) -> String {
    let open = |one: &&PackagesView| matches!(one.state, WorkState::Running | WorkState::Waiting);
    let packages = picture.packages.iter().filter(open);
    let mut running: Vec<String> = packages
        .map(|one| format!("packages of {}", on_the_way(one)))
        .collect();
    for subject in picture.steps.iter().flat_map(|step| &step.targets) {
        for action in &subject.actions {
            if matches!(action.state, WorkState::Running | WorkState::Waiting) {
                let since = picture.since(&subject.target, action);
                let since = since.map_or(0, |at| now.as_second() - at.as_second());
                let why = match action.message.as_str() {
                    message if action.state == WorkState::Waiting && !message.is_empty() => {
                        format!(": {}", harmless(message))
                    }
                    _ => String::new(),
                };
                let percent = picture.percent(&subject.target, action);
                let percent = percent.map_or_else(String::new, |percent| format!(" {percent} %"));
                running.push(format!(
                    "{} › {} {}{percent} ({}){why}",
                    subject.target,
                    action.name,
                    action.state.as_str(),
                    clock(since)
                ));
            }
        }
    }
    let more = running.len().saturating_sub(3);
    running.truncate(3);
    match (running.is_empty(), more) {
        (true, _) => picture.task.state.as_str().to_owned(),
        (false, 0) => running.join(", "),
        (false, more) => format!("{} and {more} more", running.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn a_picture() -> Picture {
        let task = serde_json::from_value(serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000001", "number": "T-7", "kind": "deployment",
            "project": "shop", "version": "1.0", "environment": "test", "state": "running",
            "created_at": "1970-01-01T00:00:00Z", "created_by": "ada",
        }));
        let mut picture = Picture::new(task.unwrap());
        let step = serde_json::from_value(serde_json::json!({
            "number": 1, "name": "S", "state": "running", "targets": [{
                "target": "w2", "state": "running", "actions": [{
                    "name": "S", "uses": "script", "executor": "w2", "state": "pending",
                    "attempts": 0,
                }],
            }],
        }));
        picture.steps = vec![step.unwrap()];
        picture
    }

    fn an_event(kind: &str, state: &str, message: &str, seq: u64) -> TaskEvent {
        let event = serde_json::json!({
            "seq": seq, "at": "1970-01-01T00:00:10Z", "kind": kind, "step": 1, "target": "w2",
            "action": "S", "executor": "w2", "state": state, "message": message,
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn a_sign_of_life_says_what_is_waited_for_and_since_when() {
        let now = Timestamp::from_second(45).unwrap();
        let away = "waits for the agent of w2 to connect";
        let mut picture = a_picture();
        assert_eq!(doing(&picture, now), "running");
        picture.apply(&an_event("action", "waiting", away, 1));
        assert_eq!(
            doing(&picture, now),
            format!("w2 › S waiting (0:35): {away}")
        );
        picture.apply(&an_event("action", "running", "", 2));
        assert_eq!(doing(&picture, now), "w2 › S running (0:35)");

        // Before the first step packages are on their way, of which there need be no event.
        let mut picture = a_picture();
        let packages = serde_json::json!({"target": "w2", "state": "waiting", "message": away});
        picture.packages = vec![serde_json::from_value(packages).unwrap()];
        assert_eq!(
            doing(&picture, now),
            format!("packages of w2  waiting: {away}")
        );
        picture.apply(&an_event("packages", "running", "", 1));
        assert_eq!(doing(&picture, now), "packages of w2  running");
        picture.apply(&an_event("packages", "succeeded", "8 bytes sent", 2));
        assert_eq!(doing(&picture, now), "running");
    }

    #[test]
    fn what_a_target_prints_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\tc"), "ab\tc");
        assert_eq!(harmless("50 %\r100 %"), "50 %\u{fffd}100 %");
        assert_eq!(harmless("žluťoučký"), "žluťoučký");
    }
}
