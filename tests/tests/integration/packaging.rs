//! The server's Debian package: built by its one command, installed by dpkg on a machine of the test's
//! own, served by a real systemd, and removed.

use std::path::Path;
use std::process::Command;

use mantle_tests::World;
use mantle_tests::binaries::binary;
use mantle_tests::cli::Output;
use mantle_tests::systemd::{Network, Systemd};
use mantle_tests::wait::wait_for;

use crate::fleet::SOON;

/// All of /usr is the real machine's, and can only be read: what is installed goes to a layer above it.
/// dpkg knows of nothing that is installed there, so its word on what a package needs does not count.
const LAYER: &str = "set -e
ip link set lo up
mkdir -p /run/layer/upper /run/layer/work /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers
touch /var/lib/dpkg/status
mount -t overlay overlay -o lowerdir=/usr,upperdir=/run/layer/upper,workdir=/run/layer/work /usr";

/// Builds the package from the programs that are built.
fn package(world: &World) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs = binary("mantle").parent().unwrap().to_owned();
    let built = Command::new(top.join("packaging/deb/build.sh"))
        .arg(world.dir("deb"))
        .env("PROGRAMS", programs)
        .env("COMPRESSION", "none")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    String::from_utf8(built.stdout).unwrap().trim().to_owned()
}

async fn shell(systemd: &Systemd, script: &str) -> Output {
    systemd.run(&["sh", "-c", script]).await
}

#[tokio::test]
async fn the_servers_package_installs_serves_confined_and_goes_without_its_data() {
    let world = World::new();
    let package = package(&world);
    let systemd = Systemd::boot(&world, Network::Own).await;
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
