//! `nginx.site` on a real agent with a real nginx: made, kept when it fails, given back by a rollback.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mantle_tests::process::Process;
use mantle_tests::wait::{block_until, wait_for};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::fleet::{Fleet, SOON, number, project_of};

/// An nginx of the test, which includes a folder of sites.
struct Nginx {
    process: Process,
    folder: PathBuf,
}

impl Nginx {
    async fn start(fleet: &Fleet) -> Self {
        let folder = fleet.world.path("nginx");
        std::fs::create_dir_all(folder.join("sites")).unwrap();
        let root = folder.display();
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
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf"));
        let process = Process::spawn(&fleet.world, "nginx", command);
        let nginx = Self { process, folder };
        nginx.answers("front", Some("front")).await;
        nginx
    }

    /// Waits until a socket answers this, or nothing at all.
    async fn answers(&self, socket: &str, wanted: Option<&str>) {
        wait_for(&format!("{socket} answers {wanted:?}"), SOON, || async {
            let seen = get(self.folder.join(socket)).await;
            if seen.as_deref() == wanted {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }
}

async fn get(socket: PathBuf) -> Option<String> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    let request = b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.rsplit_once("\r\n\r\n")?.1.to_owned())
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked to stop it ends its workers as well, which a kill would leave behind.
        self.process.signal(Signal::TERM);
        let ended = block_until(Duration::from_secs(20), || self.process.ended().is_some());
        assert!(ended || std::thread::panicking(), "nginx has not ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_made_kept_where_it_is_wrong_and_given_back_by_a_rollback() {
    let fleet = Fleet::new(1).await;
    let nginx = Nginx::start(&fleet).await;
    let at = |name: &str| nginx.folder.join(name).display().to_string();
    let site = |says: &str, last: &str| {
        format!(
            "  - step: Farm
    targets: {{ tag: web }}
    rolling: {{ window: 1, on_failure: rollback }}
    actions:
      - {{ action: site, uses: nginx.site, with: {{ site: shop, file: \"{}\", config: \"{}\", content: \"server {{ listen unix:{}; {says} }}\\n\" }} }}
      - {{ action: look, uses: script, with: {{ run: \"{last}\" }} }}
",
            at("sites/shop.conf"),
            at("nginx.conf"),
            at("shop")
        )
    };
    for (version, says, last, code, log_has, answer) in [
        (
            "1.0",
            "return 200 one;",
            "true",
            0,
            "nginx has the site shop",
            "one",
        ),
        (
            "1.1",
            "no_such_directive on;",
            "true",
            3,
            "does not take its configuration",
            "one",
        ),
        (
            "1.2",
            "return 200 two;",
            "exit 1",
            3,
            "shop.conf is as it was before",
            "one",
        ),
        (
            "1.3",
            "return 200 two;",
            "true",
            0,
            "nginx has the site shop",
            "two",
        ),
    ] {
        fleet
            .apply("shop", &project_of("shop", &site(says, last)))
            .await;
        fleet
            .server
            .ok(&["release", "create", "shop", version])
            .await;
        let args = ["deploy", "shop", version, "-e", "test", "--detach"];
        let task = number(&fleet.server.json(&args).await);
        let waited = fleet.server.run(&["task", "wait", &task]).await;
        let log = fleet.server.ok(&["task", "logs", &task]).await.stdout;
        assert_eq!(waited.code, Some(code), "{version}: {waited}\n{log}");
        let all = format!("{log}{}{}", waited.stdout, waited.stderr);
        assert!(all.contains(log_has), "{version}: {all}");
        nginx.answers("shop", Some(answer)).await;
    }
}
