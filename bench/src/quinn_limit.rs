//! What a bare QUIC connection carries on this machine, between two processes, with the socket buffers,
//! windows and ciphers of the product: the most that a push could reach.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mantle_shared::tls::crypto_provider;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, RecvStream, ServerConfig, TransportConfig, VarInt,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use socket2::{Domain, Socket, Type};

use crate::payload;

/// As `server/src/gateway/transport.rs` and `tentacle/src/connection/endpoint.rs` have them; the product
/// divides a window between two streams.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The name in the certificate.
const NAME: &str = "bench.invalid";
/// What is written and read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Longer than any transfer.
const IDLE: Duration = Duration::from_mins(1);

/// What the receiver does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing.
    Drop,
    /// It is hashed and written to a file, as a push must be.
    VerifyAndWrite,
}

/// The sending process: listens, says where on standard output, and sends over each connection.
pub(crate) fn send(bytes: usize, certificate: &Path) -> Result<()> {
    runtime()?.block_on(async {
        let server = server_config(certificate)?;
        let endpoint = endpoint(Some(server))?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", endpoint.local_addr()?)
            .and_then(|()| out.flush())
            .context("standard output")?;
        let payload = Bytes::from(payload::bytes(0, bytes));
        while let Some(incoming) = endpoint.accept().await {
            // A receiver misses what did not come to it.
            tokio::spawn(send_all(incoming, payload.clone()));
        }
        Ok(())
    })
}

async fn send_all(incoming: quinn::Incoming, mut rest: Bytes) -> Result<()> {
    let connection = incoming.await.context("a connection")?;
    let mut stream = connection.open_uni().await.context("a stream")?;
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        stream.write_chunk(piece).await.context("sending")?;
    }
    stream.finish().context("the end of a stream")?;
    connection.closed().await;
    Ok(())
}

/// The sending process, ended when it is dropped.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Receives so many bytes so often; gives the milliseconds of each.
pub(crate) fn receive(folder: &Path, bytes: usize, times: usize, what: Use) -> Result<Vec<f64>> {
    receive_at_once(folder, bytes, times, 1, what)
}

/// The same over so many connections at once, each with all the bytes.
pub(crate) fn receive_at_once(
    folder: &Path,
    bytes: usize,
    times: usize,
    connections: usize,
    what: Use,
) -> Result<Vec<f64>> {
    let certificate = folder.join("quinn-limit.der");
    let mut child = Command::new(std::env::current_exe().context("this program")?)
        .args(["quinn-send", "--bytes", &bytes.to_string(), "--certificate"])
        .arg(&certificate)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the sender")?;
    let stdout = child.stdout.take();
    let _sender = Sender(child);
    let mut line = String::new();
    BufReader::new(stdout.context("the sender's output")?)
        .read_line(&mut line)
        .context("the sender's address")?;
    let address: SocketAddr = line
        .trim()
        .parse()
        .with_context(|| format!("the sender's address: '{line}'"))?;
    let files: Vec<_> = (0..connections)
        .map(|number| folder.join(format!("quinn-limit-{number}.bin")))
        .collect();
    let result = runtime()?.block_on(async {
        let mut endpoint = endpoint(None)?;
        endpoint.set_default_client_config(client_config(&certificate)?);
        let mut samples = Vec::new();
        for _ in 0..times {
            // Giving earlier files' room free takes a while, and is no part of a transfer.
            clear(&files)?;
            let mut open = Vec::new();
            for file in &files {
                let connecting = endpoint.connect(address, NAME).context("connecting")?;
                open.push((connecting.await.context("connecting")?, file.clone()));
            }
            let begun = Instant::now();
            let receivers: Vec<_> = open
                .into_iter()
                .map(|(connection, file)| tokio::spawn(take(connection, file, what)))
                .collect();
            for receiver in receivers {
                let got = receiver.await.context("a receiver")??;
                ensure!(got == bytes, "{got} of {bytes} bytes came");
            }
            samples.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(samples)
    });
    clear(&files)?;
    result
}

fn clear(files: &[PathBuf]) -> Result<()> {
    for file in files.iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).context("the file received before")?;
    }
    Ok(())
}

async fn take(connection: quinn::Connection, file: PathBuf, what: Use) -> Result<usize> {
    let stream = connection.accept_uni().await.context("a stream")?;
    let got = match what {
        Use::Drop => drop_all(stream).await?,
        Use::VerifyAndWrite => keep_all(stream, &file).await?,
    };
    connection.close(VarInt::from_u32(0), b"");
    Ok(got)
}

async fn drop_all(mut stream: RecvStream) -> Result<usize> {
    let mut got = 0;
    while let Some(chunk) = stream.read_chunk(PIECE_BYTES, true).await? {
        got += chunk.bytes.len();
    }
    Ok(got)
}

/// Hashing and writing beside the network, as an implementation that wastes nothing would do it.
async fn keep_all(mut stream: RecvStream, file: &Path) -> Result<usize> {
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(1024);
    let file = file.to_owned();
    let kept = tokio::task::spawn_blocking(move || -> Result<usize> {
        let mut out = std::fs::File::create(&file).context("the received file")?;
        let mut hasher = blake3::Hasher::new();
        let mut got = 0;
        while let Some(piece) = pieces.blocking_recv() {
            hasher.update(&piece);
            out.write_all(&piece).context("the received file")?;
            got += piece.len();
        }
        std::hint::black_box(hasher.finalize());
        Ok(got)
    });
    while let Some(chunk) = stream.read_chunk(PIECE_BYTES, true).await? {
        if sender.send(chunk.bytes).await.is_err() {
            break;
        }
    }
    drop(sender);
    kept.await.context("the writing thread")?
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime")
}

fn endpoint(server: Option<ServerConfig>) -> Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("a UDP socket")?;
    // The kernel may give less; the product gets no more either.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .context("a UDP socket")?;
    Endpoint::new(
        EndpointConfig::default(),
        server,
        socket.into(),
        Arc::new(quinn::TokioRuntime),
    )
    .context("a QUIC endpoint")
}

fn transport() -> Result<Arc<TransportConfig>> {
    let mut transport = TransportConfig::default();
    transport
        .send_window(SEND_WINDOW_BYTES)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .max_idle_timeout(Some(IDLE.try_into()?));
    Ok(Arc::new(transport))
}

fn server_config(certificate: &Path) -> Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    std::fs::write(certificate, made.cert.der()).context("the certificate")?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport()?);
    Ok(config)
}

fn client_config(certificate: &Path) -> Result<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(
        std::fs::read(certificate).context("the certificate")?,
    ))?;
    let tls = rustls::ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport()?);
    Ok(config)
}
