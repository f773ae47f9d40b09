//! The deployment that the model runs: a migration, a rolling farm with retries, which rolls back, a
//! step beside it, and one that always runs.

use std::sync::Arc;

use mantle_domain::plan::{PLAN_FORMAT, Plan};
use mantle_shared::Digest;
use mantle_shared::ids::{AgentId, TargetId, TaskId};
use mantle_shared::uuid::Uuid;
use serde_json::{Value, json};

/// How many targets take part.
pub const TARGETS: u128 = 2;

/// The task.
pub fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(77))
}

/// The target of this number.
pub fn target(number: u128) -> TargetId {
    TargetId::from_uuid(Uuid::from_u128(number))
}

/// Its agent.
pub fn agent(number: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(1000 + number))
}

/// The target of an agent.
pub fn target_of(of: AgentId) -> TargetId {
    let number = (1..=TARGETS).find(|number| agent(*number) == of);
    target(number.expect("an agent of the plan"))
}

fn action(name: &str, targets: &[u128], retries: u32, package: bool) -> Value {
    let nodes: Vec<Value> = targets
        .iter()
        .map(|number| json!({ "subject": target(*number), "executor": target(*number) }))
        .collect();
    let digest = Digest::of(b"package");
    let packages = if package {
        vec![json!({
            "id": "Web", "version": "1.0", "format": "zip", "size_bytes": 1,
            "archive": digest, "root": digest, "linux_only": false,
        })]
    } else {
        Vec::new()
    };
    json!({
        "name": name, "uses": "script", "run": "success", "timeout_ms": 60_000, "grace_ms": 1_000,
        "retries": { "count": retries, "backoff_ms": 1_000 }, "packages": packages, "nodes": nodes,
    })
}

fn step(
    number: u32,
    name: &str,
    targets: &[u128],
    window: Option<u32>,
    actions: &[Value],
) -> Value {
    let subjects: Vec<TargetId> = targets.iter().map(|number| target(*number)).collect();
    json!({
        "name": name, "number": number, "run": "success", "rolling": window.is_some(),
        "parallel": window.unwrap_or(10), "subjects": subjects, "actions": actions, "skipped": null,
    })
}

/// The plan.
pub fn plan() -> Arc<Plan> {
    let targets: Vec<Value> = (1..=TARGETS)
        .map(|number| {
            json!({
                "id": target(number), "name": format!("web{number:02}"), "agent": agent(number),
                "tags": ["web"], "platform": "linux",
            })
        })
        .collect();
    let mut beside = step(3, "beside", &[2], None, &[action("watch", &[2], 0, false)]);
    beside["start"] = json!("with_previous");
    let undo = |index: u32, name: &str| {
        let mut action = action(&format!("undo {name}"), &[1, 2], 0, false);
        action["undoes"] = json!(index);
        action
    };
    let mut back = step(
        4,
        "back",
        &[2, 1],
        Some(1),
        &[undo(1, "install"), undo(0, "drain")],
    );
    back["back"] = json!({ "of": 1 });
    let mut last = step(5, "tell", &[1], None, &[action("tell", &[1], 0, false)]);
    last["run"] = json!("always");
    let farm = [
        action("drain", &[1, 2], 0, false),
        action("install", &[1, 2], 1, true),
    ];
    let mut farm = step(2, "farm", &[1, 2], Some(1), &farm);
    farm["on_failure"] = json!("rollback");
    let plan = json!({
        "format": PLAN_FORMAT, "task": task(), "project": "octofx", "environment": "test",
        "release": "1.0.0", "channel": "stable", "targets": targets, "warnings": [],
        "steps": [
            step(1, "migrate", &[1], None, &[action("migrate", &[1], 0, false)]),
            farm,
            beside,
            back,
            last,
        ],
    });
    Arc::new(serde_json::from_value(plan).expect("a plan"))
}
