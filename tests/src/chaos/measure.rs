//! How long a killed server is missed: until the agents are back, and until deployments carry on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mantle::api::body::TargetState;
use mantle::client::Client;
use tokio::time::Instant;

use super::workload::{is_about, project};
use super::{Shared, agent_name};

/// What takes longer is written down as this long.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long it took, after each start of a killed server.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Until every agent that nothing else happened to was connected again.
    pub(super) back: Mutex<Vec<Duration>>,
    /// Until each task that was under way, and whose agents nothing else happened to, moved.
    pub(super) on: Mutex<Vec<Duration>>,
}

/// How far a task was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    number: String,
    project: String,
    event: u64,
    lines: u64,
}

/// Measures from now, when the server listens in this life.
pub(super) async fn recovery(client: Client, shared: Arc<Shared>, life: u64, times: Arc<Times>) {
    let (began, began_at) = (Instant::now(), Timestamp::now());
    let before = shared.disturbances();
    // A server without room cannot commit that an agent is there: what that takes is another matter.
    let same_life = || {
        *shared.life.borrow() == Some(life) && !shared.server_was_full(began_at, Timestamp::now())
    };
    let calm = |agent: usize| {
        before.get(agent).is_some_and(|count| count % 2 == 0)
            && shared.disturbances().get(agent) == before.get(agent)
    };
    let marks = marks(&client, &shared).await;
    let mut back = None;
    let mut waiting = marks;
    while same_life() && (back.is_none() || !waiting.is_empty()) {
        let waited = began.elapsed();
        if back.is_none() && (waited > PATIENCE || all_online(&client, before.len(), calm).await) {
            back = Some(waited.min(PATIENCE));
        }
        let mut still = Vec::new();
        for mark in waiting {
            let undisturbed = project(&mark.project)
                .is_some_and(|p| (0..before.len()).all(|agent| !is_about(p, agent) || calm(agent)));
            if !undisturbed {
                continue;
            }
            if waited > PATIENCE || moved(&client, &mark).await {
                if !same_life() {
                    return;
                }
                times.on.lock().unwrap().push(began.elapsed().min(PATIENCE));
            } else {
                still.push(mark);
            }
        }
        waiting = still;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if same_life()
        && let Some(back) = back
    {
        times.back.lock().unwrap().push(back);
    }
}

async fn all_online(client: &Client, agents: usize, calm: impl Fn(usize) -> bool) -> bool {
    let Ok(targets) = client.targets(None, None).await else {
        return false;
    };
    (0..agents).filter(|agent| calm(*agent)).all(|agent| {
        let name = agent_name(agent);
        let mut items = targets.items.iter();
        items.any(|target| target.name == name && target.state == TargetState::Online)
    })
}

/// The tasks that were under way when the server came back, as it found them.
async fn marks(client: &Client, shared: &Shared) -> Vec<Mark> {
    let open = shared.open.lock().unwrap().clone();
    let mut marks = Vec::new();
    for number in open {
        if let Ok(task) = client.task(&number).await
            && !task.task.state.is_over()
            && !task.steps.is_empty()
        {
            let lines = last_line(client, &number, 0).await;
            marks.push(Mark {
                project: task.task.project,
                event: task.last_event,
                lines,
                number,
            });
        }
    }
    marks
}

async fn moved(client: &Client, mark: &Mark) -> bool {
    let Ok(task) = client.task(&mark.number).await else {
        return false;
    };
    task.task.state.is_over()
        || task.last_event > mark.event
        || last_line(client, &mark.number, mark.lines).await > mark.lines
}

async fn last_line(client: &Client, number: &str, after: u64) -> u64 {
    let mut last = after;
    while let Ok(page) = client.task_log(number, last).await {
        let Some(line) = page.items.last() else {
            break;
        };
        last = line.seq;
        if page.next.is_none() {
            break;
        }
    }
    last
}
