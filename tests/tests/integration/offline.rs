//! Commands that need no server: templates and versions, as the binary does them.

#[cfg(target_os = "linux")]
use std::process::Stdio;

use mantle_tests::World;
use mantle_tests::binaries::binary;
use mantle_tests::cli::Cli;
use serde_json::{Value, json};
#[cfg(target_os = "linux")]
use tokio::io::AsyncReadExt as _;

#[cfg(target_os = "linux")]
use crate::fleet::SOON;

/// A world with nothing in it: whatever works here works without a server and without a login.
fn alone(files: &[(&str, &[u8])]) -> (World, Cli) {
    let world = World::new();
    for (name, bytes) in files {
        std::fs::write(world.path(name), bytes).unwrap();
    }
    let cli = Cli::new(&world, &binary("mantle"));
    (world, cli)
}

fn path(world: &World, name: &str) -> String {
    world.path(name).display().to_string()
}

#[tokio::test]
async fn a_template_is_rendered_to_the_byte() {
    let escape = "\u{1b}[31mred\u{1b}[0m \u{feff}\r\n#{each x in L}#{x.Key}=#{x};#{/each}\n\n";
    let (world, cli) = alone(&[
        (
            "v.json",
            b"\xef\xbb\xbf{\"L[z]\":\"1\",\"L[a]\":\"2\",\"N\":null}",
        ),
        ("escape.txt", escape.as_bytes()),
        ("short.txt", b"<#{N}>"),
    ]);
    let variables = path(&world, "v.json");
    let render = [
        "template",
        "render",
        "--variables",
        &variables,
        "--template",
    ];
    let output = cli
        .run(&[&render[..], &[&path(&world, "escape.txt")]].concat())
        .await
        .ok();
    assert_eq!(
        output.stdout,
        "\u{1b}[31mred\u{1b}[0m \u{feff}\r\nz=1;a=2;\n\n"
    );
    assert_eq!(output.stderr, "");
    let output = cli
        .run(&[&render[..], &[&path(&world, "short.txt")]].concat())
        .await
        .ok();
    assert_eq!(output.stdout, "<>");
    let output = cli
        .run_with_input(&[&render[..], &["-"]].concat(), b"#{L[a]}")
        .await
        .ok();
    assert_eq!(output.stdout, "2");
}

#[tokio::test]
async fn what_is_left_over_is_a_warning_or_with_strict_the_end() {
    let (world, cli) = alone(&[
        ("v.json", br##"{"A":"v","Loop":"#{Loop}"}"##),
        ("t.txt", b"#{A} #{Gone}\n#{A | Nope} #{Loop} #{oops"),
    ]);
    let (variables, template) = (path(&world, "v.json"), path(&world, "t.txt"));
    let line = [
        "template",
        "render",
        "--variables",
        &variables,
        "--template",
        &template,
    ];
    let output = cli.run(&line).await.ok().complains(&[
        "t.txt: line 1, column 6: '#{Gone}' has no value",
        "line 2, column 1: '#{A | Nope}' names the filter 'Nope'",
        "Loop -> Loop",
        "line 2, column 21: '#{oops'",
    ]);
    assert_eq!(output.stdout, "v #{Gone}\n#{A | Nope} #{Loop} #{oops");
    assert_eq!(output.stderr.matches("warning:").count(), 4, "{output}");
    let strict = cli
        .run(&[&line[..], &["--strict"]].concat())
        .await
        .exit(7)
        .complains(&[
            "t.txt cannot be rendered completely",
            "'#{Gone}'",
            "'#{oops'",
        ]);
    assert_eq!(strict.stdout, "");
    let answer = cli
        .run(&[&line[..], &["-o", "json"]].concat())
        .await
        .ok()
        .json();
    assert_eq!(answer["unresolved"], json!(["#{Gone}", "#{A | Nope}"]));
    assert!(answer["error"].is_string());

    std::fs::write(&variables, br#"{"A":"v","Gone":"","Port":80}"#).unwrap();
    cli.run(&line)
        .await
        .exit(7)
        .complains(&["v.json", "'Port'", "\"80\""]);
    cli.run(&["template", "render", "--template", "nowhere.txt"])
        .await
        .exit(7)
        .complains(&["nowhere.txt"]);
    std::fs::write(&template, b"\xff#{A}").unwrap();
    cli.run(&["template", "render", "--template", &template])
        .await
        .exit(7)
        .complains(&["offset 0"]);
    cli.run(&["template", "render"]).await.exit(2);
    cli.run(&["template", "render", "--template", "-", "--variables", "-"])
        .await
        .exit(2);
}

#[tokio::test]
async fn a_batch_is_answered_line_by_line() {
    let lines = concat!(
        "{\"id\":\"a\",\"template\":\"Hi #{Name}\",\"variables\":{\"Name\":\"Ann\"}}\n",
        "{\"id\":7,\"template\":\"#{Gone} #{oops\",\"variables\":{}}\n",
    );
    let (world, cli) = alone(&[("cases.jsonl", lines.as_bytes())]);
    let cases = path(&world, "cases.jsonl");
    let line = ["template", "render", "--batch", &cases];
    let output = cli.run(&line).await.ok();
    let answers: Vec<Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        answers[0],
        json!({"id": "a", "text": "Hi Ann", "unresolved": [], "error": null})
    );
    assert_eq!(answers[1]["id"], 7);
    assert_eq!(answers[1]["text"], "#{Gone} #{oops");
    assert_eq!(answers[1]["unresolved"], json!(["#{Gone}"]));
    let strict = cli.run(&[&line[..], &["--strict"]].concat()).await.exit(7);
    assert_eq!(strict.stdout, output.stdout);
    // What cannot be read is answered in its place, and the rest after it.
    let input = b"{}\n{\"id\":9,\"template\":\"on it goes\"}\n";
    let mended = cli
        .run_with_input(&["template", "render", "--batch", "-"], input)
        .await
        .exit(7)
        .complains(&["-:1", "1 of 2 lines"]);
    let answers: Vec<Value> = mended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2, "{mended}");
    assert_eq!(answers[0]["id"], Value::Null);
    assert!(
        answers[0]["error"].as_str().unwrap().starts_with("-:1: "),
        "{mended}"
    );
    assert_eq!(answers[1]["text"], "on it goes");
}

/// A file of 10 MB takes less than twice its size, besides what the program itself takes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_large_file_takes_little_memory() {
    const SIZE: usize = 10_000_000;
    let token = format!("{}#{{Name}}\n", "some text without tags ".repeat(40));
    let many = "#{if Name}#{Name}#{/if}#{Gone}";
    for (name, piece) in [("few tags", token.as_str()), ("a million tags", many)] {
        let (large, small) = (
            piece.repeat(SIZE / piece.len()),
            piece.repeat(250_000 / piece.len()),
        );
        let (world, cli) = alone(&[
            ("v.json", b"{\"Name\":\"12345\"}"),
            ("large.txt", large.as_bytes()),
            ("small.txt", small.as_bytes()),
        ]);
        let (result, peak) = rendered(&cli, &path(&world, "large.txt")).await;
        let (_, program) = rendered(&cli, &path(&world, "small.txt")).await;
        assert!(result > SIZE / 3, "{name}: {result} bytes");
        let taken = peak.saturating_sub(program);
        assert!(
            taken < 2 * SIZE,
            "{name} took {taken} bytes, the program {program}"
        );
    }
}

/// The size of a result that does not fit into a pipe, and the most memory that making it took.
#[cfg(target_os = "linux")]
async fn rendered(cli: &Cli, template: &str) -> (usize, usize) {
    let line = [
        "template",
        "render",
        "--variables",
        "v.json",
        "--template",
        template,
    ];
    let mut child = tokio::process::Command::from(cli.command(&line))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let id = child.id().expect("a child that nobody has waited for");
    let mut result = child.stdout.take().expect("its standard output");
    // It cannot end before all has been read, so its peak can be seen as long as that goes on.
    let mut piece = vec![0; 64 * 1024];
    let (mut size, mut peak) = (0, 0);
    loop {
        let read = tokio::time::timeout(SOON, result.read(&mut piece)).await;
        let read = read.expect("a result in time").unwrap();
        if read == 0 {
            break;
        }
        size += read;
        peak = peak_bytes(id).unwrap_or(peak);
    }
    assert!(child.wait().await.unwrap().success());
    (size, peak)
}

#[cfg(target_os = "linux")]
fn peak_bytes(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[tokio::test]
async fn versions_are_sorted_and_judged() {
    let (_world, cli) = alone(&[]);
    let output = cli
        .run_with_input(
            &["version", "sort"],
            b"1.10\n1.9\n\n1.10-rc.1\r\n01.2.0.0\n",
        )
        .await
        .ok();
    assert_eq!(output.stdout, "01.2.0.0\n1.9\n1.10-rc.1\n1.10\n");
    let output = cli
        .run_with_input(&["version", "sort", "-o", "json"], b"2\n1")
        .await
        .ok();
    assert_eq!(output.json()["items"], json!(["1", "2"]));
    let nothing = cli.run_with_input(&["version", "sort"], b"\n").await.ok();
    assert_eq!(nothing.stdout, "");
    cli.run_with_input(&["version", "sort"], b"1.0\nlatest\n")
        .await
        .exit(7)
        .complains(&["line 2", "'latest'"]);
    for (range, prerelease, version, code) in [
        ("[1.0,2.0)", None, "1.5", 0),
        ("[1.0,2.0)", None, "2.0", 1),
        ("[1.0,2.0)", Some("^$"), "1.5", 0),
        ("[1.0,2.0)", Some("^$"), "1.5-rc", 1),
        ("[1.0,2.0)", Some("(?<!hot)fix"), "1.5-hotfix", 1),
        ("[1.0,2.0)", Some("-x$"), "1.5-a-x", 0),
        ("[1.0", None, "1.5", 7),
        ("(,)", None, "1.5", 7),
        ("1.0", Some("("), "1.5", 7),
        ("1.0", None, "1.5.", 7),
    ] {
        let mut line = vec!["version", "match", "--range", range];
        line.extend(prerelease.iter().flat_map(|regex| ["--prerelease", *regex]));
        line.push(version);
        let output = cli.run(&line).await.exit(code);
        assert_eq!(output.stderr.is_empty(), code != 7, "{output}");
    }
    let output = cli
        .run(&["version", "match", "--range", "1.0", "0.9", "-o", "json"])
        .await
        .exit(1);
    assert_eq!(output.json()["matches"], false);
    cli.run(&["version", "match", "1.0"]).await.exit(2);
}
