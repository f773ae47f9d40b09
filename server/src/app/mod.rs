//! The composition root: builds everything once, in order, and hands it down.
//!
//! The order is the promise: the data directory is ours before anything is read from it, the ports
//! are ours before anything is written into it, the database is open and recovered before anyone is
//! let in, and `server.json` names the addresses only once they are served.

pub mod bind;
pub mod data_dir;
mod error;
mod http;
pub mod machinery;
mod moving;
pub mod server_file;
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mantle_domain::permission::{ADMINISTRATORS, Permission};
use mantle_domain::state::Policy;
use mantle_domain::upkeep::UpkeepRules;
use serde_json::json;

use self::bind::Sockets;
use self::data_dir::{ADMIN_KEY_FILE, DataDir};
pub use self::error::StartError;
use self::machinery::{Machinery, MachineryConfig};
use self::server_file::{ServerFile, local_url};
use crate::gateway::{PushRates, Timing};
use crate::installers::{Installers, Programs, Reached};
use crate::packages::PackageRepository;
use crate::security::{
    Authority, NewApiKey, Secret, api_key_mint, api_key_save, authority_open, master_key_open,
};
use crate::services::{Caller, FIRST_KEY, Feed, Parts, ServerFacts, Services};
use crate::store::{Store, StoreConfig, api_key_find_live, api_key_insert, max_running_keep};
use crate::supervise::{Stage, Supervisor, TaskEnded};

const MASTER_KEY_FILE: &str = "master.key";

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The data directory.
    pub data: PathBuf,
    /// Where HTTPS listens; port 0 takes any.
    pub listen_https: SocketAddr,
    /// Where QUIC listens; port 0 takes HTTPS's number if it can.
    pub listen_quic: SocketAddr,
    /// What tokens and certificates name.
    pub advertise: Option<String>,
    /// An operator's own certificate and key for HTTPS (PEM files).
    pub tls: Option<TlsFiles>,
    /// How agents' certificates are kept.
    pub agent_certificates: AgentCertificates,
    /// How many tasks run at once.
    pub max_running: u32,
    /// How fast packages are pushed to agents.
    pub push_rates: PushRates,
    /// How much of the past is kept.
    pub upkeep: UpkeepRules,
    /// The agent's program, if this machine is to run the steps without targets.
    pub worker: Option<PathBuf>,
    /// Where agents' programs are that machines fetch which are to join.
    pub agents: Option<PathBuf>,
}

/// How agents' certificates are kept.
#[derive(Debug, Clone, Copy)]
pub struct AgentCertificates {
    /// How long one lasts. It is renewed at half of that.
    pub lasts: Duration,
    /// For so long after its end an agent may still renew it.
    pub grace: Duration,
}

/// An operator's own certificate for HTTPS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
}

/// A server that is built and listens, but does not serve yet.
pub struct App {
    services: Services,
    supervisor: Supervisor,
    https: TcpListener,
    tls: http::Tls,
    file: ServerFile,
    first_key: Option<Secret>,
    data: DataDir,
    store: Store,
}

impl App {
    /// Builds everything. When this fails, nothing listens and nothing runs.
    pub async fn build(options: &ServerOptions) -> Result<Self, StartError> {
        let data = DataDir::open(&options.data)?;
        let own_tls = options.tls.as_ref().map(http::operator_tls).transpose()?;
        let Sockets {
            https,
            quic,
            buffers,
        } = bind::bind(options.listen_https, options.listen_quic)?;
        let https_at = local(&https.local_addr())?;
        let quic_at = local(&quic.local_addr())?;
        let advertise = advertise(options.advertise.as_deref(), quic_at);

        let store = Store::open(StoreConfig::Sqlite {
            folder: options.data.clone(),
        })
        .await?;
        let limit = options.max_running;
        store
            .write(async |tx| max_running_keep(tx, limit).await)
            .await?;
        let now = SystemTime::now();
        let authority = authority_open(&store, data.path(), now)
            .await?
            .with_agent_lifetime(options.agent_certificates.lasts);
        let names = certificate_names(&advertise, https_at);
        let identity = authority.server_identity(data.path(), &names, now)?;
        let master_key = master_key_open(&store, &data.join(MASTER_KEY_FILE)).await?;
        let first_key = first_key(&store, &data).await?;
        let packages = open_packages(&data).await?;

        let file = server_file(
            &data,
            (https_at, quic_at),
            &advertise,
            &authority,
            own_tls.is_some(),
        );
        let tls = match own_tls {
            Some(own) => own,
            None => http::own_tls(&identity)?,
        };
        let mut supervisor = Supervisor::new();
        let installers = installers(options, &advertise, (https_at, quic_at), &tls)?;
        let server = ServerFacts {
            advertise,
            authority: authority.fingerprint(),
            started_at: Timestamp::now(),
            buffers,
        };
        let config = MachineryConfig {
            store: store.clone(),
            packages: packages.clone(),
            master_key: Arc::new(master_key),
            authority: Arc::new(authority),
            identity,
            socket: quic,
            feed: Feed::new(),
            incoming: data.join("artifacts"),
            timing: Timing {
                renewal_grace: options.agent_certificates.grace,
                ..Timing::default()
            },
            push_rates: options.push_rates,
            policy: Policy::default(),
        };
        let services = compose(
            config,
            server,
            (options.upkeep, installers),
            &mut supervisor,
        )
        .await?;
        if let Some(program) = &options.worker {
            let worker = worker::Worker::new(program, data.path(), quic_at);
            worker.start(services.clone(), &mut supervisor);
        } else {
            worker::tell_absent(data.path());
        }
        Ok(Self {
            services,
            supervisor,
            https,
            tls,
            file,
            first_key,
            data,
            store,
        })
    }

    /// The addresses and names of this server.
    pub fn file(&self) -> &ServerFile {
        &self.file
    }

    /// The administrator's key, if this start made it. It is shown once.
    pub fn first_key(&self) -> Option<&Secret> {
        self.first_key.as_ref()
    }

    /// The use cases, for what runs inside the same process.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Serves until `shutdown` is ready, then drains. `serving` is called once requests are taken.
    pub async fn run(
        mut self,
        shutdown: impl Future<Output = ()>,
        serving: impl FnOnce(&ServerFile),
    ) -> Result<(), RunError> {
        let intake = self.supervisor.stop_token(Stage::Intake);
        let router = crate::api::router(self.services.clone());
        let server = http::serve(self.https, self.tls, router, intake);
        self.supervisor.spawn(Stage::Intake, "https", server);
        self.file
            .write(self.data.path())
            .map_err(|source| RunError::ServerFile {
                path: self.data.path().display().to_string(),
                source,
            })?;
        serving(&self.file);
        tracing::info!(https = %self.file.https, quic = %self.file.quic, "the server is up");
        let ended = self.supervisor.run_until(shutdown).await;
        self.store.close().await;
        // What stands in the file is not true any more; the next start writes it anew.
        let _ = std::fs::remove_file(self.data.join(data_dir::SERVER_FILE));
        tracing::info!("the server has stopped");
        Ok(ended?)
    }
}

/// Why a running server stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file that names the addresses could not be written.
    #[error("cannot write server.json into {path}: {source}")]
    ServerFile {
        /// The data directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A task that the server stands on ended.
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

async fn compose(
    config: MachineryConfig,
    server: ServerFacts,
    (upkeep, installers): (UpkeepRules, Installers),
    supervisor: &mut Supervisor,
) -> Result<Services, StartError> {
    let (store, packages) = (config.store.clone(), config.packages.clone());
    let (master_key, feed) = (config.master_key.clone(), config.feed.clone());
    let machinery = Machinery::build(config).await?;
    let (wake, presence) = (machinery.waker.clone(), machinery.online.clone());
    let epochs = machinery.epochs.clone();
    if epochs.is_held() {
        tracing::warn!(
            "this server was restored from a backup: it lets no agent in and begins nothing until 'mantle server recover'"
        );
    }
    moving::start(machinery, supervisor);
    let services = Services::new(Parts {
        store,
        master_key,
        packages,
        wake: Arc::new(wake),
        presence,
        feed,
        stopping: supervisor.stop_token(Stage::Intake),
        server,
        upkeep,
        installers,
    });
    moving::start_janitor(services.clone(), Arc::clone(&epochs), supervisor);
    moving::start_collector(services.clone(), epochs, supervisor);
    Ok(services)
}

/// What is handed to machines that are to join, from the folder that was named, else from the data
/// directory.
fn installers(
    options: &ServerOptions,
    advertise: &str,
    (https, quic): (SocketAddr, SocketAddr),
    tls: &http::Tls,
) -> Result<Installers, StartError> {
    let folder = options.agents.clone();
    let folder = folder.unwrap_or_else(|| options.data.join("agents"));
    let url = advertised_url(advertise, https.port(), quic.port());
    let at = Reached::by(&tls.leaf, url, advertise.to_owned());
    let at = at.ok_or_else(|| StartError::Socket {
        why: "the certificate of HTTPS cannot be read".to_owned(),
    })?;
    Ok(Installers::new(at, Programs::in_folders(vec![folder])))
}

/// The address of HTTPS for others: the advertised name, at the advertised number where both have one,
/// since whatever leads there to the one leads to the other.
pub(crate) fn advertised_url(advertise: &str, https: u16, quic: u16) -> String {
    match advertise.rsplit_once(':') {
        Some((host, _)) if https != quic => format!("https://{host}:{https}"),
        _ => format!("https://{advertise}"),
    }
}

fn local(address: &std::io::Result<SocketAddr>) -> Result<SocketAddr, StartError> {
    match address {
        Ok(address) => Ok(*address),
        Err(error) => Err(StartError::Socket {
            why: error.to_string(),
        }),
    }
}

/// What to name to agents: what the operator said, else this machine's name, or the address itself
/// if only that is served.
fn advertise(chosen: Option<&str>, quic: SocketAddr) -> String {
    let port = quic.port();
    match chosen {
        Some(name) if has_port(name) => name.to_owned(),
        Some(name) => format!("{name}:{port}"),
        None if quic.ip().is_unspecified() => format!("{}:{port}", host_name()),
        None => quic.to_string(),
    }
}

fn has_port(name: &str) -> bool {
    name.parse::<SocketAddr>().is_ok()
        || name
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok())
}

fn host_name() -> String {
    let from_file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    from_file
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// The names and addresses beside the fixed one under which browsers and tools reach the server.
fn certificate_names(advertise: &str, https: SocketAddr) -> Vec<String> {
    let host = advertise
        .rsplit_once(':')
        .map_or(advertise, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut names = vec![
        host.to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if !https.ip().is_unspecified() {
        names.push(https.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}

/// Makes the administrator's key on the first start. A start that was killed in between is made
/// good: the key counts only once its file is there.
async fn first_key(store: &Store, data: &DataDir) -> Result<Option<Secret>, StartError> {
    let path = data.join(ADMIN_KEY_FILE);
    let now = Timestamp::now();
    let mut tx = store.begin().await?;
    if path.exists() || api_key_find_live(&mut tx, FIRST_KEY).await?.is_some() {
        return Ok(None);
    }
    let (row, text) = api_key_mint(NewApiKey {
        name: FIRST_KEY.to_owned(),
        team: Some(ADMINISTRATORS.to_owned()),
        expires_at_us: None,
        at_us: now.as_microsecond(),
        by: "server".to_owned(),
    });
    api_key_insert(&mut tx, &row).await?;
    let caller = Caller::server();
    debug_assert!(caller.may(Permission::ManageKeys).is_ok());
    caller
        .audit_as(
            &mut tx,
            now,
            "apikey.create",
            FIRST_KEY,
            json!({"first": true}),
        )
        .await?;
    // The file first: a key in the database that nobody has would lock everyone out.
    api_key_save(&path, &text)?;
    if let Err(error) = tx.commit().await {
        let _ = std::fs::remove_file(&path);
        return Err(error.into());
    }
    Ok(Some(text))
}

async fn open_packages(data: &DataDir) -> Result<PackageRepository, StartError> {
    let path = data.path().to_owned();
    let opened = tokio::task::spawn_blocking(move || PackageRepository::open(&path)).await;
    match opened {
        Ok(opened) => Ok(opened?),
        Err(error) => Err(StartError::Socket {
            why: error.to_string(),
        }),
    }
}

fn server_file(
    data: &DataDir,
    (https, quic): (SocketAddr, SocketAddr),
    advertise: &str,
    authority: &Authority,
    own_certificate: bool,
) -> ServerFile {
    ServerFile {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        url: local_url(https),
        https,
        quic,
        advertise: advertise.to_owned(),
        ca_pem: (!own_certificate).then(|| http::pem(authority.certificate())),
        ca_fingerprint: authority.fingerprint().to_string(),
        admin_key_file: data.join(ADMIN_KEY_FILE).display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quic(text: &str) -> SocketAddr {
        text.parse()
            .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 1)))
    }

    #[test]
    fn what_is_advertised_has_a_port() {
        let address = quic("127.0.0.1:7443");
        assert_eq!(advertise(None, address), "127.0.0.1:7443");
        assert_eq!(
            advertise(Some("mantle.example"), address),
            "mantle.example:7443"
        );
        assert_eq!(
            advertise(Some("mantle.example:9"), address),
            "mantle.example:9"
        );
        assert_eq!(advertise(Some("[::1]:9"), address), "[::1]:9");
        assert!(advertise(None, quic("0.0.0.0:7443")).ends_with(":7443"));
    }

    #[test]
    fn https_is_where_agents_are_told_to_dial_or_at_its_own_number() {
        let table = [
            (
                "mantle.example:443",
                7443,
                7443,
                "https://mantle.example:443",
            ),
            ("mantle.example:9", 7443, 9, "https://mantle.example:7443"),
            ("[::1]:9", 8, 9, "https://[::1]:8"),
        ];
        for (advertise, https, quic, expected) in table {
            assert_eq!(advertised_url(advertise, https, quic), expected);
        }
    }

    #[test]
    fn certificates_name_what_people_type() {
        let names = certificate_names("mantle.example:7443", quic("10.0.0.5:7443"));
        for name in ["mantle.example", "localhost", "127.0.0.1", "10.0.0.5"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
