//! Resolving, as people meet it: what is refused and with which next command, that a refusal changes nothing,
//! and that a word is written once. No server drives the task here: its events are those that one would have
//! written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use mantle_domain::plan::{NodeRef, PLAN_FORMAT, Plan};
use mantle_domain::state::{Event, Verdict};
use mantle_shared::ids::{AgentId, AttemptId, TargetId, TaskId};
use mantle_shared::protocol::Outcome;
use mantle_shared::uuid::Uuid;
use serde_json::json;

use super::interruption_tests::{a_queued_task, a_running_task, refused};
use super::testing::{House, a_house_with, a_reader};
use super::{Presence, Result};
use crate::api::body::{TaskResolve, TaskResolved, WorkState};
use crate::store::{
    AgentProfile, AgentRow, AgentStatus, AttemptRow, AttemptState, NewTaskEvent, NodeId,
    TaskOutcome, agent_insert, attempt_insert, attempt_mark_ended, audit_list,
    resolution_list_of_task, resolution_list_pending, target_find, task_event_append, task_fetch,
    task_lease_take, task_mark_done,
};

/// Who is connected.
#[derive(Default)]
struct Present(Mutex<BTreeSet<AgentId>>);

impl Presence for Present {
    fn is_online(&self, agent: AgentId) -> bool {
        self.0.lock().unwrap().contains(&agent)
    }
}

fn agent(number: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(1000 + number))
}

fn target(number: u128) -> TargetId {
    TargetId::from_uuid(Uuid::from_u128(number))
}

fn attempt(number: u32) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(2000 + u128::from(number)))
}

/// A task in which one action runs on `web01` and `web02`.
struct Scene {
    house: House,
    present: Arc<Present>,
    task: TaskId,
    written: u64,
}

impl Scene {
    async fn new() -> Self {
        let present = Arc::new(Present::default());
        let house = a_house_with(Arc::clone(&present) as Arc<dyn Presence>).await;
        let task = a_running_task(&house).await;
        let mut scene = Self {
            house,
            present,
            task,
            written: 0,
        };
        scene.begin().await;
        scene
    }

    async fn begin(&mut self) {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let mut events = vec![Event::DeploymentBegan {
            at,
            plan: Arc::new(plan(self.task)),
            acquire_by: at,
            end_by: None,
        }];
        for number in [1, 2] {
            events.push(Event::AttemptOrdered {
                attempt: attempt(number),
                node: node(number - 1),
                number: 1,
                at,
                deadline: at,
                journal: None,
                despite: Vec::new(),
            });
        }
        let mut tx = self.house.services.store.begin().await.unwrap();
        let known = target_find(&mut tx, "web01").await.unwrap().unwrap();
        for number in [1_u32, 2] {
            let of = AgentRow {
                id: agent(u128::from(number)),
                target_id: (number == 1).then_some(known.id),
                name: format!("web{number:02}"),
                status: AgentStatus::Active,
                profile: AgentProfile::default(),
                highest_epoch: 0,
                join_token_id: None,
                enrolled_at_us: 5,
                revoked_at_us: None,
                last_seen_at_us: None,
            };
            agent_insert(&mut tx, &of).await.unwrap();
            let row = AttemptRow {
                id: attempt(number),
                task_id: self.task,
                agent_id: of.id,
                step: 0,
                action: 0,
                subject_id: target(u128::from(number)),
                executor_id: target(u128::from(number)),
                attempt: 1,
                epoch: 1,
                state: AttemptState::Ordered,
                outcome: None,
                end_body: None,
                created_at_us: 20,
                ended_at_us: None,
            };
            attempt_insert(&mut tx, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
        self.write(events).await;
    }

    async fn write(&mut self, events: Vec<Event>) {
        let mut tx = self.house.services.store.begin().await.unwrap();
        let minute = std::time::Duration::from_mins(1);
        crate::store::task_lease_clear(&mut tx).await.unwrap();
        let node = NodeId::from_uuid(super::mint());
        let lease = task_lease_take(&mut tx, self.task, node, minute).await;
        let epoch = lease.unwrap().epoch;
        let rows: Vec<NewTaskEvent> = events
            .iter()
            .map(|event| NewTaskEvent {
                at_us: 30,
                body: serde_json::to_string(event).unwrap(),
            })
            .collect();
        task_event_append(&mut tx, self.task, epoch, self.written + 1, &rows)
            .await
            .unwrap();
        self.written += rows.len() as u64;
        if events
            .iter()
            .any(|event| matches!(event, Event::DeploymentFinished { .. }))
        {
            task_mark_done(&mut tx, self.task, epoch, TaskOutcome::Failed, 40)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// The server gave an attempt up, or was refused.
    async fn over(&mut self, number: u32, outcome: Outcome) {
        let event = Event::AttemptFinished {
            attempt: attempt(number),
            outcome,
            message: "gone".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            end: None,
            outputs: Vec::new(),
            unfit: false,
        };
        self.write(vec![event]).await;
    }

    async fn finish(&mut self) {
        let event = Event::DeploymentFinished {
            verdict: Verdict::Failed,
            message: "gone".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        self.write(vec![event]).await;
    }

    async fn resolve(&self, target: Option<&str>) -> Result<TaskResolved> {
        let request = TaskResolve {
            ended: "failed".to_owned(),
            reason: " looked\0 ".to_owned(),
            target: target.map(str::to_owned),
        };
        let services = &self.house.services;
        services
            .task_resolve(&self.house.admin, "T-1", &request)
            .await
    }

    /// What stands in the database and in the trail of it.
    async fn words(&self) -> (usize, usize) {
        let mut tx = self.house.services.store.read().await.unwrap();
        let rows = resolution_list_of_task(&mut tx, self.task).await.unwrap();
        let trail = audit_list(&mut tx, None, None, 1000).await.unwrap();
        let deeds = trail.iter().filter(|row| row.action == "task.resolve");
        (rows.len(), deeds.count())
    }
}

fn node(node: u32) -> NodeRef {
    NodeRef {
        step: 0,
        action: 0,
        node,
    }
}

fn plan(task: TaskId) -> Plan {
    let targets: Vec<_> = [1, 2]
        .into_iter()
        .map(|number| {
            json!({
                "id": target(number), "name": format!("web{number:02}"), "agent": agent(number),
                "tags": ["web"], "platform": "linux",
            })
        })
        .collect();
    let nodes: Vec<_> = [1, 2]
        .into_iter()
        .map(|number| json!({ "subject": target(number), "executor": target(number) }))
        .collect();
    let plan = json!({
        "format": PLAN_FORMAT, "task": task, "project": "shop", "environment": "test",
        "release": "1.0.0", "channel": "default", "targets": targets, "warnings": [],
        "steps": [{
            "name": "Install", "number": 1, "run": "success", "rolling": false, "parallel": 10,
            "subjects": [target(1), target(2)], "skipped": null,
            "actions": [{
                "name": "Install", "uses": "script", "run": "success", "timeout_ms": 60_000,
                "grace_ms": 1_000, "retries": { "count": 0, "backoff_ms": 1_000 }, "packages": [],
                "nodes": nodes,
            }],
        }],
    });
    serde_json::from_value(plan).unwrap()
}

#[tokio::test]
async fn what_runs_on_agents_that_are_away_is_resolved_all_at_once() {
    let scene = Scene::new().await;
    let said = scene.resolve(None).await.unwrap();
    let about: Vec<&str> = said.resolved.iter().map(|one| one.about.as_str()).collect();
    assert_eq!(about, ["'Install' on web01", "'Install' on web02"]);
    assert!(said.resolved.iter().all(|one| one.reason == "looked"));
    assert_eq!(scene.words().await, (2, 1));
    let mut tx = scene.house.services.store.read().await.unwrap();
    let pending = resolution_list_pending(&mut tx, 10).await.unwrap();
    assert_eq!(pending.len(), 2, "whoever drives the task takes it in");
    drop(tx);
    let again = refused(scene.resolve(None).await, "already-resolved");
    assert!(
        again.contains("said before that 'Install' on web01 failed: looked"),
        "{again}"
    );
    assert!(again.contains("mantle task show T-1"), "{again}");
    assert_eq!(scene.words().await, (2, 1));
}

#[tokio::test]
async fn only_what_is_about_the_named_target_is_resolved() {
    let scene = Scene::new().await;
    let said = scene.resolve(Some("web02")).await.unwrap();
    assert_eq!(said.resolved.len(), 1);
    assert_eq!(said.resolved[0].attempt, attempt(2));
    let detail = scene
        .house
        .services
        .task_show(&scene.house.admin, "T-1")
        .await
        .unwrap();
    let open: Vec<_> = detail
        .unresolved
        .iter()
        .map(|one| (one.executor.as_str(), one.state))
        .collect();
    assert_eq!(open, [("web01", WorkState::Running)]);
}

#[tokio::test]
async fn an_agent_that_is_connected_is_asked_and_nobody_else() {
    let mut scene = Scene::new().await;
    let both = [agent(1), agent(2)];
    scene.present.0.lock().unwrap().extend(both);
    let text = refused(scene.resolve(None).await, "agent-connected");
    assert!(text.contains("'Install' on web01 of T-1 runs"), "{text}");
    assert!(text.contains("mantle task cancel T-1"), "{text}");
    assert_eq!(scene.words().await, (0, 0));
    // What it has lost it cannot say.
    scene.over(2, Outcome::Unknown).await;
    let said = scene.resolve(None).await.unwrap();
    assert_eq!(said.resolved.len(), 1);
    assert_eq!(said.resolved[0].attempt, attempt(2));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let scene = Scene::new().await;
    let services = &scene.house.services;
    let request = |ended: &str, reason: &str| TaskResolve {
        ended: ended.to_owned(),
        reason: reason.to_owned(),
        target: None,
    };
    let admin = &scene.house.admin;
    let odd = request("done", "r");
    let odd = services.task_resolve(admin, "T-1", &odd).await;
    let odd = refused(odd, "bad-resolution");
    assert!(odd.contains("--as failed or --as succeeded"), "{odd}");
    let none = request("failed", " \0\n");
    let none = services.task_resolve(admin, "T-1", &none).await;
    refused(none, "--reason");
    let reader = a_reader();
    let guest = request("failed", "r");
    let guest = services.task_resolve(&reader, "T-1", &guest).await;
    refused(guest, "say how work ended");
    let stranger = scene.resolve(Some("web03")).await.unwrap_err();
    let text = format!("{stranger:?}");
    assert!(
        text.contains("web03") && text.contains("mantle task show T-1"),
        "{text}"
    );
    assert_eq!(scene.words().await, (0, 0));
}

#[tokio::test]
async fn of_a_task_that_is_over_only_what_nobody_knows_is_resolved() {
    let mut scene = Scene::new().await;
    scene.over(1, Outcome::NotStarted).await;
    scene.over(2, Outcome::Unknown).await;
    scene.finish().await;
    let known = refused(scene.resolve(Some("web01")).await, "nothing-to-resolve");
    assert!(known.contains("of nothing in T-1 about web01"), "{known}");
    assert!(known.contains("mantle task show T-1"), "{known}");
    // Its agent has said it meanwhile, which came after the events of the task.
    let mut tx = scene.house.services.store.begin().await.unwrap();
    let ended = attempt_mark_ended(&mut tx, attempt(2), Outcome::Succeeded, "{}", 50);
    assert!(ended.await.unwrap());
    tx.commit().await.unwrap();
    refused(scene.resolve(None).await, "nothing-to-resolve");
    assert_eq!(scene.words().await, (0, 0));
    let mut tx = scene.house.services.store.read().await.unwrap();
    let row = task_fetch(&mut tx, scene.task).await.unwrap();
    assert_eq!(row.outcome, Some(TaskOutcome::Failed));
}

#[tokio::test]
async fn a_task_that_has_not_begun_has_nothing_to_resolve() {
    let house = super::testing::a_house().await;
    a_queued_task(&house).await;
    let request = TaskResolve {
        ended: "failed".to_owned(),
        reason: "r".to_owned(),
        target: None,
    };
    let none = house.services.task_resolve(&house.admin, "T-1", &request);
    refused(none.await, "mantle task cancel T-1");
}
