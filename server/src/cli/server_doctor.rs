//! `mantle server doctor`: what of this machine keeps agents and people from the server, or its data
//! from being safe.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use super::args::Global;
use super::connect::{connect, default_data_dir};
use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, size};
use crate::api::body::{Agent, ServerStatus, UdpBuffers};
use crate::app::server_file::ServerFile;

/// With less room neither packages nor logs are taken for long.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;
/// How often a datagram is sent, and how long each time an answer is waited for.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a TCP connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// What is the server's alone in its data directory.
const KEYS: [&str; 4] = ["master.key", "ca.key", "server.pem", "admin.key"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Good,
    Note,
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

fn check(what: &'static str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check {
        what,
        verdict,
        detail: detail.into(),
    }
}

/// Looks at everything.
pub(super) async fn doctor(global: &Global, out: Output) -> CliResult {
    let data = global.data.clone().unwrap_or_else(default_data_dir);
    let mut checks = vec![privacy(&data), room(&data)];
    match ServerFile::read(&data) {
        Ok(file) => {
            checks.push(name(&file).await);
            checks.push(udp(&file).await);
            checks.push(tcp(&file).await);
            let here = Global {
                data: Some(data),
                server: None,
                ..global.clone()
            };
            checks.extend(server(&here).await);
        }
        Err(error) => checks.push(check(
            "server",
            Verdict::Bad,
            format!(
                "no server runs with {} ({error}): 'mantle server run' starts it, 'journalctl -u mantle' shows why it ended",
                data.display()
            ),
        )),
    }
    out.list(&checks, &["", "check", "found"], |check| {
        let mark = match check.verdict {
            Verdict::Good => "\u{2714}",
            Verdict::Note => "-",
            Verdict::Bad => "\u{2718}",
        };
        vec![mark.to_owned(), check.what.to_owned(), check.detail.clone()]
    })?;
    let bad = checks.iter().filter(|check| check.verdict == Verdict::Bad);
    match bad.count() {
        0 => Ok(Exit::Success),
        bad => Err(Failure::new(
            Exit::Internal,
            format!("{bad} of {} checks failed", checks.len()),
        )),
    }
}

/// Whether others can read what lets them pose as the server.
#[cfg(unix)]
fn privacy(data: &Path) -> Check {
    use std::os::unix::fs::MetadataExt as _;
    const BY_OTHERS: u32 = 0o077;
    let what = "privacy";
    let all = std::iter::once(data.to_owned()).chain(KEYS.map(|name| data.join(name)));
    let mut open: Vec<String> = Vec::new();
    for path in all {
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.mode() & BY_OTHERS != 0 => {
                let mode = meta.mode() & 0o7777;
                let mend = if meta.is_dir() { "700" } else { "600" };
                let path = path.display();
                open.push(format!(
                    "{path} has the mode {mode:04o}; type 'chmod {mend} {path}'"
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let why = format!("{}: {error}; run it as the server's user", path.display());
                return check(what, Verdict::Bad, why);
            }
        }
    }
    if open.is_empty() {
        let detail = format!("{} and its keys are the server's alone", data.display());
        return check(what, Verdict::Good, detail);
    }
    check(what, Verdict::Bad, open.join("; "))
}

#[cfg(not(unix))]
fn privacy(_data: &Path) -> Check {
    check("privacy", Verdict::Note, "not looked at on this platform")
}

#[cfg(unix)]
fn room(data: &Path) -> Check {
    let what = "disk";
    let Ok(stat) = rustix::fs::statvfs(data) else {
        let detail = format!("the room in {} cannot be told", data.display());
        return check(what, Verdict::Note, detail);
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < LITTLE_ROOM_BYTES {
        let detail = format!(
            "only {} free: packages and logs will not fit for long; free some room, or keep less ('mantle retention run --dry-run')",
            size(free)
        );
        return check(what, Verdict::Bad, detail);
    }
    check(what, Verdict::Good, format!("{} free", size(free)))
}

#[cfg(not(unix))]
fn room(_data: &Path) -> Check {
    check("disk", Verdict::Note, "not looked at on this platform")
}

/// Whether the name that agents are given means something, and something that others can reach.
async fn name(file: &ServerFile) -> Check {
    let what = "name";
    let advertise = &file.advertise;
    match resolved(advertise).await {
        Ok(found) if found.iter().all(|address| address.ip().is_loopback()) => check(
            what,
            Verdict::Note,
            format!(
                "{advertise} is this machine alone: agents on others need --advertise HOST:PORT"
            ),
        ),
        Ok(found) => {
            let shown: Vec<_> = found
                .iter()
                .map(|address| address.ip().to_string())
                .collect();
            check(
                what,
                Verdict::Good,
                format!("{advertise} is {}", shown.join(", ")),
            )
        }
        Err(error) => check(
            what,
            Verdict::Bad,
            format!(
                "agents are told to dial {advertise}, which does not resolve here ({error}); set --advertise HOST:PORT (MANTLE_ADVERTISE)"
            ),
        ),
    }
}

async fn resolved(advertise: &str) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(CONNECT, lookup_host(advertise))
        .await
        .map_err(|_elapsed| io::Error::other("no answer in time"))??;
    Ok(found.collect())
}

/// Whether QUIC answers where agents dial. From this machine: a firewall in between is not seen.
async fn udp(file: &ServerFile) -> Check {
    let what = "agents (UDP)";
    let mut tried = Vec::new();
    for address in resolved(&file.advertise).await.unwrap_or_default() {
        if speaks_quic(address).await {
            let detail = format!("{} ({address}) answers over QUIC", file.advertise);
            return check(what, Verdict::Good, detail);
        }
        tried.push(address.to_string());
    }
    let here = local(file.quic);
    let detail = if speaks_quic(here).await {
        format!(
            "QUIC answers at {here}, but not at {} ({}): agents dial there; correct --advertise, or let UDP through ('nft list ruleset')",
            file.advertise,
            tried.join(", ")
        )
    } else {
        format!("nothing answers over QUIC at {here}: 'journalctl -u mantle' shows why")
    };
    check(what, Verdict::Bad, detail)
}

/// Whether a QUIC server listens: one that does answers a version that it does not know with those that
/// it does.
async fn speaks_quic(address: SocketAddr) -> bool {
    let exchange = async {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(address).await?;
        for _ in 0..TRIES {
            socket.send(&version_probe(rand::random())).await?;
            let mut answer = [0; 64];
            if let Ok(read) = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await
                && is_version_negotiation(answer.get(..read?).unwrap_or_default())
            {
                return Ok(true);
            }
        }
        Ok::<_, io::Error>(false)
    };
    exchange.await.unwrap_or(false)
}

/// A long header (RFC 9000, section 17.2) of a version that is reserved to be unknown, in a datagram as
/// long as a first one has to be.
fn version_probe(id: [u8; 8]) -> Vec<u8> {
    let mut datagram = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8];
    datagram.extend(id);
    datagram.push(8);
    datagram.extend(id);
    datagram.resize(1200, 0);
    datagram
}

/// Section 17.2.1: a long header of version 0.
fn is_version_negotiation(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 0, 0, 0, 0, ..] if first & 0x80 != 0)
}

/// Whether HTTPS listens where people and machines that join are sent.
async fn tcp(file: &ServerFile) -> Check {
    let what = "people (TCP)";
    let url = crate::app::advertised_url(&file.advertise, file.https.port(), file.quic.port());
    let place = url.trim_start_matches("https://");
    match tokio::time::timeout(CONNECT, TcpStream::connect(place)).await {
        Ok(Ok(_stream)) => check(what, Verdict::Good, format!("{url} listens")),
        Ok(Err(error)) => check(
            what,
            Verdict::Bad,
            format!("{url} cannot be reached from here: {error}"),
        ),
        Err(_elapsed) => check(
            what,
            Verdict::Bad,
            format!(
                "{url} does not answer from here: a firewall drops it, or the name is another machine's"
            ),
        ),
    }
}

/// What the server says of itself.
async fn server(global: &Global) -> Vec<Check> {
    let what = "server";
    let client = match connect(global) {
        Ok(client) => client,
        Err(failure) => return vec![check(what, Verdict::Bad, failure.message)],
    };
    let (status, agents) = (client.server_status().await, client.agents().await);
    match (status, agents) {
        (Ok(status), Ok(agents)) => vec![
            standing(&status),
            buffers(status.udp_buffers),
            connected(&agents.items),
        ],
        (Err(error), _) | (_, Err(error)) => {
            vec![check(
                what,
                Verdict::Bad,
                format!("it does not answer: {error}"),
            )]
        }
    }
}

fn standing(status: &ServerStatus) -> Check {
    let what = "server";
    if status.restored.is_some() {
        let detail = "it was restored from a backup and lets no agent in; 'mantle server recover' takes it into use";
        return check(what, Verdict::Bad, detail);
    }
    if !status.ahead.is_empty() {
        let detail = format!(
            "{} agents have seen more than it knows and are not let in; 'mantle server status' names them",
            status.ahead.len()
        );
        return check(what, Verdict::Bad, detail);
    }
    if !status.missing_packages.is_empty() {
        let detail = "packages have no content; 'mantle server status' names them";
        return check(what, Verdict::Bad, detail);
    }
    check(
        what,
        Verdict::Good,
        format!("version {} runs", status.version),
    )
}

/// Whether the kernel gave the QUIC socket the buffers that many agents need.
fn buffers(udp: UdpBuffers) -> Check {
    let what = "buffers (UDP)";
    let UdpBuffers {
        asked_bytes,
        receive_bytes,
        send_bytes,
    } = udp;
    if receive_bytes.min(send_bytes) >= asked_bytes {
        let detail = format!("{} in each direction", size(asked_bytes));
        return check(what, Verdict::Good, detail);
    }
    let mut limits = Vec::new();
    for (limit, granted) in [("rmem_max", receive_bytes), ("wmem_max", send_bytes)] {
        if granted < asked_bytes {
            limits.push(format!("net.core.{limit}={asked_bytes}"));
        }
    }
    let mend = if cfg!(target_os = "linux") {
        format!(
            "type 'sysctl -w {}' and start the server anew; a file in /etc/sysctl.d keeps it",
            limits.join(" ")
        )
    } else {
        "raise the system's limit and start the server anew".to_owned()
    };
    let detail = format!(
        "the kernel gives {} for what comes and {} for what leaves, of {} asked: with hundreds of agents packets are lost and steps start seconds late; {mend}",
        size(receive_bytes),
        size(send_bytes),
        size(asked_bytes)
    );
    check(what, Verdict::Note, detail)
}

fn connected(agents: &[Agent]) -> Check {
    let active: Vec<_> = agents
        .iter()
        .filter(|agent| agent.revoked_at.is_none())
        .collect();
    let online = active.iter().filter(|agent| agent.online).count();
    let detail = format!("{online} of {} are connected", active.len());
    let verdict = if online == active.len() {
        Verdict::Good
    } else {
        Verdict::Note
    };
    check("agents", verdict, detail)
}

/// Where this machine reaches an address that it listens on.
fn local(listens: SocketAddr) -> SocketAddr {
    let mut address = listens;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn a_quic_server_is_told_from_silence_and_from_anything_else() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let answers = tokio::spawn(async move {
            let mut datagram = [0; 2048];
            // The first try gets something else, the second the right answer.
            for answer in [&b"hello"[..], &[0x80, 0, 0, 0, 0, 0, 0]] {
                let (read, from) = socket.recv_from(&mut datagram).await.unwrap();
                assert_eq!(read, 1200);
                socket.send_to(answer, from).await.unwrap();
            }
        });
        assert!(speaks_quic(address).await);
        answers.await.unwrap();
        // Nobody listens there any more.
        assert!(!speaks_quic(address).await);
    }

    #[test]
    fn a_kernel_that_gives_less_is_told_with_the_limit_to_raise() {
        let asked_bytes = 4 << 20;
        let found = |receive_bytes, send_bytes| {
            buffers(UdpBuffers {
                asked_bytes,
                receive_bytes,
                send_bytes,
            })
        };
        let full = found(asked_bytes, asked_bytes);
        assert_eq!(full.verdict, Verdict::Good, "{}", full.detail);
        let small = found(212_992, asked_bytes);
        assert_eq!(small.verdict, Verdict::Note);
        if cfg!(target_os = "linux") {
            let mend = "'sysctl -w net.core.rmem_max=4194304'";
            assert!(small.detail.contains(mend), "{}", small.detail);
            assert!(
                found(1, 1)
                    .detail
                    .contains("rmem_max=4194304 net.core.wmem_max=4194304'")
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_others_can_read_are_named_with_what_to_type() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let closed = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir.path(), closed).unwrap();
        let key = dir.path().join("ca.key");
        std::fs::write(&key, "").unwrap();
        for (mode, verdict) in [(0o600, Verdict::Good), (0o640, Verdict::Bad)] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = privacy(dir.path());
            assert_eq!(found.verdict, verdict, "{}", found.detail);
        }
        let mend = format!("chmod 600 {}", key.display());
        assert!(privacy(dir.path()).detail.contains(&mend));
    }
}
