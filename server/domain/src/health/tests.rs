//! Health checks: files, when one is due, who a run is about, and what it finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mantle_shared::ids::{AgentId, TargetId, TaskId};
use mantle_shared::protocol::{AttemptEnd, Outcome, RecordHasher};
use mantle_shared::uuid::Uuid;

use super::*;
use crate::file::{Known, Source, export, parse};
use crate::ids::HealthCheckId;
use crate::order::{OrderContext, draft_order};
use crate::plan::{LeftOutReason, NodeRef};
use crate::state::{Input, Moment, NothingHeld, Policy, State, Verdict, decide, evolve};
use crate::target::AgentFacts;

const INFRASTRUCTURE: &str = "\
mantle: v1
environments: [{ name: prod }, { name: test }]
targets:
  - { name: db01, tags: [db], environments: [prod] }
  - { name: web01, tags: [web], environments: [prod] }
health_checks:
  - name: disk
    description: Is there room?
    tags: [web, db]
    environments: prod
    linux: |
      df / | awk '{ exit $5 + 0 > 90 }'
    windows: exit 0
    every: 1h
    timeout: 30s
    maintenance: skip
  - { name: ping, linux: 'true' }
";

fn read(text: &str) -> Result<Vec<HealthCheckDefinition>, Vec<String>> {
    let source = Source {
        name: "i.yaml",
        text,
    };
    let known = Known {
        complete: true,
        ..Known::default()
    };
    match parse(&[source], &known) {
        Ok(definitions) => Ok(definitions.health_checks),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

fn disk() -> HealthCheckDefinition {
    read(INFRASTRUCTURE).unwrap().remove(0)
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn a_target(n: u128, name: &str, platform: Platform) -> TargetFacts {
    TargetFacts {
        id: TargetId::from_uuid(Uuid::from_u128(n)),
        name: name.to_owned(),
        tags: vec!["web".to_owned()],
        environments: vec!["prod".to_owned()],
        disabled: false,
        maintenance: None,
        unhealthy: None,
        agent: Some(AgentFacts {
            id: AgentId::from_uuid(Uuid::from_u128(100 + n)),
            online: true,
            version: "1".to_owned(),
            platform,
            arch: String::new(),
            host_name: String::new(),
            features: Vec::new(),
        }),
    }
}

fn an_order(check: HealthCheckDefinition) -> HealthOrder {
    HealthOrder {
        id: HealthCheckId::from_uuid(Uuid::from_u128(9)),
        check,
        only: Vec::new(),
    }
}

fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(77))
}

#[test]
fn files_say_all_of_a_check_and_exporting_them_says_the_same() {
    let checks = read(INFRASTRUCTURE).unwrap();
    let [disk, ping] = checks.as_slice() else {
        panic!("{checks:?}");
    };
    assert_eq!(disk.tags, ["db", "web"]);
    assert_eq!(disk.environments, ["prod"]);
    assert_eq!((disk.every_ms, disk.timeout_ms), (Some(3_600_000), 30_000));
    assert_eq!(disk.maintenance, InMaintenance::Skip);
    assert_eq!(ping.every_ms, None);
    assert_eq!(ping.timeout_ms, DEFAULT_TIMEOUT_MS);
    let source = Source {
        name: "i.yaml",
        text: INFRASTRUCTURE,
    };
    let all = parse(&[source], &Known::default()).unwrap();
    let text = export::infrastructure(&all).unwrap();
    assert_eq!(read(&text).unwrap(), checks, "{text}");
}

#[test]
fn what_cannot_be_meant_is_named_with_its_place() {
    for (rest, expected) in [
        (
            "- { name: a }",
            "i.yaml:3:13: health check 'a' has no script",
        ),
        ("- { name: a, linux: ' ' }", "the script is empty"),
        (
            "- { name: a, linux: x, every: 1s }",
            "it must be from 5s to 31d",
        ),
        (
            "- { name: a, linux: x, timeout: 2h }",
            "it must be from 1s to 1h",
        ),
        (
            "- { name: a, linux: x, environments: prud }",
            "there is no environment 'prud'",
        ),
        (
            "- { name: a, linux: x }\n  - { name: A, linux: x }",
            "give one of them another name",
        ),
        ("- { name: a, linux: x, interval: 1h }", "interval"),
    ] {
        let text = format!("mantle: v1\nhealth_checks:\n  {rest}\n");
        let errors = read(&text).unwrap_err().join("\n");
        assert!(errors.contains(expected), "{rest}: {errors}");
    }
}

#[test]
fn a_check_is_due_when_its_time_is_over_and_once_for_all_that_were_missed() {
    let hourly = disk();
    let by_hand = HealthCheckDefinition {
        every_ms: None,
        ..disk()
    };
    for (last, now, due) in [
        (None, 0, true),
        (Some(0), 3599, false),
        (Some(0), 3600, true),
        // The server was down for a day.
        (Some(0), 86_400, true),
        (Some(86_400), 86_401, false),
        // The clock was set back.
        (Some(86_400), 0, true),
    ] {
        let last = last.map(time);
        assert_eq!(hourly.is_due(last, time(now)), due, "{last:?} {now}");
        assert!(!by_hand.is_due(last, time(now)));
    }
}

#[test]
fn the_worst_finding_counts_and_of_those_the_oldest() {
    use CheckStatus::{Healthy, HealthyWithWarnings, Unhealthy, Unknown};
    for (found, expected) in [
        (vec![], None),
        (vec![(Healthy, 1), (Healthy, 5)], Some((Healthy, 1))),
        (
            vec![(Healthy, 1), (HealthyWithWarnings, 5)],
            Some((HealthyWithWarnings, 5)),
        ),
        (
            vec![(Unknown, 5), (HealthyWithWarnings, 1)],
            Some((Unknown, 5)),
        ),
        (
            vec![(Unhealthy, 7), (Unknown, 1), (Unhealthy, 5)],
            Some((Unhealthy, 5)),
        ),
    ] {
        assert_eq!(worst(found.clone(), |one| *one), expected, "{found:?}");
    }
    for status in [Healthy, HealthyWithWarnings, Unknown, Unhealthy] {
        assert_eq!(CheckStatus::from_word(status.word()), Some(status));
    }
}

#[test]
fn a_run_is_about_who_can_be_checked_and_says_who_is_left_out_and_why() {
    let web = |n, name: &str| a_target(n, name, Platform::Linux);
    let with = |mut target: TargetFacts, change: fn(&mut TargetFacts)| {
        change(&mut target);
        target
    };
    let targets = [
        with(web(1, "away"), |t| t.agent.as_mut().unwrap().online = false),
        with(web(2, "broken"), |t| {
            t.maintenance = Some("disk".to_owned());
        }),
        with(web(3, "elsewhere"), |t| t.environments.clear()),
        with(web(4, "expected"), |t| t.agent = None),
        web(5, "linux"),
        with(web(6, "off"), |t| t.disabled = true),
        with(web(7, "other"), |t| t.tags.clear()),
        a_target(8, "windows", Platform::Windows),
    ];
    let plan = plan(task(), &an_order(disk()), &targets).unwrap();
    let names: Vec<&str> = plan.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["linux", "windows"]);
    let left_out: Vec<_> = plan
        .left_out
        .iter()
        .map(|t| (t.name.as_str(), t.why))
        .collect();
    assert_eq!(
        left_out,
        [
            ("away", LeftOutReason::Unavailable),
            ("broken", LeftOutReason::Maintenance),
            ("expected", LeftOutReason::NotJoined),
        ]
    );
    // It holds nothing, so it waits for no deployment and none waits for it.
    let actions = &plan.steps[0].actions;
    assert!(actions.iter().all(|action| action.locks.is_empty()));
    let nodes: Vec<usize> = actions.iter().map(|action| action.nodes.len()).collect();
    assert_eq!(nodes, [1, 1]);

    let relaxed = HealthCheckDefinition {
        maintenance: InMaintenance::Check,
        ..disk()
    };
    let plan = super::plan(task(), &an_order(relaxed), &targets[1..2]).unwrap();
    assert_eq!(plan.targets.len(), 1);
}

#[test]
fn a_run_about_nobody_says_why() {
    let order = an_order(disk());
    let mut away = a_target(1, "web01", Platform::Linux);
    away.agent.as_mut().unwrap().online = false;
    let error = plan(task(), &order, &[away]).unwrap_err().to_string();
    assert_eq!(
        error,
        "none of the targets of health check 'disk' can be checked: web01 is offline"
    );
    let only = HealthOrder {
        only: vec![TargetId::from_uuid(Uuid::from_u128(2))],
        ..order
    };
    let there = a_target(1, "web01", Platform::Linux);
    let error = plan(task(), &only, &[there]).unwrap_err().to_string();
    assert!(error.contains("about no target"), "{error}");
}

/// Runs a check of three targets to its end through the state machine that deployments go through.
struct Run {
    state: State,
    /// The targets whose agents are connected.
    online: Vec<u128>,
}

impl Run {
    fn begin() -> Self {
        Self::begin_with(&[1, 2, 3])
    }

    fn begin_with(online: &[u128]) -> Self {
        let targets = [1, 2, 3].map(|n| a_target(n, &format!("web{n:02}"), Platform::Linux));
        let plan = plan(task(), &an_order(disk()), &targets).unwrap();
        let mut run = Self {
            state: State::default(),
            online: online.to_vec(),
        };
        run.take(
            &Input::Begin {
                plan: Arc::new(plan),
            },
            0,
        );
        run
    }

    fn take(&mut self, input: &Input, at: i64) {
        let online = self.online.iter();
        let online = online
            .map(|n| AgentId::from_uuid(Uuid::from_u128(100 + n)))
            .collect();
        let moment = Moment {
            now: time(at),
            policy: &Policy::default(),
            online: &online,
            returning: &|_| false,
            journals: &BTreeMap::new(),
            condition: &|_, _| Ok(true),
            instructions: &|_, _| String::new(),
            locks: &NothingHeld,
        };
        for event in decide(&self.state, input.clone(), &moment).unwrap() {
            evolve(&mut self.state, &event);
        }
    }

    fn end(&mut self, n: u128, outcome: Outcome, message: &str) {
        let subject = TargetId::from_uuid(Uuid::from_u128(n));
        let plan = self.state.plan.clone().unwrap();
        let of = |node: NodeRef| plan.node(node).unwrap().subject == subject;
        let attempt = self.state.attempts.iter().find(|(_, a)| of(a.node));
        let attempt = *attempt.unwrap().0;
        let end = AttemptEnd {
            outcome,
            exit_code: None,
            message: message.to_owned(),
            records: 0,
            log: RecordHasher::new().digest(),
            started_at_us: 1,
            ended_at_us: 2,
        };
        self.take(
            &Input::AttemptEnded {
                attempt,
                end,
                outputs: Vec::new(),
                stored: 0,
            },
            1,
        );
    }
}

#[test]
fn an_unhealthy_target_fails_the_run_and_stops_nobody_elses_check() {
    let mut run = Run::begin();
    assert_eq!(run.state.attempts.len(), 3, "all are checked at once");
    run.end(1, Outcome::Failed, "exit code 2");
    run.end(2, Outcome::Succeeded, "");
    run.end(3, Outcome::TimedOut, "took too long");
    assert_eq!(run.state.verdict(), Some(Verdict::Failed));
    let found: Vec<_> = findings(&run.state)
        .into_iter()
        .map(|f| (f.status, f.message, f.attempt.is_some()))
        .collect();
    assert_eq!(
        found,
        [
            (CheckStatus::Unhealthy, "exit code 2".to_owned(), true),
            (CheckStatus::Healthy, String::new(), true),
            (CheckStatus::Unhealthy, "took too long".to_owned(), true),
        ]
    );
}

#[test]
fn no_answer_is_not_health_and_a_cancel_says_nothing() {
    let mut run = Run::begin();
    run.end(1, Outcome::Interrupted, "the machine went down");
    run.end(2, Outcome::Cancelled, "");
    run.end(3, Outcome::Succeeded, "");
    let found: Vec<_> = findings(&run.state).into_iter().map(|f| f.status).collect();
    assert_eq!(found, [CheckStatus::Unknown, CheckStatus::Healthy]);
}

#[test]
fn an_agent_that_stays_away_does_not_hold_a_run_up_for_ever() {
    let mut run = Run::begin();
    run.end(1, Outcome::Succeeded, "");
    // The scripts may take 30 s each; what is left after the margin is called unknown.
    for minutes in 1..10 {
        run.take(&Input::Tick, minutes * 60);
    }
    assert!(run.state.is_finished());
    let found: Vec<_> = findings(&run.state).into_iter().map(|f| f.status).collect();
    assert_eq!(found[0], CheckStatus::Healthy);
    assert!(
        found[1..]
            .iter()
            .all(|status| *status == CheckStatus::Unknown)
    );
    let began = run.state.began_at.unwrap();
    assert!(run.state.end_by.unwrap().duration_since(began) < SignedDuration::from_mins(6));
}

#[test]
fn a_run_that_has_no_time_left_says_nothing_of_those_that_it_did_not_hear() {
    let mut run = Run::begin_with(&[1, 2]);
    run.end(1, Outcome::Succeeded, "");
    assert_eq!(run.state.attempts.len(), 2, "the third agent went");
    for minutes in 1..5 {
        run.take(&Input::Tick, minutes * 60);
    }
    // The run is over for the second, whose script had more time by itself.
    run.end(2, Outcome::Cancelled, "");
    for minutes in 5..10 {
        run.take(&Input::Tick, minutes * 60);
    }
    assert!(run.state.is_finished());
    let found: Vec<_> = findings(&run.state).into_iter().map(|f| f.status).collect();
    let unknown = CheckStatus::Unknown;
    assert_eq!(found, [CheckStatus::Healthy, unknown, unknown]);
}

#[test]
fn the_order_is_the_script_of_its_platform_and_holds_no_variable_of_a_project() {
    let order = an_order(disk());
    let targets = [
        a_target(1, "lin", Platform::Linux),
        a_target(2, "win", Platform::Windows),
    ];
    let plan = plan(task(), &order, &targets).unwrap();
    let (process, variables, _) = process(&order.check);
    let context = OrderContext {
        plan: &plan,
        process: &process,
        variables: &variables,
        task_number: "T-1",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let draft = |action| {
        let node = NodeRef {
            step: 0,
            action,
            node: 0,
        };
        draft_order(&context, node).unwrap()
    };
    let (linux, windows) = (draft(0), draft(1));
    assert_eq!(
        (linux.uses.as_str(), linux.subject.as_str()),
        ("script", "lin")
    );
    assert!(linux.with["run"].as_str().unwrap().starts_with("df /"));
    assert_eq!(windows.with["run"], "exit 0");
    assert_eq!(windows.action, "disk (windows)");
    assert_eq!(linux.timeout_ms, 30_000);
    let names: Vec<&str> = linux.variables.iter().map(|v| v.name.as_str()).collect();
    assert!(names.contains(&"Octopus.Machine.Name"), "{names:?}");
}
