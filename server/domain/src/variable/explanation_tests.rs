//! Explanations.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::testing::a_project;
use crate::variable::{DEPLOYMENT_PROCESS, ScopedValue, SituationTarget};

const VARIABLES: &str = concat!(
    "variables:\n",
    "  Url: \"http://#{Host}:#{Port}/#{Nope}\"\n",
    "  Host:\n",
    "    - { value: \"#{Octopus.Machine.Name}.example\" }\n",
    "    - { value: live.example, environment: live }\n",
    "  Port: { prompt: { label: The port, default: 8080 } }\n",
    "  Password: { secret: shop/password }\n",
    "  Login: \"u:#{Password} #{Octopus.Action[Install].Output.X}\"\n",
    "  Octopus.Project.Name: mine\n",
    "  Octopus.Release.Number: [{ value: 9.9.9, environment: test }]\n",
    "  Cond: '#{if Password == \"live\"}LIVE#{else}other#{/if}'\n",
    "  Short: 'x#{Password | Substring 4}'\n",
    "  Base: '#{Login | ToBase64}'\n",
    "  A: \"#{B}\"\n",
    "  B: \"#{A}\"\n",
);

fn explained(name: &str, environment: &str) -> Result<Explanation, Refusal> {
    let mut project = a_project(VARIABLES);
    let mut tied = find(&project.variables, "Host").unwrap().clone();
    tied.name = "Tied".to_owned();
    tied.values[1].scope.environments.clear();
    project.variables.push(tied);
    for (name, text) in [
        ("Uses", "http://#{Tied}/#{Nope}"),
        ("Asks", "#{if Tied}x#{/if}"),
        ("Above", "#{Uses}"),
    ] {
        project.variables.push(Variable {
            name: name.to_owned(),
            values: vec![ScopedValue::own(
                VariableValue::Text(text.to_owned()),
                crate::variable::Scope::default(),
            )],
        });
    }
    let tags = vec!["web".to_owned()];
    let marks = [("shop/password".to_owned(), "cafe".to_owned())].into();
    let system = [
        ("Octopus.Machine.Name".to_owned(), "web01".to_owned()),
        ("Octopus.Project.Name".to_owned(), "shop".to_owned()),
    ];
    let question = Question {
        project: "shop",
        variables: &project.variables,
        situation: Situation {
            environment: Some(environment),
            target: Some(SituationTarget {
                name: "web01",
                tags: &tags,
            }),
            process: Some(DEPLOYMENT_PROCESS),
            ..Situation::default()
        },
        system: &system,
        marks: &marks,
        now: Timestamp::UNIX_EPOCH,
    };
    explain(&question, name)
}

#[test]
fn the_winner_and_every_loser_are_shown_with_the_reason() {
    let host = explained("host", "live").unwrap();
    assert_eq!(host.variable, "Host");
    assert_eq!(host.situation, "target 'web01' in environment 'live'");
    let lines: Vec<(bool, &str, Result<&str, &str>)> = host
        .candidates
        .iter()
        .map(|one| {
            let rank = one.rank.as_deref().map_err(String::as_str);
            (one.wins, one.scope.as_str(), rank)
        })
        .collect();
    assert_eq!(
        lines,
        [
            (true, "environment live", Ok("environment")),
            (false, "every situation", Ok("no scope")),
        ]
    );
    let test = explained("Host", "test").unwrap();
    assert!(test.candidates[0].wins);
    assert_eq!(
        test.candidates[1].rank,
        Err("another environment".to_owned())
    );
}

#[test]
fn what_the_server_defines_is_not_said_to_be_the_projects() {
    for (name, known) in [
        ("octopus.project.name", true),
        ("Octopus.Release.Number", false),
    ] {
        let found = explained(name, "test").unwrap();
        let [candidate] = found.candidates.as_slice() else {
            panic!("{found:?}");
        };
        assert!(!candidate.wins, "{name}");
        let why = "the server defines this variable itself";
        assert_eq!(candidate.rank, Err(why.to_owned()));
        let winner = found.winner.unwrap();
        assert_eq!(winner.source, Source::System);
        let text = known.then(|| Shown::Text("shop".to_owned()));
        assert_eq!(winner.value, text);
    }
}

#[test]
fn tokens_are_followed_to_where_they_come_from() {
    let winner = explained("Url", "test").unwrap().winner.unwrap();
    assert_eq!(
        winner.evaluated.as_deref(),
        Some("http://web01.example:8080/#{Nope}")
    );
    let names: Vec<&str> = winner.tokens.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["#{Nope}", "Host", "Port"]);
    assert_eq!(winner.tokens[0].source, Source::Nowhere);
    let host = &winner.tokens[1];
    assert_eq!(host.evaluated.as_deref(), Some("web01.example"));
    assert_eq!(host.tokens[0].source, Source::System);
    assert!(matches!(winner.tokens[2].value, Some(Shown::Prompt { .. })));
}

#[test]
fn secrets_are_marks_and_circles_end() {
    let login = explained("Login", "test").unwrap().winner.unwrap();
    let evaluated = login.evaluated.as_deref().unwrap();
    assert!(
        evaluated.starts_with("u:(secret shop/password)"),
        "{evaluated}"
    );
    let sources: Vec<&Source> = login.tokens.iter().map(|one| &one.source).collect();
    assert!(sources.contains(&&Source::Later));
    let password = login.tokens.iter().find(|one| one.name == "Password");
    assert_eq!(
        password.unwrap().value,
        Some(Shown::Secret {
            path: "shop/password".to_owned(),
            mark: Some("cafe".to_owned())
        })
    );
    // What is made from one is only known where it is.
    let made = "(made from secret shop/password on the target)";
    for (name, expected) in [
        ("Cond", made.to_owned()),
        ("Short", format!("x{made}")),
        ("Base", made.to_owned()),
    ] {
        let winner = explained(name, "test").unwrap().winner.unwrap();
        assert_eq!(winner.evaluated, Some(expected), "{name}");
    }
    let circle = explained("A", "test").unwrap().winner.unwrap();
    assert_eq!(circle.tokens[0].tokens[0].source, Source::Circle);
}

#[test]
fn of_a_token_that_ties_the_tie_is_told() {
    let tie = explained("Tied", "test").unwrap().tie.unwrap();
    let tied = Source::Tied(tie);
    let uses = explained("Uses", "test").unwrap().winner.unwrap();
    let told: Vec<(&str, &Source)> = uses
        .tokens
        .iter()
        .map(|one| (one.name.as_str(), &one.source))
        .collect();
    assert_eq!(told, [("#{Nope}", &Source::Nowhere), ("Tied", &tied)]);
    let asks = explained("Asks", "test").unwrap().winner.unwrap();
    assert_eq!(asks.tokens[0].source, tied);
    let above = explained("Above", "test").unwrap().winner.unwrap();
    assert_eq!(above.tokens.len(), 1, "it is the other's token: {above:?}");
    assert_eq!(above.tokens[0].tokens[1].source, tied);
}

#[test]
fn a_tie_and_an_unknown_name_are_said() {
    let tied = explained("Tied", "test").unwrap();
    assert!(tied.tie.is_some() && tied.winner.is_none());
    assert!(tied.candidates.iter().all(|one| !one.wins));
    assert_eq!(
        explained("Hots", "test").unwrap_err().to_string(),
        "project 'shop' has no variable 'Hots'; did you mean 'Host'?"
    );
    let system = explained("Octopus.Machine.Name", "test").unwrap();
    assert!(system.candidates.is_empty());
    assert_eq!(system.winner.unwrap().source, Source::System);
}
