//! What releases hold: other variables, comparisons, what they bring.

use super::*;

fn refresh(only: &[&str], reason: &str) -> RefreshVariables {
    RefreshVariables {
        only: only.iter().map(|name| (*name).to_owned()).collect(),
        reason: reason.to_owned(),
        ..RefreshVariables::default()
    }
}

#[tokio::test]
async fn variables_are_refreshed_on_purpose_and_given_back() {
    // Reference section 2, update variables; section 7, number 1.
    let house = a_shop(INFRASTRUCTURE, PROJECT).await;
    let made = released(&house, "1.0").await;
    let queued = deployed(&house, "1.0", "test", TaskOutcome::Failed).await;
    let more = PROJECT.replace("Port: \"8080\"", "Port: \"9090\"\n  Name: shop");
    house.apply(&more, false).await.unwrap();
    let (services, admin) = (&house.services, &house.admin);

    let shown = services.release_show(admin, "shop", "1.0").await.unwrap();
    assert!(
        shown.warnings[0].contains("variables are not what"),
        "{:?}",
        shown.warnings
    );
    let dry = RefreshVariables {
        dry_run: true,
        ..refresh(&["port"], "")
    };
    let dry = services
        .release_refresh_variables(admin, "shop", "1.0", &dry)
        .await
        .unwrap();
    assert_eq!(
        (dry.changes.as_slice(), dry.changed),
        (&["~ variable Port: 8080 -> 9090".to_owned()][..], false)
    );
    let other = RefreshVariables {
        expect: Some(dry.digest.clone()),
        ..refresh(&[], "all")
    };
    let other = services
        .release_refresh_variables(admin, "shop", "1.0", &other)
        .await
        .unwrap_err();
    assert_eq!(code(&other), "changed-meanwhile", "not what was shown");
    let silent = services
        .release_refresh_variables(admin, "shop", "1.0", &refresh(&[], " "))
        .await;
    assert_eq!(code(&silent.unwrap_err()), "bad-reason");
    let only = RefreshVariables {
        expect: Some(dry.digest.clone()),
        ..refresh(&["port"], "the port moved")
    };
    let changed = services
        .release_refresh_variables(admin, "shop", "1.0", &only)
        .await
        .unwrap();
    assert!(changed.changed && changed.number == 2 && changed.digest == dry.digest);
    let all = services
        .release_refresh_variables(admin, "shop", "1.0", &refresh(&[], "the rest"))
        .await
        .unwrap();
    assert_eq!(all.changes, ["+ variable Name: shop"]);
    let nothing = services
        .release_refresh_variables(admin, "shop", "1.0", &refresh(&[], "again"))
        .await
        .unwrap();
    assert!(!nothing.changed && nothing.number == 3);

    let back = RevertVariables {
        to: Some(1),
        reason: "it did not help".to_owned(),
        ..RevertVariables::default()
    };
    let back = services
        .release_revert_variables(admin, "shop", "1.0", &back)
        .await
        .unwrap();
    assert_eq!(back.digest, made.variables_digest);
    let named = |entry: &Option<crate::api::body::VariableSnapshotEntry>| {
        let entry = entry.as_ref().unwrap();
        (entry.number, entry.reason.clone(), entry.by.clone())
    };
    let by = admin.actor.name.clone();
    assert_eq!(
        named(&back.back_from),
        (3, "the rest".to_owned(), by.clone())
    );
    assert_eq!(named(&back.back_to), (1, "created".to_owned(), by));
    let shown = services.release_show(admin, "shop", "1.0").await.unwrap();
    let history: Vec<(u64, &str)> = shown
        .variable_history
        .iter()
        .map(|entry| (entry.number, entry.reason.as_str()))
        .collect();
    assert_eq!(
        history,
        [
            (1, "created"),
            (2, "the port moved"),
            (3, "the rest"),
            (4, "back to 1: it did not help"),
        ]
    );
    let nowhere = RevertVariables {
        to: Some(9),
        reason: "x".to_owned(),
        ..RevertVariables::default()
    };
    let nowhere = services
        .release_revert_variables(admin, "shop", "1.0", &nowhere)
        .await;
    assert_eq!(code(&nowhere.unwrap_err()), "missing");
    // What was queued before keeps what it was queued with.
    let mut tx = services.store.read().await.unwrap();
    let body = task_fetch(&mut tx, queued.task).await.unwrap().body;
    assert!(body.contains(&made.variables_digest), "{body}");
    drop(tx);
    let trail = actions(&house).await;
    let count = |action: &str| trail.iter().filter(|(_, done, _)| done == action).count();
    assert_eq!(count("release.refresh-variables"), 2);
    assert_eq!(count("release.revert-variables"), 1);
    assert!(services.audit_verify(admin).await.unwrap().intact);
}

#[tokio::test]
async fn releases_are_compared_with_each_other_and_with_their_project() {
    let secret = |value: &str| SecretSet {
        value: value.to_owned(),
    };
    let house = a_house().await;
    let (services, admin) = (&house.services, &house.admin);
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    services
        .secret_set(admin, "shop/pin", secret("one"))
        .await
        .unwrap();
    let project = PROJECT.replace("Port:", "Pin: { secret: shop/pin }\n  Port:");
    house.apply(&project, false).await.unwrap();
    released(&house, "1.0").await;
    let drift = services.release_drift(admin, "shop", "1.0").await.unwrap();
    assert!(!drift.drifted && drift.unknown.is_empty(), "{drift:?}");
    let shown = services.release_show(admin, "shop", "1.0").await.unwrap();
    assert!(shown.warnings.is_empty());

    services
        .secret_set(admin, "shop/pin", secret("two"))
        .await
        .unwrap();
    let changed = project
        .replace("echo hello", "echo goodbye")
        .replace("8080", "9090");
    house.apply(&changed, false).await.unwrap();
    let drift = services.release_drift(admin, "shop", "1.0").await.unwrap();
    assert!(drift.drifted);
    assert!(
        drift
            .process
            .contains(&"- 'Say hello' run: echo hello".to_owned()),
        "{drift:?}"
    );
    assert_eq!(drift.variables.len(), 2, "{drift:?}");
    let text = serde_json::to_string(&drift).unwrap();
    assert!(
        !text.contains("\"one\"") && !text.contains("two"),
        "no value of a secret: {text}"
    );
    released(&house, "1.1").await;
    let diff = services
        .release_diff(admin, "shop", "1.0", "1.1")
        .await
        .unwrap();
    assert_eq!(
        (diff.process, diff.variables),
        (drift.process, drift.variables)
    );
    let same = services
        .release_diff(admin, "shop", "1.1", "1.1")
        .await
        .unwrap();
    assert!(same.same);
    let shown = services.release_show(admin, "shop", "1.0").await.unwrap();
    assert!(
        shown.warnings[0].contains("process and variables"),
        "{:?}",
        shown.warnings
    );
    // A project that cannot be released now is compared as far as it can.
    services.secret_delete(admin, "shop/pin").await.unwrap();
    let drift = services.release_drift(admin, "shop", "1.0").await.unwrap();
    assert!(
        !drift.unknown.is_empty() && !drift.process.is_empty(),
        "{drift:?}"
    );
}

#[tokio::test]
async fn what_a_release_brings_is_told_by_version() {
    // Reference section 1.3, release notes and deployment changes.
    let house = a_shop(INFRASTRUCTURE, PROJECT).await;
    let (services, admin) = (&house.services, &house.admin);
    for (version, notes) in [("1.0", "first"), ("1.2", "second"), ("1.10", "third")] {
        let request = ReleaseCreate {
            version: Some(version.to_owned()),
            notes: notes.to_owned(),
            ..ReleaseCreate::default()
        };
        services
            .release_create(admin, "shop", &request)
            .await
            .unwrap();
    }
    let first = services
        .release_changes(admin, "shop", "1.2", "test")
        .await
        .unwrap();
    assert_eq!(
        (first.direction.as_str(), first.releases.len()),
        ("first", 1)
    );
    deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    let changes = services
        .release_changes(admin, "shop", "1.10", "test")
        .await
        .unwrap();
    let notes: Vec<&str> = changes.releases.iter().map(|r| r.notes.as_str()).collect();
    assert_eq!(notes, ["third", "second"]);
    assert_eq!(changes.running.as_deref(), Some("1.0"));
    deployed(&house, "1.10", "test", TaskOutcome::Succeeded).await;
    let back = services
        .release_changes(admin, "shop", "1.2", "test")
        .await
        .unwrap();
    assert_eq!(back.direction, "back");
}

#[tokio::test]
async fn a_manifest_of_what_has_not_begun_and_an_unknown_plan_are_refused() {
    let house = a_shop(&automatic(), PROJECT).await;
    let made = released(&house, "1.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let number = &made.queued[0].number;
    let refused = services
        .deployment_manifest(admin, number)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "no-manifest");
    let refused = services
        .deployment_diff(admin, number, number)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "no-manifest");
}

#[tokio::test]
async fn who_creates_releases_at_once_gets_a_version_each() {
    let house = a_shop(INFRASTRUCTURE, PROJECT).await;
    let create = async |version: Option<&str>| {
        let request = ReleaseCreate {
            version: version.map(str::to_owned),
            notes: "#{Octopus.Release.Number}".to_owned(),
            ..ReleaseCreate::default()
        };
        let made = house
            .services
            .release_create(&house.admin, "shop", &request);
        made.await.map(|made| (made.release.version, made.notes))
    };
    // All have looked before the first one writes.
    let template = futures_util::future::join_all((0..8).map(|_| create(None))).await;
    let mask = futures_util::future::join_all((0..4).map(|_| create(Some("2.0.i")))).await;
    let mut versions = Vec::new();
    for made in template.into_iter().chain(mask) {
        let (version, notes) = made.unwrap();
        assert_eq!(
            notes, version,
            "the notes speak of the version that was kept"
        );
        versions.push(version);
    }
    versions.sort();
    let expected = (1..=8).map(|n| format!("0.0.{n}"));
    let expected = expected.chain((0..4).map(|n| format!("2.0.{n}")));
    assert_eq!(versions, expected.collect::<Vec<_>>());
    // Who names a version has it or not.
    let named = futures_util::future::join_all((0..4).map(|_| create(Some("3.0")))).await;
    let (had, refused): (Vec<_>, Vec<_>) = named.into_iter().partition(Result::is_ok);
    assert_eq!((had.len(), refused.len()), (1, 3));
    for refused in refused {
        let said = format!("{:?}", refused.unwrap_err());
        assert!(said.contains("release-exists"), "{said}");
    }
}

#[tokio::test]
async fn a_channel_that_goes_while_releases_are_of_it_is_warned_of_with_their_number() {
    let channels = "channels: [{ name: stable, default: true }, { name: hotfix }]\nvariables:";
    let project = PROJECT.replace("variables:", channels);
    let house = a_shop(INFRASTRUCTURE, &project).await;
    for version in ["1.0", "1.1"] {
        released(&house, version).await;
    }
    let renamed = project.replace("name: stable", "name: steady");
    let shown = house.apply(&renamed, true).await.unwrap();
    assert_eq!(shown.warnings.len(), 1, "{:?}", shown.warnings);
    for part in [
        "'shop'",
        "'stable'",
        "2 releases are of it, which follow",
        "lifecycle 'standard'",
    ] {
        assert!(
            shown.warnings[0].contains(part),
            "{part}: {:?}",
            shown.warnings
        );
    }
    // One that nobody released in goes without a word.
    let without = project.replace(", { name: hotfix }", "");
    let gone = house.apply(&without, false).await.unwrap();
    assert_eq!(gone.warnings, [""; 0]);
    let none = house.apply(PROJECT, false).await.unwrap();
    assert!(none.warnings[0].contains("'stable'"), "{:?}", none.warnings);
}

#[tokio::test]
async fn notes_come_from_the_project_and_can_be_edited_and_nothing_else_is() {
    // Reference section 2: notes are editable later; section 1.3: they come from a template.
    let project = PROJECT.replacen(
        "project: shop\n",
        "project: shop\nrelease_notes: \"About #{Octopus.Release.Number}\"\n",
        1,
    );
    let house = a_shop(&automatic(), &project).await;
    released(&house, "1.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let before = services.release_show(admin, "shop", "1.0").await.unwrap();
    assert_eq!(before.notes, "About 1.0");
    let edit = |notes: &str| crate::api::body::ReleaseEdit {
        notes: notes.to_owned(),
    };
    let body = edit("Now in #{Octopus.Release.Channel.Name}");
    let edited = services.release_edit(admin, "shop", "1.0", &body).await;
    assert_eq!(edited.unwrap().notes, "Now in default");
    let after = services.release_show(admin, "shop", "1.0").await.unwrap();
    assert_eq!(after.notes, "Now in default");
    assert_eq!(
        (
            after.process_digest,
            after.variables_digest,
            after.packages_digest
        ),
        (
            before.process_digest,
            before.variables_digest,
            before.packages_digest
        )
    );
    let all = services.audit_list(admin, None, 100).await.unwrap();
    let told = serde_json::to_string(&all).unwrap();
    assert!(
        told.contains("release.edit") && told.contains("About 1.0"),
        "{told}"
    );
    let bad = services
        .release_edit(admin, "shop", "1.0", &edit("#{if x"))
        .await;
    assert_eq!(code(&bad.unwrap_err()), "bad-template");
    let refused = services
        .release_edit(&a_reader(), "shop", "1.0", &edit("x"))
        .await;
    assert_eq!(code(&refused.unwrap_err()), "forbidden");
}
