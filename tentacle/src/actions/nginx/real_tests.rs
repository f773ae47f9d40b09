//! Both actions against a real nginx.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::test_context::{Bench, message};
use super::*;

type Gate = Arc<(Mutex<bool>, Condvar)>;

/// Web servers `a` and `b`, which answer their names, to `/slow` once the gate is open.
struct Farm {
    dir: TempDir,
    process: Child,
    gate: Gate,
}

fn serve(listener: UnixListener, name: &'static str, gate: Gate) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                if head.starts_with(b"GET /slow") {
                    let closed = gate.0.lock().unwrap();
                    drop(gate.1.wait_while(closed, |open| !*open).unwrap());
                }
                let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
            });
        }
    });
}

impl Farm {
    fn start(included: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let gate = Gate::default();
        for name in ["a", "b"] {
            let listener = UnixListener::bind(at(name)).unwrap();
            serve(listener, name, Arc::clone(&gate));
        }
        let servers = format!("server unix:{};\nserver unix:{};\n", at("a"), at("b"));
        std::fs::write(at("shop.conf"), &servers).unwrap();
        std::fs::write(at("other.conf"), &servers).unwrap();
        let root = at("");
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let temps: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}{kind};\n"))
            .concat();
        let config = format!(
            "{user} daemon off; worker_processes 1; pid {root}nginx.pid; error_log {root}error.log;\n\
             events {{}}\nhttp {{ access_log off;\n{temps}\
             upstream shop {{ include {root}{included}; }}\n\
             server {{ listen unix:{root}front; location / {{ proxy_pass http://shop; }} }} }}\n"
        );
        std::fs::write(at("nginx.conf"), config).unwrap();
        let process = Command::new("nginx")
            .args(["-c", &at("nginx.conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let farm = Self { dir, process, gate };
        until("nginx answers", || farm.try_get("/").is_some());
        farm
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn with(&self, server: &str, more: Value) -> Value {
        let mut with = json!({
            "upstream": "shop", "server": format!("unix:{}", self.path(server)),
            "file": self.path("shop.conf"), "config": self.path("nginx.conf")
        });
        with.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        with
    }

    fn servers(&self) -> String {
        std::fs::read_to_string(self.path("shop.conf")).unwrap_or_default()
    }

    fn try_get(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("front")).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.chars().last().map(String::from)
    }

    /// Who answers ten requests.
    fn answer(&self) -> String {
        let mut names: Vec<String> = (0..10).filter_map(|_| self.try_get("/")).collect();
        names.sort();
        names.dedup();
        names.concat()
    }

    fn open_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

/// Lets held requests go when a test fails, which would wait for them otherwise.
struct OpenAtLast<'a>(&'a Farm);

impl Drop for OpenAtLast<'_> {
    fn drop(&mut self) {
        self.0.open_gate();
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.open_gate();
        // Asked to stop it ends its workers as well, which a kill would leave behind.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_goes_out_once_its_last_request_is_answered_and_comes_back() {
    let farm = Farm::start("shop.conf");
    let bench = Bench::new();
    assert_eq!(farm.answer(), "ab");
    thread::scope(|scope| {
        let _open = OpenAtLast(&farm);
        let held = scope.spawn(|| (farm.try_get("/slow"), farm.try_get("/slow")));
        until("a request is held", || Arc::strong_count(&farm.gate) > 3);
        let drain = scope.spawn(|| bench.run(&Drain, farm.with("a", json!({"wait": "20s"}))));
        until("the file says so", || farm.servers().contains("/a down;"));
        until("nobody new comes to it", || farm.answer() == "b");
        assert!(!drain.is_finished(), "a request is left");
        farm.open_gate();
        drain.join().unwrap().unwrap();
        assert!(held.join().unwrap().0.is_some(), "it was answered");
    });
    bench.run(&Drain, farm.with("a", json!({}))).unwrap();
    bench.run(&Enable, farm.with("a", json!({}))).unwrap();
    until("both answer", || farm.answer() == "ab");
    assert!(!farm.servers().contains("down"), "{}", farm.servers());
}

#[test]
fn a_drain_that_takes_too_long_puts_the_server_back() {
    let farm = Farm::start("shop.conf");
    let (bench, before) = (Bench::new(), farm.servers());
    thread::scope(|scope| {
        let _open = OpenAtLast(&farm);
        let held = scope.spawn(|| farm.try_get("/slow"));
        until("a request is held", || Arc::strong_count(&farm.gate) > 3);
        let error = message(bench.run(&Drain, farm.with("a", json!({"wait": "200ms"}))));
        assert!(
            error.contains("still have connections") && error.contains("as it was before"),
            "{error}"
        );
        assert_eq!(farm.servers(), before);
        until("both answer", || farm.answer() == "ab");
        farm.open_gate();
        held.join().unwrap();
    });
}

#[test]
fn what_nginx_does_not_take_or_read_is_not_left_behind() {
    let farm = Farm::start("other.conf");
    let (bench, before) = (Bench::new(), farm.servers());
    let error = message(bench.run(&Drain, farm.with("a", json!({}))));
    assert!(
        error.contains("nginx does not read") && error.contains("include"),
        "{error}"
    );
    assert_eq!(farm.servers(), before);
    drop(farm);

    let farm = Farm::start("shop.conf");
    let before = farm.servers();
    let error = message(bench.run(
        &Enable,
        farm.with("a", json!({"server": "no-such-host.invalid:80"})),
    ));
    assert!(error.contains("does not take its configuration"), "{error}");
    assert_eq!(farm.servers(), before);
    assert_eq!(farm.answer(), "ab");
    let error = message(bench.run(&Drain, farm.with("c", json!({}))));
    assert!(error.contains("has no server"), "{error}");
}
