//! After a start of the server nothing is overdue that is owed by agents which may still come back.

use jiff::SignedDuration;
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::Plan;
use crate::process::Retries;

/// How long the server was away, in minutes: longer than word of a short action may take, shorter than a step.
const AWAY: i64 = 45;

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

/// One short action, about so many targets, that is tried twice.
fn short(targets: &[u128]) -> Plan {
    let mut action = an_action("a", targets);
    action.timeout_ms = 60_000;
    action.retries = Retries {
        count: 1,
        backoff_ms: 5_000,
        max_backoff_ms: None,
    };
    a_plan(targets, vec![a_step("s", targets, vec![action])])
}

/// The server comes back after that; nobody has come back to it yet.
fn back(run: &mut Run) -> Vec<Event> {
    run.returning = std::mem::take(&mut run.online);
    run.after(minutes(AWAY))
}

#[test]
fn what_ended_while_the_server_was_away_is_not_unknown_before_its_agent_could_say_so() {
    let mut run = Run::of(short(&[1]));
    let attempt = run.attempt("a@web01");
    run.input(Input::StartAnswered {
        attempt,
        answer: StartAnswer::Accepted,
    });
    assert_eq!(back(&mut run), []);
    let until = run.now + minutes(2);
    assert_eq!(next_deadline(&run.state, run.now, until), Some(until));

    let mut told = run.clone();
    told.online = std::mem::take(&mut told.returning);
    told.input(Input::AttemptEnded {
        attempt,
        end: an_end(Outcome::Succeeded),
        outputs: Vec::new(),
        stored: 0,
    });
    assert_eq!(told.verdict(), Some(Verdict::Succeeded));

    // It did not come back.
    run.returning.clear();
    run.after(minutes(2));
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert!(run.message().contains("not known"), "{}", run.message());
}

#[test]
fn what_waits_for_its_turn_or_for_packages_waits_for_its_agent_to_come_back() {
    let mut retried = Run::of(short(&[1]));
    retried.end("a@web01", Outcome::Failed);
    assert_eq!(back(&mut retried), []);
    retried.online = std::mem::take(&mut retried.returning);
    retried.input(Input::Tick);
    assert_eq!(retried.live_names(), ["a@web01"]);

    let mut plan = short(&[1]);
    plan.steps[0].actions[0].packages = vec![a_package()];
    let mut packages = Run::of(plan);
    assert_eq!(back(&mut packages), []);
    packages.returning.clear();
    packages.input(Input::Tick);
    assert_eq!(packages.verdict(), Some(Verdict::Failed));
}

#[test]
fn patience_with_one_agent_hides_no_deadline_of_another() {
    let mut run = Run::of(short(&[1, 2]));
    back(&mut run);
    let until = run.now + minutes(2);
    run.returning.remove(&agent(2));
    run.online.insert(agent(2));
    run.input(Input::Tick);
    assert_eq!(
        run.live_names(),
        ["a@web01"],
        "web02 is there, and has not said how its attempt ended"
    );
    assert_eq!(next_deadline(&run.state, run.now, until), Some(until));
    run.online.clear();
    run.returning.clear();
    run.after(minutes(2));
    assert_eq!(run.live_names(), [""; 0]);
}
