//! Plans that are kept, and what is written down of choices.

use super::*;
use crate::store::{plan_find, plan_prune};

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
