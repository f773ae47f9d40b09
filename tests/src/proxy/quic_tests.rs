//! The proxy under real QUIC: a perfect line must look perfect, and faults must be survivable, or
//! every test over it would measure the proxy.

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TransportConfig};

use super::*;

const DEADLINE: Duration = Duration::from_mins(1);
const ALPN: &[u8] = b"proxy-test/1";

struct Pair {
    proxy: Proxy,
    client: Connection,
    server: Connection,
    _endpoints: (Endpoint, Endpoint),
}

/// With socket buffers as large as the proxy's: what the kernel drops is not the proxy's doing.
fn endpoint(config: Option<ServerConfig>) -> Endpoint {
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new(
        EndpointConfig::default(),
        config,
        bind_std().unwrap(),
        runtime,
    )
    .unwrap()
}

async fn pair() -> Pair {
    let provider = mantle_shared::tls::crypto_provider();
    let certified = rcgen::generate_simple_self_signed(["server.test".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let versions = [&rustls::version::TLS13];
    let mut server_tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.unwrap())
        .unwrap();
    server_tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client_tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client_tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(500)));
    let transport = Arc::new(transport);
    let mut server_config =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server_tls).unwrap()));
    server_config.transport_config(Arc::clone(&transport));
    let mut client_config =
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(client_tls).unwrap()));
    client_config.transport_config(transport);

    let listener = endpoint(Some(server_config));
    let proxy = Proxy::start(listener.local_addr().unwrap(), 7).unwrap();
    let mut dialler = endpoint(None);
    dialler.set_default_client_config(client_config);
    let accept = async { listener.accept().await.unwrap().await.unwrap() };
    let dial = async {
        let connecting = dialler.connect(proxy.addr(), "server.test").unwrap();
        connecting.await.unwrap()
    };
    let (server, client) = tokio::join!(accept, dial);
    Pair {
        proxy,
        client,
        server,
        _endpoints: (listener, dialler),
    }
}

/// Sends this many bytes from the server to the client and gives how long it took.
async fn push(pair: &Pair, bytes: usize) -> Duration {
    let start = tokio::time::Instant::now();
    let send = async {
        let mut stream = pair.server.open_uni().await.unwrap();
        stream.write_all(&vec![7; bytes]).await.unwrap();
        stream.finish().unwrap();
        stream
    };
    let receive = async {
        let mut stream = pair.client.accept_uni().await.unwrap();
        stream.read_to_end(bytes).await.unwrap().len()
    };
    let (_sent, received) = tokio::time::timeout(DEADLINE, async { tokio::join!(send, receive) })
        .await
        .expect("the transfer ends");
    assert_eq!(received, bytes);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_perfect_line_loses_nothing_under_a_push() {
    let pair = pair().await;
    push(&pair, 16 << 20).await;
    let path = pair.server.stats().path;
    let share = path.lost_packets as f64 / path.sent_packets.max(1) as f64;
    assert_eq!(pair.proxy.counts(Direction::ToClient).dropped, 0);
    // A full socket buffer may drop a few; reordering would show as several per cent.
    assert!(
        share < 0.02,
        "{} of {} lost",
        path.lost_packets,
        path.sent_packets
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_survives_loss_delay_late_tails_and_a_small_mtu() {
    let pair = pair().await;
    pair.proxy.loss(0.02);
    pair.proxy.delay(Duration::from_millis(5));
    push(&pair, 256 << 10).await;
    assert!(pair.proxy.counts(Direction::ToClient).dropped > 0);
    pair.proxy.pass();
    pair.proxy.tail_late(Duration::from_millis(50));
    push(&pair, 256 << 10).await;
    pair.proxy.pass();
    pair.proxy.mtu(1280);
    push(&pair, 256 << 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_a_new_port_and_a_short_blackhole() {
    let pair = pair().await;
    push(&pair, 1000).await;
    let before = pair.server.remote_address();
    pair.proxy.rebind_client_ports().unwrap();
    // The server learns the new port from what the client says next.
    let mut stream = pair.client.open_uni().await.unwrap();
    stream.write_all(b"here I am").await.unwrap();
    stream.finish().unwrap();
    push(&pair, 1000).await;
    crate::wait::wait_until("the server knows the new port", DEADLINE, || {
        pair.server.remote_address() != before
    })
    .await;
    pair.proxy.drop_all();
    let dropped = pair.proxy.counts(Direction::ToServer).dropped;
    crate::wait::wait_until("a keepalive vanishes", DEADLINE, || {
        pair.proxy.counts(Direction::ToServer).dropped > dropped
    })
    .await;
    pair.proxy.pass();
    push(&pair, 1000).await;
    assert_eq!(pair.client.close_reason(), None);
}
