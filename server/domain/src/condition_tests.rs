//! What a run condition comes to, reference section 1.4 for what is true.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::plan::Plan;
use crate::planner::PlanOptions;
use crate::release::{ReleaseDraft, ScannedFiles};
use crate::state::{Failure, OutputVariable};
use crate::testing::{a_project, a_release, a_target, plan};

fn release() -> ReleaseDraft {
    a_release(
        &a_project(concat!(
            "variables:\n",
            "  Plain: text\n",
            "  No: \"no\"\n",
            "  Password: { secret: shop/password }\n",
            "  Hidden: \"#{Password | ToUpper}\"\n",
            "  Alias: \"#{Octopus.Action[Check].Output.Go}\"\n",
            "  Worry: \"#{Octopus.Deployment.Error}\"\n",
            "  Loop: \"#{Loop}\"\n",
            "  Tied: [{ value: a, tag: web }, { value: b, tag: db }]\n",
            "  Own: [{ value: \"\" }, { value: x, step: Act }]\n",
            "process:\n",
            "  - step: Farm\n",
            "    targets: { tag: web }\n",
            "    actions:\n",
            "      - { action: Check, uses: script, with: { run: x } }\n",
            "      - { action: Act, uses: script, with: { run: x } }\n",
        )),
        &ScannedFiles::new(),
    )
}

/// What is asked where: `None` of the step, else of the action at this index on web01.
fn judged(template: &str, action: Option<usize>, failed: bool) -> Result<bool, String> {
    let release = release();
    let targets = [
        a_target("web01", &["web"], &["test"]),
        a_target("web02", &["web"], &["test"]),
    ];
    let plan: Plan = plan(&release, "test", &targets, &PlanOptions::default()).unwrap();
    let outputs = [OutputVariable {
        action: "Check".to_owned(),
        subject: "web01".to_owned(),
        name: "Go".to_owned(),
        value: "true".to_owned(),
        sealed_by: None,
    }];
    let failure = Failure::unnamed();
    let context = OrderContext {
        plan: &plan,
        process: &release.process,
        variables: &release.variables,
        task_number: "T-7",
        outputs: &outputs,
        failed: failed.then_some(&failure),
        lists: None,
    };
    let step = plan.step(0).unwrap();
    let place = Place {
        step,
        action: action.and_then(|index| step.actions.get(index)),
        subject: action.and(plan.targets.first()),
    };
    let options = Options::new("2026-11-23T10:00:00Z".parse().unwrap());
    judge(&context, &place, template, &options).map_err(|why| why.to_string())
}

#[test]
fn a_condition_is_true_or_false() {
    let idiom = "#{unless Octopus.Deployment.Error}#{Plain}#{/unless}";
    // (template, something failed, it is true)
    for (template, failed, expected) in [
        (
            "#{if Octopus.Machine.Name == \"web01\"}yes#{/if}",
            false,
            true,
        ),
        (
            "#{if Octopus.Machine.Name == \"web02\"}yes#{/if}",
            false,
            false,
        ),
        ("#{if Octopus.Action.Name == \"Act\"}yes#{/if}", false, true),
        (idiom, false, true),
        (idiom, true, false),
        ("#{Plain}", false, true),
        ("#{No}", false, false),
        // What is undefined is false where it is asked about.
        ("#{if Nope}yes#{/if}", false, false),
        ("#{unless Nope}yes#{/unless}", false, true),
        // The server's names are there, with or without a value.
        ("#{Octopus.Deployment.Error}", false, false),
        ("#{Octopus.Deployment.Error}", true, true),
        ("#{Worry}", false, false),
        ("#{Octopus.Release.CustomFields[ticket]}", false, false),
        ("#{Octopus.Environment.MachinesInRole[db]}", false, false),
        ("#{Octopus.Deployment.Error | ToUpper}", false, false),
        // A secret that is not read decides nothing.
        ("#{if No}#{Password}#{/if}#{Plain}", false, true),
        (
            // Which of the server's names it is hangs on a variable.
            "#{Octopus.Release.CustomFields[#{Plain}]}",
            false,
            false,
        ),
        ("#{Octopus.Action[Check].Output.Go}", false, true),
        ("#{Octopus.Action[Check].Output[web01].Go}", false, true),
        ("#{Alias}", false, true),
        // A value for the action holds in the action's condition.
        ("#{Own}", false, true),
    ] {
        assert_eq!(
            judged(template, Some(1), failed),
            Ok(expected),
            "{template} {failed}"
        );
    }
    assert_eq!(judged("#{Own}", None, false), Ok(false));
}

#[test]
fn what_is_neither_says_what_is_missing_and_where() {
    for (template, why) in [
        ("#{Nope}", "line 1, column 1: '#{Nope}' has no value"),
        (
            "yes #{Nope | ToUpper}",
            "line 1, column 5: '#{Nope | ToUpper}' has no value",
        ),
        (
            "#{Plain",
            "line 1, column 1: '#{Plain' is not a tag that can be read",
        ),
        (
            "#{Nope}#{if Plain}",
            "line 1, column 8: '#{if Plain}' is not a tag",
        ),
        (
            "#{Plain | Shout}",
            "names the filter 'Shout', which does not exist",
        ),
        ("#{Loop}", "refers to itself (Loop -> Loop)"),
        ("#{calc Plain + 1}", "has no answer"),
        ("#{Octopus.Action[Check].Output.Stop}", "has no value"),
        ("#{Octopus.Release.CustomFields[#{Nope}]}", "has no value"),
        // Only agents know it.
        ("#{Octopus.Tentacle.Agent.InstanceName}", "has no value"),
    ] {
        let told = judged(template, Some(1), false).unwrap_err();
        assert!(told.contains(why), "{template}: {told}");
    }
}

#[test]
fn what_hangs_on_a_secret_names_it_and_the_way_out() {
    let told = "it hangs on the secret 'Password', whose value only targets have; let a variable decide that is no secret, or the script of the action";
    for template in [
        "#{Password}",
        "#{if Password}yes#{/if}",
        "#{unless Password}yes#{/unless}",
        "#{Password | Contains a}",
        "#{if Password == \"live\"}yes#{else}no#{/if}",
        "#{Plain}#{Password}",
        "#{Hidden}",
        "#{Octopus.Release.CustomFields[#{Password}]}",
    ] {
        assert_eq!(
            judged(template, Some(1), false),
            Err(told.to_owned()),
            "{template}"
        );
        assert_eq!(
            judged(template, None, false),
            Err(told.to_owned()),
            "{template}"
        );
    }
    // What is wrong whatever it is comes first.
    let told = judged("#{Password}#{Nope}", None, false).unwrap_err();
    assert!(told.contains("'#{Nope}' has no value"), "{told}");
}

#[test]
fn a_condition_that_takes_too_much_cannot_be_judged() {
    let endless = "#{each a in Many}".repeat(9) + "x" + &"#{/each}".repeat(9);
    let text = format!("#{{if Plain}}{}#{{/if}}", endless.replace("Many", "List"));
    let project = a_project(&format!(
        "variables: {{ Plain: x, List: \"{}\" }}\nprocess:\n  - {{ step: S, targets: {{ tag: web }}, uses: script, with: {{ run: x }} }}\n",
        vec!["a"; 100].join(",")
    ));
    let release = a_release(&project, &ScannedFiles::new());
    let targets = [a_target("web01", &["web"], &["test"])];
    let plan = plan(&release, "test", &targets, &PlanOptions::default()).unwrap();
    let context = OrderContext {
        plan: &plan,
        process: &release.process,
        variables: &release.variables,
        task_number: "T-7",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let place = Place {
        step: plan.step(0).unwrap(),
        action: None,
        subject: None,
    };
    let options = Options::new("2026-11-23T10:00:00Z".parse().unwrap());
    let told = judge(&context, &place, &text, &options).unwrap_err();
    assert!(matches!(told, Unjudgeable::Limit(_)), "{told}");
}
