//! What the keeper of files gives back.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use super::super::ActionError;
use super::super::test_context::Bench;
use super::keeper::{Content, Keeper, Put};
use super::rights::Rights;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_file_is_put_once_and_given_back_with_its_rights() {
    let bench = Bench::new();
    let at = |name: &str| bench.dir.path().join(name);
    fs::write(at("a"), "old").unwrap();
    fs::set_permissions(at("a"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a", at("l")).unwrap();
    let node = fs::metadata(at("a")).unwrap().ino();
    bench.with_context(|context| {
        let mut keeper = Keeper::of(context, "A").unwrap();
        let mut put = |name: &str, text: &str, rights: Rights| {
            let content = Content::Bytes(text.as_bytes());
            keeper.put(&at(name), content, &rights).unwrap()
        };
        assert_eq!(put("l", "new", Rights::default()), Put::Written);
        assert_eq!(mode(&at("a")), 0o640, "kept");
        assert_eq!(put("a", "new", Rights::default()), Put::Unchanged);
        let strict = Rights {
            mode: Some(0o600),
            ..Rights::default()
        };
        assert_eq!(put("a", "new", strict), Put::Written);
        assert_eq!(put("d/e/b", "x", strict), Put::Written);
        assert_eq!((mode(&at("a")), mode(&at("d/e/b"))), (0o600, 0o600));
        keeper.remove(&at("l")).unwrap();
        // Another process goes on with what is on disk.
        let mut later = Keeper::of(context, "A").unwrap();
        later.take_back_all(|| Ok(())).unwrap();
        assert!(Keeper::of(context, "A").unwrap().is_empty());
    });
    assert_eq!(fs::read_to_string(at("l")).unwrap(), "old");
    assert_eq!(mode(&at("a")), 0o640);
    assert_eq!(fs::metadata(at("a")).unwrap().ino(), node, "the very file");
    assert!(at("l").is_symlink() && !at("d").exists());
    let hidden = fs::read_dir(bench.dir.path()).unwrap().flatten();
    let hidden = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "nothing is left over");
}

#[test]
fn work_that_fails_or_is_stopped_leaves_nothing_changed() {
    let bench = Bench::new();
    let path = bench.dir.path().join("a");
    let folder = bench.dir.path().join("b");
    fs::write(&path, "old").unwrap();
    fs::create_dir(&folder).unwrap();
    bench.with_context(|context| {
        let mut keeper = Keeper::of(context, "A").unwrap();
        let plain = Rights::default();
        let error = keeper
            .whole(|keeper| {
                keeper.put(&path, Content::Bytes(b"new"), &plain)?;
                keeper.put(&folder, Content::Bytes(b"x"), &plain)
            })
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is a folder") && error.ends_with("as it was before again"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        context.stop.stop();
        let other = bench.dir.path().join("c");
        let stopped = keeper.whole(|keeper| {
            keeper.put(&path, Content::Bytes(b"new"), &plain)?;
            keeper.put(&other, Content::File(&path), &plain)
        });
        assert_eq!(stopped, Err(ActionError::Stopped));
        assert!(keeper.is_empty() && !other.exists());
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}
