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

#[tokio::test]
async fn a_plan_is_the_same_whatever_else_there_is_on_the_server() {
    let bare = PROJECT.split("process:").next().unwrap().to_owned() + "process: []\n";
    let house = a_shop(INFRASTRUCTURE, &bare).await;
    released(&house, "1.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let request = a_deployment("1.0", None);
    let planned = async || {
        let plan = services.deployment_plan(admin, &request).await.unwrap();
        serde_json::to_string(&plan).unwrap()
    };
    let first = planned().await;
    // Another project with variables of the same names, its release, and that deployed to the same place.
    let other = bare
        .replace("project: shop", "project: depot")
        .replace("8080", "1");
    house.apply(&other, false).await.unwrap();
    let request = ReleaseCreate {
        version: Some("9.0".to_owned()),
        ..ReleaseCreate::default()
    };
    services
        .release_create(admin, "depot", &request)
        .await
        .unwrap();
    let beside = DeploymentCreate {
        project: "depot".to_owned(),
        ..a_deployment("9.0", None)
    };
    services.deploy(admin, &beside).await.unwrap();
    assert_eq!(planned().await, first, "another project");
    // A later release of its own, variables that it will have in its next, and what it does not include.
    released(&house, "1.1").await;
    let later = bare.replace("8080", "9090") + "channels: [{ name: lts, default: true }]\n";
    house.apply(&later, false).await.unwrap();
    house
        .apply(
            "mantle: v1\nvariable_set: mail\nvariables: { Port: 25 }\n",
            false,
        )
        .await
        .unwrap();
    assert_eq!(planned().await, first, "what comes after the release");
    // Machines and places that are none of its own.
    let elsewhere =
        INFRASTRUCTURE.to_owned() + "  - { name: far, tags: [mail], environments: [production] }\n";
    house.apply(&elsewhere, false).await.unwrap();
    assert_eq!(planned().await, first, "targets elsewhere");
    // And no law of plans that say nothing: its own variables are in it.
    let refresh = RefreshVariables {
        reason: "the port moved".to_owned(),
        ..RefreshVariables::default()
    };
    services
        .release_refresh_variables(admin, "shop", "1.0", &refresh)
        .await
        .unwrap();
    assert_ne!(planned().await, first);
}
