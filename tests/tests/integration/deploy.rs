//! The main job with real processes: a release rolls over agents, and what it prints is live.

use std::time::{Duration, SystemTime};

use mantle_tests::Effects;
use mantle_tests::proxy::Proxy;
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::fleet::{Fleet, SOON, journal, lines, number, project_of, quoted};

/// How many targets were between `begin` and `end` of a rolling step at most.
pub fn open_at_most(effects: &Effects, begin: &str, end: &str) -> usize {
    let (mut open, mut most) = (std::collections::BTreeSet::new(), 0);
    for effect in effects.read() {
        if effect.step == begin && effect.what == "start" {
            open.insert(effect.target.clone());
        }
        most = most.max(open.len());
        if effect.step == end && effect.what == "end" {
            open.remove(&effect.target);
        }
    }
    most
}

fn noted(effects: &Effects, action: &str, between: &str) -> String {
    format!(
        "{}\n{between}\n{}",
        effects.shell("start", action, "$MANTLE_TARGET"),
        effects.shell("end", action, "$MANTLE_TARGET")
    )
}

#[tokio::test]
async fn a_release_rolls_over_three_agents_and_is_promoted() {
    let mut fleet = Fleet::new(3).await;
    fleet.join("lb01", "balancer", None).await;
    fleet.all_online().await;
    fleet
        .push(
            "Site",
            "1.0",
            &[(
                "version.txt",
                "#{Octopus.Release.Number} on #{Octopus.Machine.Name}",
            )],
        )
        .await;
    let prepare = noted(
        &fleet.effects,
        "prepare",
        "mantle_set Port \"80-$MANTLE_TARGET\"; sleep 0.2",
    );
    let balance = noted(
        &fleet.effects,
        "balance",
        "echo \"for $MANTLE_TARGET in $PWD\"",
    );
    let check = noted(
        &fleet.effects,
        "check",
        "cat \"$(mantle_get 'Octopus.Action[install].Output.Package.CurrentDirectoryPath')/version.txt\"; echo
echo \"port $(mantle_get 'Octopus.Action[prepare].Output.Port')\"",
    );
    let process = format!(
        "  - step: farm
    targets: {{ tag: web }}
    rolling: {{ window: 2 }}
    actions:
      - {{ action: prepare, uses: script, with: {{ run: {} }} }}
      - {{ action: balance, uses: script, run_on: {{ tag: balancer }}, with: {{ run: {} }} }}
      - {{ action: install, uses: package, with: {{ package: Site, substitute: version.txt }} }}
      - {{ action: check, uses: script, with: {{ run: {} }} }}
",
        quoted(&prepare),
        quoted(&balance),
        quoted(&check)
    );
    let yaml = project_of("site", &process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    fleet.apply("site", &yaml).await;
    fleet.server.ok(&["release", "create", "site", "1.0"]).await;

    let deployed = fleet.deploy("site").await.ok();
    assert!(
        deployed.stdout.contains("T-1 site 1.0 -> test succeeded"),
        "{deployed}"
    );
    let all: Vec<(&str, &str)> = ["prepare", "balance", "check"]
        .into_iter()
        .flat_map(|action| ["web01", "web02", "web03"].map(|target| (action, target)))
        .collect();
    fleet.effects.assert_each_once(all.iter().copied());
    assert_eq!(
        open_at_most(&fleet.effects, "prepare", "check"),
        2,
        "the window is used and kept"
    );

    let log = fleet.log("T-1").await;
    let said = |target: &str, text: &str| {
        log.iter()
            .any(|line| line.target == target && line.text == text)
    };
    for target in ["web01", "web02", "web03"] {
        assert!(said(target, &format!("1.0 on {target}")), "{log:?}");
        assert!(said(target, &format!("port 80-{target}")), "{log:?}");
    }
    let task = fleet.task("T-1").await;
    let actions = task["steps"][0]["targets"][0]["actions"]
        .as_array()
        .unwrap();
    assert_eq!(actions[1]["executor"], "lb01");
    assert_eq!(actions[0]["executor"], "web01");

    let promote = ["promote", "site", "--from", "test", "-e", "production"];
    let promoted = fleet.server.run(&promote).await.ok();
    assert!(
        promoted.stdout.contains("site 1.0 -> production succeeded"),
        "{promoted}"
    );
    let twice = fleet
        .effects
        .read()
        .iter()
        .filter(|e| e.what == "end")
        .count();
    assert_eq!(twice, 18);
    fleet.server.ok(&["audit", "verify"]).await;
}

#[tokio::test]
async fn s39_a_line_of_an_idle_script_is_at_a_follower_at_once() {
    const SAMPLES: usize = 40;
    // Each way.
    let delay = Duration::from_millis(25);
    let mut fleet = Fleet::server_only(&[]).await;
    let line = Proxy::start(fleet.server.addresses().quic, 39).unwrap();
    fleet.join("web01", "web", Some(line.addr())).await;
    fleet.all_online().await;
    line.delay(if sabotage::is_on("slow-line") {
        Duration::from_millis(400)
    } else {
        delay
    });
    // It begins once somebody listens, so that every line counts.
    let script = format!(
        "echo ready; while [ ! -e '{}' ]; do sleep 0.02; done
n=0; while [ $n -lt {SAMPLES} ]; do sleep 0.2; echo \"at $(date +%s%N)\"; n=$((n+1)); done",
        fleet.world.path("gate").display()
    );
    let process = format!(
        "  - {{ step: idle, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.release("idle", &process).await;
    let task = fleet.detach("idle").await;

    let args = ["task", "logs", &task, "--follow", "-o", "json"];
    let mut follower = tokio::process::Command::from(fleet.server.cli().command(&args))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut late = Vec::new();
    while let Some(line) = tokio::time::timeout(SOON, printed.next_line())
        .await
        .expect("the next line in time")
        .unwrap()
    {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        for line in lines(&line) {
            if line.text == "ready" {
                fleet.world.file("gate", "");
            } else if let Some(at) = line.text.strip_prefix("at ") {
                let at = Duration::from_nanos(at.parse().unwrap());
                late.push(now.saturating_sub(at));
            }
        }
    }
    assert!(follower.wait().await.unwrap().success());
    assert_eq!(late.len(), SAMPLES, "{late:?}");
    late.sort();
    let (soonest, latest) = (late[0], late[SAMPLES - 1]);
    assert!(soonest >= delay, "the line was as slow as that: {late:?}");
    // The time here is that of four processes of a debug build on a machine that does other things
    // besides, so that one line in twenty may meet a moment in which its turn does not come. Waiting
    // by design, as between two looks, would show in more of them, and none waits as long as that.
    let within = Duration::from_millis(250) + delay * 2;
    assert!(late[SAMPLES * 19 / 20 - 1] < within, "{late:?}");
    assert!(latest < Duration::from_secs(2), "{late:?}");
}

#[tokio::test]
async fn a_failed_target_stops_the_rest_of_its_step() {
    let fleet = Fleet::new(3).await;
    let work = format!(
        "{}; [ $MANTLE_TARGET != web02 ] || exit 7",
        fleet.effects.shell("start", "work", "$MANTLE_TARGET")
    );
    let after = fleet.effects.shell("start", "after", "$MANTLE_TARGET");
    let tell = fleet.effects.shell("start", "tell", "$MANTLE_TARGET");
    let process = format!(
        "  - step: farm
    targets: {{ tag: web }}
    rolling: {{ window: 1 }}
    actions:
      - {{ action: work, uses: script, with: {{ run: {} }} }}
      - {{ action: after, uses: script, with: {{ run: {} }} }}
  - {{ step: tell, run: failure, targets: {{ tag: web, pick: one }}, uses: script, with: {{ run: {} }} }}
  - {{ step: never, targets: {{ tag: web }}, uses: script, with: {{ run: 'touch never' }} }}
",
        quoted(&work),
        quoted(&after),
        quoted(&tell)
    );
    fleet.release("fails", &process).await;
    let output = fleet.deploy("fails").await.exit(3);
    let output = output.complains(&["web02", "work", "exit code 7", "mantle task logs T-1"]);
    assert!(output.stdout.contains("failed"), "{output}");
    fleet.effects.assert_each_once([
        ("work", "web01"),
        ("after", "web01"),
        ("work", "web02"),
        ("tell", "web01"),
    ]);
    fleet.server.run(&["task", "wait", "T-1"]).await.exit(3);
}

#[tokio::test]
async fn two_deployments_into_one_environment_run_one_after_the_other() {
    let fleet = Fleet::new(1).await;
    let gate = fleet.world.path("gate");
    let script = format!(
        "{}; while [ ! -e '{}' ]; do sleep 0.05; done; {}",
        fleet.effects.shell("start", "work", "$MANTLE_TASK"),
        gate.display(),
        fleet.effects.shell("end", "work", "$MANTLE_TASK"),
    );
    let process = format!(
        "  - {{ step: work, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.release("queue", &process).await;
    let first = fleet.detach("queue").await;
    let second = fleet.detach("queue").await;
    let third = fleet.detach("queue").await;
    wait_until("the first has begun", SOON, || {
        fleet.effects.read().len() == 1
    })
    .await;
    assert_eq!(fleet.task(&second).await["state"], "queued");

    // S43: what was not ordered yet is cancelled without a word to the agent.
    let cancelled = fleet.server.run(&["task", "cancel", &third]).await.ok();
    assert!(cancelled.stdout.contains(&third), "{cancelled}");
    fleet.task_is(&third, "cancelled", SOON).await;
    std::fs::write(&gate, "").unwrap();
    fleet.task_is(&second, "succeeded", SOON).await;
    let order: Vec<String> = fleet
        .effects
        .read()
        .into_iter()
        .map(|effect| format!("{} {}", effect.what, effect.target))
        .collect();
    let expected = [
        ("start", &first),
        ("end", &first),
        ("start", &second),
        ("end", &second),
    ]
    .map(|(what, task)| format!("{what} {task}"));
    assert_eq!(order, expected);
    fleet.server.run(&["task", "wait", &third]).await.exit(20);
}

fn of_an_attempt(record: &serde_json::Value) -> bool {
    !record["attempt"].is_null()
}

#[tokio::test]
async fn s43_a_step_that_is_cancelled_while_it_waits_is_never_ordered() {
    let fleet = Fleet::new(2).await;
    let script = format!(
        "{}; sleep 60",
        fleet.effects.shell("start", "work", "$MANTLE_TARGET")
    );
    let process = format!(
        "  - {{ step: work, targets: {{ tag: web }}, rolling: {{ window: 1 }}, uses: script, grace: 1s, with: {{ run: {} }} }}\n",
        quoted(&script)
    );
    fleet.release("waits", &process).await;
    let mut waiting = fleet.beside("deploy", &["deploy", "waits", "1.0", "-e", "test"]);
    wait_until("web01 works", SOON, || fleet.effects.read().len() == 1).await;
    if !sabotage::is_on("cancel-not-sent") {
        fleet.server.ok(&["task", "cancel", "T-1"]).await;
    }
    let code = wait_for("the deployment is over", SOON, || {
        let ended = waiting.ended();
        async move { ended.ok_or_else(|| "it runs".to_owned()) }
    })
    .await;
    assert_eq!(code.code(), Some(20), "{}", waiting.stderr());
    fleet.effects.assert_each_once([("work", "web01")]);
    let task = fleet.task("T-1").await;
    let targets = task["steps"][0]["targets"].as_array().unwrap();
    let action = |name: &str| {
        let target = targets.iter().find(|t| t["target"] == name).unwrap();
        target["actions"][0].clone()
    };
    let (first, second) = (action("web01"), action("web02"));
    assert_eq!(
        (&first["state"], &first["attempts"]),
        (&"cancelled".into(), &1.into()),
        "{first}"
    );
    assert_eq!(
        (&second["state"], &second["attempts"]),
        (&"cancelled".into(), &0.into()),
        "{second}"
    );
    let passed_over = targets.iter().find(|t| t["target"] == "web02").unwrap();
    assert_eq!(passed_over["state"], "cancelled", "{passed_over}");
    // The agent's own records know nothing of it: neither an order nor a cancel.
    assert!(journal(&fleet.agents[0]).iter().any(of_an_attempt));
    let heard = journal(&fleet.agents[1]);
    assert!(!heard.iter().any(of_an_attempt), "{heard:?}");
    assert_eq!(number(&task), "T-1");
}
