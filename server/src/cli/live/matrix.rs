//! On a terminal: log lines scroll by, below them a matrix of targets by steps, redrawn in place.
//!
//! The block is drawn with at most one line for each line of the terminal and never wider than it,
//! so that going up by its height always finds its top.

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;

use super::Screen;
use super::picture::Picture;
use super::plain::log_line;
use crate::api::body::{
    LogKind, LogLine, StepView, SubjectView, TaskEvent, TaskEventKind, TaskState, WorkState,
};
use crate::cli::output::{BAD, DIM, GOOD, WARN, clock};

/// Wide enough for `▶ 12/14 1:02:03`; wider where titles are long and there is room.
const CELL: usize = 16;
const MOST_CELL: usize = 40;
/// What names of targets get before the steps do.
const MOST_NAME: usize = 24;

/// Draws.
pub(super) struct Matrix {
    drawn: Vec<String>,
    over: bool,
}

impl Matrix {
    /// Nothing is drawn yet.
    pub(super) fn new() -> Self {
        Self {
            drawn: Vec::new(),
            over: false,
        }
    }

    fn redraw(&mut self, picture: &Picture, above: &[String]) {
        let (width, height) = terminal();
        let block = if self.over {
            Vec::new()
        } else {
            block(picture, width, height, Timestamp::now())
        };
        if above.is_empty() && block == self.drawn {
            return;
        }
        let mut text = String::new();
        if !self.drawn.is_empty() {
            // To the block's first line, and everything from there away.
            let _ = write!(text, "\x1b[{}A\r\x1b[J", self.drawn.len());
        }
        for line in above.iter().chain(&block) {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = block;
        let mut err = anstream::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

impl Screen for Matrix {
    fn event(&mut self, picture: &Picture, event: &TaskEvent) {
        let failed = matches!(
            event.state,
            Some(
                WorkState::Failed
                    | WorkState::TimedOut
                    | WorkState::Unknown
                    | WorkState::Interrupted
                    | WorkState::Abandoned
            )
        );
        let telling = matches!(event.kind, TaskEventKind::Action | TaskEventKind::Note);
        let above = match super::plain::event_line(picture, event) {
            Some(line) if event.interruption.is_some() => vec![format!("{WARN}{line}{WARN:#}")],
            Some(line) if failed && telling => vec![format!("{BAD}{line}{BAD:#}")],
            _ => Vec::new(),
        };
        self.redraw(picture, &above);
    }

    fn line(&mut self, picture: &Picture, line: &LogLine) {
        let text = log_line(line);
        let text = match (line.kind, line.level.as_str()) {
            (_, "error") => format!("{BAD}{text}{BAD:#}"),
            (LogKind::Gap, _) | (_, "warning") => format!("{WARN}{text}{WARN:#}"),
            (_, "verbose") => format!("{DIM}{text}{DIM:#}"),
            (_, "highlight") => format!("{GOOD}{text}{GOOD:#}"),
            _ => text,
        };
        self.redraw(picture, &[text]);
    }

    fn note(&mut self, picture: &Picture, text: &str) {
        self.redraw(picture, &[format!("{WARN}{text}{WARN:#}")]);
    }

    fn tick(&mut self, picture: &Picture) {
        self.redraw(picture, &[]);
    }

    fn finish(&mut self, picture: &Picture) {
        let (width, _) = terminal();
        // The last picture stays, whole: nothing is drawn over it any more.
        let last = block(picture, width, usize::MAX, Timestamp::now());
        self.over = true;
        self.redraw(picture, &last);
    }
}

fn terminal() -> (usize, usize) {
    terminal_size::terminal_size_of(std::io::stderr()).map_or((80, 24), |(width, height)| {
        (usize::from(width.0), usize::from(height.0))
    })
}

/// The lines of the matrix, each at most `width` wide, at most about two thirds of `height`.
fn block(picture: &Picture, width: usize, height: usize, now: Timestamp) -> Vec<String> {
    let mut lines = vec![headline(picture, width, now)];
    let targets = picture.targets();
    if targets.is_empty() {
        return lines;
    }
    let steps: Vec<_> = picture
        .steps
        .iter()
        .filter(|s| !s.targets.is_empty())
        .collect();
    let longest = targets.iter().map(|name| name.chars().count()).max();
    // Names are cut only where the steps need the room.
    let beside_steps = width.saturating_sub(2 + steps.len() * (CELL + 1));
    let beside_one = width.saturating_sub(2 + CELL + 1);
    let name_width = longest
        .unwrap_or(0)
        .min(MOST_NAME.max(beside_steps))
        .min(beside_one);
    let beside_names = width.saturating_sub(name_width + 2);
    let fits = beside_names / (CELL + 1);
    let titles: Vec<String> = steps
        .iter()
        .map(|step| format!("{} {}", step.number, step.name))
        .collect();
    let longest = titles.iter().map(|title| title.chars().count()).max();
    let share = (beside_names / steps.len().max(1)).saturating_sub(1);
    let cell_width = longest.unwrap_or(0).min(share).clamp(CELL, MOST_CELL);
    let shown = columns(&steps, fits.max(1));
    let left_out = steps.len() - shown.len();

    let mut header = " ".repeat(name_width + 2);
    for title in shown.iter().filter_map(|index| titles.get(*index)) {
        let _ = write!(header, " {:<cell_width$}", clip(title, cell_width));
    }
    lines.push(format!("{DIM}{}{DIM:#}", clip(header.trim_end(), width)));
    let shown: Vec<&StepView> = shown
        .iter()
        .filter_map(|index| steps.get(*index).copied())
        .collect();

    let beside_rows = if left_out > 0 { 4 } else { 3 };
    let room = (height / 3 * 2).saturating_sub(beside_rows).max(3);
    let mut rows: Vec<(u8, String)> = Vec::new();
    for target in &targets {
        let mut row = format!("  {:<name_width$}", clip(target, name_width));
        let mut rank = 2;
        for step in &shown {
            let subject = step.targets.iter().find(|s| s.target == **target);
            let (text, style, weight) = cell(picture, subject, now);
            rank = rank.min(weight);
            let text = clip(&text, cell_width);
            let _ = write!(row, " {style}{text:<cell_width$}{style:#}");
        }
        rows.push((rank, row));
    }
    let hidden = rows.len().saturating_sub(room);
    if hidden > 0 {
        // What is at work or went wrong stays in sight.
        rows.sort_by_key(|(rank, _)| *rank);
        rows.truncate(room);
    }
    lines.extend(rows.into_iter().map(|(_, row)| row));
    if hidden > 0 {
        lines.push(format!("{DIM}  and {hidden} more targets{DIM:#}"));
    }
    if left_out > 0 {
        let steps = if left_out == 1 { "step" } else { "steps" };
        let text = format!("  and {left_out} more {steps}, not shown for lack of room");
        lines.push(format!("{DIM}{}{DIM:#}", clip(&text, width)));
    }
    lines
}

/// The steps that are shown when not all of them fit: first those that went wrong, then those at
/// work, then the ones before and after these; at the end of a task that went well, the last.
fn columns(steps: &[&StepView], fits: usize) -> Vec<usize> {
    if steps.len() <= fits {
        return (0..steps.len()).collect();
    }
    let focus = steps
        .iter()
        .position(|step| weight(step) == 0)
        .or_else(|| steps.iter().position(|step| weight(step) == 1))
        .or_else(|| steps.iter().position(|step| weight(step) == 2))
        .unwrap_or(steps.len());
    let mut ranked: Vec<usize> = (0..steps.len()).collect();
    ranked.sort_by_key(|index| {
        let important = steps.get(*index).map_or(2, |step| weight(step).min(2));
        (important, index.abs_diff(focus))
    });
    ranked.truncate(fits);
    ranked.sort_unstable();
    ranked
}

/// How much a step matters: 0 went wrong, 1 at work, 2 its turn has not come, 3 over.
fn weight(step: &StepView) -> u8 {
    let own = [step.state].into_iter();
    own.chain(step.targets.iter().map(|subject| subject.state))
        .map(|state| match state {
            WorkState::Failed
            | WorkState::TimedOut
            | WorkState::NotStarted
            | WorkState::Interrupted
            | WorkState::Unknown
            | WorkState::Abandoned => 0,
            WorkState::Running => 1,
            WorkState::Pending | WorkState::Waiting => 2,
            WorkState::Succeeded | WorkState::Skipped | WorkState::Cancelled => 3,
        })
        .min()
        .unwrap_or(3)
}

fn headline(picture: &Picture, width: usize, now: Timestamp) -> String {
    let task = &picture.task;
    let until = task.ended_at.unwrap_or(now);
    let since = task.started_at.unwrap_or(task.created_at);
    let elapsed = clock(until.as_second() - since.as_second());
    let text = format!(
        "{}  {}  {}  {elapsed}",
        task.number,
        task.what_and_where(),
        task.state.as_str()
    );
    let style = match task.state {
        TaskState::Succeeded => GOOD,
        TaskState::Failed | TaskState::TimedOut => BAD,
        TaskState::Cancelled | TaskState::Cancelling => WARN,
        TaskState::Queued | TaskState::Running => anstyle::Style::new().bold(),
    };
    format!("{style}{}{style:#}", clip(&text, width))
}

/// A cell's text and colour, and how much it matters: 0 failed, 1 at work, 2 the rest.
fn cell(
    picture: &Picture,
    subject: Option<&SubjectView>,
    now: Timestamp,
) -> (String, anstyle::Style, u8) {
    let plain = anstyle::Style::new();
    let Some(subject) = subject else {
        return (String::new(), plain, 2);
    };
    let until = subject.ended_at.unwrap_or(now);
    let elapsed = subject
        .started_at
        .map(|since| clock(until.as_second() - since.as_second()))
        .unwrap_or_default();
    let over = |action: &&crate::api::body::ActionView| {
        matches!(action.state, WorkState::Succeeded | WorkState::Skipped)
    };
    let done = subject.actions.iter().filter(over).count();
    match subject.state {
        WorkState::Pending | WorkState::Waiting => ("·".to_owned(), DIM, 2),
        WorkState::Running if subject.actions.iter().any(|a| a.interruption.is_some()) => {
            (format!("? asks {elapsed}"), WARN, 0)
        }
        WorkState::Running => {
            let of = subject.actions.len();
            let mut percents = subject
                .actions
                .iter()
                .filter_map(|action| picture.percent(&subject.target, action));
            let percent = percents
                .next()
                .map_or_else(String::new, |percent| format!("{percent}% "));
            (
                format!("▶ {}/{of} {percent}{elapsed}", (done + 1).min(of)),
                plain.bold(),
                1,
            )
        }
        WorkState::Succeeded => (format!("✔ {elapsed}"), GOOD, 2),
        WorkState::Skipped => ("–".to_owned(), DIM, 2),
        WorkState::Cancelled => ("■ cancelled".to_owned(), WARN, 0),
        WorkState::Failed
        | WorkState::TimedOut
        | WorkState::NotStarted
        | WorkState::Interrupted
        | WorkState::Unknown
        | WorkState::Abandoned => (format!("✘ {} {elapsed}", subject.state.as_str()), BAD, 0),
    }
}

/// At most so many characters.
fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::api::body::{ActionView, LogKind, LogLine, Task, TaskPriority};

    fn picture(targets: usize, steps: u32) -> Picture {
        let now = Timestamp::UNIX_EPOCH;
        let mut picture = Picture::new(Task {
            id: mantle_shared::ids::TaskId::from_uuid(uuid::Uuid::from_u128(1)),
            number: "T-7".to_owned(),
            kind: "deployment".to_owned(),
            title: String::new(),
            project: "octofx".to_owned(),
            version: "1.2.3".to_owned(),
            environment: "production".to_owned(),
            state: TaskState::Running,
            warnings: false,
            message: String::new(),
            behind: None,
            priority: TaskPriority::Normal,
            position: None,
            waiting: None,
            awaits_room: false,
            at: None,
            expires: None,
            created_at: now,
            created_by: "ada".to_owned(),
            started_at: Some(now),
            ended_at: None,
            log_removed_at: None,
        });
        let subject = |index: usize| SubjectView {
            target: format!("web{index:02}"),
            state: if index == 0 {
                WorkState::Running
            } else {
                WorkState::Pending
            },
            started_at: (index == 0).then_some(now),
            ended_at: None,
            actions: vec![ActionView {
                name: "Install".to_owned(),
                uses: "package".to_owned(),
                executor: format!("web{index:02}"),
                state: WorkState::Running,
                attempts: 1,
                exit_code: None,
                message: String::new(),
                started_at: Some(now),
                ended_at: None,
                interruption: None,
                resolution: None,
                said_late: None,
            }],
        };
        picture.steps = (1..=steps)
            .map(|number| StepView {
                number,
                name: format!("Step with a long name {number}"),
                state: WorkState::Pending,
                message: String::new(),
                targets: (0..targets).map(subject).collect(),
            })
            .collect();
        picture
    }

    fn bare(line: &str) -> String {
        anstream::adapter::strip_str(line).to_string()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_block_fits_its_height() {
        let steps = [1, 2, 3, 12];
        let sizes = [(40, 10), (80, 24), (120, 30), (200, 50)];
        let all = sizes
            .into_iter()
            .flat_map(|size| steps.map(|steps| (size, steps)));
        for ((width, height), steps) in all {
            let now = Timestamp::from_second(75).unwrap();
            let lines = block(&picture(100, steps), width, height, now);
            assert!(lines.len() < height, "{} lines", lines.len());
            for line in &lines {
                assert!(bare(line).chars().count() <= width, "{line}");
            }
        }
    }

    #[test]
    fn the_step_that_went_wrong_is_shown_and_the_others_are_counted() {
        let mut picture = picture(2, 12);
        for (index, step) in picture.steps.iter_mut().enumerate() {
            let (state, of_target) = match index {
                0..8 => (WorkState::Succeeded, WorkState::Succeeded),
                8 => (WorkState::Failed, WorkState::TimedOut),
                _ => (WorkState::Skipped, WorkState::Skipped),
            };
            step.state = state;
            for subject in &mut step.targets {
                subject.state = of_target;
            }
        }
        let now = Timestamp::from_second(75).unwrap();
        for width in [50, 80, 200] {
            let lines = block(&picture, width, usize::MAX, now);
            let text: Vec<String> = lines.iter().map(|line| bare(line)).collect();
            assert!(text.get(1).unwrap().contains("9 Step with"), "{text:?}");
            assert!(text.get(2).unwrap().contains("✘ timed-out"), "{text:?}");
            let last = text.last().unwrap();
            assert!(last.contains(" more step"), "{last}");
        }
        // Two that went wrong are both there, however far apart, in the order of the steps.
        let far = picture.steps.first_mut().unwrap();
        far.state = WorkState::Failed;
        let steps: Vec<&StepView> = picture.steps.iter().collect();
        assert_eq!(columns(&steps, 2), [0, 8]);
        assert_eq!(columns(&steps, 12).len(), 12);
    }

    #[test]
    fn names_and_titles_are_whole_where_there_is_room_and_stand_over_their_cells() {
        let mut picture = picture(2, 2);
        let name = "web-frontend-01.example.com";
        for step in &mut picture.steps {
            name.clone_into(&mut step.targets.first_mut().unwrap().target);
        }
        let lines = |width| {
            let lines = block(&picture, width, 24, Timestamp::from_second(75).unwrap());
            let bare: Vec<String> = lines.iter().map(|line| bare(line)).collect();
            (bare.get(1).unwrap().clone(), bare.get(2).unwrap().clone())
        };
        let column = |line: &str, text: &str| {
            let at = line
                .find(text)
                .unwrap_or_else(|| panic!("{text} in {line}"));
            line.get(..at).unwrap().chars().count()
        };
        let (header, row) = lines(120);
        assert!(row.contains(name), "{row}");
        assert_eq!(
            column(&header, "1 Step with a long name 1"),
            column(&row, "▶")
        );
        let second = column(&header, "2 Step with a long name 2");
        assert_eq!(row.chars().nth(second), Some('▶'), "{header}\n{row}");
        let (header, row) = lines(60);
        assert!(row.contains("web-frontend-01.example…"), "{row}");
        assert!(header.contains("1 Step with a l…"), "{header}");
    }

    #[test]
    fn a_running_target_shows_how_far_its_action_is() {
        let mut picture = picture(1, 1);
        let mut line = LogLine {
            seq: 1,
            at: Timestamp::UNIX_EPOCH,
            step: 1,
            action: "Install".to_owned(),
            target: "web00".to_owned(),
            executor: "web00".to_owned(),
            attempt: 1,
            kind: LogKind::Agent,
            level: "verbose".to_owned(),
            text: "half".to_owned(),
            continues: false,
            percent: Some(50),
        };
        assert_eq!(log_line(&line), "web00 › Install | 50 % half");
        picture.note_progress(&line);
        line.percent = None;
        picture.note_progress(&line);
        let shown = |picture: &Picture| {
            let lines = block(picture, 80, 24, Timestamp::from_second(75).unwrap());
            bare(lines.get(2).unwrap()).trim().to_owned()
        };
        assert_eq!(shown(&picture), "web00 ▶ 1/1 50% 1:15");
        // Another attempt begins anew.
        for action in &mut picture.steps[0].targets[0].actions {
            action.attempts = 2;
        }
        assert_eq!(shown(&picture), "web00 ▶ 1/1 1:15");
    }

    #[test]
    fn a_running_target_shows_its_action_and_its_time() {
        let now = Timestamp::from_second(75).unwrap();
        let lines = block(&picture(2, 1), 80, 24, now);
        let text: Vec<String> = lines.iter().map(|line| bare(line)).collect();
        assert_eq!(
            text.first().unwrap(),
            "T-7  octofx 1.2.3 -> production  running  1:15"
        );
        assert_eq!(text.get(2).unwrap().trim_end(), "  web00 ▶ 1/1 1:15");
        assert_eq!(text.get(3).unwrap().trim_end(), "  web01 ·");
    }
}
