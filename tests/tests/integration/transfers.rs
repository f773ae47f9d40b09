//! Packages on their way and on the disk, when something dies: never a part under the final name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mantle_shared::Digest;
use mantle_tests::cli::Cli;
use mantle_tests::sabotage;
use mantle_tests::wait::{wait_for, wait_until};
use rand::{RngCore as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fleet::{Fleet, SOON, project_of};

/// What cannot be compressed or found elsewhere.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; bytes];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut content);
    content
}

fn archive(fleet: &Fleet, name: &str, content: &[u8]) -> std::path::PathBuf {
    fleet.world.file(&format!("{name}-content/blob"), content);
    let path = fleet.world.path(&format!("{name}.tar.gz"));
    let status = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&path)
        .arg("-C")
        .arg(fleet.world.path(&format!("{name}-content")))
        .arg("blob")
        .status()
        .expect("tar");
    assert!(status.success());
    path
}

/// A TCP line to the server that counts what clients send, and stands still after `stall_after`.
struct Line {
    addr: SocketAddr,
    sent: Arc<AtomicU64>,
    _task: tokio::task::JoinSet<()>,
}

impl Line {
    async fn start(upstream: SocketAddr, stall_after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                lines.spawn(async move {
                    let server = TcpStream::connect(upstream).await.unwrap();
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let back = tokio::io::copy(&mut from_server, &mut to_client);
                    let forth = async {
                        let mut buffer = vec![0; 64 * 1024];
                        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                            if counter.fetch_add(length as u64, Ordering::SeqCst) > stall_after {
                                std::future::pending::<()>().await;
                            }
                            if to_server.write_all(&buffer[..length]).await.is_err() {
                                return;
                            }
                        }
                    };
                    tokio::join!(forth, back).1.ok();
                });
            }
        });
        Self {
            addr,
            sent,
            _task: task,
        }
    }
}

/// The operator's command line from another machine, over this line.
fn remote(fleet: &Fleet, line: &Line) -> Cli {
    let data = fleet.server.data();
    let text = std::fs::read_to_string(data.join("server.json")).unwrap();
    let server: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ca = fleet
        .world
        .file("ca.pem", server["ca_pem"].as_str().unwrap());
    let key = std::fs::read_to_string(data.join("admin.key")).unwrap();
    Cli::new(&fleet.world, &mantle_tests::binaries::binary("mantle"))
        .env("MANTLE_URL", format!("https://{}", line.addr))
        .env("MANTLE_TOKEN", key.trim())
        .env("MANTLE_CA_FILE", ca.display())
}

#[tokio::test]
async fn s73_s74_a_push_that_is_killed_at_60_per_cent_leaves_nothing_and_goes_on() {
    let mut fleet = Fleet::server_only(&[]).await;
    let file = archive(&fleet, "Big.1.0", &noise(40 * 1024 * 1024, 73));
    let size = std::fs::metadata(&file).unwrap().len();
    let file = file.display().to_string();
    let push = ["package", "push", file.as_str()];

    let cut = Line::start(fleet.server.addresses().https, size * 6 / 10).await;
    let command = remote(&fleet, &cut).command(&push);
    let mut pushing = mantle_tests::process::Process::spawn(&fleet.world, "push", command);
    wait_until("60 % are sent", SOON, || {
        cut.sent.load(Ordering::SeqCst) > size * 6 / 10
    })
    .await;
    pushing.kill9();
    // The server dies with it, in the middle of the upload.
    fleet.server.kill9();
    if sabotage::is_on("upload-forgotten") {
        std::fs::remove_dir_all(fleet.server.data().join("uploads")).unwrap();
    }
    fleet.server.restart().await;
    let list = fleet.server.json(&["package", "list"]).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{list}");
    fleet
        .server
        .run(&["package", "show", "Big", "1.0"])
        .await
        .exit(5);

    let whole = Line::start(fleet.server.addresses().https, u64::MAX).await;
    remote(&fleet, &whole).run(&push).await.ok();
    let rest = whole.sent.load(Ordering::SeqCst);
    assert!(
        rest < size * 6 / 10,
        "only the rest is sent, not {rest} of {size}"
    );
    assert!(
        rest > size * 3 / 10,
        "and it was not there already: {rest} of {size}"
    );
    let shown = fleet.server.json(&["package", "show", "Big", "1.0"]).await;
    let sum = std::process::Command::new("sha256sum")
        .arg(&file)
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(
        shown["archive_sha256"].as_str(),
        sum.split(' ').next(),
        "{shown}"
    );
}

#[tokio::test]
async fn s75_two_steps_that_unpack_the_same_package_at_once_have_whole_copies() {
    let fleet = Fleet::new(1).await;
    let content = noise(12 * 1024 * 1024, 75);
    let file = archive(&fleet, "Shared.1.0", &content);
    fleet
        .server
        .ok(&["package", "push", &file.display().to_string()])
        .await;
    let mut tasks = Vec::new();
    for project in ["left", "right"] {
        let process =
            "  - { step: put, targets: { tag: web }, uses: package, with: { package: Shared } }\n";
        let yaml = project_of(project, process)
            .replace("process:", "packages: [{ id: Shared }]\nprocess:");
        fleet.apply(project, &yaml).await;
        fleet
            .server
            .ok(&["release", "create", project, "1.0"])
            .await;
    }
    for project in ["left", "right"] {
        tasks.push(fleet.detach(project).await);
    }
    for task in &tasks {
        fleet.task_is(task, "succeeded", SOON).await;
    }
    for project in ["left", "right"] {
        let installed = fleet.agents[0]
            .data()
            .join(format!("apps/test/{project}/Shared/current/blob"));
        if sabotage::is_on("copy-cut") {
            std::fs::write(&installed, &content[1..]).unwrap();
        }
        let copy = std::fs::read(&installed).unwrap();
        assert!(copy == content, "{} is another", installed.display());
    }
    // The cache holds it once: every object is what its name says, and nothing lies beside them.
    let objects = files_below(&fleet.agents[0].data().join("cache"));
    let mut bytes = 0;
    for path in objects {
        let object = std::fs::read(&path).unwrap();
        let mut name: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        let name = name.split_off(name.len() - 3);
        assert_eq!(name[0], "objects", "{} is litter", path.display());
        let digest = Digest::of(&object).to_string();
        assert_eq!(format!("{}{}", name[1], name[2]), digest);
        bytes += object.len();
    }
    let once = content.len()..content.len() + content.len() / 20;
    assert!(once.contains(&bytes), "{bytes} bytes, not {once:?}");
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The process that activates 1.1 dies at this point: what is current is 1.0 or 1.1, whole.
async fn activation_dies_at(fleet: &mut Fleet, point: &str, version: &str) {
    let agent = &mut fleet.agents[0];
    agent.stop().await;
    agent.set_env("MANTLE_FAULT", point);
    agent.run();
    fleet.server.target_is("web01", true, SOON).await;
    let output = fleet
        .server
        .run(&["deploy", "site", version, "-e", "test"])
        .await;
    // Its supervisor is dead: nobody can know, and that is no success.
    let output = output.exit(3).complains(&["unknown"]);
    let current = fleet.agents[0].data().join("apps/test/site/Site/current");
    if sabotage::is_on("written-in-place") {
        std::fs::write(current.join("a.txt"), "half").unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(current.join(name)).unwrap();
    let old_or_new = |when: &str| {
        let (a, b) = (read("a.txt"), read("b.txt"));
        assert_eq!(a, b, "{point}, {when}: a mix\n{output}");
        assert!(a.trim() == "1.0" || a.trim() == version, "{point}: {a}");
    };
    old_or_new("while nobody has cleaned up");

    let agent = &mut fleet.agents[0];
    agent.stop().await;
    agent.set_env("MANTLE_FAULT", "");
    agent.run();
    fleet.server.target_is("web01", true, SOON).await;
    old_or_new("after the restart");
    fleet
        .server
        .ok(&["deploy", "site", version, "-e", "test"])
        .await;
    assert_eq!(
        (read("a.txt").trim(), read("b.txt").trim()),
        (version, version),
        "{point}"
    );
    // What the dead process was building is swept.
    let root = current.parent().unwrap();
    let litter = wait_for("a listing", SOON, || async {
        std::fs::read_dir(root).map_err(|error| error.to_string())
    })
    .await
    .flatten()
    .map(|entry| entry.file_name().into_string().unwrap())
    .filter(|name| name.starts_with(".current-"))
    .collect::<Vec<_>>();
    assert_eq!(litter, Vec::<String>::new(), "{point}");
    fleet
        .server
        .ok(&["deploy", "site", "1.0", "-e", "test"])
        .await;
}

#[tokio::test]
async fn s78_killed_while_it_activates_the_old_or_the_new_version_is_current() {
    let mut fleet = Fleet::new(1).await;
    let process =
        "  - { step: put, targets: { tag: web }, uses: package, with: { package: Site } }\n";
    let yaml = project_of("site", process).replace(
        "process:",
        "packages: [{ id: Site }]\nversion: { package: Site }\nprocess:",
    );
    let points = [
        "package.before_rename",
        "package.installed",
        "package.before_switch",
        "package.switched",
    ];
    for minor in 0..=points.len() {
        let version = format!("1.{minor}");
        fleet
            .push(
                "Site",
                &version,
                &[("a.txt", &version), ("b.txt", &version)],
            )
            .await;
        if minor == 0 {
            fleet.apply("site", &yaml).await;
        }
        fleet
            .server
            .ok(&["release", "create", "site", &version])
            .await;
    }
    fleet
        .server
        .ok(&["deploy", "site", "1.0", "-e", "test"])
        .await;
    for (point, minor) in points.iter().zip(1..) {
        activation_dies_at(&mut fleet, point, &format!("1.{minor}")).await;
    }
}
