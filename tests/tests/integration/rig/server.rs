//! Everything of the server but HTTP, in this process.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mantle::api::body::{
    ApplyFile, ApplyRequest, AuditEntry, DeploymentCreate, JoinTokenCreate, PackageVersion,
    ReleaseCreate, TaskDetail, TaskState, UploadCreate,
};
use mantle::app::machinery::{Machinery, MachineryConfig, Waker};
use mantle::gateway::{Counters, Gateway, PushRates, Sessions, Timing, enlarge_buffers};
use mantle::installers::{Installers, Programs, Reached};
use mantle::orchestrator::Online;
use mantle::packages::PackageRepository;
use mantle::security::{AGENT_LASTS, Authority, authority_open, master_key_open};
use mantle::services::{Caller, Feed, NoWake, Parts, ServerFacts, Services, Wake};
use mantle::store::{Store, StoreConfig};
use mantle_domain::state::Policy;
use mantle_domain::upkeep::UpkeepRules;
use mantle_shared::protocol::{EnrolRequest, Message};
use mantle_shared::tls::ALPN_ENROL;
use mantle_shared::token::JoinToken;
use mantle_shared::{AgentId, Digest};
use mantle_tests::World;
use mantle_tests::wait::{wait_for, wait_until};
use tentacle::identity::{self, Enrolled, NewKey};
use tokio::task::JoinSet;

use super::{Control, Home, Peer, SOON};

/// What the tests deploy to.
const INFRASTRUCTURE: &str = "mantle: v1
environments:
  - name: test
lifecycles:
  - name: standard
    phases:
      - { name: Test, environments: [test] }
";

/// A running server.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The use cases.
    pub services: Services,
    /// What happened on the network.
    pub counters: Arc<Counters>,
    /// Who is connected and resynced.
    pub online: Arc<Online>,
    /// Who is connected.
    pub sessions: Sessions,
    /// Its authority.
    pub authority: Arc<Authority>,
    /// Its data directory.
    pub folder: PathBuf,
    /// Who asks for things.
    pub caller: Caller,
    /// What it knows.
    pub store: Store,
    world: World,
    gateway: Arc<Gateway>,
    tasks: JoinSet<()>,
}

/// How a server goes about it.
struct Ways {
    timing: Timing,
    /// How long agents' certificates last.
    lasts: Duration,
    push_rates: PushRates,
    /// Who hears what the use cases tell the orchestrator.
    hears: fn(Waker) -> Arc<dyn Wake>,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            lasts: AGENT_LASTS,
            push_rates: PushRates::default(),
            hears: |waker| Arc::new(waker),
        }
    }
}

impl Server {
    /// A new server with the usual timing and the environment `test`.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, "server", Timing::default()).await
    }

    /// A new server in this folder of the world.
    pub async fn start_with(world: &World, folder: &str, timing: Timing) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Self::open(world, world.dir(folder), any, timing).await;
        server.apply("infrastructure.yaml", INFRASTRUCTURE).await;
        server
    }

    /// A new server whose agents' certificates last this long.
    pub async fn start_issuing(world: &World, lasts: Duration, timing: Timing) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let folder = world.dir("server");
        let ways = Ways {
            timing,
            lasts,
            ..Ways::default()
        };
        let server = Self::open_with(world, folder, any, ways).await;
        server.apply("infrastructure.yaml", INFRASTRUCTURE).await;
        server
    }

    /// A new server of which no use case's hint reaches anybody.
    pub async fn start_deaf(world: &World) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ways = Ways {
            hears: |_| Arc::new(NoWake),
            ..Ways::default()
        };
        let server = Self::open_with(world, world.dir("server"), any, ways).await;
        server.apply("infrastructure.yaml", INFRASTRUCTURE).await;
        server
    }

    /// A new server that pushes packages at these rates.
    pub async fn start_paced(world: &World, push_rates: PushRates) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ways = Ways {
            push_rates,
            ..Ways::default()
        };
        let server = Self::open_with(world, world.dir("server"), any, ways).await;
        server.apply("infrastructure.yaml", INFRASTRUCTURE).await;
        server
    }

    /// A server on what an earlier one left behind.
    pub async fn open(world: &World, folder: PathBuf, addr: SocketAddr, timing: Timing) -> Self {
        let ways = Ways {
            timing,
            ..Ways::default()
        };
        Self::open_with(world, folder, addr, ways).await
    }

    async fn open_with(world: &World, folder: PathBuf, addr: SocketAddr, ways: Ways) -> Self {
        // The port of a server that was stopped comes free when its last packets have left.
        let socket = wait_for("the port is free", SOON, || async {
            UdpSocket::bind(addr).map_err(|error| error.to_string())
        })
        .await;
        socket.set_nonblocking(true).unwrap();
        let addr = socket.local_addr().unwrap();
        let store = Store::open(StoreConfig::Sqlite {
            folder: folder.clone(),
        })
        .await
        .unwrap();
        let now = SystemTime::now();
        let authority = authority_open(&store, &folder, now).await.unwrap();
        let authority = Arc::new(authority.with_agent_lifetime(ways.lasts));
        let identity = authority.server_identity(&folder, &[], now).unwrap();
        let master_key = master_key_open(&store, &folder.join("master.key")).await;
        let master_key = Arc::new(master_key.unwrap());
        let packages = PackageRepository::open(&folder).unwrap();
        let feed = Feed::new();
        let buffers = enlarge_buffers(&socket);
        let machinery = Machinery::build(MachineryConfig {
            store: store.clone(),
            packages: packages.clone(),
            master_key: Arc::clone(&master_key),
            authority: Arc::clone(&authority),
            identity,
            socket,
            feed: feed.clone(),
            incoming: folder.join("artifacts"),
            timing: ways.timing,
            push_rates: ways.push_rates,
            policy: Policy::default(),
        })
        .await
        .unwrap();
        let services = Services::new(Parts {
            store: store.clone(),
            master_key,
            packages,
            wake: (ways.hears)(machinery.waker.clone()),
            presence: Arc::clone(&machinery.online) as _,
            feed,
            stopping: tokio_util::sync::CancellationToken::new(),
            server: ServerFacts {
                advertise: addr.to_string(),
                authority: authority.fingerprint(),
                started_at: Timestamp::now(),
                buffers,
            },
            upkeep: UpkeepRules::default(),
            installers: nothing_to_install(),
        });
        let mut tasks = JoinSet::new();
        let gateway = Arc::clone(&machinery.gateway);
        tasks.spawn(async move { gateway.run().await });
        tasks.spawn(machinery.ingest.run());
        tasks.spawn(machinery.orchestrator.run());
        tasks.spawn(machinery.collector.run());
        Self {
            addr,
            services,
            counters: machinery.counters,
            online: machinery.online,
            sessions: machinery.sessions,
            authority,
            folder,
            caller: Caller::server(),
            world: world.clone(),
            store,
            gateway: machinery.gateway,
            tasks,
        }
    }

    /// Ends it in good order.
    pub async fn leave(mut self, retry_after_ms: u32) {
        self.gateway
            .close("the server restarts", retry_after_ms)
            .await;
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.store.close().await;
    }

    /// Ends it. With a proxy that drops everything before it, agents learn no more of it than of a
    /// server that was killed.
    pub async fn stop(mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.gateway.close("the test ends it", 0).await;
        self.store.close().await;
    }

    /// Applies a file.
    pub async fn apply(&self, name: &str, text: &str) {
        let file = ApplyFile {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let request = ApplyRequest {
            files: vec![file],
            ..ApplyRequest::default()
        };
        let applied = self.services.apply(&self.caller, &request).await;
        applied.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    /// Enrols an agent over the wire. It will dial `dial`.
    pub async fn enrol(&self, name: &str, tags: &[&str], dial: SocketAddr) -> Home {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let request = JoinTokenCreate {
            uses: None,
            ttl_s: None,
            tags: Vec::new(),
            environments: Vec::new(),
            name: None,
        };
        let created = self.services.join_token_create(&self.caller, &request);
        let token: JoinToken = created.await.unwrap().token.parse().unwrap();
        let key = NewKey::generate().unwrap();
        let config = Peer::config(self.authority.certificate(), &[ALPN_ENROL], None);
        let peer = Peer::dial(self.addr, config).await.unwrap();
        let mut control = Control::open(&peer.connection).await;
        let request = EnrolRequest {
            token_id: *token.id.as_bytes(),
            token_secret: token.secret,
            signing_request: key.signing_request(name).unwrap(),
            name: name.to_owned(),
            tags: words(tags),
            environments: words(&["test"]),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            version: "0.0.0".to_owned(),
        };
        control.say(request).await;
        let Message::EnrolAccepted(accepted) = control.message().await else {
            panic!("the enrolment was refused");
        };
        let root = self.world.dir(&format!("agent-{name}"));
        let enrolled = Enrolled {
            agent: accepted.agent,
            name: accepted.name,
            servers: vec![dial.to_string()],
            certificate: accepted.certificate,
            authority: accepted.authority,
            not_after_us: accepted.not_after_us,
        };
        identity::save(&root, &key, &enrolled).unwrap();
        Home {
            agent: enrolled.agent,
            root,
        }
    }

    /// Applies a project of this process (YAML, from the list of steps on) and makes its release.
    pub async fn project(&self, slug: &str, rest: &str) {
        let text = format!("mantle: v1\nproject: {slug}\nlifecycle: standard\n{rest}");
        self.apply(&format!("{slug}.yaml"), &text).await;
        let request = ReleaseCreate {
            version: Some("1.0.0".to_owned()),
            ..ReleaseCreate::default()
        };
        let created = self
            .services
            .release_create(&self.caller, slug, &request)
            .await;
        created.unwrap_or_else(|error| panic!("{slug}: {error:?}"));
    }

    /// Orders the deployment of a project's release into `test`; the answer is the task's number.
    pub async fn deploy(&self, slug: &str) -> String {
        let request = DeploymentCreate {
            project: slug.to_owned(),
            version: Some("1.0.0".to_owned()),
            environment: "test".to_owned(),
            ..DeploymentCreate::default()
        };
        let task = self.services.deploy(&self.caller, &request).await;
        task.unwrap_or_else(|error| panic!("{slug}: {error:?}"))
            .number
    }

    /// How a task stands.
    pub async fn task(&self, number: &str) -> TaskDetail {
        let shown = self.services.task_show(&self.caller, number);
        shown.await.unwrap()
    }

    /// Waits until the task's one action (of the first step and target) stands like this.
    pub async fn action_is(&self, number: &str, state: mantle::api::body::WorkState) -> TaskDetail {
        wait_for(&format!("the action is {state:?}"), SOON, || async {
            let task = self.task(number).await;
            let action = task
                .steps
                .first()
                .and_then(|step| step.targets.first()?.actions.first().cloned());
            match action {
                Some(action) if action.state == state => Ok(task),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Waits until a task is over.
    pub async fn over(&self, number: &str, within: Duration) -> TaskDetail {
        wait_for("the task is over", within, || async {
            let task = self.task(number).await;
            if task.task.state.is_over() {
                Ok(task)
            } else {
                Err(format!("{task:?}"))
            }
        })
        .await
    }

    /// Waits until a task has succeeded.
    pub async fn succeeds(&self, number: &str, within: Duration) -> TaskDetail {
        let task = self.over(number, within).await;
        assert_eq!(task.task.state, TaskState::Succeeded, "{task:?}");
        task
    }

    /// Every line of a task's log, in order.
    pub async fn lines(&self, number: &str) -> Vec<String> {
        let page = self.services.task_log(&self.caller, number, 0);
        let page = page.await.unwrap();
        page.items.into_iter().map(|line| line.text).collect()
    }

    /// The audit rows of this action, the newest first.
    pub async fn audit(&self, action: &str) -> Vec<AuditEntry> {
        let page = self.services.audit_list(&self.caller, None, 200).await;
        let mut items = page.unwrap().items;
        items.retain(|entry| entry.action == action);
        items
    }

    /// Waits until the agent may be given orders, or no more.
    pub async fn online(&self, agent: AgentId, online: bool) {
        let what = if online {
            "the agent is online"
        } else {
            "the agent is offline"
        };
        wait_until(what, SOON, || {
            self.online.session(agent).is_some() == online
        })
        .await;
    }
}

impl Server {
    /// Pushes a package of these files.
    pub async fn push(&self, id: &str, files: &[(&str, &[u8])]) -> PackageVersion {
        let folder = self.world.dir(&format!("package-{id}"));
        for (name, content) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let archive = self.world.path(&format!("{id}.1.0.0.tar.gz"));
        let status = std::process::Command::new("tar")
            .args(["czf".as_ref(), archive.as_os_str(), "-C".as_ref()])
            .args([folder.as_os_str(), ".".as_ref()])
            .status();
        assert!(status.unwrap().success(), "tar packs the package");
        let bytes = std::fs::read(&archive).unwrap();
        let request = UploadCreate {
            file_name: format!("{id}.1.0.0.tar.gz"),
            size_bytes: bytes.len() as u64,
            digest: Digest::of(&bytes).to_string(),
            id: None,
            version: None,
        };
        let upload = self.services.upload_create(&self.caller, &request).await;
        let upload = upload.unwrap().upload;
        let piece = self.services.upload_append(&self.caller, &upload, 0).await;
        let mut piece = piece.unwrap();
        piece.write(bytes.into()).await.unwrap();
        self.services.upload_appended(piece).await.unwrap();
        let (services, caller) = (&self.services, &self.caller);
        services.upload_finish(caller, &upload, None).await.unwrap()
    }
}

/// This server has no HTTPS from which an agent could be fetched.
fn nothing_to_install() -> Installers {
    let at = Reached {
        url: String::new(),
        server: String::new(),
        pin: String::new(),
        key_digest: String::new(),
    };
    Installers::new(at, Programs::default())
}
