//! Time limits of steps and of the whole: what runs is stopped, nothing more begins, and the end
//! says so.

use jiff::{SignedDuration, Timestamp};
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::{Plan, PlanStep};
use crate::process::{Retries, RunCondition, Start, Timeouts};

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

fn single(name: &str, target: u128) -> PlanStep {
    a_step(name, &[target], vec![an_action(name, &[target])])
}

/// A step of three targets, one at a time, that has a minute; then one that repairs.
fn a_slow_farm() -> Plan {
    let farm = PlanStep {
        timeout_ms: Some(60_000),
        ..a_rolling_step(&[1, 2, 3], 2, &["a", "b"])
    };
    let repair = PlanStep {
        run: RunCondition::Failure,
        ..single("repair", 1)
    };
    a_plan(&[1, 2, 3], vec![farm, repair])
}

fn told_to_stop(run: &Run) -> usize {
    let effects = outstanding(&run.state);
    let cancels = effects
        .iter()
        .filter(|e| matches!(e, Effect::Cancel { .. }));
    cancels.count()
}

/// The agent stops it, as it was told.
fn stopped(run: &mut Run, name: &str) {
    let attempt = run.attempt(name);
    let answer = CancelAnswer::Cancelling;
    run.input(Input::CancelAnswered { attempt, answer });
    run.end(name, Outcome::Cancelled);
}

#[test]
fn a_step_whose_time_is_up_stops_what_runs_and_begins_nothing_more() {
    let mut run = Run::of(a_slow_farm());
    run.end("a@web01", Outcome::Succeeded);
    run.after(seconds(59));
    assert_eq!(told_to_stop(&run), 0);
    run.after(seconds(1));
    assert_eq!(told_to_stop(&run), 2, "b@web01 and a@web02");
    run.end("b@web01", Outcome::Succeeded);
    assert_eq!(run.live_names(), ["a@web02"], "web03 is not begun");
    stopped(&mut run, "a@web02");
    assert_eq!(
        run.live_names(),
        ["repair@web01"],
        "what follows goes by its conditions"
    );
    run.end("repair@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'a' timed out on web02: the step ran out of time: its 'timeout' is 1m"
    );
    let shown = view::progress(&run.state);
    use view::Status::{Failed, Skipped, Succeeded, TimedOut};
    assert_eq!(shown.steps[0].status, Failed);
    let statuses: Vec<_> = shown.steps[0].subjects.iter().map(|s| s.status).collect();
    assert_eq!(
        statuses,
        [Succeeded, TimedOut, Skipped],
        "who ended well all the same did"
    );
    let never = &shown.steps[0].subjects[1].actions[1];
    assert_eq!(never.message, "the step ran out of time");
}

#[test]
fn a_step_that_waits_when_its_time_is_up_is_over_at_once_and_is_not_tried_again() {
    let mut action = an_action("a", &[1]);
    action.retries = Retries {
        count: 3,
        backoff_ms: 120_000,
        max_backoff_ms: None,
    };
    let step = PlanStep {
        timeout_ms: Some(60_000),
        ..a_step("s", &[1], vec![action])
    };
    let mut waits = Run::of(a_plan(&[1], vec![step.clone()]));
    waits.end("a@web01", Outcome::Failed);
    waits.after(seconds(60));
    assert_eq!(waits.verdict(), Some(Verdict::Failed));
    assert_eq!(
        waits.message(),
        "'a' failed on web01: exit code 3; the step ran out of time: its 'timeout' is 1m; it was not tried again"
    );
    assert_eq!(waits.state.attempts.len(), 1);

    // What fails while it is being stopped has no further try either.
    let mut runs = Run::of(a_plan(&[1], vec![step]));
    runs.after(seconds(60));
    runs.end("a@web01", Outcome::Failed);
    assert_eq!(runs.verdict(), Some(Verdict::Failed));
    assert_eq!(runs.state.attempts.len(), 1);
}

#[test]
fn what_does_not_answer_after_a_steps_time_is_unknown_and_the_deployment_goes_on() {
    let mut run = Run::of(a_slow_farm());
    run.online.remove(&agent(1));
    run.after(seconds(60));
    stopped(&mut run, "a@web02");
    assert_eq!(run.verdict(), None);
    let patience = next_deadline(&run.state, run.now, Timestamp::MIN).unwrap();
    run.after(patience.duration_since(run.now));
    let first = run
        .state
        .attempts
        .values()
        .find(|a| a.agent == agent(1))
        .unwrap();
    assert!(
        matches!(
            &first.status,
            AttemptStatus::Over {
                outcome: Outcome::Unknown,
                ..
            }
        ),
        "{first:?}"
    );
    assert_eq!(run.state.steps[1].stop(), None);
    assert!(
        matches!(run.state.steps[1], StepState::Running { .. }),
        "it repairs"
    );
}

#[test]
fn a_steps_time_is_its_own() {
    let beside = PlanStep {
        start: Start::WithPrevious,
        ..single("beside", 2)
    };
    let late = PlanStep {
        timeout_ms: Some(60_000),
        ..single("late", 1)
    };
    let mut run = Run::of(a_plan(&[1, 2], vec![late, beside]));
    run.after(seconds(60));
    assert_eq!(told_to_stop(&run), 1);
    stopped(&mut run, "late@web01");
    assert_eq!(run.live_names(), ["beside@web02"]);
    run.end("beside@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
}

#[test]
fn a_deployment_whose_time_is_up_is_stopped_and_says_so() {
    let always = PlanStep {
        run: RunCondition::Always,
        ..single("always", 1)
    };
    let mut plan = a_plan(&[1, 2], vec![single("a", 1), always]);
    plan.timeouts = Timeouts {
        packages_ms: None,
        deployment_ms: Some(90_000),
    };
    let mut run = Run::of(plan.clone());
    run.after(seconds(89));
    assert_eq!(told_to_stop(&run), 0);
    run.after(seconds(1));
    assert_eq!(told_to_stop(&run), 1);
    // Whoever asks now finds it stopping; nothing becomes of that.
    assert_eq!(
        run.input(Input::CancelRequested {
            by: "ann".to_owned()
        }),
        []
    );
    stopped(&mut run, "a@web01");
    assert_eq!(run.verdict(), Some(Verdict::TimedOut));
    assert_eq!(
        run.message(),
        "it did not end within 1m30s, so it was stopped during 'a' on web01; the end of its time also keeps from \
         running what runs always or after a failure: 'always'"
    );
    assert_eq!(
        run.state.steps[1],
        StepState::Skipped {
            reason: SkipReason::DeploymentTimedOut
        }
    );

    // What ran to its end all the same has ended as its agent says.
    plan.steps.truncate(1);
    let mut run = Run::of(plan.clone());
    run.after(seconds(90));
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));

    // Packages that never come end with it.
    plan.steps[0].actions[0].packages = vec![a_package()];
    let mut run = Run::of(plan);
    run.after(seconds(90));
    assert_eq!(run.verdict(), Some(Verdict::TimedOut));
}

#[test]
fn what_failed_before_its_time_was_up_is_said_too() {
    let step = a_step("s", &[1, 2, 3], vec![an_action("a", &[1, 2, 3])]);
    let mut plan = a_plan(&[1, 2, 3], vec![step]);
    plan.timeouts.deployment_ms = Some(90_000);
    let mut run = Run::of(plan);
    run.end("a@web02", Outcome::Failed);
    run.after(seconds(90));
    stopped(&mut run, "a@web01");
    stopped(&mut run, "a@web03");
    assert_eq!(run.verdict(), Some(Verdict::TimedOut));
    assert_eq!(
        run.message(),
        "'a' failed on web02: exit code 3; then it did not end within 1m30s, so it was stopped during \
         'a' on web01 and 'a' on web03"
    );
}

#[test]
fn a_steps_limit_is_named_beside_an_earlier_failure_that_was_allowed() {
    let farm = PlanStep {
        max_failed: 1,
        timeout_ms: Some(60_000),
        ..a_rolling_step(&[1, 2, 3], 1, &["a"])
    };
    let mut run = Run::of(a_plan(&[1, 2, 3], vec![farm.clone()]));
    run.end("a@web01", Outcome::Failed);
    run.after(seconds(60));
    stopped(&mut run, "a@web02");
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'a' failed on web01: exit code 3; 'farm' ran out of time: its 'timeout' is 1m"
    );
    super::laws::hold(&run.log);
    // Where what was stopped says it, it is not said twice.
    let mut run = Run::of(a_plan(&[1, 2, 3], vec![farm]));
    run.after(seconds(60));
    stopped(&mut run, "a@web01");
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(run.message().matches("'timeout' is 1m").count(), 1);
}

#[test]
fn packages_that_did_not_come_are_said_before_the_end_of_the_time() {
    let mut install = single("install", 1);
    install.actions[0].packages = vec![a_package()];
    let mut other = a_step("other", &[2], vec![an_action("copy", &[2])]);
    other.actions[0].packages = vec![a_package()];
    let tell = PlanStep {
        run: RunCondition::Failure,
        ..single("tell", 1)
    };
    let mut plan = a_plan(&[1, 2], vec![install, other, tell]);
    plan.timeouts.packages_ms = Some(30_000);
    plan.timeouts.deployment_ms = Some(90_000);
    let mut run = Run::of(plan);
    run.after(seconds(30));
    run.after(seconds(60));
    stopped(&mut run, "tell@web01");
    assert_eq!(run.verdict(), Some(Verdict::TimedOut));
    assert_eq!(
        run.message(),
        "packages could not be brought to web01 and web02: the packages did not arrive in time; then it \
         did not end within 1m30s, so it was stopped during 'tell' on web01"
    );
}

#[test]
fn nothing_has_all_the_time_in_the_world() {
    let mut run = Run::of(a_plan(&[1], vec![single("a", 1)]));
    let policy = Policy::default();
    let began = run.state.began_at.unwrap();
    assert_eq!(run.state.end_by, Some(began + policy.deployment));
    let StepState::Running { end_by, .. } = &run.state.steps[0] else {
        panic!("{:?}", run.state.steps[0]);
    };
    assert_eq!(*end_by, Some(began + policy.step));
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(next_deadline(&run.state, run.now, Timestamp::MIN), None);
}

#[test]
fn the_time_for_packages_is_the_projects() {
    let mut plan = a_plan(&[1], vec![single("a", 1)]);
    plan.steps[0].actions[0].packages = vec![a_package()];
    plan.timeouts.packages_ms = Some(5_000);
    let mut run = Run::of(plan);
    run.after(seconds(5));
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert!(
        run.message().contains("did not arrive in time"),
        "{}",
        run.message()
    );
}

#[test]
fn a_log_from_before_there_were_limits_has_none() {
    let mut run = Run::of(a_plan(&[1], vec![single("a", 1)]));
    let mut log = serde_json::to_value(&run.log).unwrap();
    for event in log.as_array_mut().unwrap() {
        event.as_object_mut().unwrap().remove("end_by");
    }
    let log: Vec<Event> = serde_json::from_value(log).unwrap();
    run.state = fold(&log);
    run.log = log;
    run.after(SignedDuration::from_hours(100));
    assert_eq!(told_to_stop(&run), 0);
    assert_eq!(
        run.verdict(),
        Some(Verdict::Failed),
        "the attempt's own limit holds as it did"
    );
}

#[test]
fn the_wait_for_a_retry_grows_and_is_a_function_of_the_failures_alone() {
    let mut action = an_action("a", &[1]);
    action.retries = Retries {
        count: 4,
        backoff_ms: 10_000,
        max_backoff_ms: Some(30_000),
    };
    let mut run = Run::of(a_plan(&[1], vec![a_step("s", &[1], vec![action])]));
    for wait in [10, 20, 30, 30] {
        run.end("a@web01", Outcome::Failed);
        assert_eq!(
            next_deadline(&run.state, run.now, Timestamp::MIN),
            Some(run.now + seconds(wait))
        );
        run.after(seconds(wait));
    }
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    let numbers: std::collections::BTreeSet<u32> =
        run.state.attempts.values().map(|a| a.number).collect();
    assert_eq!(numbers, (1..=5).collect());
}
