//! People are asked: about failures, by manual actions, after a first target. What each answer does,
//! and what time does meanwhile.

use jiff::{SignedDuration, Timestamp};
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::interruption::{Answer, Question};
use crate::plan::{Eyes, Plan, PlanStep};
use crate::process::{Retries, RunCondition, Timeouts};

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

/// Two targets go through two actions, one after the other, then another step is about both.
fn a_guided_farm() -> Plan {
    let after = a_step("after", &[1, 2], vec![an_action("after", &[1, 2])]);
    guided(a_plan(
        &[1, 2],
        vec![a_rolling_step(&[1, 2], 1, &["a", "b"]), after],
    ))
}

fn statuses(run: &Run, step: usize) -> Vec<view::Status> {
    let shown = view::progress(&run.state);
    let subjects = shown.steps[step].subjects.iter();
    subjects.map(|subject| subject.status).collect()
}

#[test]
fn a_failure_waits_for_a_person_and_nothing_new_begins() {
    let mut run = Run::of(a_guided_farm());
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.asked(), [1]);
    assert_eq!(run.live_names(), Vec::<String>::new());
    assert!(run.state.awaits_person());
    assert_eq!(outstanding(&run.state), []);
    let shown = view::progress(&run.state);
    let action = &shown.steps[0].subjects[0].actions[0];
    assert_eq!(action.status, view::Status::Waiting);
    assert_eq!(
        action.message,
        "waits for a person to say what becomes of it; it failed: exit code 3"
    );
    let one = &run.state.interruptions[&1];
    let Question::Failure { outcome, .. } = &one.question else {
        panic!("{one:?}");
    };
    assert_eq!(*outcome, Outcome::Failed);
}

#[test]
fn retry_orders_it_again_as_often_as_somebody_says_so() {
    let mut run = Run::of(a_guided_farm());
    for number in 1..=12 {
        run.end("a@web01", Outcome::Failed);
        assert_eq!(run.asked(), [number]);
        run.answer(number, "ann", Answer::Retry);
        assert!(!run.state.awaits_person());
    }
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["b@web01"]);
    let attempts = run.state.attempts.values().map(|attempt| attempt.number);
    assert_eq!(attempts.max(), Some(13));
}

#[test]
fn ignore_goes_on_with_the_same_target_and_the_end_is_a_success() {
    let mut run = Run::of(a_guided_farm());
    run.end("a@web01", Outcome::Failed);
    run.answer(1, "ann", Answer::Ignore);
    assert_eq!(run.live_names(), ["b@web01"], "its own next action");
    for name in [
        "b@web01",
        "a@web02",
        "b@web02",
        "after@web01",
        "after@web02",
    ] {
        run.end(name, Outcome::Succeeded);
    }
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    let shown = view::progress(&run.state);
    let action = &shown.steps[0].subjects[0].actions[0];
    assert_eq!(
        action.status,
        view::Status::Failed,
        "what was is not hidden"
    );
    assert_eq!(action.message, "exit code 3; ignored by ann");
    assert_eq!(statuses(&run, 0), [view::Status::Succeeded; 2]);
    assert_eq!(
        run.message(),
        "went on although this had failed: 'a' on web01 (ignored by ann)"
    );
}

#[test]
fn exclude_drops_the_target_from_the_rest_and_only_it() {
    let mut run = Run::of(a_guided_farm());
    run.end("a@web01", Outcome::Failed);
    run.answer(1, "ann", Answer::Exclude);
    assert_eq!(run.live_names(), ["a@web02"], "the roll-out goes on");
    run.end("a@web02", Outcome::Succeeded);
    run.end("b@web02", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["after@web02"], "also in later steps");
    run.end("after@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(run.message(), "went on without web01 (by ann)");
    use view::Status::{Failed, Skipped, Succeeded};
    assert_eq!(statuses(&run, 0), [Failed, Succeeded]);
    assert_eq!(statuses(&run, 1), [Skipped, Succeeded]);
    assert_eq!(unsuccessful(&run.state), ["web01".to_owned()].into());
}

#[test]
fn fail_is_what_it_would_be_if_nobody_were_asked() {
    let mut run = Run::of(a_guided_farm());
    run.end("a@web01", Outcome::Failed);
    run.answer(1, "ann", Answer::Fail);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'a' failed on web01: exit code 3; left failed by ann"
    );
}

#[test]
fn what_was_let_pass_is_named_also_where_it_then_ends_badly() {
    let plan = a_guided_farm();
    for cancelled in [true, false] {
        let mut run = Run::of(plan.clone());
        run.end("a@web01", Outcome::Failed);
        run.answer(1, "ann", Answer::Ignore);
        run.end("b@web01", Outcome::Failed);
        if cancelled {
            run.input(Input::CancelRequested {
                by: "bob".to_owned(),
            });
        } else {
            run.answer(2, "ann", Answer::Exclude);
            assert_eq!(run.verdict(), None);
        }
        let mut named = went_on_despite(&run.state);
        let last = named.pop();
        if cancelled {
            assert_eq!(run.verdict(), Some(Verdict::Cancelled));
            let ignored = "went on although this had failed: 'a' on web01 (ignored by ann)";
            assert_eq!(last.as_deref(), Some(ignored));
        } else {
            assert_eq!(last.as_deref(), Some("went on without web01 (by ann)"));
        }
        assert_eq!(named, [""; 0]);
    }
}

#[test]
fn every_bad_end_is_asked_about_and_no_good_one_nor_one_on_purpose() {
    use Outcome::{Abandoned, Cancelled, Failed, Interrupted, Succeeded, TimedOut, Unknown};
    for (outcome, asks) in [
        (Failed, true),
        (TimedOut, true),
        (Interrupted, true),
        (Unknown, true),
        (Abandoned, true),
        (Succeeded, false),
        (Cancelled, false),
    ] {
        let mut run = Run::of(a_guided_farm());
        run.end("a@web01", outcome);
        assert_eq!(!run.asked().is_empty(), asks, "{outcome:?}");
    }
    // An agent that does not come back in time is a failure like another.
    let mut plan = a_guided_farm();
    plan.steps.truncate(1);
    let mut run = Run::of(plan);
    run.end("a@web01", Succeeded);
    run.end("b@web01", Succeeded);
    run.online.remove(&agent(2));
    run.end("a@web02", Succeeded);
    run.after(SignedDuration::from_mins(11));
    assert_eq!(run.asked(), [1]);
    run.online.insert(agent(2));
    run.answer(1, "ann", Answer::Retry);
    assert_eq!(run.live_names(), ["b@web02"]);
}

#[test]
fn retries_come_first_and_a_required_step_cannot_be_passed_by() {
    let mut action = an_action("a", &[1]);
    action.retries = Retries {
        count: 1,
        backoff_ms: 1_000,
        max_backoff_ms: None,
    };
    let step = PlanStep {
        required: true,
        ..a_step("s", &[1], vec![action])
    };
    let mut run = Run::of(guided(a_plan(&[1], vec![step])));
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.asked(), Vec::<u32>::new());
    run.after(seconds(1));
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.asked(), [1]);
    for answer in [Answer::Ignore, Answer::Exclude, Answer::Proceed] {
        assert_eq!(run.answer(1, "ann", answer), [], "{answer}");
    }
    run.answer(1, "ann", Answer::Retry);
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn failures_at_once_are_asked_about_one_by_one() {
    let step = a_step("all", &[1, 2], vec![an_action("a", &[1, 2])]);
    let mut run = Run::of(guided(a_plan(&[1, 2], vec![step])));
    run.now = run.now.checked_add(SignedDuration::from_hours(3)).unwrap();
    // The word of neither came: both are unknown in the same look.
    run.input(Input::Tick);
    assert_eq!(run.asked(), [1, 2]);
    run.answer(2, "ann", Answer::Exclude);
    assert_eq!(run.asked(), [1]);
    run.answer(1, "ann", Answer::Ignore);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn whoever_is_excluded_is_asked_about_nothing_more() {
    use crate::plan::PlanNode;
    let mut drain = an_action("drain", &[]);
    drain.nodes = [8, 9]
        .map(|executor| PlanNode {
            subject: target(1),
            executor: target(executor),
        })
        .to_vec();
    let step = a_step("farm", &[1], vec![drain, an_action("install", &[1])]);
    let mut run = Run::of(guided(a_plan(&[1, 8, 9], vec![step])));
    for (_, _, attempt) in run.live() {
        run.input(Input::AttemptEnded {
            attempt,
            end: an_end(Outcome::Failed),
            outputs: vec![],
            stored: 0,
        });
    }
    assert_eq!(run.asked(), [1, 2], "one for each load balancer");
    run.answer(1, "ann", Answer::Exclude);
    assert_eq!(run.state.interruptions[&2].closed, Some(Closed::Moot));
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn clocks_stand_while_a_person_is_awaited() {
    let step = PlanStep {
        timeout_ms: Some(60_000),
        ..a_step("s", &[1], vec![an_action("a", &[1]), an_action("b", &[1])])
    };
    let mut plan = guided(a_plan(&[1], vec![step]));
    plan.timeouts = Timeouts {
        deployment_ms: Some(90_000),
        ..Timeouts::default()
    };
    let mut run = Run::of(plan);
    run.after(seconds(40));
    run.end("a@web01", Outcome::Failed);
    run.after(SignedDuration::from_hours(100));
    assert_eq!(
        run.asked(),
        [1],
        "neither step nor deployment runs out of time"
    );
    run.answer(1, "ann", Answer::Ignore);
    assert_eq!(run.live_names(), ["b@web01"]);
    run.after(seconds(19));
    assert_eq!(
        run.state.step_stop(0),
        None,
        "20 of its 60 seconds are left"
    );
    run.after(seconds(1));
    assert!(run.state.step_stop(0).is_some());
    run.after(seconds(29));
    assert_eq!(run.state.cancel, None);
    run.after(seconds(1));
    assert!(run.state.cancel.is_some(), "50 of its 90 seconds were left");
}

#[test]
fn clocks_stand_until_the_last_of_several_is_answered() {
    let step = |name: &str, n| PlanStep {
        timeout_ms: Some(60_000),
        ..a_step(name, &[n], vec![an_action(name, &[n])])
    };
    let beside = PlanStep {
        start: crate::process::Start::WithPrevious,
        ..step("b", 2)
    };
    let mut run = Run::of(guided(a_plan(&[1, 2], vec![step("a", 1), beside])));
    let began = run.state.end_by.unwrap();
    run.end("a@web01", Outcome::Failed);
    run.after(seconds(10));
    run.end("b@web02", Outcome::Failed);
    run.after(seconds(10));
    run.answer(1, "ann", Answer::Retry);
    assert!(run.state.stands_since.is_some(), "the other is still open");
    run.after(seconds(10));
    run.answer(2, "ann", Answer::Retry);
    let moved = run.state.end_by.unwrap().duration_since(began);
    assert_eq!(moved, seconds(30));
    let ends: Vec<i64> = run
        .state
        .steps
        .iter()
        .map(|step| match step {
            StepState::Running { end_by, .. } => end_by.unwrap().duration_since(run.now).as_secs(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ends, [50, 50], "each stood for 20 seconds of its own 30");
}

#[test]
fn who_is_not_answered_in_time_gets_what_there_would_be_without_asking() {
    let mut run = Run::of(a_guided_farm());
    run.end("a@web01", Outcome::Failed);
    let week = SignedDuration::from_hours(7 * 24);
    let due = next_deadline(&run.state, run.now, Timestamp::MIN).unwrap();
    assert_eq!(due.duration_since(run.now), week);
    run.after(week);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'a' failed on web01: exit code 3; nobody answered within 7d"
    );
}

#[test]
fn a_cancel_ends_the_wait() {
    let mut run = Run::of(a_guided_farm());
    run.end("a@web01", Outcome::Failed);
    run.input(Input::CancelRequested {
        by: "bob".to_owned(),
    });
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
    assert_eq!(run.state.interruptions[&1].closed, Some(Closed::Cancelled));
    assert_eq!(run.answer(1, "ann", Answer::Retry), [], "it comes too late");
}

#[test]
fn an_answer_to_what_was_never_asked_has_no_place() {
    let mut run = Run::of(a_guided_farm());
    let given = crate::interruption::Given {
        by: "ann".to_owned(),
        answer: Answer::Retry,
        notes: String::new(),
        at: run.now,
    };
    let input = |number| Input::InterruptionAnswered {
        number,
        given: given.clone(),
    };
    assert_eq!(
        run.try_input(input(7)),
        Err(Illegal::UnknownInterruption { number: 7 })
    );
    run.end("a@web01", Outcome::Failed);
    assert!(!run.input(input(1)).is_empty());
    assert_eq!(run.input(input(1)), [], "a repeated answer changes nothing");
}

/// Something, two people, something more.
fn signed() -> Plan {
    let mut plan = a_plan(
        &[1],
        vec![
            a_step("before", &[1], vec![an_action("before", &[1])]),
            a_manual_step("sign", 2, Eyes::Four),
            a_step("after", &[1], vec![an_action("after", &[1])]),
        ],
    );
    plan.facts.created_by = "ann".to_owned();
    plan
}

fn output(run: &Run, name: &str) -> String {
    let found = run.state.outputs.iter().find(|output| output.name == name);
    found.map_or_else(String::new, |output| output.value.clone())
}

#[test]
fn two_people_other_than_who_deployed_let_it_go_on() {
    let mut run = Run::of(signed());
    run.end("before@web01", Outcome::Succeeded);
    assert_eq!(run.asked(), [1]);
    let question = run.state.interruptions[&1].question.clone();
    let Question::Manual {
        instructions,
        teams,
        ..
    } = question
    else {
        panic!("{question:?}");
    };
    assert_eq!(instructions, "look at action 0, outputs: 0");
    assert_eq!(teams, ["managers"]);
    run.answer(1, "bob", Answer::Proceed);
    run.answer(1, "bob", Answer::Proceed);
    run.answer(1, "ann", Answer::Proceed);
    assert_eq!(
        run.asked(),
        [1],
        "one of two has spoken, and who deployed does not count"
    );
    let given = crate::interruption::Given {
        by: "cat".to_owned(),
        answer: Answer::Proceed,
        notes: "looks #{Secret} good".to_owned(),
        at: run.now,
    };
    run.input(Input::InterruptionAnswered { number: 1, given });
    assert_eq!(run.live_names(), ["after@web01"]);
    assert_eq!(output(&run, "Manual.Approved"), "True");
    assert_eq!(output(&run, "Manual.ResponsibleUser.Username"), "cat");
    assert_eq!(
        output(&run, "Manual.Notes"),
        crate::variable::literal("looks #{Secret} good"),
        "notes read no variables"
    );
    let shown = view::progress(&run.state);
    assert_eq!(shown.steps[1].subjects[0].target, "server");
    assert_eq!(
        shown.steps[1].subjects[0].actions[0].message,
        "approved by bob and cat"
    );
    run.end("after@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn one_no_is_enough_and_the_deployment_fails() {
    let mut plan = guided(signed());
    plan.steps.push(PlanStep {
        run: RunCondition::Failure,
        ..a_step("repair", &[1], vec![an_action("repair", &[1])])
    });
    let mut run = Run::of(plan);
    run.end("before@web01", Outcome::Succeeded);
    run.answer(1, "bob", Answer::Proceed);
    let given = crate::interruption::Given {
        by: "ann".to_owned(),
        answer: Answer::Abort,
        notes: "wrong week".to_owned(),
        at: run.now,
    };
    run.input(Input::InterruptionAnswered { number: 1, given });
    assert_eq!(
        run.asked(),
        Vec::<u32>::new(),
        "what a person stopped is not asked about"
    );
    assert_eq!(run.live_names(), ["repair@web01"]);
    run.end("repair@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message(), "'sign' failed: stopped by ann: wrong week");
    assert_eq!(output(&run, "Manual.Approved"), "False");
    assert_eq!(output(&run, "Manual.Notes"), "wrong week");
}

#[test]
fn nobody_signs_in_time() {
    let mut run = Run::of(guided(signed()));
    run.end("before@web01", Outcome::Succeeded);
    run.after(seconds(60));
    assert_eq!(run.verdict(), Some(Verdict::Failed), "its own time limit");
    assert_eq!(run.message(), "'sign' timed out: nobody answered within 1m");
}

#[test]
fn a_manual_action_of_a_rolling_step_asks_for_each_target() {
    let mut farm = a_rolling_step(&[1, 2], 1, &["a"]);
    let mut ask = a_manual_step("ask", 1, Eyes::Any).actions.remove(0);
    ask.nodes = an_action("ask", &[1, 2]).nodes;
    farm.actions.push(ask);
    let mut run = Run::of(a_plan(&[1, 2], vec![farm]));
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.asked(), [1]);
    run.answer(1, "bob", Answer::Proceed);
    run.end("a@web02", Outcome::Succeeded);
    run.answer(2, "bob", Answer::Proceed);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    let subjects: Vec<_> = run
        .state
        .outputs
        .iter()
        .filter(|output| output.name == "Manual.Approved")
        .map(|output| output.subject.clone())
        .collect();
    assert_eq!(subjects, ["web01", "web02"]);
}

fn a_canary(budget: u32) -> Plan {
    let farm = PlanStep {
        pause_after_first: true,
        max_failed: budget,
        ..a_rolling_step(&[1, 2, 3], 2, &["a"])
    };
    a_plan(&[1, 2, 3], vec![farm])
}

#[test]
fn after_the_first_target_a_person_says_whether_the_others_follow() {
    let mut run = Run::of(a_canary(0));
    assert_eq!(run.live_names(), ["a@web01"], "alone, whatever the window");
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.asked(), [1]);
    assert!(run.state.awaits_person());
    let shown = view::progress(&run.state);
    assert_eq!(
        shown.steps[0].message,
        "waits for a person to say whether it goes on after its first target"
    );
    run.answer(1, "ann", Answer::Proceed);
    assert_eq!(run.live_names(), ["a@web02", "a@web03"]);
    run.end("a@web02", Outcome::Succeeded);
    run.end("a@web03", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(run.state.interruptions.len(), 1);
}

#[test]
fn after_the_first_target_a_person_or_time_may_stop_it() {
    for (answers, message) in [
        (true, "ann stopped 'farm' after its first target"),
        (
            false,
            "nobody said in time whether 'farm' may go on after its first target",
        ),
    ] {
        let mut run = Run::of(a_canary(0));
        run.end("a@web01", Outcome::Succeeded);
        if answers {
            run.answer(1, "ann", Answer::Abort);
        } else {
            run.after(SignedDuration::from_hours(7 * 24));
        }
        assert_eq!(run.verdict(), Some(Verdict::Failed));
        assert_eq!(run.message(), message);
        use view::Status::{Failed, Skipped, Succeeded};
        assert_eq!(statuses(&run, 0), [Succeeded, Skipped, Skipped]);
        assert_eq!(view::progress(&run.state).steps[0].status, Failed);
    }
}

#[test]
fn a_person_who_stops_it_is_named_beside_a_failure_that_was_allowed() {
    let mut run = Run::of(a_canary(1));
    run.end("a@web01", Outcome::Failed);
    run.after(seconds(1));
    run.end("a@web02", Outcome::Succeeded);
    run.answer(1, "ann", Answer::Abort);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'a' failed on web01: exit code 3; ann stopped 'farm' after its first target"
    );
}

#[test]
fn the_first_that_went_well_is_asked_about_not_one_that_failed() {
    let mut run = Run::of(a_canary(1));
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.asked(), Vec::<u32>::new());
    assert_eq!(run.live_names(), ["a@web02"], "still one at a time");
    run.end("a@web02", Outcome::Succeeded);
    assert_eq!(run.asked(), [1]);
    run.answer(1, "ann", Answer::Proceed);
    run.end("a@web03", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    // With nothing left to begin nobody is asked.
    let mut alone = a_canary(0);
    alone.steps[0].subjects.truncate(1);
    let mut run = Run::of(alone);
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn the_limit_that_is_named_is_without_the_time_that_the_clock_stood() {
    let step = a_step("a", &[1], vec![an_action("a", &[1])]);
    let mut run = Run::of(guided(a_plan(&[1], vec![step])));
    let named = |run: &Run| {
        let step = verdict::step_limit(&run.state, 0);
        (step, verdict::deployment_limit(&run.state))
    };
    let before = named(&run);
    assert_eq!(before.0.as_deref(), Some("12h by default"));
    run.end("a@web01", Outcome::Failed);
    run.after(seconds(2 * 24 * 3600));
    run.answer(1, "ann", Answer::Retry);
    assert_eq!(named(&run), before);
}
