//! One large file that cannot be compressed, to one target and to many at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::cost;
use super::place::finish;
use super::{Beside, Peers};
use crate::payload;
use crate::push;
use crate::quinn_limit::{self, Use};
use crate::report::{Report, Row, ToReach, Unit};
use crate::rig::{self, Process, Rig};
use crate::statistics::Samples;

/// Of what bare QUIC carries.
const QUINN: f64 = 1.0 / 0.7;
/// No slower by more than a quarter.
const NGINX: f64 = 1.25;
const RSYNC: f64 = 1.0 / 3.0;
const SALT: f64 = 0.1;
/// How often each is done; the first time does not count.
const TIMES: usize = 3;

pub(super) fn rows(rig: &Rig, peers: &Peers, beside: &Beside, report: &mut Report) -> Result<()> {
    let folder = peers.place.fresh("files")?;
    let file = folder.join("payload.bin");
    std::fs::write(&file, payload::bytes(7, beside.file_bytes)).context("a large file")?;
    let nginx = report.or_missing("nginx", Nginx::start(peers, &folder));
    for receivers in [1, beside.receivers] {
        crate::say(&format!(
            "a large file to {receivers} targets, by each tool"
        ));
        let bytes = beside.file_bytes;
        let ours = ours(rig, receivers, bytes)?;
        let quinn: Samples = quinn_limit::receive_at_once(
            &folder,
            bytes,
            TIMES + 1,
            receivers,
            Use::VerifyAndWrite,
        )?
        .into_iter()
        .skip(1)
        .collect();
        let mut others = vec![("bare QUIC, checked and written", QUINN, quinn.median())];
        let mut add = |name: &'static str, goal, took: Result<f64>| {
            others.extend(report.or_missing(name, took).map(|took| (name, goal, took)));
        };
        let copy = |tool: &str| over_ssh(peers, tool, receivers, &file, &folder, bytes);
        add("scp", 1.0, copy("scp -q -F \"$1\" \"$2\" $host:\"$3\""));
        let by_rsync =
            |rsync: String| copy(&format!("{rsync} -e \"ssh -F $1\" \"$2\" $host:\"$3\""));
        add(
            "rsync",
            if receivers == 1 { 1.0 } else { RSYNC },
            peers.place.rsync().and_then(by_rsync),
        );
        if let Some(nginx) = &nginx {
            let get = format!(
                "curl -sk -o \"$3\" https://127.0.0.1:{}/payload.bin",
                nginx.port
            );
            add("curl from nginx, HTTPS", NGINX, copy(&get));
        }
        if let Some(salt) = &peers.salt {
            add("Salt cp.get_file", SALT, by_salt(salt, receivers, &file));
        }
        let label = format!(
            "{:.0} MiB to {receivers} target{}, verified and on disk",
            crate::memory::mib(bytes as u64),
            if receivers == 1 { "" } else { "s" }
        );
        report.add(others.into_iter().map(|(name, goal, took)| {
            Row::median(label.clone(), &ours, Unit::Ms)
                .beside(name, took)
                .reaching(ToReach::RatioAtMost(goal))
        }));
    }
    Ok(())
}

/// Until all chunks are on all agents' disks, verified.
fn ours(rig: &Rig, receivers: usize, bytes: usize) -> Result<Samples> {
    let project = format!("file-{receivers}");
    push::prepare(rig, &project, receivers)?;
    let mut samples = Vec::new();
    for number in 0..=TIMES {
        // Other bytes for each number of receivers too: nobody has them.
        let push = push::one(rig, &project, receivers * 100 + number, bytes)?;
        samples.push(push.acquired);
    }
    Ok(samples.into_iter().skip(1).collect())
}

/// All at once, each to a file of its own; `$1` is ssh's configuration, `$2` the file, `$3` where to.
fn over_ssh(
    peers: &Peers,
    each: &str,
    receivers: usize,
    file: &Path,
    folder: &Path,
    bytes: usize,
) -> Result<f64> {
    let farm = &peers.farm;
    let hosts = farm.hosts.get(..receivers).context("so many targets")?;
    let targets: Vec<PathBuf> = hosts
        .iter()
        .map(|host| folder.join(format!("to-{host}")))
        .collect();
    let script = format!(
        "set_of=\"$3\"; failed=0; pids=; for host in {}; do set -- \"$1\" \"$2\" \"$set_of/to-$host\"; {each} & pids=\"$pids $!\"; done; for pid in $pids; do wait $pid || failed=1; done; exit $failed",
        hosts.join(" ")
    );
    let cost = cost::several(TIMES, &[], || {
        for target in targets.iter().filter(|target| target.exists()) {
            std::fs::remove_file(target).context("a file copied before")?;
        }
        rustix::fs::sync();
        let mut command = Command::new("sh");
        peers.place.equip(&mut command);
        command.env_remove("PYTHONPATH");
        command
            .args(["-c", &script, "sh"])
            .arg(&farm.config)
            .arg(file)
            .arg(folder);
        cost::quietly(command, "copying")
    })?;
    for target in targets {
        let length = std::fs::metadata(&target).context("a copied file")?.len();
        ensure!(
            length == bytes as u64,
            "{} has {length} bytes",
            target.display()
        );
        std::fs::remove_file(&target).context("a copied file")?;
    }
    Ok(cost.wall.median())
}

fn by_salt(salt: &super::Salt, receivers: usize, file: &Path) -> Result<f64> {
    std::fs::copy(file, salt.folder.join("files").join("payload.bin"))
        .context("the master's file")?;
    let out = salt.folder.join("out");
    std::fs::create_dir_all(&out).context("a folder for files")?;
    let mut walls = Vec::new();
    for number in 0..=TIMES {
        let to = format!("{}/to-{{{{grains.id}}}}-{number}", out.display());
        rustix::fs::sync();
        let begun = std::time::Instant::now();
        let words = ["cp.get_file", "salt://payload.bin", &to, "template=jinja"];
        salt.order(receivers, &words, &format!("-{number}"))?;
        walls.push(begun.elapsed().as_secs_f64() * 1e3);
        salt.order(receivers, &["saltutil.clear_cache"], "True")?;
        for entry in std::fs::read_dir(&out).context("files of Salt")? {
            std::fs::remove_file(entry.context("a file of Salt")?.path())
                .context("a file of Salt")?;
        }
    }
    let samples: Samples = walls.into_iter().skip(1).collect();
    Ok(samples.median())
}

/// A web server of our own that serves the folder by TLS 1.3.
struct Nginx {
    process: Process,
    port: u16,
}

impl Nginx {
    fn start(peers: &Peers, served: &Path) -> Result<Self> {
        let program = peers.place.debian("nginx", &["nginx", "nginx-common"])?;
        let folder = peers.place.fresh("nginx")?;
        let made = rcgen::generate_simple_self_signed(vec!["bench.invalid".to_owned()])
            .context("a certificate for nginx")?;
        std::fs::write(folder.join("certificate"), made.cert.pem()).context("its certificate")?;
        std::fs::write(folder.join("key"), made.signing_key.serialize_pem()).context("its key")?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .context("a port for nginx")?
            .port();
        let here = folder.display();
        let user = match peers.farm.user.as_str() {
            "root" => "user root;",
            _ => "",
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {here}/{what};"))
            .concat();
        let text = format!(
            "{user} worker_processes 2; daemon off; pid {here}/pid; error_log {here}/errors;
events {{ worker_connections 512; }}
http {{ access_log off; sendfile on; {temporary}
  server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_certificate {here}/certificate; ssl_certificate_key {here}/key; root {}; }} }}
",
            served.display()
        );
        let config = folder.join("conf");
        std::fs::write(&config, text).context("its configuration")?;
        let mut check = Command::new(&program);
        peers.place.equip(&mut check);
        check
            .arg("-t")
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(folder.join("errors"));
        finish(check, "checking nginx's configuration")?;
        let mut command = Command::new(&program);
        peers.place.equip(&mut command);
        command
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(folder.join("errors"));
        let process = Process::start(command, &folder.join("out"))?;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(
                std::time::Instant::now() < deadline,
                "nginx does not listen"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(Self { process, port })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers would stay behind a master that is killed.
        rig::end(&mut self.process);
    }
}
