//! Messages against a server that answers by script; mail has its real server in the end-to-end
//! tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;

use serde_json::json;

use super::super::http::testing::server;
use super::super::test_context::{Bench, message};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LATER: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
const NEVER: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno_service";

/// The body of a request, as JSON.
fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_webhook_gets_what_it_is_about_and_a_signature() {
    let (url, asked) = server(&[OK]);
    let bench = Bench::new();
    let with = json!({
        "webhook": format!("{url}/hook?k=1"), "text": "done", "title": "Shop",
        "headers": {"X-Room": "a"}, "sign": "key",
    });
    bench.run(&Notify, with).unwrap();
    let asked = asked.lock().unwrap();
    let request = &asked[0];
    assert!(
        request.starts_with("POST /hook?k=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert_eq!(header(request, "Content-Type"), Some("application/json"));
    assert_eq!(header(request, "X-Room"), Some("a"));
    let sent = body(request);
    for (key, value) in [
        ("text", "done"),
        ("title", "Shop"),
        ("project", "octofx"),
        ("environment", "production"),
        ("release", "1.0"),
        ("task", "T-1"),
        ("step", "Web farm"),
    ] {
        assert_eq!(sent[key], value, "{key}");
    }
    assert_eq!(
        sent["delivery"],
        header(request, "Mantle-Delivery").unwrap()
    );
    let signed = payload::signature("key", request.split_once("\r\n\r\n").unwrap().1.as_bytes());
    assert_eq!(header(request, "Mantle-Signature"), Some(signed.as_str()));
    // The address is said by its host alone.
    assert!(
        !bench.said.text().contains("/hook"),
        "{}",
        bench.said.text()
    );
}

#[test]
fn the_signature_is_that_of_the_standard() {
    // RFC 4231, case 2.
    assert_eq!(
        payload::signature("Jefe", b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn a_body_of_ones_own_goes_as_it_is() {
    let (url, asked) = server(&[OK]);
    let bench = Bench::new();
    for own in [json!({"a": [1, null]}), json!("{\"a\":[1,null]}")] {
        bench
            .run(&Notify, json!({"webhook": url, "text": "x", "body": own}))
            .unwrap();
    }
    for request in asked.lock().unwrap().iter() {
        assert_eq!(body(request), json!({"a": [1, null]}));
    }
}

#[test]
fn chats_get_their_own_forms() {
    let (url, asked) = server(&[OK]);
    let bench = Bench::new();
    let with = json!({"slack": url, "teams": url, "text": "see <http://x|here>", "title": "A & B"});
    bench.run(&Notify, with).unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(
        body(&asked[0]),
        json!({"text": "*A &amp; B*\nsee <http://x|here>"})
    );
    let card = &body(&asked[1])["attachments"][0]["content"];
    assert_eq!(card["type"], "AdaptiveCard");
    assert_eq!(card["body"][0]["text"], "A & B");
    assert_eq!(card["body"][1]["text"], "see <http://x|here>");
}

#[test]
fn what_is_busy_is_asked_again_under_the_same_id() {
    let (url, asked) = server(&[LATER, OK]);
    let bench = Bench::new();
    bench
        .run(&Notify, json!({"webhook": url, "text": "x"}))
        .unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        header(&asked[0], "Mantle-Delivery"),
        header(&asked[1], "Mantle-Delivery")
    );
    assert!(
        bench
            .said
            .text()
            .contains("503 Busy: busy; trying again in 1s")
    );
}

#[test]
fn a_refusal_is_final_and_the_others_are_told_all_the_same() {
    let (refusing, asked_of_refusing) = server(&[NEVER]);
    let (taking, asked) = server(&[OK]);
    let bench = Bench::new();
    let with = json!({"webhook": refusing, "slack": taking, "text": "x"});
    let error = message(bench.run(&Notify, with.clone()));
    assert!(
        error.contains("webhook at 127.0.0.1: 404 Not Found: no_service"),
        "{error}"
    );
    assert_eq!(asked_of_refusing.lock().unwrap().len(), 1);
    assert_eq!(asked.lock().unwrap().len(), 1);
    let mut with = with;
    with["ignore_failure"] = json!("true");
    bench.run(&Notify, with).unwrap();
    assert!(
        bench.said.warnings()[0].contains("404"),
        "{:?}",
        bench.said.warnings()
    );
}

#[test]
fn nobody_there_is_said_when_the_time_is_over() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let bench = Bench::new();
    let mail =
        json!({"server": free.to_string(), "from": "a@x.y", "to": "b@x.y", "security": "none"});
    let with = json!({"webhook": format!("http://{free}/secret"), "email": mail, "text": "x", "within": "0s"});
    let error = message(bench.run(&Notify, with));
    assert!(
        error.contains("webhook at 127.0.0.1: connection refused"),
        "{error}"
    );
    assert!(error.contains(&format!("mail by {free}: ")), "{error}");
    assert!(!error.contains("secret"), "{error}");
    bench.stop.stop();
    let stopped = bench.run(
        &Notify,
        json!({"webhook": format!("http://{free}/"), "text": "x"}),
    );
    assert_eq!(stopped, Err(ActionError::Stopped));
}

#[test]
fn wrong_inputs_name_the_key_before_anything_is_sent() {
    let (url, asked) = server(&[OK]);
    let bench = Bench::new();
    let mail = |key: &str, value: &str| {
        let mut mail = json!({"server": "m", "from": "a@x.y", "to": "b@x.y"});
        mail[key] = json!(value);
        json!({"slack": url, "text": "x", "email": mail})
    };
    for (with, word) in [
        (json!({"text": "x"}), "nobody to tell"),
        (json!({"slack": url, "text": "x", "sign": "k"}), "'sign'"),
        (
            json!({"slack": url, "teams": "example.com", "text": "x"}),
            "teams: its address is no URL",
        ),
        (mail("from", "nobody"), "email: from"),
        (mail("to", " , "), "email: to"),
        (mail("cc", "b@"), "email: cc"),
        (mail("server", "http://m/"), "email: server"),
        (mail("server", "m:0"), "email: server"),
        (mail("user", "me"), "go together"),
    ] {
        let result = bench.run(&Notify, with.clone());
        assert!(
            matches!(result, Err(ActionError::Input { .. })),
            "{with}: {result:?}"
        );
        let error = message(result);
        assert!(error.contains(word), "{with}: {error}");
    }
    assert_eq!(asked.lock().unwrap().len(), 0);
}
