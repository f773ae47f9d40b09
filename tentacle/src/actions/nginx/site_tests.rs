//! `nginx.site` against a real nginx.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::test_context::{Bench, message};
use super::site::{Site, SiteBack};

/// An nginx that includes a folder of sites.
struct Server {
    dir: TempDir,
    process: Child,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display().to_string();
        std::fs::create_dir(dir.path().join("sites")).unwrap();
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let temps: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
            .concat();
        let config = format!(
            "{user} daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;\n\
             events {{}}\nhttp {{ access_log off;\n{temps} include {root}/sites/*.conf;\n\
             server {{ listen unix:{root}/front; return 200 front; }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let process = Command::new("nginx")
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let server = Self { dir, process };
        until("nginx answers", || server.get("front").is_some());
        server
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What a site answers at its socket.
    fn get(&self, socket: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.path(socket)).ok()?;
        write!(stream, "GET / HTTP/1.0\r\nHost: shop\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.rsplit_once("\r\n\r\n")?.1.to_owned())
    }

    fn with(&self, more: Value) -> Value {
        let mut with = json!({
            "site": "shop", "file": self.path("sites/shop.conf"), "config": self.path("nginx.conf")
        });
        with.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        with
    }

    fn back(&self) -> Value {
        json!({"action": "Install", "config": self.path("nginx.conf")})
    }
}

impl Drop for Server {
    fn drop(&mut self) {
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
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_site_is_served_passed_on_and_gone_after_a_rollback() {
    let (server, bench) = (Server::start(), Bench::new());
    std::fs::create_dir(server.path("www")).unwrap();
    std::fs::write(server.path("www/index.html"), "pages").unwrap();
    let listen = format!("unix:{}", server.path("shop"));
    let pages = json!({
        "listen": listen, "server_name": ["shop", "www.shop"], "root": server.path("www"),
        "settings": {"client_max_body_size": "2m"}
    });
    bench.run(&Site, server.with(pages)).unwrap();
    until("pages", || server.get("shop").as_deref() == Some("pages"));
    let passed = json!({
        "listen": listen, "proxy_pass": format!("http://unix:{}:/", server.path("front"))
    });
    bench.run(&Site, server.with(passed.clone())).unwrap();
    until("front", || server.get("shop").as_deref() == Some("front"));
    bench.run(&Site, server.with(passed)).unwrap();
    assert!(bench.said.text().contains("nginx has reloaded"));
    bench.run(&SiteBack, server.back()).unwrap();
    until("the site is gone", || server.get("shop").is_none());
    assert!(!std::path::Path::new(&server.path("sites/shop.conf")).exists());
}

#[test]
fn what_nginx_does_not_take_or_read_is_as_it_was_before() {
    let (server, bench) = (Server::start(), Bench::new());
    let listen = format!("listen unix:{};", server.path("shop"));
    let good = format!("server {{ {listen} return 200 good; }}\n");
    bench
        .run(&Site, server.with(json!({"content": good})))
        .unwrap();
    until("good", || server.get("shop").as_deref() == Some("good"));
    let mut later = Bench::new();
    later.task = 2;
    let bad = json!({"content": format!("server {{ {listen} no_such_directive on; }}\n")});
    let error = message(later.run(&Site, server.with(bad)));
    assert!(
        error.contains("does not take its configuration") && error.contains("as it was before"),
        "{error}"
    );
    let text = std::fs::read_to_string(server.path("sites/shop.conf")).unwrap();
    assert_eq!(text, good);
    until("good", || server.get("shop").as_deref() == Some("good"));
    let mut away = server.with(json!({"content": good}));
    away["file"] = json!(server.path("elsewhere.conf"));
    let error = message(later.run(&Site, away));
    assert!(error.contains("nginx does not read"), "{error}");
    assert!(!std::path::Path::new(&server.path("elsewhere.conf")).exists());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let bench = Bench::new();
    for (with, why) in [
        (json!({"site": "a/b", "root": "/x"}), "no name of a site"),
        (json!({"site": "a"}), "needs 'root'"),
        (
            json!({"site": "a", "root": "/x", "proxy_pass": "http://b"}),
            "not both",
        ),
        (
            json!({"site": "a", "root": "/x", "content": "x"}),
            "not both",
        ),
        (
            json!({"site": "a", "root": "/x", "key": "/k"}),
            "go together",
        ),
        (json!({"site": "a", "root": "/x; deny all"}), "has a space"),
        (json!({"site": "a", "root": "/x;"}), "cannot stand"),
        (
            json!({"site": "a", "root": "/x", "server_name": "a\nb"}),
            "cannot stand",
        ),
        (
            json!({"site": "a", "root": "/x", "settings": {"Return": "200"}}),
            "no directive",
        ),
        (
            json!({"site": "a", "root": "/x", "file": "x"}),
            "no absolute path",
        ),
    ] {
        let error = message(bench.run(&Site, with));
        assert!(error.contains(why), "{error}");
    }
}
