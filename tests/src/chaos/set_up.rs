//! Sets the fleet up: a server and some agents on disks that can be filled, a line for each agent that
//! can be broken, and everything that is to be deployed.

use std::sync::Arc;
use std::time::Duration;

use mantle::client::{Client, Endpoint, Trust};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::collect::JournalReader;
use super::driver::{Chaos, Member, Up, small};
use super::report::Counts;
use super::workload::{self, FILES, PACKAGE, VERSIONS};
use super::{Options, Shared, agent_name};
use crate::agent::Joining;
use crate::checker::History;
use crate::proxy::Proxy;
use crate::{Agent, Server, World};

/// Room on the server's disk: more than a run needs.
const SERVER_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Room on the small disks of agents.
const AGENT_DISK_BYTES: u64 = 256 * 1024 * 1024;
/// Setting up, on a busy machine.
const SETUP: Duration = Duration::from_mins(1);

impl Chaos {
    pub(super) async fn set_up(options: &Options) -> Self {
        let world = World::new();
        let mut server = Server::start_on_kept_disk(&world, SERVER_DISK_BYTES).await;
        if let Some(name) = &options.sabotage {
            server.set_env("MANTLE_SABOTAGE", name);
            server.kill9();
            server.restart().await;
        }
        let client = client_of(&server);
        let secret = format!(
            "canary-{:016x}/+?&\"",
            options.seed.wrapping_mul(0x9e37_79b9)
        );
        let set = ["secret", "set", "chaos/canary"];
        let cli = server.cli();
        cli.run_with_input(&set, secret.as_bytes()).await.ok();
        let file = world.file("environments.yaml", workload::DECLARED_ENVIRONMENTS);
        let file = file.display().to_string();
        server.ok(&["apply", "--yes", "-f", &file]).await;
        let mut members = Vec::new();
        for number in 0..options.agents {
            members.push(join(&world, &server, options, number).await);
        }
        let chaos = Self {
            world,
            server,
            server_up: Up::Running,
            server_armed: false,
            life: 0,
            measure_next: false,
            members,
            client,
            shared: Arc::new(Shared::new(options.agents)),
            times: Arc::default(),
            counts: Counts::default(),
            history: History::default(),
            verdicts: std::collections::BTreeMap::new(),
            audits: Vec::new(),
            secret,
            say: options.say,
        };
        for number in 0..options.agents {
            chaos
                .server
                .target_is(&agent_name(number), true, SETUP)
                .await;
        }
        chaos.declare().await;
        chaos
    }

    /// Packages, projects and releases.
    async fn declare(&self) {
        for version in VERSIONS {
            let folder = format!("package-{version}");
            for number in 0..FILES {
                self.world.file(
                    &format!("{folder}/file{number:02}.txt"),
                    workload::file_content(version, number),
                );
            }
            let archive = self.world.path(&format!("{PACKAGE}.{version}.tar.gz"));
            let status = std::process::Command::new("tar")
                .arg("-czf")
                .arg(&archive)
                .arg("-C")
                .arg(self.world.path(&folder))
                .arg(".")
                .status()
                .expect("tar");
            assert!(status.success(), "tar");
            let archive = archive.display().to_string();
            self.server.ok(&["package", "push", &archive]).await;
        }
        let text = workload::declared(&self.world.path("steps"));
        let file = self.world.file("declared.yaml", text);
        let file = file.display().to_string();
        self.server.ok(&["apply", "--yes", "-f", &file]).await;
        for project in workload::PROJECTS {
            for version in VERSIONS {
                let mut args = vec!["release", "create", project.name, version];
                let package = format!("{PACKAGE}:{version}");
                if project.installs() {
                    args.extend(["--package", &package]);
                }
                self.server.ok(&args).await;
            }
        }
    }
}

fn client_of(server: &Server) -> Client {
    let files = server.files();
    let text = std::fs::read_to_string(files.join("server.json")).expect("server.json");
    let file: Value = serde_json::from_str(&text).expect("server.json");
    let pem = file["ca_pem"].as_str().expect("an authority");
    let authority = CertificateDer::from_pem_slice(pem.as_bytes()).expect("its certificate");
    let key = mantle::app::data_dir::ADMIN_KEY_FILE;
    let key = std::fs::read_to_string(files.join(key)).expect("the administrator's key");
    let endpoint = Endpoint {
        url: file["url"].as_str().expect("a URL").to_owned(),
        trust: Trust::Authority(authority.to_vec()),
        token: Some(key.trim().to_owned()),
    };
    Client::new(&endpoint).expect("a client")
}

async fn join(world: &World, server: &Server, options: &Options, number: usize) -> Member {
    let name = agent_name(number);
    let proxy = Proxy::start(server.addresses().quic, options.seed ^ number as u64)
        .expect("a socket for the proxy");
    let tags = workload::tags(number);
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let mut env = vec![("TENTACLE_KEEP_FREE_BYTES", "0")];
    if let Some(name) = &options.sabotage {
        env.push(("MANTLE_SABOTAGE", name));
    }
    let how = Joining {
        tags: &tags,
        environments: &workload::ENVIRONMENTS,
        via: Some(proxy.addr()),
        env: &env,
        ..Joining::default()
    };
    let mut agent = Agent::join(world, server, &name, how).await;
    if number < small(options) {
        agent.keep_on_small_disk(AGENT_DISK_BYTES).await;
    }
    agent.run();
    let journal = JournalReader::new(agent.files().join("journal/journal"));
    Member {
        agent,
        proxy,
        journal,
        up: Up::Running,
        armed: false,
    }
}
