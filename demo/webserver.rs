//! The web server of one machine of the demo: what nginx or IIS is on a real one. It needs nothing
//! but the compiler: `rustc -O demo/webserver.rs`.
//!
//! In the machine's folder, `sites/NAME` holds the folder that is served as `/NAME/`; while
//! `sites/NAME.out` exists, `/NAME/health` answers 503. Both are looked at for each request, so
//! nothing has to be restarted. The port is the system's choice and is written to `web.port`.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

fn main() -> io::Result<()> {
    let machine = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    fs::write(machine.join("web.port.new"), port.to_string())?;
    fs::rename(machine.join("web.port.new"), machine.join("web.port"))?;
    for stream in listener.incoming().flatten() {
        let machine = machine.clone();
        // A visitor that goes away early is nobody's fault.
        std::thread::spawn(move || serve(&machine, stream).ok());
    }
    Ok(())
}

fn serve(machine: &Path, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, kind, body) = answer(machine, path.split('?').next().unwrap_or("/"));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

fn answer(machine: &Path, path: &str) -> (&'static str, &'static str, Vec<u8>) {
    const TEXT: &str = "text/plain; charset=utf-8";
    let path = path.trim_start_matches('/');
    let (site, file) = path.split_once('/').unwrap_or((path, ""));
    let file = if file.is_empty() { "index.html" } else { file };
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if site.is_empty() || !Path::new(path).components().all(plain) {
        return ("404 Not Found", TEXT, b"there is no such site\n".to_vec());
    }
    let Ok(root) = fs::read_to_string(machine.join("sites").join(site)) else {
        return (
            "404 Not Found",
            TEXT,
            b"nothing is deployed here yet\n".to_vec(),
        );
    };
    if file == "health" {
        if machine.join("sites").join(format!("{site}.out")).exists() {
            return (
                "503 Service Unavailable",
                TEXT,
                b"out of rotation\n".to_vec(),
            );
        }
        return ("200 OK", TEXT, b"in rotation\n".to_vec());
    }
    match fs::read(Path::new(root.trim()).join(file)) {
        Ok(body) => ("200 OK", kind(file), body),
        Err(_) => ("404 Not Found", TEXT, b"there is no such page\n".to_vec()),
    }
}

fn kind(file: &str) -> &'static str {
    match file.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
