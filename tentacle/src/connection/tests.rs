//! The connection against a server in the same process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod server;
mod work;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use mantle_shared::protocol::{EchoAnswer, EnrolRefusal, Message};
use mantle_shared::tls::{Fingerprint, SERVER_NAME};
use tempfile::TempDir;

use super::*;
use crate::cli::Failure;
use crate::cli::join::{self, JoinArgs};
use crate::identity::Identity;
use crate::state_dir::StateDir;
use server::{Authority, Enrolment, TestServer, soon};

fn quick() -> Timing {
    Timing {
        idle_timeout: Duration::from_secs(5),
        keepalive: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(5),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(50),
        ..Timing::default()
    }
}

fn join_args(server: &TestServer, token: &str) -> JoinArgs {
    JoinArgs::for_tests(&server.address.to_string(), token, "web01")
}

struct Joined {
    result: Result<(), Failure>,
    said: String,
    data: TempDir,
}

async fn join_with(args: JoinArgs, data: TempDir) -> Joined {
    let state = StateDir::at(data.path());
    let mut said = Vec::new();
    let result = soon(join::join(&args, &state, &quick(), &mut said)).await;
    Joined {
        result,
        said: String::from_utf8(said).unwrap(),
        data,
    }
}

#[tokio::test]
async fn joining_enrols_proves_a_round_trip_and_keeps_the_identity() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let args = join_args(&server, &server.token().to_string());
    let serve = async {
        let _enrolment = server.enrol(Enrolment::Accept).await;
        let mut session = server.welcome().await;
        let Message::Echo(echo) = session.next().await else {
            panic!("a probe sends an echo");
        };
        session
            .say(EchoAnswer {
                request: echo.request,
                payload: echo.payload,
            })
            .await;
        session.connection.closed().await;
    };
    let (joined, ()) = tokio::join!(join_with(args, tempfile::tempdir().unwrap()), soon(serve));
    joined.result.unwrap();
    assert!(!joined.said.contains('✘'), "{}", joined.said);
    assert_eq!(joined.said.matches('✔').count(), 8, "{}", joined.said);
    let start = format!(
        "Start the agent: tentacle run --data {}",
        joined.data.path().display()
    );
    assert!(joined.said.contains(&start), "{}", joined.said);
    let identity = Identity::load(joined.data.path()).unwrap();
    assert_eq!(identity.name, "web01");
    assert_eq!(identity.authority_fingerprint(), server.authority.pin());

    // Again: refused with what to type, before anything is sent.
    let again = join_with(join_args(&server, &server.token().to_string()), joined.data).await;
    let failure = again.result.unwrap_err();
    assert_eq!(failure.code, join::EXIT_REFUSED);
    assert!(failure.message.contains("--force"), "{}", failure.message);
    assert_eq!(server.seen.lock().unwrap().enrolments, 1);
}

#[tokio::test]
async fn a_refused_token_says_why_and_leaves_nothing() {
    for (reason, word) in [
        (EnrolRefusal::TokenExpired, "expired"),
        (EnrolRefusal::TokenUsed, "used already"),
        (EnrolRefusal::TokenUnknown, "does not know this token"),
        (EnrolRefusal::TokenRevoked, "revoked"),
    ] {
        let server = TestServer::start(Arc::new(Authority::new()));
        let args = join_args(&server, &server.token().to_string());
        let (joined, _connection) = tokio::join!(
            join_with(args, tempfile::tempdir().unwrap()),
            server.enrol(Enrolment::Refuse(reason))
        );
        let failure = joined.result.unwrap_err();
        assert_eq!(failure.code, join::EXIT_FORBIDDEN);
        assert!(failure.message.contains(word), "{}", failure.message);
        assert!(failure.message.contains("mantle agent token create"));
        assert!(joined.said.contains("✘ token"), "{}", joined.said);
        let left = std::fs::read_dir(joined.data.path()).unwrap().count();
        assert_eq!(left, 0, "a refused join left something behind");
    }
}

#[tokio::test]
async fn a_forged_secret_is_refused() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut token = server.token();
    token.secret = [8; 32];
    let args = join_args(&server, &token.to_string());
    let (joined, _connection) = tokio::join!(
        join_with(args, tempfile::tempdir().unwrap()),
        server.enrol(Enrolment::Accept)
    );
    assert_eq!(joined.result.unwrap_err().code, join::EXIT_FORBIDDEN);
}

#[tokio::test]
async fn a_server_of_another_authority_is_sent_no_token() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let mut token = server.token();
    token.pin = Fingerprint::from_bytes([1; 32]);
    let args = join_args(&server, &token.to_string());
    let refuse = async {
        let incoming = soon(server.endpoint.accept()).await.unwrap();
        assert!(incoming.await.is_err(), "the agent ends the handshake");
    };
    let (joined, ()) = tokio::join!(join_with(args, tempfile::tempdir().unwrap()), refuse);
    let failure = joined.result.unwrap_err();
    assert_eq!(failure.code, join::EXIT_FORBIDDEN);
    assert!(failure.message.contains(&token.pin.to_string()));
    assert!(
        failure
            .message
            .contains(&server.authority.pin().to_string()),
        "{}",
        failure.message
    );
    assert_eq!(server.seen.lock().unwrap().enrolments, 0);
}

#[tokio::test]
async fn the_right_authority_with_another_name_is_refused() {
    let server = TestServer::start_named(Arc::new(Authority::new()), "other.mantle.internal");
    let address = server.address.to_string().parse().unwrap();
    let (timing, sockets) = (quick(), Sockets::own());
    let (dialled, ()) = tokio::join!(
        probe_enrolment(&address, server.authority.pin(), &timing, &sockets),
        async {
            let _ = soon(server.endpoint.accept()).await.unwrap().await;
        }
    );
    assert!(
        matches!(dialled, Err(DialError::Certificate { .. })),
        "{dialled:?}, the only name is {SERVER_NAME}"
    );
}

#[tokio::test]
async fn blocked_udp_is_told_from_a_server_that_is_down() {
    let timing = Timing {
        connect_timeout: Duration::from_millis(300),
        ..quick()
    };
    let token = TestServer::start(Arc::new(Authority::new()))
        .token()
        .to_string();
    // Nobody reads this socket: what a firewall that drops UDP looks like.
    let black_hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = black_hole.local_addr().unwrap();
    let tell = async |args: JoinArgs| {
        let data = tempfile::tempdir().unwrap();
        let mut said = Vec::new();
        let state = StateDir::at(data.path());
        soon(join::join(&args, &state, &timing, &mut said))
            .await
            .unwrap_err()
    };
    let down = tell(JoinArgs::for_tests(&address.to_string(), &token, "x")).await;
    assert_eq!(down.code, crate::cli::EXIT_UNREACHABLE);
    assert!(
        down.message.contains("nothing listens on TCP"),
        "{}",
        down.message
    );

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let blocked = tell(JoinArgs::for_tests(&address.to_string(), &token, "x")).await;
    assert_eq!(blocked.code, crate::cli::EXIT_UNREACHABLE);
    assert!(
        blocked.message.contains("UDP is blocked"),
        "{}",
        blocked.message
    );
    drop(listener);
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_named() {
    let token = TestServer::start(Arc::new(Authority::new()))
        .token()
        .to_string();
    let args = JoinArgs::for_tests("no-such-host.invalid:7443", &token, "x");
    let joined = join_with(args, tempfile::tempdir().unwrap()).await;
    let failure = joined.result.unwrap_err();
    assert_eq!(failure.code, crate::cli::EXIT_UNREACHABLE);
    assert!(failure.message.contains("no-such-host.invalid"));
}

#[tokio::test]
async fn the_plain_socket_carries_a_connection() {
    let server = TestServer::start(Arc::new(Authority::new()));
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.set_nonblocking(true).unwrap();
    let endpoint = quinn::Endpoint::new_with_abstract_socket(
        quinn::EndpointConfig::default(),
        None,
        Arc::new(plain_udp::PlainUdp::new(socket).unwrap()),
        Arc::new(quinn::TokioRuntime),
    )
    .unwrap();
    let verdict = tls::VerdictCell::default();
    let crypto = tls::enrol(server.authority.pin(), verdict).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let dial = async {
        let connection = endpoint
            .connect_with(config, server.address, SERVER_NAME)
            .unwrap()
            .await
            .unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let sent = vec![42_u8; 300_000];
        let ((), got) = tokio::join!(
            async {
                send.write_all(&sent).await.unwrap();
                send.finish().unwrap();
            },
            recv.read_to_end(1 << 20)
        );
        assert_eq!(got.unwrap(), sent);
    };
    let echo = async {
        let connection = server.accept(mantle_shared::tls::ALPN_ENROL).await;
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        let all = recv.read_to_end(1 << 20).await.unwrap();
        send.write_all(&all).await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    };
    soon(async {
        tokio::select! {
            () = dial => {}
            () = echo => panic!("the server ended first"),
        }
    })
    .await;
}
