//! Run conditions: which hold when, and that they are judged on the state as it is when they are
//! asked, which the same input may have taken further.

use mantle_shared::protocol::Outcome;

use super::super::view::Status;
use super::super::*;
use super::builders::*;
use crate::interruption::{Answer, Question};
use crate::plan::{Eyes, Plan, PlanAction, PlanStep};
use crate::process::{RunCondition, Start};

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

/// One plan whose step `t`, and one whose action `b`, cannot be judged. Both have what runs always.
fn unjudged(of_step: bool) -> Plan {
    let after = PlanAction {
        run: RunCondition::Always,
        ..an_action("c", &[1, 2])
    };
    let before = a_step("s", &[1, 2], vec![an_action("a", &[1, 2])]);
    let mut middle = a_step("t", &[1, 2], vec![an_action("b", &[1, 2]), after]);
    if of_step {
        middle.run = template(UNJUDGEABLE);
    } else {
        middle.actions[0].run = template(UNJUDGEABLE);
    }
    let repair = PlanStep {
        run: RunCondition::Failure,
        ..a_step("u", &[1, 2], vec![an_action("d", &[1, 2])])
    };
    let publish = a_step("v", &[1, 2], vec![an_action("e", &[1, 2])]);
    a_plan(&[1, 2], vec![before, middle, repair, publish])
}

const WHY: &str = "its condition '#{Nope}' cannot be judged: it has no value";

#[test]
fn a_step_whose_condition_cannot_be_judged_has_failed_and_none_of_its_actions_runs() {
    for plan in [unjudged(true), guided(unjudged(true))] {
        let mut run = Run::of(plan);
        run.end("a@web01", Outcome::Succeeded);
        run.end("a@web02", Outcome::Succeeded);
        assert_eq!(run.live_names(), ["d@web01", "d@web02"], "after a failure");
        assert_eq!(run.asked(), [0; 0], "no answer would change it");
        run.end("d@web01", Outcome::Succeeded);
        run.end("d@web02", Outcome::Succeeded);
        assert_eq!(run.verdict(), Some(Verdict::Failed));
        assert_eq!(run.message(), format!("'t' was not run: {WHY}"));
        let shown = view::progress(&run.state);
        let step = &shown.steps[1];
        assert_eq!((step.status, step.message.as_str()), (Status::Failed, WHY));
        for subject in &step.subjects {
            assert_eq!(subject.status, Status::NotStarted);
            for action in &subject.actions {
                assert_eq!(action.status, Status::NotStarted, "{action:?}");
                assert_eq!(action.message, WHY);
            }
        }
        assert_eq!(shown.steps[3].status, Status::Skipped);
        assert_eq!(unsuccessful(&run.state).len(), 2);
    }
}

#[test]
fn an_action_whose_condition_cannot_be_judged_has_failed_about_its_target() {
    for plan in [unjudged(false), guided(unjudged(false))] {
        let mut run = Run::of(plan);
        run.end("a@web01", Outcome::Succeeded);
        run.end("a@web02", Outcome::Succeeded);
        assert_eq!(run.asked(), [0; 0], "no answer would change it");
        for name in ["c@web01", "c@web02", "d@web01", "d@web02"] {
            run.end(name, Outcome::Succeeded);
        }
        assert_eq!(run.verdict(), Some(Verdict::Failed));
        let said = format!("'b' was not started on web01: {WHY}");
        assert_eq!(run.message(), said);
        let shown = view::progress(&run.state);
        assert_eq!(shown.steps[1].status, Status::Failed);
        let action = &shown.steps[1].subjects[0].actions[0];
        assert_eq!((action.status, action.attempts), (Status::NotStarted, 0));
        assert_eq!(action.message, WHY);
    }
}

#[test]
fn what_could_not_be_judged_before_a_cancel_stays_a_failure() {
    let mut run = Run::of(unjudged(true));
    run.end("a@web01", Outcome::Succeeded);
    run.end("a@web02", Outcome::Succeeded);
    run.input(Input::CancelRequested {
        by: "bob".to_owned(),
    });
    assert_eq!(view::progress(&run.state).steps[1].status, Status::Failed);
}

#[test]
fn steps_that_start_together_fail_each_by_its_own_condition() {
    let second = PlanStep {
        run: template(UNJUDGEABLE),
        start: Start::WithPrevious,
        ..a_step("t", &[1], vec![an_action("b", &[1])])
    };
    let first = a_step("s", &[1], vec![an_action("a", &[1])]);
    let third = a_step("u", &[1], vec![an_action("c", &[1])]);
    let mut run = Run::of(a_plan(&[1], vec![first, second, third]));
    assert_eq!(run.live_names(), ["a@web01"]);
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message(), format!("'t' was not run: {WHY}"));
}

#[test]
fn of_what_failed_in_one_moment_the_first_step_is_told() {
    let first = PlanStep {
        run: template(UNJUDGEABLE),
        ..a_step("s", &[1], vec![an_action("a", &[1])])
    };
    let unjudged = PlanAction {
        run: template(UNJUDGEABLE),
        ..an_action("b", &[1])
    };
    let second = PlanStep {
        run: RunCondition::Always,
        ..a_step("t", &[1], vec![unjudged])
    };
    let run = Run::of(a_plan(&[1], vec![first.clone(), second.clone()]));
    assert_eq!(run.message(), format!("'s' was not run: {WHY}"));
    let run = Run::of(a_plan(&[1], vec![second, first]));
    let said = format!("'b' was not started on web01: {WHY}");
    assert_eq!(run.message(), said);
}
