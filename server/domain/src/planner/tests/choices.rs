//! What takes part: chosen targets and steps, targets that are away, and for how long.

use super::*;

pub(super) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn away(targets: &mut [TargetFacts], name: &str) {
    let target = targets
        .iter_mut()
        .find(|target| target.name == name)
        .unwrap();
    target.agent.as_mut().unwrap().online = false;
}

fn left_out(plan: &Plan) -> Vec<String> {
    let targets = plan.left_out.iter();
    targets
        .map(|target| format!("{} {}", target.name, target.why.words()))
        .collect()
}

#[test]
fn who_chooses_targets_chooses_what_it_is_about_and_keeps_the_balancers() {
    let chosen = PlanOptions {
        only_targets: names(&["web01"]),
        ..PlanOptions::default()
    };
    let plan = plan_of(FARM, &chosen).unwrap();
    assert_eq!(shown(&plan)[0], "Out: web01<-lb01 web01<-lb02");
    assert_eq!(left_out(&plan), ["web02 not chosen", "web03 not chosen"]);
    assert_eq!(plan.warnings, [""; 0]);

    let without = PlanOptions {
        not_targets: names(&["lb02", "web03"]),
        ..PlanOptions::default()
    };
    let plan = plan_of(FARM, &without).unwrap();
    assert_eq!(shown(&plan)[0], "Out: web01<-lb01 web02<-lb01");
    assert_eq!(left_out(&plan), ["lb02 excluded", "web03 excluded"]);
}

const TWO_TIERS: &str = concat!(
    "process:\n",
    "  - { step: Base, targets: { tag: lb }, uses: script, with: { run: x } }\n",
    "  - { step: Web, targets: { tag: web }, uses: script, with: { run: x } }\n",
    "  - { step: Tell, targets: { tag: web, pick: one }, uses: script, with: { run: x } }\n",
);

#[test]
fn a_step_of_which_no_target_was_chosen_is_skipped_and_nothing_at_all_is_refused() {
    let tagged = PlanOptions {
        only_tags: names(&["lb"]),
        ..PlanOptions::default()
    };
    let plan = plan_of(TWO_TIERS, &tagged).unwrap();
    assert_eq!(
        shown(&plan),
        ["Base: lb01<-lb01 lb02<-lb02", "Web: ", "Tell: "]
    );
    let why = plan.steps[1].skipped.as_deref();
    assert_eq!(why, Some("none of its targets was chosen"));

    let only = PlanOptions {
        only_steps: names(&["Web"]),
        ..PlanOptions::default()
    };
    let plan = plan_of(TWO_TIERS, &only).unwrap();
    let skipped: Vec<_> = plan
        .steps
        .iter()
        .map(|step| step.skipped.is_some())
        .collect();
    assert_eq!(skipped, [true, false, true]);

    let nothing = PlanOptions {
        only_steps: names(&["Base"]),
        only_targets: names(&["web01"]),
        ..PlanOptions::default()
    };
    assert_eq!(
        plan_of(TWO_TIERS, &nothing).unwrap_err(),
        [Refusal::NothingToDo {
            project: "shop".to_owned(),
            version: release(TWO_TIERS).version,
            environment: "test".to_owned(),
        }]
    );
    let unknown = PlanOptions {
        only_tags: names(&["wbe"]),
        only_steps: names(&["Wbe"]),
        ..PlanOptions::default()
    };
    let said = plan_of(TWO_TIERS, &unknown).unwrap_err();
    assert!(
        said.iter()
            .any(|r| matches!(r, Refusal::UnknownTag { tag, .. } if tag == "wbe"))
    );
    assert!(
        said.iter()
            .any(|r| matches!(r, Refusal::UnknownStep { step, .. } if step == "Wbe"))
    );
}

#[test]
fn targets_that_are_away_fail_or_are_skipped_as_operator_step_or_project_say() {
    use Unavailable::{Fail, Skip};
    // (project, step, operator) -> skipped
    for (project, step, operator, skips) in [
        (Fail, None, None, false),
        (Skip, None, None, true),
        (Skip, Some(Fail), None, false),
        (Fail, Some(Skip), None, true),
        (Fail, Some(Fail), Some(Skip), true),
        (Skip, Some(Skip), Some(Fail), false),
    ] {
        let word = |policy| if policy == Skip { "skip" } else { "fail" };
        let step = step.map_or(String::new(), |own| {
            format!("    unavailable: {}\n", word(own))
        });
        let text = format!(
            "unavailable: {}\n{}{step}",
            word(project),
            one_step("targets: { tag: web }")
        );
        let mut targets = farm();
        away(&mut targets, "web02");
        let options = PlanOptions {
            unavailable: operator,
            ..PlanOptions::default()
        };
        match plan(&release(&text), "test", &targets, &options) {
            Ok(plan) => {
                assert!(skips, "{text}");
                assert_eq!(shown(&plan), ["S: web01<-web01 web03<-web03"]);
                assert_eq!(left_out(&plan), ["web02 offline"]);
                assert_eq!(plan.warnings, ["web02 is offline and is left out"]);
            }
            Err(refusals) => {
                assert!(!skips, "{text}");
                let target = "web02".to_owned();
                let part = Part::OneOfSeveral;
                assert_eq!(refusals, [Refusal::AgentOffline { target, part }]);
                let help = refusals[0].next().unwrap();
                assert!(help.contains("--unavailable skip"), "{help}");
            }
        }
    }
    // Where all are away nothing would be done, and a balancer is never left out for being away.
    let skip = PlanOptions {
        unavailable: Some(Skip),
        ..PlanOptions::default()
    };
    let mut targets = farm();
    for name in ["web01", "web02", "web03"] {
        away(&mut targets, name);
    }
    let text = one_step("targets: { tag: web }");
    let refused = plan(&release(&text), "test", &targets, &skip).unwrap_err();
    assert!(
        refused[0].to_string().contains("web01 is offline"),
        "{}",
        refused[0]
    );
    let mut targets = farm();
    away(&mut targets, "lb01");
    let refused = plan(&release(FARM), "test", &targets, &skip).unwrap_err();
    let target = "lb01".to_owned();
    let part = Part::ForOthers;
    assert_eq!(refused, [Refusal::AgentOffline { target, part }]);
    let help = refused[0].next().unwrap();
    assert!(help.contains("'mantle target show lb01'"), "{help}");
    for harm in ["disable", "--unavailable"] {
        assert!(!help.contains(harm), "{help}");
    }
}

#[test]
fn who_chose_a_target_that_cannot_take_part_is_told_how_it_could_and_of_no_other() {
    let only = |name: &str| PlanOptions {
        unavailable: Some(Unavailable::Skip),
        unhealthy: Some(Unhealthy::Skip),
        only_targets: [name.to_owned()].into(),
        ..PlanOptions::default()
    };
    let text = one_step("targets: { tag: web }");
    let advice = |change: fn(&mut TargetFacts), name: &str| {
        let mut targets = farm();
        let first = targets.iter_mut().find(|one| one.name == "web01").unwrap();
        change(first);
        let refused = plan(&release(&text), "test", &targets, &only(name)).unwrap_err();
        refused[0].next().unwrap()
    };
    let gone = |one: &mut TargetFacts| one.agent.as_mut().unwrap().online = false;
    for (change, name, help) in [
        (
            gone as fn(&mut TargetFacts),
            "web01",
            "bring 'web01' back: look at it with 'mantle target show web01'",
        ),
        (
            |one| one.unhealthy = Some("disk: full".to_owned()),
            "web01",
            "'mantle target check web01'",
        ),
        (
            |one| one.disabled = true,
            "web01",
            "mantle target enable web01",
        ),
    ] {
        let said = advice(change, name);
        assert!(said.contains(help), "{said}");
    }
    // Beside others it is not left out in silence, unless that was asked for.
    let mut targets = farm();
    let first = targets.iter_mut().find(|one| one.name == "web01").unwrap();
    first.disabled = true;
    let mut options = PlanOptions {
        only_targets: names(&["web01", "web02"]),
        ..PlanOptions::default()
    };
    let refused = plan(&release(&text), "test", &targets, &options).unwrap_err();
    let target = "web01".to_owned();
    assert_eq!(refused, [Refusal::TargetDisabled { target }]);
    options.not_targets = names(&["web01"]);
    let without = plan(&release(&text), "test", &targets, &options).unwrap();
    assert_eq!(shown(&without), ["S: web02<-web02"]);
    // Nor is one in maintenance, unless it was not named but had failed before.
    let mut targets = farm();
    let first = targets.iter_mut().find(|one| one.name == "web01").unwrap();
    first.maintenance = Some("new disk".to_owned());
    let mut options = PlanOptions {
        only_targets: names(&["web01", "web02"]),
        ..PlanOptions::default()
    };
    let refused = plan(&release(&text), "test", &targets, &options).unwrap_err();
    let said = refused[0].to_string();
    assert!(
        said.contains("'web01' is chosen and in maintenance (new disk)"),
        "{said}"
    );
    assert!(
        said.contains("mantle target maintenance web01 off"),
        "{said}"
    );
    options.failed_in = Some("T-7".to_owned());
    let without = plan(&release(&text), "test", &targets, &options).unwrap();
    assert_eq!(shown(&without), ["S: web02<-web02"]);
    assert_eq!(without.warnings.len(), 1, "{:?}", without.warnings);
    // Who chose others is not told of it.
    options.failed_in = None;
    options.only_targets = names(&["web02"]);
    let others = plan(&release(&text), "test", &targets, &options).unwrap();
    assert!(others.warnings.is_empty(), "{:?}", others.warnings);
    // One that never joined is left out with a warning, and refused where none may be away.
    let mut targets = farm();
    let first = targets.iter_mut().find(|one| one.name == "web01").unwrap();
    first.agent = None;
    let mut options = PlanOptions::default();
    let without = plan(&release(&text), "test", &targets, &options).unwrap();
    assert!(
        without.warnings[0].contains("web01 is expected"),
        "{:?}",
        without.warnings
    );
    options.unavailable = Some(Unavailable::Fail);
    let refused = plan(&release(&text), "test", &targets, &options).unwrap_err();
    let target = "web01".to_owned();
    assert_eq!(refused, [Refusal::NotJoined { target }]);
    // Alone it is not said to be skipped.
    let mut targets = farm();
    away(&mut targets, "web01");
    let options = PlanOptions {
        only_targets: ["web01".to_owned()].into(),
        ..PlanOptions::default()
    };
    let refused = plan(&release(&text), "test", &targets, &options).unwrap_err();
    let part = Part::Alone;
    let target = "web01".to_owned();
    assert_eq!(refused, [Refusal::AgentOffline { target, part }]);
}

#[test]
fn targets_that_are_unhealthy_take_part_are_skipped_or_fail_as_operator_step_or_project_say() {
    use Unhealthy::{Deploy, Fail, Skip};
    for (project, step, operator, expected) in [
        (None, None, None, Deploy),
        (Some(Skip), None, None, Skip),
        (Some(Fail), None, None, Fail),
        (Some(Skip), Some(Deploy), None, Deploy),
        (None, Some(Fail), None, Fail),
        (Some(Fail), Some(Fail), Some(Skip), Skip),
        (Some(Skip), Some(Skip), Some(Deploy), Deploy),
    ] {
        let key = |policy: Option<Unhealthy>| {
            policy.map_or(String::new(), |p| format!("unhealthy: {}\n", p.word()))
        };
        let text = one_step("targets: { tag: web }");
        let own = match step {
            Some(_) => format!("    {}", key(step)),
            None => String::new(),
        };
        let text = format!("{}{text}{own}", key(project));
        let mut targets = farm();
        let ill = targets.iter_mut().find(|target| target.name == "web02");
        ill.unwrap().unhealthy = Some("disk: / is full".to_owned());
        let options = PlanOptions {
            unhealthy: operator,
            ..PlanOptions::default()
        };
        match (plan(&release(&text), "test", &targets, &options), expected) {
            (Ok(plan), Deploy) => {
                assert!(shown(&plan)[0].contains("web02"), "{text}");
                assert!(plan.left_out.is_empty() && plan.warnings.is_empty());
            }
            (Ok(plan), Skip) => {
                assert_eq!(shown(&plan), ["S: web01<-web01 web03<-web03"]);
                assert_eq!(left_out(&plan), ["web02 unhealthy"]);
                let warning = "web02 is unhealthy (disk: / is full) and is left out";
                assert_eq!(plan.warnings, [warning]);
            }
            (Err(refusals), Fail) => {
                let refusal = Refusal::TargetUnhealthy {
                    target: "web02".to_owned(),
                    why: "disk: / is full".to_owned(),
                };
                assert_eq!(refusals, [refusal], "{text}");
            }
            (planned, _) => panic!("{text}: {planned:?}"),
        }
    }
}

#[test]
fn how_long_it_may_take_is_the_operators_the_projects_or_the_environments_word() {
    let text = one_step("targets: { tag: web }");
    let own = format!("timeouts: {{ packages: 5m, deployment: 2h }}\n{text}");
    let hour = 3_600_000;
    for (text, environment, operator, expected) in [
        (&text, None, None, None),
        (&text, Some(4 * hour), None, Some(4 * hour)),
        (&own, Some(4 * hour), None, Some(2 * hour)),
        (&own, Some(4 * hour), Some(hour), Some(hour)),
    ] {
        let options = PlanOptions {
            time_limit_ms: operator,
            ..PlanOptions::default()
        };
        let (draft, targets) = (release(text), farm());
        let request = PlanRequest {
            time_limit_ms: environment,
            ..request(&draft, "test", &targets, &options)
        };
        let planned = super::super::plan(&request).unwrap().timeouts;
        assert_eq!(planned.deployment_ms, expected, "{text}");
        assert_eq!(planned != Timeouts::default(), expected.is_some());
    }
}

#[test]
fn a_step_that_went_well_where_it_runs_once_is_not_done_again_unless_it_is_asked_for() {
    let text = [
        "process:\n  - { step: Once, targets: { tag: web, pick: one }, uses: script, with: { run: x } }\n",
        "  - { step: All, targets: { tag: web }, uses: script, with: { run: x } }\n",
    ]
    .concat();
    let mut options = PlanOptions {
        only_targets: names(&["web02"]),
        failed_in: Some("T-7".to_owned()),
        done_steps: [("Once".to_owned(), "T-7".to_owned())].into(),
        ..PlanOptions::default()
    };
    let planned = plan(&release(&text), "test", &farm(), &options).unwrap();
    assert_eq!(
        planned.steps[0].skipped.as_deref(),
        Some("runs once, and went well in T-7")
    );
    assert_eq!(planned.steps[1].subjects.len(), 1);
    options.only_steps = names(&["Once"]);
    let asked = plan(&release(&text), "test", &farm(), &options).unwrap();
    assert_eq!(asked.steps[0].skipped, None);
}
