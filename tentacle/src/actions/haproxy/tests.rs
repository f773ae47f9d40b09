//! The errors that need no HAProxy; what needs one is in `tests/haproxy.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use super::super::test_context::{Bench, message};
use super::*;

#[test]
fn a_name_cannot_carry_a_second_command() {
    let bench = Bench::new();
    for server in ["", "a;b", "a b", "a\nb", "a/b"] {
        let result = bench.run(&Drain, json!({"backend": "web", "server": server}));
        assert!(
            matches!(result, Err(ActionError::Input { .. })),
            "{server:?}"
        );
    }
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let bench = Bench::new();
    let with = json!({"socket": "/no/such.sock", "backend": "web", "server": "a"});
    let error = message(bench.run(&Enable, with));
    assert!(
        error.contains("/no/such.sock") && error.contains("level admin"),
        "{error}"
    );
    let with = json!({"socket": "nonsense", "backend": "web", "server": "a"});
    assert!(message(bench.run(&Enable, with)).contains("HOST:PORT"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let with = json!({"socket": address, "backend": "web", "server": "a"});
    let error = message(bench.run(&Enable, with));
    assert!(error.contains("does not answer at"), "{error}");
}
