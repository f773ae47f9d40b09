//! The packages of server and agent: built by one command each, installed on a machine of the test's own,
//! served by a real systemd, and removed.

use std::path::Path;
use std::process::Command;

use mantle_tests::World;
use mantle_tests::binaries::binary;
use mantle_tests::cli::Output;
use mantle_tests::systemd::{Network, Systemd};
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, SOON, assert_lines, gated, open_gate};

/// All of /usr is the real machine's, and can only be read: what is installed goes to a layer above it.
/// dpkg knows of nothing that is installed there, so its word on what a package needs does not count.
const LAYER: &str = "set -e
mkdir -p /run/layer/upper /run/layer/work /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers
touch /var/lib/dpkg/status
mount -t overlay overlay -o lowerdir=/usr,upperdir=/run/layer/upper,workdir=/run/layer/work /usr";

/// Builds packages from the programs that are built; gives their files.
fn packages(world: &World, script: &str) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs = binary("mantle").parent().unwrap().to_owned();
    let built = Command::new(top.join(script))
        .arg(world.dir("packages"))
        .env("PROGRAMS", programs)
        .env("COMPRESSION", "none")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    let files = String::from_utf8(built.stdout).unwrap();
    files.lines().map(str::to_owned).collect()
}

async fn shell(systemd: &Systemd, script: &str) -> Output {
    systemd.run(&["sh", "-c", script]).await
}

#[tokio::test]
async fn the_servers_package_installs_serves_confined_and_goes_without_its_data() {
    let world = World::new();
    let package = packages(&world, "packaging/deb/build.sh").remove(0);
    let systemd = Systemd::boot(&world, Network::Own).await;
    shell(&systemd, "ip link set lo up").await.ok();
    shell(&systemd, LAYER).await.ok();
    let install = format!("dpkg --force-depends -i {package}");
    shell(&systemd, &install).await.ok();
    let serves = async || {
        let ask = "curl -sfk https://127.0.0.1:7443/readyz";
        wait_for("the server is ready", SOON, || async {
            let answer = shell(&systemd, ask).await;
            match answer.code {
                Some(0) => Ok(()),
                _ => Err(answer.to_string()),
            }
        })
        .await;
    };
    serves().await;
    assert_eq!(systemd.property("mantle", "UnitFileState").await, "enabled");
    let rights = shell(
        &systemd,
        "stat -c '%U %a' /var/lib/mantle; ps -o user= -C mantle",
    )
    .await;
    assert_eq!(rights.stdout.trim(), "mantle 700\nmantle", "{rights}");
    let exposed = shell(&systemd, "systemd-analyze security --threshold=20 mantle").await;
    assert_eq!(exposed.code, Some(0), "{exposed}");
    // The administrator needs no login on this machine, and the agents are there to be handed out.
    let line = "setpriv --reuid mantle --regid mantle --clear-groups env HOME=/var/lib/mantle mantle agent install-command";
    let line = shell(&systemd, line).await.ok();
    assert!(line.stdout.contains("/install/agent.sh"), "{line}");
    // Once more, as an upgrade does: it is another process, on the same data.
    let before = systemd.property("mantle", "MainPID").await;
    shell(&systemd, &install).await.ok();
    assert_ne!(systemd.property("mantle", "MainPID").await, before);
    serves().await;
    shell(&systemd, "dpkg -r mantle").await.ok();
    assert_ne!(systemd.property("mantle", "ActiveState").await, "active");
    shell(&systemd, "test -e /usr/bin/mantle").await.exit(1);
    let purged = shell(&systemd, "dpkg -P mantle").await.ok();
    assert!(
        purged.stdout.contains("data stays in /var/lib/mantle"),
        "{purged}"
    );
    shell(&systemd, "test -e /etc/mantle").await.exit(1);
    shell(&systemd, "test -e /var/lib/mantle/ca.key").await.ok();
}

const AGENT: &str = "packaging/agent/build.sh";

fn of_kind<'a>(made: &'a [String], kind: &str) -> Option<&'a str> {
    let mut of_kind = made
        .iter()
        .filter(|file| Path::new(file).extension().is_some_and(|own| own == kind));
    of_kind.next().map(String::as_str)
}

/// A machine without an agent, and a server.
async fn a_machine() -> (Fleet, Systemd) {
    let fleet = Fleet::server_only(&[]).await;
    let systemd = Systemd::boot(&fleet.world, Network::OfTheTest).await;
    shell(&systemd, LAYER).await.ok();
    (fleet, systemd)
}

/// Joins as the package says, and starts what it installed.
async fn join(fleet: &Fleet, systemd: &Systemd) {
    assert_eq!(
        systemd.property("tentacle", "UnitFileState").await,
        "enabled"
    );
    let active = systemd.property("tentacle", "ActiveState").await;
    assert_eq!(active, "inactive", "there is nothing to run yet");
    let server = fleet.server.addresses().quic.to_string();
    let token = fleet.server.token().await;
    let join = format!(
        "tentacle join --server {server} --token {token} --name web01 --tag web --environment test && systemctl start tentacle"
    );
    shell(systemd, &join).await.ok();
    fleet.server.target_is("web01", true, SOON).await;
}

#[tokio::test]
async fn the_agents_deb_installs_joins_upgrades_under_a_step_and_goes_without_its_data() {
    const LINES: u64 = 20;
    let (fleet, systemd) = a_machine().await;
    let made = packages(&fleet.world, AGENT);
    let package = of_kind(&made, "deb").expect("dpkg-deb is there");
    let install = format!("dpkg --force-depends -i {package}");
    let said = shell(&systemd, &install).await.ok();
    assert!(said.stdout.contains("tentacle join --server"), "{said}");
    join(&fleet, &systemd).await;

    // An upgrade while a step runs: another agent, the same step.
    gated(&fleet, LINES, 0).await;
    let task = fleet.detach("step").await;
    wait_until("the step is at work", SOON, || {
        fleet.effects.count("start", "work", "web01") > 0
    })
    .await;
    let before = systemd.property("tentacle", "MainPID").await;
    shell(&systemd, &install).await.ok();
    assert_ne!(systemd.property("tentacle", "MainPID").await, before);
    open_gate(&fleet);
    fleet.task_is(&task, "succeeded", SOON).await;
    fleet.effects.assert_each_once([("work", "web01")]);
    assert_lines(&fleet.log(&task).await, "work", "web01", LINES);

    shell(&systemd, "dpkg -r tentacle").await.ok();
    fleet.server.target_is("web01", false, SOON).await;
    shell(&systemd, "test -e /usr/bin/tentacle").await.exit(1);
    let purged = shell(&systemd, "dpkg -P tentacle").await.ok();
    assert!(
        purged.stdout.contains("data stays in /var/lib/tentacle"),
        "{purged}"
    );
    shell(&systemd, "test -e /etc/tentacle").await.exit(1);
}

#[tokio::test]
async fn the_agents_rpm_installs_joins_and_goes() {
    let (fleet, systemd) = a_machine().await;
    let made = packages(&fleet.world, AGENT);
    let package = of_kind(&made, "rpm")
        .expect("rpmbuild is there: ./test.sh installs Debian's package 'rpm'");
    // Debian's rpm knows of nothing that is installed there.
    let install = format!("rpm --force-debian --nodeps -i {package}");
    let said = shell(&systemd, &install).await.ok();
    assert!(said.stdout.contains("tentacle join --server"), "{said}");
    join(&fleet, &systemd).await;
    shell(&systemd, "rpm --force-debian -V --nodeps tentacle")
        .await
        .ok();
    shell(&systemd, "rpm --force-debian --nodeps -e tentacle")
        .await
        .ok();
    fleet.server.target_is("web01", false, SOON).await;
    shell(&systemd, "test -e /usr/bin/tentacle").await.exit(1);
    shell(&systemd, "test -d /var/lib/tentacle").await.ok();
}
