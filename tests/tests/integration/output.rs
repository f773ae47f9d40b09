//! What steps print under pressure: nothing that was acknowledged is lost, what is lost is said, and
//! whoever has to wait does not make others wait.

use mantle_shared::AttemptId;
use std::path::PathBuf;

use mantle_shared::protocol::{Ack, Level, Message, Record, RecordBody, Records, Stream};
use mantle_tests::World;
use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, Line, SOON, open_gate, quoted};
use crate::rig::{Home, LinkAgent, Server, patient};
use crate::trust::ONE_STEP;

fn line(text: &str) -> Record {
    Record {
        at_us: 5,
        body: RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text: text.to_owned(),
        },
    }
}

async fn connected(server: &Server, name: &str, tag: &str) -> (Home, LinkAgent) {
    let home = server.enrol(name, &[tag], server.addr).await;
    let agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    (home, agent)
}

/// Says one line of an attempt.
async fn says(agent: &LinkAgent, attempt: AttemptId, first_seq: u64, text: &str) {
    let records = Records {
        attempt,
        first_seq,
        records: vec![line(text)],
    };
    agent.report(attempt, vec![records.into()]).await;
}

/// The next acknowledgement that has this attempt's records below this number.
async fn acknowledged(agent: &mut LinkAgent, attempt: AttemptId, next_seq: u64) {
    loop {
        if let Message::Ack(Ack { positions }) = agent.message().await
            && positions
                .iter()
                .any(|at| at.attempt == attempt && at.next_seq == next_seq)
        {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s41_while_the_log_cannot_be_written_acknowledgements_stop_and_others_go_on() {
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, mut talks) = connected(&server, "web01", "web").await;
    let (_, mut works) = connected(&server, "api01", "api").await;
    server.project("talk", ONE_STEP).await;
    let quiet = ONE_STEP.replace("tag: web", "tag: api");
    server.project("quiet", &quiet).await;
    let task = server.deploy("talk").await;
    let start = talks.order().await;
    talks.accept(&start).await;
    says(&talks, start.attempt, 0, "before").await;
    acknowledged(&mut talks, start.attempt, 1).await;

    // Whoever has the log's only writer keeps everybody else from writing.
    let writer = server.store.begin_logs().await.unwrap();
    says(&talks, start.attempt, 1, "meanwhile").await;
    // Another agent's deployment begins, is answered and ends.
    let other = server.deploy("quiet").await;
    let order = works.order().await;
    works.accept(&order).await;
    server
        .action_is(&other, mantle::api::body::WorkState::Running)
        .await;
    // And another after it, so that what waits had every chance to be taken for written.
    let lines = server.lines(&task).await;
    assert_eq!(lines, ["before"], "nothing is shown that is not stored");

    drop(writer);
    acknowledged(&mut talks, start.attempt, 2).await;
    works.succeed(order.attempt).await;
    server.succeeds(&other, SOON).await;
    assert_eq!(server.lines(&task).await, ["before", "meanwhile"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s42_records_that_an_agent_cannot_give_are_one_gap_however_often_it_says_so() {
    use mantle_shared::protocol::RecordsGone;
    let world = World::new();
    let server = Server::start(&world).await;
    let (_, mut agent) = connected(&server, "web01", "web").await;
    server.project("shop", ONE_STEP).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;
    let attempt = start.attempt;
    says(&agent, attempt, 0, "one").await;
    acknowledged(&mut agent, attempt, 1).await;
    let gone = |first_seq, next_seq| RecordsGone {
        attempt,
        first_seq,
        next_seq,
    };
    // Of what does not follow what is stored nothing is believed.
    agent.report(attempt, vec![gone(5, 9).into()]).await;
    acknowledged(&mut agent, attempt, 1).await;
    for _ in 0..2 {
        agent.report(attempt, vec![gone(1, 7).into()]).await;
        acknowledged(&mut agent, attempt, 7).await;
    }
    says(&agent, attempt, 7, "eight").await;
    acknowledged(&mut agent, attempt, 8).await;
    let end = mantle_shared::protocol::AttemptEnd {
        records: 8,
        ..crate::rig::succeeded()
    };
    let ended = mantle_shared::protocol::AttemptEnded { attempt, end };
    agent.report(attempt, vec![ended.into()]).await;
    server.succeeds(&task, SOON).await;
    let over = server.task(&task).await;
    assert!(over.task.warnings);
    let lines = server.lines(&task).await;
    let [one, gap, eight] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!((one.as_str(), eight.as_str()), ("one", "eight"));
    assert!(
        gap.starts_with("6 lines") && gap.contains("damaged"),
        "{gap}"
    );
}

/// A step that prints so many numbered lines of 15 KiB, those from `gated` on behind the gate, and ends
/// with 5.
async fn verbose(fleet: &Fleet, count: u32, gated: u32) {
    let script = format!(
        "x=$(head -c 15000 /dev/zero | tr '\\0' x)
i=1
while [ $i -le {count} ]; do
  if [ $i -eq {gated} ]; then while [ ! -e '{}' ]; do sleep 0.02; done; fi
  echo \"line $i $x\"
  i=$((i + 1))
done
{}
exit 5",
        fleet.world.path("gate").display(),
        fleet.effects.shell("end", "print", "$MANTLE_TARGET"),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: print, uses: script, with: {{ shell: sh, run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("verbose", &process).await;
}

/// The files that hold the records of the one attempt of the first agent, in order.
fn segments(fleet: &Fleet) -> Vec<PathBuf> {
    let attempts = fleet.agents[0].data().join("attempts");
    let attempt = std::fs::read_dir(&attempts).unwrap().next().unwrap();
    let mut segments: Vec<PathBuf> = std::fs::read_dir(attempt.unwrap().path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/spool-"))
        .collect();
    segments.sort();
    segments
}

/// The numbers of the lines that are in the log.
fn numbers(log: &[Line]) -> Vec<u32> {
    log.iter()
        .filter_map(|line| {
            line.text
                .strip_prefix("line ")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

/// Waits until so many lines are in the log of the first task.
async fn printed(fleet: &Fleet, count: usize) {
    wait_for("the first lines are in the log", SOON, || async {
        let found = numbers(&fleet.log("T-1").await).len();
        if found >= count {
            Ok(())
        } else {
            Err(format!("{found} lines"))
        }
    })
    .await;
}

#[tokio::test]
async fn s42_a_segment_that_is_lost_for_good_is_a_gap_and_the_result_survives() {
    const LINES: u32 = 400;
    let mut fleet = Fleet::new(1).await;
    verbose(&fleet, LINES, 3).await;
    let task = fleet.detach("verbose").await;
    printed(&fleet, 2).await;
    fleet.server.kill9();
    open_gate(&fleet);
    wait_for("the step is over", SOON, || async {
        let over = fleet.effects.count("end", "print", "web01") > 0;
        if over {
            Ok(())
        } else {
            Err("it prints".to_owned())
        }
    })
    .await;
    fleet.agents[0].kill9();
    let segments = segments(&fleet);
    assert!(segments.len() >= 5, "{segments:?}");
    std::fs::remove_file(&segments[2]).unwrap();
    fleet.server.restart().await;
    fleet.agents[0].run();

    let over = fleet.task_is(&task, "failed", SOON).await;
    let action = &over["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(action["exit_code"], 5, "{over}");
    assert_eq!(over["warnings"], true, "{over}");
    let log = fleet.log(&task).await;
    let found = numbers(&log);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
    let gap = log
        .iter()
        .find(|line| line.text.contains("could not be kept"));
    let gap = &gap.expect("a gap is in the log").text;
    let missing = LINES - u32::try_from(found.len()).unwrap();
    assert!(missing > 50, "{missing}");
    assert!(gap.starts_with(&format!("{missing} lines")), "{gap}");
}

#[tokio::test]
async fn what_the_server_has_goes_from_the_disk_while_the_step_runs() {
    const LINES: u32 = 700;
    let fleet = Fleet::new(1).await;
    verbose(&fleet, LINES, LINES).await;
    let task = fleet.detach("verbose").await;
    printed(&fleet, (LINES - 1) as usize).await;
    // Ten megabytes went over the disk; a segment may stay, and the one that the last line began.
    wait_for("what is acknowledged is removed", SOON, || async {
        let left = segments(&fleet);
        if left.len() <= 2 {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    open_gate(&fleet);
    fleet.task_is(&task, "failed", SOON).await;
    let all: Vec<u32> = (1..=LINES).collect();
    assert_eq!(numbers(&fleet.log(&task).await), all);
}

/// A step of so many lines whose output is held back, since its agent's disk is full; its task, the file
/// that fills the disk, and what the task's log says of it.
async fn held_back(lines: u32) -> (Fleet, String, PathBuf, String) {
    let mut fleet = Fleet::new(1).await;
    verbose(&fleet, lines, 3).await;
    fleet.agents[0].stop().await;
    fleet.agents[0].run_on_small_disk(3 * 1024 * 1024);
    fleet.server.target_is("web01", true, SOON).await;
    let task = fleet.detach("verbose").await;
    printed(&fleet, 2).await;
    let filler = fleet.agents[0].small_disk().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    for size in [64 * 1024, 1] {
        while std::io::Write::write_all(&mut file, &vec![b'x'; size]).is_ok() {}
    }
    open_gate(&fleet);
    let told = wait_for("the task's log says so", SOON, || async {
        let log = fleet.log(&task).await;
        let told = log
            .iter()
            .find(|line| line.text.contains("held back on web01"));
        told.map(|line| line.text.clone())
            .ok_or_else(|| format!("{} lines", log.len()))
    })
    .await;
    (fleet, task, filler, told)
}

#[tokio::test]
async fn held_back_output_that_went_on_is_said_to_once_it_is_all_there() {
    const LINES: u32 = 60;
    let (fleet, task, filler, _) = held_back(LINES).await;
    let went_on =
        "the output of this step that was held back on web01 went on and has come to its end";
    let said = async || {
        let log = fleet.log(&task).await;
        let said = |line: &&Line| line.text.starts_with(went_on);
        (log.iter().filter(said).count(), numbers(&log))
    };
    assert_eq!(said().await.0, 0, "not while it is held back");
    std::fs::remove_file(&filler).unwrap();
    fleet.task_is(&task, "failed", SOON).await;
    wait_for("it is said to have gone on", SOON, || async {
        let (count, numbers) = said().await;
        let all = numbers == (1..=LINES).collect::<Vec<_>>();
        (count == 1 && all)
            .then_some(())
            .ok_or(format!("{count} times, {numbers:?}"))
    })
    .await;
    let warned = fleet.task(&task).await;
    let warned = warned["warned"].as_array().unwrap();
    let texts: Vec<&str> = warned
        .iter()
        .filter_map(|one| one["text"].as_str())
        .collect();
    let told = texts.iter().position(|text| text.contains("free some"));
    let over = texts.iter().position(|text| text.starts_with(went_on));
    assert!(told.is_some() && told < over, "{texts:?}");
}

#[tokio::test]
async fn a_step_whose_output_is_held_back_for_want_of_room_is_told_of_and_goes_on() {
    const LINES: u32 = 60;
    let (fleet, task, filler, told) = held_back(LINES).await;
    assert!(told.contains("10 min"), "{told}");
    let during = fleet.task(&task).await;
    assert_eq!(during["state"], "running", "{during}");
    assert_eq!(during["warnings"], true, "{during}");

    std::fs::remove_file(&filler).unwrap();
    let over = fleet.task_is(&task, "failed", SOON).await;
    let action = &over["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(action["exit_code"], 5, "{over}");
    assert_eq!(
        numbers(&fleet.log(&task).await),
        (1..=LINES).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_agent_with_a_cap_of_its_own_keeps_head_gap_and_tail() {
    const LINES: u32 = 100;
    let mut fleet = Fleet::server_only(&[]).await;
    let cap = [("TENTACLE_OUTPUT_CAP", "256KiB")];
    fleet.join_with("web01", "web", None, &cap).await;
    fleet.all_online().await;
    verbose(&fleet, LINES, 3).await;
    open_gate(&fleet);
    let task = fleet.detach("verbose").await;
    let over = fleet.task_is(&task, "failed", SOON).await;
    assert_eq!(over["warnings"], true, "{over}");
    let log = fleet.log(&task).await;
    let found = numbers(&log);
    assert_eq!((found.first(), found.last()), (Some(&1), Some(&LINES)));
    let gap = log
        .iter()
        .find(|line| line.text.contains("more than its limit"));
    let gap = &gap.expect("a gap is in the log").text;
    let missing = LINES - u32::try_from(found.len()).unwrap();
    assert!(gap.starts_with(&format!("{missing} lines")), "{gap}");
}
