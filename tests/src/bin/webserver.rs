//! The deployed application of the load-balancer tests: a small real web server.
//!
//! `webserver supervise` stands for the machine's service manager: it runs `webserver serve` as a
//! child, and at SIGHUP kills it and starts it anew. The child reads its version once, at its
//! start, as real applications do, and drops every connection when it is killed. It answers
//! `/health` and `/` at once and `/slow` after two seconds, always naming itself and its version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for tests"
)]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_secs(2);
/// How long the application takes to start: time in which its port is closed.
const STARTUP: Duration = Duration::from_millis(300);
/// The longest request head.
const HEAD_BYTES: usize = 16 * 1024;

#[derive(Clone)]
struct Options {
    listen: String,
    /// The folder with the file `version.txt`; may be a link that is switched.
    root: PathBuf,
    name: String,
    /// Where the bound address is written.
    address_file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_default();
    let options = options(args);
    match mode.as_str() {
        "supervise" => supervise(options).await,
        "serve" => serve(options).await,
        _ => panic!("webserver supervise|serve --listen A --root D --name N --address-file F"),
    }
}

fn options(args: impl Iterator<Item = String>) -> Options {
    let mut values = HashMap::new();
    let mut args = args.peekable();
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        values.insert(key, value);
    }
    let get = |key: &str| {
        values
            .get(key)
            .unwrap_or_else(|| panic!("{key} is missing"))
    };
    Options {
        listen: get("--listen").clone(),
        root: PathBuf::from(get("--root")),
        name: get("--name").clone(),
        address_file: PathBuf::from(get("--address-file")),
    }
}

fn spawn(options: &Options) -> Child {
    Command::new(std::env::current_exe().expect("own path"))
        .arg("serve")
        .args(["--listen", &options.listen, "--name", &options.name])
        .arg("--root")
        .arg(&options.root)
        .arg("--address-file")
        .arg(&options.address_file)
        // The child ends when this pipe does, so it never outlives its supervisor.
        .stdin(Stdio::piped())
        .spawn()
        .expect("the server's process")
}

async fn supervise(mut options: Options) {
    let mut restart = signal(SignalKind::hangup()).unwrap();
    let mut child = spawn(&options);
    println!("started");
    while restart.recv().await.is_some() {
        child.kill().expect("the server is killed");
        child.wait().expect("and gone");
        // The port that the system chose at first is kept.
        if let Ok(address) = std::fs::read_to_string(&options.address_file) {
            address.trim().clone_into(&mut options.listen);
        }
        child = spawn(&options);
        println!("restarted");
    }
    let _ = child.wait();
}

async fn serve(options: Options) {
    std::thread::spawn(|| {
        let _ = io::Read::read(&mut io::stdin(), &mut [0]);
        std::process::exit(0);
    });
    let version = std::fs::read_to_string(options.root.join("version.txt"))
        .map_or_else(|_| "none".to_owned(), |text| text.trim().to_owned());
    tokio::time::sleep(STARTUP).await;
    let listen: SocketAddr = options.listen.parse().expect("an address");
    let listener = TcpListener::bind(listen).await.expect("the port is free");
    let address = listener.local_addr().expect("the bound address");
    write_whole(&options.address_file, &address.to_string());
    let identity = Arc::new(format!(
        "X-Server: {}\r\nX-Version: {version}\r\n",
        options.name
    ));
    let body = Arc::new(format!("{version}\n"));
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, Arc::clone(&identity), Arc::clone(&body)));
        }
    }
}

/// A reader sees the whole file or none.
fn write_whole(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).expect("the address file");
    std::fs::rename(&temporary, path).expect("the address file");
}

async fn talk(mut stream: TcpStream, identity: Arc<String>, body: Arc<String>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Ok(Some(path)) = next_request(&mut stream, &mut buffer).await {
        if path == "/slow" {
            tokio::time::sleep(SLOW).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{identity}\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The path of the next request; `None` at the end of the connection. Bodies are not expected.
async fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            return Ok(head.split(' ').nth(1).map(str::to_owned));
        }
        if buffer.len() > HEAD_BYTES {
            return Ok(None);
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await? {
            0 => return Ok(None),
            length => buffer.extend_from_slice(&part[..length]),
        }
    }
}
