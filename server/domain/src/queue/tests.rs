//! The order of the queue by tables, and that nobody starves by a simulation that never ends.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use mantle_shared::uuid::Uuid;

const LIMIT: usize = 2;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn task(number: u64) -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn owner(number: u128) -> ProjectId {
    ProjectId::from_uuid(Uuid::from_u128(number))
}

/// A task of a project into a place of its own.
fn queued(number: u64, project: u128) -> Queued {
    Queued {
        task: task(number),
        number,
        owner: Some(owner(project)),
        key: Some(format!("{project}/{number}")),
        priority: Priority::Normal,
        moved_up: None,
        not_before: None,
        expires: None,
        awaits: None,
    }
}

fn away(targets: &[&str]) -> Awaited {
    Awaited {
        targets: targets.iter().map(|&name| name.to_owned()).collect(),
        until: at(4980),
    }
}

fn urgent(number: u64, project: u128) -> Queued {
    Queued {
        priority: Priority::High,
        ..queued(number, project)
    }
}

fn into(key: &str, task: Queued) -> Queued {
    Queued {
        key: Some(key.to_owned()),
        ..task
    }
}

fn running(number: u64, project: u128, key: &str) -> Running {
    Running {
        number,
        owner: Some(owner(project)),
        key: Some(key.to_owned()),
        lane: Lane::Normal,
        awaits_person: false,
    }
}

/// The numbers of the waiting tasks in their order.
fn order(queued: &[Queued], running: &[Running], recent: &[Lane]) -> Vec<u64> {
    let look = Look {
        queued,
        running,
        recent,
        limit: LIMIT,
        now: at(1000),
    };
    numbers(queued, &arrange(&look))
}

fn numbers(queued: &[Queued], places: &[Place]) -> Vec<u64> {
    let number = |place: &Place| queued.iter().find(|q| q.task == place.task).unwrap().number;
    places.iter().map(number).collect()
}

fn turn(queued: &[Queued], running: &[Running], number: u64) -> Turn {
    let look = Look {
        queued,
        running,
        recent: &[],
        limit: LIMIT,
        now: at(1000),
    };
    let places = arrange(&look);
    let place = places.iter().find(|place| place.task == task(number));
    place.unwrap().turn.clone()
}

#[test]
fn projects_take_turns() {
    let many = [
        queued(1, 1),
        queued(2, 1),
        queued(3, 1),
        queued(4, 2),
        queued(5, 3),
    ];
    assert_eq!(order(&many, &[], &[]), [1, 4, 5, 2, 3]);
    // What runs is a turn that the project has had.
    let runs = [running(0, 2, "2/0")];
    assert_eq!(order(&many, &runs, &[]), [1, 5, 2, 4, 3]);
    // While it waits for a person it is none.
    let asks = [Running {
        awaits_person: true,
        ..running(0, 2, "2/0")
    }];
    assert_eq!(order(&many, &asks, &[]), [1, 4, 5, 2, 3]);
}

#[test]
fn what_was_moved_comes_first_then_what_is_urgent() {
    let all = [
        queued(1, 1),
        urgent(2, 2),
        Queued {
            moved_up: Some(at(5)),
            ..queued(3, 3)
        },
        Queued {
            moved_up: Some(at(6)),
            ..queued(4, 4)
        },
    ];
    assert_eq!(order(&all, &[], &[]), [4, 3, 2, 1]);
}

#[test]
fn after_some_urgent_ones_another_has_its_turn() {
    let mut all: Vec<Queued> = (2..9).map(|number| urgent(number, number.into())).collect();
    all.push(queued(1, 1));
    assert_eq!(order(&all, &[], &[]), [2, 3, 4, 5, 1, 6, 7, 8]);
    let recent = [Lane::Urgent, Lane::Top, Lane::Urgent];
    assert_eq!(order(&all, &[], &recent), [2, 1, 3, 4, 5, 6, 7, 8]);
    let recent = [Lane::Normal, Lane::Urgent, Lane::Urgent, Lane::Urgent];
    assert_eq!(order(&all, &[], &recent), [2, 3, 4, 5, 1, 6, 7, 8]);
    // One that could not start has no turn to give.
    all.pop();
    all.push(into("busy", queued(1, 1)));
    let runs = [running(0, 1, "busy")];
    assert_eq!(order(&all, &runs, &recent).last(), Some(&1));
}

#[test]
fn every_waiting_task_says_why() {
    let all = [
        queued(1, 1),
        into("a", queued(2, 2)),
        into("b", queued(3, 3)),
        into("b", queued(4, 3)),
        queued(5, 5),
        Queued {
            not_before: Some(at(2000)),
            ..queued(6, 6)
        },
        Queued {
            expires: Some(at(1000)),
            ..queued(7, 7)
        },
        Queued {
            awaits: Some(away(&["db1"])),
            ..queued(8, 8)
        },
        Queued {
            awaits: Some(away(&["db1", "db2"])),
            ..queued(9, 9)
        },
        Queued {
            awaits: Some(away(&["a", "b", "c", "d", "e"])),
            ..queued(10, 10)
        },
        Queued {
            awaits: Some(Awaited {
                until: at(1000),
                ..away(&["db1"])
            }),
            ..queued(11, 11)
        },
    ];
    let runs = [running(0, 2, "a")];
    let table = [
        (1, "starts next"),
        (2, "waits for T-0, which runs for the same project"),
        (3, "waits for its turn: 2 tasks run at once"),
        (4, "waits for T-3, which comes first for the same project"),
        (6, "is scheduled for 1970-01-01T00:33:20Z"),
        (7, "has expired at 1970-01-01T00:16:40Z"),
        (
            8,
            "waits for the agent of db1, which may come back, until 01:23:00 UTC",
        ),
        (9, "waits for the agents of db1, db2, which"),
        (10, "waits for the agents of a, b, c and 2 more, which"),
        (11, "waits for its turn: 2 tasks run at once"),
    ];
    for (number, said) in table {
        let sentence = turn(&all, &runs, number).sentence();
        assert!(sentence.starts_with(said), "{number}: {sentence}");
    }
}

#[test]
fn what_waits_for_a_person_takes_no_place_and_keeps_its_key() {
    let asks = Running {
        awaits_person: true,
        ..running(0, 1, "a")
    };
    let all = [into("a", queued(1, 1)), queued(2, 2), queued(3, 3)];
    let runs = [asks];
    assert_eq!(turn(&all, &runs, 2), Turn::Now);
    assert_eq!(turn(&all, &runs, 3), Turn::Now);
    let behind = Reason::Behind {
        number: 0,
        runs: true,
    };
    assert_eq!(turn(&all, &runs, 1), Turn::Waits(behind));
}

#[test]
fn of_one_key_the_urgent_one_comes_first() {
    let all = [into("a", queued(1, 1)), into("a", urgent(2, 1))];
    assert_eq!(turn(&all, &[], 2), Turn::Now);
    let behind = Reason::Behind {
        number: 2,
        runs: false,
    };
    assert_eq!(turn(&all, &[], 1), Turn::Waits(behind));
}

#[test]
fn the_next_look_is_when_a_time_comes() {
    let all = [
        Queued {
            not_before: Some(at(10)),
            expires: Some(at(30)),
            ..queued(1, 1)
        },
        queued(2, 2),
    ];
    assert_eq!(next_look(&all, at(5)), Some(at(10)));
    assert_eq!(next_look(&all, at(10)), Some(at(30)));
    assert_eq!(next_look(&all, at(30)), None);
}

/// A task that somebody queues in the simulation.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    project: u128,
    place: u8,
    urgent: bool,
    lasts: u64,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (1..6_u128, 0..3_u8, any::<bool>(), 1..5_u64).prop_map(|(project, place, urgent, lasts)| {
        Arrival {
            project,
            place,
            urgent,
            lasts,
        }
    })
}

/// A server under a stream of tasks that never ends.
struct Busy {
    limit: usize,
    queued: Vec<Queued>,
    running: Vec<(Running, u64)>,
    recent: Vec<Lane>,
    lasts: BTreeMap<u64, u64>,
    next: u64,
}

impl Busy {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            queued: Vec::new(),
            running: Vec::new(),
            recent: Vec::new(),
            lasts: BTreeMap::new(),
            next: 1,
        }
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let number = self.next;
        self.next += 1;
        let key = format!("{}/{}", arrival.project, arrival.place);
        self.queued.push(Queued {
            priority: if arrival.urgent {
                Priority::High
            } else {
                Priority::Normal
            },
            ..into(&key, queued(number, arrival.project))
        });
        self.lasts.insert(number, arrival.lasts);
        number
    }

    /// A moment passes: what is done ends, what may start starts. Says what started.
    fn step(&mut self) -> Vec<u64> {
        for (_, left) in &mut self.running {
            *left -= 1;
        }
        self.running.retain(|(_, left)| *left > 0);
        let running: Vec<Running> = self.running.iter().map(|(run, _)| run.clone()).collect();
        let places = arrange(&Look {
            queued: &self.queued,
            running: &running,
            recent: &self.recent,
            limit: self.limit,
            now: at(1000),
        });
        let mut started = Vec::new();
        for place in places.iter().filter(|place| place.turn == Turn::Now) {
            let index = self.queued.iter().position(|q| q.task == place.task);
            let task = self.queued.remove(index.unwrap());
            let lane = Lane::of(task.priority, task.moved_up);
            self.recent.insert(0, lane);
            self.recent.truncate(URGENT_IN_A_ROW);
            started.push(task.number);
            let run = Running {
                number: task.number,
                owner: task.owner,
                key: task.key,
                lane,
                awaits_person: false,
            };
            let lasts = *self.lasts.get(&task.number).unwrap();
            self.running.push((run, lasts));
        }
        started
    }
}

proptest! {
    #[test]
    fn nobody_starves_and_no_bound_is_passed(
        limit in 1..4_usize,
        before in proptest::collection::vec(arrival(), 0..20),
        stream in proptest::collection::vec(arrival(), 1..40),
        project in 1..6_u128,
    ) {
        let mut busy = Busy::new(limit);
        for one in before {
            busy.arrive(one);
        }
        let late = busy.arrive(Arrival { project, place: 9, urgent: false, lasts: 1 });
        let mut endless = stream.iter().cycle();
        let mut began = None;
        // At most twenty turns of its project come before its own; in each every one of the five
        // projects starts one, behind four urgent ones each, and none lasts longer than four steps.
        for step in 0..20 * 5 * 5 * 4 {
            while busy.queued.len() < 40 {
                busy.arrive(*endless.next().unwrap());
            }
            let started = busy.step();
            prop_assert!(busy.running.len() <= limit);
            let keys: BTreeSet<_> = busy.running.iter().map(|(run, _)| &run.key).collect();
            prop_assert_eq!(keys.len(), busy.running.len(), "one running task a key");
            if started.contains(&late) {
                began = Some(step);
                break;
            }
        }
        prop_assert!(began.is_some(), "it never started");
    }

    #[test]
    fn the_order_in_which_it_is_told_does_not_matter(
        arrivals in proptest::collection::vec(arrival(), 1..30),
        turned in 0..30_usize,
    ) {
        let mut busy = Busy::new(2);
        for one in arrivals {
            busy.arrive(one);
        }
        let look = |queued: &[Queued]| {
            arrange(&Look { queued, running: &[], recent: &[], limit: 2, now: at(1000) })
        };
        let straight = look(&busy.queued);
        let mut other = busy.queued.clone();
        let by = turned % other.len();
        other.rotate_left(by);
        prop_assert_eq!(&look(&other), &straight);
        let positions: Vec<usize> = straight.iter().map(|place| place.position).collect();
        prop_assert_eq!(positions, (1..=busy.queued.len()).collect::<Vec<_>>());
    }
}
