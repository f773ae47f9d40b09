//! The queue of a real server: who starts when there is no room, and what waits for its time.

use mantle_tests::cli::Output;
use mantle_tests::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::fleet::{Fleet, SOON, number, quoted};

/// A server on which one task runs at a time, with one agent.
async fn narrow() -> Fleet {
    let mut fleet = Fleet::server_only(&[("MANTLE_MAX_RUNNING", "1")]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    fleet
}

/// A project that may go anywhere, whose one step notes its start and end; with a gate between.
async fn project(fleet: &Fleet, name: &str, gated: bool) {
    let wait = if gated {
        format!(
            "while [ ! -e '{}' ]; do sleep 0.02; done",
            fleet.world.path("gate").display()
        )
    } else {
        String::new()
    };
    let where_to = format!("{name}-$MANTLE_ENVIRONMENT");
    let script = format!(
        "{}\n{wait}\n{}",
        fleet.effects.shell("start", name, &where_to),
        fleet.effects.shell("end", name, &where_to),
    );
    let text = format!(
        "mantle: v1\nproject: {name}\nprocess:\n  - {{ step: only, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.apply(name, &text).await;
    fleet.server.ok(&["release", "create", name, "1.0"]).await;
}

async fn deploy(fleet: &Fleet, project: &str, to: &str, more: &[&str]) -> String {
    let args = ["deploy", project, "1.0", "-e", to, "--detach"];
    number(&fleet.server.json(&[&args, more].concat()).await)
}

async fn queue(fleet: &Fleet) -> Vec<Value> {
    let printed = fleet.server.json(&["task", "queue"]).await;
    printed["items"].as_array().unwrap().clone()
}

fn numbers(queue: &[Value]) -> Vec<&str> {
    queue
        .iter()
        .map(|task| task["number"].as_str().unwrap())
        .collect()
}

fn why<'a>(queue: &'a [Value], task: &str) -> &'a str {
    let own = queue.iter().find(|one| one["number"] == task).unwrap();
    own["waiting"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_place_projects_take_turns_and_who_is_urgent_or_moved_comes_first() {
    let fleet = narrow().await;
    project(&fleet, "hold", true).await;
    for name in ["a", "b", "c"] {
        project(&fleet, name, false).await;
    }
    let hold = deploy(&fleet, "hold", "test", &[]).await;
    fleet.task_is(&hold, "running", SOON).await;
    let a_test = deploy(&fleet, "a", "test", &[]).await;
    let a_live = deploy(&fleet, "a", "production", &[]).await;
    let b_test = deploy(&fleet, "b", "test", &[]).await;
    let c_test = deploy(&fleet, "c", "test", &["--priority", "high"]).await;
    let again = deploy(&fleet, "hold", "test", &[]).await;

    let waits = queue(&fleet).await;
    assert_eq!(
        numbers(&waits),
        [&c_test, &a_test, &b_test, &a_live, &again],
        "{waits:?}"
    );
    assert!(why(&waits, &a_test).contains("one task runs at a time"));
    let behind = format!("waits for {hold}, which runs");
    assert!(why(&waits, &again).starts_with(&behind), "{waits:?}");
    let printed = fleet.server.ok(&["task", "list", "--queued"]).await;
    assert!(printed.stdout.contains(&behind), "{printed}");

    fleet.server.ok(&["task", "move-to-top", &a_live]).await;
    let order = [&a_live, &c_test, &a_test, &b_test, &again];
    assert_eq!(numbers(&queue(&fleet).await), order);
    let running = fleet.server.run(&["task", "move-to-top", &hold]).await;
    assert_eq!(running.code, Some(6), "{running}");

    fleet.world.file("gate", "");
    for task in order {
        fleet.task_is(task, "succeeded", SOON).await;
    }
    let done: Vec<(String, String)> = fleet
        .effects
        .read()
        .into_iter()
        .map(|effect| (effect.what, effect.target))
        .collect();
    let alternate = done.chunks(2).all(|pair| {
        matches!(pair, [(start, one), (end, other)] if start == "start" && end == "end" && one == other)
    });
    assert!(alternate, "one at a time: {done:?}");
    let began: Vec<&str> = done
        .iter()
        .step_by(2)
        .map(|(_, who)| who.as_str())
        .collect();
    let expected = [
        "hold-test",
        "a-production",
        "c-test",
        "a-test",
        "b-test",
        "hold-test",
    ];
    assert_eq!(began, expected);
    assert!(queue(&fleet).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_and_phases_make_their_deployments_urgent() {
    let fleet = narrow().await;
    fleet
        .apply(
            "urgent",
            "mantle: v1
environments: [{ name: test }, { name: production, priority: high }]
",
        )
        .await;
    project(&fleet, "hold", true).await;
    project(&fleet, "a", false).await;
    let hold = deploy(&fleet, "hold", "test", &[]).await;
    fleet.task_is(&hold, "running", SOON).await;
    let usual = deploy(&fleet, "a", "test", &[]).await;
    let urgent = deploy(&fleet, "a", "production", &[]).await;
    assert_eq!(numbers(&queue(&fleet).await), [&urgent, &usual]);
    fleet.world.file("gate", "");
    fleet.task_is(&usual, "succeeded", SOON).await;
}

fn said(output: &Output, part: &str) {
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains(part), "{part}: {output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_scheduled_begins_at_its_time_also_over_a_killed_server() {
    let mut fleet = narrow().await;
    project(&fleet, "a", false).await;
    let before = jiff::Timestamp::now();
    let task = deploy(&fleet, "a", "test", &["--at", "in 4s"]).await;
    let waits = queue(&fleet).await;
    assert!(
        why(&waits, &task).starts_with("is scheduled for"),
        "{waits:?}"
    );
    said(&fleet.server.ok(&["task", "list"]).await, "starts in");
    fleet.server.kill9();
    fleet.server.restart().await;
    let over = fleet.task_is(&task, "succeeded", SOON).await;
    let began: jiff::Timestamp = over["started_at"].as_str().unwrap().parse().unwrap();
    let waited = began.duration_since(before);
    assert!(waited >= jiff::SignedDuration::from_secs(4), "{waited:?}");
    fleet.effects.assert_each_once([("a", "a-test")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_or_is_cancelled_before_its_turn_never_runs() {
    let fleet = narrow().await;
    project(&fleet, "hold", true).await;
    project(&fleet, "a", false).await;
    let hold = deploy(&fleet, "hold", "test", &[]).await;
    fleet.task_is(&hold, "running", SOON).await;
    let late = deploy(&fleet, "a", "test", &["--expires", "in 1s"]).await;
    let over = fleet.task_is(&late, "timed-out", SOON).await;
    let message = over["message"].as_str().unwrap();
    assert!(message.contains("its turn had not come"), "{message}");
    let waited = fleet.server.run(&["task", "wait", &late]).await;
    assert_eq!(waited.code, Some(3), "{waited}");
    said(&waited, "its turn had not come");

    let planned = deploy(&fleet, "a", "test", &["--at", "in 1 day"]).await;
    fleet.server.ok(&["task", "cancel", &planned]).await;
    fleet.task_is(&planned, "cancelled", SOON).await;
    let deploy_a = ["deploy", "a", "1.0", "-e", "test"];
    for (more, part) in [
        (["--at", "in 31 days"], "more than 30 days ahead"),
        (["--at", "2020-01-01 00:00"], "which is over: it is "),
        (["--expires", "2020-01-01 10:00"], "which is over"),
    ] {
        let refused = fleet.server.run(&[&deploy_a[..], &more].concat()).await;
        assert_eq!(refused.code, Some(7), "{refused}");
        said(&refused, part);
    }
    let nonsense = [&deploy_a[..], &["--at", "soon"]].concat();
    assert_eq!(fleet.server.run(&nonsense).await.code, Some(2));
    fleet.world.file("gate", "");
    fleet.task_is(&hold, "succeeded", SOON).await;
    fleet.effects.assert_each_once([("hold", "hold-test")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_turn_has_come_and_whose_agent_is_away_says_for_whom_it_waits_and_how_long() {
    let mut fleet = narrow().await;
    project(&fleet, "a", false).await;
    let task = deploy(&fleet, "a", "test", &["--at", "in 3s"]).await;
    fleet.server.kill9();
    fleet.agents[0].stop().await;
    fleet.server.restart().await;
    wait_for("it waits for its agent", SOON, || async {
        let waits = queue(&fleet).await;
        let why = why(&waits, &task);
        let awaited = why.starts_with("waits for the agent of web01, which may come back, until ");
        awaited.then_some(()).ok_or_else(|| why.to_owned())
    })
    .await;
    let shown = fleet.server.ok(&["task", "show", &task]).await;
    said(&shown, "queued: it waits for the agent of web01");
    fleet.agents[0].run();
    fleet.task_is(&task, "succeeded", SOON).await;
    fleet.effects.assert_each_once([("a", "a-test")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_a_task_that_waits_is_told_why_once_and_again_when_that_changes() {
    let fleet = narrow().await;
    project(&fleet, "hold", true).await;
    project(&fleet, "a", false).await;
    let hold = deploy(&fleet, "hold", "test", &[]).await;
    fleet.task_is(&hold, "running", SOON).await;
    let first = deploy(&fleet, "a", "test", &[]).await;
    let behind = deploy(&fleet, "a", "test", &[]).await;
    let full = format!("{first} waits for its turn: one task runs at a time on this server");
    let second = format!("queued behind {first}, which deploys a into test");
    let turn = format!("{behind} waits for its turn: one task runs at a time on this server");
    let follow = |name: &str, args: &[&str]| {
        let said = fleet.world.path(name);
        let mut command = fleet.server.cli().command(args);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap());
        (command.spawn().unwrap(), said)
    };
    let mut followers = [
        follow("wait.said", &["task", "wait", &behind]),
        follow("logs.said", &["task", "logs", &behind, "--follow"]),
        follow("first.said", &["task", "wait", &first]),
    ];
    let said = followers.each_ref().map(|(_, said)| said.clone());
    let heard = async |at: usize, part: &str| {
        wait_for(part, SOON, || async {
            let said = std::fs::read_to_string(&said[at]).unwrap();
            let is_there = said.contains(part);
            is_there.then_some(()).ok_or(said)
        })
        .await;
    };
    heard(0, &second).await;
    heard(1, &second).await;
    heard(2, &full).await;
    // The one before goes, and it waits for room alone.
    fleet.server.ok(&["task", "cancel", &first]).await;
    heard(0, &turn).await;
    heard(1, &turn).await;
    fleet.world.file("gate", "");
    fleet.task_is(&behind, "succeeded", SOON).await;
    wait_until("the followers end", SOON, || {
        let mut children = followers.iter_mut();
        children.all(|(child, _)| child.try_wait().unwrap().is_some())
    })
    .await;
    for (at, part) in [
        (0, &second),
        (0, &turn),
        (1, &second),
        (1, &turn),
        (2, &full),
    ] {
        let said = std::fs::read_to_string(&said[at]).unwrap();
        assert_eq!(said.matches(part.as_str()).count(), 1, "{part}: {said}");
    }
}
