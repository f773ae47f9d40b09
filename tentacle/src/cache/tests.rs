//! Packages come whole or not at all, however the source behaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use mantle_shared::manifest::{Entry, EntryKind, Tree};
use mantle_shared::protocol::{AcquireFailure, AcquireResult, PackageGrant};
use mantle_shared::uuid::Uuid;
use mantle_shared::{Digest, TaskId};
use tempfile::TempDir;

use super::*;
use source::{Fault, MemorySource, Package};

fn task() -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(1))
}

struct Machine {
    dir: TempDir,
    acquirer: Acquirer,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        cache.prepare().unwrap();
        let acquirer = Acquirer::new(cache, dir.path().join("apps")).keep_free(0);
        Self { dir, acquirer }
    }

    fn cache(&self) -> &Cache {
        self.acquirer.cache()
    }

    async fn acquire(&self, source: &MemorySource, package: &Package) -> AcquireResult {
        self.acquirer
            .acquire(source, task(), &[package.grant()], |_, _| ())
            .await
    }

    fn materialise(
        &self,
        package: &Package,
        name: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, MaterialiseError> {
        let into = self.dir.path().join(name);
        fs::create_dir(&into).unwrap();
        self.cache().materialise(package.root, &into, &|| true)?;
        Ok(read_all(&into))
    }
}

fn read_all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                pending.push(path);
            } else if fs::symlink_metadata(&path).unwrap().is_file() {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                found.insert(name.replace('\\', "/"), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn site() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("index.html".to_owned(), b"<h1>hello</h1>".to_vec()),
        ("empty".to_owned(), Vec::new()),
        ("bin/app".to_owned(), noise(1, 300_000)),
        ("bin/deep/er/data".to_owned(), noise(2, 1_000_000)),
        ("assets/text".to_owned(), b"all the same ".repeat(20_000)),
    ])
}

fn fetched(result: &AcquireResult) -> (u64, u64) {
    match result {
        AcquireResult::Acquired {
            fetched_bytes,
            reused_bytes,
        } => (*fetched_bytes, *reused_bytes),
        AcquireResult::Failed { message, .. } => panic!("{message}"),
    }
}

fn failure(result: &AcquireResult) -> (AcquireFailure, &str) {
    match result {
        AcquireResult::Failed { reason, message } => (*reason, message),
        AcquireResult::Acquired { .. } => panic!("it should have failed"),
    }
}

#[tokio::test]
async fn a_cache_that_was_emptied_under_the_agent_is_filled_again() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    let first = machine.acquire(&source, &package).await;
    for entry in fs::read_dir(machine.cache().root()).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let again = machine.acquire(&source, &package).await;
    assert_eq!(fetched(&again), fetched(&first), "all of it comes again");
    assert_eq!(machine.materialise(&package, "out").unwrap(), site());
    for entry in fs::read_dir(machine.cache().root()).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let digest = Digest::of(b"some object");
    machine.cache().keep_partial(digest, &noise(3, 300_000));
    assert_eq!(machine.cache().partial(digest).len(), 300_000);
}

#[tokio::test]
async fn a_package_comes_whole_and_only_once() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    let first = machine.acquire(&source, &package).await;
    assert!(fetched(&first).0 > 1_000_000);
    assert_eq!(machine.materialise(&package, "out").unwrap(), site());
    let second = machine.acquire(&source, &package).await;
    assert_eq!(fetched(&second).0, 0);
}

#[tokio::test]
async fn only_what_changed_travels() {
    let machine = Machine::new();
    let old = Package::of(&site());
    let mut files = site();
    files.insert("index.html".to_owned(), b"<h1>hello again</h1>".to_vec());
    let new = Package::of(&files);
    let source = MemorySource::of(&[&old, &new]);
    machine.acquire(&source, &old).await;
    let (bytes, _) = fetched(&machine.acquire(&source, &new).await);
    assert!(bytes < 2_000, "{bytes}");
    assert_eq!(machine.materialise(&new, "out").unwrap(), files);
}

#[tokio::test]
async fn s80_bit_rot_is_found_and_fetched_again() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    machine.acquire(&source, &package).await;
    let app = Digest::of(&noise(1, 300_000)[..source::CHUNK]);
    let path = machine.cache().object(app);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // Used as it is: refused, and removed.
    let error = machine.materialise(&package, "rotten").unwrap_err();
    assert!(
        matches!(&error, MaterialiseError::Cache(CacheError::Corrupt { digest }) if *digest == app),
        "{error}"
    );
    assert!(!path.exists());
    let again = machine.acquire(&source, &package).await;
    let one_chunk = (source::CHUNK as u64)..(source::CHUNK as u64 + 2_000);
    assert!(
        one_chunk.contains(&fetched(&again).0),
        "the damaged one alone"
    );
    assert_eq!(machine.materialise(&package, "good").unwrap(), site());
}

#[tokio::test]
async fn a33_damage_in_transit_is_fetched_once_more_and_then_refused() {
    let package = Package::of(&site());
    let victim = Digest::of(b"<h1>hello</h1>");
    let machine = Machine::new();
    let source = MemorySource::of(&[&package]);
    source.break_object(victim, Fault::Corrupt, 1);
    fetched(&machine.acquire(&source, &package).await);
    assert_eq!(machine.materialise(&package, "out").unwrap(), site());

    let machine = Machine::new();
    source.break_object(victim, Fault::Corrupt, 2);
    let result = machine.acquire(&source, &package).await;
    let (reason, message) = failure(&result);
    assert_eq!(reason, AcquireFailure::Corrupt);
    assert!(message.contains("damaged twice"), "{message}");
    assert!(!machine.cache().object(victim).exists());
}

#[tokio::test]
async fn s77_more_or_fewer_bytes_than_declared_fail_and_the_next_try_works() {
    let package = Package::of(&site());
    let victim = Digest::of(b"<h1>hello</h1>");
    for fault in [Fault::Longer, Fault::Shorter] {
        let machine = Machine::new();
        let source = MemorySource::of(&[&package]);
        source.break_object(victim, fault, 1);
        let result = machine.acquire(&source, &package).await;
        assert_eq!(failure(&result).0, AcquireFailure::Corrupt, "{fault:?}");
        fetched(&machine.acquire(&source, &package).await);
        assert_eq!(machine.materialise(&package, "out").unwrap(), site());
    }
}

#[tokio::test]
async fn s73_a_cut_transfer_goes_on_where_it_stopped() {
    let machine = Machine::new();
    let big = noise(9, source::CHUNK - 1);
    let package = Package::of(&BTreeMap::from([("big".to_owned(), big.clone())]));
    let source = MemorySource::of(&[&package]);
    source.break_object(Digest::of(&big), Fault::CutAt(100_000), 1);
    let cut = machine.acquire(&source, &package).await;
    assert_eq!(failure(&cut).0, AcquireFailure::Network);
    assert!(!machine.cache().object(Digest::of(&big)).exists(), "S74");
    let (bytes, _) = fetched(&machine.acquire(&source, &package).await);
    assert_eq!(bytes, (source::CHUNK - 1 - 100_000) as u64);
    assert_eq!(machine.materialise(&package, "out").unwrap()["big"], big);
}

#[tokio::test]
async fn what_stands_in_an_installed_version_is_not_sent() {
    let machine = Machine::new();
    let old = Package::of(&site());
    let source = MemorySource::of(&[&old]);
    machine.acquire(&source, &old).await;
    // Install it by hand, then lose the chunks but not the manifest.
    let place = machine.dir.path().join("apps/prod/site/Web");
    fs::create_dir_all(place.join("1.0")).unwrap();
    machine
        .cache()
        .materialise(old.root, &place.join("1.0"), &|| true)
        .unwrap();
    let record = InstallRecord {
        format: 1,
        package: "Web".to_owned(),
        version: "1.0".to_owned(),
        folder: "1.0".to_owned(),
        root: old.root,
        inputs: old.root,
        installed_at_us: 1,
        activated_at_us: 1,
        unproven: false,
        custom: None,
        replaced: None,
    };
    fs::write(
        place.join(format!("1.0{INSTALL_RECORD_SUFFIX}")),
        serde_json::to_vec(&record).unwrap(),
    )
    .unwrap();
    // One installed file was changed by hand since: it is not trusted.
    fs::write(place.join("1.0/index.html"), b"<h1>HELLO</h1>").unwrap();
    for chunk in old.chunks() {
        fs::remove_file(machine.cache().object(chunk)).unwrap();
    }
    let (bytes, _) = fetched(&machine.acquire(&source, &old).await);
    assert_eq!(bytes, b"<h1>hello</h1>".len() as u64);
    assert_eq!(machine.materialise(&old, "out").unwrap(), site());
}

#[tokio::test]
async fn s76_too_little_room_is_refused_before_a_chunk_is_fetched() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    let acquirer = Acquirer::new(machine.cache().clone(), machine.dir.path().join("apps"))
        .keep_free(u64::MAX / 2);
    let result = acquirer
        .acquire(&source, task(), &[package.grant()], |_, _| ())
        .await;
    let (reason, message) = failure(&result);
    assert_eq!(reason, AcquireFailure::NoSpace);
    assert!(message.contains("are free"), "{message}");
    assert!(
        package
            .chunks()
            .iter()
            .all(|c| !machine.cache().object(*c).exists()),
        "nothing was fetched"
    );
}

#[tokio::test]
async fn s75_two_orders_for_one_package_share_one_copy() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    let (a, b) = tokio::join!(
        machine.acquire(&source, &package),
        machine.acquire(&source, &package)
    );
    let (a, b) = (fetched(&a).0, fetched(&b).0);
    assert_eq!(a.min(b), 0, "one fetched, the other found it");
    assert_eq!(a.max(b), source.sent());
    assert_eq!(machine.materialise(&package, "out").unwrap(), site());
}

#[tokio::test]
async fn a_server_that_refuses_is_named() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[]);
    let result = machine.acquire(&source, &package).await;
    let (reason, message) = failure(&result);
    assert_eq!(reason, AcquireFailure::Refused);
    assert!(message.contains("package Web 1.0"), "{message}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    source.break_object(package.root, Fault::Busy, 1);
    fetched(&machine.acquire(&source, &package).await);
}

#[tokio::test]
async fn a_manifest_that_lies_about_sizes_is_refused() {
    let machine = Machine::new();
    let inner = Tree::new(vec![Entry {
        name: "f".to_owned(),
        kind: EntryKind::File {
            executable: false,
            size_bytes: 5,
            digest: Digest::of(b"12345"),
            chunks: vec![],
        },
    }])
    .unwrap();
    let outer = Tree::new(vec![Entry {
        name: "d".to_owned(),
        kind: EntryKind::Dir {
            digest: inner.digest(),
            size_bytes: 1,
            files: 1,
        },
    }])
    .unwrap();
    let source = MemorySource::of(&[]);
    for bytes in [outer.encode(), inner.encode(), b"12345".to_vec()] {
        source.add(bytes);
    }
    let grant = PackageGrant {
        id: "Web".to_owned(),
        version: "1.0".to_owned(),
        root: outer.digest(),
        size_bytes: 1,
    };
    let result = machine
        .acquirer
        .acquire(&source, task(), &[grant], |_, _| ())
        .await;
    let (reason, message) = failure(&result);
    assert_eq!(reason, AcquireFailure::Corrupt);
    assert!(message.contains("not as large"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn links_and_modes_are_as_the_manifest_says_and_links_out_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::new();
    let link = |target: &str| {
        let script = Entry {
            name: "run".to_owned(),
            kind: EntryKind::File {
                executable: true,
                size_bytes: 2,
                digest: Digest::of(b"#!"),
                chunks: vec![],
            },
        };
        let link = Entry {
            name: "link".to_owned(),
            kind: EntryKind::Symlink {
                target: target.to_owned(),
            },
        };
        let tree = Tree::new(vec![script, link]).unwrap();
        machine.cache().put(Digest::of(b"#!"), b"#!").unwrap();
        machine.cache().put(tree.digest(), &tree.encode()).unwrap();
        tree.digest()
    };
    let good = machine.dir.path().join("good");
    fs::create_dir(&good).unwrap();
    machine
        .cache()
        .materialise(link("run"), &good, &|| true)
        .unwrap();
    assert_eq!(fs::read(good.join("link")).unwrap(), b"#!");
    let mode = fs::metadata(good.join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    for target in ["../x", "/etc/passwd", "run/../../x"] {
        let bad = machine.dir.path().join("bad");
        fs::create_dir_all(&bad).unwrap();
        let error = machine
            .cache()
            .materialise(link(target), &bad, &|| true)
            .unwrap_err();
        assert!(
            matches!(error, MaterialiseError::Walk(WalkError::Unsound(_))),
            "{target}: {error}"
        );
        assert_eq!(
            fs::read_dir(&bad).unwrap().count(),
            0,
            "nothing was written"
        );
    }
}

#[tokio::test]
async fn progress_ends_at_the_whole() {
    let machine = Machine::new();
    let package = Package::of(&site());
    let source = MemorySource::of(&[&package]);
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    machine
        .acquirer
        .acquire(&source, task(), &[package.grant()], move |done, total| {
            tell.lock().unwrap().push((done, total));
        })
        .await;
    let told = told.lock().unwrap();
    assert!(!told.is_empty());
    assert!(
        told.iter()
            .all(|(done, total)| done <= total && *total == package.size)
    );
}

#[tokio::test]
async fn the_oldest_objects_go_once_the_cache_is_too_large_but_not_todays() {
    let machine = Machine::new();
    let (old, new) = (
        Package::of(&site()),
        Package::of(&BTreeMap::from([("new".to_owned(), noise(7, 100_000))])),
    );
    let source = MemorySource::of(&[&old, &new]);
    machine.acquire(&source, &old).await;
    machine.acquire(&source, &new).await;
    let now = std::time::SystemTime::now();
    assert_eq!(
        machine.cache().prune(0, now).unwrap(),
        0,
        "all are of today"
    );
    let days = |count: u64| now - std::time::Duration::from_hours(24 * count);
    for chunk in old.chunks() {
        let file = fs::File::options()
            .append(true)
            .open(machine.cache().object(chunk))
            .unwrap();
        file.set_modified(days(3)).unwrap();
    }
    // Acquired again since, so it is not old any more.
    let kept = Digest::of(b"<h1>hello</h1>");
    assert!(machine.cache().verified(kept).unwrap());
    assert!(machine.cache().prune(200_000, now).unwrap() > 1_000_000);
    assert!(machine.cache().object(kept).exists());
    assert_eq!(machine.materialise(&new, "new").unwrap().len(), 1);
    assert!(
        fetched(&machine.acquire(&source, &old).await).0 > 0,
        "it comes again"
    );
    assert_eq!(machine.materialise(&old, "old").unwrap(), site());
}

/// Somebody who may write where a package is unpacked puts a link to elsewhere in a folder's place, in
/// the middle of it.
#[cfg(unix)]
#[tokio::test]
async fn a34_a_folder_that_becomes_a_link_while_a_package_is_unpacked_leads_nowhere() {
    let files = BTreeMap::from([
        ("a/one".to_owned(), b"1".to_vec()),
        ("a/two".to_owned(), b"2".to_vec()),
        ("b/c/three".to_owned(), b"3".to_vec()),
        ("d/big".to_owned(), noise(34, 2 * source::CHUNK)),
    ]);
    let package = Package::of(&files);
    for swapped in ["a", "b", "b/c", "d"] {
        let machine = Machine::new();
        let source = MemorySource::of(&[&package]);
        machine.acquire(&source, &package).await;
        let outside = machine.dir.path().join("outside");
        fs::create_dir_all(outside.join("c")).unwrap();
        let into = machine.dir.path().join("out");
        fs::create_dir(&into).unwrap();
        let swap = || {
            let folder = into.join(swapped);
            if !fs::symlink_metadata(&folder).unwrap().is_symlink() {
                fs::rename(&folder, machine.dir.path().join("away")).unwrap();
                std::os::unix::fs::symlink(&outside, &folder).unwrap();
            }
            true
        };
        let error = machine.cache().materialise(package.root, &into, &swap);
        assert!(
            matches!(&error, Err(MaterialiseError::Disk { path, .. }) if path.starts_with(into.join(swapped))),
            "{swapped}: {error:?}"
        );
        assert_eq!(read_all(&outside), BTreeMap::new(), "{swapped}: it led out");
    }
    // The folder itself counts as well.
    let machine = Machine::new();
    let source = MemorySource::of(&[&package]);
    machine.acquire(&source, &package).await;
    let outside = machine.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let into = machine.dir.path().join("out");
    std::os::unix::fs::symlink(&outside, &into).unwrap();
    let error = machine.cache().materialise(package.root, &into, &|| true);
    assert!(error.is_err(), "{error:?}");
    assert_eq!(read_all(&outside), BTreeMap::new());
}
