//! Requests whose transactions collide with others on PostgreSQL.

#![allow(clippy::unwrap_used)]

use http::{Method, StatusCode};
use mantle_domain::upkeep::UpkeepRules;

use super::problem::Problem;
use super::router;
use super::tests::send;
use crate::services::testing::{House, a_house_over};
use crate::store::{Store, StoreConfig, testing};

/// A server over PostgreSQL, and where its database is.
async fn a_house_on_postgres() -> (House, String) {
    let url = testing::postgres_url().await;
    let config = StoreConfig::Postgres { url: url.clone() };
    let store = Store::open(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    (a_house_over(store, folder, UpkeepRules::default()), url)
}

async fn list(house: &House) -> (usize, usize) {
    let keys = house.services.api_key_list(&house.admin).await.unwrap();
    let keys = keys.iter().filter(|key| key.name == "ci").count();
    let trail = house.services.audit_list(&house.admin, None, 100).await;
    let trail = trail.unwrap().items;
    let deeds = trail.iter().filter(|entry| entry.subject == "ci").count();
    (keys, deeds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s68_a_request_that_collides_on_postgresql_is_done_again_and_once() {
    let made = r#"{"name": "ci", "team": "readers"}"#;
    for code in ["40001", "40P01"] {
        let (house, url) = a_house_on_postgres().await;
        let key = house.key("test").await;
        let router = router(house.services.clone());
        testing::collide(&url, 3, code).await;
        let path = "/api/v1/apikeys";
        let (status, body, _) = send(&router, Method::POST, path, Some(&key), made).await;
        let told = String::from_utf8_lossy(&body);
        assert!(status.is_success(), "{code}: {status} {told}");
        assert_eq!(list(&house).await, (1, 1), "{code}: a key and its entry");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s68_a_request_that_collides_every_time_ends_and_leaves_nothing() {
    // What is no collision is not repeated: the database may be away for long.
    for (code, tries, named) in [("40001", 5, "collision"), ("55P03", 1, "unavailable")] {
        let (house, url) = a_house_on_postgres().await;
        let key = house.key("test").await;
        let router = router(house.services.clone());
        testing::collide(&url, u32::MAX, code).await;
        let made = r#"{"name": "ci", "team": "readers"}"#;
        let path = "/api/v1/apikeys";
        let (status, body, headers) = send(&router, Method::POST, path, Some(&key), made).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, named);
        assert!(problem.help.is_some() && headers.contains_key("retry-after"));
        assert_eq!(list(&house).await, (0, 0));
        assert_eq!(testing::collisions(&url).await, tries, "{code}");
    }
}
