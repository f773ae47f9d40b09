//! The systemd of a test is a real one, and the machine is out of its reach.

use std::os::unix::fs::MetadataExt as _;

use super::*;

/// A unit that says where it runs.
const UNIT: &str =
    "[Service]\nExecStart=/bin/sh -c 'cat /proc/self/cgroup > /run/where; exec sleep infinity'\n";

async fn shell(systemd: &Systemd, script: &str) -> String {
    systemd.run(&["sh", "-c", script]).await.stdout
}

#[tokio::test]
async fn a_unit_runs_in_a_cgroup_of_its_own() {
    let world = World::new();
    let systemd = Systemd::boot(&world, Network::Own).await;
    std::fs::write(systemd.path("/etc/systemd/system/probe.service"), UNIT).unwrap();
    systemd.run(&["systemctl", "daemon-reload"]).await.ok();
    systemd.run(&["systemctl", "start", "probe"]).await.ok();
    assert_eq!(systemd.property("probe", "ActiveState").await, "active");
    let main = systemd.property("probe", "MainPID").await;
    let cgroup = systemd.cgroup().join("system.slice/probe.service");
    let members = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    assert_eq!(
        members.lines().count(),
        1,
        "the path was really taken: {members}"
    );
    let said = wait_for("it says where it runs", BOOT_DEADLINE, || async {
        match shell(&systemd, "cat /run/where").await {
            said if said.trim().is_empty() => Err("nothing yet".to_owned()),
            said => Ok(said),
        }
    })
    .await;
    let own = said.trim().ends_with("0::/system.slice/probe.service");
    assert!(own, "{said}");
    systemd.run(&["kill", "-KILL", &main]).await.ok();
    wait_for("it is told as failed", BOOT_DEADLINE, || async {
        match systemd.property("probe", "Result").await.as_str() {
            "signal" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_of_the_machine_can_be_written_from_inside() {
    let world = World::new();
    // Where an init system would clear it.
    let outside = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let systemd = Systemd::boot(&world, Network::Own).await;
    let mounts = shell(&systemd, "cat /proc/self/mountinfo").await;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (place, options) = (fields[4], fields[5]);
        let kind = fields
            .iter()
            .skip_while(|field| **field != "-")
            .nth(1)
            .unwrap();
        let own = ["tmpfs", "proc", "cgroup2", "devpts", "ramfs"].contains(kind);
        let read_only = options.split(',').any(|option| option == "ro");
        let of_the_test = Path::new(place) == world.root();
        assert!(own || read_only || of_the_test, "{line}");
    }
    // Told by what they are, never by harming them: should the walls be down, this must do no harm.
    let name = outside.path().display();
    assert_eq!(shell(&systemd, &format!("ls {name}")).await, "");
    for folder in [
        "/", "/tmp", "/var", "/etc", "/run", "/dev", "/dev/shm", "/root",
    ] {
        let seen = shell(&systemd, &format!("stat -c %d:%i {folder}")).await;
        let outer = std::fs::metadata(folder).unwrap();
        let outer = format!("{}:{}", outer.dev(), outer.ino());
        assert!(
            !seen.trim().is_empty() && seen.trim() != outer,
            "{folder} is the machine's"
        );
    }
    for file in [
        "/usr",
        "/sys",
        "/proc/sys/kernel/panic",
        "/proc/sysrq-trigger",
    ] {
        let tried = shell(&systemd, &format!("test -w {file} && echo yes || echo no")).await;
        assert_eq!(tried.trim(), "no", "{file} can be written");
    }
}

#[tokio::test]
async fn with_its_end_all_of_it_is_gone() {
    let world = World::new();
    let systemd = Systemd::boot(&world, Network::OfTheTest).await;
    let (init, cgroup) = (systemd.pid(), systemd.cgroup().to_owned());
    assert!(cgroup.join("init.scope").is_dir());
    drop(systemd);
    assert!(!Path::new(&format!("/proc/{init}/root/run")).exists());
    assert!(!cgroup.exists(), "its cgroups stay behind");
}
