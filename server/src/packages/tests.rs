//! The repository as a whole: push, send, collect, verify, and every way to cut a push.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mantle_shared::manifest::EntryKind;
use mantle_shared::uuid::Uuid;

use super::ingest::tests::{RawEntry, gzip, held, noise, take_in, tar_of, zip_of};
use super::objects::{Key, Local};
use super::*;

fn site(version: u64) -> Vec<u8> {
    zip_of(vec![
        RawEntry::deflated("index.html", format!("<h1>{version}</h1>").as_bytes()),
        RawEntry::deflated("same/app.js", b"console.log('same')"),
        RawEntry::deflated("same/large.bin", &noise(7, 700_000)),
    ])
}

fn everything(objects: &Objects) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    objects
        .list(&mut |stored| {
            keys.insert(stored.key);
            Ok(())
        })
        .unwrap();
    keys
}

fn go_on() -> ingest::StopFlag {
    ingest::StopFlag::default()
}

fn long_after() -> SystemTime {
    SystemTime::now() + Duration::from_hours(1000)
}

fn collect(objects: &Objects, live: &[&Ingested]) -> GcReport {
    let live = Live {
        roots: live.iter().map(|taken| taken.summary.root).collect(),
        archives: live.iter().map(|taken| taken.summary.archive).collect(),
        artifacts: Vec::new(),
    };
    gc::collect(objects, &live, GcOptions::default(), long_after(), &go_on()).unwrap()
}

/// A package as a row remembers it: without the lease.
fn released(mut taken: Ingested) -> Ingested {
    taken.lease = Objects::memory().writer().finish().unwrap().1;
    taken
}

#[tokio::test]
async fn a_push_from_upload_to_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let repository = PackageRepository::open(dir.path()).unwrap();
    let archive = site(1);
    let id = upload::UploadId(Uuid::now_v7());
    let spec = upload::UploadSpec {
        file_name: "Acme.Web.1.0.0.zip".into(),
        size_bytes: archive.len() as u64,
        blake3: Some(Digest::of(&archive)),
        sha256: None,
    };
    let uploads = repository.uploads();
    uploads.create(id, spec).await.unwrap();
    let mut append = uploads.append(id, 0).await.unwrap();
    append.write(archive.clone().into()).await.unwrap();
    append.finish().await.unwrap();
    let finished = uploads.finish(id).await.unwrap();
    let (_, format) = Format::split_name(&finished.spec.file_name).unwrap();
    let taken = repository
        .ingest(&finished.path, Some(format), IngestOptions::default())
        .await
        .unwrap();
    uploads.remove(id).await.unwrap();
    let summary = taken.summary;
    assert_eq!((summary.files, summary.archive), (3, Digest::of(&archive)));

    // Another process reads it back.
    let again = PackageRepository::open(dir.path()).unwrap();
    let pieces: Vec<_> = again
        .archive(&summary.archive)
        .await
        .unwrap()
        .stream(0)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(pieces.concat(), archive);
    let reader = again.archive(&summary.archive).await.unwrap();
    assert_eq!(reader.size_bytes(), archive.len() as u64);
    let tail: Vec<_> = reader.stream(300_001).try_collect().await.unwrap();
    assert_eq!(tail.concat(), archive[300_001..]);

    let root = summary.root;
    let mut met = Vec::new();
    read::each_entry::<ObjectError>(again.objects(), &root, &mut |entry| {
        met.push((entry.path().to_owned(), entry.read(700_000)?));
        // One byte less than it has.
        if entry.path() == "index.html" {
            assert_eq!(entry.read(9)?, None);
        }
        Ok(())
    })
    .unwrap();
    let content = |path: &str| {
        let found = met.iter().find(|(other, _)| other == path);
        found.and_then(|(_, content)| content.clone())
    };
    assert_eq!(content("index.html").as_deref(), Some(&b"<h1>1</h1>"[..]));
    assert_eq!(content("same"), None, "a folder has no content");
    assert_eq!(content("same/large.bin"), Some(noise(7, 700_000)));
    let paths: Vec<&str> = met.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        ["index.html", "same", "same/app.js", "same/large.bin"]
    );

    let reach = again.reach(&root).await.unwrap();
    for digest in reached_by_hand(again.objects(), &root) {
        assert!(reach.contains(&digest));
        let wire = again.object_wire(&digest).await.unwrap();
        assert!(wire.bytes.len() as u64 <= wire.size_bytes);
    }
    assert_eq!(reach.len(), reached_by_hand(again.objects(), &root).len());
    assert!(
        again
            .verify(&root, &summary.archive)
            .await
            .unwrap()
            .is_intact()
    );
}

fn reached_by_hand(objects: &Objects, root: &Digest) -> BTreeSet<Digest> {
    let mut out = BTreeSet::from([*root]);
    for entry in objects.tree(root).unwrap().entries() {
        match &entry.kind {
            EntryKind::Dir { digest, .. } => out.extend(reached_by_hand(objects, digest)),
            EntryKind::File { digest, chunks, .. } if chunks.is_empty() => {
                out.insert(*digest);
            }
            EntryKind::File { chunks, .. } => out.extend(chunks.iter().map(|c| c.digest)),
            EntryKind::Symlink { .. } => {}
        }
    }
    out
}

#[tokio::test]
async fn an_agent_reaches_what_it_was_granted_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let repository = PackageRepository::open(dir.path()).unwrap();
    let objects = repository.objects().clone();
    let ours = take_in(&objects, &site(1), Format::Zip).unwrap().summary;
    let theirs = take_in(
        &objects,
        &zip_of(vec![RawEntry::stored("secret", b"theirs alone")]),
        Format::Zip,
    )
    .unwrap()
    .summary;
    let root = ours.root;
    let reachable = |digest: Digest| {
        let repository = repository.clone();
        async move { repository.reachable(&root, &digest).await.unwrap() }
    };
    assert!(reachable(root).await);
    assert!(reachable(Digest::of(b"<h1>1</h1>")).await);
    assert!(!reachable(Digest::of(b"theirs alone")).await);
    assert!(!reachable(theirs.root).await);
    assert!(!reachable(ours.archive_root).await);
    // A digest of a file in several chunks is no object.
    assert!(!reachable(Digest::of(&noise(7, 700_000))).await);
    let unknown = repository.reach(&Digest::of(b"nothing")).await;
    assert!(matches!(unknown, Err(ObjectError::Missing { .. })));
    // A failed walk is not remembered, and one that succeeded is.
    assert!(repository.reach(&Digest::of(b"nothing")).await.is_err());
    let once = repository.reach(&root).await.unwrap();
    assert!(Arc::ptr_eq(&once, &repository.reach(&root).await.unwrap()));
}

#[test]
fn s79_collection_keeps_what_is_named_and_takes_the_rest() {
    let objects = Objects::memory();
    let one = released(take_in(&objects, &site(1), Format::Zip).unwrap());
    let only_one = everything(&objects);
    let two = released(take_in(&objects, &site(2), Format::Zip).unwrap());
    assert_eq!(collect(&objects, &[&one, &two]).removed_objects, 0);
    let dry = gc::collect(
        &objects,
        &Live {
            roots: vec![one.summary.root],
            archives: vec![one.summary.archive],
            artifacts: Vec::new(),
        },
        GcOptions {
            dry_run: true,
            ..GcOptions::default()
        },
        long_after(),
        &go_on(),
    )
    .unwrap();
    let report = collect(&objects, &[&one]);
    assert!(report.removed_objects > 0 && report.removed_bytes > 0);
    assert_eq!(dry.removed_objects, report.removed_objects);
    assert_eq!(everything(&objects), only_one);
    assert_eq!(held(&objects, &one.summary.root).len(), 4);
    assert_eq!(collect(&objects, &[]).live_objects, 0);
    assert!(everything(&objects).is_empty());
}

#[test]
fn collection_spares_what_is_young_and_what_a_push_holds() {
    let objects = Objects::memory();
    let taken = take_in(&objects, &site(1), Format::Zip).unwrap();
    let all = everything(&objects);
    let none = Live::default();
    // No row names it yet, but the push is not over.
    let report = gc::collect(
        &objects,
        &none,
        GcOptions::default(),
        long_after(),
        &go_on(),
    )
    .unwrap();
    assert_eq!(
        (report.removed_objects, report.young_objects),
        (0, all.len() as u64)
    );
    let forgotten = released(taken);
    // The push is over and no row came; a day later it goes, but not before.
    let now = SystemTime::now();
    let report = gc::collect(&objects, &none, GcOptions::default(), now, &go_on()).unwrap();
    assert_eq!(report.removed_objects, 0);
    assert_eq!(collect(&objects, &[]).removed_objects, all.len() as u64);
    drop(forgotten);
}

#[test]
fn a_collection_that_is_asked_to_stop_removes_nothing_more() {
    let objects = Objects::memory();
    let taken = released(take_in(&objects, &site(1), Format::Zip).unwrap());
    let all = everything(&objects);
    let stop = go_on();
    stop.stop();
    let live = Live {
        roots: vec![taken.summary.root],
        ..Live::default()
    };
    for live in [Live::default(), live] {
        let ended = gc::collect(&objects, &live, GcOptions::default(), long_after(), &stop);
        assert!(matches!(ended, Err(ObjectError::Stopped)), "{ended:?}");
    }
    assert_eq!(everything(&objects), all);
}

#[test]
fn collection_removes_nothing_when_a_named_root_is_broken() {
    let objects = Objects::memory();
    let one = released(take_in(&objects, &site(1), Format::Zip).unwrap());
    let live = Live {
        roots: vec![Digest::of(b"lost root")],
        archives: vec![Digest::of(b"lost archive")],
        artifacts: Vec::new(),
    };
    let report = gc::collect(
        &objects,
        &live,
        GcOptions::default(),
        long_after(),
        &go_on(),
    )
    .unwrap();
    assert_eq!(report.broken, [live.roots[0], live.archives[0]]);
    assert_eq!(report.removed_objects, 0);
    assert_eq!(held(&objects, &one.summary.root).len(), 4);
}

#[test]
fn pushes_and_collections_at_once_lose_nothing() {
    let objects = Objects::memory();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        scope.spawn(|| {
            // As hostile as it can be: no grace, and a clock far ahead.
            let options = GcOptions {
                grace: Duration::ZERO,
                dry_run: false,
            };
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                gc::collect(&objects, &Live::default(), options, long_after(), &go_on()).unwrap();
            }
        });
        for round in 0..30 {
            let archive = zip_of(vec![
                RawEntry::stored("same", b"in every round"),
                RawEntry::stored("other", &noise(round, 40_000)),
            ]);
            let taken = take_in(&objects, &archive, Format::Zip).unwrap();
            // While the lease is held everything is there.
            assert_eq!(held(&objects, &taken.summary.root).len(), 2);
            assert_eq!(held(&objects, &taken.summary.archive_root).len(), 1);
        }
    });
}

/// Ends the other thread also when an assertion fails.
struct SetOnDrop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn s74_a_push_cut_anywhere_leaves_whole_objects_and_can_be_repeated() {
    let archive = gzip(&tar_of(&[
        ("a", b"one"),
        ("d/b", b"two"),
        ("d/c", &noise(3, 300_000)),
    ]));
    let expected = take_in(&Objects::memory(), &archive, Format::TarGz)
        .unwrap()
        .summary;
    let counted = tempfile::tempdir().unwrap();
    let local = Arc::new(Local::open(counted.path()).unwrap());
    take_in(&Objects::new(local.clone()), &archive, Format::TarGz).unwrap();
    for step in 0..local.faults.steps() {
        let dir = tempfile::tempdir().unwrap();
        let local = Arc::new(Local::open(dir.path()).unwrap());
        let objects = Objects::new(local.clone());
        local.faults.fail_from(step);
        let cut = take_in(&objects, &archive, Format::TarGz);
        assert!(
            matches!(cut, Err(IngestError::Store(ObjectError::NoSpace { .. }))),
            "step {step}"
        );
        for key in everything(&objects) {
            match key {
                Key::Object(digest) => drop(objects.get(&digest).unwrap()),
                // The note about the archive is last, so what it leads to is there.
                Key::Archive(digest) => {
                    let root = objects.archive_root(&digest).unwrap();
                    assert!(
                        verify::verify(&objects, &[root], Enough::All)
                            .unwrap()
                            .is_intact()
                    );
                }
            }
        }
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        local.faults.fail_from(u64::MAX);
        let repeated = take_in(&objects, &archive, Format::TarGz).unwrap();
        assert_eq!(repeated.summary, expected);
        let roots = [expected.root, expected.archive_root];
        assert!(
            verify::verify(&objects, &roots, Enough::All)
                .unwrap()
                .is_intact()
        );
    }
}

#[tokio::test]
async fn a33_verification_names_what_rotted_and_a_push_repairs_it() {
    let dir = tempfile::tempdir().unwrap();
    let repository = PackageRepository::open(dir.path()).unwrap();
    let objects = repository.objects().clone();
    let summary = take_in(&objects, &site(1), Format::Zip).unwrap().summary;
    let place = |digest: &Digest| dir.path().join("objects").join(Key::Object(*digest).path());
    let rotten = Digest::of(b"console.log('same')");
    fs::write(place(&rotten), b"rubbish").unwrap();
    let lost = Digest::of(b"<h1>1</h1>");
    fs::remove_file(place(&lost)).unwrap();
    let report = repository
        .verify(&summary.root, &summary.archive)
        .await
        .unwrap();
    let mut problems: Vec<(&str, Digest)> = report
        .problems
        .iter()
        .map(|problem| (problem.path.as_str(), problem.digest))
        .collect();
    problems.sort_by_key(|(path, _)| *path);
    assert_eq!(problems, [("index.html", lost), ("same/app.js", rotten)]);
    take_in(&objects, &site(1), Format::Zip).unwrap();
    let report = repository
        .verify(&summary.root, &summary.archive)
        .await
        .unwrap();
    assert!(report.is_intact(), "{:?}", report.problems);
    // A lost node takes what is below it out of sight, and is told.
    fs::remove_file(place(&summary.root)).unwrap();
    let report = repository
        .verify(&summary.root, &summary.archive)
        .await
        .unwrap();
    assert_eq!(report.problem_count, 1);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let repository = PackageRepository::open(dir.path()).unwrap();
    let error = repository
        .ingest(&dir.path().join("no.zip"), None, IngestOptions::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no.zip"), "{error}");
}

#[test]
fn two_packages_differ_in_the_files_that_differ() {
    use super::compare::{FileFate, compare};
    let objects = Objects::memory();
    let root = |entries: Vec<RawEntry>| {
        let taken = take_in(&objects, &zip_of(entries), Format::Zip);
        taken.unwrap().summary.root
    };
    let first = root(vec![
        RawEntry::deflated("a.txt", b"a"),
        RawEntry::deflated("gone/x.txt", b"x"),
        RawEntry::deflated("kind", b"a file"),
        RawEntry::deflated("same/deep/file.txt", b"same"),
        RawEntry::deflated("site/index.html", b"one"),
    ]);
    let second = root(vec![
        RawEntry::deflated("a.txt", b"a"),
        RawEntry::deflated("kind/inside.txt", b"a folder now"),
        RawEntry::deflated("new.txt", b"n"),
        RawEntry::deflated("same/deep/file.txt", b"same"),
        RawEntry::deflated("site/index.html", b"two"),
    ]);
    let found = compare(&objects, &first, &second, 100).unwrap();
    let said: Vec<(&str, FileFate)> = found
        .files
        .iter()
        .map(|(path, fate)| (path.as_str(), *fate))
        .collect();
    assert_eq!(
        said,
        [
            ("gone/x.txt", FileFate::Removed),
            ("kind", FileFate::Removed),
            ("kind/inside.txt", FileFate::Added),
            ("new.txt", FileFate::Added),
            ("site/index.html", FileFate::Changed),
        ]
    );
    assert_eq!(found.more, 0);
    let few = compare(&objects, &first, &second, 2).unwrap();
    assert_eq!((few.files.len(), few.more), (2, 3));
    assert!(
        compare(&objects, &first, &first, 9)
            .unwrap()
            .files
            .is_empty()
    );
}

#[test]
fn a_collected_file_is_kept_as_it_is_until_nothing_names_it() {
    let objects = Objects::memory();
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_be_bytes).collect();
    let path = dir.path().join("dump");
    fs::write(&path, &content).unwrap();
    drop(ingest::keep(&objects, &path, &go_on()).unwrap());
    let digest = Digest::of(&content);
    let collect = |artifacts: Vec<Digest>| {
        let live = Live {
            artifacts,
            ..Live::default()
        };
        gc::collect(
            &objects,
            &live,
            GcOptions::default(),
            long_after(),
            &go_on(),
        )
        .unwrap()
    };
    // One that is not there any more holds up nothing.
    let report = collect(vec![digest, Digest::of(b"lost")]);
    assert_eq!((report.removed_objects, report.broken.len()), (0, 0));
    let read = Archive::open(&objects, &digest).unwrap();
    assert_eq!(read.size_bytes(), content.len() as u64);
    let report = collect(Vec::new());
    assert!(report.removed_objects > 2, "{report:?}");
    assert!(Archive::open(&objects, &digest).is_err());
}
