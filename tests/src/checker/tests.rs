//! The checker is worth something only if it finds what is wrong: for each invariant a history in
//! which it is broken, beside the same history in which it holds.

use mantle_shared::protocol::{AttemptEnd, Outcome};
use mantle_shared::{AttemptId, Digest, TaskId, uuid::Uuid};
use tentacle::journal::Record;
use tentacle::process::ProcessIdentity;

use super::*;

fn attempt(number: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(number))
}

fn task_id() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(1))
}

fn start(number: u128, at: f64) -> StepStart {
    StepStart {
        attempt: attempt(number).to_string(),
        task: "T-1".to_owned(),
        action: "work".to_owned(),
        target: "web01".to_owned(),
        locks: NotedLock::all("target:x").unwrap(),
        pid: i32::try_from(number).unwrap(),
        at,
    }
}

fn end(number: u128, code: i32, at: f64) -> StepEnd {
    StepEnd {
        attempt: attempt(number).to_string(),
        code,
        lines: 3,
        at,
    }
}

fn accepted(number: u128, epoch: u64) -> Record {
    Record::Accepted {
        attempt: attempt(number),
        task: task_id(),
        epoch,
        payload: Digest::of(b"order"),
        at_us: 1,
        locks: Vec::new(),
    }
}

fn spawned(number: u128, pid: u32) -> Record {
    let process = ProcessIdentity {
        pid,
        start_time: 1,
        boot_id: "boot".to_owned(),
    };
    Record::Spawned {
        attempt: attempt(number),
        process,
    }
}

fn finished(number: u128, outcome: Outcome, code: i32) -> Record {
    let end = AttemptEnd {
        outcome,
        exit_code: Some(code),
        message: String::new(),
        records: 4,
        log: Digest::of(b"log"),
        started_at_us: 1,
        ended_at_us: 2,
    };
    Record::Finished {
        attempt: attempt(number),
        end,
    }
}

fn line(seq: u64, attempt: u32, text: &str) -> Line {
    Line {
        seq,
        action: "work".to_owned(),
        target: "web01".to_owned(),
        attempt,
        gap: false,
        text: text.to_owned(),
    }
}

fn event(seq: u64, state: &str, attempt: u32) -> TaskEvent {
    TaskEvent {
        seq,
        action: "work".to_owned(),
        target: "web01".to_owned(),
        state: state.to_owned(),
        attempt: Some(attempt),
    }
}

fn row(action: &str) -> AuditRow {
    AuditRow {
        action: action.to_owned(),
        task: "T-1".to_owned(),
    }
}

/// An action that failed once, was tried again and succeeded: everything is as it should be.
fn clean() -> History {
    let log = vec![
        line(1, 1, &format!("attempt {}", attempt(11))),
        line(2, 1, "line 1"),
        line(3, 1, "line 2"),
        line(4, 1, "line 3"),
        line(5, 2, &format!("attempt {}", attempt(12))),
        line(6, 2, "line 1"),
        line(7, 2, "line 2"),
        line(8, 2, "line 3"),
    ];
    let task = TaskHistory {
        number: "T-1".to_owned(),
        project: "shop".to_owned(),
        state: "succeeded".to_owned(),
        actions: vec![ActionEnd {
            action: "work".to_owned(),
            target: "web01".to_owned(),
            state: "succeeded".to_owned(),
            attempts: 2,
            exit_code: Some(0),
            message: String::new(),
            resolved: None,
        }],
        events: vec![
            event(1, "running", 1),
            event(2, "failed", 1),
            event(3, "running", 2),
            event(4, "succeeded", 2),
        ],
        log,
        ..TaskHistory::default()
    };
    let records = vec![
        accepted(11, 1),
        spawned(11, 111),
        finished(11, Outcome::Failed, 9),
        accepted(12, 2),
        spawned(12, 112),
        finished(12, Outcome::Succeeded, 0),
    ];
    let agent = AgentHistory {
        segments: vec![Segment {
            summary: 0,
            records,
        }],
    };
    History {
        starts: vec![start(11, 1.0), start(12, 5.0)],
        ends: vec![end(11, 9, 2.0), end(12, 0, 6.0)],
        agents: [("web01".to_owned(), agent)].into(),
        tasks: vec![task],
        audits: vec![AuditCheck {
            after: "the run".to_owned(),
            fault: None,
            rows: 3,
        }],
        audit: vec![
            row("deployment.create"),
            row("deployment.begin"),
            row("deployment.finish"),
        ],
        resources: vec![Resource {
            process: "the server".to_owned(),
            what: "descriptors".to_owned(),
            before: 10,
            after: 12,
            slack: 4,
        }],
        packages_whole: 1,
        ..History::default()
    }
}

/// What is found when the clean history is changed like this: the invariants, each once.
fn found(change: impl FnOnce(&mut History)) -> Vec<String> {
    let mut history = clean();
    change(&mut history);
    let mut names: Vec<String> = check(&history)
        .into_iter()
        .map(|violation| violation.invariant)
        .collect();
    names.dedup();
    names
}

fn records(history: &mut History) -> &mut Vec<Record> {
    &mut history.agents.get_mut("web01").unwrap().segments[0].records
}

#[test]
fn a_clean_history_is_clean() {
    assert_eq!(check(&clean()), []);
    assert_eq!(check(&History::default()), []);
}

#[test]
fn a_history_survives_being_kept() {
    let text = serde_json::to_string(&clean()).unwrap();
    let again: History = serde_json::from_str(&text).unwrap();
    assert_eq!(check(&again), []);
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}

#[test]
fn i1_a_second_start_is_found() {
    let twice = |history: &mut History| history.starts.push(start(11, 1.5));
    assert_eq!(found(twice), ["I1"]);
    // Two supervisors that never came to their script.
    let two = |history: &mut History| records(history).push(spawned(11, 999));
    assert_eq!(found(two), ["I1"]);
    // The same attempt on another agent.
    let elsewhere = |history: &mut History| {
        let records = vec![accepted(11, 1), spawned(11, 111)];
        let agent = AgentHistory {
            segments: vec![Segment {
                summary: 0,
                records,
            }],
        };
        history.agents.insert("web02".to_owned(), agent);
    };
    assert_eq!(found(elsewhere), ["I1"]);
}

#[test]
fn i2_two_attempts_at_once_are_found() {
    let early = |history: &mut History| {
        history.starts[1].at = 1.5;
        history.starts[1].locks = Vec::new();
    };
    assert_eq!(found(early), ["I2"]);
    let ordered = |history: &mut History| history.tasks[0].events.swap(1, 2);
    assert_eq!(found(ordered), ["I2"]);
}

#[test]
fn i3_each_fault_of_a_log_is_found() {
    let lost = |history: &mut History| drop(history.tasks[0].log.remove(2));
    assert_eq!(found(lost), ["I3"]);
    let tail = |history: &mut History| drop(history.tasks[0].log.pop());
    assert_eq!(found(tail), ["I3"]);
    let twice = |history: &mut History| history.tasks[0].log[3].text = "line 2".to_owned();
    assert_eq!(found(twice), ["I3"]);
    let foreign = |history: &mut History| history.tasks[0].log[3].text = "line x".to_owned();
    assert_eq!(found(foreign), ["I3"]);
    let order = |history: &mut History| history.tasks[0].log[3].seq = 1;
    assert_eq!(found(order), ["I3"]);
    let all = |history: &mut History| history.tasks[0].log.truncate(4);
    assert_eq!(found(all), ["I3"]);
}

#[test]
fn i3_what_a_gap_names_is_not_lost_without_a_word() {
    let gap = |history: &mut History| {
        let log = &mut history.tasks[0].log;
        log[2].gap = true;
        log[2].text = "1 line could not be kept".to_owned();
    };
    assert_eq!(found(gap), [""; 0]);
}

#[test]
fn i4_what_does_not_end_or_fails_without_cause_is_found() {
    let open = |history: &mut History| history.tasks[0].state = "running".to_owned();
    assert_eq!(found(open), ["I4"]);
    let failed = |history: &mut History| history.tasks[0].state = "failed".to_owned();
    assert_eq!(found(failed), ["I4"]);
    let excused = |history: &mut History| {
        history.tasks[0].state = "failed".to_owned();
        history.tasks[0].excuses = vec![Excuse::FullDisk];
    };
    assert_eq!(found(excused), [""; 0]);
    let nobody = |history: &mut History| {
        history.tasks[0].state = "cancelled".to_owned();
        history.tasks[0].excuses = vec![Excuse::FullDisk];
    };
    assert_eq!(found(nobody), ["I4"]);
    let broken = |history: &mut History| history.tasks[0].expected = Expected::Fails;
    assert_eq!(found(broken), ["I4"]);
    let taken_back = |history: &mut History| {
        history.tasks[0].first_verdict = Some("failed".to_owned());
    };
    assert_eq!(found(taken_back), ["I4"]);
}

#[test]
fn i5_a_success_without_a_success_is_found() {
    let journal = |history: &mut History| {
        records(history)[5] = finished(12, Outcome::Failed, 1);
    };
    assert_eq!(found(journal), ["I5"]);
    let unknown = |history: &mut History| drop(records(history).pop());
    assert_eq!(found(unknown), ["I5"]);
    let step = |history: &mut History| history.ends[1].code = 4;
    assert_eq!(found(step), ["I5"]);
    let no_end = |history: &mut History| drop(history.ends.pop());
    assert_eq!(found(no_end), ["I5"]);
    let verdict = |history: &mut History| {
        let mut failed = history.tasks[0].actions[0].clone();
        failed.action = "other".to_owned();
        failed.state = "failed".to_owned();
        history.tasks[0].actions.push(failed);
    };
    assert_eq!(found(verdict), ["I5"]);
}

#[test]
fn i5_what_a_person_said_counts_unless_it_came_late() {
    let said = |state: &'static str, word: &'static str| {
        move |history: &mut History| {
            records(history)[5] = finished(12, Outcome::Failed, 1);
            let task = &mut history.tasks[0];
            task.excuses = vec![Excuse::Resolved];
            task.actions[0].state = state.to_owned();
            task.actions[0].resolved = Some(word.to_owned());
        }
    };
    assert_eq!(found(said("succeeded", "succeeded")), [""; 0]);
    assert_eq!(found(said("unknown", "succeeded")), [""; 0]);
    assert_eq!(found(said("succeeded", "failed")), ["I5"]);
    // The task is called a success for all that.
    assert_eq!(found(said("unknown", "failed")), ["I5"]);
}

#[test]
fn i5_another_word_than_the_journals_is_found() {
    let change = |state: &'static str, code: Option<i32>| {
        move |history: &mut History| {
            history.tasks[0].state = "failed".to_owned();
            history.tasks[0].excuses = vec![Excuse::FullDisk];
            history.tasks[0].actions[0].state = state.to_owned();
            history.tasks[0].actions[0].exit_code = code;
        }
    };
    assert_eq!(found(change("failed", Some(1))), ["I5"]);
    assert_eq!(found(change("failed", None)), ["I5"]);
    assert_eq!(found(change("cancelled", None)), ["I5"]);
    assert_eq!(found(change("skipped", None)), ["I5"]);
    assert_eq!(found(change("not-started", None)), ["I5"]);
    assert_eq!(found(change("running", None)), ["I5"]);
    // Nobody knows: that is no contradiction.
    assert_eq!(found(change("unknown", None)), [""; 0]);
}

#[test]
fn i6_a_process_that_outlives_its_task_is_found() {
    let survivor = |history: &mut History| {
        history.survivors.push(Survivor {
            task: "T-1".to_owned(),
            attempt: attempt(12).to_string(),
            pid: 12,
        });
    };
    assert_eq!(found(survivor), ["I6"]);
    let abandoned = |history: &mut History| {
        survivor(history);
        history.tasks[0].state = "failed".to_owned();
        history.tasks[0].excuses = vec![Excuse::SupervisorKilled];
        history.tasks[0].actions[0].state = "abandoned".to_owned();
    };
    assert_eq!(found(abandoned), [""; 0]);
}

#[test]
fn i7_a_broken_package_is_found() {
    let broken = |history: &mut History| {
        history.packages.push(PackageSighting {
            path: "apps/shop/1.0".to_owned(),
            fault: "file01.txt holds 3 bytes".to_owned(),
        });
    };
    assert_eq!(found(broken), ["I7"]);
}

#[test]
fn i8_an_epoch_that_falls_is_found() {
    let falls = |history: &mut History| records(history)[3] = accepted(12, 0);
    assert_eq!(found(falls), ["I8"]);
    let obeyed = |history: &mut History| {
        records(history).push(Record::Voided {
            attempt: attempt(13),
            task: task_id(),
            epoch: 1,
            at_us: 9,
        });
    };
    assert_eq!(found(obeyed), ["I8"]);
    // A journal that was written anew is in the order of its attempts.
    let summary = |history: &mut History| {
        let mut records = records(history).clone();
        records.rotate_left(3);
        let agent = history.agents.get_mut("web01").unwrap();
        agent.segments.push(Segment {
            summary: records.len(),
            records,
        });
    };
    assert_eq!(found(summary), [""; 0]);
}

#[test]
fn i9_two_holders_of_a_lock_are_found() {
    let second = |history: &mut History| {
        let mut other = start(14, 5.5);
        other.action = "other".to_owned();
        history.starts.push(other);
        history.ends.push(StepEnd {
            lines: 0,
            ..end(14, 0, 7.0)
        });
        records(history).push(accepted(14, 2));
    };
    assert_eq!(found(second), ["I9"]);
    let free = |history: &mut History| {
        second(history);
        history.starts[2].locks = Vec::new();
    };
    assert_eq!(found(free), [""; 0]);
}

#[test]
fn i9_many_may_share_a_lock_and_nobody_beside_one_that_holds_it_alone() {
    // The first of three holds it long; the second is over when the third begins.
    let three = |modes: [&'static str; 3]| {
        move |history: &mut History| {
            let times = [(10.0, 20.0), (11.0, 12.0), (13.0, 14.0)];
            for (number, (mode, (from, until))) in (20..).zip(modes.into_iter().zip(times)) {
                let mut one = start(number, from);
                one.action = format!("work{number}");
                one.locks = NotedLock::all(mode).unwrap();
                history.starts.push(one);
                history.ends.push(StepEnd {
                    lines: 0,
                    ..end(number, 0, until)
                });
                records(history).push(accepted(number, 2));
            }
        }
    };
    let cases: [([&'static str; 3], bool); 6] = [
        (["disk:s", "disk:s", "disk:s"], false),
        (["disk:s", "disk:s", "disk:x"], true),
        (["disk:x", "disk:s", "disk:s"], true),
        (["disk:s", "disk:x", "disk:s"], true),
        (["disk:x", "other:x", "disk:s,other:x"], true),
        (["disk:x", "-", "other:x"], false),
    ];
    for (modes, expected) in cases {
        assert_eq!(
            found(three(modes)),
            vec!["I9"; usize::from(expected)],
            "{modes:?}"
        );
    }
}

#[test]
fn notes_of_locks_are_read_or_refused() {
    let held = NotedLock::all("app:test/shop:x,disk:s").unwrap();
    let names: Vec<_> = held
        .iter()
        .map(|one| (one.name.as_str(), one.shared))
        .collect();
    assert_eq!(names, [("app:test/shop", false), ("disk", true)]);
    assert_eq!(NotedLock::all("-"), Some(Vec::new()));
    for wrong in ["", "disk", "disk:", "disk:y", "disk:x,"] {
        assert_eq!(NotedLock::all(wrong), None, "{wrong}");
    }
}

#[test]
fn i10_a_secret_in_clear_is_found() {
    let leaks = |history: &mut History| history.canaries.push("server.err".to_owned());
    assert_eq!(found(leaks), ["I10"]);
}

#[test]
fn i12_a_broken_chain_and_a_missing_row_are_found() {
    let broken = |history: &mut History| {
        history.audits[0].fault = Some("row 2 was changed".to_owned());
    };
    assert_eq!(found(broken), ["I12"]);
    let shorter = |history: &mut History| {
        history.audits.push(AuditCheck {
            after: "another life".to_owned(),
            fault: None,
            rows: 2,
        });
    };
    assert_eq!(found(shorter), ["I12"]);
    for index in 0..3 {
        let missing = |history: &mut History| drop(history.audit.remove(index));
        assert_eq!(found(missing), ["I12"]);
        let twice = |history: &mut History| {
            let row = history.audit[index].clone();
            history.audit.push(row);
        };
        assert_eq!(found(twice), ["I12"]);
    }
}

#[test]
fn i13_what_does_not_come_back_is_found() {
    let leaks = |history: &mut History| history.resources[0].after = 15;
    assert_eq!(found(leaks), ["I13"]);
}

#[test]
fn i14_a_start_that_no_journal_has_is_found() {
    let unknown = |history: &mut History| {
        records(history).retain(
            |record| !matches!(record, Record::Accepted { attempt: of, .. } if *of == attempt(11)),
        );
    };
    assert_eq!(found(unknown), ["I14"]);
}

#[test]
fn p0_a_process_that_died_by_itself_is_found() {
    let dies = |history: &mut History| {
        history
            .deaths
            .push("the server ended by itself (signal: 6)".to_owned());
    };
    assert_eq!(found(dies), ["P0"]);
}

#[test]
fn every_invariant_has_its_test() {
    // The names of the tests above begin with the invariant.
    let text = include_str!("tests.rs");
    for (name, _) in INVARIANTS {
        let test = format!("fn {}_", name.to_lowercase());
        assert!(text.contains(&test), "no test begins with {test}");
    }
}
