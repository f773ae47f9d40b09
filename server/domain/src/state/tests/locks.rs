//! A node that cannot have its locks waits, says for whom, and goes on when it can.

use jiff::{SignedDuration, Timestamp};
use mantle_shared::lock::Lock;
use mantle_shared::protocol::{Outcome, StartRefusal};

use super::super::*;
use super::builders::*;
use crate::plan::{Plan, PlanLock};

fn a_locking_plan() -> Plan {
    let mut action = an_action("work", &[1]);
    action.locks = vec![PlanLock {
        lock: Lock::exclusive("target"),
        subject: None,
    }];
    a_plan(&[1], vec![a_step("only", &[1], vec![action])])
}

/// A deployment whose one node waits for a lock.
fn a_blocked_run() -> Run {
    let mut run = Run::queued();
    let plan = a_locking_plan();
    run.online = plan.targets.iter().map(|target| target.agent).collect();
    run.holder = Some("T-3 step 'x'".to_owned());
    run.input(Input::Begin { plan: plan.into() });
    run
}

fn waits_for(run: &Run) -> String {
    let shown = view::progress(&run.state);
    shown.steps[0].subjects[0].actions[0].message.clone()
}

#[test]
fn it_waits_says_for_whom_once_and_goes_on_when_it_is_free() {
    let mut run = a_blocked_run();
    assert!(run.live_names().is_empty());
    let said = "waits for lock 'target' on web01, held by T-3 step 'x'";
    assert_eq!(waits_for(&run), said);
    assert!(
        run.after(SignedDuration::from_mins(20)).is_empty(),
        "told twice"
    );
    run.holder = Some("T-4 step 'y'".to_owned());
    let told = run.input(Input::Tick);
    assert!(
        matches!(&told[..], [Event::NodeBlocked { by, .. }] if by.starts_with("T-4")),
        "{told:?}"
    );
    // So soon after that it is not said again, whoever has it by now.
    run.holder = Some("T-5 step 'z'".to_owned());
    assert!(run.input(Input::Tick).is_empty());
    run.holder = None;
    run.input(Input::Tick);
    assert_eq!(run.live_names(), ["work@web01"]);
    run.end("work@web01", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
}

#[test]
fn that_its_holder_is_over_and_keeps_it_is_said_at_once_with_what_to_type() {
    let mut run = a_blocked_run();
    for (how, why) in [
        (Outcome::Unknown, "of which it is not known how it ended"),
        (Outcome::Abandoned, "which could not be stopped"),
    ] {
        run.holder_ended = Some(how);
        let told = run.input(Input::Tick);
        assert!(
            matches!(&told[..], [Event::NodeBlocked { ended, .. }] if *ended == Some(how)),
            "{told:?}"
        );
        let expected = format!(
            "waits for lock 'target' on web01, held by T-3 step 'x', {why}: look on web01, then say it with \
             'mantle task resolve T-3 --as failed|succeeded --reason WHY', or let others pass with \
             'mantle lock break web01 target --reason WHY'"
        );
        assert_eq!(waits_for(&run), expected);
        assert!(run.input(Input::Tick).is_empty(), "told twice");
    }
    run.holder = None;
    run.input(Input::Tick);
    assert_eq!(run.live_names(), ["work@web01"]);
}

#[test]
fn it_does_not_wait_for_ever() {
    let mut run = a_blocked_run();
    let last = next_deadline(&run.state, run.now, Timestamp::MIN).unwrap();
    assert_eq!(last.duration_since(run.now), Policy::default().lock);
    run.after(SignedDuration::from_hours(4));
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert!(
        run.message().contains("not free in time"),
        "{}",
        run.message()
    );
}

#[test]
fn what_is_cancelled_takes_no_lock() {
    let mut run = a_blocked_run();
    run.holder = None;
    let by = "ada".to_owned();
    run.input(Input::CancelRequested { by });
    assert!(run.state.attempts.is_empty());
    assert_eq!(run.verdict(), Some(Verdict::Cancelled));
}

#[test]
fn an_agent_that_has_no_room_is_asked_again_until_it_had_its_time() {
    let mut run = Run::of(a_locking_plan());
    let attempt = run.attempt("work@web01");
    let busy = || Input::StartAnswered {
        attempt,
        answer: StartAnswer::Refused {
            reason: StartRefusal::Busy,
            message: "the lock 'target' is held here".to_owned(),
        },
    };
    assert!(run.input(busy()).is_empty());
    let asked = outstanding(&run.state);
    assert!(matches!(asked[..], [Effect::Start { .. }]), "{asked:?}");
    run.now = run.now.checked_add(Policy::default().pick_up).unwrap();
    run.input(busy());
    assert!(run.state.attempts[&attempt].is_over());
}
