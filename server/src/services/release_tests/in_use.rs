//! What runs where, of which channel, and with which of its variable snapshots.

use super::*;
use crate::api::body::{OlderVariables, RunningRelease};

#[tokio::test]
async fn what_runs_with_an_older_snapshot_says_so_until_it_is_deployed_again() {
    let house = a_shop(INFRASTRUCTURE, PROJECT).await;
    released(&house, "1.0").await;
    released(&house, "1.1").await;
    deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    let (services, admin) = (&house.services, &house.admin);
    let older = async || {
        let status = services.status(admin, None).await.unwrap();
        let cell = status.projects[0].cells[0].older_variables.clone();
        let shown = services.release_show(admin, "shop", "1.0").await.unwrap();
        let mut listed = shown.older_variables.into_iter();
        assert_eq!(listed.next().map(|one| one.variables), cell);
        let warned = shown
            .warnings
            .iter()
            .any(|one| one.contains("runs in test"));
        assert_eq!(warned, cell.is_some(), "{:?}", shown.warnings);
        for version in ["1.0", "1.1"] {
            let changes = services.release_changes(admin, "shop", version, "test");
            assert_eq!(changes.await.unwrap().older_variables, cell);
        }
        cell
    };
    assert_eq!(older().await, None);
    house
        .apply(&PROJECT.replace("8080", "9090"), false)
        .await
        .unwrap();
    assert_eq!(older().await, None, "the project is not the release");
    let refresh = RefreshVariables {
        reason: "the port moved".to_owned(),
        ..RefreshVariables::default()
    };
    services
        .release_refresh_variables(admin, "shop", "1.0", &refresh)
        .await
        .unwrap();
    let older_now = Some(OlderVariables { used: 1, now: 2 });
    assert_eq!(older().await, older_now);
    // What failed brought nothing.
    deployed(&house, "1.0", "test", TaskOutcome::Failed).await;
    assert_eq!(older().await, older_now);
    deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    assert_eq!(older().await, None);
    // Back to the same values is back to what ran at first, and not to what runs now.
    let revert = RevertVariables {
        reason: "it was right".to_owned(),
        ..RevertVariables::default()
    };
    services
        .release_revert_variables(admin, "shop", "1.0", &revert)
        .await
        .unwrap();
    assert_eq!(older().await, Some(OlderVariables { used: 2, now: 3 }));
}

#[tokio::test]
async fn the_first_of_its_channel_is_not_called_the_first_of_all() {
    let channels = "channels: [{ name: stable, default: true }, { name: hotfix }]\nvariables:";
    let house = a_shop(INFRASTRUCTURE, &PROJECT.replace("variables:", channels)).await;
    released(&house, "1.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let hotfix = ReleaseCreate {
        version: Some("1.0.1".to_owned()),
        channel: Some("hotfix".to_owned()),
        ..ReleaseCreate::default()
    };
    services
        .release_create(admin, "shop", &hotfix)
        .await
        .unwrap();
    let changes = async |version: &str| {
        let found = services
            .release_changes(admin, "shop", version, "test")
            .await;
        let found = found.unwrap();
        (found.channel, found.direction, found.of_other_channel)
    };
    let said = |channel: &str, direction: &str, other: Option<(&str, &str)>| {
        let other = other.map(|(version, channel)| RunningRelease {
            version: version.to_owned(),
            channel: channel.to_owned(),
        });
        (channel.to_owned(), direction.to_owned(), other)
    };
    assert_eq!(changes("1.0.1").await, said("hotfix", "first", None));
    deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    let stable = Some(("1.0", "stable"));
    assert_eq!(changes("1.0.1").await, said("hotfix", "first", stable));
    assert_eq!(changes("1.0").await, said("stable", "same", None));
    deployed(&house, "1.0.1", "test", TaskOutcome::Succeeded).await;
    let other = Some(("1.0.1", "hotfix"));
    assert_eq!(changes("1.0").await, said("stable", "same", other));
}
