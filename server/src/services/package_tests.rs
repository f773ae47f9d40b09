//! Packages as people push them: what is refused, what is read for it, and what a push repairs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::packages::ingest::tests::tar_of;
use crate::packages::objects::{Backend, Key, Memory, ObjectError, Objects, Stored};
use crate::services::testing::{a_house, a_house_storing_in};

#[tokio::test]
async fn what_windows_cannot_have_is_taken_for_linux_alone_and_stays_so_marked() {
    let house = a_house().await;
    let bytes = tar_of(&[("aux.txt", b"1".as_slice()), ("A", b"2"), ("a", b"3")]);
    let refused = house.push_tar("Shop", "1.0.0", bytes.clone(), None).await;
    let Err(Error::Invalid { detail, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(detail.contains("push with --platform linux"), "{detail}");
    let linux = Some(PackagePlatform::Linux);
    let pushed = house.push_tar("Shop", "1.0.0", bytes, linux).await.unwrap();
    assert_eq!((pushed.platform, pushed.files), (linux, 3));
    let (services, admin) = (&house.services, &house.admin);
    let shown = services.package_show(admin, "Shop", "1.0.0").await.unwrap();
    assert_eq!(shown.platform, linux);
    house.push("Shop", "1.1.0", "anywhere").await;
    let shown = services.package_show(admin, "Shop", "1.1.0").await.unwrap();
    assert_eq!(shown.platform, None);
}

#[tokio::test]
async fn what_lost_bytes_is_made_whole_by_the_same_push_and_by_no_other() {
    let house = a_house().await;
    let bytes = tar_of(&[("index.html", b"hello".as_slice()), ("app.js", b"run")]);
    house
        .push_tar("Shop", "1.0.0", bytes.clone(), None)
        .await
        .unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let request = |bytes: &[u8]| UploadCreate {
        file_name: "Shop.1.0.0.tar".to_owned(),
        size_bytes: bytes.len() as u64,
        digest: Digest::of(bytes).to_string(),
        id: None,
        version: None,
    };
    let again = services
        .upload_create(admin, &request(&bytes))
        .await
        .unwrap();
    assert!(again.present);
    let mut tx = services.store.read().await.unwrap();
    let row = package_version_find(&mut tx, "Shop", "1.0.0")
        .await
        .unwrap()
        .unwrap();
    drop(tx);
    let objects = services.packages.objects();
    let lost = Digest::of(b"hello");
    let later = SystemTime::now() + Duration::from_hours(48);
    assert!(
        objects
            .remove(Key::Object(lost), later, Duration::ZERO)
            .unwrap()
    );
    let other = tar_of(&[("index.html", b"another".as_slice())]);
    let refused = services.upload_create(admin, &request(&other)).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    house
        .push_tar("Shop", "1.0.0", bytes.clone(), None)
        .await
        .unwrap();
    let whole = services
        .packages
        .verify(&row.root, &row.archive)
        .await
        .unwrap();
    assert!(whole.is_intact(), "{whole:?}");
    assert!(
        services
            .upload_create(admin, &request(&bytes))
            .await
            .unwrap()
            .present
    );
}

/// A store that counts what is read.
#[derive(Debug, Default)]
struct Counted {
    inner: Memory,
    reads: AtomicUsize,
}

impl Backend for Counted {
    fn keep(&self, key: Key) -> std::result::Result<bool, ObjectError> {
        self.inner.keep(key)
    }

    fn put_all(
        &self,
        blobs: &[(Key, Vec<u8>)],
        kept: &[Key],
    ) -> std::result::Result<(), ObjectError> {
        self.inner.put_all(blobs, kept)
    }

    fn get(&self, key: Key) -> std::result::Result<Option<Bytes>, ObjectError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key)
    }

    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> std::result::Result<(), ObjectError>,
    ) -> std::result::Result<(), ObjectError> {
        self.inner.list(each)
    }

    fn remove(
        &self,
        key: Key,
        touched_before: SystemTime,
    ) -> std::result::Result<bool, ObjectError> {
        self.inner.remove(key, touched_before)
    }
}

#[tokio::test]
async fn other_bytes_are_refused_by_their_digest_and_looking_ends_at_the_first_that_is_lost() {
    let counted = Arc::new(Counted::default());
    let house = a_house_storing_in(Objects::new(counted.clone())).await;
    let texts: Vec<(String, Vec<u8>)> = (0..100)
        .map(|n| (format!("{n:03}.txt"), format!("file {n}").into_bytes()))
        .collect();
    let files: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_slice()))
        .collect();
    let bytes = tar_of(&files);
    house
        .push_tar("Shop", "1.0.0", bytes.clone(), None)
        .await
        .unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let request = |bytes: &[u8]| UploadCreate {
        file_name: "Shop.1.0.0.tar".to_owned(),
        size_bytes: bytes.len() as u64,
        digest: Digest::of(bytes).to_string(),
        id: None,
        version: None,
    };
    let read = || counted.reads.swap(0, Ordering::Relaxed);
    read();
    let refused = services.upload_create(admin, &request(b"other")).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(read(), 0, "nothing is read to refuse other bytes");

    let again = services
        .upload_create(admin, &request(&bytes))
        .await
        .unwrap();
    assert!(again.present);
    assert!(read() > 100, "the same bytes are looked at, every one");

    let later = SystemTime::now() + Duration::from_hours(48);
    for text in ["file 0", "file 50"] {
        let lost = Key::Object(Digest::of(text.as_bytes()));
        let objects = services.packages.objects();
        assert!(objects.remove(lost, later, Duration::ZERO).unwrap());
    }
    let repair = services
        .upload_create(admin, &request(&bytes))
        .await
        .unwrap();
    assert!(!repair.present, "its bytes are wanted again");
    let so_far = read();
    assert!(so_far < 20, "{so_far} objects were read after one was lost");
}

#[test]
fn a_full_disk_names_what_is_kept_free() {
    let error = UploadError::NoSpace {
        path: "/data/uploads".into(),
    };
    let said = begin_error(error, 42).to_string();
    assert!(
        said.contains("/data/uploads") && said.contains("42 bytes"),
        "{said}"
    );
    assert!(
        said.contains("268435456 bytes of the disk are kept free"),
        "{said}"
    );
}

#[test]
fn archives_that_packages_cannot_be_are_called_so() {
    for good in [
        "a.1.0.zip",
        "a.1.0.tar.gz",
        "a.1.0.tar.XZ",
        "a.1.0.tbz2",
        "a.1.0.nupkg",
        "a.1.0",
    ] {
        assert!(check_ending(good).is_ok(), "{good}");
    }
    for bad in ["a.1.0.rar", "a.1.0.7Z", "a.1.0.xz", "a.1.0.tar.lz4"] {
        let said = check_ending(bad).unwrap_err().to_string();
        assert!(said.contains("not supported"), "{said}");
    }
}
