//! Bytes that cannot be compressed, and packages of them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The name of the file in the packages.
const FILE_NAME: &str = "payload.bin";

/// So many bytes; others for another seed.
pub(crate) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    // An extendable hash is as good as noise, and the same in every run.
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Packs these bytes as the one file of an archive.
pub(crate) fn pack(archive: &Path, bytes: &[u8]) -> Result<()> {
    pack_files(archive, &[(FILE_NAME, bytes)])
}

/// Packs files with these names and contents.
pub(crate) fn pack_files(
    archive: &Path,
    files: &[(impl AsRef<Path>, impl AsRef<[u8]>)],
) -> Result<()> {
    let work = || -> std::io::Result<()> {
        let mut tar =
            tar::Builder::new(GzEncoder::new(File::create(archive)?, Compression::none()));
        for (name, bytes) in files {
            let bytes = bytes.as_ref();
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes)?;
        }
        tar.into_inner()?.finish()?.flush()
    };
    work().with_context(|| format!("packing {}", archive.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_holds_what_was_packed_and_no_less() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tar.gz");
        let packed = bytes(7, 300_000);
        assert_ne!(packed, bytes(8, 300_000));
        pack(&archive, &packed).unwrap();
        assert!(archive.metadata().unwrap().len() >= 300_000);
        let mut tar =
            tar::Archive::new(flate2::read::GzDecoder::new(File::open(&archive).unwrap()));
        let mut entry = tar.entries().unwrap().next().unwrap().unwrap();
        let mut unpacked = Vec::new();
        entry.read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, packed);
    }
}
