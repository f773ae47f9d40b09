//! What a release holds and what is looked at when it is deployed, row by row of section 2 of the
//! reference; redeploying, promoting and going back, section 3.4.

use mantle_domain::ids::SecretVersionId;

use super::*;
use crate::api::body::UploadCreate;
use crate::services::deployments::DeploymentOrder;
use crate::services::names::task_number;
use crate::store::{snapshot_fetch, task_find};

/// Steps for nobody, so that it can be deployed where there is no agent.
const WIDE: &str = "\
mantle: v1
project: shop
lifecycle: standard
include: mail
packages: [{ id: Web }]
channels:
  - { name: stable, default: true, rules: [{ package: Web, range: \"[1.0,2.0)\" }] }
variables:
  Port: \"8080\"
  Password: { secret: shop/password }
  Ticket: { prompt: { default: none } }
";
const MAIL: &str = "mantle: v1\nvariable_set: mail\nvariables: { Host: mail-1 }\n";

/// The shop with a set, a secret, a package, and its release 1.0.0.
async fn a_wide_shop() -> (House, ReleaseDetail) {
    let house = a_house().await;
    set_secret(&house, "s3cret").await;
    house.push("Web", "1.0.0", "first").await;
    for text in [INFRASTRUCTURE, MAIL, WIDE] {
        house.apply(text, false).await.unwrap();
    }
    let request = ReleaseCreate {
        version: Some("1.0.0".to_owned()),
        notes: "port #{Port}".to_owned(),
        fields: [("ticket".to_owned(), "OPS-1".to_owned())].into(),
        ..ReleaseCreate::default()
    };
    let made = house
        .services
        .release_create(&house.admin, "shop", &request)
        .await
        .unwrap();
    (house, made)
}

async fn set_secret(house: &House, value: &str) {
    let body = SecretSet {
        value: value.to_owned(),
    };
    let set = house
        .services
        .secret_set(&house.admin, "shop/password", body);
    set.await.unwrap();
}

async fn shown(house: &House) -> ReleaseDetail {
    let mut shown = house
        .services
        .release_show(&house.admin, "shop", "1.0.0")
        .await
        .unwrap();
    // What is said about the project, not of the release.
    shown.warnings.clear();
    shown
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// The snapshot of variables that a release or a deployment uses, as text.
async fn variables(house: &House, digest: &str) -> String {
    let mut tx = house.services.store.read().await.unwrap();
    let body = snapshot_fetch(&mut tx, digest.parse().unwrap()).await;
    String::from_utf8(body.unwrap()).unwrap()
}

/// Section 2, what is captured: whatever of it is changed afterwards, the release stays what it was.
#[tokio::test]
async fn what_a_release_captures_does_not_follow_the_project() {
    let step = "process: [{ step: New, targets: { tag: web }, uses: script, with: { run: x } }]\n";
    let rows: [(&str, String); 8] = [
        ("deployment process", format!("{WIDE}{step}")),
        ("project variables", WIDE.replace("\"8080\"", "\"9090\"")),
        (
            "their scopes",
            WIDE.replace("\"8080\"", "[{ value: x, environment: test }]"),
        ),
        (
            "sensitive values",
            WIDE.replace("secret: shop/password", "secret: shop/other"),
        ),
        ("included sets", MAIL.replace("mail-1", "mail-2")),
        (
            "the list of included sets",
            WIDE.replace("include: mail\n", ""),
        ),
        (
            "package references",
            WIDE.replace("packages: [{ id: Web }]\n", "").replace(
                "rules: [{ package: Web, range: \"[1.0,2.0)\" }]",
                "rules: []",
            ),
        ),
        ("version rules", WIDE.replace("[1.0,2.0)", "[5.0,)")),
    ];
    for (what, text) in rows {
        let (house, _) = a_wide_shop().await;
        let before = json(&shown(&house).await);
        let done = house.apply(&text, false).await;
        assert!(done.unwrap().applied, "{what}");
        assert_eq!(json(&shown(&house).await), before, "{what}");
    }
}

/// Section 2: the value of a secret, the version and the bytes of packages, notes and fields.
#[tokio::test]
async fn what_a_release_captures_does_not_follow_what_is_set_or_pushed() {
    let (house, made) = a_wide_shop().await;
    assert_eq!(made.notes, "port 8080", "evaluated when it was made");
    assert_eq!(made.fields["ticket"], "OPS-1");
    let before = json(&shown(&house).await);
    let held = variables(&house, &made.variables_digest).await;
    assert!(
        held.contains("secret_version") && !held.contains("s3cret"),
        "{held}"
    );
    set_secret(&house, "another").await;
    house.push("Web", "1.1.0", "newer").await;
    let other = UploadCreate {
        file_name: "Web.1.0.0.tar".to_owned(),
        size_bytes: 10,
        digest: mantle_shared::Digest::of(b"other bytes").to_string(),
        id: None,
        version: None,
    };
    let overwritten = house.services.upload_create(&house.admin, &other).await;
    assert!(
        matches!(overwritten, Err(Error::Exists { .. })),
        "{overwritten:?}"
    );
    assert_eq!(json(&shown(&house).await), before);
    let again = variables(&house, &made.variables_digest).await;
    assert_eq!(again, held);
    let pinned = |text: &str| -> SecretVersionId {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let all = value["variables"].as_array().unwrap();
        let password = all.iter().find(|one| one["name"] == "Password").unwrap();
        let value = &password["values"][0]["value"]["pinned_secret"]["secret_version"];
        serde_json::from_value(value.clone()).unwrap()
    };
    let (old, next) = (pinned(&held), released(&house, "1.0.1").await);
    let new = pinned(&variables(&house, &next.variables_digest).await);
    assert_ne!(old, new, "the next release has the value of now");
    assert_eq!(next.packages[0].version, "1.1.0");
}

/// Section 2, what is not captured: it is looked at when the release is deployed.
#[tokio::test]
async fn what_a_release_does_not_capture_is_live() {
    let (house, _) = a_wide_shop().await;
    let (services, admin) = (&house.services, &house.admin);
    let outcome = async |environment: &str| {
        let done = services.deploy(admin, &to("1.0.0", environment)).await;
        done.map_or_else(|error| code(&error), |_| "queued")
    };
    // Lifecycle and phases.
    assert_eq!(outcome("production").await, "phase-not-reached");
    let optional = INFRASTRUCTURE.replace(
        "{ name: Test, environments: [test] }",
        "{ name: Test, environments: [test], optional: true }",
    );
    house.apply(&optional, false).await.unwrap();
    assert_eq!(outcome("production").await, "queued");
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    assert_eq!(outcome("production").await, "phase-not-reached");
    // The lifecycle that its channel names.
    let fast = "mantle: v1\nlifecycles: [{ name: fast, phases: [{ name: All, environments: [production] }] }]\n";
    house.apply(fast, false).await.unwrap();
    let own = WIDE.replace("default: true,", "default: true, lifecycle: fast,");
    house.apply(&own, false).await.unwrap();
    assert_eq!(outcome("production").await, "queued");
    assert_eq!(outcome("test").await, "not-in-lifecycle");
    // An environment that came later.
    let more = INFRASTRUCTURE.replace(
        "  - name: production\n",
        "  - name: production\n  - name: new\n",
    );
    house.apply(&more, false).await.unwrap();
    house
        .apply(&WIDE.replace("lifecycle: standard\n", ""), false)
        .await
        .unwrap();
    assert_eq!(outcome("new").await, "queued");
    // Version rules are judged when a release is created, and only then.
    let strict = WIDE
        .replace("[1.0,2.0)", "[5.0,)")
        .replace("lifecycle: standard\n", "");
    house.apply(&strict, false).await.unwrap();
    assert_eq!(outcome("test").await, "queued");
    let refused = services
        .release_create(admin, "shop", &ReleaseCreate::default())
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "no-package-for-channel");
}

async fn order(house: &House, number: &str) -> DeploymentOrder {
    let mut tx = house.services.store.read().await.unwrap();
    let row = task_find(&mut tx, task_number(number).unwrap()).await;
    serde_json::from_str(&row.unwrap().unwrap().body).unwrap()
}

/// Section 2 (prompted values stand on the deployment) and section 3.4, redeploy: the same process
/// and variables, unless they were refreshed on purpose; what waits or runs keeps what it had.
#[tokio::test]
async fn a_release_that_is_deployed_again_uses_the_same() {
    let (house, made) = a_wide_shop().await;
    let (services, admin) = (&house.services, &house.admin);
    let mut request = to("1.0.0", "test");
    let deploy = async |request: &DeploymentCreate| {
        let task = services.deploy(admin, request).await.unwrap();
        order(&house, &task.number).await
    };
    let first = deploy(&request).await;
    house
        .apply(&WIDE.replace("\"8080\"", "\"9090\""), false)
        .await
        .unwrap();
    let again = deploy(&request).await;
    assert_eq!(first.variables, again.variables);
    request.variables =
        crate::api::body::Answers::new([("Ticket".to_owned(), "CR-1".to_owned())].into());
    let answered = deploy(&request).await;
    let digest = answered.variables.unwrap().to_string();
    assert!(variables(&house, &digest).await.contains("CR-1"));
    assert_eq!(shown(&house).await.variables_digest, made.variables_digest);

    let refresh = RefreshVariables {
        reason: "the port moved".to_owned(),
        ..RefreshVariables::default()
    };
    let refreshed = services.release_refresh_variables(admin, "shop", "1.0.0", &refresh);
    assert!(refreshed.await.unwrap().changed);
    request.variables = crate::api::body::Answers::default();
    let fresh = deploy(&request).await;
    assert_ne!(fresh.variables, first.variables);
    let digest = fresh.variables.unwrap().to_string();
    assert!(variables(&house, &digest).await.contains("9090"));
    assert_eq!(order(&house, "T-1").await.variables, first.variables);
}

/// Section 3.4: promoting copies nothing; going back is a deployment of the older release, which may
/// go wherever it has been.
#[tokio::test]
async fn releases_are_promoted_and_gone_back_to() {
    let house = a_shop(INFRASTRUCTURE, WITHOUT_STEPS).await;
    let (services, admin) = (&house.services, &house.admin);
    let promote = |version: Option<&str>| DeploymentCreate {
        project: "shop".to_owned(),
        version: version.map(str::to_owned),
        from: Some("test".to_owned()),
        environment: "production".to_owned(),
        ..DeploymentCreate::default()
    };
    for version in ["1.0", "1.1"] {
        released(&house, version).await;
    }
    let outcome = async |request: &DeploymentCreate| {
        let done = services.deploy(admin, request).await;
        done.map_or_else(|error| code(&error).to_owned(), |task| task.version)
    };
    assert_eq!(outcome(&promote(None)).await, "nothing-to-promote");
    deployed(&house, "1.0", "test", TaskOutcome::Failed).await;
    assert_eq!(outcome(&promote(None)).await, "nothing-to-promote");
    assert_eq!(outcome(&promote(Some("1.0"))).await, "not-proven");
    deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    deployed(&house, "1.1", "test", TaskOutcome::Failed).await;
    assert_eq!(
        outcome(&promote(None)).await,
        "1.0",
        "what runs, not what was tried"
    );
    let releases = services.release_list(admin, "shop").await.unwrap();
    assert_eq!(releases.len(), 2, "nothing is copied");
    deployed(&house, "1.0", "production", TaskOutcome::Succeeded).await;
    deployed(&house, "1.1", "test", TaskOutcome::Succeeded).await;
    deployed(&house, "1.1", "production", TaskOutcome::Succeeded).await;
    // Back, in both places; and forward again.
    for (version, environment) in [
        ("1.0", "production"),
        ("1.0", "test"),
        ("1.1", "production"),
    ] {
        assert_eq!(
            outcome(&to(version, environment)).await,
            version,
            "{environment}"
        );
    }
}

const WITHOUT_STEPS: &str = "mantle: v1\nproject: shop\nlifecycle: standard\n";
