//! `tentacle config apply`, `transform` and `substitute` as a person types them.

use std::path::Path;
use std::process::{Command, Output};

use mantle_tests::binaries::binary;

const YAML: &str = "server:\n  port: 80 # plain\nname: 'shop'\n";

fn tentacle(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary("tentacle"))
        .args(arguments)
        .current_dir(folder)
        .env("TENTACLE_DATA", folder.join("state"))
        .output()
        .unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The command fails with this code and these words, and every file is as it was.
fn refused(files: &[(&str, &str)], arguments: &[&str], code: i32, words: &str) {
    let folder = folder(files);
    let before = names(folder.path());
    let output = tentacle(folder.path(), arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
    assert_eq!(names(folder.path()), before, "nothing is left beside");
    for (name, before) in files {
        assert_eq!(text(folder.path(), name), *before, "{name}");
    }
}

#[test]
fn variables_go_into_a_file_in_place_and_its_rights_stay() {
    let variables = r##"{"Port": 8080, "Server:Port": "#{Port}", "Unused": "x"}"##;
    let folder = folder(&[("v.json", variables), ("a.yaml", YAML)]);
    let path = folder.path().join("a.yaml");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let arguments = ["config", "apply", "--variables", "v.json", "a.yaml"];
    let printed = tentacle(folder.path(), &[&arguments[..], &["--print"]].concat());
    let expected = YAML.replace("80", "8080");
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), expected);
    assert_eq!(
        text(folder.path(), "a.yaml"),
        YAML,
        "printing changes nothing"
    );
    let done = tentacle(folder.path(), &arguments);
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(said, "a.yaml: set Server:Port in YAML\n");
    assert_eq!(text(folder.path(), "a.yaml"), expected);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
    let again = tentacle(
        folder.path(),
        &[&arguments[..], &["--format", "yaml"]].concat(),
    );
    assert!(again.status.success(), "the same again changes nothing");
}

#[test]
fn what_cannot_be_applied_leaves_the_file_and_exits_7() {
    let variables = ("v.json", "{\"a\": \"1\"}");
    let apply = ["config", "apply", "--variables", "v.json"];
    for (file, content, words) in [
        ("a.json", "{\n  \"a\": [1\n", "a.json:3:1: not JSON"),
        ("a.yaml", "a: 1\n b: 2\n", "a.yaml:2:"),
        ("a.xml", "<a>\n</b>", "a.xml:2:1: not XML"),
        (
            "a.xml",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "not expanded",
        ),
        (
            "a.properties",
            "a=\\u12",
            "a.properties:1:3: not properties",
        ),
    ] {
        refused(
            &[variables, (file, content)],
            &[&apply[..], &[file]].concat(),
            7,
            words,
        );
    }
    let file = ("a.yaml", YAML);
    let arguments = [&apply[..], &["a.yaml"]].concat();
    refused(
        &[("v.json", "{\n\"a\" 1}"), file],
        &arguments,
        7,
        "v.json:2:5: not JSON",
    );
    refused(
        &[("v.json", "[1]"), file],
        &arguments,
        7,
        "write an object of names and values",
    );
    refused(&[file], &arguments, 5, "v.json: there is no such file");
    refused(&[variables], &arguments, 5, "a.yaml: there is no such file");
    let huge = "x".repeat(17 << 20);
    refused(
        &[variables, ("a.yaml", &huge)],
        &arguments,
        7,
        "the most that is edited",
    );
}

const WEB: &str = "<configuration>\n  <appSettings>\n    <add key=\"A\" value=\"1\" />\n  </appSettings>\n</configuration>\n";

fn rules(inside: &str) -> String {
    format!(
        "<configuration xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\">{inside}</configuration>"
    )
}

#[test]
fn transforms_are_applied_one_after_the_other() {
    let first = rules(
        "<appSettings><add key=\"A\" value=\"2\" xdt:Transform=\"SetAttributes\" xdt:Locator=\"Match(key)\"/></appSettings>",
    );
    let second = rules("<appSettings><add key=\"B\" xdt:Transform=\"Insert\"/></appSettings>");
    let folder = folder(&[
        ("web.config", WEB),
        ("1.config", &first),
        ("2.config", &second),
    ]);
    let arguments = [
        "config",
        "transform",
        "--transform",
        "1.config",
        "--transform",
        "2.config",
        "web.config",
    ];
    let done = tentacle(folder.path(), &arguments);
    assert!(done.status.success(), "{done:?}");
    let expected = WEB.replace("value=\"1\" />", "value=\"2\" />\n    <add key=\"B\"/>");
    assert_eq!(text(folder.path(), "web.config"), expected);
}

#[test]
fn a_warning_of_a_transform_is_a_failure_unless_it_is_ignored() {
    let rules = rules("<none xdt:Transform=\"Remove\"/><appSettings xdt:Transform=\"Remove\"/>");
    let files = [("web.config", WEB), ("t.config", &*rules)];
    let arguments = [
        "config",
        "transform",
        "--transform",
        "t.config",
        "web.config",
    ];
    refused(
        &files,
        &arguments,
        7,
        "t.config:1:80: no element of the file matches /configuration/none",
    );
    let folder = folder(&files);
    let done = tentacle(
        folder.path(),
        &[&arguments[..], &["--ignore-warnings"]].concat(),
    );
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("warning: t.config:1:80:"));
    assert_eq!(
        text(folder.path(), "web.config"),
        "<configuration>\n</configuration>\n"
    );
    let broken = rules_of_an_unknown_kind();
    refused(
        &[("web.config", WEB), ("t.config", &broken)],
        &arguments,
        7,
        "'Foo' is no transform",
    );
}

fn rules_of_an_unknown_kind() -> String {
    rules("<appSettings xdt:Transform=\"Foo\"/>")
}

#[test]
fn templates_are_replaced_and_what_is_missing_is_a_failure() {
    let variables = ("v.json", "{\"Name\": \"web\"}");
    let arguments = ["config", "substitute", "--variables", "v.json", "a.txt"];
    refused(
        &[variables, ("a.txt", "#{Name} #{None}")],
        &arguments,
        7,
        "None",
    );
    let folder = folder(&[variables, ("a.txt", "\u{feff}#{Name} #{None}\r\n")]);
    let done = tentacle(
        folder.path(),
        &[&arguments[..], &["--ignore-warnings"]].concat(),
    );
    assert!(done.status.success(), "{done:?}");
    assert_eq!(text(folder.path(), "a.txt"), "\u{feff}web #{None}\r\n");
}
