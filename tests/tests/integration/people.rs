//! Deployments that wait for people, with real processes: failures that are judged, manual actions
//! that are signed, a roll-out that stops after its first target. And what goes on meanwhile.

use std::time::{Duration, Instant};

use mantle_tests::cli::{Cli, Output};
use mantle_tests::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::fleet::{Fleet, SOON, number, quoted};

/// A project in which `first` goes through the targets one by one, and fails where a file of the
/// target's name is; then `second` is about all of them.
async fn fragile(fleet: &Fleet, name: &str, rolling: &str) {
    let trap = fleet.world.path(&format!("{name}-trap-"));
    let first = format!(
        "{}\n[ ! -e '{}'\"$MANTLE_TARGET\" ] || exit 3\n{}",
        fleet.effects.shell("try", name, "$MANTLE_TARGET"),
        trap.display(),
        fleet.effects.shell("first", name, "$MANTLE_TARGET"),
    );
    let second = fleet.effects.shell("second", name, "$MANTLE_TARGET");
    let process = format!(
        "  - step: Farm\n    targets: {{ tag: web }}\n    rolling: {{ window: 1{rolling} }}\n    actions:\n      - {{ action: first, uses: script, with: {{ run: {} }} }}\n  - {{ step: Rest, targets: {{ tag: web }}, actions: [{{ action: second, uses: script, with: {{ run: {} }} }}] }}\n",
        quoted(&first),
        quoted(&second),
    );
    fleet.release(name, &process).await;
}

fn set_trap(fleet: &Fleet, name: &str, target: &str) {
    fleet.world.file(&format!("{name}-trap-{target}"), "");
}

async fn detach(fleet: &Fleet, project: &str, more: &[&str]) -> String {
    let args = ["deploy", project, "1.0", "-e", "test", "--detach"];
    number(&fleet.server.json(&[&args, more].concat()).await)
}

/// Waits until a task asks something, and gives that.
async fn asked(fleet: &Fleet, task: &str) -> Value {
    wait_for(&format!("{task} asks"), SOON, || async {
        let list = ["interruption", "list", "--task", task, "-o", "json"];
        let list = fleet.server.run(&list).await;
        let open = list.code == Some(0);
        let items = if open { list.json() } else { Value::Null };
        let items = items["items"].as_array().cloned().unwrap_or_default();
        let found = items.into_iter().find(|one| one["state"] == "open");
        found.ok_or_else(|| list.to_string())
    })
    .await
}

async fn answer(fleet: &Fleet, name: &str, answer: &str) -> Output {
    let args = ["interruption", "answer", name, answer];
    fleet.server.run(&args).await
}

fn id(one: &Value) -> &str {
    one["id"].as_str().unwrap()
}

fn did(fleet: &Fleet, what: &str, name: &str) -> Vec<String> {
    let effects = fleet.effects.read();
    let own = effects
        .into_iter()
        .filter(|effect| effect.what == what && effect.step == name);
    own.map(|effect| effect.target).collect()
}

/// The operator's commands under a key of their own.
async fn somebody(fleet: &Fleet, name: &str, team: &str) -> Cli {
    let args = ["apikey", "create", name, "--team", team];
    let key = fleet.server.ok(&args).await.stdout;
    fleet.server.cli().env("MANTLE_TOKEN", key.trim())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_judged_in_each_way() {
    let fleet = Fleet::new(2).await;
    for (given, state, tried, first, second) in [
        ("retry", "succeeded", 3, vec!["web01", "web02"], 2),
        ("ignore", "succeeded", 2, vec!["web02"], 2),
        ("exclude", "succeeded", 2, vec!["web02"], 1),
        ("fail", "failed", 1, vec![], 0),
    ] {
        fragile(&fleet, given, "").await;
        set_trap(&fleet, given, "web01");
        let task = detach(&fleet, given, &["--guided-failure"]).await;
        let one = asked(&fleet, &task).await;
        assert_eq!(one["kind"], "failure", "{one}");
        assert_eq!(one["target"], "web01", "{one}");
        assert!(
            one["question"].as_str().unwrap().contains("exit code 3"),
            "{one}"
        );
        let shown = fleet.server.ok(&["task", "show", &task]).await;
        assert!(
            shown.stdout.contains(&format!(
                "mantle interruption answer {} retry|ignore|exclude|fail",
                id(&one)
            )),
            "{shown}"
        );
        assert!(shown.stdout.contains("waits for a person"), "{shown}");
        std::fs::remove_file(fleet.world.path(&format!("{given}-trap-web01"))).unwrap();
        answer(&fleet, id(&one), given).await.ok();
        let end = fleet.task_is(&task, state, SOON).await;
        assert_eq!(did(&fleet, "try", given).len(), tried, "{given}");
        assert_eq!(did(&fleet, "first", given), first, "{given}");
        assert_eq!(did(&fleet, "second", given).len(), second, "{given}");
        if given == "exclude" {
            let message = end["message"].as_str().unwrap();
            assert!(message.contains("went on without web01"), "{end}");
            assert_eq!(end["warnings"], true);
        }
        let late = answer(&fleet, id(&one), "retry").await;
        assert_eq!(late.code, Some(6), "{late}");
        late.complains(&[given, "mantle task show"]);
    }
    let trail = fleet.server.ok(&["audit", "list", "-n", "200"]).await;
    for action in [
        "interruption.raise",
        "interruption.answer",
        "interruption.close",
    ] {
        assert!(trail.stdout.contains(action), "{action}: {trail}");
    }
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environment_project_and_operator_say_whether_anybody_is_asked() {
    let fleet = Fleet::new(1).await;
    let guided = "mantle: v1\nenvironments: [{ name: test, guided_failure: true }]\n";
    fleet.apply("guided", guided).await;
    fragile(&fleet, "shop", "").await;
    set_trap(&fleet, "shop", "web01");
    let plan = fleet
        .server
        .ok(&["plan", "shop", "1.0", "-e", "test"])
        .await;
    assert!(plan.stdout.contains("a failure asks a person"), "{plan}");
    let unguided = detach(&fleet, "shop", &["--no-guided-failure"]).await;
    fleet.task_is(&unguided, "failed", SOON).await;
    let task = detach(&fleet, "shop", &[]).await;
    let one = asked(&fleet, &task).await;
    let status = fleet.server.ok(&["status"]).await;
    assert!(status.stdout.contains("waits for a person"), "{status}");
    // A cancel ends the wait.
    fleet.server.ok(&["task", "cancel", &task]).await;
    fleet.task_is(&task, "cancelled", SOON).await;
    let late = answer(&fleet, id(&one), "retry").await;
    assert_eq!(late.code, Some(6), "{late}");
}

/// A step, two people of a team, a step that prints what they said.
fn signed(fleet: &Fleet) -> String {
    let before = fleet.effects.shell("before", "signed", "$MANTLE_TARGET");
    let after = format!(
        "{}\necho \"notes: $(get_octopusvariable 'Octopus.Action[Sign].Output.Manual.Notes')\"\necho \"by: $(get_octopusvariable 'Octopus.Action[Sign].Output.Manual.ResponsibleUser.DisplayName')\"",
        fleet.effects.shell("after", "signed", "$MANTLE_TARGET"),
    );
    format!(
        "  - {{ step: Begin, targets: {{ tag: web }}, actions: [{{ action: before, uses: script, with: {{ run: {} }} }}] }}
  - {{ step: Sign, uses: manual, with: {{ instructions: 'May #{{Octopus.Release.Number}} stay?', teams: [managers], approvals: 2, four_eyes: true }} }}
  - {{ step: End, targets: {{ tag: web }}, actions: [{{ action: after, uses: script, with: {{ run: {} }} }}] }}
",
        quoted(&before),
        quoted(&after)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_sign_but_not_who_deployed_and_a_killed_server_forgets_neither() {
    let mut fleet = Fleet::new(1).await;
    fleet.release("signed", &signed(&fleet)).await;
    let plan = fleet
        .server
        .ok(&["plan", "signed", "1.0", "-e", "test"])
        .await;
    let plan = plan.complains(&["mantle team add managers KEY"]);
    assert!(plan.stdout.contains("required"), "{plan}");
    let skip = ["deploy", "signed", "1.0", "-e", "test", "--skip", "Sign"];
    let skip = fleet.server.run(&skip).await;
    assert_eq!(skip.code, Some(6), "what asks a team is required: {skip}");

    let ann = somebody(&fleet, "ann", "administrators").await;
    let bob = somebody(&fleet, "bob", "managers").await;
    let cat = somebody(&fleet, "cat", "readers").await;
    for name in ["ann", "cat"] {
        fleet.server.ok(&["team", "add", "managers", name]).await;
    }
    // Three may sign, so that ann may deploy; with bob alone beside her nobody could let it go on.
    let plan = ["plan", "signed", "1.0", "-e", "test"];
    let clear = ann.run(&plan).await.ok();
    assert!(!clear.stderr.contains("does not count"), "{clear}");
    fleet
        .server
        .ok(&["team", "remove", "managers", "cat"])
        .await;
    let few = "1 member beside ann, who deploys and does not count: mantle team add managers KEY";
    ann.run(&plan).await.ok().complains(&[few]);
    fleet.server.ok(&["team", "add", "managers", "cat"]).await;
    let args = [
        "deploy", "signed", "1.0", "-e", "test", "--detach", "-o", "json",
    ];
    let task = number(&ann.run(&args).await.ok().json());
    let one = asked(&fleet, &task).await;
    assert_eq!(one["instructions"], "May 1.0 stay?");
    assert_eq!(one["not_by"], "ann");
    let name = id(&one).to_owned();
    let proceed = ["interruption", "answer", name.as_str(), "proceed"];
    // The administrator is in no team that may.
    fleet
        .server
        .run(&proceed)
        .await
        .exit(4)
        .complains(&["'managers'", "mantle team add managers admin"]);
    ann.run(&proceed)
        .await
        .exit(4)
        .complains(&["another person"]);
    let first = bob.run(&proceed).await.ok();
    assert!(first.stdout.contains("1 more person"), "{first}");
    bob.run(&proceed).await.exit(6).complains(&["before"]);

    fleet.server.kill9();
    fleet.server.restart().await;
    let one = asked(&fleet, &task).await;
    assert_eq!(id(&one), name, "it still waits");
    assert_eq!(one["approved_by"][0], "bob");
    let noted = [proceed.as_slice(), &["--notes", "#{looks} good"]].concat();
    cat.run(&noted).await.ok();
    // Whatever it had begun with the answer by now: it is taken in again from where it stands.
    fleet.server.kill9();
    fleet.server.restart().await;
    fleet.task_is(&task, "succeeded", SOON).await;
    assert_eq!(did(&fleet, "before", "signed"), ["web01"], "run once");
    assert_eq!(did(&fleet, "after", "signed"), ["web01"], "run once");
    let log = fleet.log(&task).await;
    for said in ["notes: #{looks} good", "by: cat"] {
        assert!(log.iter().any(|line| line.text == said), "{said}: {log:?}");
    }
    let shown = fleet.server.ok(&["interruption", "show", &name]).await;
    assert!(shown.stdout.contains("2 of 2: bob, cat"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_counts_no_more_once_its_key_is_revoked() {
    let fleet = Fleet::new(1).await;
    fleet.release("signed", &signed(&fleet)).await;
    let mut people = Vec::new();
    for name in ["bob", "cat", "dan"] {
        people.push(somebody(&fleet, name, "managers").await);
    }
    let task = detach(&fleet, "signed", &[]).await;
    let name = id(&asked(&fleet, &task).await).to_owned();
    let proceed = ["interruption", "answer", name.as_str(), "proceed"];
    let [bob, cat, dan] = people.try_into().ok().expect("three people");
    bob.run(&proceed).await.ok();
    fleet.server.ok(&["apikey", "revoke", "bob"]).await;
    wait_for("it counts no more", SOON, || async {
        let one = asked(&fleet, &task).await;
        let counts = one["approved_by"]
            .as_array()
            .is_some_and(|by| !by.is_empty());
        (!counts).then_some(()).ok_or_else(|| one.to_string())
    })
    .await;
    let second = cat.run(&proceed).await.ok();
    assert!(second.stdout.contains("1 more person"), "{second}");
    assert!(did(&fleet, "after", "signed").is_empty());
    dan.run(&proceed).await.ok();
    fleet.task_is(&task, "succeeded", SOON).await;
    let shown = fleet.server.ok(&["interruption", "show", &name]).await;
    assert!(shown.stdout.contains("2 of 2: cat, dan"), "{shown}");
    let typed = ["interruption", "answer", name.as_str(), "withdrawn"];
    assert_ne!(fleet.server.run(&typed).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_person_takes_no_place_holds_no_lock_and_its_clock_stands() {
    let mut fleet = Fleet::server_only(&[("MANTLE_MAX_RUNNING", "1")]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    for name in ["waits", "other"] {
        fragile(&fleet, name, "").await;
    }
    set_trap(&fleet, "waits", "web01");
    let limit = Duration::from_secs(20);
    let options = ["--guided-failure", "--time-limit", "20s"];
    let task = detach(&fleet, "waits", &options).await;
    let one = asked(&fleet, &task).await;
    let since = Instant::now();
    // One task runs at a time here, and scripts have a target alone.
    fleet.deploy("other").await.ok();
    let behind = detach(&fleet, "waits", &[]).await;
    let queue = fleet.server.json(&["task", "queue"]).await;
    let why = queue["items"][0]["waiting"].as_str().unwrap();
    assert!(
        why.contains(&task),
        "of its own key it stays the first: {queue}"
    );
    wait_until("its time would be over", SOON, || since.elapsed() > limit).await;
    let shown = fleet.task(&task).await;
    assert_eq!(shown["state"], "running", "{shown}");
    std::fs::remove_file(fleet.world.path("waits-trap-web01")).unwrap();
    answer(&fleet, id(&one), "retry").await.ok();
    fleet.task_is(&task, "succeeded", SOON).await;
    fleet.task_is(&behind, "succeeded", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_first_target_a_person_lets_the_others_follow_or_not() {
    let fleet = Fleet::new(3).await;
    for (given, state, first) in [
        ("proceed", "succeeded", vec!["web01", "web02", "web03"]),
        ("abort", "failed", vec!["web01"]),
    ] {
        fragile(&fleet, given, ", pause_after_first: true").await;
        let task = detach(&fleet, given, &[]).await;
        let one = asked(&fleet, &task).await;
        assert_eq!(one["kind"], "pause", "{one}");
        assert_eq!(one["step"], "Farm", "{one}");
        // The number of the task will do while it asks one thing.
        answer(&fleet, &task, given).await.ok();
        let end = fleet.task_is(&task, state, SOON).await;
        assert_eq!(did(&fleet, "first", given), first);
        if given == "abort" {
            let message = end["message"].as_str().unwrap();
            assert!(message.contains("stopped 'Farm'"), "{end}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_sees_what_is_asked_and_answered() {
    let fleet = Fleet::new(1).await;
    fragile(&fleet, "shop", "").await;
    set_trap(&fleet, "shop", "web01");
    let args = ["deploy", "shop", "1.0", "-e", "test", "--guided-failure"];
    let watching = fleet.server.cli();
    let watching = tokio::spawn(async move { watching.run(&args).await });
    let task = wait_for("the deployment is there", SOON, || async {
        let list = fleet.server.json(&["task", "list"]).await;
        let first = list["items"][0]["number"].as_str().map(str::to_owned);
        first.ok_or_else(|| list.to_string())
    })
    .await;
    let one = asked(&fleet, &task).await;
    fleet.server.ok(&["interruption", "take", id(&one)]).await;
    answer(&fleet, id(&one), "ignore").await.ok();
    let output = watching.await.unwrap().ok();
    for part in [
        format!("'mantle interruption show {}'", id(&one)),
        "admin answered 'ignore'".to_owned(),
    ] {
        assert!(output.stderr.contains(&part), "{part}: {output}");
    }
    let ignored = "went on although this had failed: 'first' on web01 (ignored by admin)";
    assert!(output.stdout.contains(ignored), "{output}");
}
