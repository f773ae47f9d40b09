//! Where releases go by themselves, and what keeps them from it.

use super::*;

#[tokio::test]
async fn a_lifecycle_sends_a_release_on_once_and_in_the_transaction_of_what_let_it_in() {
    // Reference section 1.3, automatic deploy: at creation, and when the phase before is passed.
    let house = a_shop(&automatic(), PROJECT).await;
    let made = released(&house, "1.0").await;
    assert_eq!(made.queued.len(), 1, "{:?}", made.queued);
    assert_eq!(made.queued[0].environment, "test");
    let mut tx = house.services.store.read().await.unwrap();
    let first = names::task(&mut tx, &made.queued[0].number).await.unwrap();
    assert_eq!(first.created_by, "lifecycle");
    drop(tx);
    let first = Queued {
        task: first.id,
        number: made.queued[0].number.clone(),
        environment: "test".to_owned(),
        title: first.title,
    };
    // A failure lets nothing in.
    assert!(ended(&house, &first, TaskOutcome::Failed).await.is_empty());
    let again = deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    let mut tx = house.services.store.read().await.unwrap();
    let all = task_list(&mut tx, &TaskFilter::default(), 10)
        .await
        .unwrap();
    drop(tx);
    let said: Vec<(&str, &str)> = all
        .iter()
        .map(|task| (task.title.as_str(), task.created_by.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("shop 1.0 -> production", "lifecycle"),
            ("shop 1.0 -> test", "ada"),
            ("shop 1.0 -> test", "lifecycle"),
        ]
    );
    // It succeeds there again: it is not sent a second time.
    let once_more = deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    assert_ne!(again.number, once_more.number);
    let mut tx = house.services.store.read().await.unwrap();
    let all = task_list(&mut tx, &TaskFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(all.len(), 4);
    drop(tx);
    let trail = actions(&house).await;
    let by_lifecycle: Vec<_> = trail
        .iter()
        .filter(|(actor, ..)| actor == "lifecycle")
        .collect();
    assert_eq!(by_lifecycle.len(), 2, "{trail:?}");
}

#[tokio::test]
async fn a_dry_run_makes_nothing_and_says_all() {
    let house = a_shop(&automatic(), PROJECT).await;
    let request = ReleaseCreate {
        version: Some("1.0".to_owned()),
        notes: "#{Octopus.Release.Number} at #{Port} for #{Octopus.Release.CustomFields[ticket]}"
            .to_owned(),
        fields: [("ticket".to_owned(), "OPS-12".to_owned())].into(),
        dry_run: true,
        ..ReleaseCreate::default()
    };
    let (services, admin) = (&house.services, &house.admin);
    let dry = services
        .release_create(admin, "shop", &request)
        .await
        .unwrap();
    assert_eq!(dry.notes, "1.0 at 8080 for OPS-12");
    assert_eq!(dry.queued[0].environment, "test");
    assert!(
        services
            .release_list(admin, "shop")
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        services
            .task_list(admin, None, None, (None, 9))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let real = ReleaseCreate {
        dry_run: false,
        ..request
    };
    let real = services.release_create(admin, "shop", &real).await.unwrap();
    let same = |release: &ReleaseDetail| {
        (
            release.process_digest.clone(),
            release.variables_digest.clone(),
            release.notes.clone(),
            release.fields.clone(),
        )
    };
    assert_eq!(same(&dry), same(&real));
    assert_eq!(real.queued[0].number, "T-1", "the dry run took no number");
}

#[tokio::test]
async fn a_blocked_release_goes_no_further_until_the_block_is_lifted() {
    // Reference section 1.3, prevent progression.
    let house = a_shop(&automatic(), PROJECT).await;
    released(&house, "1.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let blocked = services
        .release_block(admin, "shop", "1.0", "loses orders")
        .await
        .unwrap();
    assert_eq!(blocked.release.blocked.unwrap().reason, "loses orders");
    let twice = services
        .release_block(admin, "shop", "1.0", "again")
        .await
        .unwrap_err();
    assert_eq!(code(&twice), "release-blocked");
    // Its success in the first phase sends it nowhere.
    deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    let early = services
        .deploy(admin, &to("1.0", "production"))
        .await
        .unwrap_err();
    assert_eq!(code(&early), "release-blocked");
    assert!(early.to_string().contains("loses orders"), "{early}");
    // The first phase stays open: what refuses now is that nobody is there.
    let again = services
        .deploy(admin, &to("1.0", "test"))
        .await
        .unwrap_err();
    assert_eq!(code(&again), "no-target");
    let list = services.release_list(admin, "shop").await.unwrap();
    assert!(list[0].blocked.is_some());
    let status = services.status(admin, None).await.unwrap();
    let cell = status.projects[0]
        .cells
        .iter()
        .find(|cell| cell.environment == "test");
    assert_eq!(cell.unwrap().blocked.as_deref(), Some("loses orders"));

    let lifted = services
        .release_unblock(admin, "shop", "1.0", "the orders are found")
        .await
        .unwrap();
    assert!(lifted.release.blocked.is_none());
    let unblocked = lifted.release.unblocked.unwrap();
    assert_eq!(unblocked.reason, "the orders are found");
    assert_eq!(unblocked.was, "loses orders");
    assert_eq!(lifted.queued.len(), 1, "what it missed comes now");
    assert_eq!(lifted.queued[0].environment, "production");
    let twice = services
        .release_unblock(admin, "shop", "1.0", "again")
        .await
        .unwrap_err();
    assert_eq!(code(&twice), "release-not-blocked");
    let trail = actions(&house).await;
    for action in ["release.block", "release.unblock"] {
        assert!(trail.iter().any(|(_, done, _)| done == action), "{action}");
    }
    for reason in ["", "  ", &"x".repeat(1001)] {
        let refused = services
            .release_block(admin, "shop", "1.0", reason)
            .await
            .unwrap_err();
        assert_eq!(code(&refused), "bad-reason");
        let refused = services
            .release_unblock(admin, "shop", "1.0", reason)
            .await
            .unwrap_err();
        assert_eq!(code(&refused), "bad-reason");
    }
    let all = services.audit_list(admin, None, 100).await.unwrap();
    let told = serde_json::to_string(&all).unwrap();
    assert!(told.contains("the orders are found"), "{told}");
    let reader = a_reader();
    let refused = services
        .release_block(&reader, "shop", "1.0", "x")
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "forbidden");
}
