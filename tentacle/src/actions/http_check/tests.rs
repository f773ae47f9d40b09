//! Checks against a server that answers by script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;

use serde_json::json;

use super::super::http::testing::server;
use super::super::test_context::{Bench, message};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const BAD: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nnot\x1b[2Jyet";

#[test]
fn it_waits_for_right_answers_in_a_row() {
    let (url, asked) = server(&[OK, BAD, OK, OK, OK]);
    let bench = Bench::new();
    bench
        .run(
            &HttpCheck,
            json!({"url": format!("{url}/health?x=1"), "expect": "200", "consecutive": 3, "interval": "10ms",
                   "contains": "hello", "headers": {"X-Test": "1", "Host": "site"}}),
        )
        .unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 5);
    assert!(
        asked[0].starts_with("GET /health?x=1 HTTP/1.1\r\n"),
        "{}",
        asked[0]
    );
    assert!(asked[0].contains("X-Test: 1\r\n") && asked[0].contains("Host: site\r\n"));
    assert_eq!(asked[0].matches("Host:").count(), 1);
    assert!(
        bench
            .said
            .text()
            .contains("try 2: 503 Service Unavailable (expected 200)")
    );
}

#[test]
fn a_failure_shows_the_last_status_and_body() {
    let (url, _) = server(&[BAD]);
    let bench = Bench::new();
    let error = message(bench.run(
        &HttpCheck,
        json!({"url": url, "expect": [200, "3xx"], "within": "50ms", "interval": "10ms"}),
    ));
    assert!(
        error.contains("did not answer 200 or 300-399 within 50ms"),
        "{error}"
    );
    assert!(
        error.contains("503") && error.contains("body: not[2Jyet"),
        "{error}"
    );
}

#[test]
fn the_body_must_hold_the_text() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";
    let (url, _) = server(&[chunked]);
    let bench = Bench::new();
    bench
        .run(&HttpCheck, json!({"url": url, "contains": ["hello"]}))
        .unwrap();
    let error = message(bench.run(
        &HttpCheck,
        json!({"url": url, "contains": "bye", "within": "0s"}),
    ));
    assert!(error.contains("does not contain \"bye\""), "{error}");
}

#[test]
fn nobody_there_is_said_and_a_stop_ends_it() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let bench = Bench::new();
    let error = message(bench.run(
        &HttpCheck,
        json!({"url": format!("http://{free}/"), "within": "0s"}),
    ));
    assert!(error.contains("connection refused"), "{error}");
    bench.stop.stop();
    let stopped = bench.run(&HttpCheck, json!({"url": format!("http://{free}/")}));
    assert_eq!(stopped, Err(ActionError::Stopped));
}

#[test]
fn a_server_that_never_answers_costs_one_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let bench = Bench::new();
    let error = message(bench.run(
        &HttpCheck,
        json!({"url": url, "within": "0s", "timeout": "300ms"}),
    ));
    assert!(error.contains("no complete answer in time"), "{error}");
}

#[test]
fn broken_answers_are_errors_not_panics() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let (url, _) = server(&[answer]);
        let bench = Bench::new();
        let result = bench.run(&HttpCheck, json!({"url": url, "within": "0s"}));
        assert!(
            matches!(result, Err(ActionError::Failed { .. })),
            "{answer:?}"
        );
    }
}

#[test]
fn wrong_inputs_name_the_key() {
    let bench = Bench::new();
    for (with, word) in [
        (json!({}), "url"),
        (json!({"url": "x"}), "scheme"),
        (json!({"url": "http://a/", "expect": "yes"}), "HTTP status"),
        (
            json!({"url": "http://a/", "within": "soon"}),
            "length of time",
        ),
        (
            json!({"url": "http://a/", "headers": {"a b": "c"}}),
            "header name",
        ),
        (
            json!({"url": "http://a/", "headers": {"a": "c\r\nd: e"}}),
            "line break",
        ),
        (json!({"url": "http://a/", "expects": 200}), "expects"),
    ] {
        let result = bench.run(&HttpCheck, with.clone());
        assert!(
            matches!(result, Err(ActionError::Input { .. })),
            "{with}: {result:?}"
        );
        assert!(message(result).contains(word), "{with}");
    }
}
