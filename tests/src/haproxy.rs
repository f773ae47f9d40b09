//! A real HAProxy before real web servers, and what it says of them over time.
//!
//! It is set up so that nothing is forgiven: no retries, no redispatch, keep-alive on both sides.
//! The runtime API listens on TCP and on a Unix socket, with level admin.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::binaries::binary;
use crate::process::Process;
use crate::wait::wait_for;
use crate::world::World;

/// The backend's name, as in the example project.
pub const BACKEND: &str = "octofx";
/// How long anything may take to be up.
const UP_DEADLINE: Duration = Duration::from_secs(20);

/// A web server behind the balancer, with its supervisor.
pub struct WebServer {
    /// Its name, also in the balancer.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The folder with `version.txt`; a deployment may replace it by a link.
    pub root: PathBuf,
    supervisor: Process,
}

impl WebServer {
    /// Starts one that serves this version from `root`.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(world: &World, name: &str, root: &Path) -> Self {
        let address_file = world.path(&format!("{name}.address"));
        let mut command = Command::new(binary("webserver"));
        command
            .args(["supervise", "--listen", "127.0.0.1:0", "--name", name])
            .arg("--root")
            .arg(root)
            .arg("--address-file")
            .arg(&address_file);
        let supervisor = Process::spawn(world, &format!("web server {name}"), command);
        let address = wait_for(&format!("web server {name} listens"), UP_DEADLINE, || {
            let text = std::fs::read_to_string(&address_file).unwrap_or_default();
            async move { text.parse().map_err(|_| "no address is written".to_owned()) }
        })
        .await;
        Self {
            name: name.to_owned(),
            address,
            root: root.to_owned(),
            supervisor,
        }
    }

    /// The process that restarts it at SIGHUP, for scripts: `kill -HUP <pid>`.
    pub fn supervisor_pid(&self) -> i32 {
        self.supervisor.pid()
    }

    /// Kills it and starts it anew, as its service manager would.
    pub fn restart(&mut self) {
        self.supervisor.signal(Signal::HUP);
    }
}

/// A running HAProxy.
pub struct HaProxy {
    /// Where requests go.
    pub front: SocketAddr,
    /// The runtime API over TCP.
    pub api: SocketAddr,
    /// The runtime API as a Unix socket.
    pub socket: PathBuf,
    _process: Process,
}

/// A server as the balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// Its name.
    pub name: String,
    /// Its status, such as `UP`, `DOWN`, `DRAIN`, `MAINT`.
    pub status: String,
    /// Its sessions.
    pub sessions: u32,
}

impl HaProxy {
    /// Starts it before these servers and waits until all are up.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(world: &World, servers: &[WebServer]) -> Self {
        let places: Vec<_> = servers
            .iter()
            .map(|server| (server.name.as_str(), server.address))
            .collect();
        let balancer = Self::start_before(world, &places).await;
        wait_for("all servers are up", UP_DEADLINE, || async {
            let states = balancer.states().await?;
            let up = states.iter().filter(|s| s.status == "UP").count();
            if up == servers.len() {
                Ok(())
            } else {
                Err(format!("{states:?}"))
            }
        })
        .await;
        balancer
    }

    /// Starts it before servers of these names and addresses, which need not be there yet.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_before(world: &World, servers: &[(&str, SocketAddr)]) -> Self {
        let mut balancer = None;
        // HAProxy cannot be asked which port the system chose, so a free one is named, which
        // another process may take first: then with others, once or twice.
        for _ in 0..3 {
            balancer = Self::launch(world, servers).await;
            if balancer.is_some() {
                break;
            }
        }
        balancer.expect("HAProxy starts")
    }

    async fn launch(world: &World, servers: &[(&str, SocketAddr)]) -> Option<Self> {
        let (front, api) = (free_port(), free_port());
        let socket = world.path("haproxy.sock");
        let _ = std::fs::remove_file(&socket);
        let file = world.file("haproxy.cfg", config(front, api, &socket, servers));
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file);
        let mut process = Process::spawn(world, "haproxy", command);
        let came_up = wait_for("HAProxy listens or gives up", UP_DEADLINE, || {
            let ended = process.ended().is_some();
            let socket = socket.clone();
            async move {
                if ended {
                    return Ok(false);
                }
                let answer = ask(&socket, "show info").await?;
                if answer.contains("Uptime_sec") {
                    Ok(true)
                } else {
                    Err(answer)
                }
            }
        })
        .await;
        came_up.then_some(Self {
            front,
            api,
            socket,
            _process: process,
        })
    }

    /// Sends a command of the runtime API and gives the answer.
    pub async fn ask(&self, command: &str) -> Result<String, String> {
        ask(&self.socket, command).await
    }

    /// All servers as the balancer sees them.
    pub async fn states(&self) -> Result<Vec<ServerState>, String> {
        states(&self.socket).await
    }

    /// Watches the servers' states from now on.
    pub fn watch(&self) -> Watch {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        task.spawn(watch(self.socket.clone(), Arc::clone(&changes)));
        Watch {
            changes,
            _task: task,
        }
    }
}

/// A change of a server's status, as the balancer told it.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it was seen first: up to 20 ms after it happened.
    pub at: Instant,
    /// The server.
    pub server: String,
    /// Its new status.
    pub status: String,
    /// Its sessions at that moment.
    pub sessions: u32,
}

/// The changes that the balancer told since the watch began.
pub struct Watch {
    changes: Arc<Mutex<Vec<Change>>>,
    _task: JoinSet<()>,
}

impl Watch {
    /// All changes so far, in order.
    pub fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap().clone()
    }

    /// When `server` had a status beginning with `status` for the first time since `after`.
    pub fn first(&self, server: &str, status: &str, after: Option<Instant>) -> Option<Instant> {
        self.changes()
            .into_iter()
            .find(|change| {
                change.server == server
                    && change.status.starts_with(status)
                    && after.is_none_or(|after| change.at > after)
            })
            .map(|change| change.at)
    }
}

async fn watch(socket: PathBuf, changes: Arc<Mutex<Vec<Change>>>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Vec<ServerState> = Vec::new();
    loop {
        ticks.tick().await;
        // A look that fails is made up for by the next.
        let Ok(states) = states(&socket).await else {
            continue;
        };
        for state in &states {
            let before = known.iter().find(|s| s.name == state.name);
            if before.is_none_or(|before| before.status != state.status) {
                changes.lock().unwrap().push(Change {
                    at: Instant::now(),
                    server: state.name.clone(),
                    status: state.status.clone(),
                    sessions: state.sessions,
                });
            }
        }
        known = states;
    }
}

async fn states(socket: &Path) -> Result<Vec<ServerState>, String> {
    let table = ask(socket, "show stat").await?;
    let mut lines = table.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .trim_start_matches("# ")
        .split(',')
        .collect();
    let column = |name: &str| {
        names
            .iter()
            .position(|n| *n == name)
            .ok_or_else(|| format!("no column {name} in: {table}"))
    };
    let (backend, server, status, sessions) = (
        column("pxname")?,
        column("svname")?,
        column("status")?,
        column("scur")?,
    );
    Ok(lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|fields| fields.get(backend) == Some(&BACKEND))
        .filter(|fields| !matches!(fields.get(server), Some(&"BACKEND" | &"FRONTEND") | None))
        .map(|fields| ServerState {
            name: fields[server].to_owned(),
            status: fields.get(status).copied().unwrap_or_default().to_owned(),
            sessions: fields
                .get(sessions)
                .and_then(|number| number.parse().ok())
                .unwrap_or_default(),
        })
        .collect())
}

async fn ask(socket: &Path, command: &str) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).await.map_err(text)?;
    stream
        .write_all(format!("{command}\n").as_bytes())
        .await
        .map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(text)?;
    Ok(answer)
}

/// A port that is free just now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

fn config(
    front: SocketAddr,
    api: SocketAddr,
    socket: &Path,
    servers: &[(&str, SocketAddr)],
) -> String {
    let mut text = format!(
        "global
    stats socket ipv4@{api} level admin
    stats socket {socket} mode 600 level admin
    stats timeout 60s
    maxconn 4000

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    timeout http-request 10s
    option http-keep-alive
    http-reuse safe
    retries 0
    no option redispatch

frontend www
    bind {front}
    default_backend {BACKEND}

backend {BACKEND}
    balance roundrobin
    option httpchk GET /health
    default-server check inter 200ms fastinter 100ms downinter 100ms rise 2 fall 2
",
        socket = socket.display()
    );
    for (name, address) in servers {
        let _ = writeln!(text, "    server {name} {address}");
    }
    text
}
