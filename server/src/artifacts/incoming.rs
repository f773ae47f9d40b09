//! A file on its way from an agent: what has come of it, on disk.
//!
//! What holds here: what is on disk is a beginning of the file, and a transfer that broke off goes on
//! behind it; whether it is the right file is judged by its digest once it is whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mantle_shared::Digest;
use mantle_shared::ids::AttemptId;

use crate::packages::objects::{make_dir, private};

/// The folder of all of them. Its methods block.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

/// One of them, open.
#[derive(Debug)]
pub(super) struct Incoming {
    file: File,
    pub(super) path: PathBuf,
    pub(super) received_bytes: u64,
}

impl Folder {
    /// Makes it when it is not there.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        make_dir(&path).map_err(io::Error::other)?;
        Ok(Self { path })
    }

    fn file(&self, attempt: AttemptId, digest: &Digest) -> PathBuf {
        self.path.join(format!("{attempt}.{digest}"))
    }

    /// What has come of a file of this size. A leftover that is longer is something else.
    pub(super) fn begin(
        &self,
        attempt: AttemptId,
        digest: &Digest,
        size_bytes: u64,
    ) -> io::Result<Incoming> {
        let path = self.file(attempt, digest);
        let file = private().append(true).create(true).open(&path)?;
        let mut received_bytes = file.metadata()?.len();
        if received_bytes > size_bytes {
            file.set_len(0)?;
            received_bytes = 0;
        }
        Ok(Incoming {
            file,
            path,
            received_bytes,
        })
    }

    /// Removes what came of a file.
    pub(super) fn remove(&self, attempt: AttemptId, digest: &Digest) {
        // What is left is found at the next start.
        let _ = fs::remove_file(self.file(attempt, digest));
    }

    /// The files of which something is there.
    pub(super) fn list(&self) -> Vec<(AttemptId, Digest)> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let (attempt, digest) = name.to_str()?.split_once('.')?;
                Some((attempt.parse().ok()?, digest.parse().ok()?))
            })
            .collect()
    }
}

impl Incoming {
    /// Appends what came.
    pub(super) fn append(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.received_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The digest of a file.
pub(super) fn digest(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(Digest::from(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use mantle_shared::uuid::Uuid;

    use super::*;

    #[test]
    fn a_transfer_goes_on_behind_what_is_there_unless_that_is_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path().join("incoming")).unwrap();
        let attempt = AttemptId::from_uuid(Uuid::from_u128(1));
        let wanted = Digest::of(b"abcdef");
        let begin = |size_bytes| folder.begin(attempt, &wanted, size_bytes).unwrap();
        begin(6).append(&Bytes::from_static(b"abc")).unwrap();
        let mut rest = begin(6);
        assert_eq!(rest.received_bytes, 3);
        rest.append(&Bytes::from_static(b"def")).unwrap();
        assert_eq!(digest(&rest.path).unwrap(), wanted);
        assert_eq!(folder.list(), [(attempt, wanted)]);
        assert_eq!(begin(5).received_bytes, 0, "it was longer than that");
        folder.remove(attempt, &wanted);
        assert_eq!(folder.list(), []);
    }
}
