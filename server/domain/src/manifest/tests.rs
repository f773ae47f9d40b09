//! Manifests: what is in them, what is not, and how two differ.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::planner::PlanOptions;
use crate::release::{ReleaseDraft, ScannedFiles};
use crate::target::TargetFacts;
use crate::testing::{a_project, a_release, a_target, plan};

const SHOP: &str = concat!(
    "packages: [{ id: Web }]\n",
    "variables:\n",
    "  Port: [{ value: 80 }, { value: 81, target: web03 }]\n",
    "  Url: \"http://#{Octopus.Machine.Name}:#{Port}/\"\n",
    "  Password: { secret: shop/password }\n",
    "  Connection: \"Server=db;Password=#{Password}\"\n",
    "  Long: \"#{each n in Items}0123456789#{/each}\"\n",
    "  Later: \"#{Octopus.Action[Install].Output.Package.InstallationDirectoryPath}/x\"\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: web }\n",
    "    actions:\n",
    "      - { action: Install, uses: package, with: { package: Web } }\n",
    "      - { action: Check, uses: http.check, run_on: { tag: lb }, with: { url: \"#{Url}\", expect: 200 } }\n",
    "      - { action: Tell, uses: script, secrets: [Password], with: { run: 'echo' } }\n",
);

fn farm(webs: &[&str]) -> Vec<TargetFacts> {
    let mut all: Vec<TargetFacts> = webs
        .iter()
        .map(|name| a_target(name, &["web"], &["test"]))
        .collect();
    all.push(a_target("lb01", &["lb"], &["test"]));
    all
}

fn made(release: &ReleaseDraft, targets: &[TargetFacts], variables: &str) -> Manifest {
    let plan = plan(release, "test", targets, &PlanOptions::default()).unwrap();
    let context = OrderContext {
        plan: &plan,
        process: &release.process,
        variables: &release.variables,
        task_number: "T-1",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let digests = ReleaseDigests {
        process: Digest::of(b"process"),
        variables: Digest::of(variables.as_bytes()),
        packages: Digest::of(b"packages"),
    };
    manifest(&context, &release.packages, digests, Timestamp::UNIX_EPOCH)
}

fn release(rest: &str) -> ReleaseDraft {
    a_release(&a_project(rest), &ScannedFiles::new())
}

#[test]
fn it_holds_what_was_used_and_no_secret() {
    let manifest = made(&release(SHOP), &farm(&["web01", "web02", "web03"]), "1");
    let names: Vec<&str> = manifest.actions.iter().map(|a| a.action.as_str()).collect();
    assert_eq!(names, ["Install", "Check", "Tell"]);
    let check = &manifest.actions[1];
    assert_eq!(check.nodes[0], "web01 on lb01");
    let url = &check.values["Url"];
    assert_eq!(url.value, "http://web01:80/");
    assert_eq!(url.on["web03"].as_deref(), Some("http://web03:81/"));
    let port = &check.values["Port"];
    assert_eq!((port.value.as_str(), port.on.len()), ("80", 1));
    let tell = &manifest.actions[2];
    assert_eq!(
        tell.values["Connection"].value,
        "Server=db;Password=(secret mark of shop/pas)"
    );
    assert!(
        tell.values["Later"]
            .value
            .starts_with("#{Octopus.Action[Install]")
    );
    assert_eq!(manifest.targets[0].agent_version, "0.1.0");
    let back: Manifest = serde_json::from_str(&serde_json::to_string(&manifest).unwrap()).unwrap();
    assert_eq!(back, manifest);
}

#[test]
fn what_is_made_from_a_secret_is_told_apart_by_its_mark() {
    let text = SHOP.replace(
        "  Long:",
        "  Short: '#{Password | Substring 4}'\n  Live: '#{if Password == \"x\"}yes#{else}no#{/if}'\n  Long:",
    );
    let first = made(&release(&text), &farm(&["web01"]), "1");
    let mut changed = release(&text);
    for variable in &mut changed.variables.variables {
        for value in &mut variable.values {
            if let crate::variable::VariableValue::PinnedSecret(secret) = &mut value.value {
                secret.mark = "another mark".to_owned();
            }
        }
    }
    let second = made(&changed, &farm(&["web01"]), "1");
    let value = |of: &Manifest, name: &str| of.actions[2].values[name].value.clone();
    for name in ["Short", "Live"] {
        let said = value(&first, name);
        let begin = "(made from secret mark of shop/pas on the target, #";
        assert!(said.starts_with(begin), "{name}: {said}");
        assert_ne!(said, value(&second, name));
    }
    let diff = compare(&first, &second);
    for name in ["Short", "Live", "Password", "Connection"] {
        let subject = format!("'Tell' {name}");
        assert!(
            diff.values.iter().any(|one| one.subject == subject),
            "{name}: {diff:?}"
        );
    }
}

#[test]
fn two_differ_in_what_was_used_differently() {
    let first = made(&release(SHOP), &farm(&["web01", "web03"]), "1");
    let changed = SHOP
        .replace("value: 81", "value: 82")
        .replace("Server=db", "Server=db2");
    let mut targets = farm(&["web01", "web02", "web03"]);
    targets[0].agent.as_mut().unwrap().version = "0.2.0".to_owned();
    let mut second = made(&release(&changed), &targets, "2");
    second.release = "1.2.4".to_owned();
    let mut first = first;
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    first.fields = [
        field("ticket", "OPS-1"),
        field("gone", "x"),
        field("same", "y"),
    ]
    .into();
    second.fields = [
        field("ticket", "OPS-2"),
        field("new", "z"),
        field("same", "y"),
    ]
    .into();
    second.comment = "before the holidays".to_owned();
    let diff = compare(&first, &second);
    let said =
        |changes: &[Change]| -> Vec<String> { changes.iter().map(ToString::to_string).collect() };
    assert_eq!(said(&diff.what)[0], "~ release: 0.0.1 -> 1.2.4");
    assert_eq!(
        said(&diff.what)[1..5],
        [
            "+ comment: before the holidays",
            "- field gone: x",
            "+ field new: z",
            "~ field ticket: OPS-1 -> OPS-2"
        ]
    );
    assert_eq!(diff.what.len(), 6, "and the variables: {:?}", diff.what);
    assert_eq!(
        said(&diff.targets),
        [
            "~ target 'web01' agent version: 0.1.0 -> 0.2.0",
            "+ target 'web02'",
        ]
    );
    assert!(diff.packages.is_empty());
    let values = said(&diff.values);
    for expected in [
        "~ 'Check' about: web01 on lb01, web03 on lb01 -> web01 on lb01, web02 on lb01, web03 on lb01",
        "~ 'Check' Port on web03: 81 -> 82",
        "~ 'Tell' Connection: Server=db;Password=(secret mark of shop/pas) -> Server=db2;Password=(secret mark of shop/pas)",
    ] {
        assert!(
            values.contains(&expected.to_owned()),
            "{expected}: {values:#?}"
        );
    }
    assert_eq!(compare(&first, &first), ManifestDiff::default());
    for (before, after, line) in [
        ("a", "b", "~ comment: a -> b"),
        ("a", "", "- comment: a"),
        ("", "b", "+ comment: b"),
    ] {
        let mut other = first.clone();
        (first.comment, other.comment) = (before.to_owned(), after.to_owned());
        assert_eq!(said(&compare(&first, &other).what), [line]);
    }
}

#[test]
fn one_of_the_format_before_is_still_read() {
    let old = r#"{"format":1,"task":"00000000-0000-0000-0000-000000000001","project":"shop","environment":"test","release":"1.0","channel":"default","targets":[{"id":"00000000-0000-0000-0000-000000000002","name":"web01","agent":"00000000-0000-0000-0000-000000000003","tags":["web"],"platform":"linux"}],"packages":[],"variables":[{"name":"Port","values":[{"value":{"text":"80"}}]}]}"#;
    let manifest: Manifest = serde_json::from_str(old).unwrap();
    assert_eq!(manifest.targets[0].name, "web01");
    assert!(compare(&manifest, &manifest).values.is_empty());
}

#[test]
fn a_long_value_is_kept_as_its_digest() {
    let long = SHOP.replace(
        "#{each n in Items}0123456789#{/each}",
        &"0123456789".repeat(200),
    );
    let manifest = made(&release(&long), &farm(&["web01"]), "1");
    let value = &manifest.actions[2].values["Long"].value;
    assert!(
        value.starts_with("(2000 bytes, ") && value.len() < 120,
        "{value}"
    );
}
