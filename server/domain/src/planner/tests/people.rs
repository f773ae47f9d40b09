//! Steps that people carry out, and who decides about failures.

use super::*;
use crate::plan::{Eyes, Guidance, NO_TARGET};

const SIGN: &str = "  - { step: Sign, uses: manual, with: { instructions: \"Look at #{Url}\", teams: [managers], approvals: 2, four_eyes: true } }\n";

#[test]
fn a_step_of_people_needs_no_target_and_asks_once() {
    let plan = planned(&format!("process:\n{SIGN}"), &[]).unwrap();
    let step = &plan.steps[0];
    assert_eq!(step.skipped, None);
    assert_eq!(step.subjects, [NO_TARGET]);
    assert_eq!(step.actions[0].nodes[0].executor, NO_TARGET);
    assert_eq!(plan.targets, []);
    let ask = step.actions[0].ask.as_ref().unwrap();
    assert_eq!(
        ask.instructions, "Look at #{Url}",
        "evaluated when its turn comes"
    );
    assert_eq!(ask.teams, ["managers"]);
    assert_eq!((ask.approvals, ask.eyes), (2, Eyes::Four));
    assert!(step.required, "what asks a team is not to be got around");
    assert_eq!(step.actions[0].locks, []);
}

#[test]
fn what_asks_others_than_the_one_who_deploys_cannot_be_left_out() {
    for (asks, required) in [
        (", teams: [managers], approvals: 2, four_eyes: true", true),
        (", teams: [managers]", true),
        (", approvals: 2, four_eyes: true", true),
        (", approvals: 2", true),
        (", four_eyes: true", true),
        (", approvals: 1, four_eyes: false", false),
        ("", false),
    ] {
        let sign =
            format!("  - {{ step: Sign, uses: manual, with: {{ instructions: look{asks} }} }}\n");
        let tell = "  - { step: Tell, targets: { tag: web }, uses: script, with: { run: x } }\n";
        let release = release(&format!("process:\n{sign}{tell}"));
        let (skip, only) = (PlanOptions::default(), PlanOptions::default());
        for options in [
            PlanOptions {
                skip_steps: ["Sign".to_owned()].into(),
                ..skip
            },
            PlanOptions {
                only_steps: ["Tell".to_owned()].into(),
                ..only
            },
        ] {
            let planned = plan(&release, "test", &farm(), &options);
            let refusal = Refusal::RequiredStep {
                step: "Sign".to_owned(),
            };
            let is_refused = planned.is_err_and(|refused| refused.contains(&refusal));
            assert_eq!(is_refused, required, "{asks}");
        }
    }
}

#[test]
fn as_one_of_several_actions_it_asks_for_each_target_and_needs_no_agent() {
    let text = "process:
  - step: Farm
    targets: { tag: web }
    rolling: { window: 1, pause_after_first: true }
    actions:
      - { action: Go, uses: script, with: { run: x } }
      - { action: Look, uses: manual, with: { instructions: look } }
";
    let mut targets = farm();
    for target in &mut targets {
        // No agent has to know how to ask a person.
        target
            .agent
            .as_mut()
            .unwrap()
            .features
            .retain(|known| known != "action:manual");
    }
    let plan = planned(text, &targets).unwrap();
    assert!(plan.steps[0].pause_after_first);
    let look = &plan.steps[0].actions[1];
    let subjects: Vec<_> = look.nodes.iter().map(|node| node.subject).collect();
    assert_eq!(subjects, plan.steps[0].subjects);
    assert_eq!(look.locks, [], "whoever waits for a person holds nothing");
    assert!(!plan.steps[0].required, "it names no team");
}

#[test]
fn what_the_server_would_have_to_run_is_refused_by_its_name() {
    let text = "process:
  - step: Mixed
    actions:
      - { action: Ask, uses: manual, with: { instructions: look } }
      - { action: Tell, uses: deploy.release, with: {} }
";
    let refused = refusals(text, &farm());
    assert!(refused[0].contains("('deploy.release')"), "{refused:?}");
}

#[test]
fn operator_then_project_then_environment_say_whether_failures_are_guided() {
    // (environment, project, operator) -> guided
    for (environment, project, operator, expected) in [
        (false, "", None, Guidance::Unguided),
        (true, "", None, Guidance::Guided),
        (true, "guided_failure: false\n", None, Guidance::Unguided),
        (false, "guided_failure: true\n", None, Guidance::Guided),
        (
            false,
            "guided_failure: true\n",
            Some(false),
            Guidance::Unguided,
        ),
        (
            true,
            "guided_failure: false\n",
            Some(true),
            Guidance::Guided,
        ),
    ] {
        let release = release(&format!(
            "{project}process:\n  - {{ step: S, targets: {{ tag: web }}, uses: script, with: {{ run: x }} }}\n"
        ));
        let options = PlanOptions {
            guided_failure: operator,
            ..PlanOptions::default()
        };
        let targets = farm();
        let question = PlanRequest {
            guided_failure: environment,
            ..request(&release, "test", &targets, &options)
        };
        let plan = super::super::plan(&question).unwrap();
        assert_eq!(
            plan.guidance, expected,
            "{environment} {project:?} {operator:?}"
        );
    }
}
