//! Where the state machine meets people: a node that did not go well may ask, an answer comes in,
//! and what was asked and answered is folded.
//!
//! What must hold: whoever waits for a person holds nothing and runs nothing, and the clocks of its
//! step and of the deployment stand as long as anything that they were asked is open.

use jiff::{SignedDuration, Timestamp};
use mantle_shared::protocol::Outcome;

use super::decide::after;
use super::event::{Event, NodeEnd};
use super::input::{Illegal, Moment};
use super::model::{Exclusion, Interruption, NodeState, Phase, State, StepState, SubjectState};
use crate::interruption::{Answer, Given, Question};
use crate::plan::{Guidance, NodeRef, Plan};

/// A node ended in this way and is not tried again by itself: it is over, or a person is asked.
pub(super) fn ended(
    (state, plan, moment): (&State, &Plan, &Moment<'_>),
    node: NodeRef,
    end: NodeEnd,
) -> Event {
    if !is_asked_about(state, plan, node, end.outcome) {
        return Event::NodeFinished {
            node,
            end,
            at: moment.now,
            waived_by: None,
        };
    }
    let required = plan.step(node.step).is_some_and(|step| step.required);
    raised(
        moment,
        Question::Failure {
            node,
            outcome: end.outcome,
            message: end.message,
            required,
        },
        after(moment.now, moment.policy.person),
    )
}

/// A question; its number is given when it is taken in.
pub(super) fn raised(moment: &Moment<'_>, question: Question, deadline: Timestamp) -> Event {
    Event::InterruptionRaised {
        number: 0,
        at: moment.now,
        question,
        deadline,
    }
}

/// A failure is a person's to judge where failures are guided, and on a way back; not what was stopped on purpose, nor
/// what comes of a step or a deployment that is to stop.
fn is_asked_about(state: &State, plan: &Plan, node: NodeRef, outcome: Outcome) -> bool {
    let went_wrong = match outcome {
        Outcome::Failed
        | Outcome::TimedOut
        | Outcome::NotStarted
        | Outcome::Interrupted
        | Outcome::Unknown
        | Outcome::Abandoned => true,
        Outcome::Succeeded | Outcome::Cancelled => false,
    };
    let subject = plan.node(node).map(|planned| planned.subject);
    // What cannot be undone is always a person's to judge.
    let is_way_back = plan.step(node.step).is_some_and(|step| step.back.is_some());
    went_wrong
        && (plan.guidance == Guidance::Guided || is_way_back)
        && state.cancel.is_none()
        && state.step_stop(node.step).is_none()
        && subject.is_some_and(|subject| !state.excluded.contains_key(&subject))
}

/// Somebody answered. An answer to what is over, or one that was given before, changes nothing.
pub(super) fn answered(state: &State, number: u32, given: Given) -> Result<Vec<Event>, Illegal> {
    match state.phase {
        Phase::Queued => return Err(Illegal::NotBegun),
        Phase::Running => {}
        Phase::Finished { .. } => return Ok(Vec::new()),
    }
    let known = state
        .interruptions
        .get(&number)
        .ok_or(Illegal::UnknownInterruption { number })?;
    let same = |one: &Given| one.by == given.by && one.answer == given.answer;
    let offered =
        known.question.choices().contains(&given.answer) || given.answer == Answer::Withdrawn;
    if known.closed.is_some() || !offered || known.given.iter().any(same) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::InterruptionAnswered { number, given }])
}

/// Folds what people were asked and answered.
pub(super) fn evolve_interruption(state: &mut State, event: &Event) {
    match event {
        Event::InterruptionRaised {
            number,
            at,
            question,
            deadline,
        } => {
            if let Some(node) = question.node() {
                let asking = NodeState::Asking {
                    interruption: *number,
                };
                state.nodes.insert(node, asking);
            }
            let step = question.step();
            let interruption = Interruption {
                question: question.clone(),
                since: *at,
                deadline: *deadline,
                given: Vec::new(),
                closed: None,
            };
            state.interruptions.insert(*number, interruption);
            stand(state, step, *at);
        }
        Event::InterruptionAnswered { number, given } => {
            if let Some(known) = state.interruptions.get_mut(number) {
                known.given.push(given.clone());
            }
        }
        Event::InterruptionClosed {
            number,
            at,
            how,
            outputs,
        } => {
            state.outputs.extend(outputs.iter().cloned());
            if let Some(known) = state.interruptions.get_mut(number) {
                known.closed = Some(*how);
                let step = known.question.step();
                go_on(state, step, *at);
            }
        }
        Event::SubjectExcluded {
            step, subject, by, ..
        } => {
            let (step, by) = (*step, by.clone());
            state.excluded.insert(*subject, Exclusion { step, by });
            // What failed about it before does not count either.
            for step in &mut state.steps {
                if let StepState::Running { subjects, .. } = step
                    && let Some(SubjectState::Active { failed, .. }) = subjects.get_mut(subject)
                {
                    *failed = false;
                }
            }
        }
        _ => {}
    }
}

/// The clocks stand.
fn stand(state: &mut State, step: u32, at: Timestamp) {
    state.stands_since.get_or_insert(at);
    if let Some(StepState::Running { stands_since, .. }) = state.steps.get_mut(step as usize) {
        stands_since.get_or_insert(at);
    }
}

/// The clocks go on where nothing else that was asked is open: what time they stood is not counted.
fn go_on(state: &mut State, step: u32, at: Timestamp) {
    let all_answered = state.open_interruptions().next().is_none();
    let in_step = |(_, one): &(u32, &Interruption)| one.question.step() == step;
    let step_answered = !state.open_interruptions().any(|one| in_step(&one));
    if all_answered && let Some(since) = state.stands_since.take() {
        let stood = stood(since, at);
        state.end_by = state.end_by.map(|end_by| after(end_by, stood));
        state.stood = state.stood.saturating_add(stood);
    }
    if step_answered
        && let Some(StepState::Running {
            end_by,
            stood: in_all,
            stands_since,
            ..
        }) = state.steps.get_mut(step as usize)
        && let Some(since) = stands_since.take()
    {
        let stood = stood(since, at);
        *end_by = end_by.map(|end_by| after(end_by, stood));
        *in_all = in_all.saturating_add(stood);
    }
}

/// How long a clock stood.
fn stood(since: Timestamp, until: Timestamp) -> SignedDuration {
    until.duration_since(since).max(SignedDuration::ZERO)
}
