//! Pushes at a pace: packages leave at the operator's rate, and nothing else waits for them (S24).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mantle::api::body::WorkState;
use mantle::gateway::{PushRate, PushRates};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Effects, World};
use rand::{RngCore as _, SeedableRng as _};

use crate::fleet::quoted;
use crate::rig::{FullAgent, SOON, Server, patient};

/// What an agent is sent in a second.
const RATE_BYTES: u64 = 1024 * 1024;
/// What cannot be compressed, so that so many bytes travel.
const PACKAGE_BYTES: u64 = 6 * 1024 * 1024;
/// How long that takes, less what a bucket saves up.
const FLOWS: Duration = Duration::from_millis(5700);
/// How soon anything else is there meanwhile.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A script that says a word when it is told to, and notes that it was asked to stop.
fn listener(effects: &Effects, gate: &std::path::Path) -> String {
    let script = format!(
        "asked() {{ {asked}; exit 0; }}
trap asked TERM
{start}
while [ ! -e '{gate}' ]; do sleep 0.02; done
echo said
n=0; while [ $n -lt 3000 ]; do sleep 0.02; n=$((n+1)); done",
        asked = effects.shell("asked", "work", "web01"),
        start = effects.shell("start", "work", "web01"),
        gate = gate.display(),
    );
    format!(
        "process:\n  - {{ step: only, targets: {{ tag: web }}, actions: [{{ action: work, uses: script, grace: 30s, with: {{ run: {} }} }}] }}\n",
        quoted(&script)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_while_a_package_flows_at_its_pace_a_line_and_a_cancel_arrive_at_once() {
    let world = World::new();
    let rates = PushRates {
        server: None,
        agent: PushRate::new(RATE_BYTES),
    };
    let server = Server::start_paced(&world, rates).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let mut noise = vec![0; usize::try_from(PACKAGE_BYTES).unwrap()];
    rand::rngs::StdRng::seed_from_u64(24).fill_bytes(&mut noise);
    server.push("Big", &[("blob", &noise)]).await;
    let install = "packages: [{ id: Big }]\nprocess:\n  - { step: put, targets: { tag: web }, uses: package, with: { package: Big } }\n";
    server.project("big", install).await;
    let effects = Effects::at(world.path("effects"));
    let gate = world.path("gate");
    server.project("talk", &listener(&effects, &gate)).await;
    let agent = FullAgent::start(&home, patient());
    server.online(home.agent, true).await;
    let talk = server.deploy("talk").await;
    wait_until("the script listens", SOON, || {
        effects.count("start", "work", "web01") == 1
    })
    .await;

    let began = Instant::now();
    let big = server.deploy("big").await;
    let sent = || server.counters.bulk_bytes.load(Ordering::SeqCst);
    wait_until("the package flows", SOON, || sent() > RATE_BYTES / 2).await;

    wait_for("the task to say how far the package is", SOON, || async {
        let task = server.task(&big).await;
        let known = task.packages.iter().find(|one| one.target == "web01");
        let known = known.ok_or_else(|| format!("{:?}", task.packages))?;
        let far = known.done_bytes.zip(known.total_bytes);
        let on_its_way = far.is_some_and(|(done, total)| done > 0 && done < total);
        (on_its_way && known.state == WorkState::Running)
            .then_some(())
            .ok_or_else(|| format!("{known:?}"))
    })
    .await;

    let told = Instant::now();
    std::fs::write(&gate, "").unwrap();
    wait_for("the line", SOON, || async {
        let lines = server.lines(&talk).await;
        let said = lines.iter().any(|line| line == "said");
        said.then_some(()).ok_or_else(|| format!("{lines:?}"))
    })
    .await;
    let line_took = told.elapsed();

    let told = Instant::now();
    let cancelled = server.services.task_cancel(&server.caller, &talk);
    cancelled.await.unwrap();
    wait_until("the script is asked to stop", SOON, || {
        effects.count("asked", "work", "web01") == 1
    })
    .await;
    let cancel_took = told.elapsed();
    assert!(
        sent() < PACKAGE_BYTES,
        "the package was there before the cancel: no pace"
    );
    assert!(line_took < AT_ONCE, "the line took {line_took:?}");
    assert!(cancel_took < AT_ONCE, "the cancel took {cancel_took:?}");

    server.succeeds(&big, SOON).await;
    let took = began.elapsed();
    assert!(took > FLOWS, "{PACKAGE_BYTES} bytes flowed in {took:?}");
    assert!(sent() >= PACKAGE_BYTES, "all of it was sent");
    agent.stop().await;
}
