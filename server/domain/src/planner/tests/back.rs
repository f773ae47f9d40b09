//! The way back of a step that rolls back: where it stands, about whom, and what it leaves.

use std::collections::BTreeMap;

use mantle_shared::uuid::Uuid;
use serde_json::json;

use super::*;
use crate::ids::ReleaseId;
use crate::order::{OrderContext, draft_order};
use crate::plan::basis::{PlanBasis, ReleaseDigests};
use crate::plan::{NodeRef, PlanBefore, Ran};
use crate::planner::preview::preview;

const SHOP: &str = concat!(
    "packages: [{ id: Web }]\n",
    "variables:\n  Port: 80\n  Password: { secret: shop/password }\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: web }\n",
    "    rolling: { window: 2, max_failed: 1, on_failure: rollback }\n",
    "    actions:\n",
    "      - { action: Out, uses: haproxy.drain, run_on: { tag: lb }, with: { backend: b, server: \"#{Octopus.Machine.Name}\" } }\n",
    "      - { action: Stop, uses: script, retries: { count: 2, backoff: 1s }, with: { run: stop, rollback: \"start $Password\" } }\n",
    "      - { action: Install, uses: package, with: { package: Web, keep: 0 } }\n",
    "      - { action: Warm, uses: script, with: { run: warm } }\n",
    "      - { action: Check, uses: http.check, with: { url: \"http://localhost:#{Port}/\" } }\n",
    "      - { action: In, uses: haproxy.enable, run_on: { tag: lb }, with: { backend: b, server: \"#{Octopus.Machine.Name}\", wait_up: 9s } }\n",
    "  - { step: Beside, start: with_previous, targets: { tag: lb }, uses: script, with: { run: x } }\n",
    "  - { step: Last, targets: { tag: lb }, uses: script, with: { run: y } }\n",
);

fn ran_on(targets: &[TargetFacts], names: &[&str]) -> Vec<PlanBefore> {
    let known = targets
        .iter()
        .filter(|target| names.contains(&target.name.as_str()));
    known
        .map(|target| PlanBefore {
            target: target.id,
            task: TaskId::from_uuid(Uuid::from_u128(8)),
            release: ReleaseId::from_uuid(Uuid::from_u128(9)),
            version: "0.9".to_owned(),
            ran: Ran::Whole,
        })
        .collect()
}

fn planned_after(text: &str, before: &[&str]) -> (ReleaseDraft, Plan) {
    let (release, targets) = (release(text), farm());
    let before = ran_on(&targets, before);
    let options = PlanOptions::default();
    let request = PlanRequest {
        before: &before,
        ..request(&release, "test", &targets, &options)
    };
    let plan = super::super::plan(&request).unwrap();
    (release, plan)
}

fn names(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter();
    steps
        .map(|step| format!("{} {}", step.number, step.name))
        .collect()
}

fn targets(plan: &Plan, ids: &[TargetId]) -> Vec<String> {
    let names = ids.iter().map(|id| plan.target(*id).unwrap().name.clone());
    names.collect()
}

#[test]
fn it_stands_behind_the_group_and_goes_through_targets_and_actions_in_reverse() {
    let (_, plan) = planned_after(SHOP, &["web01", "web03", "web09"]);
    assert_eq!(
        names(&plan),
        ["1 Farm", "2 Beside", "3 Roll back Farm", "4 Last"]
    );
    let way = &plan.steps[2];
    assert_eq!(targets(&plan, &way.subjects), ["web03", "web02", "web01"]);
    assert_eq!(
        shown(&plan)[7..12],
        [
            "Undo In: web01<-lb01 web01<-lb02 web02<-lb01 web02<-lb02 web03<-lb01 web03<-lb02",
            "Undo Install: web01<-web01 web03<-web03",
            "Undo Stop: web01<-web01 web02<-web02 web03<-web03",
            "Undo Out: web01<-lb01 web01<-lb02 web02<-lb01 web02<-lb02 web03<-lb01 web03<-lb02",
            "Last: lb01<-lb01 lb02<-lb02",
        ]
    );
    assert!(way.rolling && way.parallel == 2 && way.max_failed == 0);
    assert_eq!(way.on_failure, OnFailure::Stop);
    assert_eq!(way.actions[2].retries.count, 2);
    let back = way.back.as_ref().unwrap();
    assert_eq!(back.of, 0);
    let before: Vec<_> = back.before.iter().map(|before| before.target).collect();
    let mut before = targets(&plan, &before);
    before.sort();
    assert_eq!(before, ["web01", "web03"], "those of the step");
    let left: Vec<String> = back
        .left
        .iter()
        .map(|left| {
            let on = targets(&plan, &left.targets);
            format!("{} on {}: {}", left.action, on.join(" "), left.why)
        })
        .collect();
    assert_eq!(
        left,
        [
            "2 on web02: nothing of shop ran there before",
            "3 on web01 web02 web03: it has no 'rollback' script",
        ]
    );
    let locks = way.actions[1].locks_of(way.subjects[0]);
    assert_eq!(locks[0].name, "app:test/shop/Web", "as what it undoes");
}

#[test]
fn other_steps_and_other_answers_to_failures_have_none() {
    for (from, to) in [
        ("on_failure: rollback", "on_failure: continue"),
        (", on_failure: rollback", ""),
        (
            "targets: { tag: web }\n    rolling",
            "targets: { tag: web }\n    when: { environments: [live] }\n    rolling",
        ),
    ] {
        let text = SHOP.replace(from, to);
        assert_ne!(text, SHOP);
        let (_, plan) = planned_after(&text, &["web01"]);
        assert_eq!(names(&plan), ["1 Farm", "2 Beside", "3 Last"], "{to}");
        let text = serde_json::to_string(&plan).unwrap();
        assert!(!text.contains("\"back\"") && !text.contains("undoes"));
    }
}

#[test]
fn the_first_deployment_has_nothing_to_go_back_to_and_says_so() {
    let text = "packages: [{ id: Web }]\nprocess:\n  - { step: S, targets: { tag: web }, rolling: { window: 1, on_failure: rollback }, uses: package, with: { package: Web } }\n";
    let (_, plan) = planned_after(text, &[]);
    let way = &plan.steps[1];
    assert_eq!(
        way.skipped.as_deref(),
        Some("nothing that it does can be undone")
    );
    assert!(way.subjects.is_empty());
    assert_eq!(way.back.as_ref().unwrap().left[0].targets.len(), 3);
}

#[test]
fn an_agent_that_cannot_put_a_version_back_is_named() {
    let (release, mut all) = (release(SHOP), farm());
    let agent = all[1].agent.as_mut().unwrap();
    agent.features.retain(|word| word != "action:package.back");
    let before = ran_on(&all, &["web01", "web03"]);
    let options = PlanOptions::default();
    let request = PlanRequest {
        before: &before,
        ..request(&release, "test", &all, &options)
    };
    let plan = super::super::plan(&request).unwrap();
    let left = &plan.steps[2].back.as_ref().unwrap().left;
    assert_eq!(targets(&plan, &left[0].targets), ["web01"]);
    assert_eq!(
        left[0].why,
        "its agent (0.1.0) does not know how; upgrade it"
    );
}

#[test]
fn orders_of_it_are_made_of_the_actions_that_they_undo() {
    let (release, plan) = planned_after(SHOP, &["web01"]);
    let failure = crate::state::Failure::unnamed();
    let context = OrderContext {
        plan: &plan,
        process: &release.process,
        variables: &release.variables,
        task_number: "T-1",
        outputs: &[],
        failed: Some(&failure),
        lists: None,
    };
    let draft = |step, action| {
        let node = NodeRef {
            step,
            action,
            node: 0,
        };
        draft_order(&context, node).unwrap()
    };
    let install = draft(2, 1);
    assert_eq!(install.uses, "package.back");
    assert_eq!(
        json!(install.with),
        json!({"package": "Web", "action": "Install"})
    );
    assert_eq!(install.packages[0].id, "Web");
    assert_eq!(
        (&*install.step, &*install.action),
        ("Roll back Farm", "Undo Install")
    );
    let stop = draft(2, 2);
    assert_eq!(json!(stop.with), json!({"run": "start $Password"}));
    let value = |name: &str| stop.variables.iter().find(|variable| variable.name == name);
    assert!(
        value("Password").is_some(),
        "its name stands in the rollback script"
    );
    let action = value("Octopus.Action.Name").unwrap();
    assert_eq!(format!("{:?}", action.value), "Text(\"Stop\")");
    // The other way: what undoes it does not travel, and what may be put back stays on the target.
    assert_eq!(json!(draft(0, 1).with), json!({"run": "stop"}));
    assert_eq!(
        json!(draft(0, 2).with),
        json!({"package": "Web", "keep": 1})
    );
    let out = draft(2, 3);
    assert_eq!(
        (out.uses.as_str(), &out.with["wait_up"]),
        ("haproxy.enable", &json!("9s"))
    );
    assert!(
        out.variables
            .iter()
            .any(|v| v.name == "Octopus.Machine.Name")
    );
}

#[test]
fn a_preview_shows_for_each_target_what_it_would_be_put_back_to() {
    let (release, targets) = (release(SHOP), farm());
    let before = ran_on(&targets, &["web01", "web03"]);
    let options = PlanOptions::default();
    let request = PlanRequest {
        before: &before,
        ..request(&release, "test", &targets, &options)
    };
    let plan = super::super::plan(&request).unwrap();
    let shown = preview(&request, &plan, "2026-11-26T10:00:00Z".parse().unwrap());
    let back = shown.steps[2].back.as_ref().unwrap();
    assert_eq!(back.of, "Farm");
    let to: Vec<_> = back
        .targets
        .iter()
        .map(|(name, before)| (name.as_str(), before.as_ref().map(|b| b.version.as_str())))
        .collect();
    assert_eq!(
        to,
        [
            ("web03", Some("0.9")),
            ("web02", None),
            ("web01", Some("0.9"))
        ]
    );
    assert_eq!(back.left[0].targets, ["web02"]);
    assert!(back.left[1].targets.is_empty(), "all of them");
    assert!(shown.steps[2].actions[1].packages.is_empty());
    assert!(shown.steps[0].back.is_none());
}

#[test]
fn a_plan_is_bound_to_what_it_would_put_back() {
    let basis = |before: &[&str], change: &dyn Fn(&mut Plan)| {
        let (_, mut plan) = planned_after(SHOP, before);
        change(&mut plan);
        let digests = ReleaseDigests {
            process: mantle_shared::Digest::of(b"p"),
            variables: mantle_shared::Digest::of(b"v"),
            packages: mantle_shared::Digest::of(b"k"),
        };
        PlanBasis::new(&plan, digests, &BTreeMap::new())
    };
    let was = basis(&["web01"], &|_| {});
    let again = basis(&["web01"], &|plan| {
        let back = plan.steps[2].back.as_mut().unwrap();
        back.before[0].task = TaskId::from_uuid(Uuid::from_u128(99));
    });
    assert_eq!(was.identify().unwrap().1, again.identify().unwrap().1);
    let other = basis(&["web01"], &|plan| {
        let back = plan.steps[2].back.as_mut().unwrap();
        back.before[0].version = "0.8".to_owned();
    });
    assert_eq!(
        was.changes(&other),
        ["step 'Roll back Farm' would put back something else now"]
    );
}
