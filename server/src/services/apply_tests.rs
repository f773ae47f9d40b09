//! Applying: what is agreed to is what is written, and reading holds nobody up.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use super::error::Error;
use super::testing::{House, INFRASTRUCTURE, PROJECT, a_house};
use crate::api::body::{
    ApplyFile, ApplyRequest, ApplyResult, TargetTags, VariablePut, VariableScope,
};

fn request(text: &str) -> ApplyRequest {
    ApplyRequest {
        files: vec![ApplyFile {
            name: "a.yaml".to_owned(),
            text: text.to_owned(),
        }],
        ..ApplyRequest::default()
    }
}

/// As the command line does it once somebody has agreed to what was shown.
async fn agreed(
    house: &House,
    text: &str,
    shown: &ApplyResult,
) -> super::error::Result<ApplyResult> {
    let changes = shown.changes.iter();
    let request = ApplyRequest {
        expect: Some(shown.digest.clone()),
        agreed: changes
            .map(|change| (change.key(), change.digest.clone()))
            .collect(),
        ..request(text)
    };
    house.services.apply(&house.admin, &request).await
}

fn reasons(refused: super::error::Result<ApplyResult>) -> Vec<String> {
    match refused {
        Err(Error::Refused {
            code: "changed-meanwhile",
            reasons,
            ..
        }) => reasons,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_written_is_to_the_letter_what_was_agreed_to() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    // A new project is one line, whatever it does.
    let shown = house.apply(PROJECT, true).await.unwrap();
    let other = PROJECT.replace("echo hello", "echo goodbye");
    let would = house.apply(&other, true).await.unwrap();
    assert_eq!(shown.changes[0].diff, would.changes[0].diff);
    assert_ne!(shown.digest, would.digest);
    assert_eq!(
        reasons(agreed(&house, &other, &shown).await),
        ["project 'shop' is not as it was, so that another change would be made of it"]
    );
    assert!(agreed(&house, PROJECT, &shown).await.unwrap().applied);
}

#[tokio::test]
async fn what_changed_since_it_was_shown_is_named() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let both = format!("{INFRASTRUCTURE}---\n{}", PROJECT.replace("8080", "9090"))
        .replace("tags: [web]", "tags: [web, blue]");
    let shown = house.apply(&both, true).await.unwrap();
    let keys: Vec<String> = shown
        .changes
        .iter()
        .map(crate::api::body::Change::key)
        .collect();
    assert_eq!(keys, ["target 'web01'", "project 'shop'"]);
    // Somebody does a part of it, and takes another away.
    house
        .apply(&PROJECT.replace("8080", "9090"), false)
        .await
        .unwrap();
    let bare = INFRASTRUCTURE.replace("tags: [web]", "tags: []");
    house.apply(&bare, false).await.unwrap();
    assert_eq!(
        reasons(agreed(&house, &both, &shown).await),
        [
            "project 'shop' would not be changed any more",
            "target 'web01' is not as it was, so that another change would be made of it",
        ]
    );
    house.apply(PROJECT, false).await.unwrap();
    let shown = house.apply(&both, true).await.unwrap();
    let more = both.replace("description: A shop", "description: The shop");
    let wider = more.replace(
        "  - name: production",
        "  - name: production\n  - name: stage",
    );
    assert_eq!(
        reasons(agreed(&house, &wider, &shown).await),
        [
            "project 'shop' is not as it was, so that another change would be made of it",
            "environment 'stage' would be changed as well",
        ]
    );
}

#[tokio::test]
async fn files_are_read_while_another_has_the_writers_turn() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let turn = house.services.store.begin().await.unwrap();
    let wrong = PROJECT.replace("uses: script", "uses: scrpt");
    let applied = house.apply(&wrong, false);
    let refused = tokio::time::timeout(Duration::from_secs(10), applied).await;
    assert!(
        matches!(refused, Ok(Err(Error::Invalid { .. }))),
        "{refused:?}"
    );
    drop(turn);
}

#[tokio::test]
async fn a_reading_holds_until_what_the_files_refer_to_changes() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let reading = house
        .services
        .read_files(&request(PROJECT).files)
        .await
        .unwrap();
    let holds = async || {
        let mut tx = house.services.store.read().await.unwrap();
        reading.hold(&mut tx).await.unwrap()
    };
    assert!(holds().await);
    house.apply(PROJECT, false).await.unwrap();
    assert!(holds().await, "it refers to no project");
    let more = INFRASTRUCTURE.replace("tags: [web]", "tags: [web, blue]");
    house.apply(&more, false).await.unwrap();
    assert!(!holds().await, "a tie may have come up");
}

const TAGGED: &str = "\
mantle: v1
environments: [{ name: test }]
targets: [{ name: two, tags: [app, farm], environments: [test] }]
---
mantle: v1
project: told
variables:
  E: [{ value: chosen, tag: app }, { value: other, tag: newtag }]
process:
  - { step: S, targets: { tag: app }, uses: script, with: { run: \"echo $1\", arguments: \"#{E}\" } }
";

#[tokio::test]
async fn what_is_exported_applies_whatever_tags_are_given_live() {
    let house = a_house().await;
    let (services, admin) = (&house.services, &house.admin);
    let told = |applied: &ApplyResult| -> Vec<String> {
        let warnings = applied.warnings.iter().cloned();
        let ties = warnings.filter(|warning| warning.contains("equally specific"));
        ties.collect()
    };
    let export_applies = async || {
        let files = services.export(admin, None).await.unwrap().files;
        let request = ApplyRequest {
            files,
            dry_run: true,
            ..ApplyRequest::default()
        };
        let applied = services.apply(admin, &request).await.unwrap();
        assert!(applied.changes.is_empty(), "{:?}", applied.changes);
        told(&applied)
    };
    let set = async |value: &str| {
        let request = VariablePut {
            value: Some(value.to_owned()),
            secret: None,
            scope: VariableScope::default(),
            dry_run: false,
        };
        let done = services.variable_put(admin, "told", "Zed", &request);
        told(&done.await.unwrap())
    };
    let tag = async |tag: &str| {
        let tags = TargetTags {
            add: vec![tag.to_owned()],
            remove: Vec::new(),
        };
        services.target_tag(admin, "two", &tags).await.unwrap();
    };
    house.apply(TAGGED, false).await.unwrap();
    // The only step chooses by the tag of one of the two: nothing ties.
    tag("newtag").await;
    assert_eq!(export_applies().await, [""; 0]);
    assert_eq!(set("1").await, [""; 0]);
    // With a step that chooses by neither, what is live is warned of and refuses nothing.
    let by_farm = TAGGED.replace("targets: { tag: app }", "targets: { tag: farm }");
    house.apply(&by_farm, false).await.unwrap();
    tag("newtag").await;
    let [warning] = &export_applies().await[..] else {
        panic!("one warning");
    };
    assert!(
        warning.contains("for step 'S' in target 'two', which has tags of both"),
        "{warning}"
    );
    assert_eq!(set("2").await.len(), 1);
    // What a file brings about itself is refused where it stands.
    let third = by_farm
        .replace("tags: [app, farm]", "tags: [app, farm, newtag]")
        .replace(
            "other, tag: newtag }",
            "other, tag: newtag }, { value: third, tag: farm }",
        );
    house.apply(&third, true).await.unwrap();
    let fourth = third
        .replace("tag: farm }]", "tag: red }]")
        .replace("newtag]", "newtag, red]");
    let refused = house.apply(&fourth, true).await.unwrap_err();
    let said = format!("{refused:?}");
    assert!(
        said.contains("(tag red)") && said.contains("a.yaml:8:"),
        "{said}"
    );
}
