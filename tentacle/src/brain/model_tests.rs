//! The brain against a model: any orders in any order, repeated, late, with crashes and a journal that
//! fails. Whatever happens, an attempt is spawned at most once, only after it was journalled, never
//! after it was voided, and never forgotten before the server has its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{HashMap, HashSet};

use mantle_shared::protocol::{Message, Outcome};
use proptest::prelude::*;

use super::tests::{attempt, end, start, welcome};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Start {
        number: u128,
        epoch: u64,
        journal: bool,
    },
    Cancel {
        number: u128,
        epoch: u64,
        journal: bool,
    },
    End {
        number: u128,
        journal: bool,
    },
    Ack {
        number: u128,
        end_stored: bool,
    },
    Connect {
        epoch: u64,
    },
    Disconnect,
    /// The agent dies and comes back with what its journal holds.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0_u128..4;
    let epoch = 1_u64..5;
    prop_oneof![
        5 => (number.clone(), epoch.clone(), proptest::bool::weighted(0.9))
            .prop_map(|(number, epoch, journal)| Step::Start { number, epoch, journal }),
        3 => (number.clone(), epoch.clone(), proptest::bool::weighted(0.9))
            .prop_map(|(number, epoch, journal)| Step::Cancel { number, epoch, journal }),
        3 => (number.clone(), proptest::bool::weighted(0.9))
            .prop_map(|(number, journal)| Step::End { number, journal }),
        3 => (number, any::<bool>()).prop_map(|(number, end_stored)| Step::Ack { number, end_stored }),
        2 => epoch.prop_map(|epoch| Step::Connect { epoch }),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Crash),
    ]
}

#[derive(Default)]
struct Model {
    journal: Vec<Record>,
    spawned: HashMap<u128, u32>,
    voided: HashSet<u128>,
    /// What was said to the server about an end may never change.
    ends: HashMap<u128, AttemptEnd>,
    stored: HashSet<u128>,
    highest_epoch: u64,
    stale: bool,
}

impl Model {
    fn check(&mut self, number: u128, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Spawn { .. } => {
                    *self.spawned.entry(number).or_default() += 1;
                    let journalled = self.journal.iter().any(|record| {
                        matches!(record, Record::Accepted { attempt: id, .. } if *id == attempt(number))
                    });
                    assert!(journalled, "spawned without a record");
                    assert!(!self.voided.contains(&number), "spawned though voided");
                    assert!(!self.stale, "a stale server was obeyed");
                }
                Effect::Forget { attempt: id } => {
                    assert!(self.stored.iter().any(|number| attempt(*number) == *id));
                }
                Effect::Send(Message::StartAnswer(answer)) => {
                    if let StartResult::Ended(end) = &answer.result {
                        assert_eq!(Some(end), self.ends.get(&number));
                    }
                }
                Effect::Send(Message::CancelAnswer(answer)) => match &answer.result {
                    CancelResult::Voided => {
                        assert!(!self.spawned.contains_key(&number), "voided though spawned");
                        self.voided.insert(number);
                    }
                    CancelResult::Ended(end) => assert_eq!(Some(end), self.ends.get(&number)),
                    CancelResult::Cancelling => assert!(self.spawned.contains_key(&number)),
                    CancelResult::Fenced | CancelResult::Failed => {}
                },
                _ => {}
            }
        }
        assert!(
            self.spawned.values().all(|count| *count == 1),
            "spawned twice"
        );
    }
}

fn drive(brain: &mut Brain, model: &mut Model, number: u128, input: Input, journal: bool) -> bool {
    let decision = brain.decide(1, input);
    if journal || decision.records.is_empty() {
        brain.commit(&decision.records).expect("a legal record");
        model.journal.extend(decision.records);
        model.check(number, &decision.then);
        true
    } else {
        let effects = brain.failed(decision.otherwise, JournalFailure::NoSpace);
        assert!(
            !effects
                .iter()
                .any(|effect| matches!(effect, Effect::Spawn { .. }))
        );
        model.check(number, &effects);
        false
    }
}

fn replay(journal: &[Record]) -> Brain {
    let mut ledger = Ledger::default();
    for record in journal {
        ledger.apply(record).unwrap();
    }
    Brain::new(BrainConfig::default(), ledger)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn at_most_once_whatever_happens(steps in proptest::collection::vec(step(), 1..60)) {
        let mut model = Model::default();
        let mut brain = replay(&[]);
        for step in steps {
            match step {
                Step::Start { number, epoch, journal } => {
                    drive(&mut brain, &mut model, number, Input::Start(start(number, epoch)), journal);
                }
                Step::Cancel { number, epoch, journal } => {
                    let cancel = Cancel {
                        request: 1,
                        epoch,
                        task: start(number, 0).task,
                        attempt: attempt(number),
                        grace_ms: 1,
                    };
                    drive(&mut brain, &mut model, number, Input::Cancel(cancel), journal);
                }
                Step::End { number, journal } => {
                    let open = brain.ledger().get(attempt(number)).is_some_and(|e| e.phase.is_open());
                    let end = end(Outcome::Succeeded);
                    let input = Input::Ended { attempt: attempt(number), end: end.clone() };
                    if drive(&mut brain, &mut model, number, input, journal) && open {
                        model.ends.insert(number, end);
                    }
                }
                Step::Ack { number, end_stored } => {
                    let position = AttemptPosition {
                        attempt: attempt(number),
                        known: true,
                        next_seq: 0,
                        end_stored: end_stored && model.ends.contains_key(&number),
                    };
                    if position.end_stored {
                        model.stored.insert(number);
                    }
                    drive(&mut brain, &mut model, number, Input::Acknowledged(vec![position]), true);
                }
                Step::Connect { epoch } => {
                    model.highest_epoch = brain.ledger().highest_epoch();
                    model.stale = epoch < model.highest_epoch;
                    drive(&mut brain, &mut model, 0, Input::Connected(welcome(epoch)), true);
                    prop_assert_eq!(brain.is_stale(), model.stale);
                }
                Step::Disconnect => {
                    model.stale = false;
                    drive(&mut brain, &mut model, 0, Input::Disconnected, true);
                }
                Step::Crash => {
                    model.stale = false;
                    let again = replay(&model.journal);
                    prop_assert_eq!(again.ledger(), brain.ledger());
                    brain = again;
                }
            }
            // Whoever was spawned and is not stored is reported.
            for number in model.spawned.keys() {
                let reported = brain.reports().iter().any(|report| report.attempt == attempt(*number));
                let acknowledged = matches!(
                    brain.ledger().get(attempt(*number)).map(|entry| &entry.phase),
                    Some(Phase::Acknowledged(..))
                );
                prop_assert!(reported != acknowledged);
            }
        }
    }
}
