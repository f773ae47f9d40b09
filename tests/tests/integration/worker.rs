//! The server's own worker: steps without targets run once, on the server's machine.

use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, QUICK, SOON, project_of, quoted};

/// Tells on which machine it ran, then once on each web server.
fn process(fleet: &Fleet) -> String {
    let once = fleet.effects.shell("start", "once", "$MANTLE_TARGET");
    let each = fleet.effects.shell("start", "each", "$MANTLE_TARGET");
    format!(
        "  - {{ step: Once, uses: script, with: {{ run: {} }} }}\n  - {{ step: Each, targets: {{ tag: web }}, uses: script, with: {{ run: {} }} }}\n",
        quoted(&format!("{once}\necho from $MANTLE_TARGET")),
        quoted(&each)
    )
}

async fn works(fleet: &Fleet) {
    fleet.server.target_is("server-worker", true, SOON).await;
}

#[tokio::test]
async fn steps_without_targets_run_once_on_the_servers_own_worker_which_is_kept_running() {
    let env = [QUICK, &[("MANTLE_WORKER", "beside")]].concat();
    let mut fleet = Fleet::server_only(&env).await;
    fleet.join("web01", "web", None).await;
    fleet.join("web02", "web", None).await;
    fleet.all_online().await;
    works(&fleet).await;
    fleet.release("site", &process(&fleet)).await;
    fleet.deploy("site").await.ok();
    let done = [
        ("once", "server-worker"),
        ("each", "web01"),
        ("each", "web02"),
    ];
    fleet.effects.assert_each_once(done);
    let log = fleet.log("T-1").await;
    assert!(
        log.iter().any(|line| line.text == "from server-worker"),
        "{log:?}"
    );

    // It is started again when it dies, as the same agent.
    let shown = fleet
        .server
        .json(&["target", "show", "server-worker"])
        .await;
    let agent = shown["agent"]["id"].clone();
    let pid = worker_process(&fleet).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for("another process of it", SOON, || async {
        match worker_process(&fleet) {
            Some(other) if other != pid => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    works(&fleet).await;
    let shown = fleet
        .server
        .json(&["target", "show", "server-worker"])
        .await;
    assert_eq!(shown["agent"]["id"], agent);
    fleet.deploy("site").await.ok();

    // It ends with the server, and comes back with it.
    assert!(fleet.server.stop().await.success());
    assert_eq!(worker_process(&fleet), None, "it went with the server");
    fleet.server.restart().await;
    works(&fleet).await;
    fleet.all_online().await;
    fleet.deploy("site").await.ok();
    assert_eq!(fleet.effects.count("start", "once", "server-worker"), 3);
}

/// The worker's process: the one that runs with its folder.
fn worker_process(fleet: &Fleet) -> Option<rustix::process::Pid> {
    let home = format!(
        "TENTACLE_DATA={}",
        fleet.server.data().join("worker").display()
    );
    fleet.world.processes().into_iter().find_map(|pid| {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let holds = |bytes: Vec<u8>, wanted: &[u8]| {
            bytes.split(|byte| *byte == 0).any(|part| part == wanted)
        };
        let is = holds(read("environ"), home.as_bytes()) && holds(read("cmdline"), b"run");
        is.then(|| rustix::process::Pid::from_raw(pid)).flatten()
    })
}

/// The system tells the worker of it, whatever the server could still say: none is left to take work, and
/// none stands in the way of the next.
#[tokio::test]
async fn the_worker_goes_with_a_killed_server_and_its_steps_go_on() {
    let env = [QUICK, &[("MANTLE_WORKER", "beside")]].concat();
    let mut fleet = Fleet::server_only(&env).await;
    works(&fleet).await;
    let ready = fleet.world.path("ready");
    let gate = fleet.world.path("gate");
    let done = fleet.world.path("done");
    let run = format!(
        "touch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\ntouch {}",
        ready.display(),
        gate.display(),
        done.display()
    );
    let process = format!(
        "  - {{ step: Once, uses: script, with: {{ run: {} }} }}\n",
        quoted(&run)
    );
    fleet.release("site", &process).await;
    let task = fleet.detach("site").await;
    wait_for("the step", SOON, || async { there(&ready) }).await;
    let pid = worker_process(&fleet).expect("it runs");
    fleet.server.kill9();
    wait_for("its end", SOON, || async {
        match worker_process(&fleet) {
            None => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(!done.exists(), "the step waits");
    fleet.server.restart().await;
    works(&fleet).await;
    assert_ne!(worker_process(&fleet), Some(pid));
    std::fs::write(&gate, b"").unwrap();
    wait_for("the step's end", SOON, || async { there(&done) }).await;
    fleet.task_is(&task, "succeeded", SOON).await;
}

/// Whoever starts the server without its worker is told of what that was at work on, and it is found again
/// when the worker is back.
#[tokio::test]
async fn what_the_worker_of_a_killed_server_did_is_explained_without_it_and_found_with_it() {
    let mut fleet = Fleet::server_only(&[QUICK, &[("MANTLE_WORKER", "beside")]].concat()).await;
    works(&fleet).await;
    let gate = fleet.world.path("gate");
    let run = format!(
        "{}\nwhile [ ! -e {} ]; do sleep 0.05; done\n{}",
        fleet.effects.shell("start", "once", "$MANTLE_TARGET"),
        gate.display(),
        fleet.effects.shell("end", "once", "$MANTLE_TARGET"),
    );
    let process = format!(
        "  - {{ step: Once, uses: script, with: {{ run: {} }} }}\n",
        quoted(&run)
    );
    fleet.release("site", &process).await;
    let task = fleet.detach("site").await;
    let noted = |what: &str| fleet.effects.count(what, "once", "server-worker") == 1;
    wait_until("the step runs", SOON, || noted("start")).await;
    fleet.server.kill9();
    fleet.server.set_args(&["--no-worker"]);
    fleet.server.restart().await;

    let said = fleet.server.process().stderr();
    assert!(said.contains("does not run without --worker"), "{said}");
    let shown = fleet.server.ok(&["task", "show", &task]).await.stdout;
    for part in [
        " running",
        "'Once' on server-worker may run, but its agent is not connected",
        "'mantle server run --worker'",
        &format!("mantle task resolve {task}"),
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // It goes on by itself, and nobody takes silence for an end.
    std::fs::write(&gate, b"").unwrap();
    let noted = |what: &str| fleet.effects.count(what, "once", "server-worker") == 1;
    wait_until("the step's end", SOON, || noted("end")).await;
    assert_eq!(fleet.task(&task).await["state"], "running");

    assert!(fleet.server.stop().await.success());
    fleet.server.set_args(&[]);
    fleet.server.restart().await;
    let over = fleet.task_is(&task, "succeeded", SOON).await;
    let action = &over["steps"][0]["targets"][0]["actions"][0];
    assert_eq!(action["attempts"], 1, "{over}");
    fleet.effects.assert_each_once([("once", "server-worker")]);
}

fn there(path: &std::path::Path) -> Result<(), String> {
    path.exists()
        .then_some(())
        .ok_or_else(|| "not yet".to_owned())
}

#[tokio::test]
async fn without_a_worker_a_step_without_targets_is_refused_and_says_how_to_have_one() {
    let fleet = Fleet::new(1).await;
    let process = process(&fleet);
    fleet.apply("site", &project_of("site", &process)).await;
    fleet.server.ok(&["release", "create", "site", "1.0"]).await;
    let refused = fleet.deploy("site").await.exit(6);
    let refused = refused.complains(&["Once", "has no targets", "--worker"]);
    // Any machine will do that has the tag, wherever it is.
    assert!(refused.stderr.contains("server-worker"), "{refused}");
    fleet
        .server
        .ok(&["target", "tag", "web01", "server-worker"])
        .await;
    fleet.deploy("site").await.ok();
    fleet
        .effects
        .assert_each_once([("once", "web01"), ("each", "web01")]);
}

#[tokio::test]
async fn a_worker_without_a_program_is_said_at_the_start() {
    let world = mantle_tests::World::new();
    let data = world.path("data").display().to_string();
    let missing = world.path("nowhere").display().to_string();
    let cli = mantle_tests::cli::Cli::new(&world, &mantle_tests::binaries::binary("mantle"));
    let worker = format!("--worker={missing}");
    let args = [
        "server",
        "run",
        "--data",
        &data,
        "--listen-https",
        "127.0.0.1:0",
        &worker,
    ];
    let refused = cli.run(&args).await.exit(2);
    refused.complains(&[
        "its worker needs the agent's program",
        "nowhere",
        "--worker=PROGRAM",
    ]);
}
