//! Files that steps leave behind: they come whole, whoever is killed on the way, and what does not come
//! is said to be lost.

use std::path::PathBuf;

use mantle_shared::Digest;
use mantle_tests::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::fleet::{Fleet, SOON, quoted};

/// A project `keeps` of one step with this script.
async fn keeping(fleet: &Fleet, script: &str) {
    let process = format!(
        "  - {{ step: keep, targets: {{ tag: web }}, uses: script, with: {{ shell: sh, run: {} }} }}\n",
        quoted(script)
    );
    fleet.release("keeps", &process).await;
}

/// The collected files of a task, once all of them are in this state.
async fn all_are(fleet: &Fleet, task: &str, count: usize, state: &str) -> Vec<Value> {
    wait_for(&format!("{count} files are {state}"), SOON, || async {
        let output = fleet
            .server
            .run(&["artifact", "list", task, "-o", "json"])
            .await;
        if output.code != Some(0) {
            return Err(output.to_string());
        }
        let list = output.json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        if items.len() == count && items.iter().all(|item| item["state"] == state) {
            Ok(items)
        } else {
            Err(list.to_string())
        }
    })
    .await
}

/// Waits until an agent has nothing left to give.
async fn nothing_waits(fleet: &Fleet, agent: usize) {
    let folder = fleet.agents[agent].data().join("artifacts");
    wait_until("the agent has removed its copies", SOON, || {
        std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none())
    })
    .await;
}

async fn fetched(fleet: &Fleet, args: &[&str]) -> Vec<u8> {
    let to = fleet.world.path("fetched");
    let shown = to.display().to_string();
    let get = ["artifact", "get"];
    let tail = ["--to", shown.as_str(), "--force"];
    fleet.server.ok(&[&get, args, &tail].concat()).await;
    std::fs::read(to).unwrap()
}

#[tokio::test]
async fn what_steps_leave_behind_is_listed_and_fetched() {
    let fleet = Fleet::new(2).await;
    let script = "
echo \"<report on='$MANTLE_TARGET'/>\" > report.xml
new_octopusartifact report.xml
mkdir -p deep; echo later > deep/out.log
mantle_artifact \"$PWD/deep/out.log\" \"$MANTLE_TARGET.log\"
printf '##octopus[createArtifact path=\"%s\"]\\n' nonsense
echo \"##octopus[createArtifact path='$(printf %s deep/out.log | base64)' name='$(printf %s said.log | base64)' length='Ng==']\"
new_octopusartifact nowhere.txt
echo and more >> deep/out.log
exit 3";
    keeping(&fleet, script).await;
    let deployed = fleet.deploy("keeps").await;
    assert_eq!(deployed.code, Some(3), "{deployed}");
    assert!(
        deployed.stderr.contains("exit code 3"),
        "the step's own end stays: {deployed}"
    );

    let items = all_are(&fleet, "T-1", 6, "stored").await;
    let numbers: Vec<u64> = items.iter().filter_map(|i| i["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    for target in ["web01", "web02"] {
        let report = fetched(&fleet, &["T-1", "report.xml", "--target", target]).await;
        assert_eq!(report, format!("<report on='{target}'/>\n").into_bytes());
        // Collected when the step is over, so with what came after the call.
        let log = fetched(&fleet, &["T-1", &format!("{target}.log")]).await;
        assert_eq!(log, b"later\nand more\n");
        let said = fetched(&fleet, &["T-1", "said.log", "--target", target]).await;
        assert_eq!(said, log);
    }
    let ambiguous = fleet
        .server
        .run(&["artifact", "get", "T-1", "report.xml"])
        .await;
    assert_eq!(ambiguous.code, Some(2), "{ambiguous}");
    assert!(ambiguous.stderr.contains("--target"), "{ambiguous}");
    let unknown = fleet.server.run(&["artifact", "get", "T-1", "9"]).await;
    assert_eq!(unknown.code, Some(5), "{unknown}");
    let there = fleet.world.path("fetched").display().to_string();
    let again = ["artifact", "get", "T-1", "1", "--to", &there];
    let kept = fleet.server.run(&again).await;
    assert_eq!(kept.code, Some(6), "nothing is overwritten unasked: {kept}");

    let log = fleet.log("T-1").await;
    let says = |text: &str| log.iter().any(|line| line.text.contains(text));
    assert!(says("nowhere.txt' is not kept as 'nowhere.txt'"), "{log:?}");
    assert!(says("collected the file 'report.xml'"), "{log:?}");
    nothing_waits(&fleet, 0).await;
    nothing_waits(&fleet, 1).await;
}

/// Five mebibytes that no two parts of are alike.
const LARGE: &str =
    "head -c 5242880 /dev/urandom > large.bin\nnew_octopusartifact large.bin\ncp large.bin";

/// The server's process is gone.
async fn server_dead(fleet: &mut Fleet) {
    let server = fleet.server.process();
    wait_for("the server died at its point of failure", SOON, || {
        let ended = server.ended();
        async move { ended.ok_or_else(|| "it lives".to_owned()) }
    })
    .await;
}

/// A server that dies at this point, once, while it collects; gives what the file is.
async fn dies_collecting(point: &str) -> (Fleet, PathBuf) {
    let mut fleet = Fleet::server_only(&[("MANTLE_FAULT", point)]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    let copy = fleet.world.path("copy.bin");
    keeping(&fleet, &format!("{LARGE} '{}'", copy.display())).await;
    let _deploying = fleet.beside("deploy", &["deploy", "keeps", "1.0", "-e", "test"]);
    server_dead(&mut fleet).await;
    fleet.server.set_env("MANTLE_FAULT", "");
    (fleet, copy)
}

/// The file is stored as it was, and nothing of it is left elsewhere.
async fn arrives_whole(fleet: &Fleet, copy: &PathBuf) {
    let items = all_are(fleet, "T-1", 1, "stored").await;
    let original = std::fs::read(copy).unwrap();
    assert_eq!(items[0]["size_bytes"], 5_242_880, "{items:?}");
    assert_eq!(
        items[0]["digest"],
        Digest::of(&original).to_string(),
        "{items:?}"
    );
    assert!(fetched(fleet, &["T-1", "large.bin"]).await == original);
    nothing_waits(fleet, 0).await;
    let incoming = fleet.server.data().join("artifacts");
    wait_until("the server keeps no piece of it aside", SOON, || {
        std::fs::read_dir(&incoming).is_ok_and(|mut entries| entries.next().is_none())
    })
    .await;
    fleet.task_is("T-1", "succeeded", SOON).await;
}

#[tokio::test]
async fn a_server_that_is_killed_between_two_pieces_goes_on_where_it_was() {
    let (mut fleet, copy) = dies_collecting("server.artifact_piece:8").await;
    let incoming = fleet.server.data().join("artifacts");
    let part = std::fs::read_dir(&incoming).unwrap().next().unwrap();
    let received = part.unwrap().metadata().unwrap().len();
    assert!(received > 0 && received < 5_242_880, "{received} bytes");
    // And the agent with it: neither knows anything but what is on its disk.
    fleet.agents[0].kill9();
    fleet.server.restart().await;
    fleet.agents[0].run();
    arrives_whole(&fleet, &copy).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_it_notes_a_file_collects_it_once() {
    let (mut fleet, copy) = dies_collecting("server.artifact_received").await;
    fleet.server.restart().await;
    arrives_whole(&fleet, &copy).await;
}

#[tokio::test]
async fn a_server_that_is_killed_after_it_noted_a_file_lets_the_agent_remove_it() {
    let (mut fleet, copy) = dies_collecting("server.artifact_stored").await;
    fleet.server.restart().await;
    arrives_whole(&fleet, &copy).await;
}

#[tokio::test]
async fn a_file_that_its_agent_has_no_more_is_lost_and_not_silently() {
    let (mut fleet, _copy) = dies_collecting("server.artifact_piece").await;
    let folder = fleet.agents[0].data().join("artifacts");
    for attempt in std::fs::read_dir(&folder).unwrap() {
        std::fs::remove_dir_all(attempt.unwrap().path()).unwrap();
    }
    fleet.server.restart().await;
    let items = all_are(&fleet, "T-1", 1, "lost").await;
    let note = items[0]["note"].as_str().unwrap();
    assert!(note.contains("has it no more"), "{note}");
    let task = fleet.task_is("T-1", "succeeded", SOON).await;
    assert_eq!(task["warnings"], true, "{task}");
    let log = fleet.log("T-1").await;
    let expected = "the collected file 'large.bin' of step 'keep' on web01 is lost: ";
    let said = |line: &crate::fleet::Line| line.text.starts_with(expected);
    assert!(log.iter().any(said), "{log:?}");
    let warned = task["warned"].as_array().unwrap();
    let warned: Vec<&str> = warned.iter().filter_map(|w| w["text"].as_str()).collect();
    assert!(
        warned.iter().any(|text| text.starts_with(expected)),
        "{warned:?}"
    );
    let get = fleet
        .server
        .run(&["artifact", "get", "T-1", "large.bin"])
        .await;
    assert_eq!(get.code, Some(6), "{get}");
    assert!(get.stderr.contains("is lost"), "{get}");
}
