//! API keys, join tokens, agents and their keys.

use std::collections::BTreeSet;

use mantle_domain::ids::{AgentId, ApiKeyId, JoinTokenId, TargetId};
use mantle_shared::tls::Fingerprint;
use uuid::Uuid;

use super::fixtures::{a_target, a_world, an_agent, uuid};
use crate::store::testing::on_both;
use crate::store::{
    AgentKeyRow, AgentKeyStatus, AgentProfile, AgentStatus, ApiKeyRow, Extent, JoinTokenRow, Store,
    StoreError, agent_fetch, agent_find_of_target, agent_insert, agent_key_find, agent_key_insert,
    agent_key_list_allowed, agent_key_mark_current, agent_list, agent_mark_connected,
    agent_mark_revoked, agent_mark_seen, agent_mark_seen_until, api_key_find, api_key_find_live,
    api_key_insert, api_key_list, api_key_mark_revoked, api_key_mark_used, connected_find,
    connected_keep, join_token_find, join_token_insert, join_token_list, join_token_mark_revoked,
    join_token_use, server_meta_replace, target_delete, target_fetch, target_insert,
};

on_both!(
    a_key_name_is_free_once_its_key_was_revoked,
    a_token_is_used_as_often_as_it_may_be_and_no_more,
    a_token_that_is_over_cannot_be_used,
    an_agent_key_is_never_taken_twice,
    a_renewed_key_replaces_the_old_one_when_it_is_seen,
    a_revoked_agent_has_no_allowed_key,
    who_is_connected_is_noted_at_the_price_of_what_changed,
    a_target_has_one_active_agent,
    an_agent_outlives_its_target,
);

fn key(name: &str) -> ApiKeyRow {
    ApiKeyRow {
        id: ApiKeyId::from_uuid(uuid()),
        name: name.to_owned(),
        team: Some("ops".to_owned()),
        secret_hash: [4; 32],
        created_at_us: 1,
        created_by: "ada".to_owned(),
        expires_at_us: Some(99),
        revoked_at_us: None,
        last_used_at_us: None,
    }
}

async fn a_key_name_is_free_once_its_key_was_revoked(store: &Store) {
    let (first, second) = (key("ci"), key("ci"));
    let mut tx = store.begin().await.unwrap();
    api_key_insert(&mut tx, &first).await.unwrap();
    api_key_mark_used(&mut tx, first.id, 60).await.unwrap();
    api_key_mark_used(&mut tx, first.id, 50).await.unwrap();
    tx.commit().await.unwrap();
    let taken = store
        .write(async |tx| api_key_insert(tx, &second).await)
        .await
        .unwrap_err();
    assert!(
        matches!(taken, StoreError::Conflict { what: "API key" }),
        "{taken:?}"
    );

    let mut tx = store.begin().await.unwrap();
    let found = api_key_find_live(&mut tx, "ci").await.unwrap().unwrap();
    assert_eq!(found.last_used_at_us, Some(60));
    api_key_mark_revoked(&mut tx, first.id, 7).await.unwrap();
    assert!(api_key_mark_revoked(&mut tx, first.id, 8).await.is_err());
    assert_eq!(api_key_find_live(&mut tx, "ci").await.unwrap(), None);
    api_key_insert(&mut tx, &second).await.unwrap();
    let all = api_key_list(&mut tx).await.unwrap();
    assert_eq!(all[0], second);
    assert_eq!(all[1].revoked_at_us, Some(7));
    assert_eq!(
        api_key_find(&mut tx, second.id).await.unwrap(),
        Some(second)
    );
}

fn token(uses: u32) -> JoinTokenRow {
    JoinTokenRow {
        id: JoinTokenId::from_uuid(uuid()),
        secret_hash: [4; 32],
        name: None,
        tags: vec!["web".to_owned()],
        environments: vec!["test".to_owned(), "a \"b\"".to_owned()],
        uses,
        uses_left: uses,
        expires_at_us: 100,
        revoked_at_us: None,
        created_at_us: 1,
        created_by: "ada".to_owned(),
    }
}

async fn a_token_is_used_as_often_as_it_may_be_and_no_more(store: &Store) {
    let token = token(3);
    store
        .write(async |tx| join_token_insert(tx, &token).await)
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (store, id) = (store.clone(), token.id);
        tasks.spawn(async move {
            store
                .write(async |tx| join_token_use(tx, id, 50).await)
                .await
        });
    }
    let mut used = 0;
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(()) => used += 1,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(used, 3);
    let mut tx = store.read().await.unwrap();
    let left = join_token_find(&mut tx, token.id).await.unwrap().unwrap();
    assert_eq!(left.uses_left, 0);
    assert_eq!(left.environments, token.environments);
}

async fn a_token_that_is_over_cannot_be_used(store: &Store) {
    let (expired, revoked) = (token(1), token(1));
    let mut tx = store.begin().await.unwrap();
    join_token_insert(&mut tx, &expired).await.unwrap();
    join_token_insert(&mut tx, &revoked).await.unwrap();
    join_token_mark_revoked(&mut tx, revoked.id, 9)
        .await
        .unwrap();
    assert!(join_token_use(&mut tx, expired.id, 100).await.is_err());
    assert!(join_token_use(&mut tx, revoked.id, 50).await.is_err());
    join_token_use(&mut tx, expired.id, 99).await.unwrap();
    assert_eq!(
        join_token_list(&mut tx, Extent::First(10))
            .await
            .unwrap()
            .len(),
        2
    );
}

fn agent_key(agent: AgentId, byte: u8) -> AgentKeyRow {
    AgentKeyRow {
        spki: Fingerprint::from_bytes([byte; 32]),
        agent_id: agent,
        status: AgentKeyStatus::Current,
        serial: vec![byte; 16],
        not_after_us: 1000,
        issued_at_us: 1,
    }
}

async fn an_agent_key_is_never_taken_twice(store: &Store) {
    let world = a_world(store).await;
    let key = agent_key(world.agent, 1);
    store
        .write(async |tx| agent_key_insert(tx, &key).await)
        .await
        .unwrap();
    store
        .write(async |tx| agent_mark_revoked(tx, world.agent, 9).await)
        .await
        .unwrap();
    let again = store
        .write(async |tx| agent_key_insert(tx, &key).await)
        .await
        .unwrap_err();
    assert!(
        matches!(again, StoreError::Conflict { what: "agent key" }),
        "{again:?}"
    );
}

async fn a_renewed_key_replaces_the_old_one_when_it_is_seen(store: &Store) {
    let world = a_world(store).await;
    let old = agent_key(world.agent, 1);
    let new = AgentKeyRow {
        status: AgentKeyStatus::Offered,
        ..agent_key(world.agent, 2)
    };
    let mut tx = store.begin().await.unwrap();
    agent_key_insert(&mut tx, &old).await.unwrap();
    agent_key_insert(&mut tx, &new).await.unwrap();
    assert_eq!(agent_key_list_allowed(&mut tx).await.unwrap().len(), 2);
    agent_key_mark_current(&mut tx, world.agent, new.spki)
        .await
        .unwrap();
    let allowed = agent_key_list_allowed(&mut tx).await.unwrap();
    assert_eq!(allowed.len(), 1);
    assert_eq!(allowed[0].spki, new.spki);
    let retired = agent_key_find(&mut tx, old.spki).await.unwrap().unwrap();
    assert_eq!(retired.status, AgentKeyStatus::Retired);
    // The old key cannot come back.
    assert!(
        agent_key_mark_current(&mut tx, world.agent, old.spki)
            .await
            .is_err()
    );
}

async fn a_revoked_agent_has_no_allowed_key(store: &Store) {
    let world = a_world(store).await;
    let mut tx = store.begin().await.unwrap();
    agent_key_insert(&mut tx, &agent_key(world.agent, 1))
        .await
        .unwrap();
    let profile = AgentProfile {
        version: "0.1.0".to_owned(),
        os: "linux".to_owned(),
        features: vec!["a".to_owned(), "b".to_owned()],
        ..AgentProfile::default()
    };
    agent_mark_connected(&mut tx, world.agent, &profile, 17, 20)
        .await
        .unwrap();
    agent_mark_seen(&mut tx, world.agent, 21).await.unwrap();
    for earlier in [20, 21] {
        agent_mark_seen_until(&mut tx, world.agent, earlier)
            .await
            .unwrap();
    }
    let agent = agent_fetch(&mut tx, world.agent).await.unwrap();
    assert_eq!(agent.profile, profile);
    assert_eq!((agent.highest_epoch, agent.last_seen_at_us), (17, Some(21)));
    agent_mark_seen_until(&mut tx, world.agent, 25)
        .await
        .unwrap();
    let agent = agent_fetch(&mut tx, world.agent).await.unwrap();
    assert_eq!(agent.last_seen_at_us, Some(25));
    assert_eq!(connected_find(&mut tx).await.unwrap(), None);
    let mut noted = BTreeSet::new();
    for here in [BTreeSet::from([world.agent]), BTreeSet::new()] {
        connected_keep(&mut tx, &noted, &here, 26).await.unwrap();
        let found = connected_find(&mut tx).await.unwrap();
        assert_eq!(found, Some((here.clone(), 26)));
        noted = here;
    }
    agent_mark_revoked(&mut tx, world.agent, 30).await.unwrap();
    assert!(agent_key_list_allowed(&mut tx).await.unwrap().is_empty());
    assert!(agent_mark_revoked(&mut tx, world.agent, 31).await.is_err());
    let late = agent_mark_connected(&mut tx, world.agent, &profile, 17, 40).await;
    assert!(late.is_err(), "a revoked agent is never noted as connected");
}

/// What is written every ten seconds must not grow with those of whom nothing is new.
async fn who_is_connected_is_noted_at_the_price_of_what_changed(store: &Store) {
    const AGENTS: usize = 10_000;
    const HEARTBEAT_BYTES: usize = 8;
    /// A lot of 256 holds 40 of them by chance; one of more than 100 never comes up.
    const LOT_BYTES: usize = 100 * 16;
    let mut tx = store.begin().await.unwrap();
    let all: BTreeSet<AgentId> = (0..AGENTS).map(|_| AgentId::from_uuid(uuid())).collect();
    let none = BTreeSet::new();
    let written = connected_keep(&mut tx, &none, &all, 1).await.unwrap();
    assert_eq!(written, HEARTBEAT_BYTES + AGENTS * 16);
    assert_eq!(
        connected_find(&mut tx).await.unwrap(),
        Some((all.clone(), 1))
    );

    // Nothing is new but the time.
    let written = connected_keep(&mut tx, &all, &all, 2).await.unwrap();
    assert_eq!(written, HEARTBEAT_BYTES);
    assert_eq!(
        connected_find(&mut tx).await.unwrap(),
        Some((all.clone(), 2))
    );

    let mut fewer = all.clone();
    fewer.pop_first();
    let written = connected_keep(&mut tx, &all, &fewer, 3).await.unwrap();
    assert!(written < HEARTBEAT_BYTES + LOT_BYTES, "{written} bytes");
    let found = connected_find(&mut tx).await.unwrap();
    assert_eq!(found, Some((fewer.clone(), 3)));
    connected_keep(&mut tx, &fewer, &none, 4).await.unwrap();
    assert_eq!(
        connected_find(&mut tx).await.unwrap(),
        Some((none.clone(), 4))
    );

    // As an earlier version left it.
    let agent = AgentId::from_uuid(Uuid::from_u128(7));
    let older = [&5_i64.to_be_bytes()[..], agent.as_uuid().as_bytes()].concat();
    server_meta_replace(&mut tx, "connected", &older)
        .await
        .unwrap();
    let older = BTreeSet::from([agent]);
    assert_eq!(
        connected_find(&mut tx).await.unwrap(),
        Some((older.clone(), 5))
    );
    connected_keep(&mut tx, &older, &none, 6).await.unwrap();
    assert_eq!(connected_find(&mut tx).await.unwrap(), Some((none, 6)));
}

async fn a_target_has_one_active_agent(store: &Store) {
    let world = a_world(store).await;
    let target = store.read().await.unwrap();
    let mut target = target;
    let target = target_fetch(&mut target, world.target).await.unwrap();
    let second = an_agent(&target);
    let taken = store
        .write(async |tx| agent_insert(tx, &second).await)
        .await
        .unwrap_err();
    assert!(
        matches!(taken, StoreError::Conflict { what: "agent" }),
        "{taken:?}"
    );
    let mut tx = store.begin().await.unwrap();
    agent_mark_revoked(&mut tx, world.agent, 9).await.unwrap();
    agent_insert(&mut tx, &second).await.unwrap();
    let found = agent_find_of_target(&mut tx, target.id).await.unwrap();
    assert_eq!(found.unwrap().id, second.id);
    assert_eq!(agent_list(&mut tx, None).await.unwrap().len(), 2);
    let active = agent_list(&mut tx, Some(AgentStatus::Active))
        .await
        .unwrap();
    assert_eq!(active.len(), 1);
}

async fn an_agent_outlives_its_target(store: &Store) {
    let target = a_target("web-09", &[]);
    let agent = an_agent(&target);
    let mut tx = store.begin().await.unwrap();
    target_insert(&mut tx, &target).await.unwrap();
    agent_insert(&mut tx, &agent).await.unwrap();
    target_delete(&mut tx, target.id).await.unwrap();
    let left = agent_fetch(&mut tx, agent.id).await.unwrap();
    assert_eq!(left.target_id, None);
    let gone = target_delete(&mut tx, TargetId::from_uuid(uuid())).await;
    assert!(matches!(gone, Err(StoreError::NotFound { what: "target" })));
}
