//! What arrives together leads where the same leads one by one, with fewer looks in between.

use mantle_shared::ids::AttemptId;
use mantle_shared::protocol::Outcome;
use mantle_shared::uuid::Uuid;

use super::super::*;
use super::builders::*;

fn accepted(run: &Run, name: &str) -> Input {
    Input::StartAnswered {
        attempt: run.attempt(name),
        answer: StartAnswer::Accepted,
    }
}

fn ended(run: &Run, name: &str, outcome: Outcome) -> Input {
    Input::AttemptEnded {
        attempt: run.attempt(name),
        end: an_end(outcome),
        outputs: Vec::new(),
        stored: 0,
    }
}

fn a_rolling_run(window: u32) -> Run {
    let targets = [1, 2, 3, 4];
    Run::of(a_plan(
        &targets,
        vec![a_rolling_step(&targets, window, &["a", "b"])],
    ))
}

#[test]
fn what_all_say_at_once_takes_each_to_its_next_action() {
    let mut run = a_rolling_run(2);
    let inputs = ["a@web01", "a@web02"]
        .into_iter()
        .flat_map(|name| [accepted(&run, name), ended(&run, name, Outcome::Succeeded)])
        .collect();
    let decided = run.together(inputs);
    assert_eq!(decided.illegal, []);
    assert_eq!(run.live_names(), ["b@web01", "b@web02"]);
}

#[test]
fn a_failure_that_comes_together_with_a_success_lets_nobody_else_in() {
    let mut run = a_rolling_run(2);
    for name in ["a@web01", "a@web02"] {
        run.end(name, Outcome::Succeeded);
    }
    let inputs = vec![
        ended(&run, "b@web01", Outcome::Succeeded),
        ended(&run, "b@web02", Outcome::Failed),
    ];
    run.together(inputs);
    assert_eq!(run.live_names(), [""; 0], "the third is not begun");
    assert_eq!(run.verdict(), Some(Verdict::Failed));
}

#[test]
fn what_has_no_place_is_told_and_takes_nothing_else_with_it() {
    let mut run = a_rolling_run(4);
    let stranger = AttemptId::from_uuid(Uuid::max());
    let nobodys = Input::StartAnswered {
        attempt: stranger,
        answer: StartAnswer::Accepted,
    };
    let inputs = vec![
        nobodys,
        accepted(&run, "a@web01"),
        ended(&run, "a@web01", Outcome::Succeeded),
    ];
    let decided = run.together(inputs);
    let unknown = Illegal::UnknownAttempt { attempt: stranger };
    assert_eq!(decided.illegal, [unknown]);
    assert!(run.live_names().contains(&"b@web01".to_owned()));
}

#[test]
fn what_a_person_says_is_judged_by_all_that_came_before_it() {
    let mut run = a_rolling_run(1);
    let inputs = vec![
        ended(&run, "a@web01", Outcome::Succeeded),
        Input::CancelRequested {
            by: "ann".to_owned(),
        },
    ];
    let decided = run.together(inputs);
    let ordered = decided
        .events
        .iter()
        .position(|event| matches!(event, Event::AttemptOrdered { .. }));
    let cancelled = decided
        .events
        .iter()
        .position(|event| matches!(event, Event::CancelRequested { .. }));
    assert!(ordered.is_some() && ordered < cancelled, "{decided:?}");
    assert!(run.state.live_attempts().all(|(_, one)| one.cancelling));
}
