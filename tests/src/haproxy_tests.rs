//! The rig judged by itself: with a drain a restart costs no request, without one it costs some.

use std::time::Duration;

use crate::haproxy::{BACKEND, HaProxy, WebServer};
use crate::load::{Load, LoadOptions, Outcome, Report, get};
use crate::wait::{wait_for, wait_until};
use crate::world::World;

const SOON: Duration = Duration::from_secs(20);

struct Rig {
    web: Vec<WebServer>,
    balancer: HaProxy,
    _world: World,
}

async fn rig() -> Rig {
    let world = World::new();
    let mut web = Vec::new();
    for number in 1..=2 {
        let name = format!("web{number:02}");
        let file = world.file(&format!("site-{name}/version.txt"), "1.0.0");
        let root = file.parent().unwrap();
        web.push(WebServer::start(&world, &name, root).await);
    }
    let balancer = HaProxy::start(&world, &web).await;
    Rig {
        web,
        balancer,
        _world: world,
    }
}

impl Rig {
    async fn set(&self, state: &str) {
        let command = format!("set server {BACKEND}/web01 state {state}");
        self.balancer.ask(&command).await.unwrap();
    }

    async fn is(&self, what: &str, holds: impl Fn(&str, u32) -> bool) {
        wait_for(what, SOON, || async {
            let states = self.balancer.states().await?;
            let web01 = states.iter().find(|s| s.name == "web01");
            match web01 {
                Some(s) if holds(&s.status, s.sessions) => Ok(()),
                _ => Err(format!("{states:?}")),
            }
        })
        .await;
    }

    async fn upgrade(&mut self) {
        std::fs::write(self.web[0].root.join("version.txt"), "2.0.0").unwrap();
        self.web[0].restart();
        // The port is closed at once and opens when the application has started again.
        let address = self.web[0].address;
        wait_for("web01 serves 2.0.0", SOON, || async {
            match get(address).await? {
                Outcome::Answered { version, .. } if version == "2.0.0" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

async fn under_load(rig: &mut Rig, drain: bool) -> Report {
    let load = Load::start(LoadOptions::of(rig.balancer.front));
    rig.is("slow requests are under way", |_, sessions| sessions > 5)
        .await;
    let watch = rig.balancer.watch();
    if drain {
        rig.set("drain").await;
        rig.is("web01 is drained", |status, sessions| {
            status == "DRAIN" && sessions == 0
        })
        .await;
    }
    rig.upgrade().await;
    if drain {
        rig.set("ready").await;
    }
    rig.is("web01 is back", |status, sessions| {
        status == "UP" && sessions > 0
    })
    .await;
    let report = load.stop().await;
    if drain {
        let drained = watch
            .first("web01", "DRAIN", None)
            .expect("the drain was seen");
        assert_eq!(report.served_after("web01", "1.0.0", drained).len(), 0);
        wait_until("the return was seen", SOON, || {
            watch.first("web01", "UP", Some(drained)).is_some()
        })
        .await;
    }
    assert!(report.per_second() > 200.0, "{}", report.per_second());
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_server_restarts_without_a_failed_request() {
    let mut rig = rig().await;
    let report = under_load(&mut rig, true).await;
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    assert!(report.samples.iter().any(|sample| sample.slow));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_drained_fails_requests() {
    let mut rig = rig().await;
    let report = under_load(&mut rig, false).await;
    assert!(!report.failures().is_empty(), "the rig would see nothing");
}
