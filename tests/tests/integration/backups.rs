//! Backup of a server that works, restore elsewhere, and what agents make of it: S72.

use std::path::{Path, PathBuf};

use mantle_tests::binaries::binary;
use mantle_tests::cli::{Cli, Output};
use mantle_tests::wait::wait_for;

use crate::fleet::{Fleet, SOON, gated, open_gate};

const WORDS: &str = "correct horse battery staple";

/// `mantle server ...` beside a server, with the passphrase in its environment.
async fn server_command(fleet: &Fleet, args: &[&str], words: &str) -> Output {
    Cli::new(&fleet.world, &binary("mantle"))
        .env("MANTLE_BACKUP_PASSPHRASE", words)
        .run(&[&["server"], args].concat())
        .await
}

async fn backup(fleet: &Fleet, name: &str) -> PathBuf {
    let file = fleet.world.path(name);
    let data = fleet.server.data().display().to_string();
    let shown = file.display().to_string();
    let args = ["backup", &shown, "--data", &data];
    server_command(fleet, &args, WORDS).await.ok();
    file
}

async fn restore(fleet: &Fleet, file: &Path, data: &Path, words: &str) -> Output {
    let (file, data) = (file.display().to_string(), data.display().to_string());
    server_command(fleet, &["restore", &file, "--data", &data], words).await
}

/// Destroys the server and starts one from the backup in its place, under the same addresses.
async fn in_its_place(fleet: &mut Fleet, file: &Path) -> Output {
    fleet.server.kill9();
    let data = fleet.server.data().to_owned();
    std::fs::rename(&data, fleet.world.path("destroyed")).unwrap();
    let said = restore(fleet, file, &data, WORDS).await.ok();
    fleet.server.restart().await;
    said
}

async fn status(fleet: &Fleet) -> serde_json::Value {
    fleet.server.json(&["server", "status"]).await
}

#[tokio::test]
async fn s72_a_restored_server_orders_nothing_until_it_was_recovered() {
    let mut fleet = Fleet::new(2).await;
    gated(&fleet, 100, 0).await;
    fleet.push("Shop", "1.0", &[("index.html", "hello")]).await;
    let before = fleet.detach("step").await;
    wait_for("both steps run and have printed", SOON, || async {
        let log = fleet.log(&before).await;
        let printed = |name: &str| log.iter().any(|line| line.target == name);
        if printed("web01") && printed("web02") {
            Ok(())
        } else {
            Err(format!("{} lines", log.len()))
        }
    })
    .await;

    // Taken while a deployment runs; then the world goes on, further than the backup knows.
    let file = backup(&fleet, "night.backup").await;
    open_gate(&fleet);
    fleet.task_is(&before, "succeeded", SOON).await;
    let gate = fleet.world.path("gate");
    std::fs::remove_file(&gate).unwrap();
    let after = fleet.detach("step").await;
    open_gate(&fleet);
    fleet.task_is(&after, "succeeded", SOON).await;

    let said = in_its_place(&mut fleet, &file).await;
    assert!(said.stdout.contains("mantle server recover"), "{said}");
    assert!(
        said.stdout.contains("Shop 1.0"),
        "its objects are missing: {said}"
    );

    // It says so, lets no agent in, and begins nothing.
    let shown = status(&fleet).await;
    assert!(shown["restored"]["taken_at"].is_string(), "{shown}");
    assert_eq!(shown["missing_packages"][0]["id"], "Shop", "{shown}");
    for agent in &fleet.agents {
        let asked = agent.cli();
        wait_for("the agent says why it is not let in", SOON, || async {
            let said = asked.run(&["status"]).await;
            if said.stdout.contains("restored from a backup") {
                Ok(())
            } else {
                Err(said.to_string())
            }
        })
        .await;
        fleet.server.target_is(&agent.name, false, SOON).await;
    }
    let refused = fleet.deploy("step").await;
    assert_ne!(refused.code, Some(0));
    assert!(
        refused.stderr.contains("mantle server recover"),
        "{refused}"
    );
    let task = fleet.task(&before).await;
    assert_eq!(
        task["state"], "running",
        "as it was when the backup was taken"
    );
    // A restart changes nothing of that.
    fleet.server.stop().await;
    fleet.server.restart().await;
    assert!(status(&fleet).await["restored"].is_object());

    // Recovered, it takes up what ran then. The agents were told since that what they did is stored, so
    // that nobody knows it any more: it is called that, and nothing is run again.
    fleet.server.ok(&["server", "recover", "--yes"]).await;
    fleet.all_online().await;
    let over = fleet.task_is(&before, "failed", SOON).await;
    for target in over["steps"][0]["targets"].as_array().unwrap() {
        assert_eq!(target["state"], "unknown", "{over}");
    }
    for agent in &fleet.agents {
        // What had been printed when the backup was taken is in it.
        let log = fleet.log(&before).await;
        assert!(log.iter().any(|line| line.target == agent.name), "{log:?}");
    }
    assert_eq!(fleet.effects.count("start", "work", "web01"), 2);
    let shown = status(&fleet).await;
    assert!(shown["restored"].is_null(), "{shown}");
    fleet.deploy("step").await.ok();
    assert_eq!(fleet.effects.count("start", "work", "web01"), 3);
    let again = fleet.server.run(&["server", "recover", "--yes"]).await;
    assert!(again.stderr.contains("nothing to recover"), "{again}");
    fleet.server.ok(&["audit", "verify"]).await;
}

/// The data directory is put back by hand, so that nothing marks it as restored.
#[tokio::test]
async fn s72_a_server_that_was_put_back_by_hand_notices_agents_that_went_further() {
    let mut fleet = Fleet::new(1).await;
    gated(&fleet, 10, 0).await;
    open_gate(&fleet);
    fleet.server.stop().await;
    let data = fleet.server.data().to_owned();
    let kept = fleet.world.path("kept");
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status();
        assert!(copied.unwrap().success());
    };
    copy(&data, &kept);
    fleet.server.restart().await;
    fleet.all_online().await;
    for _ in 0..3 {
        fleet.deploy("step").await.ok();
    }
    fleet.server.kill9();
    std::fs::rename(&data, fleet.world.path("destroyed")).unwrap();
    copy(&kept, &data);
    fleet.server.restart().await;
    let shown = wait_for("the server names the agent", SOON, || async {
        let shown = status(&fleet).await;
        if shown["ahead"][0]["target"] == "web01" {
            Ok(shown)
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    assert!(
        shown["ahead"][0]["epoch"].as_u64() > shown["epoch"].as_u64(),
        "{shown}"
    );
    fleet.server.target_is("web01", false, SOON).await;
    fleet.server.ok(&["server", "recover", "--yes"]).await;
    fleet.all_online().await;
    fleet.deploy("step").await.ok();
}

#[tokio::test]
async fn a_backup_is_refused_where_it_would_lose_something_or_cannot_be_read() {
    let fleet = Fleet::server_only(&[]).await;
    let file = backup(&fleet, "a.backup").await;
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    let key = std::fs::read(fleet.server.data().join("master.key")).unwrap();
    assert!(
        !bytes
            .windows(32)
            .any(|part| part == &key[key.len() - 33..key.len() - 1])
    );
    let left: Vec<_> = std::fs::read_dir(fleet.world.root())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let shown = file.display().to_string();
    let data = fleet.server.data().display().to_string();
    let again = server_command(&fleet, &["backup", &shown, "--data", &data], WORDS).await;
    again.exit(6).complains(&["exists already"]);
    let short = server_command(&fleet, &["backup", "x.backup", "--data", &data], "short").await;
    short.exit(2).complains(&["fewer than 12 characters"]);
    let nowhere = fleet.world.path("nowhere").display().to_string();
    let none = server_command(&fleet, &["backup", "x.backup", "--data", &nowhere], WORDS).await;
    none.exit(5).complains(&["no data directory"]);

    let fresh = fleet.world.path("fresh");
    let wrong = restore(&fleet, &file, &fresh, "wrong horse battery staple").await;
    wrong.exit(7).complains(&["the passphrase is wrong"]);
    let full = restore(&fleet, &file, fleet.server.data(), WORDS).await;
    full.exit(6).complains(&["is not empty"]);
    let cut = fleet.world.file("cut.backup", &bytes[..bytes.len() - 7]);
    restore(&fleet, &cut, &fresh, WORDS)
        .await
        .exit(7)
        .complains(&["cut off"]);
    assert!(!fresh.exists(), "nothing is left of what failed");
    restore(&fleet, &file, &fresh, WORDS).await.ok();
    assert!(fresh.join("mantle.db").exists());
}
