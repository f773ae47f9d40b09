//! From the line that the server prints, and nothing else, to an agent that deploys; and what is refused
//! on the way.

use std::path::Path;

use mantle_tests::World;
use mantle_tests::cli::Output;
use mantle_tests::document::{blocks, commands};
use mantle_tests::systemd::{Network, Systemd};
use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, SOON};

const STEP: &str = "  - { step: only, targets: { tag: web }, actions: [{ action: work, uses: script, with: { run: 'echo here I am' } }] }\n";

/// A machine of its own on which nothing of ours is.
async fn bare(world: &World) -> Systemd {
    let systemd = Systemd::boot(world, Network::OfTheTest).await;
    // All of /usr is the real machine's, and can only be read.
    let layer = "mount -t tmpfs -o mode=755 tmpfs /usr/local/bin";
    systemd.run(&["sh", "-c", layer]).await.ok();
    systemd
}

/// A server, and a machine of its own on which nothing of ours is.
struct Machine {
    fleet: Fleet,
    systemd: Systemd,
}

impl Machine {
    async fn bare() -> Self {
        let fleet = Fleet::server_only(&[]).await;
        let systemd = bare(&fleet.world).await;
        Self { fleet, systemd }
    }

    /// The line that comes of the command which stands in the manual's page of installation.
    async fn line_of_the_manual(&self) -> String {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/installation.md");
        let page = std::fs::read_to_string(page).unwrap();
        let block = blocks(&page)
            .into_iter()
            .find(|block| block.heading == "An agent by one line")
            .expect("the section");
        let typed = commands(&block.text);
        let words: Vec<&str> = typed[0].words.iter().map(String::as_str).collect();
        assert_eq!((typed.len(), words[0]), (1, "mantle"), "{words:?}");
        self.fleet
            .server
            .ok(&words[1..])
            .await
            .stdout
            .trim()
            .to_owned()
    }

    /// The line that the server prints, as it is pasted.
    async fn line(&self, options: &[&str]) -> String {
        let words = [
            "agent",
            "install-command",
            "--tag",
            "web",
            "--environment",
            "test",
        ];
        let printed = self.fleet.server.ok(&[&words[..], options].concat()).await;
        assert_eq!(printed.stdout.lines().count(), 1, "{printed}");
        printed.stdout.trim().to_owned()
    }

    async fn paste(&self, line: &str) -> Output {
        self.systemd.run(&["sh", "-c", line]).await
    }

    /// Waits until the server has stored all that the agent has for it.
    async fn has_told_everything(&self) {
        wait_for("the server has everything", SOON, || async {
            let left = self.paste("ls /var/lib/tentacle/attempts").await.ok();
            if left.stdout.is_empty() {
                Ok(())
            } else {
                Err(left.to_string())
            }
        })
        .await;
    }

    /// Nothing of ours is on the machine.
    async fn is_untouched(&self) {
        let seen = self
            .paste("ls -A /usr/local/bin; ls -d /var/lib/tentacle /etc/systemd/system/tentacle.service 2>/dev/null; true")
            .await
            .ok();
        assert_eq!(seen.stdout, "", "{seen}");
    }
}

#[tokio::test]
async fn a_pasted_line_makes_a_target_that_deploys_and_may_be_pasted_again() {
    let machine = Machine::bare().await;
    let line = machine.line_of_the_manual().await;
    let name = machine.paste("uname -n").await.ok();
    let name = name.stdout.trim();
    let dry = machine.paste(&format!("{line} --dry-run")).await.ok();
    assert!(dry.stdout.contains("would fetch https://"), "{dry}");
    machine.is_untouched().await;
    let first = machine.paste(&line).await.ok();
    for part in [
        "installed /usr/local/bin/tentacle",
        "token accepted",
        "the server is connected",
    ] {
        assert!(first.stdout.contains(part), "{part}: {first}");
    }
    machine.fleet.server.target_is(name, true, SOON).await;
    machine.fleet.release("step", STEP).await;
    machine.fleet.deploy("step").await.ok();
    // The token is used up, and is not asked for again.
    let again = machine.paste(&line).await.ok();
    for part in [
        "is there already and the right one",
        "has joined this server already",
        "the server is connected",
    ] {
        assert!(again.stdout.contains(part), "{part}: {again}");
    }
    machine.fleet.server.target_is(name, true, SOON).await;
    machine.fleet.deploy("step").await.ok();
    machine.has_told_everything().await;
    let gone = machine.paste(&format!("{line} --uninstall")).await.ok();
    for part in ["has left", "removed /usr/local/bin/tentacle"] {
        assert!(gone.stdout.contains(part), "{part}: {gone}");
    }
    machine.is_untouched().await;
    machine.paste(&format!("{line} --uninstall")).await.ok();
    let server = machine.fleet.world.path("server.err");
    let log = std::fs::read_to_string(server).unwrap();
    assert!(
        !log.is_empty() && !log.contains("mj1."),
        "no token is in the server's log"
    );
}

#[tokio::test]
async fn one_line_makes_targets_of_many_machines() {
    const MACHINES: usize = 3;
    let fleet = Fleet::server_only(&[]).await;
    let uses = MACHINES.to_string();
    let words = [
        "agent",
        "install-command",
        "--tag",
        "web",
        "--environment",
        "test",
        "--uses",
        &uses,
    ];
    let line = fleet.server.ok(&words).await;
    let line = line.stdout.trim();
    let mut machines = Vec::new();
    for number in 1..=MACHINES {
        let machine = bare(&World::new()).await;
        let name = format!("shop{number:02}");
        machine.run(&["hostname", &name]).await.ok();
        machine.run(&["sh", "-c", line]).await.ok();
        fleet.server.target_is(&name, true, SOON).await;
        machines.push(machine);
    }
    fleet.release("step", STEP).await;
    fleet.deploy("step").await.ok();
    let log = fleet.log("T-1").await;
    let here = log.iter().filter(|line| line.text == "here I am");
    assert_eq!(here.count(), MACHINES);
    // It is used up, and says so on one machine too many.
    let late = bare(&World::new()).await;
    late.run(&["hostname", "late"]).await.ok();
    late.run(&["sh", "-c", line])
        .await
        .exit(4)
        .complains(&["the token was used already"]);
}

#[tokio::test]
async fn another_key_another_program_and_a_token_that_is_no_good_change_nothing() {
    let machine = Machine::bare().await;
    let line = machine.line(&[]).await;
    // Somebody else answers in the server's place: his key is not the one of the line.
    let (before, rest) = line.split_once("sha256//").unwrap();
    let (pin, after) = rest.split_once(' ').unwrap();
    assert_eq!(pin.len(), 44, "{line}");
    let other = format!("{before}sha256//{} {after}", "A".repeat(43) + "=");
    let refused = machine.paste(&other).await.exit(90);
    assert!(refused.stderr.contains("public key"), "{refused}");
    machine.is_untouched().await;

    // What arrives is not what the server announced: the digest stands in the script, which is the
    // server's.
    let swapped = line.replacen(
        "printf '%s\\n' \"$s\"",
        "printf '%s\\n' \"$s\" | sed \"s/digest='[0-9a-f]*'/digest='$(printf %064d 0)'/\"",
        1,
    );
    assert_ne!(swapped, line);
    machine.paste(&swapped).await.exit(1).complains(&[
        "is not the one that the server announced",
        "it was not installed",
    ]);
    machine.is_untouched().await;

    // The agent's own judgement of what remains: the server's authority, and the token.
    let (id, _) = line.split_once("mj1.").unwrap().1.split_once('.').unwrap();
    machine
        .fleet
        .server
        .ok(&["agent", "token", "revoke", id])
        .await;
    machine
        .paste(&line)
        .await
        .exit(4)
        .complains(&["the token was revoked", "mantle agent token create"]);
    let short = machine.line(&["--ttl", "1s"]).await;
    wait_for("the token has ended", SOON, || async {
        let tokens = machine.fleet.server.ok(&["agent", "token", "list"]).await;
        if tokens.stdout.contains("expired") {
            Ok(())
        } else {
            Err(tokens.to_string())
        }
    })
    .await;
    machine
        .paste(&short)
        .await
        .exit(4)
        .complains(&["the token has expired", "mantle agent token create"]);
    let good = machine.line(&[]).await;
    let token = good.split("--token '").nth(1).unwrap();
    let (token, _) = token.split_once('\'').unwrap();
    let (_, authority) = token.rsplit_once('.').unwrap();
    machine
        .paste(&good.replace(authority, &"0".repeat(64)))
        .await
        .exit(4)
        .complains(&["is not the server that made this token"]);
    // Nothing of all this was in the way of the right line.
    machine.paste(&good).await.ok();
}

#[tokio::test]
async fn the_server_says_what_it_lacks_and_where_to_put_it() {
    let machine = Fleet::server_only(&[]).await;
    let place = machine
        .server
        .data()
        .join("agents/tentacle-windows-x86_64.exe");
    let ask = ["agent", "install-command", "--os", "windows"];
    machine
        .server
        .run(&ask)
        .await
        .exit(6)
        .complains(&["no agent for Windows", &place.display().to_string()]);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "a program").unwrap();
    let line = machine.server.ok(&ask).await;
    assert!(
        line.stdout
            .contains("tentacle.exe\" join --install --server"),
        "{line}"
    );
}

#[tokio::test]
async fn the_servers_doctor_says_whether_agents_and_people_reach_it() {
    let mut fleet = Fleet::server_only(&[]).await;
    let found = fleet.server.json(&["server", "doctor"]).await;
    let verdict = |what: &str| {
        let items = found["items"].as_array().unwrap();
        let check = items.iter().find(|check| check["what"] == what);
        let check = check.unwrap_or_else(|| panic!("{what} in {found}"));
        check["verdict"].as_str().unwrap().to_owned()
    };
    for what in [
        "privacy",
        "disk",
        "agents (UDP)",
        "people (TCP)",
        "server",
        "agents",
    ] {
        assert_eq!(verdict(what), "good", "{what}: {found}");
    }
    // Others would not get far with this machine's own address.
    assert_eq!(verdict("name"), "note", "{found}");
    let key = fleet.server.data().join("ca.key");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, open).unwrap();
    fleet.server.stop().await;
    let found = fleet.server.run(&["server", "doctor"]).await.exit(1);
    let mend = format!("chmod 600 {}", key.display());
    for part in [mend.as_str(), "no server runs with"] {
        assert!(found.stdout.contains(part), "{part}: {found}");
    }
}
