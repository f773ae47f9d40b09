//! Run conditions: which hold when, and that they are judged on the state as it is when they are
//! asked, which the same input may have taken further.

use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::interruption::{Answer, Question};
use crate::plan::{Eyes, PlanAction, PlanStep};
use crate::process::RunCondition;

#[test]
fn run_conditions_of_steps() {
    use RunCondition::{Always, Failure, Success, Template};
    let template = || Template("#{X}".to_owned());
    // (condition, something failed before, templates are true) -> it runs
    let table = [
        (Success, false, true, true),
        (Success, true, true, false),
        (Failure, false, true, false),
        (Failure, true, true, true),
        (Always, false, true, true),
        (Always, true, true, true),
        (template(), false, true, true),
        (template(), true, true, true),
        (template(), false, false, false),
    ];
    for (condition, failed, conditions, runs) in table {
        let second = PlanStep {
            run: condition.clone(),
            ..a_step("t", &[1], vec![an_action("b", &[1])])
        };
        let plan = a_plan(
            &[1],
            vec![a_step("s", &[1], vec![an_action("a", &[1])]), second],
        );
        let mut run = Run::of(plan);
        run.conditions = conditions;
        run.end(
            "a@web01",
            if failed {
                Outcome::Failed
            } else {
                Outcome::Succeeded
            },
        );
        assert_eq!(
            run.live_names() == ["b@web01"],
            runs,
            "{condition:?} failed={failed}"
        );
        if runs {
            run.end("b@web01", Outcome::Succeeded);
        }
        let verdict = if failed {
            Verdict::Failed
        } else {
            Verdict::Succeeded
        };
        assert_eq!(
            run.verdict(),
            Some(verdict),
            "a later success heals no failure"
        );
    }
}

fn template(text: &str) -> RunCondition {
    RunCondition::Template(text.to_owned())
}

/// The live attempt of this name ends with an output variable.
fn end_with_output(run: &mut Run, name: &str, outcome: Outcome) {
    let attempt = run.attempt(name);
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Accepted,
    });
    run.input(Input::AttemptEnded {
        attempt,
        end: an_end(outcome),
        outputs: vec![OutputVariable {
            action: "a".to_owned(),
            subject: "web01".to_owned(),
            name: "Url".to_owned(),
            value: "yes".to_owned(),
            sealed_by: None,
        }],
        stored: 0,
    });
}

#[test]
fn a_condition_sees_the_outputs_and_the_failure_of_the_attempt_that_has_just_ended() {
    use Outcome::{Failed, Succeeded};
    // (condition, how the action before ended, it runs)
    let table = [
        (KNOWS_OUTPUTS, Succeeded, true),
        (KNOWS_OUTPUTS, Failed, true),
        (NO_FAILURE, Succeeded, true),
        (NO_FAILURE, Failed, false),
    ];
    for (condition, outcome, runs) in table {
        let before = || an_action("a", &[1]);
        let by_step = vec![
            a_step("s", &[1], vec![before()]),
            PlanStep {
                run: template(condition),
                ..a_step("t", &[1], vec![an_action("b", &[1])])
            },
        ];
        let by_action = vec![a_step(
            "s",
            &[1],
            vec![
                before(),
                PlanAction {
                    run: template(condition),
                    ..an_action("b", &[1])
                },
            ],
        )];
        for (place, steps) in [("step", by_step), ("action", by_action)] {
            let mut run = Run::of(a_plan(&[1], steps));
            end_with_output(&mut run, "a@web01", outcome);
            let told = format!("{condition} of a {place} after {outcome:?}");
            assert_eq!(run.live_names() == ["b@web01"], runs, "{told}");
            assert_eq!(run.state.is_finished(), !runs, "{told}");
        }
    }
}

#[test]
fn an_action_looks_at_what_failed_about_its_own_target_and_in_the_steps_before() {
    let guarded = PlanAction {
        run: template(NO_FAILURE),
        ..an_action("b", &[1, 2])
    };
    let step = a_step("s", &[1, 2], vec![an_action("a", &[1, 2]), guarded.clone()]);
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    run.end("a@web01", Outcome::Failed);
    run.end("a@web02", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["b@web02"]);

    let first = a_step("s", &[1], vec![an_action("a", &[1])]);
    let second = PlanStep {
        run: RunCondition::Always,
        ..a_step("t", &[1, 2], vec![guarded])
    };
    let mut run = Run::of(a_plan(&[1, 2], vec![first, second]));
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.verdict(), Some(Verdict::Failed), "b ran on neither");
    assert_eq!(run.state.attempts.len(), 1);
}

#[test]
fn instructions_tell_what_the_attempt_that_has_just_ended_set() {
    let plan = a_plan(
        &[1],
        vec![
            a_step("s", &[1], vec![an_action("a", &[1])]),
            a_manual_step("sign", 1, Eyes::Any),
        ],
    );
    let mut run = Run::of(plan);
    end_with_output(&mut run, "a@web01", Outcome::Succeeded);
    let Question::Manual { instructions, .. } = &run.state.interruptions[&1].question else {
        panic!("{:?}", run.state.interruptions);
    };
    assert_eq!(instructions, "look at action 0, outputs: 1");
    run.answer(1, "bob", Answer::Proceed);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}
