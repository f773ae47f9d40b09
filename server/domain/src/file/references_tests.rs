//! References of texts to actions and steps (DESIGN section 4: one to something that does not
//! exist is an error with its place).
#![allow(clippy::unwrap_used)]

use super::*;

/// A project whose second step of three takes this input, and this variable.
fn project(input: &str, variable: &str) -> String {
    format!(
        "\
mantle: v1
project: shop
variables: {{ Port: {variable} }}
process:
  - step: Farm
    targets: {{ tag: web }}
    actions:
      - {{ action: Build it, uses: script, with: {{ run: x }} }}
      - {{ action: Look, uses: script, with: {{ run: y, arguments: {input} }} }}
      - {{ action: Tidy, uses: script, with: {{ run: y }} }}
  - {{ step: Beside, start: with_previous, uses: script, with: {{ run: z }} }}
  - {{ step: Last, uses: script, with: {{ run: z }} }}
"
    )
}

/// What is wrong, and else what is warned of.
fn said(text: &str) -> Vec<String> {
    let source = Source {
        name: "f.yaml",
        text,
    };
    let found = match parse(&[source], &Known::default()) {
        Ok(definitions) => definitions.warnings,
        Err(errors) => errors,
    };
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_text_of_the_process_names_actions_that_there_are() {
    let nothing: &[&str] = &[];
    let here = "f.yaml:9:66: ";
    for (input, expected) in [
        ("#{Octopus.Action[Build it].Output.X}", nothing),
        ("#{octopus.action[BUILD IT].output[web01].X}", nothing),
        ("#{Octopus.Action[Last].Package.PackageId}", nothing),
        ("#{Octopus.Action[#{Name}].Output.X}", nothing),
        ("##{Octopus.Action[Tpyo].Output.X}", nothing),
        ("#{each a in Octopus.Action}#{a}#{/each}", nothing),
        ("#{Octopus.Step[farm].Status.Code}", nothing),
        // Steps that begin together have no order.
        ("#{Octopus.Action[Beside].Output.X}", nothing),
        (
            "#{Octopus.Action[Biuld it].Output.X}",
            &["there is no action 'Biuld it' in this process; did you mean 'Build it'?"],
        ),
        (
            "#{if Octopus.Action[Other].Output.X}yes#{/if}",
            &[
                "there is no action 'Other' in this process; its actions are Build it, Look, Tidy, Beside, Last",
            ],
        ),
        (
            "#{Octopus.Action[Farm].Output.X}",
            &[
                "there is no action 'Farm' in this process; that is a step; name one of its actions: Build it, Look, Tidy",
            ],
        ),
        (
            "#{Octopus.Step[Frm].Status.Code}",
            &["there is no step 'Frm' in this process; did you mean 'Farm'?"],
        ),
        (
            "#{Octopus.Action[Last].Output.X}",
            &[
                "this asks for an output variable of action 'Last', whose turn comes later; it has no value by then: move one of the two",
            ],
        ),
        (
            "#{Octopus.Action[Tidy].Output.X}",
            &[
                "this asks for an output variable of action 'Tidy', whose turn comes later; it has no value by then: move one of the two",
            ],
        ),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|line| format!("{here}{line}"))
            .collect();
        assert_eq!(
            said(&project(&format!("'{input}'"), "1")),
            expected,
            "{input}"
        );
    }
}

#[test]
fn what_is_deployed_to_by_itself_is_an_environment_of_the_phase() {
    let text = |deploy: &str| {
        format!(
            "mantle: v1\nenvironments: [{{ name: test }}, {{ name: live }}]\nlifecycles:\n  - name: standard\n    phases: [{{ name: Test, environments: [test], deploy: {deploy} }}]\n"
        )
    };
    for (deploy, expected) in [
        ("automatic", None),
        ("[test]", None),
        (
            "[live]",
            Some(
                "f.yaml:5:59: there is no environment of this phase 'live'; add it to 'environments'",
            ),
        ),
        (
            "automatc",
            Some("f.yaml:5:58: 'automatc' is none of manual, automatic; did you mean 'automatic'?"),
        ),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(said(&text(deploy)), expected);
    }
}

#[test]
fn a_missing_action_is_an_error_and_a_later_one_a_warning() {
    let is_refused = |input: &str, variable: &str| {
        let text = project(input, variable);
        let source = Source {
            name: "f.yaml",
            text: &text,
        };
        parse(&[source], &Known::default()).is_err()
    };
    assert!(is_refused("'#{Octopus.Action[Tpyo].Output.X}'", "1"));
    assert!(!is_refused("'#{Octopus.Action[Last].Output.X}'", "1"));
    // The only reader of a variable may be a script, or nobody yet.
    assert!(!is_refused("a", "'#{Octopus.Action[Tpyo].Output.X}'"));
    assert_eq!(
        said(&project("a", "'#{Octopus.Action[Tpyo].Output.X}'")),
        [
            "f.yaml:3:20: there is no action 'Tpyo' in this process; its actions are Build it, Look, Tidy, Beside, Last"
        ]
    );
}

#[test]
fn what_is_no_template_or_a_variable_of_that_name_is_left_alone() {
    let text = project("'#{Octopus.Action[Gone].Output.X}'", "1");
    let defined = text.replace(
        "variables: { Port",
        "variables: { 'Octopus.Action[Gone].Output.X': 2, Port",
    );
    assert_eq!(said(&defined), Vec::<String>::new());
    let script =
        project("a", "1").replace("run: y,", "run: 'echo #{Octopus.Action[Gone].Output.X}',");
    assert_eq!(said(&script), Vec::<String>::new());
    let asked = script.replace("arguments: a", "substitute: true");
    assert_eq!(said(&asked).len(), 1, "{:?}", said(&asked));
    let condition = project("a", "1").replace(
        "step: Last,",
        "step: Last, run: '#{Octopus.Action[Gone].Output.X}',",
    );
    assert_eq!(said(&condition).len(), 1, "{:?}", said(&condition));
}
