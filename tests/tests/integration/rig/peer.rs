//! Bare QUIC: for peers that say what no agent of ours would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mantle_shared::protocol::{
    Echo, Frame, FrameDecoder, Hello, MAX_PAYLOAD_BYTES, Message, PROTOCOL_MAX, PROTOCOL_MIN,
    Resync,
};
use mantle_shared::tls::{ALPN_WORK, SERVER_NAME, agent_uri, crypto_provider};
use mantle_shared::{AgentId, Digest};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{Home, SOON};

/// A certificate chain and its key.
pub struct Credentials {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// An agent's own.
    pub fn of(home: &Home) -> Self {
        let identity = home.identity();
        Self {
            chain: vec![identity.certificate.clone()],
            key: identity.private_key(),
        }
    }
}

/// A connection with a socket of its own.
pub struct Peer {
    /// The connection.
    pub connection: Connection,
    /// Where the server sees it.
    pub addr: SocketAddr,
    _endpoint: Endpoint,
}

impl Peer {
    /// What a peer trusts and shows.
    pub fn config(
        authority: &CertificateDer<'static>,
        alpn: &[&[u8]],
        credentials: Option<Credentials>,
    ) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match credentials {
            Some(Credentials { chain, key }) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }

    /// Dials. With TLS 1.3 this says nothing of what the server thinks of the certificate.
    pub async fn dial(addr: SocketAddr, config: ClientConfig) -> Result<Self, ConnectionError> {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let own = endpoint.local_addr().unwrap();
        let connecting = endpoint.connect_with(config, addr, SERVER_NAME).unwrap();
        let connection = within("a handshake", connecting).await?;
        Ok(Self {
            connection,
            addr: own,
            _endpoint: endpoint,
        })
    }

    /// Dials for work with an agent's own certificate, and reads no more than this much ahead.
    pub async fn with_window(home: &Home, addr: SocketAddr, window_bytes: u32) -> Self {
        let identity = home.identity();
        let credentials = Some(Credentials::of(home));
        let mut config = Self::config(&identity.authority, &[ALPN_WORK], credentials);
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(window_bytes.into());
        // Alive, but deaf.
        transport.keep_alive_interval(Some(Duration::from_secs(1)));
        config.transport_config(Arc::new(transport));
        Self::dial(addr, config).await.unwrap()
    }

    /// Dials for work with an agent's own certificate.
    pub async fn agent(home: &Home, addr: SocketAddr) -> Self {
        let identity = home.identity();
        let config = Self::config(
            &identity.authority,
            &[ALPN_WORK],
            Some(Credentials::of(home)),
        );
        Self::dial(addr, config).await.unwrap()
    }

    /// Dials with these credentials and gives the reason for which the server ends it.
    pub async fn refusal(addr: SocketAddr, config: ClientConfig) -> (ConnectionError, SocketAddr) {
        match Self::dial(addr, config).await {
            Ok(peer) => (
                within("the refusal", peer.connection.closed()).await,
                peer.addr,
            ),
            Err(error) => (error, addr),
        }
    }
}

/// A bidirectional stream on which frames travel.
pub struct Control {
    /// Our half.
    pub send: SendStream,
    /// The server's half.
    pub recv: RecvStream,
    decoder: FrameDecoder,
}

impl Control {
    /// Opens one.
    pub async fn open(connection: &Connection) -> Self {
        Self::over(connection.open_bi().await.unwrap())
    }

    fn over((send, recv): (SendStream, RecvStream)) -> Self {
        let decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
        Self {
            send,
            recv,
            decoder,
        }
    }

    /// Opens the control stream and goes through greeting and an empty resync.
    pub async fn greet(connection: &Connection) -> Self {
        let greeted = Self::try_greet(connection).await;
        greeted.expect("the server takes the agent in")
    }

    /// Opens the control stream and is welcomed; `None` if the connection ends before.
    pub async fn try_hello(connection: &Connection) -> Option<Self> {
        // A refusal may have come before the stream could be opened.
        let mut control = Self::over(connection.open_bi().await.ok()?);
        let greeting = Message::from(hello()).to_frame().unwrap();
        control.send.write_all(&greeting).await.ok()?;
        let welcome = Message::decode(&control.frame().await?).unwrap();
        assert!(matches!(welcome, Message::Welcome(_)));
        Some(control)
    }

    /// The same; `None` if the connection ends before the server has taken the agent in.
    pub async fn try_greet(connection: &Connection) -> Option<Self> {
        let mut control = Self::try_hello(connection).await?;
        let (reports, last) = (Vec::new(), true);
        let resync = Message::from(Resync { reports, last });
        let frame = resync.to_frame().unwrap();
        control.send.write_all(&frame).await.ok()?;
        let resynced = Message::decode(&control.frame().await?).unwrap();
        assert!(matches!(resynced, Message::Resynced(_)));
        Some(control)
    }

    /// Says a message.
    pub async fn say(&mut self, message: impl Into<Message>) {
        self.raw(&message.into().to_frame().unwrap()).await;
    }

    /// Says bytes.
    pub async fn raw(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    /// Asks for a round trip.
    pub async fn echo(&mut self) {
        let payload = b"round trip".to_vec();
        let request = 1;
        self.say(Echo { request, payload }).await;
        assert!(matches!(self.message().await, Message::EchoAnswer(_)));
    }

    /// The next frame; `None` when the stream or its connection is over.
    pub async fn frame(&mut self) -> Option<Frame> {
        within("a frame", async {
            loop {
                if let Some(frame) = self.decoder.next_frame().unwrap() {
                    return Some(frame);
                }
                match self.recv.read_chunk(64 * 1024, true).await {
                    Ok(Some(chunk)) => self.decoder.ingest(&chunk.bytes),
                    Ok(None) | Err(_) => return None,
                }
            }
        })
        .await
    }

    /// The next message.
    pub async fn message(&mut self) -> Message {
        let frame = self.frame().await.expect("the server says something");
        Message::decode(&frame).unwrap()
    }
}

/// The greeting of an agent.
pub fn hello() -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        version: "0.0.0".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        host_name: "peer".to_owned(),
        features: tentacle::actions::features(),
        boot_id: "boot".to_owned(),
        highest_epoch: 0,
        journal: Digest::of(b""),
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work)
        .await
        .unwrap_or_else(|_| panic!("waited {SOON:?} for: {what}"))
}

/// Makes certificates of an authority, right and wrong ones.
pub struct Mint {
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf to be made. The default is what an agent has.
pub struct Leaf {
    /// The agents that its names name.
    pub agents: Vec<AgentId>,
    /// What it is for.
    pub usage: ExtendedKeyUsagePurpose,
    /// Seconds from now.
    pub from_s: i64,
    /// Seconds from now.
    pub until_s: i64,
}

impl Leaf {
    /// As an agent's.
    pub fn of(agent: AgentId) -> Self {
        Self {
            agents: vec![agent],
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            from_s: -3600,
            until_s: 3600,
        }
    }
}

impl Mint {
    /// The authority of a server's data directory.
    pub fn of_server(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), key).unwrap();
        Self { issuer }
    }

    /// An authority that nobody knows.
    pub fn foreign() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = authority("Foreign").self_signed(&key).unwrap();
        let issuer = Issuer::from_ca_cert_der(certificate.der(), key).unwrap();
        Self { issuer }
    }

    /// Signs a leaf for this key.
    pub fn leaf(&self, leaf: Leaf, key: &KeyPair) -> Credentials {
        let mut params = CertificateParams::default();
        params.not_before = moment(leaf.from_s).into();
        params.not_after = moment(leaf.until_s).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![leaf.usage];
        params.subject_alt_names = leaf
            .agents
            .iter()
            .map(|agent| SanType::URI(agent_uri(*agent).try_into().unwrap()))
            .collect();
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Credentials {
            chain: vec![certificate.der().clone()],
            key: private(key),
        }
    }

    /// An authority below this one.
    pub fn below(&self) -> (Self, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = authority("Below").signed_by(&key, &self.issuer).unwrap();
        let der = certificate.der().clone();
        let issuer = Issuer::from_ca_cert_der(&der, key).unwrap();
        (Self { issuer }, der)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// The key of a pair, as TLS wants it.
pub fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

fn moment(seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::now() - by
    } else {
        SystemTime::now() + by
    }
}
