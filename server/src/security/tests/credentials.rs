//! API keys and join tokens: who is let in, and what the others learn.

use mantle_shared::protocol::EnrolRefusal;
use mantle_shared::tls::Fingerprint;
use mantle_shared::token::JoinToken;

use crate::security::{
    API_KEY_PREFIX, ApiKeyError, NewApiKey, NewJoinToken, Secret, api_key_authenticate,
    api_key_mint, api_key_save, join_token_mint, join_token_verify, read_private,
};
use crate::store::testing;
use crate::store::{
    api_key_insert, api_key_mark_revoked, join_token_insert, join_token_mark_revoked,
    join_token_use,
};

fn new_key(name: &str, expires_at_us: Option<i64>) -> NewApiKey {
    NewApiKey {
        name: name.to_owned(),
        team: None,
        expires_at_us,
        at_us: 1,
        by: "ada".to_owned(),
    }
}

#[tokio::test]
async fn a_key_lets_in_until_it_expires_or_is_revoked() {
    let test = testing::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    let (row, text) = api_key_mint(new_key("ci", Some(100)));
    api_key_insert(&mut tx, &row).await.unwrap();
    assert!(text.expose().starts_with(API_KEY_PREFIX));
    let found = api_key_authenticate(&mut tx, text.expose(), 99)
        .await
        .unwrap();
    assert_eq!(found.name, "ci");
    let expired = api_key_authenticate(&mut tx, text.expose(), 100).await;
    assert!(matches!(expired, Err(ApiKeyError::Expired { .. })));
    api_key_mark_revoked(&mut tx, row.id, 50).await.unwrap();
    let revoked = api_key_authenticate(&mut tx, text.expose(), 60).await;
    assert!(matches!(revoked, Err(ApiKeyError::Revoked { .. })));
}

#[tokio::test]
async fn whoever_has_no_right_secret_learns_nothing() {
    let test = testing::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    let (row, text) = api_key_mint(new_key("old", Some(10)));
    api_key_insert(&mut tx, &row).await.unwrap();
    let (_, stranger) = api_key_mint(new_key("stranger", None));
    let id = row.id.as_uuid().simple().to_string();
    let (_, other_secret) = stranger.expose()[4..].split_once('_').unwrap();
    let mixed = format!("{API_KEY_PREFIX}{id}_{other_secret}");
    let cut = &text.expose()[..text.expose().len() - 1];
    for bad in [
        stranger.expose(),
        &mixed,
        cut,
        "",
        "mtl_",
        "mtl_x_y",
        &text.expose()[4..],
    ] {
        let refused = api_key_authenticate(&mut tx, bad, 99).await;
        assert!(matches!(refused, Err(ApiKeyError::Unknown)), "{bad}");
    }
}

#[test]
fn a_saved_key_reads_back_and_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.key");
    for text in ["mtl_a_b", "mtl_c_d"] {
        api_key_save(&path, &Secret::new(text.to_owned())).unwrap();
        let read = read_private(&path).unwrap().unwrap();
        assert_eq!(read.as_slice(), format!("{text}\n").as_bytes());
    }
}

#[tokio::test]
async fn a_token_is_judged_by_its_secret_first() {
    let test = testing::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    let mint = || {
        let new = NewJoinToken {
            name: None,
            tags: vec!["web".to_owned()],
            environments: Vec::new(),
            uses: 1,
            expires_at_us: 100,
            at_us: 1,
            by: "ada".to_owned(),
        };
        join_token_mint(new, Fingerprint::from_bytes([5; 32]))
    };
    let (row, token) = mint();
    join_token_insert(&mut tx, &row).await.unwrap();
    let token: JoinToken = token.to_string().parse().unwrap();
    assert_eq!(token.pin, Fingerprint::from_bytes([5; 32]));
    let id = token.id.into_bytes();
    let mut judge = async |id, secret: &[u8; 32], now| {
        join_token_verify(&mut tx, id, secret, now).await.unwrap()
    };
    assert_eq!(judge(id, &token.secret, 99).await, Ok(row.clone()));
    let late = judge(id, &token.secret, 100).await;
    assert_eq!(late, Err(EnrolRefusal::TokenExpired));
    let forged = judge(id, &[0; 32], 100).await;
    assert_eq!(forged, Err(EnrolRefusal::TokenUnknown));
    let unknown = judge([0; 16], &token.secret, 50).await;
    assert_eq!(unknown, Err(EnrolRefusal::TokenUnknown));

    join_token_use(&mut tx, row.id, 50).await.unwrap();
    let used = join_token_verify(&mut tx, id, &token.secret, 60)
        .await
        .unwrap();
    assert_eq!(used, Err(EnrolRefusal::TokenUsed));
    join_token_mark_revoked(&mut tx, row.id, 70).await.unwrap();
    let revoked = join_token_verify(&mut tx, id, &token.secret, 80)
        .await
        .unwrap();
    assert_eq!(revoked, Err(EnrolRefusal::TokenRevoked));
}
