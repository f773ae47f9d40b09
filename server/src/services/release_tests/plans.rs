//! Plans that are kept, and what is written down of choices.

use super::*;
use crate::api::body::{Rollback, Task};
use crate::services::DeploymentOrder;
use crate::store::{plan_find, plan_prune, release_variables_list, task_find};

#[tokio::test]
async fn a_plan_is_kept_for_those_who_may_deploy_it() {
    let bare = PROJECT.split("process:").next().unwrap().to_owned() + "process: []\n";
    let house = a_shop(INFRASTRUCTURE, &bare).await;
    released(&house, "1.0").await;
    let services = &house.services;
    let request = DeploymentCreate {
        project: "shop".to_owned(),
        version: Some("1.0".to_owned()),
        environment: "test".to_owned(),
        ..DeploymentCreate::default()
    };
    let kept = async |id: &str| {
        let mut tx = services.store.read().await.unwrap();
        plan_find(&mut tx, id).await.unwrap().is_some()
    };
    let plan = services
        .deployment_plan(&house.admin, &request)
        .await
        .unwrap();
    assert!(kept(&plan.id).await, "{}", plan.id);
    let all = async |tx: &mut _| plan_prune(tx, i64::MAX).await;
    services.store.write(all).await.unwrap();
    // Who may only look sees the same, and leaves nothing behind.
    let looked = services
        .deployment_plan(&a_reader(), &request)
        .await
        .unwrap();
    assert_eq!((looked.id.as_str(), looked.version.as_str()), ("", "1.0"));
    assert!(!kept(&plan.id).await);
    let bound = DeploymentCreate {
        plan: Some(plan.id.clone()),
        ..request.clone()
    };
    let refused = services.deploy(&a_reader(), &bound).await.unwrap_err();
    assert_eq!(code(&refused), "forbidden");
    let refused = services.deploy(&house.admin, &bound).await.unwrap_err();
    assert_eq!(code(&refused), "not-found", "it was forgotten");
    let plan = services
        .deployment_plan(&house.admin, &request)
        .await
        .unwrap();
    assert_eq!(plan.id, bound.plan.clone().unwrap());
    services.deploy(&house.admin, &bound).await.unwrap();
}

#[tokio::test]
async fn that_rules_of_channels_were_ignored_stands_in_the_audit_trail() {
    let house = a_shop(INFRASTRUCTURE, PROJECT).await;
    for ignored in [false, true] {
        let request = ReleaseCreate {
            version: Some(format!("1.{}", u8::from(ignored))),
            ignore_channel_rules: ignored,
            ..ReleaseCreate::default()
        };
        let made = house
            .services
            .release_create(&house.admin, "shop", &request)
            .await;
        made.unwrap();
        let trail = house
            .services
            .audit_list(&house.admin, None, 500)
            .await
            .unwrap();
        let of_release = trail
            .items
            .iter()
            .filter(|row| row.action == "release.create");
        let newest = of_release.max_by_key(|row| row.seq).unwrap();
        assert_eq!(newest.detail["ignore_channel_rules"], ignored);
    }
}

/// A shop that went from 1.0 to 1.1 in test, whose 1.0 was given another port since.
async fn a_shop_that_may_go_back() -> House {
    let bare = PROJECT.split("process:").next().unwrap().to_owned()
        + "  Ticket: { prompt: { default: none } }\nprocess: []\n";
    let house = a_shop(INFRASTRUCTURE, &bare).await;
    for version in ["1.0", "1.1"] {
        released(&house, version).await;
        deployed(&house, version, "test", TaskOutcome::Succeeded).await;
    }
    house
        .apply(&bare.replace("8080", "9090"), false)
        .await
        .unwrap();
    let refresh = RefreshVariables {
        reason: "the port moved".to_owned(),
        ..RefreshVariables::default()
    };
    house
        .services
        .release_refresh_variables(&house.admin, "shop", "1.0", &refresh)
        .await
        .unwrap();
    house
}

fn a_deployment(version: &str, rollback: Option<Rollback>) -> DeploymentCreate {
    DeploymentCreate {
        project: "shop".to_owned(),
        version: Some(version.to_owned()),
        environment: "test".to_owned(),
        rollback,
        ..DeploymentCreate::default()
    }
}

/// What is asked for, bound to the plan of something.
async fn bound_to(
    house: &House,
    plan_of: &DeploymentCreate,
    asked: &DeploymentCreate,
) -> super::super::error::Result<Task> {
    let (services, admin) = (&house.services, &house.admin);
    let plan = services.deployment_plan(admin, plan_of).await.unwrap();
    let bound = DeploymentCreate {
        plan: Some(plan.id),
        ..asked.clone()
    };
    services.deploy(admin, &bound).await
}

#[tokio::test]
async fn the_plan_of_a_rollback_is_bound_to_the_variables_that_it_goes_back_to() {
    let house = a_shop_that_may_go_back().await;
    let (services, admin) = (&house.services, &house.admin);
    let now = Rollback {
        current_variables: true,
    };
    let deploy = a_deployment("1.0", None);
    let then = a_deployment("1.0", Some(Rollback::default()));
    let current = a_deployment("1.0", Some(now));
    let mut ids = std::collections::BTreeSet::new();
    for request in [&deploy, &then, &current] {
        let plan = services.deployment_plan(admin, request).await.unwrap();
        ids.insert(plan.id);
    }
    assert_eq!(ids.len(), 3, "three things are three plans: {ids:?}");

    for (of, asked, command) in [
        (
            &then,
            &deploy,
            "mantle rollback shop -e test --to 1.0 --plan",
        ),
        (
            &current,
            &deploy,
            "mantle rollback shop -e test --to 1.0 --current-variables --plan",
        ),
        (&deploy, &then, "mantle deploy shop 1.0 -e test --plan"),
        (&deploy, &current, "mantle deploy shop 1.0 -e test --plan"),
    ] {
        let refused = bound_to(&house, of, asked).await.unwrap_err();
        assert_eq!(code(&refused), "plan-of-another-kind", "{refused:?}");
        let said = format!("{refused:?}");
        assert!(said.contains(&format!("{command} plan-")), "{said}");
    }
    for (of, asked) in [(&then, &current), (&current, &then)] {
        let refused = bound_to(&house, of, asked).await.unwrap_err();
        assert_eq!(code(&refused), "plan-changed");
        let said = format!("{refused:?}");
        assert!(said.contains("goes back to other variables"), "{said}");
    }
    let plan = services.deployment_plan(admin, &then).await.unwrap();
    let task = bound_to(&house, &then, &then).await.unwrap();
    // What it is judged by when its turn comes is what was looked at, and not what 1.0 has now.
    let mut tx = services.store.read().await.unwrap();
    let number = task.number.trim_start_matches("T-").parse().unwrap();
    let row = task_find(&mut tx, number).await.unwrap().unwrap();
    let order: DeploymentOrder = serde_json::from_str(&row.body).unwrap();
    let project = names::project(&mut tx, "shop").await.unwrap();
    let release = names::release(&mut tx, &project, "1.0").await.unwrap();
    let at_first = release_variables_list(&mut tx, release.id).await.unwrap();
    drop(tx);
    let footing = order.footing(release.digests());
    assert_eq!(footing.digests.variables, at_first.last().unwrap().digest);
    assert!(footing.back_from.is_some());

    // Another release was deployed meanwhile, so that it would go back from that.
    released(&house, "1.2").await;
    deployed(&house, "1.2", "test", TaskOutcome::Succeeded).await;
    let late = DeploymentCreate {
        plan: Some(plan.id),
        ..then.clone()
    };
    let refused = services.deploy(admin, &late).await.unwrap_err();
    let said = format!("{refused:?}");
    assert!(
        said.contains("it goes back from another release now"),
        "{said}"
    );
}
