//! Which server a command speaks with, and as whom.
//!
//! In this order: `--server`/`MANTLE_URL` with `MANTLE_TOKEN` (or the login stored for that URL);
//! `--data`/`MANTLE_DATA`, the data directory of a server on this machine; the stored login; the
//! default data directory, if its administrator's key can be read.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::args::Global;
use super::exit::{Exit, Failure};
use crate::app::data_dir::{ADMIN_KEY_FILE, write_private};
use crate::app::server_file::ServerFile;
use crate::client::{Client, Endpoint, Trust, parse_url};

/// What `mantle login` stores, readable by its owner alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// The server.
    pub url: String,
    /// The certificate authority (DER, base64); absent when the machine's roots are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The API key.
    pub token: String,
}

/// A client for this command line.
pub fn connect(global: &Global) -> Result<Client, Failure> {
    Ok(Client::new(&endpoint(global)?)?)
}

fn endpoint(global: &Global) -> Result<Endpoint, Failure> {
    if let Some(url) = &global.server {
        return by_url(url);
    }
    if let Some(data) = &global.data {
        return by_data_dir(data);
    }
    if let Some(login) = read_login()? {
        return by_login(login);
    }
    let data = default_data_dir();
    if data.join(ADMIN_KEY_FILE).is_file() {
        return by_data_dir(&data);
    }
    Err(not_logged_in("no server is known to this user"))
}

fn not_logged_in(why: &str) -> Failure {
    Failure::new(Exit::Forbidden, format!("not logged in: {why}")).with_help(
        "'mantle login https://HOST:7443' logs in; on the server's own machine give --data DIR or \
         set MANTLE_DATA",
    )
}

fn by_url(url: &str) -> Result<Endpoint, Failure> {
    let shown = crate::client::shown(&parse_url(url)?);
    let stored = read_login()?.filter(|login| login.url == shown);
    let token = match std::env::var("MANTLE_TOKEN") {
        Ok(token) if !token.trim().is_empty() => Some(token.trim().to_owned()),
        _ => stored.as_ref().map(|login| login.token.clone()),
    };
    let Some(token) = token else {
        return Err(
            not_logged_in(&format!("no key for {shown} is stored")).with_help(format!(
                "'mantle login {shown}' logs in; or set MANTLE_TOKEN"
            )),
        );
    };
    let trust = match (std::env::var_os("MANTLE_CA_FILE"), stored) {
        (Some(file), _) => Trust::Authority(read_pem(Path::new(&file))?),
        (None, Some(login)) => trust_of(&login)?,
        (None, None) => Trust::System,
    };
    Ok(Endpoint {
        url: shown,
        trust,
        token: Some(token),
    })
}

fn by_login(login: Login) -> Result<Endpoint, Failure> {
    Ok(Endpoint {
        trust: trust_of(&login)?,
        url: login.url,
        token: Some(login.token),
    })
}

fn trust_of(login: &Login) -> Result<Trust, Failure> {
    let Some(authority) = &login.authority else {
        return Ok(Trust::System);
    };
    STANDARD
        .decode(authority)
        .map(Trust::Authority)
        .map_err(|_| {
            Failure::new(
                Exit::Internal,
                format!("the stored login for {} is damaged", login.url),
            )
            .with_help(format!("'mantle login {}' writes it anew", login.url))
        })
}

fn by_data_dir(data: &Path) -> Result<Endpoint, Failure> {
    let shown = data.display();
    let file = ServerFile::read(data).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no server runs there".to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "this user may not read it; run the command as the server's user, or log in with \
                 an API key"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        Failure::new(
            Exit::Unreachable,
            format!("cannot find the server of the data directory {shown}: {why}"),
        )
        .with_help(format!("'mantle server run --data {shown}' starts it"))
    })?;
    let key = data.join(ADMIN_KEY_FILE);
    let token = match std::env::var("MANTLE_TOKEN") {
        Ok(token) if !token.trim().is_empty() => token,
        _ => std::fs::read_to_string(&key).map_err(|error| {
            Failure::new(
                Exit::Forbidden,
                format!(
                    "the administrator's key {} cannot be read: {error}",
                    key.display()
                ),
            )
            .with_help(format!(
                "run the command as the server's user, or 'mantle login {}'",
                file.url
            ))
        })?,
    };
    let trust = match &file.ca_pem {
        Some(pem) => Trust::Authority(pem_to_der(pem.as_bytes(), "server.json")?),
        None => Trust::System,
    };
    Ok(Endpoint {
        url: file.url,
        trust,
        token: Some(token.trim().to_owned()),
    })
}

/// Where the authority's certificate is to be had.
const AUTHORITY_HELP: &str = "set MANTLE_CA_FILE to a copy of 'ca.crt' from the server's data directory, or use 'mantle login URL'";

fn read_pem(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        Failure {
            exit: Exit::Invalid,
            ..Failure::io(&format!("MANTLE_CA_FILE: cannot read {shown}"), &error)
        }
        .with_help(AUTHORITY_HELP)
    })?;
    pem_to_der(&bytes, &shown)
}

fn pem_to_der(pem: &[u8], name: &str) -> Result<Vec<u8>, Failure> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem)
        .map(|der| der.to_vec())
        .map_err(|_| {
            Failure::new(
                Exit::Invalid,
                format!("{name} holds no certificate in PEM form"),
            )
            .with_help(AUTHORITY_HELP)
        })
}

/// The data directory when none is named: the machine's for root, else the user's.
pub fn default_data_dir() -> PathBuf {
    let system = PathBuf::from("/var/lib/mantle");
    if cfg!(unix)
        && system
            .join(super::super::app::data_dir::SERVER_FILE)
            .is_file()
    {
        return system;
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()) {
        return PathBuf::from(data).join("mantle");
    }
    match home() {
        Some(home) if home != Path::new("/root") => home.join(".local/share/mantle"),
        _ => system,
    }
}

/// Where logins are stored.
pub fn login_file() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("APPDATA").map(PathBuf::from))
        .or_else(|| home().map(|home| home.join(".config")));
    folder
        .map(|folder| folder.join("mantle").join("login.json"))
        .ok_or_else(|| {
            Failure::new(
                Exit::Internal,
                "there is no home directory to keep logins in",
            )
            .with_help("set HOME, or use MANTLE_URL and MANTLE_TOKEN")
        })
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// The stored login, if there is one.
pub fn read_login() -> Result<Option<Login>, Failure> {
    let Ok(path) = login_file() else {
        return Ok(None);
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::io(
                &format!("cannot read {}", path.display()),
                &error,
            ));
        }
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| {
        Failure::new(
            Exit::Internal,
            format!("the stored login {} is damaged", path.display()),
        )
        .with_help("'mantle logout' removes it, 'mantle login URL' writes it anew")
    })
}

/// Stores a login, readable by its owner alone.
pub fn write_login(login: &Login) -> Result<PathBuf, Failure> {
    let path = login_file()?;
    let failed =
        |error: std::io::Error| Failure::io(&format!("cannot write {}", path.display()), &error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let bytes = serde_json::to_vec_pretty(login)
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    write_private(&path, &bytes).map_err(failed)?;
    Ok(path)
}

/// An authority as it is stored.
pub fn encode_authority(trust: &Trust) -> Option<String> {
    match trust {
        Trust::System => None,
        Trust::Authority(der) => Some(STANDARD.encode(der)),
    }
}
