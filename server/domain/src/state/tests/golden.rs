//! The event logs of every release: what was written once folds to the same for ever.
//!
//! A log is one event a line, as it stands in the database. `MANTLE_GOLDEN=write` writes those that
//! are not there yet; one that is there is never written again.

use std::path::PathBuf;

use jiff::SignedDuration;
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::interruption::Answer;
use crate::plan::{Eyes, PlanAction, PlanStep};
use crate::process::RunCondition;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

/// A plain roll-out that fails on its second target.
fn a_failure() -> Run {
    let mut run = Run::of(a_plan(
        &[1, 2, 3],
        vec![a_rolling_step(&[1, 2, 3], 1, &["drain", "install"])],
    ));
    run.end("drain@web01", Outcome::Succeeded);
    run.end("install@web01", Outcome::Succeeded);
    run.end("drain@web02", Outcome::Failed);
    run
}

/// Every kind of question, each answered or given up.
fn questions() -> Run {
    let farm = PlanStep {
        pause_after_first: true,
        ..a_rolling_step(&[1, 2, 3], 2, &["install"])
    };
    let mut plan = guided(a_plan(
        &[1, 2, 3],
        vec![
            farm,
            a_manual_step("sign", 2, Eyes::Four),
            a_step("tell", &[1], vec![an_action("tell", &[1])]),
        ],
    ));
    plan.facts.created_by = "ann".to_owned();
    let mut run = Run::of(plan);
    run.end("install@web01", Outcome::Failed);
    run.answer(1, "ann", Answer::Retry);
    run.end("install@web01", Outcome::Succeeded);
    run.answer(2, "bob", Answer::Proceed);
    run.end("install@web02", Outcome::TimedOut);
    run.end("install@web03", Outcome::Failed);
    run.answer(3, "ann", Answer::Exclude);
    run.after(SignedDuration::from_secs(30));
    run.answer(4, "ann", Answer::Ignore);
    run.answer(5, "bob", Answer::Proceed);
    run.answer(5, "cat", Answer::Proceed);
    run.end("tell@web01", Outcome::Failed);
    run.after(SignedDuration::from_hours(7 * 24));
    run
}

/// A cancel while a person is awaited.
fn a_cancel() -> Run {
    let mut run = Run::of(guided(a_plan(
        &[1],
        vec![a_step("s", &[1], vec![an_action("a", &[1])])],
    )));
    run.end("a@web01", Outcome::Failed);
    run.input(Input::CancelRequested {
        by: "bob".to_owned(),
    });
    run
}

/// A step and an action whose conditions cannot be judged.
fn unjudgeable() -> Run {
    let run = || RunCondition::Template(UNJUDGEABLE.to_owned());
    let of_step = PlanStep {
        run: run(),
        ..a_step("s", &[1, 2], vec![an_action("a", &[1, 2])])
    };
    let of_action = PlanAction {
        run: run(),
        ..an_action("b", &[1, 2])
    };
    let always = PlanStep {
        run: RunCondition::Always,
        ..a_step("t", &[1, 2], vec![of_action])
    };
    Run::of(a_plan(&[1, 2], vec![of_step, always]))
}

/// A roll-out that fails on its second target and is undone, but for what cannot be.
fn rolled_back() -> Run {
    let mut step = a_step_that_rolls_back(&[1, 2, 3], 1, &["install", "warm"]);
    step.actions[1].uses = "script".to_owned();
    let way = a_way_back(0, &step, &["install"]);
    let mut run = Run::of(a_plan(&[1, 2, 3], vec![step, way]));
    run.end("install@web01", Outcome::Succeeded);
    run.end("warm@web01", Outcome::Succeeded);
    run.end("install@web02", Outcome::Failed);
    run.end("undo install@web02", Outcome::Failed);
    run.answer(1, "ann", Answer::Retry);
    run.end("undo install@web02", Outcome::Succeeded);
    run.end("undo install@web01", Outcome::Succeeded);
    run
}

/// Two attempts of which people say how they ended; of one its agent then says the opposite.
fn resolved() -> Run {
    let mut run = Run::of(guided(a_plan(
        &[1, 2],
        vec![
            a_rolling_step(&[1, 2], 2, &["install"]),
            a_step("tell", &[2], vec![an_action("tell", &[2])]),
        ],
    )));
    let (first, second) = (run.attempt("install@web01"), run.attempt("install@web02"));
    run.input(Input::AgentRevoked { agent: agent(1) });
    run.online.remove(&agent(2));
    for (attempt, ended) in [(first, ResolvedAs::Failed), (second, ResolvedAs::Succeeded)] {
        let resolution = Resolution {
            ended,
            by: "ann".to_owned(),
            reason: "looked at the disk".to_owned(),
            at: run.now,
        };
        run.input(Input::AttemptResolved {
            attempt,
            resolution,
        });
    }
    run.answer(2, "bob", Answer::Ignore);
    run.input(Input::AttemptEnded {
        attempt: second,
        end: an_end(Outcome::Interrupted),
        outputs: Vec::new(),
        stored: 0,
    });
    run.online.insert(agent(2));
    run.input(Input::Tick);
    run.end("tell@web02", Outcome::Succeeded);
    run
}

/// Two attempts that were given up for unknown, of which their agents say later how they ended.
fn late() -> Run {
    let step = a_rolling_step(&[1, 2], 2, &["install"]);
    let mut run = Run::of(guided(a_plan(&[1, 2], vec![step])));
    let (first, second) = (run.attempt("install@web01"), run.attempt("install@web02"));
    run.input(Input::AgentRevoked { agent: agent(1) });
    run.input(Input::AgentRevoked { agent: agent(2) });
    let url = OutputVariable {
        action: "install".to_owned(),
        subject: "web01".to_owned(),
        name: "Url".to_owned(),
        value: "http://web01".to_owned(),
        sealed_by: None,
    };
    for (attempt, outcome, outputs) in [
        (first, Outcome::Succeeded, vec![url]),
        (second, Outcome::Failed, Vec::new()),
    ] {
        run.input(Input::AttemptEnded {
            attempt,
            end: an_end(outcome),
            outputs,
            stored: 0,
        });
    }
    run
}

#[test]
fn logs_that_were_written_once_fold_to_what_they_folded_to_then() {
    let write = std::env::var_os("MANTLE_GOLDEN").is_some_and(|how| how == "write");
    for (name, run) in [
        ("0.1-failure", a_failure()),
        ("0.1-questions", questions()),
        ("0.1-cancel-while-asked", a_cancel()),
        ("0.1-unjudgeable", unjudgeable()),
        ("0.1-rolled-back", rolled_back()),
        ("0.1-resolved", resolved()),
        ("0.1-late", late()),
    ] {
        let (log_file, shown_file) = (
            folder().join(format!("{name}.jsonl")),
            folder().join(format!("{name}.progress.json")),
        );
        if write && !log_file.exists() {
            let lines: Vec<String> = run
                .log
                .iter()
                .map(|event| serde_json::to_string(event).unwrap() + "\n")
                .collect();
            let shown = serde_json::to_string_pretty(&view::progress(&run.state)).unwrap();
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&log_file, lines.concat()).unwrap();
            std::fs::write(&shown_file, shown + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&log_file)
            .unwrap_or_else(|error| panic!("{}: {error}", log_file.display()));
        let log: Vec<Event> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}")))
            .collect();
        let shown = view::progress(&fold(&log));
        let shown = serde_json::to_string_pretty(&shown).unwrap() + "\n";
        let expected = std::fs::read_to_string(&shown_file).unwrap();
        assert_eq!(shown, expected, "{name}");
    }
}
