//! What an agent knows of its server and of itself: where the server is, looked up anew at each
//! dial, and settings that are whole whatever happens while they are written.

use mantle_tests::agent::{Agent, Joining};
use mantle_tests::hosts::Hosts;
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, QUICK, SOON};

/// An address of this machine at which nobody listens.
const ELSEWHERE: &str = "127.0.0.66 localhost\n";
const HERE: &str = "127.0.0.1 localhost\n";

#[tokio::test]
async fn s07_the_name_of_the_server_is_looked_up_anew_at_every_dial() {
    let mut fleet = Fleet::server_only(&[]).await;
    let quick = [QUICK, &[("TENTACLE_CONNECT_TIMEOUT_MS", "500")]].concat();
    let how = Joining {
        tags: &["web"],
        environments: &["test"],
        host: Some("localhost"),
        env: &quick,
        ..Joining::default()
    };
    let mut agent = Agent::join(&fleet.world, &fleet.server, "web01", how).await;
    let hosts = Hosts::mount(&fleet.world, ELSEWHERE).await;
    agent.see_mounts_of(hosts.pid());
    agent.run();
    agent
        .process()
        .line("it dials the address of before", SOON, |line| {
            line.contains("127.0.0.66")
        })
        .await;
    if !sabotage::is_on("the-server-never-moves") {
        hosts.change(HERE);
    }
    fleet.server.target_is("web01", true, SOON).await;
    fleet.agents.push(agent);
}

#[tokio::test]
async fn s60_a_full_disk_while_the_settings_are_written_leaves_the_old_ones_whole() {
    let mut fleet = Fleet::server_only(&[]).await;
    let (before, after) = (fleet.world.dir("before"), fleet.world.dir("after"));
    let before = before.to_str().unwrap();
    fleet
        .join_with("web01", "web", None, &[("TENTACLE_APPS", before)])
        .await;
    fleet.all_online().await;
    let agent = &mut fleet.agents[0];
    agent.stop().await;
    agent.keep_on_small_disk(4 * 1024 * 1024).await;
    let settings = agent.files().join("settings.json");
    let whole = std::fs::read(&settings).unwrap();
    assert!(String::from_utf8_lossy(&whole).contains(before));
    if !sabotage::is_on("room-for-settings") {
        agent.disk().unwrap().fill();
    }

    agent.set_env("TENTACLE_APPS", after.to_str().unwrap());
    agent.run();
    let process = agent.process();
    let status = wait_for("the agent refuses to start", SOON, || {
        let ended = process.ended();
        async move { ended.ok_or_else(|| "it runs".to_owned()) }
    })
    .await;
    assert!(!status.success(), "{status}");
    let said = agent.process().stderr();
    assert!(said.contains("settings.json"), "{said}");
    assert_eq!(std::fs::read(&settings).unwrap(), whole);

    // With room, and asked for nothing new, it goes on as it was.
    agent.disk().unwrap().free();
    agent.set_env("TENTACLE_APPS", before);
    agent.run();
    fleet.all_online().await;
    assert_eq!(std::fs::read(&settings).unwrap(), whole);
    wait_until("nothing half-written is left", SOON, || {
        let folder = std::fs::read_dir(settings.parent().unwrap()).unwrap();
        !folder
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".mantle-new"))
    })
    .await;
}
