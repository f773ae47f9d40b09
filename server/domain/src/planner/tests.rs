//! Planning, by tables over one farm.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::explain::Part;
use crate::process::{OnFailure, Start, Timeouts, Unavailable, Unhealthy, WORKER_TAG};
use crate::release::{ReleaseDraft, ScannedFiles};
use crate::target::Platform;
use crate::testing::{a_project, a_release, a_target, octofx, plan, request};

mod back;
mod choices;
mod conditions;
mod fleets;
mod people;
mod ties;

const FARM: &str = concat!(
    "packages: [{ id: Web }]\n",
    "variables:\n  Port: 80\n  Password: { secret: shop/password }\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: web }\n",
    "    rolling: { window: 50% }\n",
    "    actions:\n",
    "      - { action: Out, uses: haproxy.drain, run_on: { tag: lb }, with: { backend: b, server: \"#{Octopus.Machine.Name}\" } }\n",
    "      - { action: Install, uses: package, with: { package: Web } }\n",
    "      - { action: Start, uses: systemd.service, with: { name: web, exec: /bin/web }, when: { platform: linux } }\n",
    "      - { action: Iis, uses: iis.site, with: { site: S, path: \"C:\\\\S\" }, when: { platform: windows } }\n",
);

fn farm() -> Vec<TargetFacts> {
    let mut targets = vec![
        a_target("web03", &["web"], &["test"]),
        a_target("web01", &["web"], &["test"]),
        a_target("lb02", &["lb"], &["test", "live"]),
        a_target("lb01", &["lb"], &["test", "live"]),
        a_target("web02", &["web"], &["test"]),
        a_target("web09", &["web"], &["live"]),
    ];
    targets[4].agent.as_mut().unwrap().platform = Platform::Windows;
    targets
}

fn release(rest: &str) -> ReleaseDraft {
    a_release(&a_project(rest), &ScannedFiles::new())
}

fn planned(rest: &str, targets: &[TargetFacts]) -> Result<Plan, Vec<Refusal>> {
    plan(&release(rest), "test", targets, &PlanOptions::default())
}

fn refusals(rest: &str, targets: &[TargetFacts]) -> Vec<String> {
    planned(rest, targets)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// `step.action: subject<-executor ...` for every action.
fn shown(plan: &Plan) -> Vec<String> {
    let name = |id| plan.target(id).unwrap().name.clone();
    plan.steps
        .iter()
        .flat_map(|step| &step.actions)
        .map(|action| {
            let nodes: Vec<String> = action
                .nodes
                .iter()
                .map(|node| format!("{}<-{}", name(node.subject), name(node.executor)))
                .collect();
            format!("{}: {}", action.name, nodes.join(" "))
        })
        .collect()
}

#[test]
fn a_farm_is_planned_in_the_order_of_names_with_executors_and_platforms() {
    let plan = planned(FARM, &farm()).unwrap();
    assert_eq!(
        shown(&plan),
        [
            "Out: web01<-lb01 web01<-lb02 web02<-lb01 web02<-lb02 web03<-lb01 web03<-lb02",
            "Install: web01<-web01 web02<-web02 web03<-web03",
            "Start: web01<-web01 web03<-web03",
            "Iis: web02<-web02",
        ]
    );
    let step = &plan.steps[0];
    assert!(step.rolling);
    assert_eq!(step.parallel, 2, "half of three, rounded up");
    assert_eq!(step.subjects.len(), 3);
    assert_eq!(step.actions[1].packages[0].version, "1.2.3");
    assert_eq!(plan.targets.len(), 5);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn the_plan_does_not_depend_on_the_order_of_the_targets() {
    let mut targets = farm();
    let first = planned(FARM, &targets).unwrap();
    for _ in 0..targets.len() {
        targets.rotate_left(1);
        assert_eq!(planned(FARM, &targets).unwrap(), first);
    }
}

#[test]
fn window_and_limit_give_the_smaller_at_least_one() {
    for (keys, parallel) in [
        ("rolling: { window: 1 }", 1),
        ("rolling: { window: 9 }", 9),
        ("rolling: { window: 9 }\n    max_parallel: 2", 2),
        ("rolling: { window: 1% }", 1),
        ("rolling: { window: 100% }", 3),
        ("rolling: { window: 34% }", 2),
        ("max_parallel: 4", 4),
        ("when: { environments: [test] }", 10),
    ] {
        let text = format!(
            "environments: [{{ name: test }}]\nprocess:\n  - step: S\n    targets: {{ tag: web }}\n    uses: script\n    with: {{ run: \"true\" }}\n    {keys}\n"
        );
        assert_eq!(
            planned(&text, &farm()).unwrap().steps[0].parallel,
            parallel,
            "{keys}"
        );
    }
}

fn one_step(keys: &str) -> String {
    format!("process:\n  - step: S\n    uses: script\n    with: {{ run: \"true\" }}\n    {keys}\n")
}

#[test]
fn refusals_say_who_and_why() {
    let mut offline = farm();
    offline[1].agent.as_mut().unwrap().online = false;
    let mut old = farm();
    old[0].agent.as_mut().unwrap().features.clear();
    // It joined and has not connected yet: what it can do is not known.
    let mut new = farm();
    let agent = new[0].agent.as_mut().unwrap();
    agent.online = false;
    agent.features.clear();
    // It tells of its shells, and the others do not.
    let mut bare = farm();
    let features = &mut bare[0].agent.as_mut().unwrap().features;
    features.push("shell:bash".to_owned());
    let mut before = farm();
    let features = &mut before[0].agent.as_mut().unwrap().features;
    features.retain(|word| !word.starts_with("inputs:"));
    let scripted = concat!(
        "packages: [{ id: Web }]\n",
        "process: [{ step: S, targets: { tag: web }, uses: package, with: { package: Web, packaged_scripts: true } }]\n"
    );
    let mut absent = farm();
    absent[0].disabled = true;
    absent[1].agent = None;
    absent[4].environments = vec!["live".to_owned()];
    let no_lb: Vec<TargetFacts> = farm()
        .into_iter()
        .filter(|t| !t.name.starts_with("lb"))
        .collect();
    let mut lb_elsewhere = farm();
    lb_elsewhere[2].environments = vec!["live".to_owned()];
    lb_elsewhere[3].disabled = true;
    let nobody: Vec<TargetFacts> = vec![a_target("x", &["web"], &["live"])];
    let web = one_step("targets: { tag: web }");
    for (rest, targets, expected) in [
        (
            web.as_str(),
            &bare,
            "action 'S' runs sh, which is not on web03; install sh there and start the agent again, which looks at its start ('tentacle doctor' shows what it finds); or name another under 'shell' and create a new release",
        ),
        (
            scripted,
            &before,
            "action 'S' has the input 'packaged_scripts', which the agent of web03 (version 0.1.0) does not know; upgrade the agent, or exclude the action with 'when:' and create a new release",
        ),
        (
            web.as_str(),
            &offline,
            "target 'web01' is offline: its agent is not connected; look at it with 'mantle target show web01' and, on the machine, 'tentacle doctor'; or deploy without what is away: --unavailable skip",
        ),
        (
            &web,
            &old,
            "action 'S' is of type 'script', which the agent of web03 (version 0.1.0) cannot run; upgrade the agent, or exclude the action with 'when:' and create a new release",
        ),
        (
            &web,
            &new,
            "target 'web03' is offline: its agent is not connected; look at it with 'mantle target show web03' and, on the machine, 'tentacle doctor'; or deploy without what is away: --unavailable skip",
        ),
        (
            &web,
            &absent,
            "step 'S' is about targets with tag 'web', and environment 'test' has none to work on (web01 is expected but has not joined; web02 is in live; web03 is disabled; web09 is in live); let 'web03' take part: mantle target enable web03",
        ),
        (
            &web,
            &nobody,
            "environment 'test' has no target to work on: none that is enabled and has joined; let one join: mantle agent token create --environment test, then on the machine the line that it shows",
        ),
        (
            &one_step("targets: { tag: wbe }"),
            &farm(),
            "step 'S' names tag 'wbe', which no target has; did you mean 'web'? correct it in the project's file, run 'mantle apply' and create a new release",
        ),
        (
            FARM,
            &no_lb,
            "action 'Out' names tag 'lb', which no target has; tag a target, such as 'web01': mantle target tag web01 lb",
        ),
        (
            FARM,
            &lb_elsewhere,
            "action 'Out' runs on targets with tag 'lb', and environment 'test' has none to run it; let 'lb01' take part: mantle target enable lb01",
        ),
        (
            "process: [{ step: Tell, uses: deploy.release }]\n",
            &farm(),
            "step 'Tell' ('deploy.release') has no targets, so a worker runs it once, and no target that takes part has the tag 'server-worker'; start the server with 'mantle server run --worker', or give a machine that 'mantle target list' shows the tag 'server-worker'",
        ),
    ] {
        assert_eq!(refusals(rest, targets), [expected], "{rest}");
    }
}

#[test]
fn ties_of_real_targets_are_refused_at_plan() {
    let text = format!(
        "variables:\n  Port:\n    - {{ value: 1, tag: web }}\n    - {{ value: 2, tag: old }}\n{}",
        one_step("targets: { tag: farm }")
    );
    let both = vec![a_target("web01", &["farm", "old", "web"], &["test"])];
    let shown = refusals(&text, &both);
    assert_eq!(
        shown,
        [
            "variable 'Port' has two equally specific values for action 'S' in step 'S' in target 'web01' in environment 'test' in channel 'default': the one for tag old and the one for tag web; give one of them a further scope, run 'mantle apply' and create a new release"
        ]
    );
    let one = vec![a_target("web01", &["farm", "web"], &["test"])];
    assert!(planned(&text, &one).is_ok());
}

#[test]
fn pick_one_takes_the_first_that_is_available() {
    let text = one_step("targets: { tag: web, pick: one }");
    assert_eq!(
        shown(&planned(&text, &farm()).unwrap()),
        ["S: web01<-web01"]
    );
    let mut targets = farm();
    targets[1].agent.as_mut().unwrap().online = false;
    assert_eq!(
        shown(&planned(&text, &targets).unwrap()),
        ["S: web02<-web02"]
    );
}

#[test]
fn what_does_not_apply_is_skipped_with_a_reason() {
    let text = concat!(
        "environments: [{ name: test }, { name: live }]\n",
        "process:\n",
        "  - { step: Live, uses: manual, with: { instructions: look }, when: { environments: live } }\n",
        "  - { step: NotTest, uses: deploy.release, when: { not_environments: test } }\n",
        "  - { step: Off, targets: { tag: web }, uses: script, with: { run: x }, disabled: true }\n",
        "  - { step: Mac, targets: { tag: lb }, uses: script, with: { run: x }, when: { platform: windows } }\n",
        "  - { step: Run, targets: { tag: lb, pick: one }, uses: script, with: { run: x } }\n",
    );
    let plan = planned(text, &farm()).unwrap();
    let reasons: Vec<Option<&str>> = plan
        .steps
        .iter()
        .map(|step| step.skipped.as_deref())
        .collect();
    assert_eq!(
        reasons,
        [
            Some("only in live"),
            Some("not in test"),
            Some("all of its actions are disabled"),
            Some("none of its actions applies to any of its targets"),
            None,
        ]
    );
    assert_eq!(plan.steps[4].number, 5);
    assert_eq!(plan.targets.len(), 1);
}

#[test]
fn options_choose_targets_and_steps() {
    use choices::names;
    let text = one_step("targets: { tag: web }");
    let draft = release(&text);
    let with = |options: PlanOptions| plan(&draft, "test", &farm(), &options);
    let only = with(PlanOptions {
        only_targets: names(&["web02"]),
        ..PlanOptions::default()
    })
    .unwrap();
    assert_eq!(shown(&only), ["S: web02<-web02"]);
    let not = with(PlanOptions {
        not_targets: names(&["web02"]),
        ..PlanOptions::default()
    })
    .unwrap();
    assert_eq!(shown(&not), ["S: web01<-web01 web03<-web03"]);
    let wrong = with(PlanOptions {
        only_targets: names(&["web1"]),
        skip_steps: names(&["T"]),
        ..PlanOptions::default()
    })
    .unwrap_err();
    assert!(wrong.contains(&Refusal::UnknownTarget {
        target: "web1".to_owned(),
        suggestion: Some("web01".to_owned()),
        elsewhere: Vec::new(),
    }));
    assert!(
        wrong.iter().any(
            |refusal| matches!(refusal, Refusal::UnknownStep { steps, .. } if !steps.is_empty())
        )
    );
    let mut offline = farm();
    offline[0].agent.as_mut().unwrap().online = false;
    let skip = PlanOptions {
        unavailable: Some(Unavailable::Skip),
        ..PlanOptions::default()
    };
    let plan = plan(&draft, "test", &offline, &skip).unwrap();
    assert_eq!(shown(&plan), ["S: web01<-web01 web02<-web02"]);
    assert_eq!(plan.warnings, ["web03 is offline and is left out"]);
}

#[test]
fn variables_that_lead_back_to_themselves_are_named_before_they_fail() {
    let text = "variables: { A: \"#{B}\", B: \"#{A}\" }\nprocess:\n  - step: S\n    targets: { tag: web, pick: one }\n    uses: script\n    with: { run: x, arguments: [\"#{A}\"] }\n";
    let plan = planned(text, &farm()).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "action 'S' will fail, for its inputs cannot be evaluated: line 1, column 1: '#{A}' refers to itself (A -> B -> A); break the loop in these variables"
        ]
    );
}

#[test]
fn a_target_that_is_elsewhere_is_named_with_where() {
    let text = "process:\n  - { step: S, targets: { tag: web }, uses: script, with: { run: x } }\n";
    let release = a_release(&a_project(text), &ScannedFiles::new());
    let mut targets = farm();
    targets.push(a_target("live01", &["web"], &["live", "spare"]));
    let options = PlanOptions {
        only_targets: ["live01".to_owned()].into(),
        ..PlanOptions::default()
    };
    let refusals = plan(&release, "test", &targets, &options).unwrap_err();
    let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert!(
        said[0].contains("target 'live01' is not in this environment: it is in live and spare"),
        "{said:?}"
    );
}

#[test]
fn missing_variables_and_open_secrets_are_warnings() {
    let text = "process:\n  - step: S\n    targets: { tag: web, pick: one }\n    uses: script\n    with: { run: x, arguments: [\"#{Nope}\", \"#{Octopus.Action[S].Output.Later}\"] }\n    secrets: all\n";
    let plan = planned(text, &farm()).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "action 'S' gets every secret of the project ('secrets: all')",
            "action 'S' uses #{Nope}, for which no variable has a value here",
        ]
    );
}

#[test]
fn a_value_that_asks_for_an_action_that_there_is_not_is_a_warning() {
    // As one of a variable set does, which no file of the project shows.
    let text = "variables: { Here: '#{Octopus.Action[s].Output.X}', Gone: '#{Octopus.Action[Tpyo].Output.X}' }\nprocess:\n  - step: S\n    targets: { tag: web, pick: one }\n    uses: script\n    with: { run: x, arguments: [\"#{Here}\", \"#{Gone}\"] }\n";
    let plan = planned(text, &farm()).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "action 'S' uses #{Octopus.Action[Tpyo].Output.X}, for which no variable has a value here"
        ]
    );
}

#[test]
fn the_reference_example_plans_as_far_as_this_version_goes() {
    let definitions = octofx();
    let draft = a_release(&definitions.projects[0], &ScannedFiles::new());
    let targets = vec![
        a_target("db01", &["database"], &["test"]),
        a_target("lb01", &["load-balancer"], &["test"]),
        a_target("web01", &["web"], &["test"]),
        a_target("web02", &["web"], &["test"]),
    ];
    let refused = plan(&draft, "test", &targets, &PlanOptions::default()).unwrap_err();
    assert_eq!(
        refused,
        [Refusal::NeedsServerWorker {
            step: "Tell the team".to_owned(),
            uses: "notify".to_owned()
        }]
    );
    let options = PlanOptions {
        skip_steps: ["Tell the team".to_owned()].into(),
        ..PlanOptions::default()
    };
    let plan = plan(&draft, "test", &targets, &options).unwrap();
    assert_eq!(plan.steps[1].parallel, 1);
    assert_eq!(plan.steps[2].skipped.as_deref(), Some("only in production"));
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    let preview = preview::preview(&request(&draft, "test", &targets, &options), &plan, now);
    let farm = &preview.steps[1];
    assert_eq!(farm.actions[0].nodes[1].with["server"], "web02");
    assert_eq!(farm.actions[0].nodes[1].executor, "lb01");
    assert_eq!(
        farm.actions[4].nodes[0].with["url"],
        "http://localhost:8080/"
    );
    assert_eq!(
        farm.actions[3].skipped.as_deref(),
        Some("none of the targets is on its platform")
    );
    assert!(
        farm.actions[2].nodes[0].with["exec"]
            .as_str()
            .unwrap()
            .ends_with("octofx --port 8080")
    );
}

#[test]
fn what_was_pushed_for_linux_is_not_planned_onto_windows() {
    let mut release = release(FARM);
    release.packages.packages[0].linux_only = true;
    let planned = |release: &ReleaseDraft| plan(release, "test", &farm(), &PlanOptions::default());
    let refused = planned(&release).unwrap_err();
    let said: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "action 'Install' would unpack package 'Web' 1.2.3 on Windows (web02), but it was pushed for Linux: it may hold names that Windows refuses or mixes up; keep the action to Linux with 'when: { platform: linux }', or push a version without --platform, then create a new release"
        ]
    );
    let linux = FARM.replace(
        "uses: package,",
        "uses: package, when: { platform: linux },",
    );
    let mut release = self::release(&linux);
    release.packages.packages[0].linux_only = true;
    assert!(planned(&release).is_ok());
}

#[test]
fn what_nobody_answered_is_refused_if_it_is_required_and_has_a_default_otherwise() {
    let rest = "variables:\n  A: { prompt: { default: x } }\n  B: { prompt: { control: sensitive } }\n  C: { prompt: { required: true } }\n";
    let release = a_release(&a_project(rest), &ScannedFiles::new());
    let refused = plan(&release, "test", &[], &PlanOptions::default()).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "this deployment asks for C, which no value was given for; give it: --variable 'C=VALUE'"
    );
    let settled = a_project(&rest.replace("required: true", "required: false"));
    let release = a_release(&settled, &ScannedFiles::new());
    assert!(plan(&release, "test", &[], &PlanOptions::default()).is_ok());
}

#[test]
fn what_a_rolling_step_allows_is_counted_in_targets() {
    for (keys, max_failed, on_failure) in [
        ("window: 1, max_failed: 3", 3, OnFailure::Stop),
        ("window: 1", 0, OnFailure::Stop),
        ("window: 1, max_failed: 2", 2, OnFailure::Stop),
        ("window: 1, max_failed: 0", 0, OnFailure::Stop),
        // Of three: a share is rounded down.
        ("window: 1, max_failed: 66%", 1, OnFailure::Stop),
        ("window: 1, max_failed: 67%", 2, OnFailure::Stop),
        (
            "window: 1, max_failed: 10%, on_failure: continue",
            0,
            OnFailure::Continue,
        ),
    ] {
        let text = one_step(&format!(
            "targets: {{ tag: web }}\n    rolling: {{ {keys} }}"
        ));
        let plan = planned(&text, &farm()).unwrap();
        let step = &plan.steps[0];
        assert_eq!(
            (step.max_failed, step.on_failure),
            (max_failed, on_failure),
            "{keys}"
        );
        // One at least has to go well.
        assert_eq!(step.may_fail(), max_failed.min(2), "{keys}");
        let alone = PlanOptions {
            only_targets: ["web01".to_owned()].into(),
            ..PlanOptions::default()
        };
        let draft = release(&text);
        let targets = farm();
        let request = request(&draft, "test", &targets, &alone);
        let plan = super::plan(&request).unwrap();
        let now = "2026-11-26T10:00:00Z".parse().unwrap();
        let shown = preview::preview(&request, &plan, now);
        assert_eq!(shown.steps[0].subjects, ["web01"]);
        assert_eq!(shown.steps[0].max_failed, 0, "{keys}: none but it");
    }
}

#[test]
fn a_step_says_in_the_plan_when_it_starts_and_whether_it_is_required() {
    let step = |name: &str, keys: &str| {
        format!(
            "  - step: {name}\n    targets: {{ tag: web }}\n    uses: script\n    with: {{ run: \"true\" }}\n    {keys}\n"
        )
    };
    let text = format!(
        "process:\n{}{}{}",
        step("A", "required: true"),
        step("B", "start: with_previous"),
        step("C", "start: after_previous"),
    );
    let plan = planned(&text, &farm()).unwrap();
    let starts: Vec<_> = plan.steps.iter().map(|s| (s.start, s.required)).collect();
    let (after, with) = (Start::AfterPrevious, Start::WithPrevious);
    assert_eq!(starts, [(after, true), (with, false), (after, false)]);

    let options = PlanOptions {
        skip_steps: ["A".to_owned()].into(),
        ..PlanOptions::default()
    };
    let refused = plan_of(&text, &options).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "step 'A' is required, so that no deployment may leave it out; deploy with it, or take \
         'required' from it in the project's file (from a manual action 'teams', 'four_eyes' and \
         'approvals' too), run 'mantle apply' and create a new release"
    );
}

fn plan_of(text: &str, options: &PlanOptions) -> Result<Plan, Vec<Refusal>> {
    plan(&release(text), "test", &farm(), options)
}

#[test]
fn a_target_in_maintenance_is_left_out_with_its_reason() {
    let web = one_step("targets: { tag: web }");
    let mut some = farm();
    some[1].maintenance = Some("new disks".to_owned());
    let release = a_release(&a_project(&web), &ScannedFiles::default());
    let planned = plan(&release, "test", &some, &PlanOptions::default()).unwrap();
    assert!(planned.targets.iter().all(|target| target.name != "web01"));
    let said = ["web01 is in maintenance (new disks) and is left out"];
    assert_eq!(planned.warnings, said);
    for target in &mut some {
        target.maintenance = Some("new disks".to_owned());
    }
    let refusals = plan(&release, "test", &some, &PlanOptions::default()).unwrap_err();
    let next = refusals[0].next().unwrap();
    assert!(
        next.contains("mantle target maintenance lb01 off"),
        "{next}"
    );
}

#[test]
fn a_step_without_targets_runs_once_on_the_first_worker_that_is_there() {
    let once = "process: [{ step: Tell, uses: script, with: { run: echo } }]\n";
    let worker = |name: &str, environments: &[&str]| a_target(name, &[WORKER_TAG], environments);
    let away = |mut target: TargetFacts| {
        target.agent.as_mut().unwrap().online = false;
        target
    };
    let disabled = |mut target: TargetFacts| {
        target.disabled = true;
        target
    };
    // Who is there, and who does it.
    let table: Vec<(Vec<TargetFacts>, &str)> = vec![
        (vec![worker("own", &[])], "own"),
        (vec![worker("b", &[]), worker("a", &["live"])], "a"),
        (vec![worker("a", &[]), worker("b", &["test"])], "b"),
        (vec![away(worker("a", &["test"])), worker("b", &[])], "b"),
        (
            vec![disabled(worker("a", &["test"])), worker("b", &[])],
            "b",
        ),
    ];
    for (workers, expected) in table {
        let all = [farm(), workers].concat();
        let plan = planned(once, &all).unwrap();
        let step = &plan.steps[0];
        assert_eq!(step.subjects.len(), 1, "{expected}");
        let nodes = &step.actions[0].nodes;
        assert_eq!(nodes.len(), 1, "{expected}");
        assert_eq!(nodes[0].subject, nodes[0].executor);
        let names: Vec<&str> = plan
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect();
        assert_eq!(names, [expected]);
    }
    // One that is away is waited for as any other; nobody else is asked about web servers.
    let said = refusals(once, &[farm(), vec![away(worker("own", &[]))]].concat());
    assert!(said[0].contains("target 'own' is offline"), "{said:?}");
    let web = one_step("targets: { tag: web }");
    let plan = planned(&web, &[farm(), vec![worker("own", &[])]].concat()).unwrap();
    assert!(plan.targets.iter().all(|target| target.name != "own"));
}
