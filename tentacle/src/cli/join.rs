//! `tentacle join`: makes this machine an agent of a server, and proves it before it says so.
//!
//! Each check prints a tick, or a cross with the precise reason. Nothing is kept unless the last
//! check passed: the key and the certificate live in memory until a round trip over a real work
//! connection was made.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mantle_shared::Digest;
use mantle_shared::protocol::{EnrolAccepted, EnrolRefusal, EnrolRequest};
use mantle_shared::tls::Fingerprint;
use mantle_shared::token::JoinToken;

use super::{EXIT_INTERNAL, EXIT_UNREACHABLE, EXIT_USAGE, Failure, joined_service};
use crate::connection::{
    self, DialError, Dialled, EnrolError, ProbeError, ServerAddress, Sockets, Timing,
};
use crate::durable;
use crate::identity::{self, Enrolled, Identity, NewKey};
use crate::link::HelloFacts;
use crate::service::Profile;
use crate::settings;
use crate::state_dir::StateDir;

/// The server does not let this machine in.
pub const EXIT_FORBIDDEN: u8 = 4;
/// The machine has joined already.
pub use super::EXIT_REFUSED;

/// How often the first work connection is tried: the token is spent by then, so a lost packet must
/// not waste it.
const ROUND_TRIP_TRIES: u32 = 3;
/// How long the TCP port is given when UDP did not answer.
const TCP_PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// From here on a clock's deviation is worth a warning: certificates are backdated by an hour.
const CLOCK_WARNING_US: u64 = 5 * 60 * 1_000_000;

/// What `tentacle join` takes.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The server's address; the port is 7443 unless given.
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// The join token, made by 'mantle agent token create'.
    #[arg(long, env = "TENTACLE_TOKEN", hide_env_values = true)]
    token: String,
    /// The target's name; this machine's host name unless given.
    #[arg(long)]
    name: Option<String>,
    /// A tag that the target should have; may be given again.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// An environment that the target should be in; may be given again.
    #[arg(long = "environment", short = 'e', value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// The root of installed versions, such as what web servers serve.
    #[arg(long, value_name = "DIR", env = "TENTACLE_APPS")]
    apps: Option<PathBuf>,
    /// Join anew although this machine has an identity; it is replaced at the end.
    #[arg(long)]
    force: bool,
    /// Then installs the agent as a service and starts it. A machine that has joined this server already
    /// keeps its identity, so the same line may be typed again.
    #[arg(long)]
    install: bool,
    /// How much of the machine the service and its steps may touch.
    #[arg(long, value_enum, default_value = "full", requires = "install")]
    profile: Profile,
}

impl JoinArgs {
    #[cfg(test)]
    pub(crate) fn for_tests(server: &str, token: &str, name: &str) -> Self {
        Self {
            server: server.to_owned(),
            token: token.to_owned(),
            name: Some(name.to_owned()),
            tags: Vec::new(),
            environments: Vec::new(),
            apps: None,
            force: false,
            install: false,
            profile: Profile::Full,
        }
    }
}

/// Joins. The identity is kept only if everything worked.
pub fn run(args: &JoinArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?;
    let timing = Timing::from_environment();
    let out = &mut std::io::stdout();
    if !args.install {
        return runtime.block_on(join(args, state_dir, &timing, out));
    }
    // What would fail at the end must not cost a token first.
    joined_service::check(args.profile, state_dir)?;
    if let Some(name) = joined_before(args, state_dir)? {
        tick(
            out,
            format_args!("{name} has joined this server already; --force would join anew"),
        );
        keep_apps(out, args, state_dir)?;
    } else {
        runtime.block_on(join(args, state_dir, &timing, out))?;
    }
    // What follows asks the system, in a runtime of its own.
    drop(runtime);
    joined_service::start(args.profile, state_dir, &mut |text| tick(out, text))
}

/// The name under which this machine is an agent of the very server that made the token, unless it is
/// to join anew.
fn joined_before(args: &JoinArgs, state_dir: &StateDir) -> Result<Option<String>, Failure> {
    let token: JoinToken = args
        .token
        .parse()
        .map_err(|error| Failure::from_error(EXIT_USAGE, &error))?;
    let identity = Identity::load(state_dir.root()).ok();
    Ok(identity
        .filter(|identity| !args.force && identity.authority_fingerprint() == token.pin)
        .map(|identity| identity.name))
}

/// Joins, saying each check to `out`.
pub(crate) async fn join(
    args: &JoinArgs,
    state_dir: &StateDir,
    timing: &Timing,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let server: ServerAddress = args
        .server
        .parse()
        .map_err(|error| Failure::from_error(EXIT_USAGE, &error))?;
    let token: JoinToken = args
        .token
        .parse()
        .map_err(|error| Failure::from_error(EXIT_USAGE, &error))?;
    let name = args.name.clone().unwrap_or_else(connection::host_name);
    if name.trim().is_empty() {
        return Err(Failure::new(
            EXIT_USAGE,
            "this machine has no host name; say how the target is to be called with --name",
        ));
    }
    let anew = Identity::exists(state_dir.root());
    let missing = durable::missing([state_dir.identity().as_path()]);
    let joined = prove(args, state_dir, timing, &server, &token, name, out).await;
    let enrolled = joined.inspect_err(|_| durable::remove_empty(&missing))?;
    keep_apps(out, args, state_dir)?;
    let next = if args.install {
        String::new()
    } else {
        next_command(state_dir, anew)
    };
    say(
        out,
        format_args!("\n{} has joined {server}. {next}", enrolled.name),
    );
    Ok(())
}

/// What to type after a join.
fn next_command(state_dir: &StateDir, anew: bool) -> String {
    let root = state_dir.root();
    let data = if root == StateDir::default_root() {
        String::new()
    } else if root.to_string_lossy().contains(char::is_whitespace) {
        format!(" --data \"{}\"", root.display())
    } else {
        format!(" --data {}", root.display())
    };
    let run = format!("tentacle run{data}");
    if anew {
        format!("An agent that runs already must be restarted to use the new identity: {run}")
    } else {
        format!("Start the agent: {run}; or as a service: tentacle service install{data}")
    }
}

/// All checks, and the identity kept.
async fn prove(
    args: &JoinArgs,
    state_dir: &StateDir,
    timing: &Timing,
    server: &ServerAddress,
    token: &JoinToken,
    name: String,
    out: &mut dyn Write,
) -> Result<Enrolled, Failure> {
    check_folder(out, args, state_dir)?;
    check_name(out, server).await?;
    let dialled = check_reachable(out, server, token.pin, timing).await?;
    let key = NewKey::generate().map_err(|error| Failure::from_error(EXIT_INTERNAL, &error))?;
    let accepted = check_token(out, args, token, name, &key, &dialled, timing).await?;
    dialled.endpoint.close(0_u32.into(), b"");
    let enrolled = Enrolled {
        agent: accepted.agent,
        name: accepted.name.clone(),
        servers: vec![server.to_string()],
        certificate: accepted.certificate,
        authority: accepted.authority,
        not_after_us: accepted.not_after_us,
    };
    tick(
        out,
        format_args!(
            "certificate issued: agent {}, until {}",
            enrolled.agent,
            moment(enrolled.not_after_us)
        ),
    );
    check_round_trip(out, server, &Identity::unsaved(&key, &enrolled), timing).await?;
    identity::save(state_dir.root(), &key, &enrolled).map_err(|error| {
        cross(out, "identity kept");
        Failure::from_error(EXIT_INTERNAL, &error)
    })?;
    tick(
        out,
        format_args!("identity kept in {}", state_dir.identity().display()),
    );
    Ok(enrolled)
}

/// Keeps where installed versions go, if it was said; otherwise the agent settles it when it runs.
fn keep_apps(out: &mut dyn Write, args: &JoinArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let Some(said) = &args.apps else {
        return Ok(());
    };
    let kept = settings::settle(state_dir, Some(said))
        .and_then(|apps| settings::create(&apps.path).map(|()| apps));
    match kept {
        Ok(apps) => {
            tick(
                out,
                format_args!("installed versions go to {}", apps.path.display()),
            );
            Ok(())
        }
        Err(error) => {
            cross(out, "folder of installed versions");
            let mut failure = Failure::from_error(EXIT_INTERNAL, &error);
            failure.add("\n  the machine has joined; say where installed versions go with 'tentacle run --apps DIR'");
            Err(failure)
        }
    }
}

fn check_folder(out: &mut dyn Write, args: &JoinArgs, state_dir: &StateDir) -> Result<(), Failure> {
    let root = state_dir.root();
    if Identity::exists(root) && !args.force {
        cross(out, "not joined yet");
        let who = Identity::load(root).map_or_else(
            |_| "has an identity (which cannot be read)".to_owned(),
            |identity| {
                format!(
                    "has joined {} as '{}'",
                    identity.servers.join(", "),
                    identity.name
                )
            },
        );
        return Err(Failure::new(
            EXIT_REFUSED,
            format!(
                "the agent in {} {who}; to join anew and replace that identity, type the same command with --force",
                root.display()
            ),
        ));
    }
    if let Some(apps) = &args.apps {
        let apps = std::path::absolute(apps).unwrap_or_else(|_| apps.clone());
        settings::check(state_dir, &apps).map_err(|error| {
            cross(out, "folder of installed versions");
            Failure::from_error(EXIT_USAGE, &error)
        })?;
    }
    identity::prepare(root).map_err(|error| {
        cross(out, "data folder writable");
        let mut failure = Failure::from_error(EXIT_INTERNAL, &error);
        failure.add("; run as a user who may write there, or name another folder with --data");
        failure
    })?;
    tick(out, format_args!("data folder {} writable", root.display()));
    Ok(())
}

async fn check_name(out: &mut dyn Write, server: &ServerAddress) -> Result<(), Failure> {
    match server.resolve().await {
        Ok(addresses) => {
            let shown: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
            // An address that was given as such needs no look-up, and says so once.
            if shown == [server.host.as_str()] {
                tick(out, format_args!("address: {}", server.host));
            } else {
                tick(
                    out,
                    format_args!("name: {} is {}", server.host, shown.join(", ")),
                );
            }
            Ok(())
        }
        Err(error) => {
            cross(out, format_args!("name: {}", server.host));
            let mut failure = Failure::from_error(EXIT_UNREACHABLE, &error);
            failure.add(format_args!(
                "; check the name in --server, or try 'getent hosts {}' on this machine",
                server.host
            ));
            Err(failure)
        }
    }
}

async fn check_reachable(
    out: &mut dyn Write,
    server: &ServerAddress,
    pin: Fingerprint,
    timing: &Timing,
) -> Result<Dialled, Failure> {
    match connection::probe_enrolment(server, pin, timing, &Sockets::own()).await {
        Ok(dialled) => {
            tick(
                out,
                format_args!(
                    "UDP: {} answers over QUIC",
                    dialled.connection.remote_address()
                ),
            );
            tick(
                out,
                format_args!("server's authority is the token's: {pin}"),
            );
            Ok(dialled)
        }
        Err(error) => Err(explain_dial(out, server, error).await),
    }
}

async fn explain_dial(out: &mut dyn Write, server: &ServerAddress, error: DialError) -> Failure {
    match &error {
        DialError::NoAnswer { address, .. } => {
            cross(out, format_args!("UDP: {address} does not answer"));
            let found = tcp_says(*address).await;
            let mut failure = Failure::from_error(EXIT_UNREACHABLE, &error);
            failure.add(found);
            failure
        }
        DialError::WrongAuthority { expected, got, .. } => {
            tick(out, format_args!("UDP: {server} answers over QUIC"));
            cross(out, "server's authority is the token's");
            Failure::new(
                EXIT_FORBIDDEN,
                format!(
                    "{server} is not the server that made this token, so the token was not sent\n  \
                     expected authority {expected}\n  \
                     got                {got}\n  \
                     help: make a token on that server with 'mantle agent token create', or correct --server; \
                     if neither is wrong, somebody answers in the server's place"
                ),
            )
        }
        DialError::Clock { .. } | DialError::Certificate { .. } => {
            tick(out, format_args!("UDP: {server} answers over QUIC"));
            cross(out, "server's certificate");
            Failure::from_error(EXIT_FORBIDDEN, &error)
        }
        DialError::Resolve(_)
        | DialError::OtherProtocol { .. }
        | DialError::Refused { .. }
        | DialError::Socket { .. }
        | DialError::Tls(_) => {
            cross(out, format_args!("UDP: {server}"));
            Failure::from_error(EXIT_UNREACHABLE, &error)
        }
    }
}

/// What the same port says over TCP, where the server has its API: this tells a firewall that
/// drops UDP from a server that is down.
async fn tcp_says(address: SocketAddr) -> String {
    let port = address.port();
    let connecting = tokio::net::TcpStream::connect(address);
    match tokio::time::timeout(TCP_PROBE_TIMEOUT, connecting).await {
        Ok(Ok(_stream)) => format!(
            "\n  the same port answers over TCP, so the server is up and UDP is blocked: \
             allow UDP port {port} from this machine to {}\n  \
             look on the server: 'ss -lun sport = :{port}' shows whether it listens, 'nft list ruleset' what the firewall does",
            address.ip()
        ),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => format!(
            "\n  the machine is up but nothing listens on TCP port {port} either: is the server running there? \
             type 'mantle server run' on it, or correct --server"
        ),
        Ok(Err(_)) | Err(_) => format!(
            "\n  TCP port {port} does not answer either: the machine is down, the address is wrong, or a firewall drops both; \
             try 'ping {}'",
            address.ip()
        ),
    }
}

async fn check_token(
    out: &mut dyn Write,
    args: &JoinArgs,
    token: &JoinToken,
    name: String,
    key: &NewKey,
    dialled: &Dialled,
    timing: &Timing,
) -> Result<EnrolAccepted, Failure> {
    let internal = |error: identity::NewKeyError| Failure::from_error(EXIT_INTERNAL, &error);
    let request = EnrolRequest {
        token_id: *token.id.as_bytes(),
        token_secret: token.secret,
        signing_request: key.signing_request(&name).map_err(internal)?,
        name: name.clone(),
        tags: args.tags.clone(),
        environments: args.environments.clone(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    match connection::enrol(dialled, request, token.pin, key.public_key(), timing).await {
        Ok(accepted) => {
            tick(
                out,
                format_args!("token accepted: this machine is '{}'", accepted.name),
            );
            Ok(accepted)
        }
        Err(EnrolError::Refused(refused)) => {
            cross(out, "token accepted");
            let (code, next) = after_refusal(refused.reason, &name);
            Err(Failure::new(
                code,
                format!(
                    "the server refuses: {}\n  help: {next}; nothing was changed on this machine",
                    refused.message
                ),
            ))
        }
        Err(error) => {
            cross(out, "token accepted");
            Err(Failure::from_error(EXIT_UNREACHABLE, &error))
        }
    }
}

/// The exit code of a refusal and what to do about it.
fn after_refusal(reason: EnrolRefusal, name: &str) -> (u8, String) {
    let new_token = "make a new token on the server: 'mantle agent token create'";
    match reason {
        EnrolRefusal::TokenUnknown => (
            EXIT_FORBIDDEN,
            format!(
                "the server does not know this token or its secret is wrong; copy the whole line again, or {new_token}"
            ),
        ),
        EnrolRefusal::TokenUsed => (
            EXIT_FORBIDDEN,
            format!("the token was used already; {new_token}"),
        ),
        EnrolRefusal::TokenExpired => (
            EXIT_FORBIDDEN,
            format!("the token has expired; {new_token}"),
        ),
        EnrolRefusal::TokenRevoked => (
            EXIT_FORBIDDEN,
            format!("the token was revoked; {new_token}"),
        ),
        EnrolRefusal::NameTaken => (
            EXIT_REFUSED,
            format!(
                "choose another name with --name, or free this one: 'mantle target remove {name}'"
            ),
        ),
        EnrolRefusal::NotAllowed => (
            EXIT_REFUSED,
            "correct --name, --tag or --environment, or make a token that allows them".to_owned(),
        ),
        EnrolRefusal::BadRequest => (
            EXIT_INTERNAL,
            "agent and server do not understand each other; install the same version on both"
                .to_owned(),
        ),
        EnrolRefusal::Busy => (
            EXIT_UNREACHABLE,
            "type the same command again in a minute".to_owned(),
        ),
    }
}

async fn check_round_trip(
    out: &mut dyn Write,
    server: &ServerAddress,
    identity: &Identity,
    timing: &Timing,
) -> Result<(), Failure> {
    let facts = HelloFacts {
        features: crate::actions::features(),
        boot_id: String::new(),
        highest_epoch: 0,
        journal: Digest::of(b""),
    };
    let mut last: Option<ProbeError> = None;
    for _ in 0..ROUND_TRIP_TRIES {
        match connection::round_trip(server, identity, &facts, timing).await {
            Ok(trip) => {
                tick(
                    out,
                    format_args!(
                        "round trip to {} (server {}): {:.1} ms",
                        trip.address,
                        trip.server_version,
                        trip.time.as_secs_f64() * 1000.0
                    ),
                );
                if trip.clock_ahead_us.unsigned_abs() > CLOCK_WARNING_US {
                    say(
                        out,
                        format_args!(
                            "! this machine's clock differs from the server's by {} s; set it, certificates depend on it",
                            trip.clock_ahead_us.unsigned_abs() / 1_000_000
                        ),
                    );
                }
                return Ok(());
            }
            Err(error) => last = Some(error),
        }
    }
    cross(out, "round trip");
    let mut failure = last.map_or_else(
        || Failure::new(EXIT_UNREACHABLE, "no round trip was tried"),
        |error| Failure::from_error(EXIT_UNREACHABLE, &error),
    );
    failure.add(format_args!(
        "\n  the server issued a certificate, but a work connection could not be proved, so nothing was kept here\n  \
         help: on the server type 'mantle target remove {}' and make a new token with 'mantle agent token create', then join again",
        identity.name
    ));
    Err(failure)
}

fn moment(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(
        |_| "an unknown time".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn tick(out: &mut dyn Write, text: impl Display) {
    say(out, format_args!("✔ {text}"));
}

fn cross(out: &mut dyn Write, text: impl Display) {
    say(out, format_args!("✘ {text}"));
}

fn say(out: &mut dyn Write, text: impl Display) {
    // Nobody is left to tell if standard output is closed.
    let _ = writeln!(out, "{text}");
}
