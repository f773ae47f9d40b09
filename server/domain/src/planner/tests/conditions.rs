//! Run conditions that cannot be judged: what is refused beforehand, and what is left to the run.

use super::*;
use crate::process::RunCondition;

/// A release whose step `Act` (or the action `Do` in it) has this condition, between a step `Check`
/// and a step `After`; `Away` is somewhere else.
fn with(template: &str, of_action: bool) -> ReleaseDraft {
    let mut release = release(concat!(
        "variables:\n",
        "  Plain: text\n",
        "  Here: [{ value: x, environment: live }]\n",
        "  Own: [{ value: x, target: web01 }]\n",
        "  Alias: \"#{Octopus.Action[Look].Output.Go}\"\n",
        "  Broken: \"#{Octopus.Action[Look].Output.Go}#{Nope}\"\n",
        "  Password: { secret: shop/password }\n",
        "process:\n",
        "  - step: Check\n",
        "    targets: { tag: web }\n",
        "    actions: [{ action: Look, uses: script, with: { run: x } }]\n",
        "  - step: Away\n",
        "    targets: { tag: web }\n",
        "    when: { environments: live }\n",
        "    actions: [{ action: Elsewhere, uses: script, with: { run: x } }]\n",
        "  - step: Act\n",
        "    targets: { tag: web }\n",
        "    actions: [{ action: Do, uses: script, with: { run: x } }, { action: Next, uses: script, with: { run: x } }]\n",
        "  - step: After\n",
        "    targets: { tag: web }\n",
        "    actions: [{ action: Last, uses: script, with: { run: x } }]\n",
    ));
    // As a release from before conditions were read by `apply` has it.
    let step = &mut release.process.process.steps[2];
    let run = RunCondition::Template(template.to_owned());
    if of_action {
        step.actions[0].run = run;
    } else {
        step.run = run;
    }
    release
}

fn planned_with(template: &str, of_action: bool) -> Result<Plan, Vec<Refusal>> {
    let release = with(template, of_action);
    plan(&release, "test", &farm(), &PlanOptions::default())
}

#[test]
fn what_can_be_known_to_be_unjudgeable_is_refused_with_its_place_and_what_to_do() {
    for (template, why) in [
        ("#{Nope}", "line 1, column 1: '#{Nope}' has no value"),
        ("yes #{Plain", "line 1, column 5: '#{Plain' is not a tag"),
        ("#{Plain | Shout}", "names the filter 'Shout'"),
        // It has a value in another environment.
        ("#{Here}", "'#{Here}' has no value"),
        ("#{if Plain}#{Nope}#{/if}", "'#{Nope}' has no value"),
        ("#{calc Plain + 1}", "has no answer"),
        // What nothing sets before: no such action, one that takes no part, a later one.
        (
            "#{Octopus.Action[Lok].Output.Go}",
            "'#{Octopus.Action[Lok].Output.Go}' has no value",
        ),
        ("#{Octopus.Action[Elsewhere].Output.Go}", "has no value"),
        ("#{Octopus.Action[Last].Output.Go}", "has no value"),
        // Whatever the output will be.
        ("#{Octopus.Action[Look].Output.Go}#{Nope}", "'#{Nope}'"),
        ("#{Broken}", "'#{Nope}' has no value"),
        (
            "#{if Octopus.Action[Look].Output.Go}#{Nope",
            "is not a tag that can be read",
        ),
        // Only targets know it.
        (
            "#{Password}",
            "it hangs on the secret 'Password', whose value only targets have",
        ),
        (
            "#{if Password == \"live\"}yes#{/if}",
            "it hangs on the secret 'Password'",
        ),
    ] {
        for of_action in [false, true] {
            let refused = planned_with(template, of_action).unwrap_err();
            let [refusal] = &refused[..] else {
                panic!("{template}: {refused:?}");
            };
            let place = if of_action {
                format!(
                    "the condition of action 'Do' of step 'Act', '{template}', cannot be judged for 3 targets (web01, web02 and web03): "
                )
            } else {
                format!("the condition of step 'Act', '{template}', cannot be judged: ")
            };
            let told = refusal.to_string();
            assert!(told.starts_with(&place), "{told}");
            assert!(told.contains(why), "{template}: {told}");
            let next = "mantle release refresh-variables shop 0.0.1";
            assert!(told.ends_with(next), "{told}");
        }
    }
}

#[test]
fn what_may_be_judged_when_its_turn_comes_is_not_refused() {
    for template in [
        "#{Plain}",
        "#{if Nope}yes#{/if}",
        "#{unless Octopus.Deployment.Error}#{Plain}#{/unless}",
        "#{Octopus.Deployment.Error}",
        "#{Octopus.Release.CustomFields[ticket]}",
        "#{if Nope}#{Password}#{/if}#{Plain}",
        "#{if Octopus.Action[Look].Output.Go}#{Password}#{/if}",
        "#{Octopus.Action[Look].Output.Go}",
        "#{octopus.action[LOOK].output[web01].Go}",
        "#{Octopus.Action[Look].Output.Go | ToUpper}",
        "#{Alias}",
        "#{Octopus.Action[#{Plain}].Output.Go}",
        "#{if Octopus.Action[Look].Output.Go == \"1\"}yes#{/if}",
    ] {
        for of_action in [false, true] {
            let plan = planned_with(template, of_action).unwrap();
            assert_eq!(plan.warnings, [""; 0], "{template}");
        }
    }
    // It hangs on what is not known yet whether it will come to that.
    for template in [
        "#{unless Octopus.Action[Look].Output.Go}#{Password}#{/unless}",
        "#{if Octopus.Action[Look].Output.Go}yes#{else}#{Nope}#{/if}",
        "#{calc Octopus.Action[Look].Output.Go + 1}#{if Octopus.Action[Look].Output.Go}x#{else}#{Nope}#{/if}",
    ] {
        let plan = planned_with(template, false).unwrap();
        let said = format!("step 'Act' fails if its condition, '{template}', comes to what");
        assert!(plan.warnings[0].starts_with(&said), "{:?}", plan.warnings);
    }
}

#[test]
fn a_fault_of_some_targets_names_these() {
    let refused = planned_with("#{Own}", true).unwrap_err();
    let [refusal] = &refused[..] else {
        panic!("{refused:?}");
    };
    let told = refusal.to_string();
    assert!(told.contains("for 2 targets (web02 and web03)"), "{told}");
    // Of the step no target is known.
    assert!(planned_with("#{Own}", false).is_err());
}

#[test]
fn an_action_of_the_same_step_or_of_one_at_the_same_time_may_have_been_there() {
    let next = |template: &str| {
        let mut release = with("#{Plain}", false);
        let steps = &mut release.process.process.steps;
        steps[3].start = Start::WithPrevious;
        steps[2].actions[1].run = RunCondition::Template(template.to_owned());
        plan(&release, "test", &farm(), &PlanOptions::default())
    };
    assert!(next("#{Octopus.Action[Do].Output.Go}").is_ok());
    assert!(next("#{Octopus.Action[Last].Output.Go}").is_ok());
    assert!(planned_with("#{Octopus.Action[Do].Output.Go}", false).is_err());
}

#[test]
fn the_condition_of_what_takes_no_part_is_nobodys_concern() {
    let mut release = with("#{Plain}", false);
    let away = &mut release.process.process.steps[1];
    away.run = RunCondition::Template("#{Nope}".to_owned());
    assert!(plan(&release, "test", &farm(), &PlanOptions::default()).is_ok());
}

#[test]
fn a_tie_in_a_steps_condition_is_refused() {
    let mut release = release(concat!(
        "variables:\n",
        "  Go: [{ value: a, environment: test }, { value: b, environment: live }]\n",
        "process:\n",
        "  - { step: Act, targets: { tag: web }, run: \"#{Go}\", actions: [{ action: Do, uses: script, with: { run: x } }] }\n",
    ));
    let values = &mut release.variables.variables[0].values;
    values[1].scope.environments.insert("test".to_owned());
    let refused = plan(&release, "test", &farm(), &PlanOptions::default()).unwrap_err();
    let [refusal] = &refused[..] else {
        panic!("{refused:?}");
    };
    let told = refusal.to_string();
    let place = "for action 'Do' in step 'Act' and the condition of step 'Act' in 3 targets (web01, web02 and web03) in environment 'test'";
    assert!(told.contains(place), "{told}");
}
