//! What a deployment asks and takes, reference section 1.4 ("Prompted").
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::a_project;
use crate::variable::DEPLOYMENT_PROCESS;

const VARIABLES: &str = concat!(
    "variables:\n",
    "  Ticket: { prompt: { label: Change ticket, required: true } }\n",
    "  Mode: { prompt: { control: select, options: [fast, slow], default: slow } }\n",
    "  Notes: { prompt: { control: multi-line } }\n",
    "  Purge: { prompt: { control: checkbox } }\n",
    "  Pin: { prompt: { control: sensitive } }\n",
    "  Approved:\n",
    "    - { value: \"yes\" }\n",
    "    - { prompt: { required: true }, environment: live }\n",
    "  Fixed: text\n",
);

fn here(environment: &str) -> Situation<'_> {
    Situation {
        environment: Some(environment),
        channel: Some("default"),
        process: Some(DEPLOYMENT_PROCESS),
        ..Situation::default()
    }
}

fn given(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn refused(environment: &str, answers: &[(&str, &str)]) -> Vec<String> {
    let project = a_project(VARIABLES);
    answer(&project.variables, &here(environment), &given(answers))
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_is_asked_depends_on_the_environment_and_is_sorted_by_label() {
    let project = a_project(VARIABLES);
    let names = |environment: &str| -> Vec<String> {
        let asked = asked(&project.variables, &here(environment)).unwrap();
        asked.iter().map(Asked::name).collect()
    };
    let test = ["Ticket (Change ticket)", "Mode", "Notes", "Pin", "Purge"];
    assert_eq!(names("test"), test);
    assert_eq!(names("live")[0], "Approved");
}

#[test]
fn a_label_of_two_prompts_is_no_answer_to_either() {
    let one = |rest: &str| {
        let text = format!("variables:\n{rest}");
        let source = crate::file::Source {
            name: "f.yaml",
            text: &format!("mantle: v1\nproject: shop\n{text}"),
        };
        crate::file::parse(&[source], &crate::file::Known::default())
            .map_or_else(|errors| errors[0].to_string(), |_| String::new())
    };
    let two = "  A: { prompt: { label: Who } }\n  B: { prompt: { label: who } }\n";
    assert_eq!(
        one(two),
        "f.yaml:5:6: the prompts of 'A' and 'B' both go by 'who': whose answer is meant could not be told; give one of them another label"
    );
    let other = "  A: { prompt: {} }\n  B: { prompt: { label: a } }\n";
    assert!(one(other).contains("both go by 'a'"), "{}", one(other));
    // Never asked together.
    let apart = "  A: [{ prompt: { label: Who }, environment: test }]\n  B: [{ prompt: { label: Who }, environment: live }]\n";
    assert_eq!(one(apart), "");

    // What the server has from before is not answered by chance.
    let mut project = a_project(&format!("variables:\n{two}").replace("who", "other"));
    for variable in &mut project.variables {
        let VariableValue::Prompt(prompt) = &mut variable.values[0].value else {
            continue;
        };
        prompt.label = Some("Who".to_owned());
    }
    let wrong = answer(&project.variables, &here("test"), &given(&[("Who", "x")])).unwrap_err();
    assert_eq!(
        wrong[0].to_string(),
        "the value given for variable 'Who' cannot be taken: it is the label of both 'A' and 'B': give each by the variable's name; give another: --variable NAME=VALUE"
    );
    let taken = answer(&project.variables, &here("test"), &given(&[("b", "x")])).unwrap();
    assert_eq!((taken[0].by_default, taken[1].by_default), (true, false));
}

#[test]
fn a_name_means_the_variable_of_that_name_or_the_only_label() {
    let prompts = [
        ("A", Some("Who")),
        ("Who", Some("other")),
        ("B", Some("who2")),
        ("C", Some("WHO2")),
    ];
    for (name, meant) in [
        ("who", Ok(Some(1))),
        ("a", Ok(Some(0))),
        ("OTHER", Ok(Some(1))),
        ("b", Ok(Some(2))),
        ("nobody", Ok(None)),
        ("", Ok(None)),
    ] {
        assert_eq!(named(&prompts, name), meant, "{name}");
    }
    assert!(named(&prompts, "Who2").unwrap_err().contains("'B' and 'C'"));
}

#[test]
fn answers_are_taken_by_name_or_label_and_the_rest_has_defaults() {
    let project = a_project(VARIABLES);
    let answers = answer(
        &project.variables,
        &here("test"),
        &given(&[
            ("change ticket", "CR-1 #{Secret}"),
            ("PIN", "#{raw}"),
            ("Purge", "yes"),
        ]),
    )
    .unwrap();
    let of = |name: &str| answers.iter().find(|a| a.asked.variable == name).unwrap();
    // Data, no template: nobody reads a secret by answering a question.
    assert_eq!(of("Ticket").text, "CR-1 ##{Secret}");
    assert_eq!(of("Mode").text, "slow");
    assert!(of("Mode").by_default && !of("Ticket").by_default);
    assert_eq!(of("Purge").text, "True");
    assert_eq!(of("Notes").text, "");
    assert!(of("Pin").is_secret());
    assert_eq!(of("Pin").text, "##{raw}");
    assert!(!format!("{answers:?}").contains("raw"));
}

#[test]
fn what_is_missing_wrong_or_not_asked_is_said_together() {
    assert_eq!(
        refused("live", &[]),
        [
            "this deployment asks for Approved and Ticket (Change ticket), which no value was given for; give it: --variable 'Approved=VALUE'"
        ]
    );
    for (answers, expected) in [
        (
            &[("Ticket", "1"), ("Mode", "fsat")][..],
            "the value given for variable 'Mode' cannot be taken: it is none of fast, slow; did you mean 'fast'?; give another: --variable NAME=VALUE",
        ),
        (
            &[("Ticket", "1"), ("Purge", "maybe")],
            "the value given for variable 'Purge' cannot be taken: write true or false; give another: --variable NAME=VALUE",
        ),
        (
            &[("Ticket", "a\nb")],
            "the value given for variable 'Ticket (Change ticket)' cannot be taken: it has more than one line; give another: --variable NAME=VALUE",
        ),
        (
            &[("Ticket", " ")],
            "the value given for variable 'Ticket (Change ticket)' cannot be taken: it is empty; give another: --variable NAME=VALUE",
        ),
        (
            &[("Ticket", "1"), ("Fixed", "x")],
            "this deployment does not ask for variable 'Fixed': its value is the release's; change it in the project, run 'mantle apply' and create a new release",
        ),
        (
            &[("Ticket", "1"), ("Moed", "x")],
            "this deployment does not ask for a variable 'Moed'; did you mean 'Mode'?",
        ),
        (
            &[("Ticket", "1"), ("Chnage ticket", "x")],
            "this deployment does not ask for a variable 'Chnage ticket'; did you mean 'Change ticket'?",
        ),
        (
            &[("Ticket", "1"), ("Change ticket", "2")],
            "the value given for variable 'Ticket' cannot be taken: it is given twice; give another: --variable NAME=VALUE",
        ),
        (
            &[("Ticket", "1"), ("Approved", "no")],
            "this deployment does not ask for variable 'Approved': its value is the release's; change it in the project, run 'mantle apply' and create a new release",
        ),
    ] {
        assert_eq!(refused("test", answers), [expected]);
    }
}

#[test]
fn answers_stand_in_the_place_of_the_prompts_and_nothing_else_changes() {
    let project = a_project(VARIABLES);
    let here = here("live");
    let answers = answer(
        &project.variables,
        &here,
        &given(&[("Ticket", "CR-1"), ("Approved", "me")]),
    )
    .unwrap();
    let values = answers
        .iter()
        .map(|answer| (answer.asked, VariableValue::Text(answer.text.clone())))
        .collect();
    let filled = fill(&project.variables, values);
    let approved = find(&filled, "Approved").unwrap();
    let winner = resolve(approved, &here).unwrap().unwrap();
    assert_eq!(winner.value, VariableValue::Text("me".to_owned()));
    assert_eq!(
        approved.values[0],
        find(&project.variables, "Approved").unwrap().values[0]
    );
    assert!(asked(&filled, &here).unwrap().is_empty());
}
