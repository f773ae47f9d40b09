//! Rendering as the command does it; the binary itself is run by the integration tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use mantle_template::Options;
use serde_json::{Value, json};

use super::batch::{self, Summary};
use super::variables::FlatVariables;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Format, Output};

fn batch(lines: &str) -> Result<(Summary, Vec<Value>), Failure> {
    let mut options = Options::new(jiff::Timestamp::UNIX_EPOCH);
    options.limits.steps = 100_000;
    let mut answers = Vec::new();
    let summary = batch::run(
        lines.as_bytes(),
        "in.jsonl",
        &options,
        Output::new(Format::Table),
        &mut answers,
    )?;
    let answers = String::from_utf8(answers).unwrap();
    let answers = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    Ok((summary, answers.collect()))
}

#[test]
fn each_line_is_answered_in_its_order() {
    let lines = concat!(
        "\u{feff}{\"id\":\"a\",\"template\":\"#{Name}\\n\",\"variables\":{\"Name\":\"x\"}}\r\n",
        "\n",
        "{\"id\":2,\"template\":\"#{Gone} #{Name | Nope}\",\"variables\":{\"Name\":\"x\"},\"expected\":\"?\"}\n",
        "{\"id\":\"c\",\"template\":\"#{A} #{B\",\"variables\":{\"A\":null}}\n",
        "{\"id\":\"d\",\"template\":\"<#{A}>\",\"variables\":{\"A\":\"#{B}\",\"B\":\"#{A}\"}}\n",
        "{\"id\":\"e\",\"template\":\"plain\"}",
    );
    let (summary, answers) = batch(lines).unwrap();
    assert_eq!(
        summary,
        Summary {
            templates: 5,
            incomplete: 3,
            unread: 0
        }
    );
    assert_eq!(
        answers[0],
        json!({"id": "a", "text": "x\n", "unresolved": [], "error": null})
    );
    assert_eq!(
        answers[1],
        json!({"id": 2, "text": "#{Gone} #{Name | Nope}", "unresolved": ["#{Gone}", "#{Name | Nope}"], "error": null})
    );
    assert_eq!(answers[2]["text"], " #{B");
    assert_eq!(answers[2]["unresolved"], json!([]));
    assert!(
        answers[2]["error"]
            .as_str()
            .unwrap()
            .contains("line 1, column 6")
    );
    assert_eq!(answers[3]["text"], "<#{A}>");
    assert!(
        answers[3]["error"]
            .as_str()
            .unwrap()
            .contains("A -> B -> A")
    );
    assert_eq!(answers[4]["text"], "plain");
    assert!(summary.finish(false).is_ok());
    assert_eq!(summary.finish(true).unwrap_err().exit, Exit::Invalid);
}

#[test]
fn a_template_that_grows_without_end_is_an_error_of_its_line() {
    let chain: Vec<String> = (0..60)
        .map(|at| format!("\"v{at}\":\"#{{v{0}}}#{{v{0}}}\"", at + 1))
        .collect();
    let line = format!(
        "{{\"id\":1,\"template\":\"#{{v0}}\",\"variables\":{{{},\"v60\":\"x\"}}}}\n{{\"id\":2,\"template\":\"b\"}}",
        chain.join(",")
    );
    let (_, answers) = batch(&line).unwrap();
    assert_eq!(answers[0]["text"], "#{v0}");
    assert!(answers[0]["error"].is_string());
    assert_eq!(answers[1]["text"], "b");
}

#[test]
fn a_line_that_cannot_be_read_is_answered_in_its_place_and_the_run_goes_on() {
    for (line, id, text, word) in [
        ("{", json!(null), "", "EOF"),
        ("[]", json!(null), "", "invalid"),
        ("{\"id\":1}", json!(1), "", "template"),
        ("{\"template\":\"x\"}", json!(null), "x", "id"),
        (
            "{\"id\":[1],\"template\":\"x\",\"variables\":{\"Port\":80}}",
            json!([1]),
            "x",
            "'Port'",
        ),
    ] {
        let lines =
            format!("{{\"id\":1,\"template\":\"a\"}}\n{line}\n{{\"id\":3,\"template\":\"b\"}}");
        let (summary, answers) = batch(&lines).unwrap();
        assert_eq!((summary.templates, summary.unread), (2, 1), "{line}");
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[1]["id"], id, "{line}");
        assert_eq!(answers[1]["text"], text, "{line}");
        assert_eq!(answers[1]["unresolved"], json!([]));
        let error = answers[1]["error"].as_str().unwrap();
        assert!(error.starts_with("in.jsonl:2: "), "{error}");
        assert!(error.contains(word), "{line}: {error}");
        assert_eq!(
            answers[2],
            json!({"id": 3, "text": "b", "unresolved": [], "error": null})
        );
        // Whether strict or not: a line was lost.
        let failure = summary.finish(false).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(
            failure.message.contains("1 of 3 lines"),
            "{}",
            failure.message
        );
    }
    let (summary, answers) = {
        let mut answers = Vec::new();
        let lines = b"\xff\xfe\n{\"id\":2,\"template\":\"b\"}\n";
        let options = Options::new(jiff::Timestamp::UNIX_EPOCH);
        let out = Output::new(Format::Table);
        let summary = batch::run(&lines[..], "in", &options, out, &mut answers).unwrap();
        (summary, String::from_utf8(answers).unwrap())
    };
    assert_eq!((summary.templates, summary.unread), (1, 1));
    assert_eq!(answers.lines().count(), 2);
}

#[test]
fn variables_keep_the_order_of_the_file() {
    let read: FlatVariables =
        serde_json::from_str(r#"{"L[z]":"1","L[a]":"2","L[m]":null,"l[Z]":"3"}"#).unwrap();
    let pairs: Vec<_> = read.0.iter().collect();
    assert_eq!(
        pairs,
        [("L[z]", Some("3")), ("L[a]", Some("2")), ("L[m]", None)]
    );
    for (text, word) in [
        (r#"{"A":1}"#, "\"1\""),
        (r#"{"A":true}"#, "\"true\""),
        (r#"{"A":{}}"#, "'A'"),
        (r#"["A"]"#, "object of variables"),
    ] {
        let error = serde_json::from_str::<FlatVariables>(text).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
