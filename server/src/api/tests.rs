//! The API's promises that hold for every route, over all that its description lists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Method, Request, StatusCode};
use tower::ServiceExt as _;

use super::problem::{PROBLEM_JSON, Problem};
use super::{openapi, router};
use crate::services::testing::{House, a_house};

pub(super) async fn send(
    router: &Router,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: &str,
) -> (StatusCode, Vec<u8>, http::HeaderMap) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, body.to_vec(), parts.headers)
}

/// Every method of every path, with its parameters filled in.
fn routes() -> Vec<(Method, String)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document.get("paths").unwrap().as_object().unwrap() {
        let mut filled = String::new();
        let mut rest = path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            filled.push('x');
            rest = after.split_once('}').unwrap().1;
        }
        filled.push_str(rest);
        for name in ["get", "post", "put", "patch", "delete"] {
            if item.get(name).is_some() {
                let method = name.to_uppercase().parse().unwrap();
                routes.push((method, filled.clone()));
            }
        }
    }
    routes
}

async fn opened() -> (House, Router, String) {
    let house = a_house().await;
    let key = house.key("test").await;
    let router = router(house.services.clone());
    (house, router, key)
}

#[tokio::test]
async fn every_route_is_closed_without_a_key() {
    let (_house, router, _) = opened().await;
    let mut all = routes();
    assert!(all.len() > 35, "only {} routes are described", all.len());
    all.push((Method::GET, "/api/v1/openapi.json".to_owned()));
    all.push((Method::GET, "/api/v1/nothing".to_owned()));
    all.push((Method::GET, "/nothing".to_owned()));
    for (method, path) in all {
        for key in [None, Some("mtl_wrong")] {
            let (status, body, headers) = send(&router, method.clone(), &path, key, "{}").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(headers.get("content-type").unwrap(), PROBLEM_JSON);
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem.code, "unauthenticated");
            assert!(problem.help.is_some() && problem.request.is_some());
        }
    }
}

#[tokio::test]
async fn every_described_route_is_there_and_answers_in_json() {
    let (_house, router, key) = opened().await;
    for (method, path) in routes() {
        let (status, body, _) = send(&router, method.clone(), &path, Some(&key), "{}").await;
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert!(!status.is_server_error(), "{method} {path}: {status}");
        if status == StatusCode::NOT_FOUND {
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_ne!(problem.code, "no-route", "{method} {path}");
        }
        if status != StatusCode::NO_CONTENT {
            let json = serde_json::from_slice::<serde_json::Value>(&body);
            assert!(json.is_ok(), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn health_is_open_and_every_answer_carries_its_headers() {
    let (_house, router, _) = opened().await;
    for path in ["/healthz", "/readyz"] {
        let (status, _, headers) = send(&router, Method::GET, path, None, "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        for header in [
            "x-request-id",
            "x-content-type-options",
            "content-security-policy",
        ] {
            assert!(headers.contains_key(header), "{path} {header}");
        }
    }
}

#[tokio::test]
async fn the_schema_of_files_is_open_for_editors() {
    let (_house, router, _) = opened().await;
    let path = "/schema/v1/project.json";
    let (status, body, _) = send(&router, Method::GET, path, None, "").await;
    assert_eq!(status, StatusCode::OK);
    let schema: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(schema, mantle_domain::file::schema());
    assert_eq!(
        schema.get("$schema").and_then(|value| value.as_str()),
        Some("http://json-schema.org/draft-07/schema#")
    );
}

#[tokio::test]
async fn what_a_machine_fetches_before_it_joins_is_open_and_holds_no_more() {
    let (house, router, key) = opened().await;
    let ask = r#"{"os": "linux", "token": {}}"#;
    let commands = "/api/v1/install-commands";
    let get = async |path: &str| send(&router, Method::GET, path, None, "").await;
    // Where there is nothing to hand out, it is said where to put it, and no token is made.
    let (status, body, _) = send(&router, Method::POST, commands, Some(&key), ask).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.code, "no-agent-program");
    assert!(String::from_utf8_lossy(&body).contains("agents/tentacle-linux-x86_64"));
    let tokens = house.services.join_token_list(&house.admin).await.unwrap();
    assert!(tokens.is_empty());
    let (status, _, _) = get("/install/tentacle-linux-x86_64").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    house.put_agent("tentacle-linux-x86_64", "the program");
    let (status, body, headers) = get("/install/tentacle-linux-x86_64").await;
    assert_eq!(
        (status, body.as_slice()),
        (StatusCode::OK, &b"the program"[..])
    );
    assert_eq!(headers.get("content-length").unwrap(), "11");
    let (status, body, _) = send(&router, Method::POST, commands, Some(&key), ask).await;
    assert_eq!(status, StatusCode::CREATED);
    let created: crate::api::body::JoinTokenCreated = serde_json::from_slice(&body).unwrap();
    assert!(created.command.contains(&created.token));
    let (status, script, _) = get("/install/agent.sh").await;
    assert_eq!(status, StatusCode::OK);
    let script = String::from_utf8(script).unwrap();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("the program"));
    assert!(script.contains(&format!("digest='{digest}'")));
    assert!(!script.contains("mj1."));
    for path in ["/install/", "/install/admin.key", "/install/..%2fadmin.key"] {
        let (status, _, _) = get(path).await;
        let closed = [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
        assert!(closed.contains(&status), "{path}: {status}");
    }
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_name() {
    let (_house, router, key) = opened().await;
    let body = r#"{"name": "ci", "taem": "x"}"#;
    let (status, body, _) = send(&router, Method::POST, "/api/v1/apikeys", Some(&key), body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert!(problem.detail.contains("taem"), "{}", problem.detail);
    let (status, body, _) = send(&router, Method::POST, "/api/v1/apikeys", Some(&key), "{").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.code, "not-json");
}

#[tokio::test]
async fn the_description_is_served_and_names_its_security() {
    let (_house, router, key) = opened().await;
    let path = "/api/v1/openapi.json";
    let (status, body, _) = send(&router, Method::GET, path, Some(&key), "").await;
    assert_eq!(status, StatusCode::OK);
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(document.pointer("/paths/~1api~1v1~1tasks").is_some());
    assert!(
        document
            .pointer("/components/securitySchemes/key")
            .is_some()
    );
}
