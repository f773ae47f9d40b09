//! No secret is stored or said in clear (I10, S40): not by an agent that masks, not by a server whose
//! agent does not; and what cannot be masked is held back, never stored as it came.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mantle::api::body::SecretSet;
use mantle::store::{StoreError, secret_version_list_other_key, secret_version_reseal};
use mantle_shared::mask::MaskSet;
use mantle_shared::protocol::{
    AttemptEnd, AttemptEnded, Level, Message, Outcome, Record, RecordBody, RecordHasher, Records,
    Stream,
};
use mantle_tests::World;
use mantle_tests::wait::{wait_for, wait_until};

use crate::fleet::{Fleet, project_of, quoted};
use crate::rig::{FullAgent, LinkAgent, SOON, Server, patient, succeeded};

/// Nothing prints this by chance. Each encoding changes some of it.
const CANARY: &str = "Canary 7f3a/\"9d\"+e1&\u{e9}c0ffee";

/// Prints the secret in every form, made on the target: the text of a script is no place for one.
const LEAKY: &str = r#"
echo "plain $CANARY."
echo "on stderr $CANARY" >&2
printf '%s' "$CANARY" | head -c 9; printf '%s\n' "$CANARY" | tail -c +10
for before in '' x xy; do printf '%s%s' "$before" "$CANARY" | base64 -w0; echo; done
for before in '' x xy; do printf '%s%s' "$before" "$CANARY" | base64 -w0 | tr '+/' '-_' | tr -d =; echo; done
printf 'url %s\n' "$(printf '%s' "$CANARY" | od -An -tx1 -v | tr -d ' \n' | sed 's/../%&/g; s/%43/C/; s/%61/a/g; s/%6e/n/; s/%72/r/; s/%79/y/')"
printf 'json "%s"\n' "$(printf '%s' "$CANARY" | sed 's/["\\]/\\&/g')"
set_octopusvariable "Leaked" "it is $CANARY"
set_octopusvariable "Sealed" "$CANARY" -sensitive
update_progress 50 "half of $CANARY"
write_highlight "look: $CANARY"
write_verbose "$CANARY"
printf '%s' "$CANARY" > kept-in-memory && rm kept-in-memory
printf 'the tail %s' "$CANARY"
fail_step "it failed with $CANARY"
"#;

/// What no byte may hold: the secret as it is and as it is encoded.
fn canary() -> Arc<MaskSet> {
    Arc::new(MaskSet::new([CANARY]).unwrap())
}

/// Names every file below a folder in which the canary stands in some form.
fn found_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                // A file that goes away meanwhile holds nothing any more.
                let bytes = std::fs::read(&path).unwrap_or_default();
                if canary().finds(&String::from_utf8_lossy(&bytes)) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

#[test]
fn i10_the_search_finds_what_it_looks_for() {
    let world = World::new();
    world.file("a/clean", "nothing");
    world.file(
        "a/b/dirty",
        format!("x{}", STANDARD.encode(format!("y{CANARY}"))),
    );
    let found = found_in(world.root());
    assert!(
        matches!(found.as_slice(), [one] if one.ends_with("dirty")),
        "{found:?}"
    );
}

#[tokio::test]
async fn s40_i10_canary_secrets_are_in_no_file_and_no_answer() {
    let fleet = Fleet::new(1).await;
    let set = fleet.server.cli();
    let set = set.run_with_input(&["secret", "set", "shop/canary"], CANARY.as_bytes());
    set.await.ok();
    let process = format!(
        "  - {{ step: Leak, targets: {{ tag: web }}, uses: script, secrets: [Canary], with: {{ shell: bash, run: {} }} }}
  - {{ step: After, run: always, targets: {{ tag: web }}, uses: script, with: {{ run: 'echo \"after #{{Octopus.Action[Leak].Output.Leaked}}\"' }} }}
",
        quoted(LEAKY)
    );
    let project = project_of("shop", &process).replace(
        "process:",
        "variables:\n  Canary: { secret: shop/canary }\nprocess:",
    );
    fleet.apply("shop", &project).await;
    fleet.server.ok(&["release", "create", "shop", "1.0"]).await;
    let output = fleet
        .server
        .run(&["deploy", "shop", "1.0", "-e", "test"])
        .await;
    assert!(!canary().finds(&output.to_string()), "{output}");
    let log = fleet.log("T-1").await;
    let masked = log.iter().filter(|line| line.text.contains("********"));
    assert!(masked.count() >= 12, "{log:#?}");

    let answers: &[&[&str]] = &[
        &["task", "show", "T-1"],
        &["task", "events", "T-1"],
        &["task", "log", "T-1"],
        &["audit", "list", "-n", "200"],
        &["release", "show", "shop", "1.0"],
        &["deployment", "show", "T-1"],
        &["variable", "list", "-p", "shop", "-e", "test"],
        &["secret", "list"],
    ];
    for args in answers {
        let answer = fleet
            .server
            .run(&[args, ["-o", "json"].as_slice()].concat())
            .await;
        let text = answer.to_string();
        assert!(!canary().finds(&text), "{args:?}: {text}");
    }
    let agent = &fleet.agents[0];
    assert_eq!(found_in(fleet.server.data()), [""; 0]);
    assert_eq!(found_in(agent.data()), [""; 0]);
}

fn line(stream: Stream, text: String) -> Record {
    Record {
        at_us: 5,
        body: RecordBody::Line {
            stream,
            level: Level::Info,
            text,
        },
    }
}

async fn secret(server: &Server, value: &str) {
    let value = value.to_owned();
    let set = SecretSet { value };
    let set = server
        .services
        .secret_set(&server.caller, "shop/canary", set);
    set.await.unwrap();
}

const USES_IT: &str = "variables:
  Canary: { secret: shop/canary }
process:
  - step: Work
    targets: { tag: web }
    uses: script
    secrets: [Canary]
    with: { run: 'true' }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s40_i10_what_an_agent_does_not_mask_the_server_does() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let mut agent = LinkAgent::connect(&home, patient()).await;
    server.online(home.agent, true).await;
    secret(&server, CANARY).await;
    server.project("shop", USES_IT).await;
    let task = server.deploy("shop").await;
    let start = agent.order().await;
    agent.accept(&start).await;

    let text = |text: &str| line(Stream::Stdout, text.to_owned());
    let name = "Url".to_owned();
    let records = vec![
        text(&format!("plain {CANARY}.")),
        text(&format!(
            "{} and on",
            STANDARD.encode(format!("x{CANARY}\n"))
        )),
        text(&serde_json::to_string(CANARY).unwrap()),
        line(Stream::Stderr, format!("{CANARY}{CANARY}")),
        Record {
            at_us: 5,
            body: RecordBody::Variable {
                name,
                value: format!("https://{CANARY}@example"),
                sensitive: false,
            },
        },
        Record {
            at_us: 5,
            body: RecordBody::Progress {
                percent: 7,
                message: CANARY.to_owned(),
            },
        },
        text("the end"),
    ];
    let mut hasher = RecordHasher::new();
    for record in &records {
        hasher.update(record);
    }
    let attempt = start.attempt;
    let end = AttemptEnd {
        outcome: Outcome::Failed,
        exit_code: Some(3),
        message: format!("it broke: {CANARY}"),
        records: hasher.count(),
        log: hasher.digest(),
        ..succeeded()
    };
    // Each record in a message of its own, as a slow step's are.
    let mut reports: Vec<Message> = (0..)
        .zip(records)
        .map(|(first_seq, record)| {
            let records = vec![record];
            Records {
                attempt,
                first_seq,
                records,
            }
            .into()
        })
        .collect();
    reports.push(AttemptEnded { attempt, end }.into());
    agent.report(attempt, reports).await;

    let over = server.over(&task, SOON).await;
    let shown = format!("{over:?}");
    assert!(shown.contains("it broke: ********"), "{shown}");
    let lines = server.lines(&task).await;
    assert_eq!(lines[0], "plain ********.");
    assert!(lines.contains(&"the end".to_owned()), "{lines:?}");
    assert!(!canary().finds(&format!("{shown}{lines:?}")), "{lines:?}");
    assert_eq!(found_in(&server.folder), [""; 0]);
}

/// Makes every secret unreadable, or readable again; gives what it was before.
async fn reseal(server: &Server, with: Option<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let sealed = server.store.write(async |tx| {
        let mut before = Vec::new();
        let mut with = with.map(Vec::into_iter);
        for row in secret_version_list_other_key(tx, 0, 10).await? {
            let new = with.as_mut().and_then(Iterator::next);
            let new = new.unwrap_or_else(|| b"damaged".to_vec());
            secret_version_reseal(tx, row.id, row.key_id, row.key_id, &new).await?;
            before.push(row.ciphertext);
        }
        Ok::<_, StoreError>(before)
    });
    sealed.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_masked_is_held_back_and_comes_once_it_can() {
    let world = World::new();
    let server = Server::start(&world).await;
    let home = server.enrol("web01", &["web"], server.addr).await;
    let agent = FullAgent::start(&home, patient());
    server.online(home.agent, true).await;
    secret(&server, CANARY).await;
    let (begun, gate) = (world.path("begun"), world.path("gate"));
    let script = format!(
        "touch '{}'; while [ ! -e '{}' ]; do sleep 0.02; done; echo one; echo two; exit 4",
        begun.display(),
        gate.display()
    );
    let project = USES_IT.replace("'true'", &quoted(&script));
    server.project("shop", &project).await;
    let task = server.deploy("shop").await;
    wait_until("the step runs", SOON, || begun.exists()).await;
    let sealed = reseal(&server, None).await;
    std::fs::write(&gate, "").unwrap();

    let told = wait_for("it is said that output is held back", SOON, || async {
        let lines = server.lines(&task).await;
        lines.first().cloned().ok_or_else(|| format!("{lines:?}"))
    });
    let told = told.await;
    assert!(told.contains("held back"), "{told}");
    let lines = server.lines(&task).await;
    assert_eq!(lines, [told.as_str()], "nothing is stored as it came");
    assert!(!server.task(&task).await.task.state.is_over());

    reseal(&server, Some(sealed)).await;
    let over = server.over(&task, SOON).await;
    let action = &over.steps[0].targets[0].actions[0];
    assert_eq!(action.exit_code, Some(4), "{action:?}");
    assert!(over.task.warnings);
    assert_eq!(server.lines(&task).await, [told.as_str(), "one", "two"]);
    agent.stop().await;
}
