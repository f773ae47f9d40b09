//! The person of the run: answers what is asked, and says how work ended of which nobody knows.
//!
//! Neither may cost a step that runs twice or a verdict that contradicts a journal. What a person says of
//! an attempt whose agent is away is a guess: the attempt may live, and the agent's word may come later.

use mantle::api::body::{
    Interruption, InterruptionAnswer, InterruptionKind, TaskDetail, TaskResolve, WorkState,
};
use mantle::client::Client;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::Shared;
use super::work::Worked;

/// A question is answered in one of so many looks.
const ANSWER_ONE_IN: u32 = 3;
/// Of a task that is over it is said in one of so many looks how its work ended.
const RESOLVE_ONE_IN: u32 = 8;
/// And of work that runs on an agent which is away: rarely, for most agents come back in time.
const GUESS_ONE_IN: u32 = 60;

/// Answers some of what is asked.
pub(super) async fn answer(client: &Client, dice: &mut StdRng, worked: &mut Worked) {
    let Ok(open) = client.interruptions(None).await else {
        return;
    };
    for asked in open.items {
        if !dice.random_ratio(1, ANSWER_ONE_IN) {
            continue;
        }
        let body = InterruptionAnswer {
            answer: choice(&asked, dice),
            notes: String::new(),
        };
        // A server that dies meanwhile may have taken it; the next look tells.
        if client.interruption_answer(&asked.id, &body).await.is_ok() {
            worked.answers += 1;
        }
    }
}

/// What may go on does, and what is known to fail once is tried again; of anything else one of the choices.
fn choice(asked: &Interruption, dice: &mut StdRng) -> String {
    let meant = match asked.kind {
        InterruptionKind::Manual | InterruptionKind::Pause => "proceed",
        InterruptionKind::Failure if asked.project == "asks" => "retry",
        InterruptionKind::Failure => "",
    };
    if asked.choices.iter().any(|choice| choice == meant) {
        return meant.to_owned();
    }
    let at = dice.random_range(0..asked.choices.len().max(1));
    asked.choices.get(at).cloned().unwrap_or_default()
}

/// Says of a task how work ended of which nobody knows.
pub(super) async fn resolve(
    client: &Client,
    shared: &Shared,
    task: &TaskDetail,
    dice: &mut StdRng,
    worked: &mut Worked,
) {
    if task.unresolved.is_empty() {
        return;
    }
    let lives = |state| !matches!(state, WorkState::Unknown | WorkState::Abandoned);
    let guess = task.unresolved.iter().any(|one| lives(one.state));
    let one_in = if guess { GUESS_ONE_IN } else { RESOLVE_ONE_IN };
    if !dice.random_ratio(1, one_in) {
        return;
    }
    let ended = if dice.random_bool(0.5) {
        "failed"
    } else {
        "succeeded"
    };
    let body = TaskResolve {
        ended: ended.to_owned(),
        reason: "nobody else will say".to_owned(),
        target: None,
    };
    let number = &task.task.number;
    // Noted before the answer is there: it may be taken in and the answer be lost.
    shared.resolved.lock().unwrap().insert(number.clone());
    if let Ok(done) = client.task_resolve(number, &body).await {
        worked.resolutions += done.resolved.len() as u64;
    }
}
