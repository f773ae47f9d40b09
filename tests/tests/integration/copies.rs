//! Two machines with one identity (S59): the second is turned away and says why, and the first works on.

use mantle_tests::cli::Cli;
use mantle_tests::process::Process;
use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, QUICK, SOON, quoted};

/// Says where it runs.
fn where_it_runs(fleet: &Fleet) -> String {
    let script = format!(
        "{}\necho \"on $(cat /proc/sys/kernel/hostname)\"",
        fleet.effects.shell("start", "work", "$MANTLE_TARGET")
    );
    format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    )
}

#[tokio::test]
async fn s59_of_two_machines_with_one_identity_the_second_is_turned_away_and_told_why() {
    let mut fleet = Fleet::new(1).await;
    fleet.release("step", &where_it_runs(&fleet)).await;
    let original = fleet.agents[0].data().to_owned();
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();

    // The image of the machine, taken while its agent was stopped, and another machine made of it.
    fleet.agents[0].stop().await;
    let data = fleet.world.path("agent-copy");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&original, &data])
        .status();
    assert!(copied.unwrap().success());
    fleet.agents[0].run();
    fleet.all_online().await;
    let tentacle = Cli::new(&fleet.world, &mantle_tests::binaries::binary("tentacle"))
        .env("TENTACLE_DATA", data.display());
    let run = tentacle.command(&["run"]);
    let mut copy = mantle_tests::namespaces::unshare(&["--uts"]);
    copy.args(["sh", "-c", "hostname copied-machine && exec \"$@\"", "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        .envs(
            run.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .envs(QUICK.iter().copied());
    let mut copy = Process::spawn(&fleet.world, "the copy", copy);

    let told = wait_for("the copy knows why it is turned away", SOON, || async {
        let said = tentacle.run(&["status", "-o", "json"]).await;
        if said.stdout.contains("is a copy of the other") {
            Ok(said)
        } else {
            Err(said.to_string())
        }
    })
    .await;
    assert!(told.stdout.contains(here.trim()), "{told}");
    assert!(told.stdout.contains("join --force"), "{told}");
    let shown = fleet.server.ok(&["target", "show", "web01"]).await;
    assert!(
        shown.stdout.contains("copied-machine at 127.0.0.1"),
        "{shown}"
    );
    let audit = fleet.server.ok(&["audit", "list"]).await;
    assert!(audit.stdout.contains("a copy of its machine"), "{audit}");

    // What is ordered goes to the first, and to no other.
    fleet.deploy("step").await.ok();
    let log = fleet.log("T-1").await;
    let on: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    assert!(
        on.contains(&format!("on {}", here.trim()).as_str()),
        "{on:?}"
    );
    assert!(
        !on.iter().any(|line| line.contains("copied-machine")),
        "{on:?}"
    );
    fleet.effects.assert_each_once([("work", "web01")]);
    copy.kill9();
}
