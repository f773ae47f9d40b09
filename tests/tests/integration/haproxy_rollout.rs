//! A website behind the real HAProxy is rolled from one version to the next under load: not one
//! request fails. Without the drain some do, so that the test could tell.

use mantle_tests::haproxy::{BACKEND, HaProxy, Watch, WebServer};
use mantle_tests::load::{Load, LoadOptions, Report};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Agent, Joining};

use crate::fleet::{Fleet, QUICK, SOON, quoted};

const SITES: [&str; 4] = ["web01", "web02", "web03", "web04"];

struct Rig {
    fleet: Fleet,
    web: Vec<WebServer>,
    balancer: HaProxy,
}

/// The project: install the version, restart the application, look at it; around that, out of the
/// balancer and back, if `drain`.
fn project(rig: &Fleet, web: &[WebServer], socket: &str, drain: bool) -> String {
    let per_target = |name: &str, value: &dyn Fn(&WebServer) -> String| {
        let values: Vec<String> = web
            .iter()
            .map(|web| {
                format!(
                    "    - {{ value: \"{}\", target: {} }}\n",
                    value(web),
                    web.name
                )
            })
            .collect();
        let values = values.concat();
        format!("  {name}:\n{values}")
    };
    let variables = per_target("Address", &|web| web.address.to_string())
        + &per_target("Pid", &|web| web.supervisor_pid().to_string());
    let balanced = |uses: &str, more: &str| {
        if drain {
            format!(
                "      - action: {uses}
        uses: {uses}
        run_on: {{ tag: balancer }}
        with: {{ socket: '{socket}', backend: {BACKEND}, server: '#{{Octopus.Machine.Name}}', {more}: 30s }}
"
            )
        } else {
            String::new()
        }
    };
    let restart = format!(
        "{}\nkill -HUP \"$(mantle_get Pid)\"",
        rig.effects
            .shell("start", "restart", "$MANTLE_RELEASE-$MANTLE_TARGET")
    );
    format!(
        "mantle: v1
project: {BACKEND}
lifecycle: standard
version: {{ package: Site }}
packages: [{{ id: Site }}]
variables:
{variables}process:
  - step: farm
    targets: {{ tag: web }}
    rolling: {{ window: 1 }}
    actions:
{}      - {{ action: install, uses: package, with: {{ package: Site }} }}
      - {{ action: restart, uses: script, with: {{ run: {} }} }}
      - action: check
        uses: http.check
        with: {{ url: 'http://#{{Address}}/', contains: '#{{Octopus.Release.Number}}', within: 30s, interval: 100ms, consecutive: 2 }}
{}",
        balanced("haproxy.drain", "wait"),
        quoted(&restart),
        balanced("haproxy.enable", "wait_up"),
    )
}

async fn rig(drain: bool) -> Rig {
    let mut fleet = Fleet::server_only(&[]).await;
    let mut web = Vec::new();
    for name in SITES {
        fleet.join(name, "web", None).await;
        let root = fleet
            .world
            .path(&format!("agent-{name}/apps/test/{BACKEND}/Site/current"));
        web.push(WebServer::start(&fleet.world, name, &root).await);
    }
    let how = Joining {
        tags: &["balancer"],
        environments: &["test"],
        env: QUICK,
        ..Joining::default()
    };
    let balancer_agent = Agent::start(&fleet.world, &fleet.server, "lb01", how).await;
    fleet.agents.push(balancer_agent);
    fleet.all_online().await;
    let balancer = HaProxy::start(&fleet.world, &web).await;
    let socket = balancer.socket.display().to_string();
    fleet
        .apply(BACKEND, &project(&fleet, &web, &socket, drain))
        .await;
    for version in ["1.0", "1.1"] {
        fleet
            .push("Site", version, &[("version.txt", version)])
            .await;
        fleet
            .server
            .ok(&["release", "create", BACKEND, version])
            .await;
    }
    fleet.deploy(BACKEND).await.ok();
    Rig {
        fleet,
        web,
        balancer,
    }
}

/// Rolls 1.1 out under load.
async fn under_load(rig: &Rig) -> (Report, Watch) {
    let load = Load::start(LoadOptions::of(rig.balancer.front));
    wait_for("every server has sessions", SOON, || async {
        let states = rig.balancer.states().await?;
        if states.iter().all(|s| s.status == "UP" && s.sessions > 5) {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    })
    .await;
    let watch = rig.balancer.watch();
    let deployed = rig
        .fleet
        .server
        .run(&["deploy", BACKEND, "1.1", "-e", "test"])
        .await;
    wait_for("every server is up again", SOON, || async {
        let states = rig.balancer.states().await?;
        if states.iter().all(|s| s.status == "UP") {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    })
    .await;
    let report = load.stop().await;
    deployed.ok();
    for name in SITES {
        let effect = format!("1.1-{name}");
        assert_eq!(rig.fleet.effects.count("start", "restart", &effect), 1);
    }
    assert_eq!(rig.web.len(), SITES.len());
    (report, watch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_deployment_behind_haproxy_fails_no_request() {
    let rig = rig(true).await;
    let (report, watch) = under_load(&rig).await;
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    assert!(report.per_second() >= 200.0, "{}", report.per_second());
    assert!(report.samples.iter().filter(|sample| sample.slow).count() * 15 > report.samples.len());
    for name in SITES {
        let drained = watch.first(name, "DRAIN", None).expect("it was drained");
        wait_until("its return was seen", SOON, || {
            watch.first(name, "UP", Some(drained)).is_some()
        })
        .await;
        let back = watch.first(name, "UP", Some(drained)).unwrap();
        assert!(
            report.between(drained, back) >= 500,
            "{name}: {}",
            report.between(drained, back)
        );
        let old = report.served_after(name, "1.0", drained);
        assert!(
            old.is_empty(),
            "{name} served the old version after its drain: {old:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_drain_requests_fail() {
    let rig = rig(false).await;
    let (report, _) = under_load(&rig).await;
    assert!(!report.failures().is_empty(), "the test could not tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_rolls_back_leaves_every_server_in_the_balancer_with_what_it_had() {
    let rig = rig(true).await;
    let socket = rig.balancer.socket.display().to_string();
    // The application reads what is current when it is told to; on the way back it is told by what
    // stands before the installation. 1.2 fails on the second server, after all that was done there.
    let again = "kill -HUP \"$(mantle_get Pid)\"
until curl -sf \"http://$(mantle_get Address)/\" | grep -qF 1.0; do sleep 0.05; done";
    let trap = "[ \"$MANTLE_TARGET-$MANTLE_RELEASE\" != web02-1.2 ] || exit 3";
    let (install, enable) = (
        "      - { action: install",
        "      - action: haproxy.enable",
    );
    let again = format!(
        "      - {{ action: again, uses: script, with: {{ run: 'true', rollback: {} }} }}\n{install}",
        quoted(again)
    );
    let fragile = format!(
        "      - {{ action: fragile, uses: script, with: {{ run: {} }} }}\n{enable}",
        quoted(trap)
    );
    let failing = project(&rig.fleet, &rig.web, &socket, true)
        .replace("{ window: 1 }", "{ window: 1, on_failure: rollback }")
        .replace(install, &again)
        .replace(enable, &fragile);
    rig.fleet.apply(BACKEND, &failing).await;
    rig.fleet
        .push("Site", "1.2", &[("version.txt", "1.2")])
        .await;
    rig.fleet
        .server
        .ok(&["release", "create", BACKEND, "1.2"])
        .await;
    let load = Load::start(LoadOptions::of(rig.balancer.front));
    let watch = rig.balancer.watch();
    let went = rig
        .fleet
        .server
        .run(&["deploy", BACKEND, "1.2", "-e", "test"])
        .await;
    let report = load.stop().await;
    assert_eq!(went.code, Some(3), "{went}");
    let said = "; rolled back: web02 and web01; 'fragile' is not undone on web02 and web01 (it has no 'rollback' script); 'restart'";
    assert!(
        (went.stdout.clone() + &went.stderr).contains(said),
        "{went}"
    );
    let states = rig.balancer.states().await.unwrap();
    assert!(states.iter().all(|s| s.status == "UP"), "{states:?}");
    assert!(watch.first("web03", "DRAIN", None).is_none());
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    for name in SITES {
        let page = format!("agent-{name}/apps/test/{BACKEND}/Site/current/version.txt");
        let page = std::fs::read_to_string(rig.fleet.world.path(&page)).unwrap();
        assert_eq!(page.trim(), "1.0", "{name}");
    }
}
