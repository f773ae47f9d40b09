//! Installing, writing configuration, switching, going back, keeping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mantle_shared::Digest;
use serde_json::json;

use super::super::test_context::{Bench, message};
use super::making::flush_files;
use super::*;
use crate::cache::test_packages::Package as TestPackage;

fn site(version: &str) -> BTreeMap<String, Vec<u8>> {
    let text = |text: &str| text.as_bytes().to_vec();
    BTreeMap::from([
        (
            "index.html".to_owned(),
            format!("<h1>{version} #{{SiteName}}</h1>").into_bytes(),
        ),
        (
            "appsettings.json".to_owned(),
            text("{\n  \"Port\": 80,\n  \"Name\": \"x\"\n}\n"),
        ),
        ("bin/app".to_owned(), text("#!/bin/sh\n")),
    ])
}

fn deliver(bench: &mut Bench, version: &str, files: &BTreeMap<String, Vec<u8>>) {
    let made = TestPackage::of(files);
    let cache = bench.cache();
    for (digest, bytes) in &made.objects {
        cache.put_for_tests(*digest, bytes);
    }
    bench.packages = vec![OrderPackage {
        id: "OctoFX.Web".to_owned(),
        version: version.to_owned(),
        format: "zip".to_owned(),
        size_bytes: made.size,
        archive: Digest::of(b"archive"),
        root: made.root,
        linux_only: false,
        as_pushed: None,
    }];
}

fn home(bench: &Bench) -> PathBuf {
    bench.state_dir.apps().join("production/octofx/OctoFX.Web")
}

fn current(bench: &Bench) -> String {
    switch::current_folder(&Place::new(
        &bench.state_dir.apps(),
        "production",
        "octofx",
        "OctoFX.Web",
    ))
    .unwrap()
}

#[cfg(unix)]
#[test]
fn every_file_of_a_version_is_brought_to_the_disk() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    for file in ["1", "a/2", "a/b/3", "a/b/c/4"] {
        fs::write(dir.path().join(file), b"x").unwrap();
    }
    // A link is not followed: what it leads to is flushed in its own place, once.
    symlink("1", dir.path().join("link")).unwrap();
    symlink("a", dir.path().join("folder")).unwrap();
    assert_eq!(flush_files(dir.path()).unwrap(), 4);
    // What cannot be flushed is no success.
    assert!(flush_files(&dir.path().join("gone")).is_err());
}

fn install(bench: &Bench, with: Value) {
    run(bench, with).unwrap();
}

/// Runs it with these inputs, for the site unless they name another package.
fn run(bench: &Bench, mut with: Value) -> Result<ActionReport, ActionError> {
    let inputs = with.as_object_mut().unwrap();
    inputs
        .entry("package")
        .or_insert_with(|| "octofx.web".into());
    bench.run(&Package, with)
}

fn versions(bench: &Bench) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(home(bench))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_version_appears_whole_with_its_configuration_and_is_current() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    bench.variables = vec![
        ("SiteName".to_owned(), "OctoFX".to_owned()),
        ("Port".to_owned(), "8080".to_owned()),
    ];
    install(
        &bench,
        json!({"package": "octofx.web", "substitute": ["**/*.html"], "structured": ["appsettings.json"]}),
    );
    let folder = home(&bench).join("1.0");
    assert_eq!(current(&bench), "1.0");
    assert_eq!(
        fs::read_to_string(folder.join("index.html")).unwrap(),
        "<h1>1.0 OctoFX</h1>"
    );
    assert_eq!(
        fs::read_to_string(folder.join("appsettings.json")).unwrap(),
        "{\n  \"Port\": 8080,\n  \"Name\": \"x\"\n}\n"
    );
    assert_eq!(
        bench.said.variable("Package.InstallationDirectoryPath"),
        Some(folder.display().to_string())
    );
    assert_eq!(bench.said.variable("Package.Version").unwrap(), "1.0");
    assert!(bench.said.warnings().is_empty());
}

const CONFIG: &str = "<configuration>\n  <appSettings>\n    <add key=\"Mode\" value=\"debug\" />\n    <add key=\"Db\" value=\"none\" />\n  </appSettings>\n</configuration>\n";

/// A transform that gives `Mode` this value, or names an element that is not there.
fn transform(key: &str, value: &str) -> Vec<u8> {
    format!(
        "<configuration xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\"><appSettings>\
         <add key=\"{key}\" value=\"{value}\" xdt:Transform=\"SetAttributes\" xdt:Locator=\"Match(key)\"/>\
         </appSettings></configuration>"
    )
    .into_bytes()
}

fn dotnet_site() -> BTreeMap<String, Vec<u8>> {
    let mut files = site("1.0");
    for (path, bytes) in [
        ("Web.config", CONFIG.as_bytes().to_vec()),
        ("Web.Release.config", transform("Mode", "release")),
        ("Web.production.config", transform("Mode", "#{Mode}")),
        ("Web.Bad.config", transform("Missing", "x")),
        ("sites/Api.config", CONFIG.as_bytes().to_vec()),
    ] {
        files.insert(path.to_owned(), bytes);
    }
    files
}

#[test]
fn templates_transforms_settings_and_structure_are_written_in_this_order() {
    let mut bench = Bench::new();
    let mut files = dotnet_site();
    files.insert("app.yaml".to_owned(), b"# c\nlog: {level: info}\n".to_vec());
    files.insert("app.properties".to_owned(), b"log.level=info\n".to_vec());
    deliver(&mut bench, "1.0", &files);
    let variables = [
        ("Mode", "live"),
        ("db", "server=1"),
        ("log:level", "warn"),
        ("log.level", "error"),
        ("/configuration/appSettings/add[@key='Db']/@value", "xpath"),
    ];
    bench.variables = variables
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec();
    install(
        &bench,
        json!({
            "substitute": "Web.production.config",
            "transforms": "automatic",
            "dotnet_config": "Web.config",
            "structured": ["app.*", "sites/*.config"]
        }),
    );
    let read = |path: &str| fs::read_to_string(home(&bench).join("1.0").join(path)).unwrap();
    let web = CONFIG
        .replace("\"debug\"", "\"live\"")
        .replace("\"none\"", "\"server=1\"");
    assert_eq!(read("Web.config"), web);
    assert_eq!(
        read("sites/Api.config"),
        CONFIG.replace("\"none\"", "\"xpath\"")
    );
    assert_eq!(read("app.yaml"), "# c\nlog: {level: warn}\n");
    assert_eq!(read("app.properties"), "log.level=error\n");
    assert!(
        bench.said.warnings().is_empty(),
        "{:?}",
        bench.said.warnings()
    );
}

#[test]
fn a_transform_that_finds_nothing_fails_unless_that_is_asked_for() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &dotnet_site());
    let line = "Web.Bad.config => sites/Api.config";
    let error = message(run(&bench, json!({"transforms": line})));
    assert!(
        error.starts_with("transforms: sites/Api.config: ") && error.contains("Web.Bad.config:1:"),
        "{error}"
    );
    let error = message(run(
        &bench,
        json!({"transforms": "Web.None.config => Web.config"}),
    ));
    assert!(
        error.contains("names a file that is not in the package"),
        "{error}"
    );
    let error = message(run(&bench, json!({"transforms": "Web.Bad.config"})));
    assert!(error.contains("names no target"), "{error}");
    assert!(versions(&bench).is_empty());
    install(
        &bench,
        json!({"transforms": [line, "*.Green.config => *.config"], "ignore_transform_warnings": true}),
    );
    let warnings = bench.said.warnings();
    assert!(
        warnings.len() == 2
            && warnings[0].contains("'*.Green.config => *.config' finds nothing")
            && warnings[1].contains("sites/Api.config"),
        "{warnings:?}"
    );
}

#[test]
fn a_value_that_cannot_stand_in_its_place_fails() {
    let mut bench = Bench::new();
    let mut files = site("1.0");
    files.insert("o.json".to_owned(), b"{\"o\": {\"a\": 1}}".to_vec());
    deliver(&mut bench, "1.0", &files);
    bench.variables = vec![("o".to_owned(), "text".to_owned())];
    let error = message(run(&bench, json!({"structured": "o.json"})));
    assert!(
        error.starts_with("structured: o.json: 'o' stays as it was"),
        "{error}"
    );
    assert!(versions(&bench).is_empty());
}

#[test]
fn the_same_again_only_switches_and_other_values_make_another_folder() {
    let mut bench = Bench::new();
    let with = || json!({"substitute": "**/*.html"});
    deliver(&mut bench, "1.0", &site("1.0"));
    bench.variables = vec![("SiteName".to_owned(), "A".to_owned())];
    install(&bench, with());
    install(&bench, with());
    assert_eq!(versions(&bench), ["1.0"]);
    assert!(bench.said.text().contains("installed already"));
    // A variable that no file uses changes nothing.
    bench.variables.push(("Other".to_owned(), "x".to_owned()));
    install(&bench, with());
    assert_eq!(versions(&bench), ["1.0"]);
    bench.variables = vec![("SiteName".to_owned(), "B".to_owned())];
    install(&bench, with());
    assert_eq!(versions(&bench), ["1.0", "1.0_1"]);
    assert_eq!(current(&bench), "1.0_1");
    // Back to the first values: the first folder, at once.
    bench.variables = vec![("SiteName".to_owned(), "A".to_owned())];
    install(&bench, with());
    assert_eq!(versions(&bench), ["1.0", "1.0_1"]);
    assert_eq!(current(&bench), "1.0");
}

#[test]
fn an_unresolved_token_is_a_warning_with_its_place_and_stays() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({"substitute": ["index.html"]}));
    let warnings = bench.said.warnings();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("index.html, line 1, column 9"),
        "{warnings:?}"
    );
    assert!(
        fs::read_to_string(home(&bench).join("1.0/index.html"))
            .unwrap()
            .contains("#{SiteName}")
    );
}

#[test]
fn a_file_that_needs_what_was_withheld_is_not_written_and_nothing_is_installed() {
    let mut bench = Bench::new();
    let utf16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect()
    };
    let mut files = site("1.0");
    files.insert("web.config".to_owned(), utf16("<key>#{ApiKey}</key>"));
    deliver(&mut bench, "1.0", &files);
    bench.variables = vec![("SiteName".to_owned(), "OctoFX".to_owned())];
    files.extend(dotnet_site().split_off("Web.config"));
    for (path, text) in [
        ("app.yaml", "log:\n  a: 1\n"),
        ("patched.yaml", "# patch: Patch\na: 1\n"),
    ] {
        files.insert(path.to_owned(), text.as_bytes().to_vec());
    }
    deliver(&mut bench, "1.0", &files);
    bench.withheld = ["ApiKey", "port", "Log", "Patch", "Db"]
        .map(str::to_owned)
        .to_vec();
    let told = "which is a secret, or reaches one, that this action was not given; name it under secrets: of the action";
    for (with, why) in [
        (
            json!({"substitute": "web.config"}),
            "substitute: web.config needs 'ApiKey'",
        ),
        (
            json!({"structured": "appsettings.json"}),
            "structured: appsettings.json needs 'port'",
        ),
        (
            json!({"structured": "app.yaml"}),
            "structured: app.yaml needs 'Log'",
        ),
        (
            json!({"structured": "patched.yaml"}),
            "structured: patched.yaml needs 'Patch'",
        ),
        (
            json!({"dotnet_config": "Web.config"}),
            "dotnet_config: Web.config needs 'Db'",
        ),
    ] {
        assert_eq!(message(run(&bench, with)), format!("{why}, {told}"));
        assert!(!home(&bench).join("1.0").exists());
    }
    // What needs none of them goes on.
    install(&bench, json!({"substitute": ["index.html"]}));
    bench.withheld.clear();
    bench.variables.push(("ApiKey".to_owned(), "k".to_owned()));
    install(&bench, json!({"substitute": "web.config"}));
    let written = fs::read(home(&bench).join(current(&bench)).join("web.config")).unwrap();
    assert_eq!(written, utf16("<key>k</key>"));
}

/// Reference section 1.4: a missing variable in a file is a warning, an error if the first variable says so,
/// and a warning again if the second does.
#[test]
fn a_token_without_a_value_in_a_file_is_a_failure_where_the_variables_say_so() {
    let fail = "OctopusShouldFailDeploymentOnSubstitutionFails";
    let ignore = "Octopus.Action.Package.IgnoreVariableReplacementErrors";
    for (variables, fails) in [
        (vec![], false),
        (vec![(fail, "True")], true),
        (vec![(fail, "false")], false),
        (vec![(fail, "true"), (ignore, "True")], false),
        (vec![(fail, "true"), ("SiteName", "x")], false),
    ] {
        let mut bench = Bench::new();
        deliver(&mut bench, "1.0", &site("1.0"));
        let named = variables.iter();
        bench.variables = named
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let done = run(&bench, json!({"substitute": ["index.html"]}));
        assert_eq!(done.is_err(), fails, "{variables:?}");
        if fails {
            let why = message(done);
            assert!(
                why.contains("index.html") && why.contains("SiteName"),
                "{why}"
            );
        }
    }
}

/// Reference section 1.4: the folder of the version, also in its own files and in variables.
#[test]
fn files_can_name_the_folder_that_they_are_in_and_going_back_is_a_switch_all_the_same() {
    let mut bench = Bench::new();
    let mut files = site("1.0");
    let own = b"root=#{Octopus.Action.Package.InstallationDirectoryPath} #{SiteName}".to_vec();
    files.insert("app.conf".to_owned(), own);
    deliver(&mut bench, "1.0", &files);
    let with = json!({"substitute": ["app.conf"], "structured": "appsettings.json"});
    let set = |bench: &mut Bench, name: &str| {
        let logs = "#{octopus.action.package.installationDirectoryPath}/logs";
        bench.variables = vec![
            ("SiteName".to_owned(), name.to_owned()),
            ("Name".to_owned(), logs.to_owned()),
        ];
    };
    for (name, folder) in [("a", "1.0"), ("a", "1.0"), ("b", "1.0_1"), ("a", "1.0")] {
        set(&mut bench, name);
        install(&bench, with.clone());
        assert_eq!(current(&bench), folder, "{name}");
        let folder = home(&bench).join(folder);
        let text = fs::read_to_string(folder.join("app.conf")).unwrap();
        assert_eq!(text, format!("root={} {name}", folder.display()));
        let settings = fs::read_to_string(folder.join("appsettings.json")).unwrap();
        let settings: Value = serde_json::from_str(&settings).unwrap();
        assert_eq!(settings["Name"], format!("{}/logs", folder.display()));
    }
    assert_eq!(versions(&bench), ["1.0", "1.0_1"]);
    let place = ("production", "octofx");
    let used = in_use(&bench.state_dir.apps(), place, "OctoFX.Web");
    let one = InUse {
        folder: home(&bench).join("1.0"),
        version: "1.0".to_owned(),
        custom: None,
    };
    assert_eq!(used, Some(one));
}

#[test]
fn earlier_versions_are_kept_by_use_and_the_current_one_never_goes() {
    let mut bench = Bench::new();
    for version in ["1.0", "1.1", "1.2", "1.3"] {
        deliver(&mut bench, version, &site(version));
        install(&bench, json!({"keep": "2"}));
    }
    assert_eq!(versions(&bench), ["1.1", "1.2", "1.3"]);
    // Going back to 1.1 makes 1.2 the least recently used but for one.
    deliver(&mut bench, "1.1", &site("1.1"));
    install(&bench, json!({"keep": 1}));
    assert_eq!(current(&bench), "1.1");
    assert_eq!(versions(&bench), ["1.1", "1.3"]);
    install(&bench, json!({"keep": 0}));
    assert_eq!(versions(&bench), ["1.1"]);
}

/// Undoes what the step's installation switched.
fn back(bench: &Bench) -> Result<ActionReport, ActionError> {
    let with = json!({"package": "octofx.WEB", "action": "Install"});
    bench.run(&Back, with)
}

#[test]
fn the_version_that_was_in_use_before_is_in_use_again_however_often_that_is_said() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({}));
    bench.task = 2;
    deliver(&mut bench, "1.1", &site("1.1"));
    // Nothing was switched by this task yet.
    back(&bench).unwrap();
    assert_eq!(current(&bench), "1.0");
    // Tried again with another configuration there are two folders of it.
    install(&bench, json!({}));
    bench.variables = vec![("SiteName".to_owned(), "OctoFX".to_owned())];
    install(&bench, json!({"substitute": ["**/*.html"], "keep": 2}));
    assert_eq!(current(&bench), "1.1_1");
    for _ in 0..2 {
        back(&bench).unwrap();
        assert_eq!(current(&bench), "1.0");
    }
    assert_eq!(
        bench.said.variable("Package.Version"),
        Some("1.0".to_owned())
    );
    // A later task's version is left alone by who comes late.
    bench.task = 3;
    install(&bench, json!({}));
    bench.task = 2;
    back(&bench).unwrap();
    assert_eq!(current(&bench), "1.1");
    // The same version once more switches nothing, so that there is nothing to undo.
    bench.task = 4;
    install(&bench, json!({}));
    back(&bench).unwrap();
    assert_eq!(current(&bench), "1.1");
}

#[test]
fn what_is_not_there_any_more_or_never_was_cannot_be_put_back_and_says_so() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({}));
    let first = message(back(&bench));
    assert!(
        first.contains("no version of OctoFX.Web was in use here before 1.0"),
        "{first}"
    );
    bench.task = 2;
    deliver(&mut bench, "1.1", &site("1.1"));
    install(&bench, json!({"keep": 0}));
    let gone = message(back(&bench));
    assert!(
        gone.contains("1.0, which was in use before 1.1, is not on this machine"),
        "{gone}"
    );
    assert_eq!(current(&bench), "1.1", "nothing is switched");
}

#[test]
fn a_folder_that_lost_its_record_is_not_taken_for_the_version_and_what_happens_instead_is_said() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({}));
    bench.task = 2;
    deliver(&mut bench, "1.1", &site("1.1"));
    install(&bench, json!({}));
    let record = |folder: &str| home(&bench).join(format!("{folder}.mantle-install.json"));
    let of_new = fs::read(record("1.1")).unwrap();
    for (damage, what) in [(None, "is missing"), (Some("{"), "cannot be read")] {
        fs::remove_file(record("1.0")).ok();
        if let Some(text) = damage {
            fs::write(record("1.0"), text).unwrap();
        }
        let said = message(back(&bench));
        let why = format!(
            "1.0, which was in use before 1.1, cannot be taken for what it was: {} is there, and its record {} {what}",
            home(&bench).join("1.0").display(),
            record("1.0").display()
        );
        assert!(said.contains(&why), "{said}");
        assert!(
            said.contains("1.1 stays in use. Deploy the release that 1.0 came with"),
            "{said}"
        );
        assert_eq!(current(&bench), "1.1", "nothing is switched");
    }
    // Without the record of what is in use an undo is not said to have had nothing to do.
    fs::remove_file(record("1.1")).unwrap();
    let said = message(back(&bench));
    assert!(
        said.contains("it is not known whether 'Install' of this deployment brought 1.1 into use"),
        "{said}"
    );
    assert_eq!(current(&bench), "1.1");
    fs::write(record("1.1"), of_new).unwrap();
    // Its release, deployed again, is installed anew beside the folder, which is left as it is.
    fs::write(home(&bench).join("1.0/index.html"), "somebody's").unwrap();
    bench.task = 3;
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({}));
    assert_eq!(current(&bench), "1.0_1");
    assert!(
        bench
            .said
            .text()
            .contains("it is left alone, and OctoFX.Web 1.0 is brought in again"),
        "{}",
        bench.said.text()
    );
    let left = fs::read_to_string(home(&bench).join("1.0/index.html")).unwrap();
    assert_eq!(left, "somebody's");
    // What is known again can be undone again.
    back(&bench).unwrap();
    assert_eq!(current(&bench), "1.1");
}

#[test]
fn a_kill_before_the_switch_leaves_nothing_to_undo() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({}));
    bench.task = 2;
    deliver(&mut bench, "1.1", &site("1.1"));
    install(&bench, json!({}));
    // As if the record had been written and the switch had not been made.
    let link = home(&bench).join("current");
    if cfg!(unix) {
        fs::remove_file(&link).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("1.0", &link).unwrap();
        back(&bench).unwrap();
        assert_eq!(current(&bench), "1.0");
    }
}

#[test]
fn s78_what_a_kill_leaves_is_swept_and_never_current() {
    let mut bench = Bench::new();
    deliver(&mut bench, "1.0", &site("1.0"));
    install(&bench, json!({}));
    let home = home(&bench);
    // Killed while building, after the record but before the rename, and while switching.
    fs::create_dir_all(home.join(".staging-x/half")).unwrap();
    fs::create_dir_all(home.join(".removing-y/half")).unwrap();
    let record = fs::read_to_string(home.join("1.0.mantle-install.json")).unwrap();
    fs::write(
        home.join("1.1.mantle-install.json"),
        record.replace("\"1.0\"", "\"1.1\""),
    )
    .unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("1.1", home.join(".current-z")).unwrap();
    // Somebody's own folder is not ours to remove.
    fs::create_dir(home.join("notes")).unwrap();
    assert_eq!(current(&bench), "1.0");
    deliver(&mut bench, "1.1", &site("1.1"));
    install(&bench, json!({"keep": 0}));
    assert_eq!(current(&bench), "1.1");
    assert_eq!(versions(&bench), ["1.1", "notes"]);
    assert!(home.join("1.1/index.html").exists());
}

#[test]
fn what_cannot_be_is_refused_before_anything_appears() {
    let mut bench = Bench::new();
    let mut files = site("1.0");
    files.insert("bad.json".to_owned(), b"{,}".to_vec());
    deliver(&mut bench, "1.0", &files);
    let error = message(run(&bench, json!({"package": "Other"})));
    assert!(error.contains("the step uses: OctoFX.Web"), "{error}");
    let error = message(run(&bench, json!({"packages": "x"})));
    assert!(error.contains("unknown field"), "{error}");
    let error = message(run(&bench, json!({"structured": ["nothing.json"]})));
    assert!(error.contains("matches no file"), "{error}");
    let error = message(run(&bench, json!({"structured": ["bad.json"]})));
    assert!(error.starts_with("structured: bad.json:1:"), "{error}");
    assert!(versions(&bench).is_empty());
    bench.stop.stop();
    assert_eq!(run(&bench, json!({})), Err(ActionError::Stopped));
    assert!(versions(&bench).is_empty());
}

#[test]
fn a35_names_lead_nowhere_else() {
    for (name, folder) in [
        ("production", "production"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("..", "%2E%2E"),
        ("x.", "x%2E"),
        ("con", "con%00"),
        ("current", "current%00"),
        ("", "%00"),
    ] {
        assert_eq!(place::folder_name(name), folder);
    }
}
