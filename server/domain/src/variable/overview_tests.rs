//! What variables are, and where they are something else.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::testing::a_project;
use crate::variable::Situation;

const VARIABLES: &str = concat!(
    "variables:\n",
    "  Url: \"http://#{Host}:#{Port}/\"\n",
    "  Host: [{ value: test.example }, { value: live.example, environment: live }, { value: own.example, target: web03 }]\n",
    "  Port: [{ value: 80 }, { value: 81, tag: blue }]\n",
    "  Mixed: [{ value: a, tag: blue }, { value: b, tag: green }]\n",
    "  Me: \"on #{Octopus.Machine.Name}\"\n",
    "  Login: \"u:#{Password}\"\n",
    "  Password: [{ secret: test/password }, { secret: live/password, environment: live }]\n",
    "  Unset: \"#{Gone}\"\n",
    "  Gone: { secret: no/where }\n",
    "  Octopus.Environment.Name: mine\n",
    "  Octopus.Machine.Name: mine\n",
    "  Only: [{ value: x, environment: live }]\n",
    "  Mode: { prompt: { default: \"#{Host}\" } }\n",
);

fn marks() -> BTreeMap<String, String> {
    let mark = "0123456789abcdef";
    ["test/password", "live/password"]
        .map(|path| (path.to_owned(), mark.to_owned()))
        .into()
}

fn with<T>(environment: &str, ask: impl FnOnce(&Question<'_>) -> T) -> T {
    let mut project = a_project(&VARIABLES.replace(", tag: green", ", environment: live"));
    // A target that has both tags came later.
    for variable in &mut project.variables {
        if variable.name == "Mixed" {
            variable.values[1].scope.environments.clear();
            variable.values[1].scope.tags.insert("green".to_owned());
        }
    }
    let system = [(
        "Octopus.Environment.Name".to_owned(),
        environment.to_owned(),
    )];
    let marks = marks();
    ask(&Question {
        project: "shop",
        variables: &project.variables,
        situation: Situation {
            environment: Some(environment),
            channel: Some("default"),
            ..Situation::default()
        },
        system: &system,
        marks: &marks,
        now: Timestamp::UNIX_EPOCH,
    })
}

/// `name: winner = evaluated` for each variable.
fn lines(environment: &str) -> Vec<String> {
    with(environment, |question| {
        let all = overview(question);
        let line = |held: &Held<'_>| format!("{}: {}", held.name, shown(held));
        all.iter().map(line).collect()
    })
}

fn shown(held: &Held<'_>) -> String {
    let own = match &held.winner {
        Winner::Value(value) => match &value.value {
            VariableValue::Text(text) => text.clone(),
            VariableValue::Secret(path) => format!("secret {path}"),
            VariableValue::Prompt(_) => "prompt".to_owned(),
            VariableValue::PinnedSecret(_) => unreachable!("nothing is pinned here"),
        },
        Winner::Server(value) => format!("server {value:?}"),
        Winner::Nothing => "nothing".to_owned(),
        Winner::Tie(tie) => format!("tie {} {}", tie.first, tie.second),
    };
    match &held.evaluated {
        Some(evaluated) => format!("{own} = {evaluated}"),
        None => own,
    }
}

#[test]
fn values_are_evaluated_and_the_servers_names_are_the_servers() {
    let found = lines("test");
    for line in [
        "Url: http://#{Host}:#{Port}/ = http://test.example:80/",
        "Host: test.example",
        "Login: u:#{Password} = u:(secret #0123456789ab)",
        "Password: secret test/password",
        "Unset: #{Gone} = (secret no/where, not set)",
        "Octopus.Environment.Name: server Some(\"test\")",
        "Octopus.Machine.Name: server None",
        "Only: nothing",
        "Mixed: nothing",
        "Mode: prompt = test.example",
    ] {
        assert!(found.contains(&line.to_owned()), "{line}: {found:#?}");
    }
    // Equal secrets under other paths are equal in what they are part of.
    assert!(lines("live").contains(&"Login: u:#{Password} = u:(secret #0123456789ab)".to_owned()));
}

#[test]
fn what_is_made_from_secrets_is_told_apart_by_them_and_by_what_else_it_is_made_from() {
    let project = a_project(concat!(
        "variables:\n",
        "  Pw: [{ secret: a }, { secret: b, environment: live }, { secret: c, environment: stage }]\n",
        "  Cond: '#{if Pw == \"live\"}#{Word}#{else}other#{/if}'\n",
        "  Short: 'x#{Pw | Substring 4}'\n",
        "  Base: '#{Conn | ToBase64}'\n",
        "  Conn: 'u=sa;p=#{Pw}'\n",
        "  Word: [{ value: LIVE }, { value: OTHER, environment: last }]\n",
    ));
    // The secrets for 'test' and 'stage' are the same, by other paths.
    let marks = [("a", "aaaa"), ("b", "bbbb"), ("c", "aaaa")];
    let marks = marks.map(|(path, mark)| (path.to_owned(), mark.to_owned()));
    let marks = marks.into();
    let evaluated = |environment: &str, name: &str| -> String {
        let question = Question {
            project: "shop",
            variables: &project.variables,
            situation: Situation {
                environment: Some(environment),
                ..Situation::default()
            },
            system: &[],
            marks: &marks,
            now: Timestamp::UNIX_EPOCH,
        };
        let mut all = overview(&question).into_iter();
        let held = all.find(|held| held.name == name);
        held.unwrap().evaluated.unwrap()
    };
    for name in ["Cond", "Short", "Base"] {
        let here = evaluated("test", name);
        assert!(
            here.contains("(made from secret #aaaa on the target, #"),
            "{name}: {here}"
        );
        assert_eq!(here, evaluated("stage", name), "{name}");
        assert_ne!(here, evaluated("live", name), "{name}");
    }
    assert_ne!(evaluated("test", "Cond"), evaluated("last", "Cond"));
    assert_eq!(evaluated("test", "Short"), evaluated("last", "Short"));
    assert_eq!(evaluated("test", "Conn"), "u=sa;p=(secret #aaaa)");
}

#[test]
fn the_targets_where_a_value_is_another_are_named_together() {
    let target = |name: &str, tags: &[&str]| TargetHere {
        name: name.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        system: vec![("Octopus.Machine.Name".to_owned(), name.to_owned())],
    };
    let targets = [
        target("web01", &["web", "blue"]),
        target("web02", &["web"]),
        target("web03", &["web"]),
        target("web04", &["blue"]),
        target("web05", &["blue", "green"]),
    ];
    let on = |name: &str| -> Vec<String> {
        with("test", |question| {
            let found = on_targets(question, name, &targets).into_iter();
            found
                .map(|one| format!("{}: {}", one.targets.join(" "), shown(&one.held)))
                .collect()
        })
    };
    assert_eq!(
        on("url"),
        [
            "web01 web04 web05: http://#{Host}:#{Port}/ = http://test.example:81/",
            "web03: http://#{Host}:#{Port}/ = http://own.example:80/",
        ]
    );
    assert_eq!(on("Port"), ["web01 web04 web05: 81"]);
    assert_eq!(
        on("Mixed"),
        ["web01 web04: a", "web05: tie tag blue tag green"]
    );
    assert_eq!(on("Me").len(), 5, "each is called otherwise");
    for same in ["Login", "Octopus.Machine.Name", "Nope", "Only"] {
        assert_eq!(on(same), [""; 0], "{same}");
    }
}
