//! Variable sets, prompts and the rarer scopes in files: what is accepted and what is refused, with
//! both places.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::a_project;
use crate::variable::find;

fn known() -> Known {
    Known {
        complete: true,
        environments: ["test".to_owned(), "live".to_owned()].into(),
        secrets: ["mail/password".to_owned()].into(),
        ..Known::default()
    }
}

fn read(files: &[(&str, &str)], known: &Known) -> Result<Definitions, String> {
    let sources: Vec<Source<'_>> = files
        .iter()
        .map(|(name, text)| Source { name, text })
        .collect();
    parse(&sources, known).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

const MAIL: &str = "\
mantle: v1
variable_set: mail
description: How to send mail
include: [base]
variables:
  Smtp.Host:
    - { value: mail-test, environment: test }
    - { value: mail-live, environment: live }
  Smtp.Password: { secret: mail/password }
---
mantle: v1
variable_set: base
variables:
  Company: Octo
";
const SHOP: &str = "\
mantle: v1
project: shop
include: mail
process:
  - step: Go
    targets: { tag: web }
    uses: script
    with: { run: send }
    secrets: [Smtp.Password]
";

#[test]
fn a_project_sees_the_variables_of_its_sets() {
    let definitions = read(&[("mail.yaml", MAIL), ("shop.yaml", SHOP)], &known()).unwrap();
    assert_eq!(definitions.variable_sets.len(), 2);
    let sets = definitions
        .variable_sets
        .iter()
        .map(|set| (set.name.clone(), set.clone()))
        .collect();
    let project = definitions.projects[0].clone();
    let whole = crate::variable_set::complete(project, &sets).unwrap();
    let host = find(&whole.variables, "smtp.host").unwrap();
    assert_eq!(host.values[1].from.as_deref(), Some("mail"));
    assert!(find(&whole.variables, "Company").is_some());
}

#[test]
fn equal_ranks_across_files_name_both_places() {
    let other = "\
mantle: v1
variable_set: other
variables:
  Company: Pus
";
    let shop = SHOP.replace("include: mail", "include: [mail, other]");
    let files = [
        ("mail.yaml", MAIL),
        ("shop.yaml", &shop),
        ("other.yaml", other),
    ];
    assert_eq!(
        read(&files, &known()).unwrap_err(),
        "other.yaml:4:12: variable 'Company' of project 'shop' has two equally specific values for any situation: this one (every situation) and the one at mail.yaml:14:12 (every situation); give one of them a further scope, or the project a value of its own for every situation"
    );
    // The project's own value settles it.
    let settled = format!("{shop}variables: {{ Company: Shop }}\n");
    let files = [
        ("mail.yaml", MAIL),
        ("shop.yaml", settled.as_str()),
        ("other.yaml", other),
    ];
    read(&files, &known()).unwrap();
}

#[test]
fn a_set_that_changes_must_fit_the_projects_that_the_server_has() {
    let first = read(&[("mail.yaml", MAIL)], &known()).unwrap();
    let mut shop = a_project("");
    shop.include = vec!["mail".to_owned(), "other".to_owned()];
    let known = Known {
        variable_sets: first
            .variable_sets
            .into_iter()
            .map(|set| (set.name.clone(), set))
            .collect(),
        projects: vec![shop],
        ..known()
    };
    let other = "mantle: v1\nvariable_set: other\nvariables: { company: Pus }\n";
    assert_eq!(
        read(&[("other.yaml", other)], &known).unwrap_err(),
        "other.yaml:3:23: variable 'Company' of project 'shop' has two equally specific values for any situation: this one (every situation) and the one of variable set 'base' (every situation); give one of them a further scope, or the project a value of its own for every situation"
    );
}

#[test]
fn wrong_sets_and_prompts_are_refused_with_place_and_remedy() {
    let set = |rest: &str| format!("mantle: v1\nvariable_set: mail\n{rest}");
    let variable = |rest: &str| format!("mantle: v1\nproject: shop\nvariables:\n  A: {rest}\n");
    let mut wrong = String::new();
    for (text, expected) in [
        (
            SHOP.replace("include: mail", "include: mial") + "---\n" + MAIL,
            "f.yaml:3:10: there is no variable set 'mial'; did you mean 'mail'?",
        ),
        (
            set("include: [mail]\n"),
            "f.yaml:3:11: variable set 'mail' includes itself: mail -> mail; remove one of these includes",
        ),
        (
            set("include: b\n---\nmantle: v1\nvariable_set: b\ninclude: mail\n"),
            "f.yaml:3:10: variable set 'mail' includes itself: mail -> b -> mail; remove one of these includes\nf.yaml:7:10: variable set 'b' includes itself: b -> mail -> b; remove one of these includes",
        ),
        (
            set("include: [b, b]\n---\nmantle: v1\nvariable_set: b\n"),
            "f.yaml:3:14: variable set 'b' stands at line 3 already; give one of them another name",
        ),
        (
            set("lifecycle: x\n"),
            "f.yaml:3:12: 'lifecycle' belongs to a project, and this document is the variable set 'mail'; put the two into documents of their own, with '---' between",
        ),
        (
            set("variables:\n  A:\n    - { value: 1, environment: tset }\n"),
            "f.yaml:5:32: there is no environment 'tset'; did you mean 'test'?",
        ),
        (
            set(
                "variables:\n  A:\n    - { value: 1, step: X }\n    - { value: 2, steps: [X, Y] }\n",
            ),
            "f.yaml:6:7: variable 'A' has two equally specific values for action 'X': this one (step X or Y) and the one at line 5 (step X); give one of them a further scope, or remove it",
        ),
        (
            variable("{ prompt: { control: selct } }"),
            "f.yaml:4:27: 'selct' is none of text, multi-line, checkbox, select, sensitive; did you mean 'select'?",
        ),
        (
            variable("{ prompt: { control: select } }"),
            "f.yaml:4:16: a prompt with 'control: select' needs 'options'; add options: [one, two]",
        ),
        (
            variable("{ prompt: { options: [a] } }"),
            "f.yaml:4:28: 'options' belong to a prompt with 'control: select'; add 'control: select' or remove them",
        ),
        (
            variable("{ prompt: { control: sensitive, default: x } }"),
            "f.yaml:4:47: a sensitive prompt has no default: it would stand here in clear; remove it, or use a secret: '{ secret: PATH }'",
        ),
        (
            variable("{ prompt: { control: select, options: [a, b], default: c } }"),
            "f.yaml:4:61: the default 'c' is no answer: it is none of a, b",
        ),
        (
            variable("[{ prompt: {}, target: web01 }]"),
            "f.yaml:4:29: a prompt is asked once for a deployment, so it has no target, tag or step; scope it to environments or channels",
        ),
        (
            variable("[{ prompt: {}, value: x }]"),
            "f.yaml:4:7: a value is one of 'value', 'secret' and 'prompt'; keep one; the default of a prompt stands in it",
        ),
        (
            variable("[{ value: 1, process: deploymnet }]"),
            "f.yaml:4:28: there is no process 'deploymnet'; did you mean 'deployment'?",
        ),
        (
            variable("[{ value: 1, tenant_tag: \"a[b]\" }]"),
            "f.yaml:4:31: 'a[b]' cannot be the name of a tenant tag; use spaces, '/', letters, digits, '.', '_' and '-', beginning and ending with a letter or digit",
        ),
    ] {
        let shown = read(&[("f.yaml", &text)], &known());
        let shown = shown.map_or_else(|shown| shown, |found| format!("accepted {found:?}"));
        if shown != expected {
            wrong = format!("{wrong}{text}\nexpected: {expected}\n     got: {shown}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_scope_that_nothing_matches_yet_is_kept_with_a_warning() {
    let text =
        "mantle: v1\nproject: shop\nvariables: { A: [{ value: 1, tenant_tag: Ring/Early }] }\n";
    let definitions = read(&[("f.yaml", text)], &known()).unwrap();
    let value = &definitions.projects[0].variables[0].values[0];
    assert!(value.scope.tenant_tags.contains("Ring/Early"));
    assert_eq!(
        definitions.warnings[0].to_string(),
        "f.yaml:3:42: a value is scoped to tenant tag 'Ring/Early', which this version does not act on; it is kept and holds nowhere: nothing is deployed for a tenant yet"
    );
}

#[test]
fn a_scope_that_no_target_step_or_channel_has_is_warned_of() {
    let own = "mantle: v1\nproject: shop\ninclude: [mail]\nvariables:\n  A: [{ value: 1, target: on1 }, { value: 2, tag: nope }, { value: 3, tag: web }]\n  Octopus.Release.Number: 1\n  OctopusBypassDeploymentMutex: true\nprocess: [{ step: Go, targets: { tag: web }, uses: script, with: { run: x } }]\n";
    let set = "mantle: v1\nvariable_set: mail\nvariables:\n  B: [{ value: 1, step: Go }, { value: 2, step: Gone, channel: hot }, { value: 3, channel: default }]\n";
    let mut known = known();
    known.targets = [("one".to_owned(), vec!["web".to_owned()])].into();
    let definitions = read(&[("own.yaml", own), ("set.yaml", set)], &known).unwrap();
    let said: Vec<String> = definitions
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "own.yaml:5:27: there is no target 'on1', so a value scoped to it holds nowhere yet; did you mean 'one'?",
            "own.yaml:5:51: no target has the tag 'nope', so a value scoped to it holds nowhere yet; 'mantle target list' shows every tag",
            "own.yaml:6:3: the server defines 'Octopus.Release.Number' itself, so what stands here holds nowhere; give the variable another name, or remove it",
            "own.yaml:7:3: 'OctopusBypassDeploymentMutex' has no effect here; write 'locks: []' at the action, or name what it touches",
            "set.yaml:4:31: no project with variable set 'mail' has a channel 'hot', so this value of 'B' holds nowhere yet",
            "set.yaml:4:31: no project with variable set 'mail' has a step or action 'Gone', so this value of 'B' holds nowhere yet",
        ]
    );
    // Nothing is known of targets without a server, nor of steps without a project.
    let known = Known::default();
    let definitions = read(&[("own.yaml", own), ("set.yaml", set)], &known).unwrap();
    assert_eq!(definitions.warnings.len(), 2);
}

#[test]
fn without_a_server_a_set_may_be_one_that_only_the_server_has() {
    let definitions = read(&[("shop.yaml", SHOP)], &Known::default()).unwrap();
    assert_eq!(definitions.projects[0].include, ["mail"]);
}

/// A step that chooses by a tag of no value, so that it decides nothing.
const GO: &str = "process: [{ step: Go, targets: { tag: web }, uses: script, with: { run: x } }]\n";

fn tagged(name: &str, tags: &[&str]) -> (String, Vec<String>) {
    let tags = tags.iter().map(|tag| (*tag).to_owned());
    (name.to_owned(), tags.collect())
}

#[test]
fn tags_that_make_values_of_a_project_of_the_server_tie_are_refused_where_they_stand() {
    let project = a_project(&format!(
        "variables:\n  Port: [{{ value: 80 }}, {{ value: 81, tag: blue }}, {{ value: 82, tag: green }}]\n{GO}",
    ));
    let targets =
        |tags: &str| format!("mantle: v1\ntargets:\n  - {{ name: web01, tags: [{tags}] }}\n");
    let mut server = Known {
        targets: [tagged("web01", &["blue"])].into(),
        projects: vec![project],
        ..known()
    };
    let apply = |server: &Known, tags: &str| read(&[("t.yaml", &targets(tags))], server);
    apply(&server, "blue, web").unwrap();
    apply(&server, "green, web").unwrap();
    // Nobody reads it there.
    apply(&server, "blue, green").unwrap();
    assert_eq!(
        apply(&server, "blue, green, web").unwrap_err(),
        "t.yaml:3:13: with these tags of target 'web01' variable 'Port' has two equally specific values for step 'Go' in target 'web01', which has tags of both: the one for tag blue and the one for tag green, both of project 'shop'; give one of the two values a further scope, or the target one of the tags less"
    );
    // It was given them since, by hand: nothing new is wrong with a file that adds another one.
    server.targets = [tagged("web01", &["blue", "green", "web"])].into();
    let definitions = apply(&server, "blue, green, web, more").unwrap();
    assert_eq!(definitions.retagged(&server).len(), 1);
    assert!(
        apply(&server, "web, green, blue")
            .unwrap()
            .retagged(&server)
            .is_empty()
    );
}

#[test]
fn a_target_has_the_tags_of_its_file_when_values_are_judged() {
    let server = Known {
        targets: [tagged("web01", &["blue", "green", "web"])].into(),
        ..known()
    };
    let shop = format!(
        "mantle: v1\nproject: shop\nvariables:\n  Port: [{{ value: 81, tag: blue }}, {{ value: 82, tag: green }}]\n{GO}"
    );
    let refused = read(&[("shop.yaml", &shop)], &server).unwrap_err();
    assert_eq!(
        refused,
        "shop.yaml:4:36: variable 'Port' of project 'shop' has two equally specific values for step 'Go' in target 'web01', which has tags of both: this one (tag green) and the one at shop.yaml:4:10 (tag blue); give one of the two values a further scope, or the target one of the tags less"
    );
    let untagged = "mantle: v1\ntargets: [{ name: web01, tags: [blue, web] }]\n";
    read(&[("shop.yaml", &shop), ("t.yaml", untagged)], &server).unwrap();
    // The step's own tag decides.
    let decided = shop.replace("{ tag: web }", "{ tag: blue }");
    read(&[("shop.yaml", &decided)], &server).unwrap();
}

#[test]
fn what_tied_before_a_file_is_applied_is_a_warning_and_what_it_brings_about_is_refused() {
    let values = "Port: [{ value: 81, tag: blue }, { value: 82, tag: green }]";
    let file = |rest: &str| format!("mantle: v1\nproject: shop\nvariables:\n  {rest}\n{GO}");
    let rest = format!("variables:\n  {values}\n{GO}");
    let mut server = Known {
        targets: [
            tagged("web01", &["blue", "green", "web"]),
            tagged("web02", &["blue", "green", "web"]),
        ]
        .into(),
        projects: vec![a_project(&rest)],
        ..known()
    };
    let apply = |server: &Known, rest: &str| read(&[("shop.yaml", &file(rest))], server);
    let warned = |server: &Known, rest: &str| -> Vec<String> {
        let warnings = apply(server, rest).unwrap().warnings;
        let said = warnings.iter().map(ToString::to_string);
        said.filter(|warning| !warning.contains("no target has the tag"))
            .collect()
    };
    let warning = "shop.yaml:4:36: variable 'Port' of project 'shop' has two equally specific values for step 'Go' in target 'web01' and on one further target, which have tags of both: this one (tag green) and the one at shop.yaml:4:10 (tag blue); a plan that needs it there is refused until one of them has a further scope, or the target one of the tags less";
    // An unrelated change, other texts, another order: none of it made the tie.
    let turned = "Port: [{ value: 9, tag: green }, { value: 8, tag: blue }]";
    assert_eq!(warned(&server, &format!("{values}\n  Zed: 1")), [warning]);
    assert_eq!(warned(&server, turned).len(), 1);
    // A value that ties anew is refused, and only that.
    let third =
        "Port: [{ value: 81, tag: blue }, { value: 82, tag: green }, { value: 83, tag: web }]";
    assert_eq!(warned(&server, third), [""; 0], "the step chooses by web");
    let fourth =
        "Port: [{ value: 81, tag: blue }, { value: 82, tag: green }, { value: 83, tag: red }]";
    assert_eq!(warned(&server, fourth).len(), 1);
    server
        .targets
        .insert("web03".to_owned(), tagged("", &["red", "blue", "web"]).1);
    let refused = apply(&server, fourth).unwrap_err();
    assert!(
        refused.contains("target 'web03'") && refused.contains("(tag red)"),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 1, "{refused}");
    // So is a step that nobody's tag decides, where there was none.
    server.projects = vec![a_project(&rest.replace("{ tag: web }", "{ tag: blue }"))];
    let refused = apply(&server, values).unwrap_err();
    assert!(
        refused.contains("for step 'Go' in target 'web01'"),
        "{refused}"
    );
    // Without a server, nothing was before.
    server.projects.clear();
    assert!(apply(&server, values).is_err());
}

#[test]
fn variables_that_lead_back_to_themselves_and_filters_that_do_not_exist_are_warned_of() {
    let shop = "mantle: v1\nproject: shop\ninclude: mail\nvariables:\n  A: x\n  Round: \"#{round | ToUpper}\"\n  Url: \"#{Host}\"\nprocess: [{ step: Go, targets: { tag: web }, uses: http.check, with: { url: \"#{A | Nope}\" } }]\n";
    let mail = "mantle: v1\nvariable_set: mail\nvariables:\n  Host: [{ value: \"#{Name}/\", environment: live }]\n  Name: \"#{Url}\"\n  Own: \"#{Own}\"\n";
    let definitions = read(&[("shop.yaml", shop), ("mail.yaml", mail)], &known()).unwrap();
    let warnings: Vec<String> = definitions
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    for expected in [
        "mail.yaml:4:10: variable 'Host' refers to itself: Host -> Name -> Url -> Host; whatever needs it fails; take one of these references out",
        "mail.yaml:6:8: variable 'Own' refers to itself: Own -> Own; whatever needs it fails; take one of these references out",
        "shop.yaml:6:10: variable 'Round' refers to itself: Round -> Round; whatever needs it fails; take one of these references out",
        "shop.yaml:8:77: there is no filter 'Nope'; name one of those under 'Filters' in the manual's page Templates",
    ] {
        assert!(
            warnings.contains(&expected.to_owned()),
            "{expected}: {warnings:#?}"
        );
    }
    let of_circles = warnings
        .iter()
        .filter(|one| one.contains("refers to itself"));
    assert_eq!(of_circles.count(), 3, "{warnings:#?}");
}

#[test]
fn a_condition_with_a_filter_that_does_not_exist_is_refused_where_it_stands() {
    for (run, expected) in [
        (
            "#{X | Nope}",
            "shop.yaml:4:44: there is no filter 'Nope'; name one of those under 'Filters' in the manual's page Templates",
        ),
        (
            "#{if X | ToUper}y#{/if}",
            "shop.yaml:4:44: there is no filter 'ToUper'; did you mean 'ToUpper'?",
        ),
    ] {
        let shop = format!(
            "mantle: v1\nproject: shop\nprocess:\n  - {{ step: A, targets: {{ tag: web }}, run: \"{run}\", uses: script, with: {{ run: x }} }}\n"
        );
        assert_eq!(
            read(&[("shop.yaml", &shop)], &known()).unwrap_err(),
            expected
        );
    }
}
