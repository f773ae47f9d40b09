//! Uploads that are cut, continued, lied about and given up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use sha2::Digest as _;

use super::*;

fn id() -> UploadId {
    UploadId(Uuid::now_v7())
}

fn spec(content: &[u8]) -> UploadSpec {
    UploadSpec {
        file_name: "Acme.Web.1.0.0.zip".into(),
        size_bytes: content.len() as u64,
        blake3: Some(Digest::of(content)),
        sha256: Some(hex::encode(sha2::Sha256::digest(content)).to_uppercase()),
    }
}

fn open(dir: &Path) -> Uploads {
    Uploads::open(dir, UploadLimits::default()).unwrap()
}

async fn send(uploads: &Uploads, id: UploadId, offset: u64, part: &[u8]) -> u64 {
    let mut append = uploads.append(id, offset).await.unwrap();
    for piece in part.chunks(1000) {
        append.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    append.finish().await.unwrap()
}

#[tokio::test]
async fn s73_an_upload_cut_at_60_per_cent_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let (first, rest) = content.split_at(60_000);
    let id = id();
    {
        let uploads = open(dir.path());
        uploads.create(id, spec(&content)).await.unwrap();
        let mut append = uploads.append(id, 0).await.unwrap();
        append.write(Bytes::copy_from_slice(first)).await.unwrap();
        // The connection is cut and the server killed: no end of the piece.
    }
    let uploads = open(dir.path());
    assert!(matches!(
        uploads.finish(id).await,
        Err(UploadError::Incomplete {
            received_bytes: 60_000,
            ..
        })
    ));
    // The client asks by beginning again, as it does when it does not know.
    let status = uploads.create(id, spec(&content)).await.unwrap();
    assert_eq!(status.received_bytes, 60_000);
    assert_eq!(send(&uploads, id, 60_000, rest).await, 100_000);
    let finished = uploads.finish(id).await.unwrap();
    assert_eq!(finished.digest, Digest::of(&content));
    assert_eq!(fs::read(&finished.path).unwrap(), content);
    // Finishing again after a crash is no different; removal ends it.
    assert_eq!(uploads.finish(id).await.unwrap(), finished);
    uploads.remove(id).await.unwrap();
    uploads.remove(id).await.unwrap();
    assert!(matches!(
        uploads.status(id).await,
        Err(UploadError::Unknown { .. })
    ));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_wrong_offset_is_answered_with_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = open(dir.path());
    let id = id();
    uploads.create(id, spec(b"0123456789")).await.unwrap();
    send(&uploads, id, 0, b"01234").await;
    for offset in [0, 4, 6, 100] {
        let error = uploads.append(id, offset).await.unwrap_err();
        assert!(matches!(error, UploadError::WrongOffset { right: 5, .. }));
        assert!(error.to_string().contains("go on from 5"));
    }
    assert_eq!(send(&uploads, id, 5, b"56789").await, 10);
}

#[tokio::test]
async fn a36_more_than_promised_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = open(dir.path());
    let id = id();
    uploads.create(id, spec(b"0123456789")).await.unwrap();
    let mut append = uploads.append(id, 0).await.unwrap();
    append.write(Bytes::from_static(b"01234567")).await.unwrap();
    let error = append.write(Bytes::from_static(b"89x")).await.unwrap_err();
    assert!(matches!(error, UploadError::TooLong { size_bytes: 10, .. }));
    assert_eq!(uploads.status(id).await.unwrap().received_bytes, 8);
}

#[tokio::test]
async fn another_connection_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = open(dir.path());
    let id = id();
    uploads.create(id, spec(b"0123456789")).await.unwrap();
    let mut old = uploads.append(id, 0).await.unwrap();
    old.write(Bytes::from_static(b"012")).await.unwrap();
    let mut new = uploads.append(id, 3).await.unwrap();
    let late = old.write(Bytes::from_static(b"345")).await.unwrap_err();
    assert!(matches!(late, UploadError::Superseded { .. }));
    new.write(Bytes::from_static(b"3456789")).await.unwrap();
    assert_eq!(new.finish().await.unwrap(), 10);
    uploads.finish(id).await.unwrap();
}

#[tokio::test]
async fn what_arrived_damaged_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = open(dir.path());
    for by_sha256 in [false, true] {
        let id = id();
        let mut promised = spec(b"0123456789");
        if by_sha256 {
            promised.blake3 = None;
        }
        uploads.create(id, promised).await.unwrap();
        send(&uploads, id, 0, b"012345678X").await;
        let error = uploads.finish(id).await.unwrap_err();
        assert!(matches!(error, UploadError::DigestMismatch { .. }));
        assert!(matches!(
            uploads.status(id).await,
            Err(UploadError::Unknown { .. })
        ));
    }
}

#[tokio::test]
async fn a36_limits_are_kept_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let limits = UploadLimits {
        file_bytes: 1000,
        open: 2,
        reserve_bytes: 0,
    };
    let uploads = Uploads::open(dir.path(), limits).unwrap();
    let mut large = spec(b"x");
    large.size_bytes = 1001;
    assert!(matches!(
        uploads.create(id(), large.clone()).await,
        Err(UploadError::TooLarge {
            limit_bytes: 1000,
            ..
        })
    ));
    let first = id();
    uploads.create(first, spec(b"x")).await.unwrap();
    uploads.create(id(), spec(b"y")).await.unwrap();
    assert!(matches!(
        uploads.create(id(), spec(b"z")).await,
        Err(UploadError::TooMany { limit: 2 })
    ));
    assert!(matches!(
        uploads.create(first, spec(b"y")).await,
        Err(UploadError::Conflict { .. })
    ));
    let vast = UploadLimits {
        file_bytes: u64::MAX,
        open: 10,
        reserve_bytes: u64::MAX,
    };
    let uploads = Uploads::open(dir.path(), vast).unwrap();
    assert!(matches!(
        uploads.create(id(), spec(b"z")).await,
        Err(UploadError::NoSpace { .. })
    ));
    assert_eq!(uploads.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_open_uploads_still_expect_is_spoken_for() {
    let dir = tempfile::tempdir().unwrap();
    let limits = UploadLimits {
        file_bytes: u64::MAX,
        open: 10,
        reserve_bytes: 0,
    };
    let Some(free) = files::free_bytes(dir.path()) else {
        return;
    };
    let large = |name: &str| UploadSpec {
        size_bytes: free / 10 * 6,
        ..spec(name.as_bytes())
    };
    let uploads = Uploads::open(dir.path(), limits).unwrap();
    let first = id();
    uploads.create(first, large("a")).await.unwrap();
    let refused = uploads.create(id(), large("b")).await;
    assert!(matches!(refused, Err(UploadError::NoSpace { .. })));
    // Also after a restart, and no more once the first is given up.
    drop(uploads);
    let uploads = Uploads::open(dir.path(), limits).unwrap();
    let refused = uploads.create(id(), large("b")).await;
    assert!(matches!(refused, Err(UploadError::NoSpace { .. })));
    uploads.remove(first).await.unwrap();
    uploads.create(id(), large("b")).await.unwrap();
}

#[tokio::test]
async fn what_has_come_is_not_spoken_for_twice() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = open(dir.path());
    let content = vec![7; 100_000];
    let id = id();
    uploads.create(id, spec(&content)).await.unwrap();
    let awaited = || {
        let awaited = &uploads.shared.awaited;
        awaited.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(awaited(), 100_000);
    send(&uploads, id, 0, &content[..60_000]).await;
    assert_eq!(awaited(), 40_000);
    send(&uploads, id, 60_000, &content[60_000..]).await;
    assert_eq!(awaited(), 0);
    uploads.remove(id).await.unwrap();
    assert_eq!(awaited(), 0);
}

#[tokio::test]
async fn the_reserve_is_kept_as_the_bytes_come() {
    let dir = tempfile::tempdir().unwrap();
    let id = id();
    open(dir.path())
        .create(id, spec(b"0123456789"))
        .await
        .unwrap();
    let full = UploadLimits {
        reserve_bytes: u64::MAX,
        ..UploadLimits::default()
    };
    let uploads = Uploads::open(dir.path(), full).unwrap();
    let mut append = uploads.append(id, 0).await.unwrap();
    let refused = append.write(Bytes::from_static(b"01234")).await;
    assert!(matches!(refused, Err(UploadError::NoSpace { .. })));
    assert_eq!(uploads.status(id).await.unwrap().received_bytes, 0);
}

#[tokio::test]
async fn abandoned_uploads_expire() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = open(dir.path());
    let (old, new) = (id(), id());
    uploads.create(old, spec(b"x")).await.unwrap();
    uploads.create(new, spec(b"y")).await.unwrap();
    let data = dir.path().join(old.to_string()).join("data");
    let day = Duration::from_hours(24);
    let file = fs::File::options().write(true).open(data).unwrap();
    file.set_modified(std::time::SystemTime::now() - day)
        .unwrap();
    assert_eq!(uploads.expire(day / 2).await.unwrap(), 1);
    let left = uploads.list().await.unwrap();
    assert_eq!(left.iter().map(|s| s.id).collect::<Vec<_>>(), [new]);
}

#[tokio::test]
async fn s74_what_a_kill_left_unborn_or_half_removed_is_no_upload() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["new-0198", "old-0198"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("data"), b"part").unwrap();
    }
    let uploads = open(dir.path());
    assert!(uploads.list().await.unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
