//! Every long-lived task of the server, with what its end means.
//!
//! A server stands on all its long-lived tasks: one that ends or panics before it was asked to
//! stop brings the server down in good order, so that its service manager starts it anew and
//! recovery makes things good. Nothing limps on half alive. Stopping has two stages: first what
//! takes in new work ends, then what finishes the work that was taken in.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long each stage may take before its tasks are dropped. Everything that was acknowledged is
/// on disk by then; service managers commonly kill after 90 s.
const STAGE_GRACE: Duration = Duration::from_secs(20);

/// What a long-lived task answers when it ends.
pub type TaskResult = Result<(), Box<dyn StdError + Send + Sync>>;

/// A long-lived task ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("the server stops because its task '{task}' ended: {why}")]
pub struct TaskEnded {
    /// Which task.
    pub task: &'static str,
    /// How it ended.
    pub why: String,
}

/// When a task is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It takes in work from outside: it stops first.
    Intake,
    /// It carries out and commits what was taken in: it stops when no intake is left.
    Work,
}

/// Owns the long-lived tasks.
#[derive(Debug, Default)]
pub struct Supervisor {
    intake: Group,
    work: Group,
}

#[derive(Debug, Default)]
struct Group {
    stop: CancellationToken,
    tasks: JoinSet<TaskResult>,
    names: Vec<(Id, &'static str)>,
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that is cancelled when tasks of a stage are to stop.
    pub fn stop_token(&self, stage: Stage) -> CancellationToken {
        match stage {
            Stage::Intake => self.intake.stop.clone(),
            Stage::Work => self.work.stop.clone(),
        }
    }

    /// Starts a task. It must end soon after its stage's token is cancelled, and not before.
    pub fn spawn<F>(&mut self, stage: Stage, name: &'static str, task: F)
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let group = match stage {
            Stage::Intake => &mut self.intake,
            Stage::Work => &mut self.work,
        };
        let handle = group.tasks.spawn(task);
        group.names.push((handle.id(), name));
    }

    /// Runs until `shutdown` is ready or a task ends by itself; then stops everything in order.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), TaskEnded> {
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            ended = self.intake.first_end() => Err(ended),
            ended = self.work.first_end() => Err(ended),
        };
        self.intake.drain().await;
        self.work.drain().await;
        outcome
    }
}

impl Group {
    /// Waits until a task ends; forever if there is none.
    async fn first_end(&mut self) -> TaskEnded {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.describe(ended),
            None => std::future::pending().await,
        }
    }

    fn describe(&self, ended: Result<(Id, TaskResult), JoinError>) -> TaskEnded {
        let (id, why) = match ended {
            Ok((id, Ok(()))) => (id, "it returned".to_owned()),
            Ok((id, Err(error))) => (id, chain(&*error)),
            Err(error) => (error.id(), error.to_string()),
        };
        let named = self.names.iter().find(|(known, _)| *known == id);
        let task = named.map_or("unnamed", |(_, name)| name);
        TaskEnded { task, why }
    }

    async fn drain(&mut self) {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                if !matches!(ended, Ok((_, Ok(())))) {
                    let TaskEnded { task, why } = self.describe(ended);
                    tracing::error!(
                        task.name = task,
                        error = why,
                        "a task failed while stopping"
                    );
                }
            }
        };
        if tokio::time::timeout(STAGE_GRACE, all).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "tasks did not stop in time and are dropped"
            );
            self.tasks.shutdown().await;
        }
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_unasked_stops_the_server_and_is_named() {
        let mut supervisor = Supervisor::new();
        let stop = supervisor.stop_token(Stage::Work);
        supervisor.spawn(Stage::Work, "orchestrator", async move {
            stop.cancelled().await;
            Ok(())
        });
        supervisor.spawn(Stage::Intake, "https", async {
            Err("no sockets left".into())
        });
        let ended = supervisor.run_until(std::future::pending()).await;
        assert_eq!(
            ended.unwrap_err().to_string(),
            "the server stops because its task 'https' ended: no sockets left"
        );
    }

    #[tokio::test]
    async fn work_stops_only_after_all_intake_has_stopped() {
        let mut supervisor = Supervisor::new();
        let (intake, work) = (
            supervisor.stop_token(Stage::Intake),
            supervisor.stop_token(Stage::Work),
        );
        let seen = work.clone();
        supervisor.spawn(Stage::Intake, "https", async move {
            intake.cancelled().await;
            tokio::task::yield_now().await;
            if seen.is_cancelled() {
                return Err("work was stopped first".into());
            }
            Ok(())
        });
        let (sender, receiver) = tokio::sync::oneshot::channel();
        supervisor.spawn(Stage::Work, "orchestrator", async move {
            work.cancelled().await;
            let _ = sender.send(());
            Ok(())
        });
        supervisor.run_until(async {}).await.unwrap();
        receiver.await.unwrap();
    }
}
