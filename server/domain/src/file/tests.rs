//! The grammar, by tables: what is accepted, and the words of each refusal.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::process::{Pick, RunCondition, SecretAccess, Window};
use crate::variable::VariableValue;

const OCTOFX: &str = include_str!("../../tests/octofx/octofx.yaml");
const INFRASTRUCTURE: &str = include_str!("../../tests/octofx/infrastructure.yaml");

pub(super) fn octofx() -> Definitions {
    let sources = [
        Source {
            name: "octofx.yaml",
            text: OCTOFX,
        },
        Source {
            name: "infrastructure.yaml",
            text: INFRASTRUCTURE,
        },
    ];
    let known = Known {
        complete: true,
        ..Known::default()
    };
    match parse(&sources, &known) {
        Ok(definitions) => definitions,
        Err(errors) => panic!("{}", all(&errors)),
    }
}

fn all(errors: &[FileError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What is wrong with a text, as people see it.
fn refusal(text: &str) -> String {
    let known = Known {
        complete: true,
        environments: ["test", "production"].map(str::to_owned).into(),
        lifecycles: ["standard".to_owned()].into(),
        targets: [(
            "web01".to_owned(),
            vec!["web".to_owned(), "linux".to_owned(), "app".to_owned()],
        )]
        .into(),
        secrets: ["shop/password".to_owned()].into(),
        ..Known::default()
    };
    match parse(
        &[Source {
            name: "f.yaml",
            text,
        }],
        &known,
    ) {
        Ok(definitions) => format!("accepted {definitions:?}"),
        Err(errors) => all(&errors).trim_end().to_owned(),
    }
}

#[test]
fn the_reference_example_is_read() {
    let definitions = octofx();
    assert_eq!(definitions.environments.len(), 2);
    assert!(definitions.environments[1].guided_failure);
    assert_eq!(definitions.lifecycles[0].retention.on_target, Some(3));
    assert_eq!(definitions.targets[0].name, "lb01");
    let project = &definitions.projects[0];
    assert_eq!(project.slug, "octofx");
    assert_eq!(
        project.channels[1].rules[0].prerelease.as_deref(),
        Some("^hotfix")
    );
    let names: Vec<&str> = project
        .process
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "Migrate the database",
            "Web farm",
            "Release manager signs off",
            "Tell the team"
        ]
    );
    let migrate = &project.process.steps[0];
    assert_eq!(migrate.targets.as_ref().unwrap().pick, Pick::One);
    assert_eq!(migrate.actions[0].timeout_ms, 600_000);
    assert_eq!(migrate.actions[0].retries.backoff_ms, 5_000);
    assert_eq!(migrate.actions[0].secrets, SecretAccess::default());
    let farm = &project.process.steps[1];
    assert_eq!(farm.rolling.unwrap().window, Window::Targets(1));
    assert_eq!(farm.actions.len(), 6);
    assert_eq!(
        farm.actions[0].run_on.as_ref().unwrap().tag,
        "load-balancer"
    );
    assert_eq!(project.process.steps[3].run, RunCondition::Always);
    let password = project
        .variables
        .iter()
        .find(|v| v.name == "Database.Password")
        .unwrap();
    assert_eq!(
        password.values[0].value,
        VariableValue::Secret("octofx/database-password".to_owned())
    );
    // Three secrets are not set yet: known as soon as the file is applied, no error.
    let unset = |warning: &&FileError| warning.what.contains("is not set yet");
    let secrets = definitions.warnings.iter().filter(unset).count();
    assert_eq!(secrets, 3, "{:?}", definitions.warnings);
}

/// A project around a process or other keys.
pub(super) fn project(rest: &str) -> String {
    format!("mantle: v1\nproject: shop\n{rest}")
}

fn step(with: &str) -> String {
    project(&format!(
        "packages: [{{ id: Web }}]\nprocess:\n  - step: Go\n    targets: {{ tag: web }}\n{with}"
    ))
}

#[test]
fn what_this_version_does_not_do_is_a_warning_with_its_place() {
    let warnings = |text: &str| -> Vec<String> {
        let sources = [Source {
            name: "a.yaml",
            text,
        }];
        let read = parse(&sources, &Known::default()).unwrap();
        read.warnings.iter().map(ToString::to_string).collect()
    };
    let of_steps = |steps: &str| warnings(&project(&format!("process:\n{steps}")));
    let infrastructure = "mantle: v1
environments:
  - { name: test, guided_failure: true }
lifecycles:
  - name: standard
    retention: { releases: 5, on_target: 2 }
    phases:
      - { name: Test, environments: [test], deploy: automatic }
";
    for (given, place, says) in [
        (
            of_steps(
                "  - { step: Site, targets: { tag: web }, run: \"#{if Octopus.Machine.Name}yes#{/if}\", uses: script, with: { run: x } }\n",
            ),
            "a.yaml:4:47: ",
            ["once for the whole step", "actions", "each target"],
        ),
        (
            warnings(&infrastructure.replace("automatic }", "automatic, optional: true }")),
            "a.yaml:8:17: ",
            ["'Test'", "is optional", "by itself"],
        ),
        (
            of_steps("  - { step: Tell, uses: deploy.release }\n"),
            "a.yaml:4:25: ",
            ["'Tell'", "'deploy.release'", "refused"],
        ),
    ] {
        let found = given.iter().find(|warning| warning.starts_with(place));
        let found = found.unwrap_or_else(|| panic!("{place} {given:?}"));
        for part in says {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
    // Retention, automatic phases and guided failure are acted on, and so is what people do.
    assert_eq!(warnings(infrastructure), Vec::<String>::new());
    let asks = "  - { step: Ask, uses: manual, with: { instructions: look } }\n";
    assert_eq!(of_steps(asks), Vec::<String>::new());
    let disabled = "  - { step: Tell, uses: deploy.release, disabled: true }\n";
    assert_eq!(of_steps(disabled), Vec::<String>::new());
    let by_a_worker = "  - { step: Here, uses: script, with: { run: 'true' } }\n";
    assert_eq!(of_steps(by_a_worker), Vec::<String>::new());
}

#[test]
fn refusals_name_place_reason_and_remedy() {
    let mut wrong = String::new();
    for (text, expected) in [
        (
            project("variables:\n  Shared: { value: a, environment: test }\n"),
            "f.yaml:4:11: a value and where it holds stand in a list of values; put it into a list: - { value: ..., environment: ... }",
        ),
        (
            project("variables: { \"\": x }\n"),
            "f.yaml:3:14: the name of a variable is empty; write Name: value",
        ),
        (
            project("version: \"abc\"\n"),
            "f.yaml:3:10: 'abc' is not a version: its parts before a '-' must be numbers; write one like 1.2.3 or 1.2.3-beta.1; or let it count on: version: \"1.0.#{Octopus.Version.NextPatch}\"",
        ),
        (
            project(
                "packages: [{ id: Web }]\nchannels: [{ name: a, rules: [{ package: Web, range: '' }] }]\n",
            ),
            "f.yaml:4:54: the version range is empty; write one like [1.0,2.0), or leave it out to allow every version",
        ),
        (
            project(
                "packages: [{ id: Web }]\nchannels: [{ name: a, rules: [{ package: Web, range: '[1.0,1.0)' }] }]\n",
            ),
            "f.yaml:4:54: the version range '[1.0,1.0)' is empty: its ends are the same version, which does not belong to it",
        ),
        (
            project("descripton: A shop\n"),
            "f.yaml:3:1: unknown key 'descripton'; did you mean 'description'?",
        ),
        (
            project("variable_sets: [mail]\n"),
            "f.yaml:3:1: unknown key 'variable_sets'; did you mean 'include'?",
        ),
        (
            project(
                "process:\n  - { step: S, targets: { role: web }, uses: script, with: { run: x } }\n",
            ),
            "f.yaml:4:27: unknown key 'role'; did you mean 'tag'?",
        ),
        (
            project("lifecycle: standart\n"),
            "f.yaml:3:12: there is no lifecycle 'standart'; did you mean 'standard'?",
        ),
        (
            project("lifecycle: standard\nlifecycle: standard\n"),
            "f.yaml:4:1: key 'lifecycle' stands here twice; remove one of the two",
        ),
        (
            project("variables:\n  Url: http://#{Host}\n  X: #{Port}\n"),
            "f.yaml:5:6: '#{Port}' is a comment to YAML, so the template in it would be dropped; quote the whole value: \"...#{Name}...\"; or put a space after the '#' of a real comment",
        ),
        (
            step("    uses: http.check\n    with: { url: #{SiteUrl}, within: 60s }\n"),
            "f.yaml:8:18: '#{SiteUrl}, within: 60s }' is a comment to YAML, so the template in it would be dropped; quote the whole value: \"...#{Name}...\"; or put a space after the '#' of a real comment",
        ),
        (
            step("    uses: scrpt\n"),
            "f.yaml:7:11: there is no action type 'scrpt'; did you mean 'script'?",
        ),
        (
            step("    uses: package\n    with: { package: Wbe }\n"),
            "f.yaml:8:22: there is no package 'Wbe'; did you mean 'Web'?",
        ),
        (
            step("    uses: package\n    with: { package: Web, kep: 3 }\n"),
            "f.yaml:8:27: unknown key 'kep'; did you mean 'keep'?",
        ),
        (
            step("    uses: package\n    with: { package: Web, keep: three }\n"),
            "f.yaml:8:33: expected a whole number, or a template such as \"#{Name}\", found 'three'",
        ),
        (
            step("    uses: haproxy.drain\n    with: { backend: b, server: s, wait: 30 }\n"),
            "f.yaml:8:42: expected a length of time with its unit, such as 30s, 10m or 1h30m, found the number 30",
        ),
        (
            step("    uses: haproxy.drain\n    with: { backend: b }\n"),
            "f.yaml:8:11: key 'server' is missing",
        ),
        (
            step("    uses: script\n    with: { file: x.sh }\n"),
            "f.yaml:8:11: 'file' is a path in a package: name the package under 'package'",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    timeout: 10\n"),
            "f.yaml:9:14: expected text, found the number 10; put it in quotes, or add its unit if it is a length of time: 10s",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    timeout: 10 minutes\n"),
            "f.yaml:9:14: '10 minutes' is not a length of time; write one like 30s, 10m or 1h30m",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    timeout: \"10\"\n"),
            "f.yaml:9:14: '10' is not a length of time; write 10s for seconds, or 10m for minutes",
        ),
        (
            project("version: \"1.#{Octopus.Version.NextPatc}\"\n"),
            "f.yaml:3:10: there is no 'octopus.version.nextpatc' in a version; did you mean 'NextPatch'?",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    run: allways\n"),
            "f.yaml:9:10: 'allways' is no run condition; did you mean 'always'?",
        ),
        (
            step(
                "    uses: script\n    with: { run: \"true\" }\n    when: { environments: [prodction] }\n",
            ),
            "f.yaml:9:28: there is no environment 'prodction'; did you mean 'production'?",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    when: { platform: linus }\n"),
            "f.yaml:9:23: 'linus' is none of linux, windows; did you mean 'linux'?",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    rolling: { window: 0 }\n"),
            "f.yaml:9:24: '0' is no window; write a number of targets such as 1, or a share such as 25%",
        ),
        (
            step(
                "    uses: script\n    with: { run: \"true\" }\n    rolling: { window: 1, max_failed: few }\n",
            ),
            "f.yaml:9:39: 'few' is no number of targets; write how many may fail, such as 2, or a share such as 10%",
        ),
        (
            step(
                "    uses: script\n    with: { run: \"true\" }\n    rolling: { window: 1, on_failure: contine }\n",
            ),
            "f.yaml:9:39: 'contine' is none of stop, continue, rollback; did you mean 'continue'?",
        ),
        (
            step("    uses: script\n    with: { run: \"true\" }\n    start: with_previous\n"),
            "f.yaml:9:12: before the first step there is none to start with; remove 'start'",
        ),
        (
            step(
                "    uses: script\n    with: { run: \"true\" }\n    required: true\n    disabled: true\n",
            ),
            "f.yaml:9:15: a step that is required cannot be disabled; remove one of the two",
        ),
        (
            step(
                "    uses: script\n    with: { run: \"true\" }\n    secrets: [Pasword]\nvariables: { Password: { secret: shop/password } }\n",
            ),
            "f.yaml:9:15: there is no secret variable 'Pasword'; did you mean 'Password'?",
        ),
        (
            step(
                "    grace: 10m\n    actions:\n      - { action: A, uses: script, with: { run: x } }\n",
            ),
            "f.yaml:7:12: 'grace' belongs to an action, and this step has no 'uses'; move it into one of the step's actions",
        ),
        (
            step(
                "    uses: script\n    with: { run: x }\n    retries: { count: 3, backoff: 30s, max_backoff: 10s }\n",
            ),
            "f.yaml:9:53: 'max_backoff' is shorter than 'backoff'; the wait begins with 'backoff' and grows up to 'max_backoff'",
        ),
        (
            project("unavailable: ignore\n"),
            "f.yaml:3:14: 'ignore' is none of fail, skip",
        ),
        (
            project("timeouts: { deployment: soon }\n"),
            "f.yaml:3:25: 'soon' is not a length of time; write one like 30s, 10m or 1h30m",
        ),
        (
            step(""),
            "f.yaml:5:5: step 'Go' does nothing; add 'uses: TYPE', or 'actions:' with at least one",
        ),
        (
            step("    uses: manual\n"),
            "f.yaml:7:11: key 'instructions' is missing",
        ),
        (
            step("    uses: manual\n    with: { instructions: look, approvals: 0 }\n"),
            "f.yaml:8:11: 'approvals' is 0: from 1 to 20 people can be asked for",
        ),
        (
            step("    uses: manual\n    with: { instructions: look, teams: [a b] }\n"),
            "f.yaml:8:11: 'a b' cannot be the name of a team",
        ),
        (
            step("    uses: manual\n    with: { instructions: look }\n    retries: { count: 1 }\n"),
            "f.yaml:9:23: 'retries' means nothing here: a person does it, and nothing is run; remove 'retries'",
        ),
        (
            project("process:\n  - step: A\n    targets: web\n    uses: manual\n"),
            "f.yaml:5:14: expected a map with 'tag', found 'web'",
        ),
        (
            project("process:\n  - step: A\n    targets: [web]\n    uses: manual\n"),
            "f.yaml:5:14: expected a map with 'tag', found a list",
        ),
        (
            project(
                "process:\n  - { step: A, uses: deploy.release }\n  - { step: A, uses: deploy.release }\n",
            ),
            "f.yaml:5:13: step or action 'A' stands at line 4 already; give one of them another name",
        ),
        (
            project(
                "variables:\n  Port:\n    - { value: 80 }\n    - { value: 81, environment: prod }\n",
            ),
            "f.yaml:6:33: there is no environment 'prod'; declare it under 'environments:', here or in another file",
        ),
        (
            project(
                "variables:\n  Port:\n    - { value: 80, environment: test }\n    - { value: 81, environments: [test, production] }\n",
            ),
            "f.yaml:6:7: variable 'Port' has two equally specific values for environment 'test': this one (environment production or test) and the one at line 5 (environment test); give one of them a further scope, or remove it",
        ),
        (
            project(
                "variables:\n  Port:\n    - { value: 80, tag: web }\n    - { value: 81, tag: linux }\nprocess: [{ step: Go, targets: { tag: app }, uses: script, with: { run: x } }]\n",
            ),
            "f.yaml:6:7: variable 'Port' of project 'shop' has two equally specific values for step 'Go' in target 'web01', which has tags of both: this one (tag linux) and the one at f.yaml:5:7 (tag web); give one of the two values a further scope, or the target one of the tags less",
        ),
        (
            project(
                "variables:\n  Port:\n    - { value: 80, tag: web }\n    - { value: 81, tag: linux }\n    - { value: 82, tag: [web, linux] }\nprocess: [{ step: Go, targets: { tag: app }, uses: script, with: { run: x } }]\n",
            ),
            "f.yaml:7:7: variable 'Port' has two equally specific values for step 'Go' in target 'any': this one (tag linux or web) and the one at line 5 (tag web); give one of them a further scope, or remove it\nf.yaml:7:7: variable 'Port' has two equally specific values for step 'Go' in target 'any': this one (tag linux or web) and the one at line 6 (tag linux); give one of them a further scope, or remove it",
        ),
        (
            project("variables:\n  Port:\n    - { value: 80, step: Nowhere }\n"),
            "f.yaml:5:26: there is no step or action 'Nowhere'; name one of the process",
        ),
        (
            project("variables:\n  port: 1\n  Port: 2\n"),
            "f.yaml:5:3: 'Port' and 'port' at line 4 are the same variable: case does not count; put the values of both under one name",
        ),
        (
            project("variables:\n  É: one\n  é: two\n"),
            "f.yaml:5:3: 'é' and 'É' at line 4 are the same variable: case does not count; put the values of both under one name",
        ),
        (
            project("variables:\n  Port:\n"),
            "f.yaml:4:7: a variable needs a value; write \"\" for an empty one",
        ),
        (
            project("version: 1.0\n"),
            "f.yaml:3:10: expected a template in quotes, or a map with 'package'; write version: \"1.0.#{Octopus.Version.NextPatch}\"",
        ),
        (
            project(
                "channels:\n  - { name: a, rules: [{ package: Web, range: \"[1\" }] }\npackages: [{ id: Web }]\n",
            ),
            "f.yaml:4:47: '[1' is not a version range; write one like [1.0,2.0), [1.0,) or 1.*",
        ),
        (
            "project: shop\n".to_owned(),
            "f.yaml:1:1: key 'mantle' is missing",
        ),
        (
            "mantle: v2\nproject: shop\n".to_owned(),
            "f.yaml:1:9: file format 'v2' is not known; write 'mantle: v1'",
        ),
        (
            "mantle: v1\ndescription: x\nenvironments: [{ name: dev }]\n".to_owned(),
            "f.yaml:2:14: 'description' belongs to a project, and this document has none; add 'project: SLUG' after 'mantle: v1'",
        ),
        (
            "mantle: v1\nproject: My Shop\n".to_owned(),
            "f.yaml:2:10: 'My Shop' cannot be the slug of a project; use lower-case letters, digits and '-', such as web-shop",
        ),
        (
            "mantle: v1\nenvironments:\n  - { name: dev }\n  - { name: dev }\n".to_owned(),
            "f.yaml:4:13: environment 'dev' is declared at f.yaml:3 already; remove one of the two, or give it another name",
        ),
        (
            String::new(),
            "f.yaml:1:1: the file is empty; begin it with 'mantle: v1'",
        ),
        (
            "- a\n".to_owned(),
            "f.yaml:1:1: expected a map that begins with 'mantle: v1', found a list",
        ),
        (
            project("description: !secret x\n"),
            "f.yaml:3:22: YAML tags ('!...') are not supported; quote the value if it should begin with '!'",
        ),
    ] {
        let shown = refusal(&text);
        if shown != expected {
            wrong = format!("{wrong}{text}\nexpected: {expected}\n     got: {shown}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn several_problems_are_reported_together() {
    let text = project(
        "lifecycle: nope\nprocess:\n  - { step: A, uses: x }\n  - { step: B, usess: manual }\n  - { step: C, uses: y }\n",
    );
    let shown = refusal(&text);
    let lines: Vec<&str> = shown
        .lines()
        .map(|line| &line[..line.find(": ").unwrap()])
        .collect();
    assert_eq!(
        lines,
        ["f.yaml:3:12", "f.yaml:5:22", "f.yaml:6:16", "f.yaml:7:22"],
        "{shown}"
    );
}

#[test]
fn hostile_yaml_ends_in_an_error() {
    let deep = format!("mantle: v1\nx: {}1{}\n", "[".repeat(200), "]".repeat(200));
    let mut bomb = "mantle: v1\na: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, before) in ["b", "c", "d", "e", "f", "g"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f"])
    {
        let refs = vec![format!("*{before}"); 10].join(",");
        bomb = format!("{bomb}{name}: &{name} [{refs}]\n");
    }
    let huge = format!("mantle: v1\nproject: {}\n", "x".repeat(9 * 1024 * 1024));
    let many_comments = format!("{}mantle: v1\n", "# note\n".repeat(5000));
    for (text, part) in [
        (deep.as_str(), "nested more than 48 deep"),
        (bomb.as_str(), "more than 200000 values"),
        (huge.as_str(), "larger than 8 MiB"),
        (many_comments.as_str(), "declares nothing"),
        ("mantle: v1\nproject: [a\n", "not YAML"),
        ("mantle: v1\nx: *y\n", "not YAML"),
        ("a: &a\n  b: *a\n", "inside its own anchor"),
        ("mantle: v1\n<<: {a: b}\n", "merge keys"),
        ("? [a]\n: b\n", "a key must be text"),
    ] {
        let shown = refusal(text);
        assert!(
            shown.contains(part),
            "{part}: {}",
            &shown[..shown.len().min(300)]
        );
    }
}

#[test]
fn anchors_and_several_documents_are_allowed() {
    let text = "mantle: v1\nenvironments: &all [{ name: dev }]\n---\nmantle: v1\nproject: a\n---\nmantle: v1\nproject: b\nprocess:\n  - step: S\n    uses: deploy.release\n    with: { x: &t [1, 2], y: *t }\n";
    let parsed = parse(
        &[Source {
            name: "f.yaml",
            text,
        }],
        &Known::default(),
    )
    .unwrap();
    assert_eq!(parsed.projects.len(), 2);
    let with = &parsed.projects[1].process.steps[0].actions[0].with;
    assert_eq!(with["x"], with["y"]);
}

proptest! {
    #[test]
    fn the_parser_never_panics(text in "(\\PC|\n|:|-| |#\\{|\\[|\\{|\\}|\\]|\"|'|&|\\*|!){0,200}") {
        let _ = refusal(&text);
        let _ = refusal(&format!("mantle: v1\nproject: p\nprocess:\n{text}"));
        let _ = refusal(&format!("mantle: v1\nproject: p\nvariables:\n  A: {text}"));
    }

    #[test]
    fn a_damaged_example_never_panics(at in 0_usize..3500, with in "\\PC{0,3}") {
        let mut text = OCTOFX.to_owned();
        let at = (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &with);
        let _ = refusal(&text);
    }
}
