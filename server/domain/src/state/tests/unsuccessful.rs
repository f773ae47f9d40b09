//! Which targets a later deployment of the failed ones is about.

use mantle_shared::ids::AttemptId;
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::{LeftOutReason, PlanLeftOut, PlanStep};
use crate::process::{OnFailure, RunCondition};

fn names(run: &Run) -> Vec<String> {
    unsuccessful(&run.state).into_iter().collect()
}

#[test]
fn what_failed_what_was_not_begun_and_what_was_away_is_not_done() {
    let farm = a_rolling_step(&[1, 2, 3], 1, &["a"]);
    let other = a_step("other", &[4], vec![an_action("b", &[4])]);
    let repair = PlanStep {
        run: RunCondition::Failure,
        ..a_step("repair", &[1], vec![an_action("repair", &[1])])
    };
    let mut plan = a_plan(&[1, 2, 3, 4], vec![farm, other, repair]);
    plan.left_out = [
        ("web08", LeftOutReason::Unavailable),
        ("web09", LeftOutReason::Excluded),
    ]
    .map(|(name, why)| PlanLeftOut {
        id: target(9),
        name: name.to_owned(),
        agent: None,
        why,
        note: String::new(),
    })
    .into();
    let mut run = Run::of(plan.clone());
    run.end("a@web01", Outcome::Succeeded);
    run.end("a@web02", Outcome::Failed);
    run.end("repair@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(names(&run), ["web02", "web03", "web04", "web08"]);

    // What runs after a failure only was not missed where nothing failed.
    plan.left_out.clear();
    let mut run = Run::of(plan);
    for name in ["a@web01", "a@web02", "a@web03", "b@web04"] {
        run.end(name, Outcome::Succeeded);
    }
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(names(&run), [""; 0]);
    assert_eq!(unsuccessful(&State::default()).len(), 0);
}

/// Ann says after the end how an attempt of which nobody knew had ended.
fn resolve_after_end(run: &mut Run, attempt: AttemptId, ended: ResolvedAs) {
    let said = Event::AttemptResolved {
        attempt,
        ended,
        by: "ann".to_owned(),
        reason: "looked".to_owned(),
        at: run.now,
    };
    evolve(&mut run.state, &said);
}

#[test]
fn what_a_person_resolved_as_succeeded_is_not_done_again() {
    let farm = |actions: &[&str]| PlanStep {
        on_failure: OnFailure::Continue,
        ..a_rolling_step(&[1, 2], 1, actions)
    };
    for (actions, after, ended, agent_says, left) in [
        (&["a"][..], false, ResolvedAs::Succeeded, None, &[][..]),
        (&["a"], false, ResolvedAs::Failed, None, &["web01"]),
        // The agent knows better, whoever says it first.
        (
            &["a"],
            false,
            ResolvedAs::Succeeded,
            Some(Outcome::Failed),
            &["web01"],
        ),
        // What was not begun for it is still to be done.
        (&["a", "b"], false, ResolvedAs::Succeeded, None, &["web01"]),
        (
            &["a"],
            true,
            ResolvedAs::Succeeded,
            None,
            &["web01", "web02"],
        ),
    ] {
        let mut steps = vec![farm(actions)];
        if after {
            steps.push(a_step("after", &[1, 2], vec![an_action("after", &[1, 2])]));
        }
        let mut run = Run::of(a_plan(&[1, 2], steps));
        let lost = run.attempt("a@web01");
        run.input(Input::AgentRevoked { agent: agent(1) });
        for action in actions {
            run.end(&format!("{action}@web02"), Outcome::Succeeded);
        }
        assert_eq!(run.verdict(), Some(Verdict::Failed));
        assert!(names(&run).contains(&"web01".to_owned()));
        resolve_after_end(&mut run, lost, ended);
        if let Some(outcome) = agent_says {
            let late = Event::AttemptFinishedLate {
                attempt: lost,
                end: an_end(outcome),
                at: run.now,
                outputs: Vec::new(),
            };
            evolve(&mut run.state, &late);
        }
        assert_eq!(names(&run), left, "{actions:?} {after} {ended:?}");
    }
    // Said while somebody was asked, it went on as if it had gone well.
    let mut run = Run::of(guided(a_plan(&[1, 2], vec![farm(&["a"])])));
    let lost = run.attempt("a@web01");
    run.input(Input::AgentRevoked { agent: agent(1) });
    assert_eq!(run.asked(), [1]);
    run.resolve(lost, ResolvedAs::Succeeded);
    run.end("a@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(names(&run), [""; 0]);
}
