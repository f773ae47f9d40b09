//! What an action gets to see.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::planner::PlanOptions;
use crate::release::{ReleaseDraft, ScannedFiles};
use crate::testing::{a_project, a_release, a_target, plan};

const PROJECT: &str = concat!(
    "variables:\n",
    "  Port: { secret: shop/key }\n",
    "  Password: { secret: shop/password }\n",
    "  Connection: \"Server=a;Password=#{Password}\"\n",
    "  Url: \"http://#{Host}/\"\n",
    "  Host: \"#{Octopus.Machine.Name}\"\n",
    "  Plain: x\n",
    "process:\n",
    "  - step: S\n",
    "    targets: { tag: web }\n",
    "    actions:\n",
    "      - { action: Script, uses: script, with: { run: \"echo $PLAIN\" } }\n",
    "      - { action: Named, uses: script, with: { run: \"echo\" }, secrets: [Password] }\n",
    "      - { action: Scanned, uses: script, with: { run: \"psql $CONNECTION\" } }\n",
    "      - { action: All, uses: script, with: { run: \"echo\" }, secrets: all }\n",
    "      - { action: Check, uses: http.check, with: { url: \"#{Url}\" } }\n",
    "      - { action: After, uses: http.check, with: { url: \"#{Octopus.Action[Script].Output.Url}\" } }\n",
);

fn release() -> ReleaseDraft {
    a_release(&a_project(PROJECT), &ScannedFiles::new())
}

fn draft(action: u32, outputs: &[OutputVariable], failed: bool) -> OrderDraft {
    let release = release();
    let targets = [
        a_target("web01", &["web"], &["test"]),
        a_target("web02", &["web"], &["test"]),
    ];
    let plan = plan(&release, "test", &targets, &PlanOptions::default()).unwrap();
    let failure = Failure::unnamed();
    let context = OrderContext {
        plan: &plan,
        process: &release.process,
        variables: &release.variables,
        task_number: "T-7",
        outputs,
        failed: failed.then_some(&failure),
        lists: None,
    };
    draft_order(
        &context,
        NodeRef {
            step: 0,
            action,
            node: 1,
        },
    )
    .unwrap()
}

fn names(draft: &OrderDraft) -> Vec<&str> {
    let own = |name: &&str| !name.starts_with("Octopus.");
    draft
        .variables
        .iter()
        .map(|variable| variable.name.as_str())
        .filter(own)
        .collect()
}

#[test]
fn an_action_gets_what_it_uses_and_no_other_secret() {
    for (action, expected) in [
        // A script sees all that is no secret; what reaches one that it does not use is left out.
        (0, &["Host", "Plain", "Url"][..]),
        (1, &["Connection", "Host", "Password", "Plain", "Url"]),
        (2, &["Connection", "Host", "Password", "Plain", "Url"]),
        (
            3,
            &["Connection", "Host", "Password", "Plain", "Port", "Url"],
        ),
        // Another action gets what its inputs reach.
        (4, &["Host", "Url"]),
        (5, &[]),
    ] {
        assert_eq!(
            names(&draft(action, &[], false)),
            expected,
            "action {action}"
        );
    }
}

#[test]
fn an_order_names_the_secrets_that_its_script_must_not_look_up() {
    for (action, expected) in [
        (0, &["Connection", "Password", "Port"][..]),
        (1, &["Port"]),
        (2, &["Port"]),
        (3, &[]),
        // No script: it looks nothing up.
        (4, &[]),
    ] {
        assert_eq!(
            draft(action, &[], false).withheld,
            expected,
            "action {action}"
        );
    }
}

#[test]
fn an_order_says_who_where_and_what() {
    let draft = draft(0, &[], false);
    assert_eq!(
        (draft.subject.as_str(), draft.executor.as_str()),
        ("web02", "web02")
    );
    assert_eq!(draft.timeout_ms, 3_600_000);
    let value = |name: &str| {
        let variable = draft
            .variables
            .iter()
            .find(|variable| variable.name == name)
            .unwrap();
        variable.value.clone()
    };
    assert_eq!(
        value("Octopus.Machine.Name"),
        DraftValue::Text("web02".to_owned())
    );
    assert_eq!(
        value("Octopus.Environment.MachinesInRole[web]"),
        DraftValue::Text("web01,web02".to_owned())
    );
    assert_eq!(
        value("Octopus.Release.Number"),
        DraftValue::Text("0.0.1".to_owned())
    );
    assert_eq!(
        value("Octopus.Action.Number"),
        DraftValue::Text("1.1".to_owned())
    );
    assert!(
        !draft
            .variables
            .iter()
            .any(|variable| variable.name == "Octopus.Deployment.Error")
    );
}

fn output(subject: &str, value: &str) -> OutputVariable {
    OutputVariable {
        action: "Script".to_owned(),
        subject: subject.to_owned(),
        name: "Url".to_owned(),
        value: value.to_owned(),
        sealed_by: None,
    }
}

#[test]
fn outputs_are_the_subjects_own_or_the_last_by_name() {
    for (outputs, expected) in [
        (vec![output("web01", "one"), output("web02", "two")], "two"),
        (vec![output("web02", "two"), output("web01", "one")], "two"),
        (vec![output("web02", "old"), output("web02", "new")], "new"),
        (
            vec![output("web09", "nine"), output("web01", "one")],
            "nine",
        ),
        (
            vec![output("web01", "one"), output("web09", "nine")],
            "nine",
        ),
    ] {
        let draft = draft(5, &outputs, false);
        let url = draft
            .variables
            .iter()
            .find(|v| v.name == "Octopus.Action[Script].Output.Url")
            .unwrap();
        assert_eq!(
            url.value,
            DraftValue::Text(expected.to_owned()),
            "{outputs:?}"
        );
    }
}

#[test]
fn a_lifecycle_says_how_many_versions_stay_where_the_action_does_not() {
    let project = a_project(concat!(
        "packages: [{ id: Web }]\n",
        "process:\n",
        "  - step: S\n",
        "    targets: { tag: web }\n",
        "    actions:\n",
        "      - { action: Open, uses: package, with: { package: Web } }\n",
        "      - { action: Own, uses: package, with: { package: Web, keep: 7 } }\n",
        "      - { action: Other, uses: script, with: { run: x } }\n",
    ));
    let release = a_release(&project, &ScannedFiles::new());
    let targets = [a_target("web01", &["web"], &["test"])];
    let options = PlanOptions::default();
    let mut plan = plan(&release, "test", &targets, &options).unwrap();
    for (lifecycle, expected) in [
        (None, [None, Some(7), None]),
        (Some(2), [Some(2), Some(7), None]),
    ] {
        plan.keep_on_target = lifecycle;
        let context = OrderContext {
            plan: &plan,
            process: &release.process,
            variables: &release.variables,
            task_number: "T-7",
            outputs: &[],
            failed: None,
            lists: None,
        };
        let kept = [0, 1, 2].map(|action| {
            let node = NodeRef {
                step: 0,
                action,
                node: 0,
            };
            let draft = draft_order(&context, node).unwrap();
            draft.with.get("keep").and_then(Value::as_u64)
        });
        assert_eq!(kept, expected, "{lifecycle:?}");
    }
}
