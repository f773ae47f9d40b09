//! Locks between deployments on real machines: who waits says for whom (S81), a holder outlives its
//! agent (S82), a waiter that is cancelled leaves the way free (S83), and a lock can be broken.

use serde_json::Value;

use mantle_tests::sabotage;
use mantle_tests::stuck_disk::StuckDisk;
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, quoted};

/// A project whose one script notes its start, goes on when its gate opens, and notes its end.
async fn project(fleet: &Fleet, name: &str, locks: &str) {
    let script = format!(
        "{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done\n{}",
        fleet.effects.shell("start", name, "$MANTLE_TARGET"),
        fleet.world.path(&format!("gate-{name}")).display(),
        fleet.effects.shell("end", name, "$MANTLE_TARGET"),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, {locks} with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release(name, &process).await;
}

fn open(fleet: &Fleet, name: &str) {
    fleet.world.file(&format!("gate-{name}"), "");
}

async fn did(fleet: &Fleet, what: &str, name: &str) {
    wait_until(&format!("{what} of {name}"), SOON, || {
        fleet.effects.count(what, name, "web01") > 0
    })
    .await;
}

/// What the task's one action waits for.
async fn waits(fleet: &Fleet, task: &str) -> String {
    wait_for(&format!("{task} waits for a lock"), SOON, || async {
        let shown = fleet.task(task).await;
        let action = &shown["steps"][0]["targets"][0]["actions"][0];
        let message = action["message"].as_str().unwrap_or_default().to_owned();
        if action["state"] == "waiting" && message.contains("lock") {
            Ok(message)
        } else {
            Err(shown.to_string())
        }
    })
    .await
}

async fn held(fleet: &Fleet) -> Vec<Value> {
    let list = fleet.server.json(&["lock", "list"]).await;
    list["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s81_a_second_script_waits_and_its_log_names_the_holder() {
    let fleet = Fleet::new(1).await;
    project(&fleet, "one", "").await;
    project(&fleet, "two", "").await;
    project(&fleet, "free", "locks: [],").await;
    let first = fleet.detach("one").await;
    did(&fleet, "start", "one").await;
    let second = fleet.detach("two").await;
    let expected = format!("waits for lock 'target' on web01, held by {first} step 'work'");
    assert_eq!(waits(&fleet, &second).await, expected);
    wait_for("the log says so", SOON, || async {
        let log = fleet.log(&second).await;
        let said = log.iter().any(|line| line.text.contains(&expected));
        said.then_some(()).ok_or_else(|| format!("{log:?}"))
    })
    .await;
    let locks = held(&fleet).await;
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert_eq!(locks[0]["target"], "web01");
    assert_eq!(locks[0]["holder"], format!("{first} step 'work'"));
    assert_eq!(locks[0]["mode"], "exclusive");

    // One that asks for no lock does not wait.
    let third = fleet.detach("free").await;
    did(&fleet, "start", "free").await;
    assert_eq!(fleet.effects.count("start", "two", "web01"), 0);
    for name in ["free", "one", "two"] {
        open(&fleet, name);
    }
    for task in [&first, &second, &third] {
        fleet.task_is(task, "succeeded", SOON).await;
    }
    let order: Vec<String> = fleet
        .effects
        .read()
        .into_iter()
        .filter(|effect| effect.step != "free")
        .map(|effect| format!("{} {}", effect.what, effect.step))
        .collect();
    assert_eq!(order, ["start one", "end one", "start two", "end two"]);
    assert!(held(&fleet).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s82_a_holder_that_outlives_agent_and_server_still_holds() {
    let mut fleet = Fleet::new(1).await;
    project(&fleet, "one", "").await;
    project(&fleet, "two", "").await;
    let first = fleet.detach("one").await;
    did(&fleet, "start", "one").await;
    fleet.agents[0].kill9();
    fleet.server.kill9();
    fleet.server.restart().await;
    fleet.agents[0].run();
    fleet.all_online().await;
    let second = fleet.detach("two").await;
    let said = waits(&fleet, &second).await;
    assert!(said.contains(&format!("held by {first}")), "{said}");
    open(&fleet, "two");
    assert_eq!(fleet.effects.count("start", "two", "web01"), 0);
    open(&fleet, "one");
    fleet.task_is(&second, "succeeded", SOON).await;
    fleet
        .effects
        .assert_each_once([("one", "web01"), ("two", "web01")]);
    let order: Vec<String> = fleet.effects.read().into_iter().map(|e| e.step).collect();
    assert_eq!(order, ["one", "one", "two", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s83_a_waiter_that_is_cancelled_leaves_the_way_free() {
    let fleet = Fleet::new(1).await;
    for name in ["one", "two", "three"] {
        project(&fleet, name, "locks: [db],").await;
    }
    let first = fleet.detach("one").await;
    did(&fleet, "start", "one").await;
    let second = fleet.detach("two").await;
    waits(&fleet, &second).await;
    let third = fleet.detach("three").await;
    waits(&fleet, &third).await;
    fleet.server.ok(&["task", "cancel", &second]).await;
    fleet.task_is(&second, "cancelled", SOON).await;
    open(&fleet, "three");
    open(&fleet, "one");
    fleet.task_is(&third, "succeeded", SOON).await;
    fleet.task_is(&first, "succeeded", SOON).await;
    assert_eq!(fleet.effects.count("start", "two", "web01"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_nobody_lets_go_is_broken_with_a_reason_and_its_holder_lives() {
    let fleet = Fleet::new(1).await;
    project(&fleet, "one", "").await;
    project(&fleet, "two", "").await;
    let first = fleet.detach("one").await;
    did(&fleet, "start", "one").await;
    let second = fleet.detach("two").await;
    waits(&fleet, &second).await;
    let none = ["lock", "break", "web01", "disk", "--reason", "it hangs"];
    let none = fleet.server.run(&none).await;
    assert_eq!(none.code, Some(5), "{none}");
    let broken = ["lock", "break", "web01", "target", "--reason", "it hangs"];
    let broken = fleet.server.ok(&broken).await;
    assert!(broken.stderr.contains("may still live"), "{broken}");
    // The agent, whose journal holds the other one too, is told to pass over it.
    did(&fleet, "start", "two").await;
    open(&fleet, "two");
    fleet.task_is(&second, "succeeded", SOON).await;
    assert!(fleet.effects.process_of("start", "one").process_lives());
    let locks = held(&fleet).await;
    assert!(locks[0]["broken_by"].is_string(), "{locks:?}");
    let trail = fleet.server.ok(&["audit", "list"]).await;
    assert!(trail.stdout.contains("lock.break"), "{trail}");
    open(&fleet, "one");
    fleet.task_is(&first, "succeeded", SOON).await;
    fleet
        .effects
        .assert_each_once([("one", "web01"), ("two", "web01")]);
    assert!(held(&fleet).await.is_empty());
}

#[tokio::test]
async fn s50_what_cannot_be_killed_is_abandoned_with_its_process_and_keeps_its_lock() {
    let mut fleet = Fleet::new(1).await;
    let mut disk = StuckDisk::mount(&fleet.world).await;
    let agent = &mut fleet.agents[0];
    agent.stop().await;
    agent.see_mounts_of(disk.pid());
    agent.run();
    fleet.all_online().await;
    let does = if sabotage::is_on("disk-answers") {
        "while :; do sleep 0.1; done".to_owned()
    } else {
        format!("cat '{}'", disk.file().display())
    };
    let script = format!(
        "{}\n{does}",
        fleet.effects.shell("start", "one", "$MANTLE_TARGET")
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 1s, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("one", &process).await;
    project(&fleet, "two", "").await;
    let first = fleet.detach("one").await;
    did(&fleet, "start", "one").await;
    if !sabotage::is_on("disk-answers") {
        disk.is_waited_for(SOON).await;
    }
    let second = fleet.detach("two").await;
    let said = waits(&fleet, &second).await;
    assert!(
        said.ends_with(&format!("held by {first} step 'work'")),
        "{said}"
    );
    fleet.server.ok(&["task", "cancel", &first]).await;
    let shown = fleet.task_is(&first, "cancelled", SOON).await;
    let action = &shown["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(action["state"], "abandoned", "{shown}");
    let message = shown["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("'work' on web01 could not be stopped"),
        "{shown}"
    );
    let message = action["message"].as_str().unwrap();
    let pid = message.rsplit("still running: pid ").next().unwrap();
    let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name.trim(), "cat", "{message}");

    // It holds what it held until somebody says that this does not matter.
    wait_for("whoever waits is told what to type", SOON, || async {
        let said = waits(&fleet, &second).await;
        let told = said.contains(&format!("mantle task resolve {first} "))
            && said.contains("mantle lock break web01 target ");
        told.then_some(()).ok_or(said)
    })
    .await;
    let locks = held(&fleet).await;
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert_eq!(fleet.effects.count("start", "two", "web01"), 0);
    let args = [
        "lock",
        "break",
        "web01",
        "target",
        "--reason",
        "the disk is gone",
    ];
    fleet.server.ok(&args).await;
    did(&fleet, "start", "two").await;
    open(&fleet, "two");
    fleet.task_is(&second, "succeeded", SOON).await;
    disk.give_up();
}

/// A step `one` that outlives the identity under which it was ordered: its agent was revoked and joined
/// anew under its name, on the same machine. Gives the task.
async fn outlived(fleet: &mut Fleet) -> String {
    project(fleet, "one", "").await;
    project(fleet, "two", "").await;
    let first = fleet.detach("one").await;
    did(fleet, "start", "one").await;
    fleet.agents[0].stop().await;
    fleet.server.ok(&["agent", "revoke", "web01"]).await;
    fleet.task_is(&first, "failed", SOON).await;
    assert!(held(fleet).await.is_empty(), "nobody is there any more");
    let address = fleet.server.addresses().quic.to_string();
    let token = fleet.server.token().await;
    let args = [
        "join", "--force", "--server", &address, "--name", "web01", "--token", &token,
    ];
    fleet.agents[0].cli().run(&args).await.ok();
    fleet.agents[0].run();
    fleet.all_online().await;
    first
}

#[tokio::test]
async fn a_lock_of_an_agents_earlier_identity_is_shown_and_can_be_broken() {
    let mut fleet = Fleet::new(1).await;
    let first = outlived(&mut fleet).await;
    let holder = format!("{first} step 'work' (begun under an earlier identity of the agent)");
    let locks = held(&fleet).await;
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert_eq!(
        (&locks[0]["target"], &locks[0]["lock"]),
        (&"web01".into(), &"target".into())
    );
    assert_eq!(locks[0]["holder"], holder.as_str());
    let shown = fleet.server.ok(&["lock", "list"]).await;
    let how = "mantle lock break web01 target --reason";
    assert!(shown.stdout.contains(how), "{shown}");

    let second = fleet.detach("two").await;
    let said = waits(&fleet, &second).await;
    assert!(
        said.contains(&format!("held by {holder}")) && said.contains(how),
        "{said}"
    );
    assert_eq!(fleet.effects.count("start", "two", "web01"), 0);
    let args = ["lock", "break", "web01", "target", "--reason", "it hangs"];
    fleet.server.ok(&args).await;
    did(&fleet, "start", "two").await;
    open(&fleet, "two");
    fleet.task_is(&second, "succeeded", SOON).await;
    assert!(fleet.effects.process_of("start", "one").process_lives());
    open(&fleet, "one");
    fleet
        .effects
        .assert_each_once([("one", "web01"), ("two", "web01")]);
}

#[tokio::test]
async fn a_lock_of_an_agents_earlier_identity_goes_with_its_step_or_with_a_persons_word() {
    let mut fleet = Fleet::new(1).await;
    outlived(&mut fleet).await;
    let second = fleet.detach("two").await;
    waits(&fleet, &second).await;
    // Over a restart of the server as well.
    fleet.server.kill9();
    fleet.server.restart().await;
    fleet.all_online().await;
    let said = waits(&fleet, &second).await;
    assert!(said.contains("earlier identity"), "{said}");
    open(&fleet, "two");
    assert_eq!(fleet.effects.count("start", "two", "web01"), 0);
    open(&fleet, "one");
    fleet.task_is(&second, "succeeded", SOON).await;
    assert!(held(&fleet).await.is_empty());

    let mut fleet = Fleet::new(1).await;
    let resolved = outlived(&mut fleet).await;
    let second = fleet.detach("two").await;
    waits(&fleet, &second).await;
    let args = [
        "task", "resolve", &resolved, "--as", "failed", "--reason", "it hangs",
    ];
    fleet.server.ok(&args).await;
    did(&fleet, "start", "two").await;
    open(&fleet, "two");
    open(&fleet, "one");
    fleet.task_is(&second, "succeeded", SOON).await;
}
