//! A release never changes: whatever is done to the project, its packages, its variables and its
//! secrets, deploying the release again does the same, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fleet::{Fleet, project_of, quoted};

fn process(fleet: &Fleet, word: &str) -> String {
    let script = format!(
        "{{ echo '{word}'; echo \"$GREETING\"; mantle_get Secret; echo; mantle_get Where; }} > '{}'-$MANTLE_TASK-$MANTLE_TARGET",
        fleet.world.path("report").display()
    );
    format!(
        "  - step: all
    targets: {{ tag: web }}
    actions:
      - {{ action: put, uses: package, with: {{ package: Site, substitute: '*.txt' }} }}
      - {{ action: say, uses: script, secrets: [Secret], with: {{ run: {} }} }}
",
        quoted(&script)
    )
}

fn project(fleet: &Fleet, word: &str, greeting: &str, secret: &str) -> String {
    project_of("shop", &process(fleet, word)).replace(
        "process:",
        &format!(
            "packages: [{{ id: Site }}]
variables:
  Greeting: {greeting}
  Where:
    - {{ value: \"{word} on #{{Octopus.Machine.Name}}\" }}
    - {{ value: \"{word} in the east\", target: web02 }}
  Secret: {{ secret: {secret} }}
process:"
        ),
    )
}

/// Every file below `folder`, by its path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let name = entry
                    .path()
                    .strip_prefix(folder)
                    .unwrap()
                    .display()
                    .to_string();
                found.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// What a deployment left: reports of its scripts, and the files that are current.
async fn deployed(fleet: &Fleet, version: &str) -> BTreeMap<String, Vec<u8>> {
    let args = ["deploy", "shop", version, "-e", "test", "-o", "json"];
    let task = crate::fleet::number(&fleet.server.ok(&args).await.json());
    let mut all = BTreeMap::new();
    for agent in &fleet.agents {
        let name = &agent.name;
        let report = std::fs::read(fleet.world.path(&format!("report-{task}-{name}"))).unwrap();
        all.insert(format!("{name} report"), report);
        let current = agent.data().join("apps/test/shop/Site/current/");
        for (path, content) in files(&current) {
            all.insert(format!("{name} {path}"), content);
        }
    }
    all
}

async fn set_secret(fleet: &Fleet, path: &str, value: &str) {
    let cli = fleet.server.cli();
    let output = cli
        .run_with_input(&["secret", "set", path], value.as_bytes())
        .await;
    output.ok();
}

#[tokio::test]
async fn what_a_release_deploys_does_not_change_with_its_project() {
    let fleet = Fleet::new(2).await;
    set_secret(&fleet, "shop/key", "first-secret").await;
    fleet
        .push(
            "Site",
            "1.0",
            &[
                ("page.txt", "#{Greeting} #{Where}\n"),
                ("sub/raw.bin", "one"),
            ],
        )
        .await;
    fleet
        .apply("shop", &project(&fleet, "before", "Hello", "shop/key"))
        .await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    let show = ["release", "show", "shop", "1.0"];
    let shown = fleet.server.json(&show).await;
    assert!(shown.get("warnings").is_none(), "{shown}");
    let first = deployed(&fleet, "1.0").await;
    let report = String::from_utf8(first["web01 report"].clone()).unwrap();
    assert_eq!(report, "before\nHello\nfirst-secret\nbefore on web01");
    assert_eq!(first["web02 page.txt"], b"Hello before in the east\n");

    // Everything changes, and a second release has it.
    set_secret(&fleet, "shop/key", "second-secret").await;
    set_secret(&fleet, "shop/other", "third-secret").await;
    fleet
        .push(
            "Site",
            "2.0",
            &[("page.txt", "changed #{Greeting}\n"), ("new.txt", "two")],
        )
        .await;
    fleet
        .apply("shop", &project(&fleet, "after", "Goodbye", "shop/other"))
        .await;
    fleet.server.ok(&["release", "create", "shop", "2.0"]).await;
    let second = deployed(&fleet, "2.0").await;
    let report = String::from_utf8(second["web01 report"].clone()).unwrap();
    assert_eq!(report, "after\nGoodbye\nthird-secret\nafter on web01");
    assert_ne!(first, second);

    let mut later = fleet.server.json(&show).await;
    let warnings = later.as_object_mut().unwrap().remove("warnings");
    assert!(warnings.is_some(), "its project is not what it holds");
    assert_eq!(later, shown, "the release is what it was");
    let again = deployed(&fleet, "1.0").await;
    assert_eq!(again, first, "and so is what it deploys");
}
