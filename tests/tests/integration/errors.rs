//! The refusals that operators meet: each says what, where, why and what to type next, ends with
//! its exit code, and leaves nothing half-done.

use std::net::{TcpListener, UdpSocket};

use mantle_tests::cli::Output;
use mantle_tests::wait::wait_for;
use mantle_tests::{Agent, Joining, Server, World};

use crate::fleet::{Fleet, SOON, project_of};

const NOTHING: &str =
    "  - { step: nothing, targets: { tag: web }, uses: script, with: { run: 'true' } }\n";

/// Asserts a refusal: its code, and everything that it must say.
#[track_caller]
fn refused(output: Output, code: i32, parts: &[&str]) {
    let output = output.exit(code).complains(parts);
    assert!(
        output.stdout.is_empty(),
        "data of what did not happen\n{output}"
    );
    assert!(
        output.stderr.contains("help: "),
        "what to type next is missing\n{output}"
    );
    assert!(!output.stderr.contains("panicked"), "{output}");
}

async fn projects(fleet: &Fleet) -> usize {
    let list = fleet.server.json(&["project", "list"]).await;
    list["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn files_that_cannot_be_meant_are_refused_with_their_place() {
    let fleet = Fleet::server_only(&[]).await;
    let unknown_key = project_of("shop", NOTHING).replace("uses: script", "uzes: script");
    let output = fleet.try_apply("shop", &unknown_key).await;
    refused(output, 7, &["shop.yaml:5:", "'uzes'", "uses"]);

    let comment = format!(
        "{}variables:\n  Url: #{{Host}}/x\n",
        project_of("shop", NOTHING)
    );
    let output = fleet.try_apply("shop", &comment).await;
    refused(output, 7, &["shop.yaml:7:8", "comment", "quote"]);

    let duplicate = format!("{}project: other\n", project_of("shop", NOTHING));
    let output = fleet.try_apply("shop", &duplicate).await;
    refused(output, 7, &["shop.yaml:6:1", "project"]);

    let lifecycle = project_of("shop", NOTHING).replace("standard", "standart");
    let output = fleet.try_apply("shop", &lifecycle).await;
    refused(output, 7, &["standart", "standard"]);

    let scope = format!(
        "{}variables:\n  A:\n    - {{ value: x, environment: produktion }}\n",
        project_of("shop", NOTHING)
    );
    let output = fleet.try_apply("shop", &scope).await;
    refused(output, 7, &["shop.yaml:8:", "produktion", "production"]);
    assert_eq!(projects(&fleet).await, 0, "nothing is half applied");
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_was_probably_meant() {
    let fleet = Fleet::new(1).await;
    fleet.release("shop", NOTHING).await;
    let run = async |args: &[&str]| fleet.server.run(args).await;
    refused(
        run(&["deploy", "shpo", "1.0", "-e", "test"]).await,
        5,
        &["shpo", "shop"],
    );
    refused(
        run(&["deploy", "shop", "1.0", "-e", "tset"]).await,
        5,
        &["tset", "test"],
    );
    refused(
        run(&["deploy", "shop", "1.1", "-e", "test"]).await,
        5,
        &["1.1", "shop"],
    );
    refused(
        run(&["release", "create", "shpo"]).await,
        5,
        &["shpo", "shop"],
    );
    refused(
        run(&["task", "show", "T-9"]).await,
        5,
        &["T-9", "mantle task list"],
    );
    refused(
        run(&["target", "tag", "web02", "x"]).await,
        5,
        &["web02", "web01"],
    );

    let tag = NOTHING.replace("tag: web", "tag: wbe");
    fleet.release("tagged", &tag).await;
    refused(
        run(&["deploy", "tagged", "1.0", "-e", "test"]).await,
        6,
        &["'nothing'", "'wbe'", "did you mean 'web'"],
    );
    let tasks = fleet.server.json(&["task", "list"]).await;
    assert_eq!(
        tasks["items"].as_array().map(Vec::len),
        Some(0),
        "no task came of it: {tasks}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_package_is_named_and_nothing_of_it_is_kept() {
    let fleet = Fleet::server_only(&[]).await;
    let file = fleet.world.file("Shop.Web.1.0.0.zip", "no archive at all");
    let path = file.display().to_string();
    let push = fleet.server.run(&["package", "push", &path]).await;
    refused(push, 7, &["'Shop.Web.1.0.0.zip'", "zip", "push it again"]);
    let gone = fleet.server.run(&["package", "push", "nowhere.zip"]).await;
    refused(gone, 7, &["nowhere.zip", "looked for in"]);
    let list = fleet.server.json(&["package", "list"]).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{list}");
}

#[tokio::test]
async fn a_deployment_that_cannot_be_is_refused_before_anything_is_touched() {
    let mut fleet = Fleet::server_only(&[]).await;
    fleet.release("shop", NOTHING).await;
    let run = async |fleet: &Fleet, args: &[&str]| fleet.server.run(args).await;
    let to_test = ["deploy", "shop", "1.0", "-e", "test"];
    refused(
        run(&fleet, &to_test).await,
        6,
        &[
            "'test'",
            "target",
            "mantle agent token create --environment test",
        ],
    );

    fleet.join("web01", "web", None).await;
    fleet.all_online().await;
    refused(
        run(&fleet, &["deploy", "shop", "1.0", "-e", "production"]).await,
        6,
        &["'production'", "phase 'Test'", "mantle deploy"],
    );

    fleet.agents[0].stop().await;
    fleet.server.target_is("web01", false, SOON).await;
    refused(
        run(&fleet, &to_test).await,
        6,
        &[
            "web01",
            "offline",
            "nothing else that is connected is deployed to",
        ],
    );

    refused(
        run(&fleet, &["release", "create", "shop", "1.0"]).await,
        6,
        &["1.0", "shop"],
    );
    let needs = project_of(
        "needs",
        "  - { step: put, targets: { tag: web }, uses: package, with: { package: Nobody } }\n",
    )
    .replace("process:", "packages: [{ id: Nobody }]\nprocess:");
    fleet.apply("needs", &needs).await;
    let create = run(&fleet, &["release", "create", "needs", "1.0"]).await;
    assert!(matches!(create.code, Some(5 | 6)), "{create}");
    let code = create.code.unwrap_or_default();
    refused(create, code, &["Nobody", "mantle package push"]);

    fleet.push("Site", "1.0", &[("a", "first")]).await;
    fleet.world.file("package-Site-1.0/a", "second");
    let other = fleet.world.path("other").join("Site.1.0.tar.gz");
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    let status = std::process::Command::new("tar")
        .args(["-czf", &other.display().to_string(), "-C"])
        .arg(fleet.world.path("package-Site-1.0"))
        .arg(".")
        .status()
        .unwrap();
    assert!(status.success());
    let before = fleet
        .server
        .ok(&["package", "show", "Site", "1.0"])
        .await
        .stdout;
    let push = run(&fleet, &["package", "push", &other.display().to_string()]).await;
    refused(push, 6, &["Site 1.0", "other bytes", "new version"]);
    let after = fleet
        .server
        .ok(&["package", "show", "Site", "1.0"])
        .await
        .stdout;
    assert_eq!(before, after);
    let tasks = fleet.server.json(&["task", "list"]).await;
    assert_eq!(tasks["items"].as_array().map(Vec::len), Some(0), "{tasks}");
}

#[tokio::test]
async fn an_agent_that_may_not_join_is_told_why() {
    let world = World::new();
    let server = Server::start(&world).await;
    let quic = server.addresses().quic;
    let join = async |name: &str, addr, token: &str| {
        Agent::try_join(&world, addr, token, name, Joining::default())
            .await
            .1
    };

    let token = server.token().await;
    join("web01", quic, &token).await.ok();
    let output = join("web02", quic, &token).await;
    failed(output, &["used", "mantle agent token create"]);

    // Of the right form, and of the right authority, but never made here.
    let (head, secret) = token.split_at(token.len() - 8);
    let forged: String = secret
        .chars()
        .map(|c| if c == 'a' { 'b' } else { 'a' })
        .collect();
    let output = join("web02", quic, &format!("{head}{forged}")).await;
    failed(output, &["token", "mantle agent token create"]);

    let short = server
        .json(&["agent", "token", "create", "--ttl", "1s"])
        .await;
    let short = mantle_tests::grammar::token_of(&short).unwrap();
    wait_for("the token has expired", SOON, || async {
        let list = server.ok(&["agent", "token", "list"]).await.stdout;
        if list.contains("expired") {
            Ok(())
        } else {
            Err(list)
        }
    })
    .await;
    let output = join("web02", quic, &short).await;
    failed(output, &["expired", "mantle agent token create"]);

    // The token of another server: this one is not told it.
    let other = World::new();
    let foreign = Server::start(&other).await;
    let token = foreign.token().await;
    let output = join("web02", quic, &token).await;
    failed(
        output,
        &["is not the server that made this token", "sha256:"],
    );
    // It is still good where it was made.
    Agent::try_join(
        &other,
        foreign.addresses().quic,
        &token,
        "web02",
        Joining::default(),
    )
    .await
    .1
    .ok();

    // UDP goes nowhere, TCP answers.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let _silent = UdpSocket::bind(addr).unwrap();
    let token = server.token().await;
    let output = join("web02", addr, &token).await;
    failed(output, &["UDP", "TCP", &addr.port().to_string()]);
    let targets = server.json(&["target", "list"]).await;
    assert!(!targets.to_string().contains("web02"), "{targets}");
}

/// A join that failed: a cross with the reason, and what to type next.
#[track_caller]
fn failed(output: Output, parts: &[&str]) {
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(!matches!(output.code, Some(0) | None), "{output}");
    for part in parts {
        assert!(all.contains(part), "expected: {part}\n{output}");
    }
    assert!(!all.contains("panicked"), "{output}");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_what_is_in_its_way() {
    let world = World::new();
    let mut server = Server::start(&world).await;
    let cli = server.cli();
    let start = async |data: &str, https: &str, quic: &str| {
        let args = [
            "server",
            "run",
            "--data",
            data,
            "--listen-https",
            https,
            "--listen-quic",
            quic,
        ];
        cli.run(&args).await
    };
    let any = "127.0.0.1:0";
    let data = world.path("another").display().to_string();
    let taken = server.addresses().https.to_string();
    refused(
        start(&data, &taken, any).await,
        1,
        &[&taken, "in use", "--listen-https"],
    );
    let taken = server.addresses().quic.to_string();
    refused(
        start(&data, any, &taken).await,
        1,
        &[&taken, "in use", "--listen-quic"],
    );

    let data = server.data().display().to_string();
    let output = start(&data, any, any).await;
    let pid = server.process().pid().to_string();
    refused(output, 1, &[&data, &pid]);

    // Nobody may make anything there, not even root.
    let output = start("/proc/mantle", any, any).await;
    refused(output, 1, &["/proc/mantle", "--data"]);

    server.kill9();
    let output = server.run(&["status"]).await;
    refused(output, 9, &[&server.addresses().https.to_string()]);
}

#[tokio::test]
async fn a_push_to_a_full_disk_is_refused_and_leaves_nothing() {
    let world = World::new();
    let server = Server::start_on_small_disk(&world, "uploads", 8 * 1024 * 1024).await;
    let file = world.file("Site.1.0.tar.gz", vec![7_u8; 1024 * 1024]);
    let output = server
        .run(&["package", "push", &file.display().to_string()])
        .await;
    refused(output, 6, &["no space", "uploads"]);
    let list = server.json(&["package", "list"]).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{list}");
    // All else goes on.
    server.ok(&["agent", "token", "create"]).await;
}
