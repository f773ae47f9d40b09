//! An agent's word on an attempt that was given up for unknown: what is still open goes by it, and
//! what went well is not run again.

use mantle_shared::ids::AttemptId;
use mantle_shared::lock::Lock;
use mantle_shared::protocol::Outcome;

use super::super::*;
use super::builders::*;
use crate::interruption::{Answer, Question};
use crate::plan::{Plan, PlanLock};

/// Two targets, one after the other, each with its lock; failures are a person's to judge.
fn a_guided_farm() -> Plan {
    let mut step = a_rolling_step(&[1, 2], 1, &["a"]);
    step.actions[0].locks = vec![PlanLock {
        lock: Lock::exclusive("target"),
        subject: None,
    }];
    guided(a_plan(&[1, 2], vec![step]))
}

/// The first attempt was given up for unknown, and a person is asked.
fn a_question() -> (Run, AttemptId) {
    let mut run = Run::of(a_guided_farm());
    let lost = run.attempt("a@web01");
    run.input(Input::AgentRevoked { agent: agent(1) });
    assert_eq!(run.asked(), [1]);
    (run, lost)
}

/// A person said to try it again, which waits for the lock of what may still run.
fn a_retry_that_waits() -> (Run, AttemptId) {
    let (mut run, lost) = a_question();
    run.holder = Some("T-1 step 'farm'".to_owned());
    run.answer(1, "ann", Answer::Retry);
    assert_eq!(run.live_names(), [""; 0]);
    assert_eq!(run.asked(), [0; 0]);
    (run, lost)
}

fn of_web01(run: &Run) -> usize {
    let attempts = run.state.attempts.values();
    attempts.filter(|known| known.agent == agent(1)).count()
}

#[test]
fn a_question_about_what_nobody_knew_goes_by_its_agents_late_word() {
    use Outcome::{
        Abandoned, Cancelled, Failed, Interrupted, NotStarted, Succeeded, TimedOut, Unknown,
    };
    // (what the agent says) -> what is asked then, and what the question says of the end
    let table: [(Outcome, &[u32], Option<Outcome>); 8] = [
        (Succeeded, &[], None),
        (Failed, &[2], Some(Failed)),
        (TimedOut, &[2], Some(TimedOut)),
        (NotStarted, &[2], Some(NotStarted)),
        (Interrupted, &[2], Some(Interrupted)),
        // Stopped on purpose: nobody is asked, and it has not gone well.
        (Cancelled, &[], None),
        (Unknown, &[1], Some(Unknown)),
        (Abandoned, &[1], Some(Unknown)),
    ];
    for (said, asked, of) in table {
        let (mut run, lost) = a_question();
        run.say(lost, said);
        assert_eq!(run.asked(), asked, "{said:?}");
        let known = asked
            .first()
            .map(|number| run.state.interruptions[number].clone());
        let shown = known.map(|one| match one.question {
            Question::Failure {
                outcome, message, ..
            } => (outcome, message),
            other => panic!("{other:?}"),
        });
        assert_eq!(shown.as_ref().map(|(outcome, _)| *outcome), of, "{said:?}");
        if asked != [1] {
            assert_eq!(run.state.interruptions[&1].closed, Some(Closed::Resolved));
            // Whoever saw the question before and answers it now changes nothing.
            assert_eq!(run.answer(1, "ann", Answer::Retry), [], "{said:?}");
        }
        let went_on = run.live_names() == ["a@web02"];
        assert_eq!(went_on, said == Succeeded, "{said:?}");
        if said == Failed {
            assert_eq!(shown.unwrap().1, "exit code 3");
            run.answer(2, "ann", Answer::Retry);
            assert_eq!(run.live_names(), ["a@web01"]);
        }
        super::laws::hold(&run.log);
    }
}

#[test]
fn a_retry_that_waits_is_not_begun_once_it_is_known_that_it_went_well() {
    let by_person = |run: &mut Run, lost| run.resolve(lost, ResolvedAs::Succeeded);
    let by_agent = |run: &mut Run, lost| run.say(lost, Outcome::Succeeded);
    let ways: [fn(&mut Run, AttemptId) -> Vec<Event>; 2] = [by_person, by_agent];
    for say in ways {
        let (mut run, lost) = a_retry_that_waits();
        // With that word its lock is free.
        run.holder = None;
        say(&mut run, lost);
        assert_eq!(run.live_names(), ["a@web02"]);
        assert_eq!(of_web01(&run), 1, "what succeeded is run again");
        run.end("a@web02", Outcome::Succeeded);
        assert_eq!(run.verdict(), Some(Verdict::Succeeded));
        super::laws::hold(&run.log);
    }
}

#[test]
fn a_retry_that_waits_is_begun_once_it_is_known_that_it_failed() {
    let (mut run, lost) = a_retry_that_waits();
    run.holder = None;
    run.say(lost, Outcome::Failed);
    assert_eq!(run.live_names(), ["a@web01"]);
    assert_eq!(of_web01(&run), 2);
    super::laws::hold(&run.log);
}

#[test]
fn a_late_word_does_not_touch_the_attempt_that_followed() {
    let (mut run, lost) = a_question();
    run.answer(1, "ann", Answer::Retry);
    run.say(lost, Outcome::Succeeded);
    assert_eq!(run.live_names(), ["a@web01"]);
    run.end("a@web01", Outcome::Failed);
    assert_eq!(run.asked(), [2], "the last attempt is the one that counts");
    super::laws::hold(&run.log);
}

#[test]
fn what_it_put_out_is_known_to_later_steps_if_its_node_was_open() {
    let output = OutputVariable {
        action: "a".to_owned(),
        subject: "web01".to_owned(),
        name: "Url".to_owned(),
        value: "x".to_owned(),
        sealed_by: None,
    };
    for (answer, known) in [(None, 1), (Some(Answer::Fail), 0)] {
        let (mut run, lost) = a_question();
        if let Some(answer) = answer {
            run.answer(1, "ann", answer);
        }
        run.input(Input::AttemptEnded {
            attempt: lost,
            end: an_end(Outcome::Succeeded),
            outputs: vec![output.clone()],
            stored: 0,
        });
        assert_eq!(run.state.outputs.len(), known, "{answer:?}");
    }
}
