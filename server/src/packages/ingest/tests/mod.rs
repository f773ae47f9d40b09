//! Archives that must be taken in, and archives that must not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod golden;
mod hostile_tar;
mod hostile_zip;
mod limits;
mod raw_tar;
mod raw_zip;
mod round_trip;

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use mantle_shared::Digest;
use mantle_shared::manifest::EntryKind;

pub(crate) use self::raw_tar::{RawTar, tar_of};
pub(crate) use self::raw_zip::{RawEntry, RawZip, zip_of};
use super::{
    Format, IngestError, IngestOptions, Ingested, Limits, Platform, Refusal, ingest_reader,
};
use crate::packages::objects::Objects;

/// What a package holds, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    File { content: Vec<u8>, executable: bool },
    Folder,
    Link(String),
}

pub(crate) fn take_in(
    objects: &Objects,
    archive: &[u8],
    format: Format,
) -> Result<Ingested, IngestError> {
    take_in_with(objects, archive, format, &IngestOptions::default())
}

pub(crate) fn take_in_with(
    objects: &Objects,
    archive: &[u8],
    format: Format,
    options: &IngestOptions,
) -> Result<Ingested, IngestError> {
    ingest_reader(objects, Cursor::new(archive), "test", Some(format), options)
}

pub(crate) fn for_linux() -> IngestOptions {
    IngestOptions {
        platform: Platform::Linux,
        ..IngestOptions::default()
    }
}

/// Everything below a root, read back from the store.
pub(crate) fn held(objects: &Objects, root: &Digest) -> BTreeMap<String, Held> {
    let mut out = BTreeMap::new();
    let mut open = vec![(*root, String::new())];
    while let Some((node, prefix)) = open.pop() {
        for entry in objects.tree(&node).unwrap().entries() {
            let path = format!("{prefix}{}", entry.name);
            let what = match &entry.kind {
                EntryKind::Dir { digest, .. } => {
                    open.push((*digest, format!("{path}/")));
                    Held::Folder
                }
                EntryKind::Symlink { target } => Held::Link(target.clone()),
                EntryKind::File {
                    executable,
                    size_bytes,
                    digest,
                    chunks,
                } => {
                    let mut content = Vec::new();
                    if chunks.is_empty() {
                        content.extend_from_slice(&objects.get(digest).unwrap());
                    }
                    for chunk in chunks {
                        let bytes = objects.get(&chunk.digest).unwrap();
                        assert_eq!(bytes.len(), chunk.length as usize);
                        content.extend_from_slice(&bytes);
                    }
                    assert_eq!(content.len() as u64, *size_bytes);
                    assert_eq!(Digest::of(&content), *digest);
                    Held::File {
                        content,
                        executable: *executable,
                    }
                }
            };
            out.insert(path, what);
        }
    }
    out
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar in every form in which one may come.
pub(crate) fn tars(plain: &[u8]) -> [(Vec<u8>, Format); 5] {
    [
        (plain.to_vec(), Format::Tar),
        (gzip(plain), Format::TarGz),
        (zstd(plain), Format::TarZst),
        (bzip2(plain), Format::TarBz2),
        (xz(plain), Format::TarXz),
    ]
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// The refusal of an archive, and the entry that it names.
fn refusal(result: Result<Ingested, IngestError>) -> (String, Refusal) {
    match result {
        Err(IngestError::Refused { entry, why }) => (entry, why),
        Err(other) => panic!("refused otherwise: {other}"),
        Ok(taken) => panic!("taken in: {:?}", taken.summary),
    }
}

/// What is said of a damaged archive.
fn damage(result: Result<Ingested, IngestError>) -> String {
    match result {
        Err(IngestError::Damaged { what }) => what,
        Err(other) => panic!("refused otherwise: {other}"),
        Ok(taken) => panic!("taken in: {:?}", taken.summary),
    }
}
