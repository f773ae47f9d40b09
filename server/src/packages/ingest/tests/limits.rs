//! Bombs, and what memory a large archive takes.

use std::io::{self, Read, Seek, SeekFrom};

use super::*;
use crate::packages::ingest::StopFlag;
use crate::packages::objects::ObjectError;

fn with(limits: Limits) -> IngestOptions {
    IngestOptions {
        limits,
        ..IngestOptions::default()
    }
}

#[test]
fn a31_zeros_are_a_bomb_in_every_format() {
    let zeros = vec![0; 3 << 20];
    let limits = Limits {
        ratio: 100,
        ratio_from_bytes: 1 << 20,
        ..Limits::default()
    };
    let tar = tar_of(&[("zeros", &zeros)]);
    for (archive, format) in [(
        zip_of(vec![RawEntry::deflated("zeros", &zeros)]),
        Format::Zip,
    )]
    .into_iter()
    .chain(tars(&tar).into_iter().skip(1))
    {
        let result = take_in_with(&Objects::memory(), &archive, format, &with(limits));
        assert!(
            matches!(result, Err(IngestError::Bomb { ratio: 100 })),
            "{format}"
        );
    }
    // Headers count as well as content.
    let headers = (0..4000)
        .fold(RawTar::default(), |tar, n| tar.folder(&format!("d{n}")))
        .end();
    let result = take_in_with(
        &Objects::memory(),
        &zstd(&headers),
        Format::TarZst,
        &with(limits),
    );
    assert!(matches!(result, Err(IngestError::Bomb { .. })));
}

#[test]
fn a31_too_much_content_and_too_many_entries() {
    let limits = Limits {
        unpacked_bytes: 1000,
        entries: 10,
        ..Limits::default()
    };
    let large = vec![7; 2000];
    for (archive, format) in [
        (
            zip_of(vec![RawEntry::deflated("large", &large)]),
            Format::Zip,
        ),
        (tar_of(&[("large", &large)]), Format::Tar),
    ] {
        let result = take_in_with(&Objects::memory(), &archive, format, &with(limits));
        assert!(matches!(
            result,
            Err(IngestError::TooLarge { limit_bytes: 1000 })
        ));
    }
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let names: Vec<String> = (0..11).map(|n| format!("f{n}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b""[..])).collect();
    let zip = names.iter().map(|n| RawEntry::stored(n, b"")).collect();
    let implied = vec![RawEntry::stored("1/2/3/4/5/6/7/8/9/10/f", b"")];
    for (archive, format) in [
        (zip_of(zip), Format::Zip),
        (zip_of(implied), Format::Zip),
        (tar_of(&files), Format::Tar),
    ] {
        let result = take_in_with(&Objects::memory(), &archive, format, &with(limits));
        assert!(matches!(
            result,
            Err(IngestError::TooManyEntries { limit: 10 })
        ));
    }
    // A size that is a lie is refused before anything is unpacked.
    let lie = RawEntry {
        size: u32::MAX - 1,
        ..RawEntry::stored("lie", b"x")
    };
    let limits = Limits {
        unpacked_bytes: 1 << 30,
        ..Limits::default()
    };
    let result = take_in_with(
        &Objects::memory(),
        &zip_of(vec![lie]),
        Format::Zip,
        &with(limits),
    );
    assert!(matches!(result, Err(IngestError::TooLarge { .. })));
}

#[test]
fn a31_hard_links_count_as_often_as_they_stand() {
    let limits = Limits {
        unpacked_bytes: 1 << 20,
        ..Limits::default()
    };
    let archive = (0..20)
        .fold(
            RawTar::default().file("f", 0o644, &noise(1, 100_000)),
            |tar, n| tar.hard_link(&format!("h{n}"), "f"),
        )
        .end();
    let result = take_in_with(&Objects::memory(), &archive, Format::Tar, &with(limits));
    assert!(matches!(result, Err(IngestError::TooLarge { .. })));
}

/// The same xz stream, whose header asks for a dictionary of nearly 4 GiB.
fn with_huge_dictionary(mut xz: Vec<u8>) -> Vec<u8> {
    // After the stream's header of 12 bytes: the block's, whose first byte tells its size and whose last
    // four are its checksum.
    let size = (usize::from(xz[12]) + 1) * 4;
    let header = &mut xz[12..12 + size];
    let filter = header.windows(2).position(|w| w == [0x21, 1]).unwrap();
    header[filter + 2] = 40;
    let mut crc = flate2::Crc::new();
    crc.update(&header[..size - 4]);
    header[size - 4..].copy_from_slice(&crc.sum().to_le_bytes());
    xz
}

#[test]
fn a31_a_window_that_takes_all_memory_is_refused_before_it_is_made() {
    let tar = tar_of(&[("f", b"x")]);
    let xz = with_huge_dictionary(xz(&tar));
    // A frame's header by hand: its window of 2 GiB, and one raw block that is not read any more.
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    zstd.extend([0x01, 0x00, 0x00]);
    for (archive, format) in [(xz, Format::TarXz), (zstd, Format::TarZst)] {
        let result = take_in(&Objects::memory(), &archive, format);
        assert!(matches!(result, Err(IngestError::Window)), "{result:?}");
    }
}

#[test]
fn a31_an_archive_in_an_archive_stays_one() {
    let inner = zip_of(vec![RawEntry::deflated("zeros", &vec![0; 1 << 20])]);
    let objects = Objects::memory();
    let archive = zip_of(vec![RawEntry::stored("inner.zip", &inner)]);
    let taken = take_in(&objects, &archive, Format::Zip).unwrap();
    assert_eq!(taken.summary.files, 1);
    assert_eq!(taken.summary.size_bytes, inner.len() as u64);
}

#[test]
fn work_that_is_given_up_stops() {
    let stop = StopFlag::default();
    stop.stop();
    let options = IngestOptions {
        stop,
        ..IngestOptions::default()
    };
    let archive = zip_of(vec![RawEntry::stored("a", b"x")]);
    let result = take_in_with(&Objects::memory(), &archive, Format::Zip, &options);
    assert!(matches!(
        result,
        Err(IngestError::Store(ObjectError::Stopped))
    ));
}

/// A tar with one huge file of repeating content, which exists nowhere.
struct Huge {
    head: Vec<u8>,
    size: u64,
    at: u64,
    largest_read: usize,
}

impl Read for Huge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.largest_read = self.largest_read.max(buffer.len());
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        for (at, byte) in (self.at..).zip(&mut buffer[..count]) {
            *byte = match usize::try_from(at) {
                Ok(at) if at < self.head.len() => self.head[at],
                _ if at + 1024 >= self.size => 0,
                _ => 7,
            };
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Huge {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(back) => self.size.saturating_add_signed(back),
            SeekFrom::Current(step) => self.at.saturating_add_signed(step),
        };
        Ok(self.at)
    }
}

#[test]
fn a_large_file_is_never_held_whole() {
    let content: u64 = 96 << 20;
    let head = RawTar::default()
        .raw(b'0', "huge", "", 0o644, content, b"")
        .open();
    let mut huge = Huge {
        head,
        size: content + 512 + 1024,
        at: 0,
        largest_read: 0,
    };
    let objects = Objects::memory();
    let taken = ingest_reader(
        &objects,
        &mut huge,
        "x.tar",
        None,
        &IngestOptions::default(),
    )
    .unwrap();
    assert_eq!(taken.summary.size_bytes, content);
    assert!(huge.largest_read <= 512 * 1024, "{}", huge.largest_read);
    // The content repeats, and so do its chunks: the store holds one of them.
    assert!(taken.new_objects < 20, "{}", taken.new_objects);
}

#[test]
fn arbitrary_bytes_always_return() {
    let seeds = [
        zip_of(vec![
            RawEntry::deflated("a/b", b"content"),
            RawEntry::link("l", "a"),
        ]),
        RawTar::default()
            .pax(&[("path", "p")])
            .file("f", 0o644, b"x")
            .end(),
        gzip(&tar_of(&[("f", b"x")])),
        zstd(&tar_of(&[("f", b"x")])),
        bzip2(&tar_of(&[("f", b"x")])),
        xz(&tar_of(&[("f", b"x")])),
    ];
    for (kind, seed) in seeds.iter().enumerate() {
        let choice = [0_u8, 4, 5, 6, 7, 8][kind];
        let mut input = vec![choice];
        input.extend(seed);
        assert!(
            crate::packages::ingest::fuzz_entry(&input).is_ok(),
            "{kind}"
        );
        // Every byte bent in turn: most are refused, none may hang or panic.
        for at in 0..input.len().min(2000) {
            for bend in [0x01, 0x80, 0xff] {
                let mut bent = input.clone();
                bent[at] ^= bend;
                let _ = crate::packages::ingest::fuzz_entry(&bent);
            }
        }
    }
    for length in 0..200 {
        let _ = crate::packages::ingest::fuzz_entry(&noise(length, length as usize));
    }
}
