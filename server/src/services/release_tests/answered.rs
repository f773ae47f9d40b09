//! What deployments were answered goes with them.

use mantle_domain::upkeep::{Keep, UpkeepRules};

use super::super::testing::a_house_over;
use super::*;
use crate::api::body::{Answers, RetentionResult};
use crate::store::testing::on_both;
use crate::store::{Store, answered_list_left, snapshot_fetch, task_find};

on_both!(
    answers_go_with_the_last_task_that_has_them,
    answers_go_with_their_release,
);

const ASKING: &str = "\
mantle: v1
project: shop
variables:
  Ticket: { prompt: { label: Change ticket, required: true } }
  Password: { prompt: { control: sensitive } }
";

/// Deploys with these answers, and lets it fail.
async fn answered(
    house: &House,
    version: &str,
    given: &[(&str, &str)],
) -> (String, mantle_shared::Digest) {
    let given = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let request = DeploymentCreate {
        project: "shop".to_owned(),
        version: Some(version.to_owned()),
        environment: "test".to_owned(),
        variables: Answers::new(given.collect()),
        ..DeploymentCreate::default()
    };
    let task = house.services.deploy(&house.admin, &request).await.unwrap();
    let mut tx = house.services.store.read().await.unwrap();
    let digits = task.number.trim_start_matches("T-").parse().unwrap();
    let row = task_find(&mut tx, digits).await.unwrap().unwrap();
    let order: crate::services::DeploymentOrder = serde_json::from_str(&row.body).unwrap();
    drop(tx);
    let queued = Queued {
        task: row.id,
        number: task.number.clone(),
        environment: "test".to_owned(),
        title: row.title,
    };
    ended(house, &queued, TaskOutcome::Failed).await;
    (task.number, order.variables.unwrap())
}

fn going(result: &RetentionResult) -> Vec<(String, String)> {
    let going = result
        .items
        .iter()
        .filter(|item| item.goes && item.kind == "variables");
    going
        .map(|item| (item.name.clone(), item.why.clone()))
        .collect()
}

fn counted(result: &RetentionResult) -> Vec<(u64, u64)> {
    let counts = result.counts.iter();
    counts
        .filter(|count| count.kind == "variables")
        .map(|count| (count.goes, count.size_bytes))
        .collect()
}

async fn secrets_of_answers(house: &House) -> usize {
    let mut tx = house.services.store.read().await.unwrap();
    let versions = crate::store::secret_version_list_other_key(&mut tx, 0, 99);
    let versions = versions.await.unwrap();
    versions
        .iter()
        .filter(|version| version.path.starts_with(crate::store::ANSWER_PATH))
        .count()
}

async fn answers_go_with_the_last_task_that_has_them(store: &Store) {
    let keep = Keep {
        age_ms: Some(0),
        size_bytes: None,
    };
    let upkeep = UpkeepRules {
        tasks: keep,
        ..UpkeepRules::default()
    };
    let house = a_house_over(store.clone(), tempfile::tempdir().unwrap(), upkeep);
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(ASKING, false).await.unwrap();
    released(&house, "1.0").await;
    // A release that has as values what the first deployment is answered.
    let as_values = ASKING
        .replace(
            "{ prompt: { label: Change ticket, required: true } }",
            "CR-1",
        )
        .replace("{ prompt: { control: sensitive } }", "\"\"");
    house.apply(&as_values, false).await.unwrap();
    let shared = released(&house, "2.0").await;

    let (_, like_a_release) = answered(&house, "1.0", &[("Ticket", "CR-1")]).await;
    let (_, twice) = answered(&house, "1.0", &[("Ticket", "CR-2")]).await;
    let (_, with_a_secret) = answered(
        &house,
        "1.0",
        &[("Ticket", "CR-3"), ("Password", "pa55word!")],
    )
    .await;
    let (_, same) = answered(&house, "1.0", &[("Ticket", "CR-2")]).await;
    assert_eq!(twice, same, "two deployments with the same answers");
    // The last one is on the dashboard.
    let (_, shown) = answered(
        &house,
        "1.0",
        &[("Ticket", "CR-4"), ("Password", "pa55word!")],
    )
    .await;
    let (services, admin) = (&house.services, &house.admin);
    {
        let mut tx = services.store.read().await.unwrap();
        let project = names::project(&mut tx, "shop").await.unwrap();
        let release = names::release(&mut tx, &project, "2.0").await.unwrap();
        assert_eq!(release.variables, like_a_release, "{shared:?}");
    }
    assert_eq!(secrets_of_answers(&house).await, 2);

    let dry = services.retention_run(admin, true).await.unwrap();
    let expected = [
        ("T-3 shop 1.0 -> test", "its last task goes"),
        ("T-4 shop 1.0 -> test", "its last task goes"),
    ];
    let expected = expected.map(|(name, why)| (name.to_owned(), why.to_owned()));
    assert_eq!(going(&dry), expected, "{dry:#?}");
    assert_eq!(counted(&dry)[0].0, 2);
    services.task_show(admin, "T-4").await.unwrap();
    assert_eq!(secrets_of_answers(&house).await, 2, "it was only said");

    let done = services.retention_run(admin, false).await.unwrap();
    assert_eq!(going(&done), going(&dry));
    assert_eq!(counted(&done), counted(&dry));
    let mut tx = services.store.read().await.unwrap();
    for (digest, stays) in [
        (like_a_release, true),
        (twice, false),
        (with_a_secret, false),
        (shown, true),
    ] {
        assert_eq!(snapshot_fetch(&mut tx, digest).await.is_ok(), stays);
    }
    drop(tx);
    assert_eq!(secrets_of_answers(&house).await, 1);
    let again = services.retention_run(admin, false).await.unwrap();
    assert_eq!(counted(&again), [(0, 0)]);
    // Deployed again with the same answers, it has them again.
    let (_, anew) = answered(&house, "1.0", &[("Ticket", "CR-2")]).await;
    assert_eq!(anew, twice);
    let mut tx = services.store.read().await.unwrap();
    assert!(answered_list_left(&mut tx, 9).await.unwrap().is_empty());
    assert!(services.audit_verify(admin).await.unwrap().intact);
}

async fn answers_go_with_their_release(store: &Store) {
    let upkeep = UpkeepRules::default();
    let house = a_house_over(store.clone(), tempfile::tempdir().unwrap(), upkeep);
    let keeping =
        INFRASTRUCTURE.replace("    phases:", "    retention: { releases: 1 }\n    phases:");
    house.apply(&keeping, false).await.unwrap();
    let asking = ASKING.replace("variables:", "lifecycle: standard\nvariables:");
    house.apply(&asking, false).await.unwrap();
    for version in ["1.0", "1.1", "1.2"] {
        released(&house, version).await;
    }
    let secret = ("Password", "pa55word!");
    let (_, of_both) = answered(&house, "1.0", &[("Ticket", "CR-1")]).await;
    answered(&house, "1.0", &[("Ticket", "CR-2"), secret]).await;
    for version in ["1.0", "1.1", "1.2"] {
        deployed(&house, version, "test", TaskOutcome::Succeeded).await;
    }
    let (_, shown) = answered(&house, "1.2", &[("Ticket", "CR-1")]).await;
    assert_eq!(of_both, shown, "releases with the same questions");

    let (services, admin) = (&house.services, &house.admin);
    let dry = services.retention_run(admin, true).await.unwrap();
    let gone = dry.items.iter().filter(|item| item.goes);
    let gone: Vec<&str> = gone.map(|item| item.name.as_str()).collect();
    assert_eq!(gone, ["shop 1.0", "T-2 shop 1.0 -> test"], "{dry:#?}");
    let done = services.retention_run(admin, false).await.unwrap();
    assert_eq!(going(&done), going(&dry));
    assert_eq!(counted(&done), counted(&dry));
    assert_eq!(secrets_of_answers(&house).await, 0);
    let mut tx = services.store.read().await.unwrap();
    assert!(snapshot_fetch(&mut tx, shown).await.is_ok());
}
