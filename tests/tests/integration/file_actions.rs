//! `file.template`, `file.copy` and `process.check` on real agents, with packages, secrets and a step
//! that rolls back.

use std::path::PathBuf;

use crate::fleet::{Fleet, number, project_of};

/// A fleet of one, and a folder of its machine.
async fn machine() -> (Fleet, PathBuf) {
    let fleet = Fleet::new(1).await;
    let folder = fleet.world.path("machine");
    std::fs::create_dir_all(&folder).unwrap();
    (fleet, folder)
}

/// Applies this process, deploys its release of this version, and gives its log.
async fn deploy(fleet: &Fleet, version: &str, process: &str, code: i32) -> String {
    let mut project = project_of("shop", process);
    if process.contains("package: Web") {
        project = project.replace("process:", "packages: [{ id: Web }]\nprocess:");
    }
    fleet.apply("shop", &project).await;
    fleet
        .server
        .ok(&["release", "create", "shop", version])
        .await;
    let args = ["deploy", "shop", version, "-e", "test", "--detach"];
    let task = number(&fleet.server.json(&args).await);
    let waited = fleet.server.run(&["task", "wait", &task]).await;
    let log = fleet.server.ok(&["task", "logs", &task]).await.stdout;
    assert_eq!(waited.code, Some(code), "{waited}\n{log}");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_s_template_is_written_and_a_rollback_gives_files_back() {
    let (fleet, folder) = machine().await;
    let page = "name = #{Octopus.Machine.Name}\nrelease = #{Octopus.Release.Number}\n";
    let files = [
        ("conf/shop.ini", page),
        ("site/a.html", "a"),
        ("site/d/b.html", "b"),
    ];
    fleet.push("Web", "1.0", &files).await;
    let at = |name: &str| folder.join(name).display().to_string();
    let process = |last: &str| {
        format!(
            "  - step: Farm
    targets: {{ tag: web }}
    rolling: {{ window: 1, on_failure: rollback }}
    actions:
      - {{ action: settings, uses: file.template, with: {{ package: Web, from: conf/shop.ini, to: \"{}\", mode: \"0640\" }} }}
      - {{ action: pages, uses: file.copy, with: {{ package: Web, from: site, to: \"{}\", purge: true, exclude: keep }} }}
      - {{ action: look, uses: script, with: {{ run: \"{last}\" }} }}
",
            at("etc/shop.ini"),
            at("www")
        )
    };
    std::fs::create_dir_all(folder.join("www")).unwrap();
    std::fs::write(folder.join("www/old.html"), "old").unwrap();
    std::fs::write(folder.join("www/keep"), "kept").unwrap();
    deploy(&fleet, "1.0", &process("true"), 0).await;
    let settings = || std::fs::read_to_string(folder.join("etc/shop.ini")).unwrap();
    assert_eq!(settings(), "name = web01\nrelease = 1.0\n");
    let has = |name: &str| folder.join("www").join(name).exists();
    assert!(has("a.html") && has("d/b.html") && has("keep") && !has("old.html"));

    fleet
        .push(
            "Web",
            "1.1",
            &[("conf/shop.ini", page), ("site/c.html", "c")],
        )
        .await;
    let log = deploy(&fleet, "1.1", &process("exit 1"), 3).await;
    assert!(log.contains("shop.ini is as it was before"), "{log}");
    assert_eq!(settings(), "name = web01\nrelease = 1.0\n");
    assert!(has("a.html") && has("d/b.html") && has("keep") && !has("c.html"));
    let log = deploy(&fleet, "1.2", &process("true"), 0).await;
    assert!(log.contains("release = 1.2"), "{log}");
    assert!(has("c.html") && !has("a.html") && !has("d"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_a_file_is_for_its_owner_alone_and_in_no_log() {
    let (fleet, folder) = machine().await;
    let file = folder.join("shop.conf");
    let process = format!(
        "  - step: Write
    targets: {{ tag: web }}
    uses: file.template
    with: {{ to: \"{}\", content: \"user=shop\\npassword={{{{Key}}}}\\n\" }}
",
        file.display()
    )
    .replace("{{Key}}", "#{Key}");
    let project = |process: &str| {
        project_of("shop", process).replace(
            "process:",
            "variables:\n  Key: { secret: shop/key }\nprocess:",
        )
    };
    let mut logs = String::new();
    for (version, value) in [("1.0", "first-s3cret"), ("1.1", "second-s3cret")] {
        let cli = fleet.server.cli();
        let set = cli.run_with_input(&["secret", "set", "shop/key"], value.as_bytes());
        set.await.ok();
        fleet.apply("shop", &project(&process)).await;
        fleet
            .server
            .ok(&["release", "create", "shop", version])
            .await;
        let args = ["deploy", "shop", version, "-e", "test", "--detach"];
        let task = number(&fleet.server.json(&args).await);
        fleet.server.ok(&["task", "wait", &task]).await;
        logs.push_str(&fleet.server.ok(&["task", "logs", &task]).await.stdout);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("user=shop\npassword={value}\n"));
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(logs.contains("shop.conf is changed"), "{logs}");
    assert!(!logs.contains("s3cret"), "{logs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_runs_is_found_and_one_that_does_not_is_told() {
    let (fleet, _folder) = machine().await;
    let process = |more: &str| {
        format!(
            "  - step: Check
    targets: {{ tag: web }}
    uses: process.check
    with: {{ name: tentacle, within: 1s, interval: 100ms{more} }}
"
        )
    };
    let log = deploy(&fleet, "1.0", &process(""), 0).await;
    assert!(log.contains("as wanted (at least 1)"), "{log}");
    let log = deploy(&fleet, "1.1", &process(", command: no-such-argument"), 3).await;
    assert!(log.contains("wanted are at least 1"), "{log}");
    let log = deploy(
        &fleet,
        "1.2",
        &process(", command: no-such-argument, at_most: 0"),
        0,
    )
    .await;
    assert!(log.contains("none runs, as wanted (none)"), "{log}");
}
