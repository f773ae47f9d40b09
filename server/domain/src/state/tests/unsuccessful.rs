//! Which targets a later deployment of the failed ones is about.

use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::plan::{LeftOutReason, PlanLeftOut, PlanStep};
use crate::process::RunCondition;

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
