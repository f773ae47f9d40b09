//! Zips that must be refused, each with its reason and its entry.

use super::*;

fn refuse(entries: Vec<RawEntry>) -> (String, Refusal) {
    refusal(take_in(&Objects::memory(), &zip_of(entries), Format::Zip))
}

fn file(name: &str) -> RawEntry {
    RawEntry::stored(name, b"content")
}

#[test]
fn a29_paths_that_leave() {
    for (name, why) in [
        ("../evil", Refusal::Climbs),
        ("a/../../evil", Refusal::Climbs),
        ("..\\evil", Refusal::Climbs),
        ("/etc/passwd", Refusal::Absolute),
        ("C:\\evil", Refusal::DriveOrShare),
        ("C:evil", Refusal::DriveOrShare),
        ("\\\\server\\share\\evil", Refusal::DriveOrShare),
        ("\\\\?\\C:\\evil", Refusal::DriveOrShare),
        ("a\0.txt", Refusal::Nul),
    ] {
        let (entry, found) = refuse(vec![file("fine"), file(name)]);
        assert_eq!(found, why, "{name}");
        assert!(!entry.is_empty() && !entry.contains('\0'));
        // A DOS writer's backslashes are separators; that must not open a way out.
        let dos = refusal(take_in(
            &Objects::memory(),
            &zip_of(vec![file(name).dos()]),
            Format::Zip,
        ));
        assert!(
            matches!(
                dos.1,
                Refusal::Climbs | Refusal::Absolute | Refusal::DriveOrShare | Refusal::Nul
            ),
            "{name}: {dos:?}"
        );
    }
}

#[test]
fn a29_percent_encoded_paths_of_a_nupkg_are_checked_once_decoded() {
    let archive = zip_of(vec![file("%2e%2e/evil")]);
    let (_, why) = refusal(take_in(&Objects::memory(), &archive, Format::Nupkg));
    assert_eq!(why, Refusal::Climbs);
    let archive = zip_of(vec![file("a%00b")]);
    let (_, why) = refusal(take_in(&Objects::memory(), &archive, Format::Nupkg));
    assert_eq!(why, Refusal::Nul);
}

#[test]
fn a29_entries_that_meet() {
    use Refusal::{CaseCollision, Conflict, Duplicate, FormCollision};
    for (one, two, why) in [
        ("a.txt", "a.txt", Duplicate),
        ("a.txt", "A.TXT", CaseCollision("a.txt".into())),
        ("Dir/x", "dir/y", CaseCollision("Dir".into())),
        ("e\u{301}", "\u{e9}", FormCollision("\u{e9}".into())),
        ("e\u{301}/x", "\u{e9}/y", FormCollision("\u{e9}".into())),
        ("a", "a/b", Conflict("a".into())),
        ("a/b", "a", Conflict("a".into())),
    ] {
        let (_, found) = refuse(vec![file(one), file(two)]);
        assert_eq!(found, why, "{one} {two}");
    }
    // For Linux alone case makes a difference; the normal form cannot, as all names get one.
    let archive = zip_of(vec![
        file("a.txt"),
        file("A.TXT"),
        file("CON"),
        file("xx:y"),
    ]);
    let objects = Objects::memory();
    let taken = take_in_with(&objects, &archive, Format::Zip, &for_linux()).unwrap();
    assert_eq!(taken.summary.files, 4);
    let archive = zip_of(vec![file("e\u{301}"), file("\u{e9}")]);
    let refused = take_in_with(&objects, &archive, Format::Zip, &for_linux());
    assert!(matches!(refusal(refused).1, FormCollision(_)));
}

#[test]
fn a30_links_that_lead_out_or_through_links() {
    let link = RawEntry::link;
    for (entries, why) in [
        (
            vec![link("l", "../out")],
            Refusal::LinkLeaves("../out".into()),
        ),
        (
            vec![link("a/l", "../../etc/passwd")],
            Refusal::LinkLeaves("../../etc/passwd".into()),
        ),
        (
            vec![link("l", "/etc/passwd")],
            Refusal::LinkAbsolute("/etc/passwd".into()),
        ),
        (
            vec![link("l", "C:/x")],
            Refusal::LinkAbsolute("C:/x".into()),
        ),
        (
            vec![link("l", "..\\x")],
            Refusal::LinkAbsolute("..\\x".into()),
        ),
        (
            vec![link("l", "")],
            Refusal::LinkTarget("is empty or its own folder"),
        ),
        (
            vec![file("d/f"), link("l", "d"), link("m", "l/f")],
            Refusal::ThroughLink("l".into()),
        ),
        (
            vec![link("l", "d"), file("l/f")],
            Refusal::ThroughLink("l".into()),
        ),
        (vec![link("a", "b"), link("b", "a")], Refusal::LinkLoop),
        (vec![link("a", "a")], Refusal::LinkLoop),
    ] {
        let (_, found) = refuse(entries);
        assert_eq!(found, why);
    }
    let (_, found) = refuse(vec![link("l", "x/../../y")]);
    assert!(matches!(found, Refusal::LinkTarget(_)));
}

#[test]
fn a30_what_is_no_file() {
    for mode in [0o020_644, 0o060_644, 0o010_644, 0o140_644] {
        let (entry, why) = refuse(vec![file("dev/thing").mode(mode)]);
        assert!(matches!(why, Refusal::Special(_)), "{mode:o}: {why}");
        assert_eq!(entry, "dev/thing");
    }
}

#[test]
fn a32_headers_that_disagree() {
    let base = || RawEntry::deflated("good.txt", b"some content");
    for (entry, about) in [
        (
            RawEntry {
                local_name: Some(b"evil.txt".to_vec()),
                ..base()
            },
            "its name",
        ),
        (
            RawEntry {
                local_method: Some(0),
                ..base()
            },
            "its compression",
        ),
        (
            RawEntry {
                local_size: Some(5),
                ..base()
            },
            "its size",
        ),
        (
            RawEntry {
                local_crc: Some(5),
                ..base()
            },
            "its checksum",
        ),
        (
            RawEntry {
                local_flags: Some(0x801),
                ..base()
            },
            "its flags",
        ),
        (
            RawEntry {
                offset: Some(3),
                ..base()
            },
            "where it is",
        ),
        (
            RawEntry {
                local_size: Some(0),
                local_crc: Some(0),
                ..base()
            },
            "its size",
        ),
    ] {
        assert_eq!(
            refuse(vec![entry]).1,
            Refusal::Disagreement(about),
            "{about}"
        );
    }
}

#[test]
fn a32_a_streamed_entry_may_leave_the_local_header_blank() {
    let streamed = RawEntry {
        flags: 0x808,
        local_size: Some(0),
        local_crc: Some(0),
        tail: b"PK\x07\x08xxxxyyyyzzzz".to_vec(),
        ..RawEntry::deflated("a.txt", b"some content")
    };
    let archive = zip_of(vec![streamed, file("b.txt")]);
    let objects = Objects::memory();
    let taken = take_in(&objects, &archive, Format::Zip).unwrap();
    assert_eq!(taken.summary.files, 2);
}

#[test]
fn a32_entries_that_the_directory_does_not_name() {
    let hidden = zip_of(vec![file("hidden.txt")]);
    let objects = Objects::memory();
    for archive in [
        RawZip {
            entries: vec![file("shown.txt")],
            prefix: hidden.clone(),
            ..RawZip::default()
        },
        RawZip {
            entries: vec![file("shown.txt")],
            before_directory: hidden.clone(),
            ..RawZip::default()
        },
        RawZip {
            entries: vec![
                RawEntry {
                    tail: hidden,
                    ..file("shown.txt")
                },
                file("b"),
            ],
            ..RawZip::default()
        },
    ] {
        let what = damage(take_in(&objects, &archive.build(), Format::Zip));
        assert!(what.contains("does not name"), "{what}");
    }
}

#[test]
fn a32_ends_that_disagree() {
    let objects = Objects::memory();
    let inner = zip_of(vec![file("inner")]);
    for (archive, said) in [
        (
            RawZip {
                entries: vec![file("a")],
                comment: inner,
                ..RawZip::default()
            },
            "two end records",
        ),
        (
            RawZip {
                entries: vec![file("a")],
                trailer: b"trailing".to_vec(),
                ..RawZip::default()
            },
            "no end record",
        ),
        (
            RawZip {
                entries: vec![file("a")],
                stated_entries: Some(2),
                ..RawZip::default()
            },
            "number of entries",
        ),
        (
            RawZip {
                entries: vec![file("a"), file("b")],
                stated_entries: Some(1),
                ..RawZip::default()
            },
            "number of entries",
        ),
    ] {
        let what = damage(take_in(&objects, &archive.build(), Format::Zip));
        assert!(what.contains(said), "{what}");
    }
    let whole = zip_of(vec![file("a"), file("b")]);
    for cut in 1..whole.len() {
        assert!(
            take_in(&objects, &whole[..cut], Format::Zip).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn a31_entries_that_share_bytes() {
    // The second entry's header says that it begins inside the first's data.
    let inner = zip_of(vec![file("b")]);
    let outer = RawEntry::stored("a", &inner);
    let local_at = 30 + 1;
    let shared = RawEntry {
        offset: Some(local_at),
        ..file("b")
    };
    let (entry, why) = refuse(vec![outer, shared]);
    assert_eq!((entry.as_str(), why), ("b", Refusal::Overlap));
    // Many names for one entry's bytes, as in the flat bombs.
    let again = RawEntry {
        offset: Some(0),
        ..file("a")
    };
    assert_eq!(refuse(vec![file("a"), again]).1, Refusal::Overlap);
}

#[test]
fn encrypted_and_unknown_compression() {
    let encrypted = RawEntry {
        flags: 0x801,
        ..file("secret")
    };
    assert_eq!(refuse(vec![encrypted]).1, Refusal::Encrypted);
    let deflate64 = RawEntry {
        method: 9,
        ..file("big")
    };
    assert_eq!(refuse(vec![deflate64]).1, Refusal::Method(9));
}

#[test]
fn sizes_and_checksums_that_lie() {
    for (entry, why) in [
        (
            RawEntry {
                size: 3,
                ..RawEntry::deflated("a", b"seven b")
            },
            Refusal::Size,
        ),
        (
            RawEntry {
                size: 30,
                ..RawEntry::deflated("a", b"seven b")
            },
            Refusal::Size,
        ),
        (
            RawEntry {
                size: 3,
                ..file("a")
            },
            Refusal::Size,
        ),
        (
            RawEntry {
                crc: 7,
                ..file("a")
            },
            Refusal::Checksum,
        ),
        (
            // Packed bytes after the end of the compressed stream.
            {
                let mut entry = RawEntry::deflated("a", b"seven b");
                entry.packed.extend(b"more");
                entry
            },
            Refusal::Size,
        ),
    ] {
        assert_eq!(refuse(vec![entry]).1, why);
    }
    let beyond = RawEntry {
        packed_size: Some(1 << 30),
        size: 1 << 30,
        ..file("a")
    };
    assert_eq!(refuse(vec![beyond]).1, Refusal::Overlap);
    let broken = RawEntry {
        packed: vec![0xff; 20],
        ..RawEntry::deflated("a", b"twenty bytes, or so.")
    };
    let what = damage(take_in(
        &Objects::memory(),
        &zip_of(vec![broken]),
        Format::Zip,
    ));
    assert!(what.contains("'a'"), "{what}");
}

#[test]
fn names_that_are_not_utf8_or_stand_twice() {
    let mut latin = file("caf_");
    latin.name = b"caf\xe9".to_vec();
    latin.flags = 0;
    assert_eq!(refuse(vec![latin.clone()]).1, Refusal::NotUtf8);
    // Info-ZIP's field gives the name that it should have.
    let mut crc = flate2::Crc::new();
    crc.update(&latin.name);
    let mut extra = vec![0x75, 0x70, 10, 0, 1];
    extra.extend(crc.sum().to_le_bytes());
    extra.extend("caf\u{e9}".as_bytes());
    latin.extra = extra.clone();
    let objects = Objects::memory();
    let taken = take_in(&objects, &zip_of(vec![latin.clone()]), Format::Zip).unwrap();
    assert!(held(&objects, &taken.summary.root).contains_key("caf\u{e9}"));
    // Where the plain name is good too, a different one in the field is a lie.
    let mut crc = flate2::Crc::new();
    crc.update(b"abcd");
    extra[5..9].copy_from_slice(&crc.sum().to_le_bytes());
    let mut twice = file("abcd");
    twice.extra = extra;
    assert_eq!(refuse(vec![twice]).1, Refusal::Disagreement("its name"));
}

#[test]
fn folders_and_files_that_do_not_know_what_they_are() {
    for entry in [
        RawEntry::stored("dir/", b"content").mode(0o040_755),
        file("file/"),
        RawEntry::link("link/", "x"),
    ] {
        assert!(matches!(refuse(vec![entry]).1, Refusal::Disagreement(_)));
    }
}
