//! One supervisor at a time, run by hand.
#![cfg(unix)]

use std::path::Path;
use std::time::{Duration, Instant};

use mantle_shared::protocol::{Level, Outcome, Record, RecordBody, Stream};
use tentacle::supervisor::files::{self, Claim};

use crate::support::*;

#[test]
fn a_script_runs_and_its_streams_are_kept_apart() {
    let (end, records) = run(&script(1, "echo out; echo err >&2; exit 0"));
    assert_eq!(
        (end.outcome, end.exit_code),
        (Outcome::Succeeded, Some(0)),
        "{}",
        end.message
    );
    let mut found = lines(&records);
    found.sort_by_key(|(_, _, text)| *text);
    assert_eq!(
        found,
        [
            (Stream::Stderr, Level::Error, "err"),
            (Stream::Stdout, Level::Info, "out")
        ]
    );
}

#[test]
fn an_exit_code_fails_the_attempt_and_is_reported() {
    let (end, _) = run(&script(1, "exit 7"));
    assert_eq!((end.outcome, end.exit_code), (Outcome::Failed, Some(7)));
    assert!(end.message.contains("exit code 7"), "{}", end.message);
    let (end, _) = run(&script(1, "kill -9 $$"));
    assert_eq!((end.outcome, end.exit_code), (Outcome::Failed, Some(-9)));
}

#[test]
fn variables_arrive_in_the_environment_and_by_function_without_loss() {
    let nasty = "it's \"x\" $HOME `id`\n\ttwo \\ @FOLDED@ \u{e4}";
    let mut order = script(
        1,
        r#"printf '%s|' "$MY_NASTY_VALUE"; get_octopusvariable "my nasty.value"; echo; mantle_get Octopus.Release.Number; echo "|$HIDDEN|$(get_octopusvariable Hidden)|$(get_octopusvariable Nothing)|$1|$2""#,
    );
    order.with.insert(
        "arguments".to_owned(),
        serde_json::json!(["a b", "#{Octopus.Release.Number}"]),
    );
    order.variables = vec![
        variable("My nasty.value", nasty, false),
        variable("Octopus.Release.Number", "1.2.3", false),
    ];
    let mut hidden = variable("Hidden", "not for scripts", false);
    hidden.exported = false;
    order.variables.push(hidden);
    let (end, records) = run(&order);
    assert_eq!(
        end.outcome,
        Outcome::Succeeded,
        "{} {records:?}",
        end.message
    );
    assert_eq!(
        texts(&records).join("\n"),
        format!("{nasty}|{nasty}\n1.2.3||||a b|1.2.3")
    );
}

#[test]
fn a_look_up_of_a_withheld_secret_fails_the_step_in_every_shell() {
    // As scripts are written: the substitution's own exit status is dropped.
    let sh = "name=pass; name=${name}WORD; echo before\necho \"got=$(mantle_get \"$name\")\"\necho after\nexit 0\n";
    let direct = "mantle_get Pass\"WORD\"; echo after; exit 0";
    let python = "print('before')\nprint('got=' + mantle_get('pass' + 'WORD'))\nprint('after')";
    let index = "octopusvariables['Pass' + 'word']; print('after')";
    let cases = [
        ("sh", sh),
        ("sh", direct),
        ("bash", sh),
        ("bash", direct),
        ("python", python),
        ("python", index),
    ];
    for (shell, text) in cases {
        let mut order = script(1, text);
        order.with.insert("shell".to_owned(), shell.into());
        order.variables = vec![variable("Plain", "x", false)];
        order.withheld = vec!["Password".to_owned()];
        let (end, records) = run(&order);
        let shown = format!("{shell} {text}: {end:?} {records:?}");
        assert_eq!(end.outcome, Outcome::Failed, "{shown}");
        let said = texts(&records).join("\n");
        assert!(said.contains("name it under secrets:"), "{shown}");
        assert!(said.to_lowercase().contains("'password'"), "{shown}");
        let went_on = |(stream, _, line): &(Stream, Level, &str)| {
            *stream == Stream::Stdout && (line.contains("after") || line.contains("got="))
        };
        assert!(!lines(&records).iter().any(went_on), "{shown}");
    }
    // What nobody withholds is nothing, as ever.
    let mut order = script(2, "echo \"got=$(mantle_get Nothing)\"");
    order.withheld = vec!["Password".to_owned()];
    let (end, records) = run(&order);
    assert_eq!(end.outcome, Outcome::Succeeded, "{end:?}");
    assert_eq!(texts(&records), ["got="]);
}

#[test]
fn helpers_speak_to_the_server_in_every_shell() {
    let sh = r#"
set_octopusvariable Plain "a
b"
set_octopusvariable Secret s3cr3t-value -sensitive
echo "the secret is s3cr3t-value"
update_progress 40 "half way"
write_warning careful
write_highlight "look here"
fail_step "because I say so"
"#;
    let python = r#"
set_octopusvariable("Plain", "a\nb")
set_octopusvariable("Secret", "s3cr3t-value", True)
print("the secret is s3cr3t-value")
update_progress(40, "half way")
write_warning("careful")
write_highlight("look here")
fail_step("because I say so")
"#;
    for (shell, text) in [("sh", sh), ("bash", sh), ("python", python)] {
        let mut order = script(1, text);
        order.with.insert("shell".to_owned(), shell.into());
        let (end, records) = run(&order);
        let shown = format!("{shell}: {end:?} {records:?}");
        assert_eq!(
            (end.outcome, end.exit_code),
            (Outcome::Failed, Some(1)),
            "{shown}"
        );
        assert_eq!(end.message, "because I say so", "{shown}");
        let bodies: Vec<&RecordBody> = records.iter().map(|record| &record.body).collect();
        assert!(
            matches!(bodies.first().unwrap(), RecordBody::Variable { name, value, sensitive: false } if name == "Plain" && value == "a\nb"),
            "{shown}"
        );
        assert!(
            matches!(bodies.get(1).unwrap(), RecordBody::Variable { name, value, sensitive: true } if name == "Secret" && !value.contains("s3cr3t")),
            "{shown}"
        );
        assert!(
            matches!(bodies.get(3).unwrap(), RecordBody::Progress { percent: 40, message } if message == "half way"),
            "{shown}"
        );
        assert_eq!(
            lines(&records),
            [
                (Stream::Stdout, Level::Info, "the secret is ********"),
                (Stream::Stdout, Level::Warning, "careful"),
                (Stream::Stdout, Level::Highlight, "look here"),
            ],
            "{shown}"
        );
    }
}

#[test]
fn s40_no_file_of_the_attempt_ever_holds_a_secret_in_the_end() {
    let secret = "correct-horse-battery";
    let mut order = script(
        1,
        "printf 'correct-horse'; sleep 0.1; printf -- '-battery\\n'; printf '%s' \"$TOKEN\" | base64; echo \"x$TOKEN\" >&2",
    );
    order.variables = vec![variable("Token", secret, true)];
    let (_dir, state) = state();
    let supervisor = Supervisor::start(&state, &order);
    let dir = supervisor.dir.clone();
    let (end, records) = supervisor.finish();
    assert_eq!(end.outcome, Outcome::Succeeded);
    assert_eq!(
        texts(&records)
            .iter()
            .filter(|line| line.contains("********"))
            .count(),
        3
    );
    let mut files = vec![dir];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                !text.contains(secret) && !text.contains("Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"),
                "{path:?}"
            );
        }
    }
}

#[test]
fn a_text_is_substituted_only_where_it_asks_for_it() {
    let mut order = script(1, "echo '#{Name}'");
    order.variables = vec![variable("Name", "World", false)];
    assert_eq!(texts(&run(&order).1), ["#{Name}"]);
    order.with.insert("substitute".to_owned(), true.into());
    assert_eq!(texts(&run(&order).1), ["World"]);
    order
        .with
        .insert("run".to_owned(), "echo '#{Nobody}'".into());
    let (end, records) = run(&order);
    assert_eq!(end.outcome, Outcome::Failed);
    assert!(end.message.contains("Nobody"), "{}", end.message);
    assert!(records.is_empty());
}

#[test]
fn inputs_that_are_wrong_name_the_key() {
    for (with, word) in [
        (serde_json::json!({"run": "true", "shel": "sh"}), "shel"),
        (serde_json::json!({}), "either 'run'"),
        (serde_json::json!({"run": "x", "shell": "zsh"}), "zsh"),
        (
            serde_json::json!({"package": "A", "file": "x.sh"}),
            "no package 'A'",
        ),
    ] {
        let mut order = script(1, "");
        order.with = with.as_object().unwrap().clone();
        let (end, _) = run(&order);
        assert_eq!(end.outcome, Outcome::Failed);
        assert!(end.message.contains(word), "{}", end.message);
    }
}

#[test]
fn a_deadline_stops_the_step() {
    let mut order = script(1, "echo begun; sleep 100");
    order.timeout_ms = 500;
    let begun = Instant::now();
    let (end, records) = run(&order);
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert_eq!(texts(&records).first().unwrap(), "begun");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn s45_a_cancel_asks_first_then_kills_the_whole_tree_and_keeps_the_last_lines() {
    let (_dir, state) = state();
    let polite = "trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let supervisor = Supervisor::start(&state, &script(1, polite));
    supervisor.wait_for("ready");
    supervisor.cancel(10_000);
    let (end, records) = supervisor.finish();
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(
        texts(&records).contains(&"goodbye".to_owned()),
        "{records:?}"
    );

    let stubborn = "trap '' TERM; (trap '' TERM; setsid sleep 300 & echo child $!; wait) & echo ready; while :; do sleep 0.05; done";
    let supervisor = Supervisor::start(&state, &script(2, stubborn));
    supervisor.wait_for("ready");
    supervisor.wait_for("child");
    let child = texts(&records_of(&supervisor))
        .iter()
        .find_map(|line| line.strip_prefix("child ").map(str::to_owned))
        .unwrap();
    let begun = Instant::now();
    supervisor.cancel(300);
    let (end, _) = supervisor.finish();
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert!(!is_running(&child), "the tree is not dead");
}

fn records_of(supervisor: &Supervisor) -> Vec<Record> {
    records(&supervisor.dir)
}

fn is_running(pid: &str) -> bool {
    match std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap().trim().starts_with('Z'),
        Err(_) => false,
    }
}

#[test]
fn a_cancel_before_the_start_leaves_nothing_to_start() {
    let (_dir, state) = state();
    let order = script(1, "echo never");
    let dir = state.attempt(order.attempt);
    files::prepare(&dir).unwrap();
    files::write_cancel(&dir, files::CancelFile { grace_ms: 0 }).unwrap();
    let (end, records) = Supervisor::start(&state, &order).finish();
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(records.is_empty());
}

#[test]
fn s46_a_grandchild_that_holds_the_output_does_not_hold_the_step() {
    let begun = Instant::now();
    let (end, records) = run(&script(1, "(setsid sleep 300 &) ; echo done"));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(end.outcome, Outcome::Succeeded);
    let said = texts(&records).join("\n");
    assert!(
        said.contains("done") && said.contains("sleep (pid"),
        "{said}"
    );
}

#[test]
fn a_daemon_that_lets_go_of_the_output_lives_on() {
    let (end, records) = run(&script(
        1,
        "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!",
    ));
    assert_eq!(end.outcome, Outcome::Succeeded);
    let pid = texts(&records).first().unwrap().clone();
    assert!(is_running(&pid));
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_hundred_thousand_lines_are_numbered_and_whole() {
    let (end, records) = run(&script(
        1,
        "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo; done >/dev/null; seq 1 100000",
    ));
    assert_eq!((end.outcome, end.records), (Outcome::Succeeded, 100_000));
    for (index, text) in texts(&records).iter().enumerate() {
        assert_eq!(*text, (index + 1).to_string());
    }
}

#[test]
fn a_killed_wake_channel_harms_nobody() {
    let (_dir, state) = state();
    let order = script(1, "echo one; sleep 0.3; echo two; sleep 0.3; exit 3");
    let mut supervisor = Supervisor::start(&state, &order);
    supervisor.close_wakes();
    let (end, records) = supervisor.finish();
    assert_eq!((end.outcome, end.exit_code), (Outcome::Failed, Some(3)));
    assert_eq!(texts(&records), ["one", "two"]);
}

#[test]
fn a_service_managers_sigterm_does_not_end_a_step() {
    let (_dir, state) = state();
    let supervisor = Supervisor::start(&state, &script(1, "echo ready; sleep 0.5; exit 4"));
    supervisor.wait_for("ready");
    let pid = i32::try_from(supervisor.pid()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(supervisor.finish().0.exit_code, Some(4));
}

#[test]
fn s27_a_supervisor_that_comes_after_a_void_claim_starts_nothing() {
    let (_dir, state) = state();
    let order = script(1, "echo never");
    let dir = state.attempt(order.attempt);
    files::prepare(&dir).unwrap();
    assert!(files::take_claim(&dir, &Claim::Void).unwrap());
    let supervisor = Supervisor::start(&state, &order);
    assert_eq!(supervisor.exit_code(), Some(4));
    assert!(files::read_result(&dir, order.attempt).unwrap().is_none());
    assert!(records(&dir).is_empty());
}

#[test]
fn half_an_order_starts_nothing_and_claims_nothing() {
    let (_dir, state) = state();
    let order = script(1, "echo never");
    let dir = state.attempt(order.attempt);
    let supervisor =
        Supervisor::start_with(&state, &order, |bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(supervisor.exit_code(), Some(3));
    assert!(files::read_claim(&dir).unwrap().is_none());
}

/// The most that a supervisor holds in memory, whatever its step prints; the program itself takes most of
/// it. The manual says so too.
const MOST_KIB: u64 = 40 * 1024;

/// Lets a step print this without a line's end, then a line; gives the records that it made.
fn endless(print: &str) -> Vec<Record> {
    let (_dir, state) = state();
    let text = format!("{print}; echo; echo end; while [ ! -e gate ]; do sleep 0.02; done");
    let mut order = script(1, &text);
    order.variables = vec![variable("Token", "aaaab-secret", true)];
    let supervisor = Supervisor::start(&state, &order);
    let last = || {
        let entries = std::fs::read_dir(&supervisor.dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.to_string_lossy().contains("/spool-"))
            .max()
    };
    until("the last line", || {
        let spool = last().and_then(|path| std::fs::read(path).ok());
        let spool = spool.unwrap_or_default();
        let tail = &spool[spool.len().saturating_sub(100)..];
        String::from_utf8_lossy(tail).contains("\tend\n")
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", supervisor.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write(supervisor.dir.join("work/gate"), b"").unwrap();
    let (end, records) = supervisor.finish();
    assert_eq!(end.outcome, Outcome::Succeeded);
    assert!(peak_kib < MOST_KIB, "{print}: {peak_kib} KiB");
    records
}

/// All that stands in pieces and lines but the last, and how many lines that were.
fn joined(records: &[Record]) -> (String, usize) {
    let (mut text, mut lines) = (String::new(), 0);
    for record in records {
        match &record.body {
            RecordBody::Piece { text: piece, .. } => text.push_str(piece),
            RecordBody::Line { text: line, .. } if line != "end" => {
                text.push_str(line);
                lines += 1;
            }
            other => assert!(matches!(other, RecordBody::Line { .. }), "{other:?}"),
        }
    }
    (text, lines)
}

/// A hundred megabytes without a line's end: cut, marked, and never in memory as a whole.
#[test]
fn s37_one_endless_line_stays_small_in_memory() {
    let records = endless("head -c 100000000 /dev/zero | tr '\\0' a");
    let (text, lines) = joined(&records);
    assert_eq!((text.len(), lines), (100_000_000, 1));
}

/// What is no text at all: each NUL and each byte that is not UTF-8 becomes a character that says so.
#[test]
fn s37_a_hundred_megabytes_that_are_no_text_stay_small_in_memory() {
    for (print, bytes) in [
        ("head -c 50000000 /dev/zero", 50_000_000),
        ("head -c 50000000 /dev/zero | tr '\\0' '\\377'", 50_000_000),
    ] {
        let (text, lines) = joined(&endless(print));
        assert_eq!((text.chars().count(), lines), (bytes, 1), "{print}");
        assert!(text.chars().all(|c| c == '\u{fffd}'), "{print}");
    }
    // Noise has line feeds in it; that it neither fails nor grows is all that can be said.
    assert!(!endless("head -c 20000000 /dev/urandom").is_empty());
}
