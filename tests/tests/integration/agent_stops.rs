//! A service manager stops the agent at whatever moment: it waits for no step, asks none to stop, and what
//! it wrote down is whole.

use std::time::{Duration, Instant};

use mantle_tests::wait::wait_until;
use mantle_tests::{Agent, sabotage};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tentacle::journal::{Disk, Journal};

use crate::fleet::{Fleet, SOON, open_gate, quoted};

/// How often it is stopped.
const ROUNDS: usize = 6;
/// The steps of each round's deployment, of which the agent begins and ends one after another.
const STEPS: usize = 6;
/// Service managers kill what has not ended after 90 s; nobody is to wait for that.
const STOPPED: Duration = Duration::from_secs(10);

/// Goes on until the gate opens, and says so if it is asked to stop.
async fn long(fleet: &Fleet) -> String {
    let script = format!(
        "trap 'echo asked to stop' TERM\n{}\nwhile [ ! -e '{}' ]; do sleep 0.02; done\necho through",
        fleet.effects.shell("start", "long", "$MANTLE_TARGET"),
        fleet.world.path("gate").display(),
    );
    let process = format!(
        "  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, locks: [], with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    );
    fleet.release("long", &process).await;
    fleet.detach("long").await
}

/// Many short steps in a row.
async fn short(fleet: &Fleet, round: usize) -> String {
    let steps = (0..STEPS).map(|step| {
        let note = fleet
            .effects
            .shell("start", &format!("short-{round}-{step}"), "$MANTLE_TARGET");
        format!(
            "  - {{ step: s{step}, targets: {{ tag: web }}, actions: [{{ action: s{step}, uses: script, locks: [], with: {{ run: {} }} }}] }}\n",
            quoted(&note)
        )
    });
    let name = format!("short-{round}");
    fleet.release(&name, &steps.collect::<String>()).await;
    fleet.detach(&name).await
}

/// Opens a copy of the journal as an agent would, and asserts that nothing had to be cut off. Gives how many
/// attempts it says are under way.
fn open_attempts(fleet: &Fleet, agent: &Agent, round: usize) -> usize {
    let copy = fleet.world.dir(&format!("journal-{round}"));
    let from = agent.data().join("journal/journal");
    let mut bytes = std::fs::read(from).expect("a journal");
    if sabotage::is_on("journal-cut-at-the-stop") {
        bytes.truncate(bytes.len() - 3);
    }
    std::fs::write(copy.join("journal"), bytes).unwrap();
    let opened = Journal::open(Box::new(Disk::new(copy)), 0).expect("a journal that can be opened");
    assert_eq!(opened.cut_bytes, 0, "a record was half written");
    opened.ledger.open().count()
}

#[tokio::test]
async fn s62_a_stop_at_any_moment_leaves_steps_running_and_a_whole_journal() {
    let mut fleet = Fleet::new(1).await;
    let mut moments = StdRng::seed_from_u64(62);
    let mut tasks = vec![long(&fleet).await];
    wait_until("the long step runs", SOON, || {
        fleet.effects.count("start", "long", "web01") == 1
    })
    .await;
    for round in 0..ROUNDS {
        tasks.push(short(&fleet, round).await);
        let moment = moments.random_range(0..STEPS);
        wait_until(&format!("step {moment} has begun"), SOON, || {
            let name = format!("short-{round}-{moment}");
            fleet.effects.count("start", &name, "web01") == 1
        })
        .await;
        let since = Instant::now();
        let status = fleet.agents[0].stop().await;
        assert!(status.success(), "{status:?}");
        assert!(since.elapsed() < STOPPED, "{:?}", since.elapsed());
        let open = open_attempts(&fleet, &fleet.agents[0], round);
        assert!(open >= 1, "the long step is under way");
        let lives = fleet.effects.process_of("start", "long").process_lives();
        assert!(lives, "its process goes on");
        fleet.agents[0].run();
        fleet.server.target_is("web01", true, SOON).await;
    }
    open_gate(&fleet);
    for task in &tasks {
        fleet.task_is(task, "succeeded", SOON).await;
    }
    let log = fleet.log(&tasks[0]).await;
    let texts: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["through"]);
    let names: Vec<String> = (0..ROUNDS)
        .flat_map(|round| (0..STEPS).map(move |step| format!("short-{round}-{step}")))
        .chain(["long".to_owned()])
        .collect();
    let ran = names.iter().map(|name| (name.as_str(), "web01"));
    fleet.effects.assert_each_once(ran);
}
