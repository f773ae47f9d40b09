//! The store on disk and in a bucket: whole or not there, however it was cut.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::fs;
use std::path::PathBuf;

use super::*;

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                out.push(path);
            }
        }
    }
    out
}

fn put(objects: &Objects, plain: &[u8]) -> Digest {
    let mut writer = objects.writer();
    let digest = writer.put(plain).unwrap();
    writer.finish().unwrap();
    digest
}

fn place(root: &Path, digest: &Digest) -> PathBuf {
    root.join(Key::Object(*digest).path())
}

#[test]
fn what_is_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(dir.path()).unwrap();
    let large = vec![b'a'; 100_000];
    let (one, two) = (put(&objects, b"one"), put(&objects, &large));
    let again = Objects::local(dir.path()).unwrap();
    assert_eq!(again.get(&one).unwrap(), &b"one"[..]);
    assert_eq!(again.get(&two).unwrap(), large);
    let wire = again.wire(&two).unwrap();
    assert_eq!((wire.encoding, wire.size_bytes), (Encoding::Zstd, 100_000));
    assert_eq!(zstd::bulk::decompress(&wire.bytes, 100_000).unwrap(), large);
    assert!(matches!(
        again.get(&Digest::of(b"nothing")),
        Err(ObjectError::Missing { .. })
    ));
}

#[test]
fn rot_is_found_and_a_second_push_repairs_it() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(dir.path()).unwrap();
    let digest = put(&objects, b"precious");
    let path = place(dir.path(), &digest);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        objects.get(&digest),
        Err(ObjectError::Damaged { .. })
    ));
    assert!(matches!(
        objects.wire(&digest),
        Err(ObjectError::Damaged { .. })
    ));
    put(&objects, b"precious");
    assert_eq!(objects.get(&digest).unwrap(), &b"precious"[..]);
}

#[test]
fn an_object_under_another_digest_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(dir.path()).unwrap();
    let (one, two) = (put(&objects, b"one"), put(&objects, b"two"));
    fs::copy(place(dir.path(), &one), place(dir.path(), &two)).unwrap();
    assert!(matches!(
        objects.get(&two),
        Err(ObjectError::Damaged { .. })
    ));
}

#[test]
fn a_put_that_is_cut_anywhere_leaves_no_part_under_a_name() {
    for count in [3_usize, 40] {
        let contents: Vec<Vec<u8>> = (0..count).map(|n| vec![n as u8; 100 + n]).collect();
        let push = |objects: &Objects| -> Result<(), ObjectError> {
            let mut writer = objects.writer();
            for content in &contents {
                writer.put(content)?;
            }
            writer.finish().map(|_| ())
        };
        let whole = tempfile::tempdir().unwrap();
        let local = Arc::new(Local::open(whole.path()).unwrap());
        push(&Objects::new(local.clone())).unwrap();
        let steps = local.faults.steps();
        // Every step of the small batch; every few of the large one.
        for step in (0..steps).step_by(if count < 10 { 1 } else { 17 }) {
            let dir = tempfile::tempdir().unwrap();
            let local = Arc::new(Local::open(dir.path()).unwrap());
            let objects = Objects::new(local.clone());
            local.faults.fail_from(step);
            let cut = push(&objects);
            assert!(
                matches!(cut, Err(ObjectError::NoSpace { .. })),
                "step {step}"
            );
            for path in files_below(dir.path()) {
                let name = path.file_name().unwrap().to_str().unwrap();
                let digest: Digest = name.parse().expect("only whole objects stay");
                objects.get(&digest).unwrap();
            }
            local.faults.fail_from(u64::MAX);
            push(&objects).unwrap();
            for content in &contents {
                assert_eq!(objects.get(&Digest::of(content)).unwrap(), *content);
            }
        }
    }
}

#[test]
fn what_a_killed_process_left_is_swept_once_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    Objects::local(dir.path()).unwrap();
    let (old, new) = (dir.path().join("tmp/1-1"), dir.path().join("tmp/1-2"));
    fs::write(&old, b"part").unwrap();
    fs::write(&new, b"part").unwrap();
    let day = Duration::from_hours(24);
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(SystemTime::now() - day)
        .unwrap();
    Objects::local(dir.path()).unwrap();
    assert!(!old.exists() && new.exists());
}

#[test]
fn a_listing_tells_of_objects_alone() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(dir.path()).unwrap();
    let root = put(&objects, b"root");
    let mut writer = objects.writer();
    writer.put_archive(Digest::of(b"archive"), &root).unwrap();
    writer.finish().unwrap();
    let fan = place(dir.path(), &root);
    fs::write(fan.with_file_name("stray"), b"x").unwrap();
    let mut keys = Vec::new();
    objects
        .list(&mut |stored| {
            keys.push(stored.key);
            Ok(())
        })
        .unwrap();
    keys.sort();
    assert_eq!(
        keys,
        [Key::Object(root), Key::Archive(Digest::of(b"archive"))]
    );
    assert_eq!(objects.archive_root(&Digest::of(b"archive")).unwrap(), root);
}

#[test]
fn a_name_is_read_back_only_as_it_was_written() {
    let digest = Digest::of(b"x");
    for key in [Key::Object(digest), Key::Archive(digest)] {
        assert_eq!(Key::from_path(&key.path()), Some(key));
    }
    let hex = digest.to_string();
    for path in [
        "",
        "tmp/1-1",
        hex.as_str(),
        &format!("00/{hex}x"),
        &format!("zz/{hex}"),
    ] {
        assert_eq!(Key::from_path(path), None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_the_same_promises() {
    let bucket = Arc::new(object_store::memory::InMemory::new());
    let runtime = tokio::runtime::Handle::current();
    let remote = Objects::new(Arc::new(Remote::new(bucket, runtime)));
    tokio::task::spawn_blocking(move || {
        let large = vec![b'a'; 100_000];
        let digest = put(&remote, &large);
        assert_eq!(remote.get(&digest).unwrap(), large);
        assert_eq!(remote.wire(&digest).unwrap().encoding, Encoding::Zstd);
        assert!(matches!(
            remote.get(&Digest::of(b"nothing")),
            Err(ObjectError::Missing { .. })
        ));
        let mut writer = remote.writer();
        writer.put(&large).unwrap();
        let (stats, lease) = writer.finish().unwrap();
        assert_eq!((stats.new_objects, stats.reused_objects), (0, 1));
        let mut seen = 0;
        remote
            .list(&mut |stored| {
                assert_eq!(stored.key, Key::Object(digest));
                seen += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, 1);
        let later = SystemTime::now() + Duration::from_hours(100);
        let hour = Duration::from_hours(1);
        let key = Key::Object(digest);
        assert!(!remote.remove(key, later, hour).unwrap(), "a push holds it");
        drop(lease);
        assert!(remote.remove(key, later, hour).unwrap());
        assert!(!remote.remove(key, later, hour).unwrap());
    })
    .await
    .unwrap();
}

/// A store that has all objects for old, and notices when one is written while one is removed.
#[derive(Debug, Default)]
struct Watchful {
    memory: Memory,
    removing: std::sync::atomic::AtomicBool,
    crossed: std::sync::atomic::AtomicBool,
}

impl Watchful {
    fn look(&self) {
        use std::sync::atomic::Ordering::SeqCst;
        if self.removing.load(SeqCst) {
            self.crossed.store(true, SeqCst);
        }
    }
}

impl Backend for Watchful {
    fn keep(&self, _key: Key) -> Result<bool, ObjectError> {
        self.look();
        Ok(false)
    }

    fn put_all(&self, blobs: &[(Key, Vec<u8>)], kept: &[Key]) -> Result<(), ObjectError> {
        self.look();
        self.memory.put_all(blobs, kept)?;
        self.look();
        Ok(())
    }

    fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError> {
        self.memory.get(key)
    }

    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        self.memory.list(each)
    }

    fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError> {
        use std::sync::atomic::Ordering::SeqCst;
        self.removing.store(true, SeqCst);
        // Between its look and its removal a bucket takes a while.
        for _ in 0..50 {
            std::thread::yield_now();
        }
        let removed = self.memory.remove(key, touched_before);
        self.removing.store(false, SeqCst);
        removed
    }
}

#[test]
fn nothing_is_written_over_while_the_collector_removes_it() {
    let backend = Arc::new(Watchful::default());
    let objects = Objects::new(backend.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300_u32 {
                put(&objects, &(round % 3).to_le_bytes());
            }
        });
        for round in 0..300_u32 {
            let key = Key::Object(Digest::of(&(round % 3).to_le_bytes()));
            let later = SystemTime::now() + Duration::from_hours(48);
            objects.remove(key, later, Duration::from_hours(1)).unwrap();
        }
    });
    assert!(!backend.crossed.load(std::sync::atomic::Ordering::SeqCst));
}
