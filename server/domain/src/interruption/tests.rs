//! Questions and answers, by tables.

#![allow(clippy::unwrap_used)]
use super::*;

fn node() -> NodeRef {
    NodeRef {
        step: 0,
        action: 0,
        node: 0,
    }
}

fn manual(teams: &[&str], approvals: u32, not_by: Option<&str>) -> Question {
    Question::Manual {
        node: node(),
        instructions: "look".to_owned(),
        teams: teams.iter().map(|team| (*team).to_owned()).collect(),
        approvals,
        not_by: not_by.map(str::to_owned),
    }
}

fn failure(required: bool) -> Question {
    Question::Failure {
        node: node(),
        outcome: Outcome::Failed,
        message: "exit code 3".to_owned(),
        required,
    }
}

fn given(all: &[(&str, Answer)]) -> Vec<Given> {
    let one = |(by, answer): &(&str, Answer)| Given {
        by: (*by).to_owned(),
        answer: *answer,
        notes: String::new(),
        at: Timestamp::UNIX_EPOCH,
    };
    all.iter().map(one).collect()
}

#[test]
fn what_the_answers_come_to() {
    use Answer::{Abort, Exclude, Ignore, Proceed, Retry, Withdrawn};
    let two = || manual(&[], 2, Some("ann"));
    type Row = (
        Question,
        Vec<(&'static str, Answer)>,
        Option<(Answer, &'static str)>,
    );
    let table: Vec<Row> = vec![
        (failure(false), vec![], None),
        (failure(false), vec![("bob", Retry)], Some((Retry, "bob"))),
        (
            failure(false),
            vec![("bob", Ignore), ("cat", Retry)],
            Some((Ignore, "bob")),
        ),
        (failure(true), vec![("bob", Exclude)], None),
        (
            manual(&[], 1, None),
            vec![("bob", Proceed)],
            Some((Proceed, "bob")),
        ),
        (two(), vec![("bob", Proceed)], None),
        (
            two(),
            vec![("bob", Proceed), ("bob", Withdrawn), ("cat", Proceed)],
            None,
        ),
        (
            two(),
            vec![
                ("bob", Proceed),
                ("bob", Withdrawn),
                ("cat", Proceed),
                ("dan", Proceed),
            ],
            Some((Proceed, "dan")),
        ),
        (two(), vec![("bob", Proceed), ("bob", Proceed)], None),
        (two(), vec![("bob", Proceed), ("ann", Proceed)], None),
        (
            two(),
            vec![("bob", Proceed), ("cat", Proceed)],
            Some((Proceed, "cat")),
        ),
        (
            two(),
            vec![("bob", Proceed), ("ann", Abort)],
            Some((Abort, "ann")),
        ),
    ];
    for (question, answers, expected) in table {
        let given = given(&answers);
        let found = decided(&question, &given);
        let found = found.map(|(answer, by)| (answer, by.by.as_str()));
        assert_eq!(found, expected, "{question:?} {answers:?}");
    }
}

#[test]
fn who_may_answer_what() {
    use Answer::{Abort, Ignore, Proceed, Retry};
    let signs = manual(&["managers"], 2, Some("ann"));
    let none = given(&[]);
    let bob = given(&[("bob", Proceed)]);
    let refused = |question: &Question, given: &[Given], taken_by, who, teams: &[&str], answer| {
        let teams: Vec<String> = teams.iter().map(|team| (*team).to_owned()).collect();
        let asked = Asked {
            name: "T-1.1",
            question,
            given,
            taken_by,
        };
        let person = Person {
            name: who,
            teams: &teams,
        };
        let refusal = check_answer(&asked, person, answer, "").err();
        refusal.map(|refusal| refusal.to_string())
    };
    let says = |found: Option<String>, part: &str| {
        let found = found.unwrap();
        assert!(found.contains(part), "{found}");
    };
    let managers = &["managers"];
    assert_eq!(refused(&signs, &none, None, "bob", managers, Proceed), None);
    says(
        refused(&signs, &none, None, "bob", &["guests"], Proceed),
        "'managers'",
    );
    says(
        refused(&signs, &none, None, "ann", managers, Proceed),
        "another person",
    );
    assert_eq!(
        refused(&signs, &none, None, "ann", managers, Abort),
        None,
        "whoever deployed may stop it"
    );
    says(
        refused(&signs, &bob, None, "bob", managers, Proceed),
        "1 more",
    );
    assert_eq!(
        refused(&signs, &bob, None, "bob", managers, Abort),
        None,
        "who thinks better of it may stop it"
    );
    assert_eq!(
        refused(&signs, &bob, Some("bob"), "cat", managers, Proceed),
        None,
        "what takes several people is nobody's alone"
    );
    says(
        refused(&signs, &none, None, "bob", managers, Retry),
        "proceed or abort",
    );
    let failed = failure(false);
    assert_eq!(
        refused(&failed, &none, Some("bob"), "bob", &[], Ignore),
        None
    );
    says(
        refused(&failed, &none, Some("bob"), "cat", &[], Ignore),
        "bob takes care of it",
    );
    says(
        refused(&failure(true), &none, None, "cat", &[], Ignore),
        "retry or fail",
    );
    let asked = Asked {
        name: "T-1.1",
        question: &failed,
        given: &none,
        taken_by: None,
    };
    let person = Person {
        name: "cat",
        teams: &[],
    };
    let long = "x".repeat(LONGEST_NOTES + 1);
    assert!(check_answer(&asked, person, Retry, &long).is_err());
}

#[test]
fn words_are_read_back() {
    for answer in Answer::ALL {
        assert_eq!(answer.word().parse(), Ok(answer));
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(json, format!("\"{answer}\""));
    }
    assert!("maybe".parse::<Answer>().is_err());
}
