//! Files and values that are built to hurt, through the real command line: a clear error within seconds,
//! and nothing of the files beside them is applied.

use std::fmt::Write as _;

use crate::fleet::{Fleet, SOON, project_of};

const SAY: &str = "  - step: say
    targets: { tag: web }
    uses: script
    with: { run: 'echo \"$(mantle_get Big | wc -c)\"' }
";

/// Everything that the server holds, as files.
async fn everything(fleet: &Fleet) -> Vec<(String, String)> {
    let folder = fleet.world.path("exported");
    let _ = std::fs::remove_dir_all(&folder);
    fleet
        .server
        .ok(&["export", "--to", &folder.display().to_string()])
        .await;
    let mut files: Vec<(String, String)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}

/// References that would be ten million values, were they followed.
fn bomb() -> String {
    let mut text = "mantle: v1\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..8 {
        let refs = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(text, "a{level}: &a{level} [{refs}]").unwrap();
    }
    text
}

#[tokio::test]
async fn hostile_files_are_refused_and_nothing_beside_them_is_applied() {
    let fleet = Fleet::server_only(&[]).await;
    fleet.apply("shop", &project_of("shop", SAY)).await;
    let before = everything(&fleet).await;
    let sets = "mantle: v1\nvariable_set: one\ninclude: two\n---\nmantle: v1\nvariable_set: two\ninclude: one\n";
    let deep = format!("mantle: v1\nx: {}1{}\n", "[".repeat(500), "]".repeat(500));
    for (name, text, part) in [
        ("bomb", bomb(), "more than 200000 values"),
        ("deep", deep, "recursion limit exceeded"),
        (
            "huge",
            format!("mantle: v1\nproject: {}\n", "x".repeat(9 << 20)),
            "larger than 4 MiB",
        ),
        (
            "cycle",
            sets.to_owned(),
            "includes itself: one -> two -> one",
        ),
        (
            "kind",
            "mantle: v1\nrunbok: { name: x }\n".to_owned(),
            "'runbok'",
        ),
        (
            "anchor",
            "mantle: v1\nvariables: &v\n  A: *v\n".to_owned(),
            "inside its own anchor",
        ),
    ] {
        let folder = format!("files-{name}");
        // By name the good files come before and after the bad one.
        fleet
            .world
            .file(&format!("{folder}/a.yaml"), project_of("first", SAY));
        fleet.world.file(&format!("{folder}/{name}.yaml"), text);
        fleet
            .world
            .file(&format!("{folder}/z.yaml"), project_of("last", SAY));
        let folder = fleet.world.path(&folder).display().to_string();
        let output = fleet.server.run(&["apply", "--yes", "-f", &folder]).await;
        let output = output.exit(7).complains(&[part, &format!("{name}.yaml")]);
        assert!(output.stderr.len() < 16_384, "an error one can read");
        assert_eq!(everything(&fleet).await, before, "{name}");
    }
}

#[tokio::test]
async fn recursion_is_named_where_it_would_be_used() {
    let fleet = Fleet::new(1).await;
    let project = format!(
        "{}variables:\n  Big: \"#{{Other}}\"\n  Other: \"#{{Third}}\"\n  Third: \"#{{Big}}\"\n",
        project_of("shop", SAY)
    );
    fleet.apply("shop", &project).await;
    let explained = fleet
        .server
        .run(&["variable", "explain", "Big", "-p", "shop", "-e", "test"])
        .await;
    let said = explained.to_string().to_lowercase();
    assert!(
        said.contains("big") && said.contains("third") && said.contains("itself"),
        "{said}"
    );
}

/// Each variable asks twice for the next: a few lines that nobody can evaluate.
#[tokio::test]
async fn variables_that_expand_without_end_hold_nobody_up() {
    let fleet = Fleet::new(1).await;
    let mut doubling = "variables:\n  V0: xx\n".to_owned();
    for number in 1..40 {
        let before = number - 1;
        writeln!(doubling, "  V{number}: \"#{{V{before}}}#{{V{before}}}\"").unwrap();
    }
    fleet
        .apply("asks", &format!("{}{doubling}", project_of("asks", SAY)))
        .await;
    fleet.server.ok(&["release", "create", "asks", "1.0"]).await;
    let uses = project_of("uses", SAY).replace("wc -c", "wc -c # #{V39}");
    let uses = uses.replace("with: { run:", "with: { substitute: true, run:");
    fleet.apply("uses", &format!("{uses}{doubling}")).await;
    fleet.server.ok(&["release", "create", "uses", "1.0"]).await;
    let explained = fleet
        .server
        .run(&["variable", "explain", "V39", "-p", "asks", "-e", "test"])
        .await;
    explained.exit(0);
    // Where an input needs it the plan says so; where nothing does the deployment goes through.
    fleet
        .server
        .run(&["plan", "uses", "1.0", "-e", "test"])
        .await
        .exit(7)
        .complains(&["'say'", "more work"]);
    let deployment = fleet.detach("asks").await;
    fleet.release("other", SAY).await;
    fleet.deploy("other").await.ok();
    let ended = fleet.task_is(&deployment, "succeeded", SOON).await;
    assert_eq!(ended["state"], "succeeded");
}

#[tokio::test]
async fn values_of_megabytes_reach_the_step_or_are_refused_with_their_size() {
    let fleet = Fleet::new(1).await;
    let value = "v".repeat(1_000_000);
    let project = format!(
        "{}variables:\n  Big: \"{value}\"\n",
        project_of("shop", SAY)
    );
    fleet.apply("shop", &project).await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    fleet.deploy("shop").await.ok();
    let log = fleet.log("T-1").await;
    assert!(
        log.iter().any(|line| line.text.trim() == "1000000"),
        "{log:?}"
    );
    // A million tokens in one value: linear, bounded, and named if it is too much.
    let tokens = format!(
        "{}variables:\n  Big: \"{}\"\n  x: \"\"\n",
        project_of("tokens", SAY),
        "#{x}".repeat(1_000_000)
    );
    fleet.apply("tokens", &tokens).await;
    let args = ["variable", "explain", "Big", "-p", "tokens", "-e", "test"];
    let explained = fleet.server.run(&args).await;
    assert!(
        explained.code == Some(0) || explained.stderr.contains("Big"),
        "{explained}"
    );
    fleet.server.ok(&["status"]).await;
}
