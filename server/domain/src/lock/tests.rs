//! Who waits for whom by tables, and a crowd that comes and goes: one alone or several who share,
//! and everybody has a turn.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use mantle_shared::uuid::Uuid;
use proptest::prelude::*;

use super::*;

fn attempt(number: u64) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn target(number: u64) -> TargetId {
    TargetId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn waiter(number: u64) -> Waiter {
    Waiter {
        task: TaskId::from_uuid(Uuid::from_u128(u128::from(number))),
        node: NodeRef {
            step: 0,
            action: 0,
            node: 0,
        },
    }
}

fn wish(number: u64, on: u64, locks: &[Lock], since: i64) -> Wish {
    Wish {
        holder: format!("T-{number} step 'x'"),
        executor: target(on),
        locks: locks.to_vec(),
        since: Timestamp::from_second(since).unwrap(),
    }
}

fn hold(number: u64, wish: &Wish, broken: bool) -> Hold {
    Hold {
        task: waiter(number).task,
        holder: wish.holder.clone(),
        executor: wish.executor,
        agent: AgentId::from_uuid(Uuid::from_u128(9)),
        locks: wish.locks.clone(),
        ended: None,
        broken,
    }
}

fn wait(locks: &mut Locks, number: u64, wish: &Wish) {
    let who = waiter(number);
    locks.replace_waiting(who.task, [(who.node, wish.clone())].into());
}

fn take(locks: &mut Locks, number: u64, wish: &Wish) {
    locks.replace_waiting(waiter(number).task, BTreeMap::new());
    locks.take(attempt(number), hold(number, wish, false));
}

fn granted(despite: &[u64]) -> Answer {
    Answer::Granted {
        despite: despite.iter().map(|number| attempt(*number)).collect(),
    }
}

#[test]
fn s81_who_wants_what_another_holds_alone_waits_and_names_the_holder() {
    let full = [Lock::exclusive("target")];
    let mut locks = Locks::new();
    take(&mut locks, 1, &wish(1, 7, &full, 10));
    let answer = locks.ask(waiter(2), &wish(2, 7, &full, 20));
    let expected = Answer::Held {
        lock: "target".to_owned(),
        by: "T-1 step 'x'".to_owned(),
        has_it: true,
        ended: None,
    };
    assert_eq!(answer, expected);
    // On another machine it is another lock.
    assert_eq!(locks.ask(waiter(2), &wish(2, 8, &full, 20)), granted(&[]));
    locks.release(attempt(1));
    assert_eq!(locks.ask(waiter(2), &wish(2, 7, &full, 20)), granted(&[]));
}

#[test]
fn s83_when_a_waiter_leaves_the_next_one_goes_on() {
    let full = [Lock::exclusive("target")];
    let mut locks = Locks::new();
    take(&mut locks, 1, &wish(1, 7, &full, 10));
    wait(&mut locks, 2, &wish(2, 7, &full, 20));
    wait(&mut locks, 3, &wish(3, 7, &full, 30));
    assert_eq!(locks.ready(), []);
    let before = locks.revision();
    locks.replace_waiting(waiter(2).task, BTreeMap::new());
    assert!(locks.revision() > before, "who watches is told");
    locks.release(attempt(1));
    assert_eq!(locks.ready(), [waiter(3)]);
}

#[test]
fn those_who_share_do_not_starve_one_who_wants_it_alone() {
    let (full, part) = ([Lock::exclusive("db")], [Lock::shared("db")]);
    let mut locks = Locks::new();
    take(&mut locks, 1, &wish(1, 7, &part, 10));
    wait(&mut locks, 2, &wish(2, 7, &full, 20));
    let answer = locks.ask(waiter(3), &wish(3, 7, &part, 30));
    assert!(
        matches!(&answer, Answer::Held { by, has_it: false, .. } if by.starts_with("T-2")),
        "{answer:?}"
    );
    // Who came before it shares all the same.
    assert_eq!(locks.ask(waiter(4), &wish(4, 7, &part, 15)), granted(&[]));
}

#[test]
fn nobody_holds_one_lock_while_it_waits_for_another() {
    let both = [Lock::exclusive("a"), Lock::exclusive("b")];
    let turned = [Lock::exclusive("b"), Lock::exclusive("a")];
    let mut locks = Locks::new();
    take(&mut locks, 1, &wish(1, 7, &[Lock::exclusive("b")], 10));
    wait(&mut locks, 2, &wish(2, 7, &both, 20));
    wait(&mut locks, 3, &wish(3, 7, &turned, 30));
    assert_eq!(locks.ready(), []);
    locks.release(attempt(1));
    assert_eq!(locks.ready(), [waiter(2)]);
}

#[test]
fn what_was_broken_is_passed_over_by_name() {
    let full = [Lock::exclusive("target")];
    let mut locks = Locks::new();
    let wanted = wish(1, 7, &full, 10);
    take(&mut locks, 1, &wanted);
    wait(&mut locks, 2, &wish(2, 7, &full, 20));
    locks.replace_held([(attempt(1), hold(1, &wanted, true))].into());
    assert_eq!(locks.ready(), [waiter(2)]);
    assert_eq!(locks.ask(waiter(2), &wish(2, 7, &full, 20)), granted(&[1]));
}

#[test]
fn who_waits_for_what_is_over_and_keeps_its_locks_is_looked_at_again_and_told() {
    let full = [Lock::exclusive("target")];
    let mut locks = Locks::new();
    take(&mut locks, 1, &wish(1, 7, &full, 10));
    wait(&mut locks, 2, &wish(2, 7, &full, 20));
    let before = locks.revision();
    locks.mark_ended(attempt(1), Outcome::Abandoned);
    assert!(locks.revision() > before, "who watches is told");
    assert_eq!(locks.ready(), [waiter(2)]);
    let answer = locks.ask(waiter(2), &wish(2, 7, &full, 20));
    let ended = Some(Outcome::Abandoned);
    assert!(
        matches!(&answer, Answer::Held { ended: how, .. } if *how == ended),
        "{answer:?}"
    );
    let before = locks.revision();
    locks.mark_ended(attempt(1), Outcome::Abandoned);
    assert_eq!(locks.revision(), before, "nothing new");
}

/// One who wants locks on one of two machines for a while.
#[derive(Debug, Clone)]
struct Guest {
    on: u64,
    locks: Vec<Lock>,
    lasts: u32,
    leaves: bool,
}

fn guest() -> impl Strategy<Value = Guest> {
    let lock = ("[abc]", any::<bool>()).prop_map(|(name, shared)| {
        if shared {
            Lock::shared(name)
        } else {
            Lock::exclusive(name)
        }
    });
    (
        0..2_u64,
        proptest::collection::vec(lock, 0..3),
        1..4_u32,
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(on, locks, lasts, leaves)| Guest {
            on,
            locks,
            lasts,
            leaves,
        })
}

proptest! {
    #[test]
    fn i9_one_alone_or_several_who_share_and_everybody_has_a_turn(
        guests in proptest::collection::vec(guest(), 1..30)
    ) {
        let mut locks = Locks::new();
        let mut left: BTreeMap<u64, u32> = BTreeMap::new();
        let mut open: BTreeMap<u64, Guest> = BTreeMap::new();
        let mut arriving = (0..).zip(guests.clone()).collect::<Vec<(u64, Guest)>>();
        arriving.reverse();
        let mut served = BTreeSet::new();
        let wished = |number: u64, guest: &Guest| {
            wish(number, guest.on, &guest.locks, i64::try_from(number).unwrap())
        };
        for _ in 0..200 {
            if let Some((number, guest)) = arriving.pop() {
                wait(&mut locks, number, &wished(number, &guest));
                open.insert(number, guest);
            }
            for number in open.keys().copied().collect::<Vec<_>>() {
                if open[&number].leaves && !left.contains_key(&number) {
                    locks.replace_waiting(waiter(number).task, BTreeMap::new());
                    open.remove(&number);
                }
            }
            // Only who is told looks again: a wake-up that is lost would show as one never served.
            while let Some(who) = locks.ready().first().copied() {
                let number = open.keys().copied().find(|n| waiter(*n) == who).unwrap();
                let guest = open[&number].clone();
                take(&mut locks, number, &wished(number, &guest));
                left.insert(number, guest.lasts);
                served.insert(number);
            }
            for (one, a) in locks.held() {
                for (other, b) in locks.held() {
                    let apart = one == other || a.executor != b.executor;
                    prop_assert!(apart || conflict(&a.locks, &b.locks).is_none());
                }
            }
            for (number, left) in &mut left {
                *left -= 1;
                if *left == 0 {
                    locks.release(attempt(*number));
                    open.remove(number);
                }
            }
            left.retain(|_, left| *left > 0);
        }
        let all = (0..).zip(&guests).filter(|(_, guest)| !guest.leaves);
        let due: BTreeSet<u64> = all.map(|(number, _)| number).collect();
        prop_assert!(due.is_subset(&served), "never served: {:?}", due.difference(&served));
        prop_assert_eq!(locks.held().count(), 0);
    }
}
