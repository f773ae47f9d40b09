//! The dialog with somebody who types what a test says.
#![allow(clippy::unwrap_used)]

use super::*;

/// Types these lines, and keeps what was shown.
struct Script {
    lines: Vec<&'static str>,
    shown: String,
}

impl Person for Script {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.shown.push_str(text);
        self.shown.push('\n');
        Ok(())
    }

    fn line(&mut self, question: &str) -> io::Result<Option<String>> {
        self.shown.push_str(question);
        if self.lines.is_empty() {
            return Ok(None);
        }
        let line = self.lines.remove(0);
        self.shown.push_str(line);
        self.shown.push('\n');
        Ok(Some(line.to_owned()))
    }

    fn hidden(&mut self, question: &str) -> io::Result<Option<String>> {
        self.shown.push_str(question);
        self.shown.push('\n');
        Ok((!self.lines.is_empty()).then(|| self.lines.remove(0).to_owned()))
    }
}

fn prompt(variable: &str, control: &str) -> PlanPrompt {
    PlanPrompt {
        variable: variable.to_owned(),
        label: None,
        description: None,
        control: control.to_owned(),
        options: Vec::new(),
        required: false,
        default: None,
        answered: false,
    }
}

fn asked(prompt: &PlanPrompt, lines: &[&'static str]) -> (Result<Option<String>, Failure>, String) {
    let mut person = Script {
        lines: lines.to_vec(),
        shown: String::new(),
    };
    let mut answers = BTreeMap::new();
    let done = dialog(&[prompt], &mut person, &mut answers);
    (
        done.map(|()| answers.remove(&prompt.variable)),
        person.shown,
    )
}

#[test]
fn every_control_takes_what_it_can_and_asks_again_for_the_rest() {
    let required = |prompt: PlanPrompt| PlanPrompt {
        required: true,
        ..prompt
    };
    let default = |prompt: PlanPrompt, text: &str| PlanPrompt {
        default: Some(text.to_owned()),
        ..prompt
    };
    let select = PlanPrompt {
        options: vec!["fast".to_owned(), "8".to_owned(), "slow".to_owned()],
        ..prompt("Mode", "select")
    };
    for (prompt, lines, answer, again) in [
        (prompt("A", "text"), &[" CR-1 "][..], Some("CR-1"), 0),
        (prompt("A", "text"), &[""], None, 0),
        (required(prompt("A", "text")), &["", " ", "x"], Some("x"), 2),
        (required(default(prompt("A", "text"), "d")), &[""], None, 0),
        (
            prompt("A", "multi-line"),
            &["a", "", "b", "."],
            Some("a\n\nb"),
            0,
        ),
        (prompt("A", "multi-line"), &[""], None, 0),
        (prompt("A", "multi-line"), &["a"], Some("a"), 0),
        (prompt("A", "checkbox"), &["maybe", "Y"], Some("True"), 1),
        (prompt("A", "checkbox"), &["no"], Some("False"), 0),
        (prompt("A", "checkbox"), &[""], None, 0),
        (select.clone(), &["1"], Some("fast"), 0),
        (select.clone(), &["slow"], Some("slow"), 0),
        (select.clone(), &["9", "0", "fats", "8"], Some("8"), 3),
        (default(select, "slow"), &[""], None, 0),
        (prompt("A", "sensitive"), &[" s3cret "], Some(" s3cret "), 0),
    ] {
        let (found, shown) = asked(&prompt, lines);
        assert_eq!(found.unwrap().as_deref(), answer, "{prompt:?} {lines:?}");
        assert_eq!(shown.matches("> ").count(), again + 1, "{shown}");
    }
}

#[test]
fn the_question_says_what_it_is_about() {
    let ticket = PlanPrompt {
        label: Some("Change ticket".to_owned()),
        description: Some("Which change\u{1b}[2J this is".to_owned()),
        required: true,
        ..prompt("Ticket", "text")
    };
    let (_, shown) = asked(&ticket, &["x"]);
    assert_eq!(
        shown,
        "Change ticket (Ticket, required)\n  Which change this is\n  > x\n"
    );
    let mode = PlanPrompt {
        options: vec!["fast".to_owned(), "slow".to_owned()],
        default: Some("slow".to_owned()),
        ..prompt("Mode", "select")
    };
    let (_, shown) = asked(&mode, &["1"]);
    assert_eq!(
        shown,
        "Mode\n  1. fast\n  2. slow\n  number or text [slow]> 1\n"
    );
    let pin = PlanPrompt {
        default: Some("hunter2".to_owned()),
        ..prompt("Pin", "sensitive")
    };
    let (_, shown) = asked(&pin, &["s3cret"]);
    assert_eq!(shown, "Pin\n  not shown [the default]> \n");
}

#[test]
fn who_stops_answering_deploys_nothing() {
    for control in ["text", "checkbox", "sensitive"] {
        let (found, _) = asked(&prompt("Ticket", control), &[]);
        let failure = found.unwrap_err();
        assert_eq!(failure.exit, Exit::Cancelled);
        assert!(failure.message.contains("'Ticket'"), "{failure:?}");
    }
}

#[test]
fn keys_that_are_not_seen_do_what_they_do_elsewhere() {
    for (keys, expected) in [
        (&b"s3cret\n"[..], Some("s3cret")),
        (b"a\x7fb\x08c\r", Some("c")),
        (b"wrong\x15right\n", Some("right")),
        ("pé\x7fa\n".as_bytes(), Some("pa")),
        (b"\x7f\x7fa\n", Some("a")),
        (b"\x04", None),
        (b"a\x04b\n", Some("ab")),
        (b"cut off", None),
    ] {
        let found = typed(&mut &*keys).unwrap();
        assert_eq!(found.as_deref(), expected, "{keys:?}");
    }
    let stopped = typed(&mut &b"a\x03b\n"[..]).unwrap_err();
    assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    assert!(typed(&mut &b"\xff\n"[..]).is_err());
}
