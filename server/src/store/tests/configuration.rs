//! Environments, lifecycles, projects, targets, secrets, packages, snapshots, releases.

use mantle_domain::ids::{PackageVersionId, SecretVersionId, VariableSetId};
use mantle_shared::Digest;

use super::fixtures::{a_lifecycle, a_project, a_release, a_target, a_world, an_environment, uuid};
use crate::store::testing::{self, on_both};
use crate::store::{
    Extent, Maintenance, NewSecretVersion, PackageVersionRow, ReleaseVariablesRow, SnapshotKind,
    Store, StoreError, UploadId, UploadRow, VariableSetRow, environment_delete, environment_fetch,
    environment_find, environment_insert, environment_list, environment_update, lifecycle_delete,
    lifecycle_fetch, lifecycle_find, lifecycle_insert, lifecycle_list, lifecycle_update,
    package_list, package_version_delete, package_version_find, package_version_insert,
    package_version_list, package_version_list_digests, project_delete, project_fetch,
    project_find, project_insert, project_list, project_update, release_fetch, release_find,
    release_insert, release_list, release_replace_variables, release_variables_list, secret_delete,
    secret_find, secret_list, secret_set, secret_version_fetch, secret_version_list_other_key,
    secret_version_reseal, snapshot_fetch, snapshot_keep, target_fetch, target_find, target_insert,
    target_list, target_mark_disabled, target_mark_maintenance, target_replace_environments,
    target_replace_tags, upload_advance, upload_delete, upload_find, upload_find_same,
    upload_insert, upload_list_idle, variable_set_delete, variable_set_find, variable_set_insert,
    variable_set_list, variable_set_update,
};

on_both!(
    who_changes_an_old_revision_is_told,
    a_project_needs_its_lifecycle,
    variable_sets_are_kept_by_name_and_revision,
    what_is_referred_to_is_not_deleted,
    names_sort_by_bytes,
    targets_keep_their_tags_and_environments,
    a_snapshot_comes_back_byte_for_byte,
    a_release_never_changes_but_for_its_variables,
    releases_are_listed_newest_first,
    a_pinned_secret_version_outlives_its_secret,
    a_secret_is_sealed_again_once,
    a_package_version_is_pushed_once,
    an_upload_goes_on_where_it_is,
);

async fn who_changes_an_old_revision_is_told(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let mut environment = an_environment("test");
    environment_insert(&mut tx, &environment).await.unwrap();
    environment.revision = 2;
    environment.name = "Test".to_owned();
    environment_update(&mut tx, &environment).await.unwrap();
    let stale = environment_update(&mut tx, &environment).await;
    assert!(matches!(
        stale,
        Err(StoreError::Conflict {
            what: "environment"
        })
    ));
    let found = environment_find(&mut tx, "Test").await.unwrap();
    assert_eq!(found.as_ref(), Some(&environment));
    assert_eq!(
        environment_fetch(&mut tx, environment.id).await.unwrap(),
        environment
    );

    let mut lifecycle = a_lifecycle("default");
    lifecycle_insert(&mut tx, &lifecycle).await.unwrap();
    lifecycle.revision = 2;
    lifecycle_update(&mut tx, &lifecycle).await.unwrap();
    assert!(lifecycle_update(&mut tx, &lifecycle).await.is_err());
    assert_eq!(
        lifecycle_fetch(&mut tx, lifecycle.id).await.unwrap(),
        lifecycle
    );
    let found = lifecycle_find(&mut tx, "default").await.unwrap();
    assert_eq!(found.as_ref(), Some(&lifecycle));
    assert_eq!(lifecycle_list(&mut tx).await.unwrap(), [lifecycle.clone()]);

    let mut project = a_project("octofx", lifecycle.id);
    project_insert(&mut tx, &project).await.unwrap();
    project.revision = 2;
    project.body = "{\"process\":\"\u{1F600}\"}".to_owned();
    project_update(&mut tx, &project).await.unwrap();
    assert!(project_update(&mut tx, &project).await.is_err());
    assert_eq!(project_fetch(&mut tx, project.id).await.unwrap(), project);
    assert_eq!(
        project_find(&mut tx, "octofx").await.unwrap(),
        Some(project)
    );
}

async fn variable_sets_are_kept_by_name_and_revision(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let mut set = VariableSetRow {
        id: VariableSetId::from_uuid(uuid()),
        name: "mail".to_owned(),
        body: "{}".to_owned(),
        revision: 1,
        changed_at_us: 5,
    };
    variable_set_insert(&mut tx, &set).await.unwrap();
    set.revision = 2;
    set.body = "{\"variables\":[]}".to_owned();
    variable_set_update(&mut tx, &set).await.unwrap();
    assert!(variable_set_update(&mut tx, &set).await.is_err());
    let found = variable_set_find(&mut tx, "mail").await.unwrap();
    assert_eq!(found.as_ref(), Some(&set));
    assert_eq!(variable_set_list(&mut tx).await.unwrap(), [set.clone()]);
    let stale = VariableSetRow {
        revision: 1,
        ..set.clone()
    };
    assert!(variable_set_delete(&mut tx, &stale).await.is_err());
    variable_set_delete(&mut tx, &set).await.unwrap();
    assert_eq!(variable_set_find(&mut tx, "mail").await.unwrap(), None);
}

async fn what_is_referred_to_is_not_deleted(store: &Store) {
    let lifecycle = a_lifecycle("default");
    let project = a_project("octofx", lifecycle.id);
    let environment = an_environment("test");
    let mut tx = store.begin().await.unwrap();
    lifecycle_insert(&mut tx, &lifecycle).await.unwrap();
    project_insert(&mut tx, &project).await.unwrap();
    environment_insert(&mut tx, &environment).await.unwrap();
    tx.commit().await.unwrap();
    let used = store
        .write(async |tx| lifecycle_delete(tx, &lifecycle).await)
        .await;
    assert!(used.is_err(), "a project follows it");
    let mut tx = store.begin().await.unwrap();
    environment_delete(&mut tx, &environment).await.unwrap();
    project_delete(&mut tx, &project).await.unwrap();
    lifecycle_delete(&mut tx, &lifecycle).await.unwrap();
    assert!(project_delete(&mut tx, &project).await.is_err());
    tx.commit().await.unwrap();
}

async fn a_project_needs_its_lifecycle(store: &Store) {
    let project = a_project("octofx", a_lifecycle("nowhere").id);
    let error = store
        .write(async |tx| project_insert(tx, &project).await)
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict { what: "project" }),
        "{error:?}"
    );
}

async fn names_sort_by_bytes(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let lifecycle = a_lifecycle("default");
    lifecycle_insert(&mut tx, &lifecycle).await.unwrap();
    for slug in ["b", "a", "a-b", "ab", "B"] {
        let project = a_project(slug, lifecycle.id);
        project_insert(&mut tx, &project).await.unwrap();
        let mut environment = an_environment(slug);
        environment.position = i64::from(slug != "b");
        environment_insert(&mut tx, &environment).await.unwrap();
    }
    let slugs = |projects: Vec<crate::store::ProjectRow>| -> Vec<String> {
        projects.into_iter().map(|project| project.slug).collect()
    };
    let page = project_list(&mut tx, "", Extent::First(3)).await.unwrap();
    assert_eq!(slugs(page), ["B", "a", "a-b"]);
    let page = project_list(&mut tx, "a-b", Extent::First(3))
        .await
        .unwrap();
    assert_eq!(slugs(page), ["ab", "b"]);
    let environments = environment_list(&mut tx).await.unwrap();
    let names: Vec<&str> = environments.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["b", "B", "a", "a-b", "ab"]);
}

async fn targets_keep_their_tags_and_environments(store: &Store) {
    let (test, live) = (an_environment("test"), an_environment("live"));
    let first = a_target("web-01", &[test.id]);
    let second = a_target("web-02", &[live.id]);
    let mut tx = store.begin().await.unwrap();
    environment_insert(&mut tx, &test).await.unwrap();
    environment_insert(&mut tx, &live).await.unwrap();
    target_insert(&mut tx, &first).await.unwrap();
    target_insert(&mut tx, &second).await.unwrap();
    assert_eq!(
        target_list(&mut tx, None).await.unwrap(),
        [first.clone(), second.clone()]
    );
    assert_eq!(target_list(&mut tx, Some(live.id)).await.unwrap(), [second]);
    let tags = ["z".to_owned(), "a".to_owned(), "z".to_owned()];
    target_replace_tags(&mut tx, first.id, &tags).await.unwrap();
    target_replace_environments(&mut tx, first.id, &[live.id])
        .await
        .unwrap();
    target_mark_disabled(&mut tx, first.id, true).await.unwrap();
    assert!(target_mark_disabled(&mut tx, first.id, true).await.is_err());
    let found = target_find(&mut tx, "web-01").await.unwrap().unwrap();
    assert_eq!(found.tags, ["a", "z"]);
    assert_eq!(found.environments, [live.id]);
    assert!(found.disabled && found.maintenance.is_none());
    assert_eq!(target_fetch(&mut tx, first.id).await.unwrap(), found);
    let kept = Maintenance {
        reason: "new disks".to_owned(),
        by: "ada".to_owned(),
        since_us: 77,
    };
    for maintenance in [Some(kept), None] {
        target_mark_maintenance(&mut tx, first.id, maintenance.as_ref())
            .await
            .unwrap();
        let found = target_fetch(&mut tx, first.id).await.unwrap();
        assert_eq!(found.maintenance, maintenance);
    }
    tx.commit().await.unwrap();
    let twice = store
        .write(async |tx| target_insert(tx, &a_target("web-01", &[])).await)
        .await
        .unwrap_err();
    assert!(
        matches!(twice, StoreError::Conflict { what: "target" }),
        "{twice:?}"
    );
}

async fn a_snapshot_comes_back_byte_for_byte(store: &Store) {
    let body = "{\"b\":1,\"a\":\"\\u0000 \u{e9} \u{1F600}\"}".as_bytes();
    let mut tx = store.begin().await.unwrap();
    let digest = snapshot_keep(&mut tx, SnapshotKind::Process, body, &[], 1)
        .await
        .unwrap();
    let again = snapshot_keep(&mut tx, SnapshotKind::Process, body, &[], 2)
        .await
        .unwrap();
    assert_eq!(digest, again);
    assert_eq!(digest, Digest::of(body));
    assert_eq!(snapshot_fetch(&mut tx, digest).await.unwrap(), body);
    tx.script("UPDATE snapshot SET body = '{}'").await.unwrap();
    let error = snapshot_fetch(&mut tx, digest).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

async fn a_release_never_changes_but_for_its_variables(store: &Store) {
    let world = a_world(store).await;
    let mut tx = store.begin().await.unwrap();
    let release = release_fetch(&mut tx, world.release).await.unwrap();
    let twice = crate::store::ReleaseRow {
        id: mantle_domain::ids::ReleaseId::from_uuid(uuid()),
        ..release.clone()
    };
    drop(tx);
    let error = store
        .write(async |tx| release_insert(tx, &twice).await)
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict { what: "release" }),
        "{error:?}"
    );

    let mut tx = store.begin().await.unwrap();
    let digest = snapshot_keep(&mut tx, SnapshotKind::Variables, b"{\"v\":2}", &[], 8)
        .await
        .unwrap();
    let second = ReleaseVariablesRow {
        number: 2,
        digest,
        changed_at_us: 8,
        changed_by: "bob".to_owned(),
        reason: "new host".to_owned(),
    };
    release_replace_variables(&mut tx, release.id, &second)
        .await
        .unwrap();
    let now = release_find(&mut tx, world.project, "1.0.0")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((now.variables, now.variables_number), (digest, 2));
    assert_eq!(
        (now.process, now.packages),
        (release.process, release.packages)
    );
    let history = release_variables_list(&mut tx, release.id).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0], second);
    assert_eq!(history[1].digest, release.variables);
    let stale = release_replace_variables(&mut tx, release.id, &second).await;
    assert!(matches!(
        stale,
        Err(StoreError::Conflict { what: "release" })
    ));
}

async fn releases_are_listed_newest_first(store: &Store) {
    let world = a_world(store).await;
    for version in ["1.1.0", "1.2.0"] {
        a_release(store, world.project, version).await;
    }
    let mut tx = store.read().await.unwrap();
    let releases = release_list(&mut tx, world.project, None, 2).await.unwrap();
    let versions: Vec<&str> = releases.iter().map(|r| r.version.as_str()).collect();
    assert_eq!(versions, ["1.2.0", "1.1.0"]);
    let before = release_list(&mut tx, world.project, Some(6), 2)
        .await
        .unwrap();
    assert!(before.is_empty());
}

fn version(path: &str, key_id: u32) -> NewSecretVersion {
    NewSecretVersion {
        id: SecretVersionId::from_uuid(uuid()),
        path: path.to_owned(),
        key_id,
        ciphertext: vec![0, 1, 255],
        mark: "aa".to_owned(),
        at_us: 3,
        by: "ada".to_owned(),
    }
}

async fn a_pinned_secret_version_outlives_its_secret(store: &Store) {
    let (first, second) = (version("db/password", 1), version("db/password", 1));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(secret_set(&mut tx, &first).await.unwrap(), 1);
    assert_eq!(secret_set(&mut tx, &second).await.unwrap(), 2);
    let secret = secret_find(&mut tx, "db/password").await.unwrap().unwrap();
    assert_eq!(secret.current_version, Some(second.id));
    snapshot_keep(&mut tx, SnapshotKind::Variables, b"{}", &[first.id], 4)
        .await
        .unwrap();
    secret_delete(&mut tx, "db/password", 5, "bob")
        .await
        .unwrap();
    assert!(
        secret_delete(&mut tx, "db/password", 6, "bob")
            .await
            .is_err()
    );
    assert!(
        secret_list(&mut tx, "", Extent::First(10))
            .await
            .unwrap()
            .is_empty()
    );
    let kept = secret_version_fetch(&mut tx, first.id).await.unwrap();
    assert_eq!(kept.ciphertext, [0, 1, 255]);
    assert_eq!(kept.number, 1);
    let gone = secret_version_fetch(&mut tx, second.id).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    // Set again, it goes on counting.
    assert_eq!(
        secret_set(&mut tx, &version("db/password", 1))
            .await
            .unwrap(),
        3
    );
    assert_eq!(
        secret_list(&mut tx, "", Extent::First(10))
            .await
            .unwrap()
            .len(),
        1
    );
    tx.commit().await.unwrap();
    let unknown = SecretVersionId::from_uuid(uuid());
    let error = store
        .write(async |tx| snapshot_keep(tx, SnapshotKind::Variables, b"{}", &[unknown], 4).await)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Conflict {
                what: "secret version"
            }
        ),
        "{error:?}"
    );
}

async fn a_secret_is_sealed_again_once(store: &Store) {
    let (old, new) = (version("a", 1), version("b", 2));
    let mut tx = store.begin().await.unwrap();
    secret_set(&mut tx, &old).await.unwrap();
    secret_set(&mut tx, &new).await.unwrap();
    let rows = secret_version_list_other_key(&mut tx, 2, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [old.id]);
    secret_version_reseal(&mut tx, old.id, 1, 2, &[9])
        .await
        .unwrap();
    assert!(
        secret_version_reseal(&mut tx, old.id, 1, 2, &[9])
            .await
            .is_err()
    );
    assert!(
        secret_version_list_other_key(&mut tx, 2, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

fn package(id: &str, version: &str) -> PackageVersionRow {
    PackageVersionRow {
        id: PackageVersionId::from_uuid(uuid()),
        package_id: id.to_owned(),
        version: version.to_owned(),
        format: "zip".to_owned(),
        archive_bytes: 1 << 40,
        archive: Digest::of(version.as_bytes()),
        sha256: [3; 32],
        root: Digest::of(b"root"),
        size_bytes: 7,
        files: 2,
        platform: None,
        created_at_us: 4,
        created_by: "ada".to_owned(),
    }
}

async fn a_package_version_is_pushed_once(store: &Store) {
    let (first, second) = (package("Web", "1.0"), package("Web", "1.1"));
    let mut tx = store.begin().await.unwrap();
    package_version_insert(&mut tx, &first).await.unwrap();
    package_version_insert(&mut tx, &second).await.unwrap();
    package_version_insert(&mut tx, &package("Api", "1"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let error = store
        .write(async |tx| package_version_insert(tx, &package("Web", "1.0")).await)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Conflict {
                what: "package version"
            }
        ),
        "{error:?}"
    );
    let mut tx = store.begin().await.unwrap();
    let found = package_version_find(&mut tx, "Web", "1.0").await.unwrap();
    assert_eq!(found.as_ref(), Some(&first));
    assert_eq!(
        package_version_list(&mut tx, "Web", Extent::First(9))
            .await
            .unwrap()
            .len(),
        2
    );
    let packages = package_list(&mut tx, "", Extent::First(9)).await.unwrap();
    assert_eq!(packages[0].package_id, "Api");
    assert_eq!((packages[1].versions, packages[1].pushed_at_us), (2, 4));
    // All three share a root, and each has an archive of its own.
    let digests = package_version_list_digests(&mut tx).await.unwrap();
    assert_eq!(digests.len(), 3);
    assert!(digests.contains(&(first.root, first.archive)));
    package_version_delete(&mut tx, first.id).await.unwrap();
    assert!(package_version_delete(&mut tx, first.id).await.is_err());
}

async fn an_upload_goes_on_where_it_is(store: &Store) {
    let upload = UploadRow {
        id: UploadId::from_uuid(uuid()),
        package_id: "Web".to_owned(),
        version: "1.0".to_owned(),
        format: "zip".to_owned(),
        size_bytes: 100,
        digest: Some(Digest::of(b"x")),
        received_bytes: 0,
        created_at_us: 1,
        created_by: "ada".to_owned(),
        touched_at_us: 1,
    };
    let mut tx = store.begin().await.unwrap();
    upload_insert(&mut tx, &upload).await.unwrap();
    upload_advance(&mut tx, upload.id, 0, 60, 5).await.unwrap();
    assert!(upload_advance(&mut tx, upload.id, 0, 40, 6).await.is_err());
    let found = upload_find(&mut tx, upload.id).await.unwrap().unwrap();
    assert_eq!((found.received_bytes, found.touched_at_us), (60, 5));
    let same = upload_find_same(&mut tx, "ada", Digest::of(b"x"))
        .await
        .unwrap();
    assert_eq!(same.unwrap().id, upload.id);
    let other = upload_find_same(&mut tx, "bob", Digest::of(b"x"))
        .await
        .unwrap();
    assert!(other.is_none());
    assert!(upload_list_idle(&mut tx, 5, 9).await.unwrap().is_empty());
    assert_eq!(upload_list_idle(&mut tx, 6, 9).await.unwrap().len(), 1);
    upload_delete(&mut tx, upload.id).await.unwrap();
    assert!(upload_find(&mut tx, upload.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_value_of_the_wrong_form_is_damage() {
    let test = testing::sqlite().await;
    let world = a_world(&test.store).await;
    let mut tx = test.store.begin().await.unwrap();
    tx.script("UPDATE agent SET status = 'maybe'")
        .await
        .unwrap();
    let error = crate::store::agent_fetch(&mut tx, world.agent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("column status"), "{error}");
}
