//! What lists and explanations of variables say, and ties that tags of targets bring about.

use super::*;

#[tokio::test]
async fn lists_say_what_comes_of_templates_and_that_the_servers_names_are_the_servers() {
    let house = a_house().await;
    house.secret("mail/host", "smtp-1").await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(SET, false).await.unwrap();
    let declared = "  Octopus.Environment.Name: mine\n  Octopus.Task.Id: mine\nprocess:";
    let project = with_set().replace("process:", declared);
    let applied = house.apply(&project, false).await.unwrap();
    assert_eq!(applied.warnings.len(), 2, "{:?}", applied.warnings);
    let list = async |environment: Option<&str>| {
        let place = VariablePlace {
            environment: environment.map(str::to_owned),
            ..VariablePlace::default()
        };
        let found = house.services.variable_list(&house.admin, "shop", &place);
        found.await.unwrap()
    };
    let here = list(Some("test")).await;
    let one = |name: &str| here.iter().find(|one| one.name == name).unwrap();
    let sender = one("Sender");
    assert_eq!(sender.value.value.as_deref(), Some("shop@#{Domain}"));
    assert_eq!(sender.evaluated.as_deref(), Some("shop@test.example"));
    // A secret is a path and a mark, and no text.
    let host = one("Smtp.Host");
    assert!(host.value.mark.is_some() && host.value.value.is_none());
    let environment = one("Octopus.Environment.Name");
    assert!(environment.of_server);
    assert_eq!(environment.value.value.as_deref(), Some("test"));
    let task = one("Octopus.Task.Id");
    assert!(task.of_server && task.value.value.is_none(), "{task:?}");
    let all = list(None).await;
    let of_server = all.iter().filter(|one| one.of_server);
    assert_eq!(of_server.count(), 2, "{all:?}");
    assert!(all.iter().all(|one| one.evaluated.is_none()));
}

#[tokio::test]
async fn without_a_target_the_targets_with_other_values_are_named() {
    let house = a_house().await;
    let more = "  - { name: web02, tags: [web], environments: [test] }\n";
    house
        .apply(&format!("{INFRASTRUCTURE}{more}"), false)
        .await
        .unwrap();
    let scoped = "Port: [{ value: 80 }, { value: 81, target: web02 }]\n  Url: \"http://x:#{Port}\"";
    let project = PROJECT.replace("Port: \"8080\"", scoped);
    house.apply(&project, false).await.unwrap();
    let found = house.explained("Url", "test", None).await;
    let [one] = found.on_targets.as_slice() else {
        panic!("{:?}", found.on_targets);
    };
    assert_eq!(one.targets, ["web02"]);
    assert_eq!(one.view.evaluated.as_deref(), Some("http://x:81"));
    // No target of production, and none is left to differ from itself.
    let other = house.explained("Url", "production", None).await;
    assert!(other.on_targets.is_empty());
    let place = VariablePlace {
        environment: Some("test".to_owned()),
        target: Some("web01".to_owned()),
        ..VariablePlace::default()
    };
    let named = house
        .services
        .variable_explain(&house.admin, "shop", "Url", &place)
        .await
        .unwrap();
    assert!(named.on_targets.is_empty());
}

#[tokio::test]
async fn a_target_with_two_tags_whose_values_tie_is_refused_in_files_and_warned_of_live() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let scoped = "Port: [{ value: 80 }, { value: 81, tag: blue }, { value: 82, tag: green }]";
    let project = PROJECT.replace("Port: \"8080\"", scoped);
    house.apply(&project, false).await.unwrap();
    let both = INFRASTRUCTURE.replace("tags: [web]", "tags: [web, blue, green]");
    let refused = house.apply(&both, false).await.unwrap_err().to_string();
    for part in [
        "a.yaml:11:",
        "'web01'",
        "'Port'",
        "tag blue",
        "tag green",
        "project 'shop'",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    house.released("shop", "1.0.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let tag = async |add: &str, remove: &[&str]| {
        let change = crate::api::body::TargetTags {
            add: vec![add.to_owned()],
            remove: remove.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        services
            .target_tag(admin, "web01", &change)
            .await
            .unwrap()
            .warnings
    };
    assert_eq!(tag("blue", &[]).await, [""; 0]);
    let warned = tag("green", &[]).await;
    assert_eq!(warned.len(), 1, "{warned:?}");
    for part in [
        "project 'shop'",
        "'Port'",
        "'web01'",
        "tag blue",
        "tag green",
    ] {
        assert!(warned[0].contains(part), "{part}: {warned:?}");
    }
    assert_eq!(tag("other", &[]).await, [""; 0], "that was said before");
    // Who joins with tags is told nothing: who looks at the target is.
    let shown = services.target_show(admin, "web01").await.unwrap();
    assert_eq!(shown.warnings, warned);
    let request = ReleaseCreate {
        dry_run: true,
        ..ReleaseCreate::default()
    };
    let made = services
        .release_create(admin, "shop", &request)
        .await
        .unwrap();
    assert_eq!(made.warnings.len(), 1, "{:?}", made.warnings);
    assert!(made.warnings[0].contains("'Port'"), "{:?}", made.warnings);
    assert_eq!(tag("blue", &["green"]).await, [""; 0]);
    let made = services
        .release_create(admin, "shop", &request)
        .await
        .unwrap();
    assert_eq!(made.warnings, [""; 0]);
}
