//! A small server in the same process: real certificates, real QUIC, behaviour by script.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mantle_shared::protocol::{
    CONTROL_LIMIT_BYTES, ENROL_LIMIT_BYTES, EnrolAccepted, EnrolRefusal, EnrolRefused, Hello,
    Message, Resynced, Welcome,
};
use mantle_shared::tls::{
    ALPN_ENROL, ALPN_WORK, Fingerprint, SERVER_NAME, agent_uri, crypto_provider,
};
use mantle_shared::token::JoinToken;
use mantle_shared::uuid::Uuid;
use mantle_shared::{AgentId, Digest};
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{Connection, Endpoint, SendStream, ServerConfig};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::super::framed::{self, Incoming, MessageReader};
use crate::identity::{self, Enrolled, NewKey};

/// What the server does with enrolments.
#[derive(Clone, Copy)]
pub(crate) enum Enrolment {
    Accept,
    Refuse(EnrolRefusal),
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(crate) fn pin(&self) -> Fingerprint {
        Fingerprint::of_der(&self.certificate)
    }

    fn server(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (certificate.der().clone(), key.into())
    }

    pub(crate) fn agent(&self, request: &[u8], agent: AgentId) -> CertificateDer<'static> {
        let mut request =
            CertificateSigningRequestParams::from_der(&request.to_vec().into()).unwrap();
        request.params.subject_alt_names =
            vec![SanType::URI(Ia5String::try_from(agent_uri(agent)).unwrap())];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = request.signed_by(&self.issuer).unwrap();
        certificate.der().clone()
    }
}

/// The server.
pub(crate) struct TestServer {
    pub(crate) authority: Arc<Authority>,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

/// What reached the server.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) enrolments: usize,
    pub(crate) names: Vec<String>,
}

impl TestServer {
    pub(crate) fn start(authority: Arc<Authority>) -> Self {
        Self::start_named(authority, SERVER_NAME)
    }

    pub(crate) fn start_named(authority: Arc<Authority>, name: &str) -> Self {
        let (certificate, key) = authority.server(name);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            crypto_provider(),
        )
        .allow_unauthenticated()
        .build()
        .unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate, authority.certificate.clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![ALPN_WORK.to_vec(), ALPN_ENROL.to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint =
            Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Self {
            authority,
            address: endpoint.local_addr().unwrap(),
            endpoint,
            seen: Arc::default(),
        }
    }

    pub(crate) fn token(&self) -> JoinToken {
        JoinToken {
            id: Uuid::from_u128(5),
            secret: [7; 32],
            pin: self.authority.pin(),
        }
    }

    /// An agent that this server's authority let in, kept in a folder.
    pub(crate) fn enrolled(&self, data: &Path) -> AgentId {
        let agent = AgentId::from_uuid(Uuid::now_v7());
        let key = NewKey::generate().unwrap();
        let certificate = self
            .authority
            .agent(&key.signing_request("web01").unwrap(), agent);
        let enrolled = Enrolled {
            agent,
            name: "web01".to_owned(),
            servers: vec![self.address.to_string()],
            certificate: certificate.to_vec(),
            authority: self.authority.certificate.to_vec(),
            not_after_us: i64::MAX,
        };
        identity::save(data, &key, &enrolled).unwrap();
        agent
    }

    /// The next connection that was made for this protocol.
    pub(crate) async fn accept(&self, alpn: &[u8]) -> Connection {
        loop {
            let incoming = soon(self.endpoint.accept()).await.unwrap();
            let Ok(connection) = incoming.await else {
                continue;
            };
            let data = connection.handshake_data().unwrap();
            let data = data.downcast::<HandshakeData>().unwrap();
            assert_eq!(data.protocol.as_deref(), Some(alpn));
            return connection;
        }
    }

    /// Accepts a work connection up to and with `Welcome`.
    pub(crate) async fn welcome(&self) -> ServerSession {
        let connection = self.accept(ALPN_WORK).await;
        assert!(
            connection.peer_identity().is_some(),
            "a certificate is shown"
        );
        let (mut send, recv) = soon(connection.accept_bi()).await.unwrap();
        let mut reader = MessageReader::new(recv, CONTROL_LIMIT_BYTES);
        let Message::Hello(hello) = next(&mut reader).await else {
            panic!("the first message is Hello");
        };
        let welcome = Welcome {
            protocol: 1,
            version: "9.9.9".to_owned(),
            now_us: jiff::Timestamp::now().as_microsecond(),
            epoch: 3,
        };
        framed::write(&mut send, &welcome.into()).await.unwrap();
        ServerSession {
            connection,
            send,
            reader,
            hello,
        }
    }

    /// Serves one enrolment.
    pub(crate) async fn enrol(&self, what: Enrolment) -> Connection {
        let connection = self.accept(ALPN_ENROL).await;
        assert!(connection.peer_identity().is_none());
        let (mut send, mut recv) = soon(connection.accept_bi()).await.unwrap();
        let message = soon(framed::read_one(&mut recv, ENROL_LIMIT_BYTES))
            .await
            .unwrap();
        let Message::EnrolRequest(request) = message else {
            panic!("an enrolment begins with its request");
        };
        {
            let mut seen = self.seen.lock().unwrap();
            seen.enrolments += 1;
            seen.names.push(request.name.clone());
        }
        let token = self.token();
        let answer: Message = match what {
            Enrolment::Accept if request.token_secret == token.secret => {
                let agent = AgentId::from_uuid(Uuid::now_v7());
                EnrolAccepted {
                    agent,
                    name: request.name,
                    certificate: self
                        .authority
                        .agent(&request.signing_request, agent)
                        .to_vec(),
                    authority: self.authority.certificate.to_vec(),
                    not_after_us: 1_900_000_000_000_000,
                }
                .into()
            }
            Enrolment::Accept => refusal(EnrolRefusal::TokenUnknown).into(),
            Enrolment::Refuse(reason) => refusal(reason).into(),
        };
        framed::write(&mut send, &answer).await.unwrap();
        send.finish().unwrap();
        connection
    }
}

fn refusal(reason: EnrolRefusal) -> EnrolRefused {
    EnrolRefused {
        reason,
        message: format!("because {reason:?}"),
    }
}

/// The server's end of a work connection.
pub(crate) struct ServerSession {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) reader: MessageReader,
    pub(crate) hello: Hello,
}

impl ServerSession {
    pub(crate) async fn next(&mut self) -> Message {
        next(&mut self.reader).await
    }

    pub(crate) async fn say(&mut self, message: impl Into<Message>) {
        framed::write(&mut self.send, &message.into())
            .await
            .unwrap();
    }

    /// Takes the agent's resync and says that it is through.
    pub(crate) async fn resync(&mut self) {
        let Message::Resync(resync) = self.next().await else {
            panic!("after Welcome comes Resync");
        };
        assert!(resync.last);
        self.say(Resynced {
            positions: vec![],
            last: true,
        })
        .await;
    }
}

pub(crate) async fn next(reader: &mut MessageReader) -> Message {
    match soon(reader.next()).await.unwrap().unwrap() {
        Incoming::Message(message) => *message,
        Incoming::Unknown(kind) => panic!("unknown message type {kind}"),
    }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("this should not take so long")
}

pub(crate) fn facts() -> crate::link::HelloFacts {
    crate::link::HelloFacts {
        features: vec!["action:script".to_owned()],
        boot_id: "boot".to_owned(),
        highest_epoch: 2,
        journal: Digest::of(b"journal"),
    }
}
