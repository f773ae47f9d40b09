//! Watching a task: its events and its log, live, over lost connections, until it is over.

mod away;
mod matrix;
mod picture;
mod plain;
mod queued;

use std::time::Duration;

use tokio::time::Instant;

use self::away::Away;
use self::matrix::Matrix;
use self::picture::Picture;
use self::plain::Plain;
pub(super) use self::plain::{harmless, log_line as line_text};
use self::queued::Queued;
use super::exit::{CliResult, Exit, Failure, of_task};
use super::output::Output;
use crate::api::body::{LogLine, Task, TaskDetail, TaskEvent, TaskEventKind, TaskState};
use crate::client::sse::{Followed, Follower, SseEvent};
use crate::client::{Client, ClientError};

/// Between two looks at the clock of a live matrix.
const TICK: Duration = Duration::from_millis(500);
/// A program that waits shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// What is shown while waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Show {
    /// Progress and log lines.
    All,
    /// Progress alone.
    Progress,
}

/// How the wait ended.
pub(in crate::cli) struct Watched {
    /// What the process ends with.
    pub exit: Exit,
    /// The task as it stands at the end.
    pub task: TaskDetail,
}

trait Screen {
    /// Something happened.
    fn event(&mut self, picture: &Picture, event: &TaskEvent);
    /// A line was printed.
    fn line(&mut self, picture: &Picture, line: &LogLine);
    /// Something about the watching itself.
    fn note(&mut self, picture: &Picture, text: &str);
    /// Time has passed.
    fn tick(&mut self, picture: &Picture);
    /// Nothing more will come.
    fn finish(&mut self, picture: &Picture);
}

/// Watches a task to its end, a time limit or Ctrl-C. Why it waits was said if it is queued.
pub(in crate::cli) async fn watch(
    client: &Client,
    task: &Task,
    timeout: Duration,
    show: Show,
    out: Output,
) -> Result<Watched, Failure> {
    let screen: Box<dyn Screen> = if out.live && !out.is_json() {
        Box::new(Matrix::new())
    } else {
        Box::new(Plain::new())
    };
    let mut watch = Watch {
        client,
        number: task.number.clone(),
        events: client.follow_events(&task.number, 0),
        log: (show == Show::All).then(|| client.follow_log(&task.number, 0)),
        picture: Picture::new(task.clone()),
        screen,
        queued: Queued::told(task),
        away: Away::new(),
        events_over: false,
        log_over: show == Show::Progress,
        lost: false,
    };
    let deadline = Instant::now() + timeout;
    let ended = watch.run(deadline).await;
    watch.screen.finish(&watch.picture);
    ended?;
    watch.end(deadline).await
}

struct Watch<'a> {
    client: &'a Client,
    number: String,
    events: Follower,
    log: Option<Follower>,
    picture: Picture,
    screen: Box<dyn Screen>,
    queued: Queued,
    away: Away,
    events_over: bool,
    log_over: bool,
    lost: bool,
}

impl Watch<'_> {
    async fn run(&mut self, deadline: Instant) -> Result<(), Failure> {
        let mut tick = tokio::time::interval(TICK);
        let interrupt = tokio::signal::ctrl_c();
        tokio::pin!(interrupt);
        while !(self.events_over && self.log_over) {
            tokio::select! {
                biased;
                _ = &mut interrupt => return Err(self.detached()),
                () = tokio::time::sleep_until(deadline) => return Err(self.timed_out()),
                followed = self.events.next(), if !self.events_over => {
                    self.on_events(followed?).await?;
                }
                followed = next_of(&mut self.log), if !self.log_over => self.on_log(followed?)?,
                () = self.queued.due(), if !self.events_over => self.look().await,
                () = self.away.due(), if !self.events_over => self.look_for_away().await,
                _ = tick.tick() => self.screen.tick(&self.picture),
            }
        }
        Ok(())
    }

    /// Says why the task has not begun, if that has changed.
    async fn look(&mut self) {
        if let Some(why) = self.queued.look(self.client, &self.number).await {
            self.screen.note(&self.picture, &why);
        }
    }

    /// Says which agents with work are away, if that has changed.
    async fn look_for_away(&mut self) {
        if let Some(who) = self.away.look(self.client, &self.number).await {
            self.screen.note(&self.picture, &who);
        }
    }

    async fn on_events(&mut self, followed: Followed) -> Result<(), Failure> {
        match followed {
            Followed::Event(event) if event.name == "done" => {
                self.picture.task = parse(&event)?;
            }
            Followed::Event(event) => {
                self.found();
                let event: TaskEvent = parse(&event)?;
                let begins = event.kind == TaskEventKind::Task
                    && event.task_state == Some(TaskState::Running);
                if begins {
                    self.queued.begun();
                }
                if begins && let Ok(detail) = self.client.task(&self.number).await {
                    self.picture.begin(detail);
                }
                self.picture.apply(&event);
                self.screen.event(&self.picture, &event);
            }
            Followed::Lost(error) => self.lose(&error),
            Followed::End => self.events_over = true,
        }
        Ok(())
    }

    fn on_log(&mut self, followed: Followed) -> Result<(), Failure> {
        match followed {
            Followed::Event(event) if event.name == "done" => {}
            Followed::Event(event) => {
                self.found();
                let line: LogLine = parse(&event)?;
                self.picture.note_progress(&line);
                self.screen.line(&self.picture, &line);
            }
            Followed::Lost(error) => self.lose(&error),
            Followed::End => self.log_over = true,
        }
        Ok(())
    }

    fn lose(&mut self, error: &ClientError) {
        if !std::mem::replace(&mut self.lost, true) {
            let text = format!("{error}; the task goes on, trying again");
            self.screen.note(&self.picture, &text);
        }
    }

    fn found(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.screen.note(&self.picture, "connected again");
        }
    }

    /// The task as it stands at the end; the server may be away at just this moment.
    async fn end(&self, deadline: Instant) -> Result<Watched, Failure> {
        let mut backoff = Duration::from_millis(200);
        let detail = loop {
            match self.client.task(&self.number).await {
                Ok(detail) => break detail,
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(error.into()),
            }
        };
        let exit = of_task(detail.task.state).unwrap_or(Exit::Internal);
        Ok(Watched { exit, task: detail })
    }

    fn detached(&self) -> Failure {
        let number = &self.number;
        Failure::new(
            Exit::Interrupted,
            format!("stopped watching; {number} goes on"),
        )
        .with_help(format!(
            "'mantle task wait {number}' watches it again, 'mantle task cancel {number}' stops it"
        ))
    }

    fn timed_out(&self) -> Failure {
        let number = &self.number;
        let why = if self.lost {
            "the server cannot be reached; as far as is known"
        } else {
            "waiting took longer than --timeout;"
        };
        Failure::new(Exit::TimedOut, format!("{why} {number} still runs")).with_help(format!(
            "'mantle task wait {number}' waits on, 'mantle task cancel {number}' stops it"
        ))
    }
}

async fn next_of(log: &mut Option<Follower>) -> Result<Followed, ClientError> {
    match log {
        Some(log) => log.next().await,
        None => Ok(Followed::End),
    }
}

fn parse<T: serde::de::DeserializeOwned>(event: &SseEvent) -> Result<T, Failure> {
    serde_json::from_str(&event.data).map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("the server sent an event that this client does not understand: {error}"),
        )
    })
}

/// Prints a log line by line to its end or, without `follow`, to what there is now. Whoever follows a
/// task that has not begun is told why.
pub(in crate::cli) async fn print_log(
    client: &Client,
    number: &str,
    after: u64,
    follow: bool,
    mut print: impl FnMut(LogLine) -> Result<(), Failure>,
) -> CliResult {
    if !follow {
        let mut after = after;
        loop {
            let page = client.task_log(number, after).await?;
            let last = page.items.last().map(|line| line.seq);
            for line in page.items {
                print(line)?;
            }
            let next = page.next.and_then(|next| next.parse().ok());
            match next.or(last) {
                Some(next) if next > after && next != 0 => after = next,
                _ => return Ok(Exit::Success),
            }
        }
    }
    let mut follower = client.follow_log(number, after);
    let mut queued = Queued::unknown();
    loop {
        let followed = tokio::select! {
            followed = follower.next() => followed?,
            () = queued.due() => {
                if let Some(why) = queued.look(client, number).await {
                    super::output::line_err(&why);
                }
                continue;
            }
        };
        match followed {
            Followed::Event(event) if event.name == "done" => {}
            Followed::Event(event) => print(parse(&event)?)?,
            Followed::Lost(error) => {
                super::output::line_err(&format!("{error}; trying again"));
            }
            Followed::End => return Ok(Exit::Success),
        }
    }
}
