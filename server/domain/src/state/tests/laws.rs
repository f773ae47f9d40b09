//! What must hold of every log, whatever led to it: it is folded event by event, and each is judged
//! by the state that it met.

use std::collections::BTreeSet;

use mantle_shared::protocol::Outcome;

use super::super::*;

/// Panics if a log breaks a law.
pub(super) fn hold(log: &[Event]) {
    let mut state = State::default();
    let mut ordered = BTreeSet::new();
    for event in log {
        judge(&state, event, &mut ordered);
        evolve(&mut state, event);
    }
}

fn judge(state: &State, event: &Event, ordered: &mut BTreeSet<mantle_shared::ids::AttemptId>) {
    match event {
        Event::StepStarted { step, .. } | Event::StepSkipped { step, .. } => {
            its_turn(state, *step);
        }
        Event::SubjectStarted { step, subject, .. } => {
            within_budget(state, *step);
            let way_back = of_way_back(state, *step, *subject);
            assert!(
                way_back || !state.set_aside.contains_key(subject),
                "a target that was set aside is begun again"
            );
            assert!(
                !state.excluded.contains_key(subject),
                "a target that was excluded is begun again"
            );
        }
        Event::NodeWaiting { node, .. } => {
            // Actions of a subject in order: whatever stands before it about the subject is over.
            let plan = state.plan.as_ref().unwrap();
            let subject = plan.node(*node).unwrap().subject;
            let before = state.nodes.iter().filter(|(other, _)| {
                other.step == node.step
                    && other.action < node.action
                    && plan.node(**other).unwrap().subject == subject
            });
            for (other, known) in before {
                assert!(known.is_over(), "{node:?} begins while {other:?} is open");
            }
        }
        Event::InterruptionRaised {
            number, question, ..
        } => {
            assert_eq!(
                *number as usize,
                state.interruptions.len() + 1,
                "interruptions are counted from 1"
            );
            assert!(state.cancel.is_none(), "a person is asked after a cancel");
            if let Some(node) = question.node() {
                let open = state.live_attempts().any(|(_, other)| other.node == node);
                assert!(!open, "a person is asked while an attempt is open");
            }
        }
        Event::InterruptionClosed { number, .. } => {
            let known = &state.interruptions[number];
            assert_eq!(known.closed, None, "an interruption is closed twice");
        }
        Event::StepTimedOut { step, .. } => {
            let mut open = state.open_interruptions();
            assert!(
                !open.any(|(_, one)| one.question.step() == *step),
                "a step's time is up while a person is awaited"
            );
        }
        Event::DeploymentTimedOut { .. } => {
            let open = state.open_interruptions().count();
            assert_eq!(open, 0, "time is up while a person is awaited");
        }
        Event::AttemptOrdered { attempt, node, .. } => {
            assert!(ordered.insert(*attempt), "an attempt is ordered twice");
            let open = state.live_attempts().any(|(_, other)| other.node == *node);
            assert!(!open, "a node is ordered while an attempt of it is open");
            let last = state.attempts_of(*node).max_by_key(|one| one.number);
            assert!(
                !last.is_some_and(went_well),
                "what is known to have succeeded is ordered again"
            );
            assert!(state.cancel.is_none(), "something starts after a cancel");
            let stop = state.step_stop(node.step);
            assert!(
                stop.is_none(),
                "something starts in a step whose time is up"
            );
        }
        Event::AttemptResolved { attempt, .. } => {
            let known = &state.attempts[attempt];
            assert!(known.is_over(), "what may run is resolved");
            assert!(known.is_unresolved(), "what is known is resolved");
        }
        Event::StepFinished {
            step,
            failed: false,
            ..
        } => {
            let subjects = state.steps[*step as usize].subjects().unwrap();
            let failed = subjects.values().any(SubjectState::has_failed);
            let well = |(target, subject): (_, &SubjectState)| {
                matches!(subject, SubjectState::Done { failed: false, .. })
                    && !state.excluded.contains_key(target)
            };
            assert!(
                !failed || subjects.iter().any(well),
                "a step that went well on no target has succeeded"
            );
        }
        Event::DeploymentFinished { .. } => {
            assert_eq!(state.live_attempts().count(), 0, "it ends under an attempt");
            let open = state.open_interruptions().count();
            assert_eq!(open, 0, "it ends while a person is awaited");
        }
        _ => {}
    }
}

/// A person said that it succeeded, or its agent did and no person the opposite.
fn went_well(attempt: &Attempt) -> bool {
    match (&attempt.resolution, &attempt.end) {
        (Some(said), _) => said.ended == ResolvedAs::Succeeded,
        (None, end) => end
            .as_ref()
            .is_some_and(|end| end.outcome == Outcome::Succeeded),
    }
}

/// Every step before the group is over.
fn its_turn(state: &State, step: u32) {
    let plan = state.plan.as_ref().unwrap();
    let group = plan.group(step as usize);
    for (index, before) in state.steps[..group.start].iter().enumerate() {
        assert!(
            before.is_over(),
            "step {step} begins before {index} is over"
        );
    }
}

/// No more subjects have failed than may, unless the step goes on all the same.
fn within_budget(state: &State, step: u32) {
    let planned = state.plan.as_ref().unwrap().step(step).unwrap();
    let subjects = state.steps[step as usize].subjects().unwrap();
    let failed = subjects.values().filter(|s| s.has_failed()).count();
    if planned.pause_after_first && planned.rolling {
        let begun = subjects.len();
        let asked = state.interruptions.values().find(|one| {
            matches!(&one.question, crate::interruption::Question::Pause { step: at, .. } if *at == step)
        });
        let let_on = asked.is_some_and(|one| {
            one.closed == Some(Closed::Answered(crate::interruption::Answer::Proceed))
        });
        let inside = subjects
            .values()
            .filter(|subject| matches!(subject, SubjectState::Active { .. }))
            .count();
        assert!(
            let_on || (asked.is_none() && inside == 0),
            "target {begun} is begun before a person let the step go on"
        );
    }
    if planned.rolling && planned.on_failure != crate::process::OnFailure::Continue {
        assert!(
            failed <= planned.max_failed as usize,
            "a target is begun after {failed} failed"
        );
    }
}

/// Whether a step is the way back of another, in which case that one failed and has begun with the
/// subject.
fn of_way_back(state: &State, step: u32, subject: mantle_shared::ids::TargetId) -> bool {
    let planned = state.plan.as_ref().unwrap().step(step).unwrap();
    let Some(back) = &planned.back else {
        return false;
    };
    let undone = &state.steps[back.of as usize];
    let StepState::Finished {
        failed: true,
        subjects,
        ..
    } = undone
    else {
        panic!("a way back is begun of a step that has not failed: {undone:?}");
    };
    assert!(
        matches!(subjects.get(&subject), Some(SubjectState::Done { .. })),
        "what was not begun is undone"
    );
    true
}
