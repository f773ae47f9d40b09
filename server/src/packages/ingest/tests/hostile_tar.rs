//! Tars that must be refused, each with its reason and its entry.

use super::*;

fn tar() -> RawTar {
    RawTar::default()
}

/// Refused for the same reason however it is compressed.
fn refuse(archive: RawTar) -> Refusal {
    let archive = archive.end();
    let whys = tars(&archive)
        .map(|(packed, format)| refusal(take_in(&Objects::memory(), &packed, format)).1);
    for why in &whys {
        assert_eq!(*why, whys[0]);
    }
    whys[0].clone()
}

fn damaged(archive: &[u8]) -> String {
    let whats =
        tars(archive).map(|(packed, format)| damage(take_in(&Objects::memory(), &packed, format)));
    for what in &whats {
        assert_eq!(*what, whats[0]);
    }
    whats[0].clone()
}

#[test]
fn a30_a_link_and_then_a_file_through_it() {
    for (archive, why) in [
        (
            tar().link("l", "/etc").file("l/passwd", 0o644, b"x"),
            Refusal::LinkAbsolute("/etc".into()),
        ),
        (
            tar().folder("d").link("l", "d").file("l/f", 0o644, b"x"),
            Refusal::ThroughLink("l".into()),
        ),
        (
            tar().link("a/l", "../../out"),
            Refusal::LinkLeaves("../../out".into()),
        ),
        (
            tar().link("x", "d").link("d/y", "../x/../..").folder("e"),
            Refusal::LinkTarget("goes down and up again; write it without '..' after a name"),
        ),
        (
            tar().file("f", 0o644, b"x").link("f", "g"),
            Refusal::Duplicate,
        ),
    ] {
        assert_eq!(refuse(archive), why);
    }
}

#[test]
fn a30_hard_links_out_and_to_what_is_not_there() {
    for target in ["/etc/passwd", "../x", "nowhere", "d", "l"] {
        let archive = tar().folder("d").file("f", 0o644, b"x").link("l", "f");
        let why = refuse(archive.hard_link("h", target));
        assert_eq!(why, Refusal::HardLink(target.into()), "{target}");
    }
    let objects = Objects::memory();
    let archive = tar().file("f", 0o755, b"x").hard_link("h", "f").end();
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    let held = held(&objects, &taken.summary.root);
    assert_eq!(held["h"], held["f"]);
}

#[test]
fn a30_devices_pipes_and_sparse_files() {
    for flag in [b'3', b'4', b'6', b'S', b'V', b'Z'] {
        let why = refuse(tar().raw(flag, "thing", "", 0o644, 0, b""));
        assert!(matches!(why, Refusal::Special(_)), "{flag}");
    }
    let sparse = tar()
        .pax(&[("GNU.sparse.major", "1")])
        .file("f", 0o644, b"x")
        .end();
    assert!(damaged(&sparse).contains("sparse"));
}

#[test]
fn a30_setuid_is_dropped_and_told() {
    let objects = Objects::memory();
    let archive = tar().file("su", 0o4755, b"x").end();
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    assert!(taken.warnings.iter().any(|w| w.contains("setuid")));
    let plain = tar().file("su", 0o755, b"x").end();
    let same = take_in(&objects, &plain, Format::Tar).unwrap();
    assert_eq!(taken.summary.root, same.summary.root);
}

#[test]
fn a30_two_names_for_one_entry() {
    let two = tar()
        .gnu_long(b'L', "one")
        .pax(&[("path", "two")])
        .file("three", 0o644, b"x")
        .end();
    assert!(damaged(&two).contains("two different"));
    let twice = tar()
        .pax(&[("path", "one")])
        .pax(&[("path", "two")])
        .file("three", 0o644, b"x")
        .end();
    assert!(damaged(&twice).contains("twice"));
    let agree = tar()
        .gnu_long(b'L', "one")
        .pax(&[("path", "one")])
        .file("three", 0o644, b"x")
        .end();
    let objects = Objects::memory();
    let taken = take_in(&objects, &agree, Format::Tar).unwrap();
    assert!(held(&objects, &taken.summary.root).contains_key("one"));
    let global = tar()
        .raw(b'g', "g", "", 0o644, 13, b"13 path=evil\n")
        .file("f", 0o644, b"x")
        .end();
    assert!(damaged(&global).contains("global"));
}

#[test]
fn a30_a_pax_size_for_what_has_none() {
    // The attack shows one reader a folder and another the archive inside its "content".
    let why = refuse(tar().pax(&[("size", "512")]).folder("d"));
    assert!(matches!(why, Refusal::Disagreement(_)));
    let why = refuse(tar().pax(&[("size", "512")]).link("l", "x"));
    assert!(matches!(why, Refusal::Disagreement(_)));
    // For a file it is the size, whatever the header says.
    let objects = Objects::memory();
    let archive = tar()
        .pax(&[("size", "5")])
        .raw(b'0', "f", "", 0o644, 0, b"12345")
        .end();
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    assert_eq!(taken.summary.size_bytes, 5);
}

#[test]
fn malformed_headers() {
    for records in ["", "x", "5 a=b\n", "99 a=b\n", "6 a=bc", "0 \n", "-1 a=b\n"] {
        let archive = tar()
            .raw(
                b'x',
                "p",
                "",
                0o644,
                records.len() as u64,
                records.as_bytes(),
            )
            .file("f", 0o644, b"x")
            .end();
        let taken = take_in(&Objects::memory(), &archive, Format::Tar);
        assert_eq!(taken.is_ok(), records.is_empty(), "{records:?}");
    }
    let mut flipped = tar().file("f", 0o644, b"x").file("g", 0o644, b"y").end();
    flipped[1024 + 10] ^= 1;
    assert!(damaged(&flipped).contains("checksum"));
    assert!(damaged(&tar().raw(b'x', "p", "", 0o644, 2 << 20, b"").end()).contains("1 MiB"));
    assert!(damaged(&tar().pax(&[("path", "x")]).end()).contains("no entry"));
}

#[test]
fn ends() {
    let whole = tar().file("f", 0o644, b"content").end();
    assert!(damaged(&tar().file("f", 0o644, b"content").open()).contains("cut short"));
    assert!(damaged(&whole[..700]).contains("cut short"));
    let concatenated = [whole.clone(), whole.clone()].concat();
    assert!(damaged(&concatenated).contains("follows its end"));
    let padded = [whole.clone(), vec![0; 10240]].concat();
    assert!(take_in(&Objects::memory(), &padded, Format::Tar).is_ok());
}

#[test]
fn compressed_streams_that_are_cut_or_damaged() {
    let plain = tar().file("f", 0o644, &noise(1, 5000)).end();
    for (packed, format) in tars(&plain).into_iter().skip(1) {
        let objects = Objects::memory();
        assert!(take_in(&objects, &packed, format).is_ok());
        for cut in [packed.len() - 1, packed.len() - 9, packed.len() / 2] {
            let what = damage(take_in(&objects, &packed[..cut], format));
            assert!(!what.is_empty());
        }
        let mut flipped = packed.clone();
        let at = flipped.len() / 2;
        flipped[at] ^= 0x55;
        assert!(take_in(&objects, &flipped, format).is_err() || format == Format::TarZst);
        let trailing = [packed, b"garbage".to_vec()].concat();
        assert!(take_in(&objects, &trailing, format).is_err());
    }
}

#[test]
fn streams_one_after_the_other_are_one() {
    // As pigz, pbzip2, pixz and `cat` write them.
    let plain = tar()
        .file("a", 0o644, &noise(1, 5000))
        .file("b", 0o644, b"second")
        .end();
    let (first, second) = plain.split_at(3000);
    for pack in [gzip, zstd, bzip2, xz] {
        let objects = Objects::memory();
        let packed = [pack(first), pack(second)].concat();
        let taken = ingest_reader(
            &objects,
            Cursor::new(packed),
            "any",
            None,
            &IngestOptions::default(),
        )
        .unwrap();
        assert_eq!(held(&objects, &taken.summary.root).len(), 2);
    }
}

#[test]
fn a29_names_that_leave_are_found_in_every_compression() {
    for name in [
        "../x", "/x", "C:x", "C:\\x", "\\\\h\\s", "a\\..\\b", "CON", "a:b", "a.", "a ",
    ] {
        let why = refuse(tar().file(name, 0o644, b"x"));
        assert_ne!(why, Refusal::Duplicate, "{name}");
    }
    assert_eq!(
        refuse(tar().file("a", 0o644, b"1").file("a", 0o644, b"2")),
        Refusal::Duplicate
    );
    assert_eq!(
        refuse(tar().file("a", 0o644, b"1").file("A", 0o644, b"2")),
        Refusal::CaseCollision("a".into())
    );
}
