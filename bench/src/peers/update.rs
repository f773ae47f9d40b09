//! A new version of a real site: two published versions of a package with many files, packed with all
//! their times changed; what travels, and what it costs to bring it to many.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

use super::cost::{self, tree_ms};
use super::place::{Place, finish};
use super::{Peers, ssh::Farm};
use crate::binaries::Programs;
use crate::noop::between;
use crate::report::{Report, Row, ToReach, Unit};
use crate::rig::Rig;

/// The site, and its versions: a few thousand files, of which a release changes some.
const SITE: &str = "antd";
const VERSIONS: [&str; 2] = ["5.20.0", "5.20.1"];
/// Of what the changed files alone need.
const FLOOR: f64 = 1.5;
/// What the server may spend for all agents together, in milliseconds.
const SERVER_MS: f64 = 100.0;
/// When each version was packed: all its files have this time, in seconds since 1970.
const PACKED_AT: [u64; 2] = [1_704_067_200, 1_706_745_600];

/// How a site is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Zip,
    TarGz,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
        }
    }
}

pub(super) fn rows(
    programs: &Programs,
    peers: &Peers,
    receivers: usize,
    report: &mut Report,
) -> Result<()> {
    crate::say("two versions of a site");
    let sites = fetch(&peers.place);
    let Some(sites) = report.or_missing("a real site", sites) else {
        return Ok(());
    };
    let folder = peers.place.fresh("update")?;
    let floor = changed_alone(&sites, &folder)?;
    for format in [Format::Zip, Format::TarGz] {
        crate::say(&format!(
            "an update of it as {}, by each tool",
            format.extension()
        ));
        let archives = pack(&sites, &folder, format)?;
        let ours = ours(programs, &archives, 1, format)?;
        let label = format!(
            "update of {SITE} as {}, bytes that travel",
            format.extension()
        );
        let row = || Row::single(label.clone(), kib(ours.bytes), Unit::KiB);
        let goal = ToReach::RatioAtMost(FLOOR);
        report.add([row()
            .beside("the changed files alone, zstd -3", kib(floor))
            .reaching(goal)]);
        for (name, bytes) in others(&peers.place, &archives, &folder) {
            if let Some(bytes) = report.or_missing(name, bytes) {
                let goal = ToReach::RatioAtMost(1.0);
                report.add([row().beside(name, kib(bytes)).reaching(goal)]);
            }
        }
        if format == Format::Zip {
            crate::say(&format!("the same to {receivers}"));
            to_many(programs, peers, &archives, receivers, report)?;
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

/// Both versions, unpacked.
fn fetch(place: &Place) -> Result<[PathBuf; 2]> {
    let folder = place.fresh("site")?;
    let one = |version: &str| -> Result<PathBuf> {
        let mut command = Command::new("npm");
        command
            .args(["pack", "--silent", &format!("{SITE}@{version}")])
            .current_dir(&folder);
        let archive = finish(command, "fetching a package by npm")?;
        let unpacked = folder.join(version);
        std::fs::create_dir_all(&unpacked).context("a folder for a site")?;
        let mut command = Command::new("tar");
        command
            .arg("-xzf")
            .arg(folder.join(archive.trim()))
            .arg("-C")
            .arg(&unpacked);
        finish(command, "unpacking a package of npm")?;
        Ok(unpacked.join("package"))
    };
    let [first, second] = VERSIONS;
    Ok([one(first)?, one(second)?])
}

/// The files below a folder, by their paths in it, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(&here).with_context(|| here.display().to_string())? {
            let entry = entry.context("a file of the site")?;
            let path = entry.path();
            if entry.file_type().context("a file of the site")?.is_dir() {
                open.push(path);
            } else if let Ok(within) = path.strip_prefix(folder) {
                found.push(within.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Packs both versions, each with a time of its own on all files.
fn pack(sites: &[PathBuf; 2], folder: &Path, format: Format) -> Result<[PathBuf; 2]> {
    let one = |index: usize| -> Result<PathBuf> {
        let (Some(site), Some(at)) = (sites.get(index), PACKED_AT.get(index)) else {
            bail!("there are two versions");
        };
        let archive = folder.join(format!("Site.1.{index}.{}", format.extension()));
        let out = File::create(&archive).context("an archive of the site")?;
        match format {
            Format::Zip => pack_zip(site, out, *at),
            Format::TarGz => pack_tar(site, out, *at),
        }
        .with_context(|| format!("packing {}", archive.display()))?;
        Ok(archive)
    };
    Ok([one(0)?, one(1)?])
}

fn pack_tar(site: &Path, out: File, at: u64) -> Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for name in files(site)? {
        let bytes = std::fs::read(site.join(&name)).context("a file of the site")?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(at);
        tar.append_data(&mut header, &name, bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

fn pack_zip(site: &Path, out: File, at: u64) -> Result<()> {
    let moment =
        jiff::Timestamp::from_second(i64::try_from(at)?)?.to_zoned(jiff::tz::TimeZone::UTC);
    let time = zip::DateTime::from_date_and_time(
        u16::try_from(moment.year())?,
        u8::try_from(moment.month())?,
        u8::try_from(moment.day())?,
        0,
        0,
        0,
    )?;
    let mut zip = zip::ZipWriter::new(out);
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(time);
    for name in files(site)? {
        zip.start_file(name.to_string_lossy(), options)?;
        zip.write_all(&std::fs::read(site.join(&name)).context("a file of the site")?)?;
    }
    zip.finish()?.flush()?;
    Ok(())
}

/// What nobody can do without: the files that are new or other, compressed.
fn changed_alone(sites: &[PathBuf; 2], folder: &Path) -> Result<u64> {
    let [first, second] = sites;
    let archive = folder.join("changed.tar");
    let mut tar = tar::Builder::new(File::create(&archive).context("the changed files")?);
    for name in files(second)? {
        let bytes = std::fs::read(second.join(&name)).context("a file of the site")?;
        if std::fs::read(first.join(&name)).is_ok_and(|before| before == bytes) {
            continue;
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &name, bytes.as_slice())
            .context("the changed files")?;
    }
    tar.into_inner().context("the changed files")?;
    let out = folder.join("changed.tar.zst");
    let mut command = Command::new("zstd");
    command
        .args(["-q", "-f", "-3"])
        .arg(&archive)
        .arg("-o")
        .arg(&out);
    finish(command, "compressing the changed files")?;
    size(&out)
}

fn size(file: &Path) -> Result<u64> {
    Ok(std::fs::metadata(file)
        .with_context(|| file.display().to_string())?
        .len())
}

/// What an update by Mantle took.
struct Update {
    /// All that went over the loopback network meanwhile, headers and the command's own words too.
    bytes: u64,
    /// Milliseconds from the begin of the deployment until all have all bytes, verified.
    acquired: f64,
    /// Milliseconds of the server's processor time.
    server: f64,
}

/// Installs the first version on so many agents, then the second.
fn ours(
    programs: &Programs,
    archives: &[PathBuf; 2],
    agents: usize,
    format: Format,
) -> Result<Update> {
    let mut rig = Rig::start(programs)?;
    rig.join_up_to(agents, &[agents])?;
    rig.apply(
        "site",
        &format!(
            "mantle: v1
project: site
lifecycle: bench
packages: [{{ id: Site }}]
version: {{ package: Site }}
process:
  - step: install
    targets: {{ tag: first-{agents} }}
    max_parallel: {agents}
    uses: package
    with: {{ package: Site }}
"
        ),
    )?;
    for (index, archive) in archives.iter().enumerate() {
        let name = format!("Site.1.{index}.{}", format.extension());
        ensure!(
            archive.ends_with(&name),
            "{} is not {name}",
            archive.display()
        );
        rig.run(&["package", "push", &archive.display().to_string()])?;
        rig.run(&["release", "create", "site", &format!("1.{index}")])?;
    }
    rig.deploy("site", "1.0")?;
    rustix::fs::sync();
    let server = [rig.server().pid()];
    let (bytes, spent) = (loopback_bytes()?, tree_ms(&server)?);
    let task = rig.deploy("site", "1.1")?;
    let (bytes, spent) = (loopback_bytes()? - bytes, tree_ms(&server)? - spent);
    let action = task
        .pointer("/steps/0/targets/0/actions/0")
        .with_context(|| format!("no action in {task}"))?;
    let acquired = between(&task, "/started_at", action, "/started_at")?;
    rig.stop()?;
    Ok(Update {
        bytes,
        acquired,
        server: spent,
    })
}

/// What the loopback network has carried so far.
fn loopback_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/dev").context("/proc/net/dev")?;
    loopback(&text).context("/proc/net/dev says nothing of lo")
}

fn loopback(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What travels by each of the others, from one archive to the next.
fn others(
    place: &Place,
    archives: &[PathBuf; 2],
    folder: &Path,
) -> Vec<(&'static str, Result<u64>)> {
    let [before, after] = archives;
    let run = |program: &str, packages: &[&str], script: &str| -> Result<String> {
        place.debian(program, packages)?;
        let mut command = Command::new("sh");
        place.equip(&mut command);
        command.env_remove("PYTHONPATH").current_dir(folder);
        command.args(["-ec", script, "sh"]).arg(before).arg(after);
        finish(command, program)
    };
    // Each leaves 'patch' behind, and proves that it leads to the new archive.
    let patch = |program: &str, packages: &[&str], script: &str| -> Result<u64> {
        run(
            program,
            packages,
            &format!("{script}; cmp \"$2\" patched; rm patched"),
        )?;
        size(&folder.join("patch"))
    };
    let rsync = || -> Result<u64> {
        let packages = ["rsync", "libpopt0", "libxxhash0", "liblz4-1"];
        let script = "cp \"$1\" patched; rsync --ignore-times --no-whole-file --stats \"$2\" patched; cmp \"$2\" patched; rm patched";
        total_bytes(&run("rsync", &packages, script)?)
    };
    let casync = || -> Result<u64> {
        let script = "rm -rf store-1 store-2; casync make --store=store-1 1.caibx \"$1\" >/dev/null; casync make --store=store-2 2.caibx \"$2\" >/dev/null; cp 2.caibx patch; (cd store-2 && find . -type f) | while read -r chunk; do [ -e \"store-1/$chunk\" ] || cat \"store-2/$chunk\" >> patch; done; rm -rf store-1 store-2";
        run("casync", &["casync"], script)?;
        size(&folder.join("patch"))
    };
    vec![
        ("rsync", rsync()),
        ("casync", casync()),
        (
            "rdiff, as Octodiff does",
            patch(
                "rdiff",
                &["rdiff", "librsync2"],
                "rm -f signature delta; rdiff signature \"$1\" signature; rdiff delta signature \"$2\" delta; rdiff -f patch \"$1\" delta patched; cat signature delta > patch",
            ),
        ),
        (
            "xdelta3 -9",
            patch(
                "xdelta3",
                &["xdelta3"],
                "xdelta3 -e -f -9 -S djw -B 536870912 -s \"$1\" \"$2\" patch; xdelta3 -d -f -B 536870912 -s \"$1\" patch patched",
            ),
        ),
        (
            "zstd --patch-from",
            patch(
                "zstd",
                &["zstd"],
                "zstd -q -f -3 --long=30 --patch-from=\"$1\" \"$2\" -o patch; zstd -q -d -f --long=30 --memory=2048MB --patch-from=\"$1\" patch -o patched",
            ),
        ),
    ]
}

/// What rsync says that it sent and got.
fn total_bytes(said: &str) -> Result<u64> {
    let number = |line: &str| {
        line.rsplit(' ')
            .next()?
            .replace(',', "")
            .parse::<u64>()
            .ok()
    };
    let counts: Vec<u64> = said
        .lines()
        .filter(|line| line.starts_with("Total bytes"))
        .filter_map(number)
        .collect();
    ensure!(counts.len() == 2, "rsync counts no bytes: {said}");
    Ok(counts.iter().sum())
}

/// The same update to many at once, beside rsync's.
fn to_many(
    programs: &Programs,
    peers: &Peers,
    archives: &[PathBuf; 2],
    receivers: usize,
    report: &mut Report,
) -> Result<()> {
    let ours = ours(programs, archives, receivers, Format::Zip)?;
    let rsync = rsync_to_many(&peers.place, &peers.farm, archives, receivers);
    let label = format!("the same to {receivers}");
    if let Some(rsync) = report.or_missing("rsync to many", rsync) {
        let label = format!("{label}, verified and on disk");
        report.add([Row::single(label, ours.acquired, Unit::Ms)
            .beside("rsync", rsync)
            .reaching(ToReach::RatioAtMost(1.0))]);
    }
    let label = format!("{label}, CPU of the server for all");
    report.add([Row::single(label, ours.server, Unit::Ms).reaching(ToReach::AtMost(SERVER_MS))]);
    Ok(())
}

fn rsync_to_many(
    place: &Place,
    farm: &Farm,
    archives: &[PathBuf; 2],
    receivers: usize,
) -> Result<f64> {
    let [before, after] = archives;
    let folder = place.fresh("rsync-many")?;
    let hosts = farm.hosts.get(..receivers).context("so many targets")?;
    let rsync = place.rsync()?;
    let script = format!(
        "failed=0; pids=; for host in {}; do {rsync} --ignore-times --no-whole-file -e \"ssh -F $1\" \"$2\" $host:\"$3/$host\" & pids=\"$pids $!\"; done; for pid in $pids; do wait $pid || failed=1; done; exit $failed",
        hosts.join(" ")
    );
    let cost = cost::several(3, &[], || {
        for host in hosts {
            std::fs::copy(before, folder.join(host)).context("the earlier version")?;
        }
        Ok(())
    })
    .and_then(|copying| {
        let both = cost::several(3, &[], || {
            for host in hosts {
                std::fs::copy(before, folder.join(host)).context("the earlier version")?;
            }
            let mut command = Command::new("sh");
            place.equip(&mut command);
            command.env_remove("PYTHONPATH");
            command
                .args(["-c", &script, "sh"])
                .arg(&farm.config)
                .arg(after)
                .arg(&folder);
            cost::quietly(command, "rsync")
        })?;
        Ok(both.wall.median() - copying.wall.median())
    })?;
    Ok(cost.max(0.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_the_kernel_and_rsync_count_is_read() {
        let text =
            "Inter-|   Receive\n face |bytes    packets\n    lo: 1234567 99 0 0\n  eth0: 5 1\n";
        assert_eq!(loopback(text), Some(1_234_567));
        assert_eq!(loopback("eth0: 5"), None);
        let said = "Number of files: 1\nTotal bytes sent: 1,234\nTotal bytes received: 66\n";
        assert_eq!(total_bytes(said).unwrap(), 1300);
        assert!(total_bytes("").is_err());
    }

    #[test]
    fn both_formats_hold_all_files_and_the_floor_only_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let sites = ["1", "2"].map(|name| folder.path().join(name));
        for (index, site) in sites.iter().enumerate() {
            std::fs::create_dir_all(site.join("a")).unwrap();
            std::fs::write(site.join("same"), crate::payload::bytes(1, 100_000)).unwrap();
            std::fs::write(site.join("a/other"), format!("version {index}")).unwrap();
        }
        assert_eq!(
            files(&sites[0]).unwrap(),
            [PathBuf::from("a/other"), PathBuf::from("same")]
        );
        for format in [Format::Zip, Format::TarGz] {
            let archives = pack(&sites, folder.path(), format).unwrap();
            assert!(size(&archives[0]).unwrap() > 100_000, "{format:?}");
        }
        assert!(changed_alone(&sites, folder.path()).unwrap() < 1_000);
    }
}
