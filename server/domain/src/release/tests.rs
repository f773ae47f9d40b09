//! Creating releases.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::explain::Refusal;
use crate::project::ProjectDefinition;
use crate::snapshot::canonical;
use crate::testing::{a_project, a_release, octofx, packages, secrets};
use crate::variable::{Scope, ScopedValue, VariableValue, find};

const CHANNELS: &str = concat!(
    "packages: [{ id: Web }]\n",
    "channels:\n",
    "  - { name: stable, default: true, rules: [{ package: Web, range: \"[1.0,2.0)\", prerelease: \"^$\" }] }\n",
    "  - { name: hotfix, rules: [{ package: Web, prerelease: \"^hotfix\" }] }\n",
);

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn existing(all: &[(&str, &str)]) -> Vec<ExistingRelease> {
    all.iter()
        .map(|(version, channel)| ExistingRelease {
            version: (*version).to_owned(),
            channel: (*channel).to_owned(),
        })
        .collect()
}

fn options(version: Option<&str>, channel: Option<&str>, package: Option<&str>) -> ReleaseOptions {
    ReleaseOptions {
        version: version.map(str::to_owned),
        channel: channel.map(str::to_owned),
        packages: package
            .map(|version| ("Web".to_owned(), version.to_owned()))
            .into_iter()
            .collect(),
        ..ReleaseOptions::default()
    }
}

#[test]
fn packages_and_version_are_chosen_by_channel_and_template() {
    let held = packages(&[
        ("Web", "0.9"),
        ("Web", "1.9.0"),
        ("Web", "1.10.0"),
        ("Web", "1.11.0-beta"),
        ("Web", "2.0.0"),
        ("Web", "1.10.1-hotfix.1"),
    ]);
    let project = a_project(CHANNELS);
    for (options, package, version) in [
        (options(None, None, None), "1.10.0", "3.1.5"),
        (
            options(None, Some("hotfix"), None),
            "1.10.1-hotfix.1",
            "3.1.5",
        ),
        (options(None, None, Some("1.9")), "1.9.0", "3.1.5"),
        (options(Some("7.0-rc.1"), None, None), "1.10.0", "7.0-rc.1"),
    ] {
        let chosen = select(
            &project,
            &options,
            &held,
            &existing(&[("3.1.4", "stable"), ("0.1", "hotfix")]),
            now(),
        )
        .unwrap();
        assert_eq!(chosen.packages[0].version, package, "{options:?}");
        assert_eq!(chosen.version, version, "{options:?}");
    }
}

#[test]
fn a_release_that_names_no_channel_gets_the_one_whose_rules_its_packages_satisfy() {
    // Reference section 1.3, version rules: the only one that fits, the default one of several,
    // and nothing is guessed among several others.
    let third =
        format!("{CHANNELS}  - {{ name: patch, rules: [{{ package: Web, prerelease: fix }}] }}\n");
    let held = packages(&[
        ("Web", "1.9.0"),
        ("Web", "2.0.0"),
        ("Web", "1.9.1-hotfix.1"),
        ("Web", "1.9.2-bugfix.1"),
    ]);
    for (rest, package, expected) in [
        (CHANNELS, None, Ok("stable")),
        (CHANNELS, Some("1.9.0"), Ok("stable")),
        (CHANNELS, Some("1.9.1-hotfix.1"), Ok("hotfix")),
        (
            CHANNELS,
            Some("2.0.0"),
            Err(
                "package 'Web' 2.0.0 breaks a rule of channel 'stable' (range [1.0,2.0), pre-release ^$)",
            ),
        ),
        (third.as_str(), Some("1.9.2-bugfix.1"), Ok("patch")),
        (
            third.as_str(),
            Some("1.9.1-hotfix.1"),
            Err(
                "the packages satisfy the rules of several channels of project 'shop': hotfix and patch",
            ),
        ),
        (
            CHANNELS,
            Some("7"),
            Err("package 'Web' has no version 7; the newest pushed is 2.0.0"),
        ),
    ] {
        let asked = options(None, None, package);
        let chosen = select(&a_project(rest), &asked, &held, &[], now());
        let said = chosen
            .map(|chosen| chosen.channel)
            .map_err(|refusals| refusals[0].message());
        assert_eq!(
            said.as_deref().map_err(String::as_str),
            expected,
            "{package:?}"
        );
    }
    // Rules are no matter for a release that names its channel and wants them ignored.
    let ignoring = ReleaseOptions {
        ignore_channel_rules: true,
        ..options(None, Some("hotfix"), Some("2.0.0"))
    };
    let chosen = select(&a_project(CHANNELS), &ignoring, &held, &[], now()).unwrap();
    assert_eq!(chosen.channel, "hotfix");
}

#[test]
fn refusals_at_creation_say_what_to_type() {
    let project = a_project(CHANNELS);
    let held = packages(&[("Web", "0.9"), ("Web", "2.0.0-beta")]);
    let none = BTreeMap::new();
    for (options, held, taken, expected) in [
        (
            options(None, None, None),
            &none,
            "1",
            "no version of package 'Web' has been pushed; push one: mantle package push Web.1.0.0.zip",
        ),
        (
            options(None, None, None),
            &held,
            "1",
            "no pushed version of package 'Web' satisfies channel 'stable' (range [1.0,2.0), pre-release ^$); the newest pushed is 2.0.0-beta; push one that does, or choose another channel with --channel; 'mantle package versions Web' shows what there is",
        ),
        (
            options(None, None, Some("3.0")),
            &held,
            "1",
            "package 'Web' has no version 3.0; the newest pushed is 2.0.0-beta; push it: mantle package push Web.3.0.zip",
        ),
        (
            options(None, None, Some("0.9")),
            &held,
            "1",
            "package 'Web' 0.9 breaks a rule of channel 'stable' (range [1.0,2.0), pre-release ^$); choose another version with --package ('mantle package versions Web' shows them), or another channel with --channel",
        ),
        (
            options(None, Some("hotfx"), None),
            &held,
            "1",
            "project 'shop' has no channel 'hotfx'; did you mean 'hotfix'?",
        ),
        (
            options(Some("latest"), None, Some("0.9")),
            &held,
            "1",
            "package 'Web' 0.9 breaks a rule of channel 'stable' (range [1.0,2.0), pre-release ^$); choose another version with --package ('mantle package versions Web' shows them), or another channel with --channel",
        ),
    ] {
        let refused = select(
            &project,
            &options,
            held,
            &existing(&[(taken, "stable")]),
            now(),
        )
        .unwrap_err();
        let shown: Vec<String> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [expected]);
    }
}

#[test]
fn a_version_exists_once_whatever_its_spelling() {
    let project = a_project("");
    let refused = select(
        &project,
        &options(Some("1.0"), None, None),
        &BTreeMap::new(),
        &existing(&[("1.0.0", "default")]),
        now(),
    );
    assert_eq!(
        refused.unwrap_err(),
        [Refusal::VersionExists {
            project: "shop".to_owned(),
            version: "1.0.0".to_owned()
        }]
    );
    let bad = select(
        &project,
        &options(Some("latest"), None, None),
        &BTreeMap::new(),
        &[],
        now(),
    );
    assert!(matches!(bad.unwrap_err()[..], [Refusal::BadVersion { .. }]));
}

#[test]
fn the_donor_package_gives_the_version() {
    let project = a_project("packages: [{ id: Web }]\nversion: { package: Web }\n");
    let held = packages(&[("Web", "1.4.0+build.7")]);
    let chosen = select(&project, &ReleaseOptions::default(), &held, &[], now()).unwrap();
    assert_eq!(chosen.version, "1.4.0+build.7");
}

#[test]
fn the_version_template_sees_the_projects_variables_and_counts_on() {
    let project = a_project(concat!(
        "version: \"#{Train}.#{Minor}.i\"\n",
        "channels: [{ name: stable, default: true }, { name: hotfix }]\n",
        "variables:\n",
        "  Train: \"4\"\n",
        "  Minor:\n",
        "    - { value: \"1\" }\n",
        "    - { value: \"2\", channel: hotfix }\n",
        "    - { value: \"8\", environment: production }\n",
        "    - { value: \"9\", channel: hotfix, environment: production }\n",
    ));
    let releases = existing(&[("4.1.3", "stable"), ("4.2.7", "stable"), ("5.0", "hotfix")]);
    for (channel, version) in [(None, "4.1.4"), (Some("hotfix"), "4.2.8")] {
        let options = options(None, channel, None);
        let chosen = select(&project, &options, &BTreeMap::new(), &releases, now()).unwrap();
        assert_eq!(chosen.version, version, "{channel:?}");
    }
}

#[test]
fn the_version_template_resolves_variables_as_every_other_template_does() {
    let mut project = a_project(concat!(
        "version: \"#{Train | ToLower}.#{Octopus.Version.NextPatch}\"\n",
        "channels: [{ name: stable, default: true }, { name: hotfix }]\n",
        "variables:\n",
        "  Train: \"#{Major}.#{if Octopus.Release.Channel.Name == \\\"hotfix\\\"}#{Minor}#{else}0#{/if}\"\n",
        "  Minor: [{ value: \"5\" }, { value: \"6\", target: web01 }]\n",
        "  Major: \"3\"\n",
    ));
    // A set that the project includes says something else, and comes first.
    let of_set = |text: &str, channel: Option<&str>| ScopedValue {
        value: VariableValue::Text(text.to_owned()),
        scope: Scope {
            channels: channel.into_iter().map(str::to_owned).collect(),
            ..Scope::default()
        },
        from: Some("trains".to_owned()),
    };
    let at = |project: &ProjectDefinition, name: &str| {
        let mut all = project.variables.iter();
        all.position(|variable| variable.name == name).unwrap()
    };
    let major = at(&project, "Major");
    project.variables[major].values.insert(0, of_set("7", None));
    let chosen = |project: &ProjectDefinition, channel: Option<&str>| {
        let options = options(None, channel, None);
        let chosen = select(project, &options, &BTreeMap::new(), &[], now());
        chosen.map(|chosen| chosen.version)
    };
    assert_eq!(chosen(&project, None).unwrap(), "3.0.1");
    assert_eq!(chosen(&project, Some("hotfix")).unwrap(), "3.5.1");
    // The channel is more specific than the project.
    project.variables[major]
        .values
        .push(of_set("8", Some("hotfix")));
    assert_eq!(chosen(&project, None).unwrap(), "3.0.1");
    assert_eq!(chosen(&project, Some("hotfix")).unwrap(), "8.5.1");
    // What ties there ties here.
    project.variables[major]
        .values
        .push(of_set("9", Some("hotfix")));
    assert_eq!(chosen(&project, None).unwrap(), "3.0.1");
    let tie = chosen(&project, Some("hotfix")).unwrap_err();
    assert!(
        matches!(&tie[..], [Refusal::Tie(tie)] if tie.variable == "Major"),
        "{tie:?}"
    );
}

#[test]
fn secrets_are_pinned_and_never_named_by_value() {
    let draft = a_release(&octofx().projects[0], &ScannedFiles::new());
    let password = find(&draft.variables.variables, "Database.Password").unwrap();
    assert!(
        password
            .values
            .iter()
            .all(|value| matches!(value.value, VariableValue::PinnedSecret(_)))
    );
    // A secret in an input is a variable of the snapshot, and the input its template.
    let hook = find(
        &draft.variables.variables,
        "Octopus.Secret[octofx/chat-webhook]",
    )
    .unwrap();
    assert!(matches!(
        hook.values[0].value,
        VariableValue::PinnedSecret(_)
    ));
    let tell = &draft.process.process.steps[3].actions[0];
    assert_eq!(
        tell.with["webhook"],
        "#{Octopus.Secret[octofx/chat-webhook]}"
    );
}

#[test]
fn a_secret_that_does_not_exist_is_refused_with_its_place() {
    let project = a_project("variables: { P: { secret: shop/pasword } }\n");
    let selection = select(
        &project,
        &ReleaseOptions::default(),
        &BTreeMap::new(),
        &[],
        now(),
    )
    .unwrap();
    let refused = assemble(
        &project,
        selection,
        &secrets(&["shop/password"]),
        &ScannedFiles::new(),
    )
    .unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "variable 'P' names the secret 'shop/pasword', which does not exist; did you mean 'shop/password'?"
    );
}

#[test]
fn scripts_are_scanned_for_names_that_hold_or_reach_secrets() {
    let project = a_project(concat!(
        "variables:\n",
        "  Password: { secret: shop/password }\n",
        "  Connection: \"Server=a;Password=#{Password}\"\n",
        "  Deep: \"#{Connection};Timeout=3\"\n",
        "  Harmless: \"#{Other}\"\n",
        "process:\n",
        "  - { step: A, targets: { tag: t }, uses: script, with: { run: \"use $DEEP and $HARMLESS\" } }\n",
        "  - { step: B, targets: { tag: t }, uses: script, with: { run: \"nothing\" } }\n",
        "  - { step: C, targets: { tag: t }, uses: package, with: { package: Web, scripts: { post_deploy: \"use $PASSWORD\" } } }\n",
        "packages: [{ id: Web }]\n",
    ));
    let files = ScannedFiles::from([("B".to_owned(), ["Password".to_owned()].into())]);
    let draft = a_release(&project, &files);
    assert_eq!(
        draft.process.scanned_secrets["A"],
        ["Deep".to_owned()].into()
    );
    assert_eq!(
        draft.process.scanned_secrets["B"],
        ["Password".to_owned()].into()
    );
    assert_eq!(
        draft.process.scanned_secrets["C"],
        ["Password".to_owned()].into()
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let project = &octofx().projects[0];
    let (a, b) = (
        a_release(project, &ScannedFiles::new()),
        a_release(project, &ScannedFiles::new()),
    );
    assert_eq!(
        canonical(&a.process).unwrap(),
        canonical(&b.process).unwrap()
    );
    assert_eq!(
        canonical(&a.variables).unwrap(),
        canonical(&b.variables).unwrap()
    );
    let (bytes, _) = canonical(&a.process).unwrap();
    let back: ProcessSnapshot = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(back, a.process);
}

#[test]
fn what_to_scan_in_packages_follows_from_the_inputs() {
    let requests = scan::requests(&octofx().projects[0].process);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].texts, ["deploy/migrate.sh"]);
    assert_eq!(requests[1].texts, ["**/*.html"]);
    assert_eq!(requests[1].structured, ["appsettings.json"]);
    for (given, scripts) in [
        ("true", true),
        ("\"#{Yes}\"", true),
        ("\"False\"", false),
        ("false", false),
    ] {
        let yaml = format!(
            "packages: [{{ id: Web }}]\nprocess: [{{ step: A, targets: {{ tag: web }}, uses: package, with: {{ package: Web, packaged_scripts: {given} }} }}]\n"
        );
        let requests = scan::requests(&a_project(&yaml).process);
        let texts: Vec<_> = requests.iter().flat_map(|one| &one.texts).collect();
        assert_eq!(texts.len(), if scripts { 4 } else { 0 }, "{given}");
        if scripts {
            assert_eq!(texts[0], "PreDeploy.{sh,bash,py,ps1,cmd,bat}");
        }
    }
}

#[test]
fn rules_are_read_once_however_many_versions_there_are() {
    use crate::channel::tests::READ;

    let beyond: Vec<String> = (0..200).map(|nth| format!("2.0.{nth}")).collect();
    let mut all: Vec<(&str, &str)> = beyond.iter().map(|own| ("Web", own.as_str())).collect();
    all.push(("Web", "1.0.0"));
    let (project, held) = (a_project(CHANNELS), packages(&all));
    let asked = options(None, Some("stable"), None);
    let before = READ.get();
    let chosen = select(&project, &asked, &held, &[], now()).unwrap();
    assert_eq!(
        chosen.packages[0].version, "1.0.0",
        "the last one looked at"
    );
    assert_eq!(READ.get() - before, 1);
}
