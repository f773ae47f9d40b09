//! The driver with real supervisors and a server made of channels: through restarts, lost
//! connections, repeated and late orders.
#![cfg(unix)]

use std::time::Duration;

use mantle_shared::protocol::{
    CancelResult, Outcome, RecordBody, ReportedState, StartRefusal, StartResult,
};
use tentacle::link::LinkEvent;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn s30_a_step_that_is_stored_and_forgotten_still_has_its_outcome() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    assert!(world.connect(1).await.is_empty());
    let order = script(1, "echo first; sleep 0.4; echo second; exit 5");
    assert_eq!(
        world.start_attempt(1, &order).await.result,
        StartResult::Accepted
    );
    let early = world.collect_until("first").await;
    assert_eq!(
        texts(&early),
        ["first"],
        "the first line comes before the second exists"
    );
    let (late, end) = world.collect(order.attempt, early.len() as u64).await;
    let all = [early, late].concat();
    check(&end, &all);
    assert_eq!((end.outcome, end.exit_code), (Outcome::Failed, Some(5)));
    assert_eq!(texts(&all), ["first", "second"]);
    let dir = state.attempt(order.attempt);
    assert!(dir.exists());
    world.acknowledge(order.attempt, 2).await;
    // The outcome is remembered after everything else is gone.
    until_then("the folder's removal", || !dir.exists()).await;
    let again = world.start_attempt(1, &order).await;
    assert_eq!(again.result, StartResult::Ended(end.clone()));
    world.stop().await;
    let mut world = World::start(&state);
    assert!(world.connect(1).await.is_empty());
    assert_eq!(
        world.start_attempt(1, &order).await.result,
        StartResult::Ended(end)
    );
    world.stop().await;
}

#[tokio::test]
async fn s39_a_line_of_an_idle_script_arrives_within_a_quarter_of_a_second() {
    let (dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let gate = dir.path().join("gate");
    let text = format!(
        "echo ready; while [ ! -e {} ]; do sleep 0.01; done; echo now",
        gate.display()
    );
    world.start_attempt(1, &script(1, &text)).await;
    world.collect_until("ready").await;
    let begun = Instant::now();
    std::fs::write(&gate, b"").unwrap();
    world.collect_until("now").await;
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "{:?}",
        begun.elapsed()
    );
    world.stop().await;
}

#[tokio::test]
async fn s25_s26_the_same_order_many_times_is_one_process() {
    let (dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let mark = dir.path().join("mark");
    let order = script(1, &format!("echo x >> {}", mark.display()));
    for _ in 0..20 {
        let answer = world.start_attempt(1, &order).await;
        assert!(matches!(
            answer.result,
            StartResult::Accepted | StartResult::Ended(_)
        ));
    }
    let dir_of = state.attempt(order.attempt);
    until_then("the end", || {
        tentacle::supervisor::files::read_result(&dir_of, order.attempt)
            .unwrap()
            .is_some()
    })
    .await;
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "x\n");
    let mut other = order.clone();
    other.step = "Another".to_owned();
    match world.start_attempt(1, &other).await.result {
        StartResult::Refused { reason, .. } => assert_eq!(reason, StartRefusal::Conflict),
        other => panic!("{other:?}"),
    }
    world.stop().await;
}

/// The agent dies in the middle and comes back: the step goes on, no line is missing or doubled.
#[tokio::test]
async fn s35_s53_a_killed_agent_finds_its_step_again() {
    let (dir, state) = state();
    let gate = dir.path().join("gate");
    let mut world = World::start(&state);
    world.connect(1).await;
    let text = format!(
        "echo one; while [ ! -e {} ]; do sleep 0.02; done; echo two; exit 6",
        gate.display()
    );
    let order = script(1, &text);
    world.start_attempt(1, &order).await;
    world.collect_until("one").await;
    world.kill().await;
    let mut world = World::start(&state);
    let reports = world.connect(1).await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].state, ReportedState::Running);
    assert_eq!(reports[0].records, 1);
    world.resynced(order.attempt, 1).await;
    std::fs::write(&gate, b"").unwrap();
    let (records, end) = world.collect(order.attempt, 1).await;
    assert_eq!(texts(&records), ["two"]);
    assert_eq!(
        (end.outcome, end.exit_code, end.records),
        (Outcome::Failed, Some(6), 2)
    );
    world.stop().await;
}

#[tokio::test]
async fn s52_an_agent_that_is_stopped_in_good_order_leaves_its_step_running() {
    let (dir, state) = state();
    let gate = dir.path().join("gate");
    let mut world = World::start(&state);
    world.connect(1).await;
    let text = format!(
        "echo one; while [ ! -e {} ]; do sleep 0.02; done; exit 6",
        gate.display()
    );
    let order = script(1, &text);
    world.start_attempt(1, &order).await;
    world.collect_until("one").await;
    world.stop().await;
    let mut world = World::start(&state);
    assert_eq!(world.connect(1).await[0].state, ReportedState::Running);
    world.resynced(order.attempt, 0).await;
    std::fs::write(&gate, b"").unwrap();
    let (records, end) = world.collect(order.attempt, 0).await;
    assert_eq!(texts(&records), ["one"]);
    assert_eq!(end.exit_code, Some(6));
    world.stop().await;
}

#[tokio::test]
async fn s54_a_step_that_ended_while_the_agent_was_down_has_its_exit_code() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = script(1, "echo one; exit 8");
    world.start_attempt(1, &order).await;
    world.kill().await;
    let dir = state.attempt(order.attempt);
    until("the result", || {
        tentacle::supervisor::files::read_result(&dir, order.attempt)
            .unwrap()
            .is_some()
    });
    let mut world = World::start(&state);
    match &world.connect(1).await[0].state {
        ReportedState::Ended(end) => assert_eq!((end.exit_code, end.records), (Some(8), 1)),
        other => panic!("{other:?}"),
    }
    world.resynced(order.attempt, 0).await;
    let (records, end) = world.collect(order.attempt, 0).await;
    check(&end, &records);
    world.stop().await;
}

/// The supervisor is killed as well: nobody can know what became of the step, and a torn record at
/// the end of its spool is said and not hidden.
#[tokio::test]
async fn s36_a_killed_supervisor_is_unknown_and_its_lines_arrive_up_to_the_damage() {
    let (home, state) = state();
    let mark = home.path().join("mark");
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = script(
        1,
        &format!("echo $$ > {}; echo one; sleep 300", mark.display()),
    );
    world.start_attempt(1, &order).await;
    world.collect_until("one").await;
    world.kill().await;
    let dir = state.attempt(order.attempt);
    let process = supervisor_of(&dir);
    signal(process.pid, rustix::process::Signal::KILL);
    until("its death", || !tentacle::process::is_alive(&process));
    let mut spool = std::fs::File::options()
        .append(true)
        .open(dir.join("spool-00000000000000000000"))
        .unwrap();
    std::io::Write::write_all(&mut spool, b"deadbeef\toi\t17").unwrap();
    drop(spool);
    let mut world = World::start(&state);
    world.connect(1).await;
    world.resynced(order.attempt, 0).await;
    let (records, end) = world.collect(order.attempt, 0).await;
    check(&end, &records);
    assert_eq!(end.outcome, Outcome::Unknown);
    assert!(end.message.contains("has stopped"), "{}", end.message);
    assert_eq!(living(&mark), Vec::<u32>::new());
    assert_eq!(texts(&records), ["one"]);
    assert!(
        matches!(&records[1].body, RecordBody::Gap { bytes: 14, reason, .. } if reason.starts_with("truncated here")),
        "{records:?}"
    );
    world.stop().await;
}

fn supervisor_of(dir: &std::path::Path) -> tentacle::process::ProcessIdentity {
    match tentacle::supervisor::files::read_claim(dir).unwrap() {
        Some(tentacle::supervisor::files::Claim::Supervisor { process }) => process,
        other => panic!("{other:?}"),
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Those of the processes that have written their pids there which are still alive.
fn living(mark: &std::path::Path) -> Vec<u32> {
    let text = std::fs::read_to_string(mark).unwrap();
    let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(!pids.is_empty());
    let alive = |pid: &u32| tentacle::process::identity_of(*pid).is_some();
    pids.into_iter().filter(alive).collect()
}

/// A step that does not listen, with a child that has left its session and one that forgot its
/// environment. Each writes its pid down.
fn stubborn(mark: &std::path::Path) -> mantle_shared::order::Order {
    let mark = mark.display();
    let child = format!("trap \"\" TERM; echo $$ >> {mark}; while :; do sleep 0.1; done");
    let mut order = script(
        1,
        &format!(
            "trap '' TERM; echo $$ >> {mark}\nsetsid sh -c '{child}' &\nenv -i sh -c '{child}' &\nwhile [ $(wc -l < {mark}) -lt 3 ]; do sleep 0.02; done; echo ready; while :; do sleep 0.1; done"
        ),
    );
    order.locks = vec![mantle_shared::lock::Lock::exclusive("target")];
    order
}

/// As the OOM killer does it: an orphan holds the step's lock until the agent has ended it, whatever it
/// tries to get away.
#[tokio::test]
async fn what_a_killed_supervisor_leaves_behind_is_stopped_before_its_lock_is_free() {
    let (home, state) = state();
    let mark = home.path().join("mark");
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = stubborn(&mark);
    world.start_attempt(1, &order).await;
    world.collect_until("ready").await;
    assert_eq!(living(&mark).len(), 3);
    let mut next = script(2, "echo next");
    next.locks.clone_from(&order.locks);
    signal(
        supervisor_of(&state.attempt(order.attempt)).pid,
        rustix::process::Signal::KILL,
    );
    // Whenever it is let in, nothing of the other is there any more.
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let waited = async {
        loop {
            again.tick().await;
            match world.start_attempt(1, &next).await.result {
                StartResult::Refused { reason, .. } => assert_eq!(reason, StartRefusal::Busy),
                other => break other,
            }
        }
    };
    assert_eq!(in_time("the lock", waited).await, StartResult::Accepted);
    assert_eq!(living(&mark), Vec::<u32>::new());
    let (_, end) = world.collect(order.attempt, 1).await;
    assert_eq!(end.outcome, Outcome::Unknown);
    assert!(end.message.contains("has stopped"), "{}", end.message);
    world.stop().await;
}

/// A supervisor that hangs does nothing about a cancel: then the agent does.
#[tokio::test]
async fn a_cancel_reaches_the_step_of_a_supervisor_that_hangs() {
    let (home, state) = state();
    let mark = home.path().join("mark");
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = stubborn(&mark);
    world.start_attempt(1, &order).await;
    world.collect_until("ready").await;
    let supervisor = supervisor_of(&state.attempt(order.attempt));
    signal(supervisor.pid, rustix::process::Signal::STOP);
    assert_eq!(
        world.cancel(1, order.attempt).await.result,
        CancelResult::Cancelling
    );
    let (_, end) = world.collect(order.attempt, 1).await;
    assert_eq!(living(&mark), Vec::<u32>::new());
    assert!(!tentacle::process::is_alive(&supervisor));
    assert_eq!(end.outcome, Outcome::Unknown);
    assert!(
        end.message.contains("did not answer a cancel"),
        "{}",
        end.message
    );
    world.stop().await;
}

#[tokio::test]
async fn a_portion_that_the_server_dropped_is_sent_again_while_the_step_runs() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let go = state.root().join("go");
    let run = format!(
        "echo one; echo two; while [ ! -e '{}' ]; do sleep 0.05; done; echo three",
        go.display()
    );
    let order = script(1, &run);
    world.start_attempt(1, &order).await;
    world.collect_until("two").await;
    // The server stored the first line and dropped the second; whatever followed it is no use.
    world.stored(order.attempt, 1).await;
    world.stored(order.attempt, 1).await;
    let again = world.report().await;
    let mantle_shared::protocol::Message::Records(again) = again else {
        panic!("{}", again.name());
    };
    assert_eq!(again.first_seq, 1);
    assert_eq!(texts(&again.records), ["two"]);
    world.stored(order.attempt, 2).await;
    std::fs::write(go, b"").unwrap();
    let (rest, _) = world.collect(order.attempt, 2).await;
    assert_eq!(texts(&rest), ["three"]);
    world.stop().await;
}

#[tokio::test]
async fn s34_records_go_on_from_where_the_server_is_after_lost_connections() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = script(1, "seq 1 20000; sleep 0.2; seq 20001 30000");
    world.start_attempt(1, &order).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        match world.report().await {
            mantle_shared::protocol::Message::Records(records) => {
                assert_eq!(records.first_seq, all.len() as u64);
                all.extend(records.records);
            }
            other => panic!("{}", other.name()),
        }
        world
            .event(LinkEvent::Disconnected {
                reason: "test".to_owned(),
            })
            .await;
        let fresh = World::reports_anew(&mut world);
        drop(fresh);
        world.connect(1).await;
        world.resynced(order.attempt, all.len() as u64).await;
    }
    let (rest, end) = world.collect(order.attempt, all.len() as u64).await;
    all.extend(rest);
    check(&end, &all);
    let expected: Vec<String> = (1..=30_000).map(|number| number.to_string()).collect();
    assert_eq!(texts(&all), expected);
    world.stop().await;
}

#[tokio::test]
async fn s45_s48_a_cancel_through_the_agent_stands_also_after_a_lost_connection() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = script(
        1,
        "trap 'echo bye; exit 1' TERM; echo ready; while :; do sleep 0.05; done",
    );
    world.start_attempt(1, &order).await;
    world.collect_until("ready").await;
    assert_eq!(
        world.cancel(1, order.attempt).await.result,
        CancelResult::Cancelling
    );
    world
        .event(LinkEvent::Disconnected {
            reason: "test".to_owned(),
        })
        .await;
    drop(World::reports_anew(&mut world));
    world.connect(1).await;
    world.resynced(order.attempt, 1).await;
    let (records, end) = world.collect(order.attempt, 1).await;
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(texts(&records).contains(&"bye".to_owned()));
    match world.cancel(1, order.attempt).await.result {
        CancelResult::Ended(again) => assert_eq!(again, end),
        other => panic!("{other:?}"),
    }
    world.stop().await;
}

#[tokio::test]
async fn s44_a_cancel_that_overtakes_its_start_keeps_it_from_starting() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let order = script(1, "echo never");
    assert_eq!(
        world.cancel(1, order.attempt).await.result,
        CancelResult::Voided
    );
    match world.start_attempt(1, &order).await.result {
        StartResult::Refused { reason, .. } => assert_eq!(reason, StartRefusal::Voided),
        other => panic!("{other:?}"),
    }
    assert!(!state.attempt(order.attempt).exists());
    world.stop().await;
}

#[tokio::test]
async fn orders_that_cannot_be_carried_out_are_refused_and_leave_nothing() {
    let (_dir, state) = state();
    let mut world = World::start(&state);
    world.connect(1).await;
    let mut order = script(1, "echo never");
    order.uses = "teleport".to_owned();
    match world.start_attempt(1, &order).await.result {
        StartResult::Refused { reason, message } => {
            assert_eq!(reason, StartRefusal::BadOrder);
            assert!(message.contains("teleport"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!state.attempt(order.attempt).exists());
    world.stop().await;
}
