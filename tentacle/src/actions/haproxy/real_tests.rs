//! Both actions against a real HAProxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::test_context::{Bench, message};
use super::*;

/// A web server: `/` answers its name, `/slow` only once the gate is open, and the health check
/// whatever `healthy` says.
struct Web {
    address: String,
    healthy: Arc<AtomicBool>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Web {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Self {
            address: listener.local_addr().unwrap().to_string(),
            healthy: Arc::new(AtomicBool::new(true)),
            gate: Arc::default(),
        };
        let (healthy, gate) = (Arc::clone(&web.healthy), Arc::clone(&web.gate));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (healthy, gate) = (Arc::clone(&healthy), Arc::clone(&gate));
                thread::spawn(move || answer(stream.unwrap(), name, &healthy, &gate));
            }
        });
        web
    }

    fn open_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

fn answer(mut stream: TcpStream, name: &str, healthy: &AtomicBool, gate: &(Mutex<bool>, Condvar)) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let path = String::from_utf8(head).unwrap();
    let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
    if path == "/slow" {
        let closed = gate.0.lock().unwrap();
        let _open = gate.1.wait_while(closed, |open| !*open).unwrap();
    }
    let status = if path == "/health" && !healthy.load(Ordering::SeqCst) {
        "503 Not Yet"
    } else {
        "200 OK"
    };
    let length = name.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
    );
}

struct Balancer {
    dir: TempDir,
    process: Child,
    webs: [Web; 2],
}

impl Balancer {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let webs = [Web::start("web01"), Web::start("web02")];
        let root = dir.path().to_owned();
        let at = |name: &str| root.join(name).display().to_string();
        let config = format!(
            "global\n  stats socket {admin} mode 600 level admin\n  stats socket {user} mode 600 level user\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  timeout check 5s\n\
             frontend web\n  bind unix@{front}\n  default_backend octofx\n\
             backend octofx\n  balance roundrobin\n  option httpchk GET /health\n  \
             default-server check inter 200ms fall 2 rise 2\n  server web01 {one}\n  server web02 {two}\n\
             backend unchecked\n  server plain {one}\n",
            admin = at("admin.sock"),
            user = at("user.sock"),
            front = at("front.sock"),
            one = webs[0].address,
            two = webs[1].address,
        );
        std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(dir.path().join("haproxy.cfg"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let balancer = Self { dir, process, webs };
        until(|| UnixStream::connect(at("admin.sock")).is_ok());
        balancer
    }

    fn with(&self, socket: &str, mut more: Value) -> Value {
        let all = more.as_object_mut().unwrap();
        let path = self.dir.path().join(socket).display().to_string();
        all.entry("socket").or_insert(json!(path));
        all.entry("backend").or_insert(json!("octofx"));
        all.entry("server").or_insert(json!("web01"));
        more
    }

    fn drain(&self, bench: &Bench, more: Value) -> Result<ActionReport, ActionError> {
        bench.run(&Drain, self.with("admin.sock", more))
    }

    fn enable(&self, bench: &Bench, more: Value) -> Result<ActionReport, ActionError> {
        bench.run(&Enable, self.with("admin.sock", more))
    }

    fn get(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("front.sock")).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn row(&self) -> Row {
        let socket = self.dir.path().join("admin.sock");
        let client = Client::open(socket.to_str()).unwrap();
        let rows = stat::parse(&client.ask("show stat -1 6 -1").unwrap());
        stat::find(&rows, "octofx", "web01").unwrap().clone()
    }

    /// A request that web01 has and does not answer until its gate opens.
    fn hold(&self) -> thread::JoinHandle<String> {
        // Round robin: of two, one is web01's; the other is answered when its gate opens.
        self.webs[1].open_gate();
        for _ in 0..4 {
            let path = self.dir.path().join("front.sock");
            let held = thread::spawn(move || {
                let mut stream = UnixStream::connect(path).unwrap();
                write!(
                    stream,
                    "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
                .unwrap();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer);
                answer
            });
            until(|| held.is_finished() || self.row().sessions == 1);
            if self.row().sessions == 1 {
                return held;
            }
        }
        panic!("round robin should have reached web01");
    }
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "this should not take so long");
        thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_drain_waits_for_the_last_session_and_nothing_new_comes() {
    let balancer = Balancer::start();
    let held = balancer.hold();
    let bench = Bench::new();
    thread::scope(|scope| {
        let drain = scope.spawn(|| balancer.drain(&bench, json!({"wait": "20s"})));
        until(|| balancer.row().status == Status::Drain);
        for _ in 0..10 {
            assert!(balancer.get("/").ends_with("web02"));
        }
        assert!(!drain.is_finished(), "a session is left");
        balancer.webs[0].open_gate();
        drain.join().unwrap().unwrap();
    });
    assert!(held.join().unwrap().ends_with("web01"), "it was answered");
    assert!(bench.said.text().contains("no sessions left"));
    // Again, and back, and back again: nothing to do is no error.
    balancer.drain(&bench, json!({})).unwrap();
    balancer.enable(&bench, json!({})).unwrap();
    assert_eq!(balancer.row().status, Status::Up);
    balancer.enable(&bench, json!({})).unwrap();
    assert!(bench.said.text().contains("is UP already"));
}

#[test]
fn a_drain_that_takes_too_long_fails_and_puts_the_server_back() {
    let balancer = Balancer::start();
    let held = balancer.hold();
    let bench = Bench::new();
    let error = message(balancer.drain(&bench, json!({"wait": "300ms"})));
    assert!(error.contains("still has 1 session after 300ms"), "{error}");
    assert!(error.contains("force_after"), "{error}");
    assert_ne!(balancer.row().status, Status::Drain);
    balancer.webs[0].open_gate();
    held.join().unwrap();
}

#[test]
fn force_after_cuts_the_rest_off_and_enable_brings_it_back() {
    let balancer = Balancer::start();
    let held = balancer.hold();
    let bench = Bench::new();
    balancer
        .drain(&bench, json!({"wait": "200ms", "force_after": "true"}))
        .unwrap();
    assert!(!held.join().unwrap().ends_with("web01"), "it was cut off");
    assert_eq!(balancer.row().status, Status::Maintenance);
    assert_eq!(bench.said.warnings().len(), 1);
    balancer.enable(&bench, json!({"wait_up": "10s"})).unwrap();
    assert_eq!(balancer.row().status, Status::Up);
}

#[test]
fn a_stop_ends_a_drain_and_puts_the_server_back() {
    let balancer = Balancer::start();
    let held = balancer.hold();
    let bench = Bench::new();
    thread::scope(|scope| {
        let drain = scope.spawn(|| balancer.drain(&bench, json!({"wait": "1h"})));
        until(|| balancer.row().status == Status::Drain);
        bench.stop.stop();
        assert_eq!(drain.join().unwrap(), Err(ActionError::Stopped));
    });
    assert_ne!(balancer.row().status, Status::Drain);
    balancer.webs[0].open_gate();
    held.join().unwrap();
}

#[test]
fn enabling_waits_for_the_health_check_and_says_what_it_found() {
    let balancer = Balancer::start();
    let bench = Bench::new();
    balancer.drain(&bench, json!({})).unwrap();
    balancer.webs[0].healthy.store(false, Ordering::SeqCst);
    until(|| balancer.row().status == Status::Down);
    let error = message(balancer.enable(&bench, json!({"wait_up": "300ms"})));
    assert!(error.contains("did not come UP within 300ms"), "{error}");
    assert!(error.contains("L7STS"), "{error}");
    thread::scope(|scope| {
        let enable = scope.spawn(|| balancer.enable(&bench, json!({"wait_up": "20s"})));
        balancer.webs[0].healthy.store(true, Ordering::SeqCst);
        enable.join().unwrap().unwrap();
    });
    assert_eq!(balancer.row().status, Status::Up);
    let plain = json!({"backend": "unchecked", "server": "plain"});
    balancer.drain(&bench, plain.clone()).unwrap();
    balancer.enable(&bench, plain).unwrap();
    assert!(bench.said.text().contains("no health check"));
}

#[test]
fn what_haproxy_does_not_have_or_allow_is_said() {
    let balancer = Balancer::start();
    let bench = Bench::new();
    let error = message(balancer.drain(&bench, json!({"backend": "octofy"})));
    assert!(error.contains("it has: octofx, unchecked"), "{error}");
    let error = message(balancer.enable(&bench, json!({"server": "web9"})));
    assert!(error.contains("it has: web01, web02"), "{error}");
    let error = message(bench.run(&Drain, balancer.with("user.sock", json!({}))));
    assert!(error.contains("level admin"), "{error}");
    assert!(!matches!(
        balancer.row().status,
        Status::Drain | Status::Maintenance
    ));
}
