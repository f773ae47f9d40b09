//! A person says how an attempt ended: of what it is taken, what comes of it, and what its agent's late word
//! does beside it.

use mantle_shared::ids::AttemptId;
use mantle_shared::protocol::{Outcome, StartRefusal};

use super::super::*;
use super::builders::*;
use crate::interruption::{Answer, Question};
use crate::plan::{Plan, PlanStep};
use crate::process::{OnFailure, Retries, RunCondition};

/// Two targets, one after the other, then another step.
fn a_farm() -> Plan {
    let after = a_step("after", &[1, 2], vec![an_action("after", &[1, 2])]);
    a_plan(&[1, 2], vec![a_rolling_step(&[1, 2], 1, &["a"]), after])
}

impl Run {
    /// Ann looked at the machine.
    pub(super) fn resolve(&mut self, attempt: AttemptId, ended: ResolvedAs) -> Vec<Event> {
        let resolution = Resolution {
            ended,
            by: "ann".to_owned(),
            reason: "looked".to_owned(),
            at: self.now,
        };
        self.input(Input::AttemptResolved {
            attempt,
            resolution,
        })
    }

    pub(super) fn say(&mut self, attempt: AttemptId, outcome: Outcome) -> Vec<Event> {
        self.input(Input::AttemptEnded {
            attempt,
            end: an_end(outcome),
            outputs: Vec::new(),
            stored: 0,
        })
    }

    /// The live attempt of this name has begun, and its agent goes.
    fn lose(&mut self, name: &str) -> AttemptId {
        let attempt = self.attempt(name);
        let answer = StartAnswer::Accepted;
        self.input(Input::StartAnswered { attempt, answer });
        let gone = self.state.attempts[&attempt].agent;
        self.online.remove(&gone);
        self.input(Input::Tick);
        attempt
    }
}

fn names(events: &[Event]) -> Vec<&'static str> {
    let name = |event: &Event| match event {
        Event::AttemptResolved { .. } => Some("resolved"),
        Event::AttemptFinished { .. } => Some("given up"),
        Event::AttemptFinishedLate { .. } => Some("late"),
        _ => None,
    };
    events.iter().filter_map(name).collect()
}

/// What an attempt has come to before somebody resolves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Starting,
    Running,
    /// Over, by the agent's word.
    Said(Outcome),
    /// Over, without it.
    GivenUp(Outcome),
    /// Given up for unknown, and then the agent's word came.
    SaidLate(Outcome),
}

fn bring(before: Before) -> (Run, AttemptId) {
    let mut run = Run::of(a_farm());
    let attempt = run.attempt("a@web01");
    let answer = StartAnswer::Accepted;
    match before {
        Before::Starting => {}
        Before::Running => {
            run.input(Input::StartAnswered { attempt, answer });
        }
        Before::Said(outcome) => {
            run.end("a@web01", outcome);
        }
        Before::GivenUp(Outcome::NotStarted) => {
            let (reason, message) = (StartRefusal::BadOrder, "bad".to_owned());
            let answer = StartAnswer::Refused { reason, message };
            run.input(Input::StartAnswered { attempt, answer });
        }
        Before::GivenUp(_) => {
            run.input(Input::AgentRevoked { agent: agent(1) });
        }
        Before::SaidLate(outcome) => {
            run.input(Input::AgentRevoked { agent: agent(1) });
            run.say(attempt, outcome);
        }
    }
    (run, attempt)
}

#[test]
fn a_word_is_taken_of_what_nobody_knows_and_of_nothing_else() {
    use Before::{GivenUp, Running, Said, SaidLate, Starting};
    use Outcome::{
        Abandoned, Cancelled, Failed, Interrupted, NotStarted, Succeeded, TimedOut, Unknown,
    };
    // (before, its agent is connected) -> what is decided of the attempt
    let both = ["given up", "resolved"];
    let table: [(Before, bool, &[&str]); 21] = [
        (Starting, true, &[]),
        (Starting, false, &both),
        (Running, true, &[]),
        (Running, false, &both),
        (Said(Succeeded), false, &[]),
        (Said(Failed), false, &[]),
        (Said(TimedOut), false, &[]),
        (Said(Cancelled), false, &[]),
        (Said(Interrupted), false, &[]),
        (Said(NotStarted), false, &[]),
        (Said(Unknown), true, &["resolved"]),
        (Said(Unknown), false, &["resolved"]),
        (Said(Abandoned), true, &["resolved"]),
        (Said(Abandoned), false, &["resolved"]),
        (GivenUp(Unknown), true, &["resolved"]),
        (GivenUp(Unknown), false, &["resolved"]),
        (GivenUp(NotStarted), false, &[]),
        (SaidLate(Succeeded), false, &[]),
        (SaidLate(Failed), false, &[]),
        (SaidLate(Unknown), false, &["resolved"]),
        (SaidLate(Abandoned), false, &["resolved"]),
    ];
    for (before, is_connected, expected) in table {
        for ended in [ResolvedAs::Succeeded, ResolvedAs::Failed] {
            let (mut run, attempt) = bring(before);
            if !is_connected {
                run.online.remove(&agent(1));
            }
            let may = run.state.attempts[&attempt].check_resolve(is_connected);
            assert_eq!(may.is_ok(), !expected.is_empty(), "{before:?} {may:?}");
            let events = run.resolve(attempt, ended);
            let found = names(&events);
            let found = found.get(..expected.len()).unwrap_or(&found);
            assert_eq!(found, expected, "{before:?} connected={is_connected}");
            let said = run.state.attempts[&attempt].resolution.is_some();
            assert_eq!(said, !expected.is_empty(), "{before:?}");
            let again = run.resolve(attempt, ResolvedAs::Failed);
            assert_eq!(names(&again), [""; 0], "the first word holds: {before:?}");
            laws_hold(&run);
        }
    }
}

fn laws_hold(run: &Run) {
    super::laws::hold(&run.log);
}

#[test]
fn a_step_that_is_said_to_have_succeeded_goes_on_and_nothing_runs_twice() {
    let mut run = Run::of(a_farm());
    let lost = run.lose("a@web01");
    assert_eq!(run.live_names(), ["a@web01"], "it waits for its agent");
    run.resolve(lost, ResolvedAs::Succeeded);
    assert_eq!(run.live_names(), ["a@web02"], "the roll-out goes on");
    assert!(
        outstanding(&run.state)
            .iter()
            .all(|e| e.agent() == agent(2))
    );
    run.end("a@web02", Outcome::Succeeded);
    run.online.insert(agent(1));
    run.input(Input::Tick);
    run.end("after@web01", Outcome::Succeeded);
    run.end("after@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    assert_eq!(run.state.attempts.len(), 4);
    let shown = view::progress(&run.state);
    let action = &shown.steps[0].subjects[0].actions[0];
    assert_eq!(action.status, view::Status::Succeeded);
    assert_eq!(action.message, "ann says that it succeeded: looked");
    assert_eq!(action.resolution.as_ref().unwrap().by, "ann");
    laws_hold(&run);
}

#[test]
fn a_step_that_is_said_to_have_failed_is_a_failure_without_retries() {
    let mut plan = a_farm();
    plan.steps[0].actions[0].retries = Retries {
        count: 3,
        backoff_ms: 1,
        max_backoff_ms: None,
    };
    plan.steps[1].run = RunCondition::Failure;
    let mut run = Run::of(plan);
    let lost = run.lose("a@web01");
    run.resolve(lost, ResolvedAs::Failed);
    assert_eq!(run.live_names(), ["after@web02"], "what runs on failure");
    let of_web01 = run.state.attempts.values();
    let of_web01 = of_web01.filter(|attempt| attempt.agent == agent(1));
    assert_eq!(of_web01.count(), 1, "it is not tried again");
    run.online.insert(agent(1));
    run.input(Input::Tick);
    run.end("after@web01", Outcome::Succeeded);
    run.end("after@web02", Outcome::Succeeded);
    assert_eq!(run.verdict(), Some(Verdict::Failed));
    assert_eq!(
        run.message(),
        "'a' failed on web01: ann says that it failed: looked"
    );
}

#[test]
fn a_roll_out_that_goes_on_after_failures_does_so_after_a_word() {
    let mut plan = a_farm();
    plan.steps[0].on_failure = OnFailure::Continue;
    let mut run = Run::of(plan);
    let lost = run.lose("a@web01");
    run.resolve(lost, ResolvedAs::Failed);
    assert_eq!(run.live_names(), ["a@web02"]);
}

#[test]
fn a_question_about_what_nobody_knew_is_closed_by_a_word() {
    for (ended, live, asked) in [
        (ResolvedAs::Succeeded, vec!["a@web02"], vec![]),
        // What failed is asked about as any failure is.
        (ResolvedAs::Failed, vec![], vec![2]),
    ] {
        let mut run = Run::of(guided(a_farm()));
        let lost = run.attempt("a@web01");
        run.input(Input::AgentRevoked { agent: agent(1) });
        assert_eq!(run.asked(), [1]);
        run.resolve(lost, ended);
        assert_eq!(run.live_names(), live);
        assert_eq!(run.asked(), asked);
        assert_eq!(run.state.interruptions[&1].closed, Some(Closed::Resolved));
        if let Some(one) = run.state.interruptions.get(&2) {
            let Question::Failure { outcome, .. } = &one.question else {
                panic!("{one:?}");
            };
            assert_eq!(*outcome, Outcome::Failed);
            run.answer(2, "bob", Answer::Ignore);
            assert_eq!(run.live_names(), ["a@web02"]);
        }
        laws_hold(&run);
    }
}

#[test]
fn a_cancel_ends_when_what_it_waits_for_is_resolved() {
    for (ended, status) in [
        (ResolvedAs::Succeeded, view::Status::Succeeded),
        (ResolvedAs::Failed, view::Status::Failed),
    ] {
        let mut run = Run::of(a_farm());
        let lost = run.lose("a@web01");
        run.input(Input::CancelRequested {
            by: "bob".to_owned(),
        });
        assert_eq!(run.verdict(), None, "it waits for the agent's word");
        run.resolve(lost, ended);
        assert_eq!(run.verdict(), Some(Verdict::Cancelled));
        assert!(!run.message().contains("not known"), "{}", run.message());
        let shown = view::progress(&run.state);
        assert_eq!(shown.steps[0].subjects[0].actions[0].status, status);
        assert_eq!(outstanding(&run.state), []);
        laws_hold(&run);
    }
}

#[test]
fn a_late_word_stands_beside_it_and_is_a_contradiction_only_if_it_says_the_opposite() {
    use Outcome::{
        Abandoned, Cancelled, Failed, Interrupted, NotStarted, Succeeded, TimedOut, Unknown,
    };
    for (ended, late, contradicts) in [
        (ResolvedAs::Succeeded, Succeeded, false),
        (ResolvedAs::Succeeded, Failed, true),
        (ResolvedAs::Succeeded, TimedOut, true),
        (ResolvedAs::Succeeded, Cancelled, true),
        (ResolvedAs::Succeeded, NotStarted, true),
        (ResolvedAs::Succeeded, Interrupted, true),
        (ResolvedAs::Succeeded, Unknown, false),
        (ResolvedAs::Succeeded, Abandoned, false),
        (ResolvedAs::Failed, Succeeded, true),
        (ResolvedAs::Failed, Failed, false),
        (ResolvedAs::Failed, TimedOut, false),
        (ResolvedAs::Failed, Cancelled, false),
        (ResolvedAs::Failed, NotStarted, false),
        (ResolvedAs::Failed, Interrupted, false),
        (ResolvedAs::Failed, Unknown, false),
        (ResolvedAs::Failed, Abandoned, false),
    ] {
        let mut run = Run::of(a_plan(
            &[1],
            vec![PlanStep {
                run: RunCondition::Always,
                ..a_step("s", &[1], vec![an_action("a", &[1])])
            }],
        ));
        let lost = run.lose("a@web01");
        run.resolve(lost, ended);
        let (verdict, message) = (run.verdict(), run.message());
        assert!(verdict.is_some());
        let events = run.say(lost, late);
        assert_eq!(names(&events), ["late"], "{ended:?} {late:?}");
        let known = &run.state.attempts[&lost];
        assert_eq!(known.end.as_ref().unwrap().outcome, late);
        assert_eq!(known.resolution.as_ref().unwrap().ended, ended);
        assert_eq!(known.contradiction().is_some(), contradicts, "{late:?}");
        assert_eq!(
            went_on_despite(&run.state).len(),
            usize::from(contradicts),
            "{late:?}"
        );
        assert_eq!((run.verdict(), run.message()), (verdict, message));
        let shown = view::progress(&run.state);
        let action = &shown.steps[0].subjects[0].actions[0];
        let said = action.resolution.as_ref().unwrap();
        assert_eq!(said.is_contradicted, contradicts);
        let shown_late = (late != Unknown).then(|| view::Status::from(late));
        assert_eq!(action.said_late, shown_late);
    }
}

#[test]
fn what_is_unresolved_is_listed_in_the_order_of_the_plan() {
    let step = a_step("s", &[1, 2], vec![an_action("a", &[1, 2])]);
    let mut run = Run::of(a_plan(&[1, 2], vec![step]));
    let (first, second) = (run.attempt("a@web01"), run.attempt("a@web02"));
    let listed = |run: &Run| {
        let open = unresolved(&run.state);
        open.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&run), [first, second]);
    run.lose("a@web02");
    run.resolve(second, ResolvedAs::Failed);
    assert_eq!(listed(&run), [first]);
    run.end("a@web01", Outcome::Succeeded);
    assert_eq!(listed(&run), []);
}
