//! Scripts of faults against the model, and flaws that it must find.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mantle_domain::state::Verdict;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::{Flaw, World};

/// The things that go on in a case.
const STEPS: usize = 200;

fn script() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<u8>()), 0..STEPS)
}

fn live_through(flaw: Option<Flaw>, script: &[(u8, u8)]) {
    let mut world = World::new(flaw);
    for (what, which) in script {
        world.step(*what, *which);
    }
    world.calm();
    world.judge();
}

#[test]
fn a_quiet_world_deploys_well() {
    let mut world = World::new(None);
    world.calm();
    world.judge();
    let state = world.server.state().unwrap();
    assert_eq!(state.verdict(), Some(Verdict::Succeeded));
    assert_eq!(world.truth.runs().count(), 7, "one run of every node");
}

/// A case that fails is kept in `proptest-regressions`, and its seed is printed.
macro_rules! whatever_goes_wrong {
    ($($name:ident),*) => {$(
        proptest! {
            #![proptest_config(Config { cases: CASES, ..Config::default() })]
            #[test]
            fn $name(script in script()) {
                live_through(None, &script);
            }
        }
    )*};
}

/// Four times this is what the harness owes: 20,000 cases, shared so that two cores have work.
const CASES: u32 = 5_000;

whatever_goes_wrong!(
    whatever_goes_wrong_the_promises_hold_1,
    whatever_goes_wrong_the_promises_hold_2,
    whatever_goes_wrong_the_promises_hold_3,
    whatever_goes_wrong_the_promises_hold_4
);

/// A fixed seed: whether a flaw is found must not depend on the day.
fn is_found(flaw: Flaw) -> bool {
    let config = Config {
        cases: 3_000,
        failure_persistence: None,
        // The first failure is enough; nobody reads it.
        max_shrink_iters: 0,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let found = TestRunner::new_with_rng(config, rng).run(&script(), |script| {
        catch_unwind(AssertUnwindSafe(|| live_through(Some(flaw), &script)))
            .map_err(|_| TestCaseError::fail("found"))
    });
    match found {
        Ok(()) => false,
        Err(TestError::Fail(..)) => true,
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn every_seeded_flaw_is_found() {
    let flaws = [
        Flaw::JournalOptional,
        Flaw::ClaimsIgnored,
        Flaw::NoVoidClaim,
        Flaw::EarlyAck,
    ];
    let missed: Vec<Flaw> = flaws.into_iter().filter(|flaw| !is_found(*flaw)).collect();
    assert!(missed.is_empty(), "{missed:?} go unnoticed");
}

/// Scripts that never get to the interesting part would find nothing.
#[test]
fn scripts_get_somewhere() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut runs, mut lines, mut ends) = (0, 0, 0);
    for _ in 0..200 {
        let mut world = World::new(None);
        for (what, which) in script().new_tree(&mut runner).unwrap().current() {
            world.step(what, which);
        }
        let durable = &world.server.durable;
        runs += world.truth.runs().count();
        lines += durable.logs.values().map(Vec::len).sum::<usize>();
        ends += durable.ends.len();
    }
    // Half of the scripts are shorter than half of the steps.
    assert!(
        runs > 300 && lines > 80 && ends > 250,
        "{runs} runs, {lines} lines, {ends} ends"
    );
}
