//! Agents' certificates are renewed by themselves: S10 to S12.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mantle::api::body::JoinTokenCreate;
use mantle::gateway::Timing;
use mantle::security::Authority;
use mantle_shared::protocol::{Message, RenewCertificate, RenewResult, close};
use mantle_shared::tls::{ALPN_ENROL, ALPN_WORK};
use mantle_tests::wait::{wait_for, wait_until};
use mantle_tests::{Agent, Joining, World, sabotage};
use quinn::ConnectionError;
use rcgen::KeyPair;
use serde_json::Value;
use tentacle::identity::Identity;

use crate::fleet::{Fleet, QUICK, SOON, assert_lines, gated, open_gate};
use crate::rig::{self, Control, Credentials, Leaf, Mint, Peer, private};

/// Renewed after three seconds: long beside what a renewal takes, short beside a test.
const SHORT: (&str, &str) = ("MANTLE_AGENT_CERTIFICATE", "6s");
const GRACE: &str = "MANTLE_AGENT_CERTIFICATE_GRACE";

/// How many rows of this action the audit trail has.
async fn audited(fleet: &Fleet, action: &str) -> usize {
    let rows = fleet.server.json(&["audit", "list"]).await;
    let rows = rows["items"].as_array().unwrap().clone();
    rows.iter().filter(|row| row["action"] == action).count()
}

async fn renewed(fleet: &Fleet, times: usize) {
    wait_for(&format!("{times} renewals"), SOON, || async {
        match audited(fleet, "agent.certificate-renew").await {
            seen if seen >= times => Ok(()),
            seen => Err(format!("{seen}")),
        }
    })
    .await;
}

/// When the certificate of the one agent ends, as its operator is told.
async fn until(fleet: &Fleet) -> Timestamp {
    let agents = fleet.server.json(&["agent", "list"]).await;
    let until = agents["items"][0]["certificate_until"].as_str().unwrap();
    until.parse().unwrap()
}

#[tokio::test]
async fn s11_certificates_are_renewed_at_half_life_while_a_step_runs() {
    let mut fleet = Fleet::server_only(&[SHORT]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    gated(&fleet, 200, 0).await;
    let first = until(&fleet).await;
    let task = fleet.detach("step").await;
    renewed(&fleet, 3).await;
    assert!(until(&fleet).await > first, "the list shows the newest");
    let shown = fleet.agents[0].cli().run(&["status"]).await.ok();
    assert!(shown.stdout.contains("certificate  until "), "{shown}");
    let before = audited(&fleet, "agent.certificate-renew").await;
    open_gate(&fleet);
    fleet.task_is(&task, "succeeded", SOON).await;
    assert!(before >= 3);
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log(&task).await, "work", "web01", 200);
    fleet.server.ok(&["audit", "verify"]).await;
}

/// Kills one of the two, once, at this point of a renewal, and sees that the agent's certificate is
/// renewed all the same.
async fn dies_at(point: &str, agent_dies: bool) {
    let mut fleet = Fleet::server_only(&[SHORT]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    // What is killed is killed at the next renewal.
    let process = if agent_dies {
        let agent = &mut fleet.agents[0];
        agent.stop().await;
        agent.set_env("MANTLE_FAULT", point);
        agent.run();
        agent.process()
    } else {
        fleet.server.stop().await;
        fleet.server.set_env("MANTLE_FAULT", point);
        fleet.server.restart().await;
        fleet.server.process()
    };
    let name = process.name.clone();
    wait_until(&format!("{name} dies at {point}"), SOON, || {
        process.ended().is_some()
    })
    .await;
    if agent_dies {
        let agent = &mut fleet.agents[0];
        agent.set_env("MANTLE_FAULT", "");
        agent.run();
    } else {
        fleet.server.set_env("MANTLE_FAULT", "");
        fleet.server.restart().await;
    }
    let seen = audited(&fleet, "agent.certificate-renew").await;
    renewed(&fleet, seen + 2).await;
    fleet.all_online().await;
    let refused = fleet
        .server
        .json(&["audit", "list", "--limit", "200"])
        .await;
    let refused = refused["items"].as_array().unwrap().iter();
    let refused: Vec<_> = refused
        .filter(|row| row["action"] == "connection.refuse")
        .filter(|row| {
            row["detail"]["reason"] != "the agent's certificate has ended; it may renew it"
        })
        .collect();
    assert!(refused.is_empty(), "no key was lost: {refused:?}");
}

#[tokio::test]
async fn s11_an_agent_killed_before_it_kept_what_was_issued_gets_another() {
    dies_at("agent.key_written", true).await;
}

#[tokio::test]
async fn s11_an_agent_killed_before_it_used_what_was_issued_uses_it() {
    dies_at("agent.offered_written", true).await;
}

#[tokio::test]
async fn s11_an_agent_killed_while_the_new_certificate_takes_the_others_place_has_both() {
    dies_at("agent.previous_written", true).await;
}

#[tokio::test]
async fn s11_an_agent_killed_after_the_new_certificate_took_the_others_place_has_it() {
    dies_at("agent.identity_renamed", true).await;
}

#[tokio::test]
async fn s11_a_server_killed_before_it_wrote_down_what_it_issued_issues_another() {
    dies_at("server.before_certificate_commit", false).await;
}

#[tokio::test]
async fn s11_a_server_killed_before_it_sent_what_it_issued_issues_another() {
    dies_at("server.certificate_issued", false).await;
}

#[tokio::test]
async fn s11_a_server_killed_before_it_wrote_down_the_use_of_a_certificate_takes_both() {
    dies_at("server.before_key_commit", false).await;
}

/// An agent's credentials from a key and what the server issued for it.
fn credentials(key: &KeyPair, certificate: Vec<u8>) -> Credentials {
    Credentials {
        chain: vec![certificate.into()],
        key: private(key),
    }
}

fn request(key: &KeyPair, number: u64) -> RenewCertificate {
    let request = rcgen::CertificateParams::default().serialize_request(key);
    RenewCertificate {
        request: number,
        signing_request: request.unwrap().der().to_vec(),
    }
}

async fn issued(control: &mut Control) -> Result<Vec<u8>, String> {
    loop {
        match control.message().await {
            Message::RenewAnswer(answer) => {
                return match answer.result {
                    RenewResult::Issued { certificate, .. } => Ok(certificate),
                    RenewResult::Refused { reason } => Err(reason),
                };
            }
            Message::CertificateDue(_) => {}
            other => panic!("{} in the place of an answer", other.name()),
        }
    }
}

async fn dial(server: &rig::Server, credentials: Credentials, alpn: &[u8]) -> Peer {
    let authority = server.authority.certificate();
    let config = Peer::config(authority, &[alpn], Some(credentials));
    Peer::dial(server.addr, config).await.unwrap()
}

/// Whether the server takes this agent in.
async fn is_let_in(server: &rig::Server, credentials: Credentials) -> bool {
    let peer = dial(server, credentials, ALPN_WORK).await;
    Control::try_hello(&peer.connection).await.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s11_the_old_certificate_is_good_until_the_new_one_was_seen_in_use() {
    let world = World::new();
    let lasts = Duration::from_secs(20);
    let server = rig::Server::start_issuing(&world, lasts, Timing::default()).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let peer = Peer::agent(&home, server.addr).await;
    let mut control = Control::greet(&peer.connection).await;

    // Before it is due nothing is issued.
    let key = KeyPair::generate().unwrap();
    control.say(request(&key, 1)).await;
    let early = issued(&mut control).await.unwrap_err();
    assert!(early.contains("not due"), "{early}");
    let due = control.message().await;
    assert!(matches!(due, Message::CertificateDue(_)), "{due:?}");
    control.say(request(&key, 2)).await;
    let certificate = issued(&mut control).await.unwrap();

    // One that asks on and on writes little, and a key is taken once.
    let other = KeyPair::generate().unwrap();
    control.say(request(&other, 3)).await;
    let again = issued(&mut control).await.unwrap_err();
    assert!(again.contains("just now"), "{again}");

    // Both are good, and the new one is only offered until it was used for work.
    assert!(is_let_in(&server, Credentials::of(&home)).await);
    assert_eq!(server.audit("agent.certificate-issue").await.len(), 1);
    assert!(server.audit("agent.certificate-renew").await.is_empty());
    let new = dial(&server, credentials(&key, certificate.clone()), ALPN_WORK).await;
    let _control = Control::greet(&new.connection).await;
    assert_eq!(server.audit("agent.certificate-renew").await.len(), 1);

    // From now on the old one is as good as a stranger's.
    assert!(!is_let_in(&server, Credentials::of(&home)).await);
    assert!(is_let_in(&server, credentials(&key, certificate.clone())).await);
    let revoked = server.services.agent_revoke(&server.caller, "web01").await;
    revoked.unwrap();
    assert!(!is_let_in(&server, credentials(&key, certificate)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s12_what_has_ended_is_good_for_its_renewal_alone() {
    let world = World::new();
    let server = rig::Server::start(&world).await;
    let home = server.enrol("web01", &[], server.addr).await;
    let mint = Mint::of_server(&server.folder);
    let own_key = KeyPair::try_from(&home.identity().private_key()).unwrap();
    let ended = || {
        let leaf = Leaf {
            from_s: -7200,
            until_s: -3600,
            ..Leaf::of(home.agent)
        };
        mint.leaf(leaf, &own_key)
    };
    let authority = server.authority.certificate();
    let config = Peer::config(authority, &[ALPN_WORK], Some(ended()));
    let (refused, _) = Peer::refusal(server.addr, config).await;
    let ConnectionError::ApplicationClosed(closed) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(closed.error_code, close::CERTIFICATE_ENDED.into());

    // The database knows when what it issued is due, whatever another certificate says.
    let peer = dial(&server, ended(), ALPN_ENROL).await;
    let mut control = Control::open(&peer.connection).await;
    control.say(request(&KeyPair::generate().unwrap(), 1)).await;
    let early = issued(&mut control).await.unwrap_err();
    assert!(early.contains("not due"), "{early}");

    // A stranger's key is nobody's, ended or not, and a revoked one likewise.
    let leaf = Leaf {
        from_s: -7200,
        until_s: -3600,
        ..Leaf::of(home.agent)
    };
    let stranger = mint.leaf(leaf, &KeyPair::generate().unwrap());
    let config = Peer::config(authority, &[ALPN_ENROL], Some(stranger));
    let (refused, _) = Peer::refusal(server.addr, config).await;
    assert!(
        matches!(refused, ConnectionError::ConnectionClosed(_)),
        "{refused:?}"
    );
    server
        .services
        .agent_revoke(&server.caller, "web01")
        .await
        .unwrap();
    let config = Peer::config(authority, &[ALPN_ENROL], Some(ended()));
    let (refused, _) = Peer::refusal(server.addr, config).await;
    assert!(
        matches!(refused, ConnectionError::ConnectionClosed(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn s12_an_agent_that_slept_past_its_certificate_renews_it_or_says_how_to_join_anew() {
    let lasts = ("MANTLE_AGENT_CERTIFICATE", "4s");
    let mut fleet = Fleet::server_only(&[lasts]).await;
    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    fleet.agents[0].kill9();
    sleeps_past_its_end(&fleet).await;
    fleet.agents[0].run();
    fleet.all_online().await;
    gated(&fleet, 20, 0).await;
    open_gate(&fleet);
    fleet.deploy("step").await.ok();

    // Past the grace it is refused, once loudly, with what to type.
    fleet.server.stop().await;
    fleet.server.set_env(GRACE, "1s");
    fleet.server.restart().await;
    fleet.agents[0].kill9();
    sleeps_past_its_end(&fleet).await;
    fleet.agents[0].run();
    let asked = fleet.agents[0].cli();
    let said = wait_for("the agent says how to join anew", SOON, || async {
        let status = asked.run(&["status"]).await;
        if status.stdout.contains("tentacle join --force") {
            Ok(status.stdout)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert!(said.contains("mantle agent revoke web01"), "{said}");
    let log = fleet.agents[0].process().stderr();
    let loud = log.lines().filter(|line| line.contains("join --force"));
    assert_eq!(loud.count(), 1, "{log}");
    fleet.server.target_is("web01", false, SOON).await;

    // And that works.
    fleet.agents[0].stop().await;
    fleet.server.ok(&["agent", "revoke", "web01"]).await;
    let address = fleet.server.addresses().quic.to_string();
    let token = fleet.server.token().await;
    let args = [
        "join", "--force", "--server", &address, "--name", "web01", "--token", &token,
    ];
    fleet.agents[0].cli().run(&args).await.ok();
    fleet.agents[0].run();
    fleet.all_online().await;
}

/// Waits until the certificate that the stopped agent has, or was offered, ended two seconds ago.
async fn sleeps_past_its_end(fleet: &Fleet) {
    let folder = fleet.agents[0].data().join("identity");
    let last = ["identity.json", "offered.json"]
        .iter()
        .filter_map(|file| std::fs::read(folder.join(file)).ok())
        .filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok()?["not_after_us"].as_i64())
        .max()
        .unwrap();
    wait_until("the certificate ended two seconds ago", SOON, || {
        Timestamp::now().as_microsecond() > last + 2_000_000
    })
    .await;
}

/// A server whose clock is this many minutes off the agents', which shows in what it signs.
async fn with_clock(world: &World, folder: &str, minutes: i64) -> rig::Server {
    let path = world.dir(folder);
    let by = Duration::from_secs(minutes.unsigned_abs() * 60);
    let now = if minutes < 0 {
        SystemTime::now() - by
    } else {
        SystemTime::now() + by
    };
    let authority = Authority::open(&path, now).unwrap();
    authority.server_identity(&path, &[], now).unwrap();
    let signed = std::fs::read(path.join("server.pem")).unwrap();
    let server = rig::Server::start_with(world, folder, Timing::default()).await;
    let used = std::fs::read(path.join("server.pem")).unwrap();
    assert!(
        signed == used,
        "the server uses what it signed by that clock"
    );
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_clocks_ten_minutes_apart_do_not_matter_and_two_hours_are_named() {
    let world = World::new();
    let far = if sabotage::is_on("clocks-agree") {
        0
    } else {
        120
    };
    for (name, minutes) in [("slow", -10), ("fast", 10), ("far", far)] {
        let server = with_clock(&world, name, minutes).await;
        let request = JoinTokenCreate {
            uses: None,
            ttl_s: None,
            tags: Vec::new(),
            environments: Vec::new(),
            name: None,
        };
        let created = server.services.join_token_create(&server.caller, &request);
        let token = created.await.unwrap().token;
        let how = Joining {
            env: QUICK,
            ..Joining::default()
        };
        let (mut agent, joined) = Agent::try_join(&world, server.addr, &token, name, how).await;
        if name == "far" {
            assert_ne!(joined.code, Some(0), "{joined}");
            assert!(joined.stderr.contains("min apart at least"), "{joined}");
            continue;
        }
        joined.ok();
        agent.run();
        let agent_id = Identity::load(agent.data()).unwrap().agent;
        server.online(agent_id, true).await;
    }
}
