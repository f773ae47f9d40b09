//! What an attempt holds keeps others out, for as long as it may live (S82, I9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_shared::lock::Lock;
use mantle_shared::protocol::{Message, Outcome};

use super::tests::{attempt, end, start, welcome};
use super::*;

fn claiming(number: u128, locks: &[Lock], despite: &[u128]) -> Input {
    Input::Start(Start {
        order: Ok(Claims {
            locks: locks.to_vec(),
            despite: despite.iter().map(|number| attempt(*number)).collect(),
        }),
        ..start(number, 4)
    })
}

fn brain(records: &[Record]) -> Brain {
    let mut ledger = Ledger::default();
    for record in records {
        ledger.apply(record).unwrap();
    }
    let mut brain = Brain::new(BrainConfig::default(), ledger);
    let decision = brain.decide(1, Input::Connected(welcome(4)));
    brain.commit(&decision.records).unwrap();
    brain
}

/// Whether it was started; otherwise why not.
fn try_start(brain: &mut Brain, input: Input) -> Result<(), (StartRefusal, String)> {
    let decision = brain.decide(2, input);
    brain.commit(&decision.records).unwrap();
    let answer = decision.then.iter().find_map(|effect| match effect {
        Effect::Send(Message::StartAnswer(answer)) => Some(answer.result.clone()),
        _ => None,
    });
    match answer.unwrap() {
        StartResult::Accepted => Ok(()),
        StartResult::Refused { reason, message } => Err((reason, message)),
        StartResult::Ended(end) => panic!("{end:?}"),
    }
}

fn ended(brain: &mut Brain, number: u128, outcome: Outcome) {
    let input = Input::Ended {
        attempt: attempt(number),
        end: end(outcome),
    };
    let decision = brain.decide(3, input);
    brain.commit(&decision.records).unwrap();
}

#[test]
fn s82_the_holder_still_holds_when_the_agent_was_restarted() {
    let full = [Lock::exclusive("target")];
    let mut before = brain(&[]);
    try_start(&mut before, claiming(1, &full, &[])).unwrap();
    // All that is left of it is its journal, as it stands or compacted.
    let mut after = brain(&before.ledger().records());
    let (reason, message) = try_start(&mut after, claiming(2, &full, &[])).unwrap_err();
    assert_eq!(reason, StartRefusal::Busy);
    let holder = attempt(1).to_string();
    assert!(
        message.contains("'target'") && message.contains(&holder),
        "{message}"
    );
    // The holder itself is asked again and answered as before.
    try_start(&mut after, claiming(1, &full, &[])).unwrap();
    ended(&mut after, 1, Outcome::Succeeded);
    // The refused order left no trace: the same id may start now.
    try_start(&mut after, claiming(2, &full, &[])).unwrap();
}

#[test]
fn those_who_share_run_together_and_other_names_do_not_count() {
    let mut brain = brain(&[]);
    let (part, full) = (Lock::shared("disk"), Lock::exclusive("disk"));
    try_start(&mut brain, claiming(1, std::slice::from_ref(&part), &[])).unwrap();
    try_start(&mut brain, claiming(2, &[part], &[])).unwrap();
    try_start(&mut brain, claiming(3, &[Lock::exclusive("other")], &[])).unwrap();
    try_start(&mut brain, claiming(4, &[], &[])).unwrap();
    assert!(try_start(&mut brain, claiming(5, &[full], &[])).is_err());
}

#[test]
fn what_could_not_be_stopped_holds_until_somebody_breaks_it() {
    let full = [Lock::exclusive("target")];
    let mut brain = brain(&[]);
    try_start(&mut brain, claiming(1, &full, &[])).unwrap();
    ended(&mut brain, 1, Outcome::Abandoned);
    assert!(try_start(&mut brain, claiming(2, &full, &[])).is_err());
    try_start(&mut brain, claiming(3, &full, &[1])).unwrap();
}
