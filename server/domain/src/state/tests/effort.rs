//! How much one look at a deployment takes, counted and not timed.

use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::fleet::looked_at;

/// What it takes to take in that the first of so many targets is through, in a roll-out of this
/// window.
fn looks(targets: u32, window: u32) -> usize {
    let targets: Vec<u128> = (1..=u128::from(targets)).collect();
    let step = a_rolling_step(&targets, window, &["a", "b", "c"]);
    let mut run = Run::of(a_plan(&targets, vec![step]));
    run.end("a@web01", Outcome::Succeeded);
    run.end("b@web01", Outcome::Succeeded);
    taken_in(&mut run, "c@web01", Outcome::Succeeded)
}

/// What it takes to take in the end of this attempt.
fn taken_in(run: &mut Run, name: &str, outcome: Outcome) -> usize {
    let attempt = run.attempt(name);
    looked_at::take();
    run.say(attempt, outcome);
    looked_at::take()
}

#[test]
fn a_look_at_twice_as_many_targets_takes_twice_as_much_work() {
    let (some, twice) = (looks(100, 5), looks(200, 5));
    assert!(some > 100, "the looks are counted: {some}");
    assert!(twice <= 2 * some, "{some} looks at 100, {twice} at 200");
    // All at once: what is under way is looked at, target by target.
    let (some, twice) = (looks(100, 100), looks(200, 200));
    assert!(
        twice <= 2 * some + 10,
        "{some} looks at 100, {twice} at 200"
    );
}

/// What it takes to take in that so many targets have accepted their orders, or have ended, all within one
/// moment.
fn at_once(targets: u32) -> [usize; 2] {
    let ids: Vec<u128> = (1..=u128::from(targets)).collect();
    let mut run = Run::of(a_plan(&ids, vec![a_rolling_step(&ids, targets, &["a"])]));
    let live: Vec<_> = run.live().into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(live.len(), ids.len(), "all have begun");
    let accepted = live.iter().map(|attempt| Input::StartAnswered {
        attempt: *attempt,
        answer: StartAnswer::Accepted,
    });
    let ended = live.iter().map(|attempt| Input::AttemptEnded {
        attempt: *attempt,
        end: an_end(Outcome::Succeeded),
        outputs: Vec::new(),
        stored: 0,
    });
    let (accepted, ended): (Vec<_>, Vec<_>) = (accepted.collect(), ended.collect());
    let looks = [accepted, ended].map(|inputs| {
        looked_at::take();
        run.together(inputs);
        looked_at::take()
    });
    assert_eq!(run.verdict(), Some(Verdict::Succeeded));
    looks
}

#[test]
fn what_twice_as_many_targets_say_at_once_takes_twice_as_much_work() {
    let (some, twice) = (at_once(100), at_once(200));
    for (some, twice) in some.into_iter().zip(twice) {
        assert!(
            twice <= 2 * some + 10,
            "{some} looks at 100, {twice} at 200"
        );
    }
}

#[test]
fn a_question_more_takes_no_look_through_the_fleet() {
    let asked = |targets: u32| {
        let targets: Vec<u128> = (1..=u128::from(targets)).collect();
        let step = a_rolling_step(&targets, 5, &["a", "b"]);
        let mut run = Run::of(guided(a_plan(&targets, vec![step])));
        let taken = taken_in(&mut run, "a@web01", Outcome::Failed);
        assert_eq!(run.asked(), [1]);
        assert_eq!(run.live().len(), 4, "no further target is begun");
        taken
    };
    let (some, twice) = (asked(100), asked(200));
    assert!(twice <= 2 * some, "{some} looks at 100, {twice} at 200");
}
