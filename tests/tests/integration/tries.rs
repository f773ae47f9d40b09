//! `tentacle try` as a person types it: an action here, without a server.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use mantle_tests::binaries::binary;
use mantle_tests::wait::wait_until;

use crate::fleet::SOON;

/// The command, with a folder for what it leaves behind, which must stay empty.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let temp = folder.join("temp");
    std::fs::create_dir_all(&temp).unwrap();
    let mut command = Command::new(binary("tentacle"));
    command
        .arg("try")
        .args(arguments)
        .current_dir(folder)
        .env("TMPDIR", &temp)
        .env("TENTACLE_DATA", folder.join("state"));
    command
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> (Output, String, String) {
    let output = command(folder, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let left: Vec<_> = std::fs::read_dir(folder.join("temp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!folder.join("state").exists(), "no agent is touched");
    (output, out, err)
}

#[test]
fn an_action_runs_as_in_a_deployment_with_its_secrets_masked() {
    let action = r##"
- action: Look
  uses: script
  retries: { count: 3 }
  with:
    substitute: true
    run: |
      echo "#{Greeting}, $WHO and $PIN on $MANTLE_ACTION"
      echo "to the side" >&2
      write_verbose "a detail"
      write_warning "careful"
      set_octopusvariable Url "http://#{Greeting}"
      set_octopusvariable Key "$PIN" -sensitive
      printf 'report' > report.txt
      new_octopusartifact "$PWD/report.txt"
"##;
    let variables = r#"[{"name": "Greeting", "value": "hello #{Who}"}, {"name": "Who", "value": "world"},
        {"name": "Pin", "value": "hunter22", "sensitive": true}]"#;
    let folder = folder(&[("a.yaml", action), ("v.json", variables)]);
    let arguments = ["a.yaml", "--variables", "v.json"];
    let (output, out, err) = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert_eq!(
        out,
        "hello world, world and ******** on Look\nwarning: careful\n"
    );
    for line in [
        "warning: 'retries' is heeded by the server alone",
        "to the side\n",
        "-- output Url = http://hello world\n",
        "-- output Key = ********\n",
        "-- artifact report.txt (6 bytes)\n",
        "-- succeeded in ",
    ] {
        assert!(err.contains(line), "{line}\n{err}");
    }
    assert!(
        !err.contains("a detail") && !err.contains("hunter22"),
        "{err}"
    );
    let (_, out, _) = run(folder.path(), &[&arguments[..], &["--verbose"]].concat());
    assert!(out.contains("a detail"), "{out}");
    // The same by a word on the command line.
    let plain = r#"{"Greeting": "hello", "Who": "you", "Pin": "hunter22"}"#;
    std::fs::write(folder.path().join("p.json"), plain).unwrap();
    let (_, out, err) = run(
        folder.path(),
        &["a.yaml", "--variables", "p.json", "--sensitive", "pin"],
    );
    assert!(out.contains("you and ********"), "{out}{err}");
}

#[test]
fn failures_have_the_codes_of_the_manual() {
    let files = [
        (
            "fails.yaml",
            "{ uses: script, with: { run: 'fail_step \"no room\"' } }",
        ),
        (
            "late.yaml",
            "{ uses: script, timeout: 200ms, grace: 1s, with: { run: sleep 100 } }",
        ),
        ("wrong.yaml", "uses: script\nwith:\n  run: x #{Y}\n"),
        ("input.yaml", "{ uses: script, with: { rum: x } }"),
        ("package.yaml", "{ uses: package, with: { package: Web } }"),
        (
            "manual.yaml",
            "{ uses: manual, with: { instructions: look } }",
        ),
        ("list.json", "[1]"),
    ];
    let folder = folder(&files);
    for (arguments, code, words) in [
        (&["fails.yaml"][..], 3, "no room"),
        (&["late.yaml"], 3, "stopped at its deadline"),
        (&["input.yaml"], 3, "rum"),
        (
            &["wrong.yaml"],
            7,
            "wrong.yaml:3:10: not YAML: YAML takes what begins",
        ),
        (
            &["fails.yaml", "--variables", "list.json"],
            7,
            "list.json: entry 1",
        ),
        (&["package.yaml"], 6, "mantle deploy"),
        (&["manual.yaml"], 6, "mantle plan"),
        (&["gone.yaml"], 5, "gone.yaml"),
        (&["fails.yaml", "--sensitive", "Pin"], 5, "--sensitive Pin"),
        (&[], 2, "ACTION"),
    ] {
        let (output, out, err) = run(folder.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {out}{err}"
        );
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
}

#[tokio::test]
async fn ctrl_c_stops_the_whole_tree_and_leaves_nothing() {
    let run_it = "trap 'echo goodbye; exit 1' TERM; : > begun; (while :; do sleep 0.1; done) & while :; do sleep 0.05; done";
    let yaml = format!("{{ uses: script, grace: 20s, with: {{ run: {run_it:?} }} }}");
    let folder = folder(&[("a.yaml", &yaml)]);
    let mut child = command(folder.path(), &["a.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let temp = folder.path().join("temp");
    let begun = || {
        let tries = std::fs::read_dir(&temp).unwrap().flatten();
        tries
            .flat_map(|one| {
                std::fs::read_dir(one.path().join("attempts"))
                    .into_iter()
                    .flatten()
                    .flatten()
            })
            .any(|attempt| attempt.path().join("work/begun").exists())
    };
    wait_until("the script is at work", SOON, begun).await;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    wait_until("it ends", SOON, || child.try_wait().unwrap().is_some()).await;
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(20), "{out}{err}");
    assert!(out.contains("goodbye"), "{out}{err}");
    assert!(
        err.contains("-- stopping it") && err.contains("cancelled"),
        "{err}"
    );
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0);
}
