//! What goes in comes out, whatever it came in.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Files as an independent writer of zips packs them.
fn foreign_zip(files: &BTreeMap<String, (Vec<u8>, bool)>) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, (content, executable)) in files {
        let options = ::zip::write::SimpleFileOptions::default()
            .compression_method(::zip::CompressionMethod::Deflated)
            .unix_permissions(if *executable { 0o755 } else { 0o644 });
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// And of tars.
fn foreign_tar(files: &BTreeMap<String, (Vec<u8>, bool)>) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, (content, executable)) in files.iter().rev() {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if *executable { 0o755 } else { 0o644 });
        header.set_mtime(1_700_000_000);
        builder
            .append_data(&mut header, format!("./{name}"), content.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn a_tree() -> impl Strategy<Value = BTreeMap<String, (Vec<u8>, bool)>> {
    let name = "[a-z]{1,8}(\\.[a-z]{1,3})?";
    // Folders have names that no file has, so that no file stands where a folder must.
    let path = (proptest::collection::vec("D[a-z]{1,3}", 0..4), name)
        .prop_map(|(folders, name)| [folders, vec![name]].concat().join("/"))
        .prop_filter("a device's name", |path| {
            !path.split('/').any(super::super::path::is_device)
        });
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        (0_u64..5, 0_usize..400_000).prop_map(|(seed, length)| noise(seed, length)),
    ];
    proptest::collection::btree_map(path, (content, any::<bool>()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_content_has_one_root_and_comes_back(files in a_tree()) {
        let objects = Objects::memory();
        let tar = foreign_tar(&files);
        let roots: Vec<_> = [(foreign_zip(&files), Format::Zip)]
        .into_iter()
        .chain(tars(&tar))
        .map(|(archive, format)| {
            let taken = take_in(&objects, &archive, format).unwrap();
            assert_eq!(taken.summary.archive, Digest::of(&archive));
            assert_eq!(taken.summary.archive_bytes, archive.len() as u64);
            let node = held(&objects, &taken.summary.archive_root);
            assert_eq!(
                node["archive"],
                Held::File { content: archive, executable: false }
            );
            taken.summary
        })
        .collect();
        prop_assert!(roots.windows(2).all(|pair| pair[0].root == pair[1].root));
        let mut back = held(&objects, &roots[0].root);
        back.retain(|_, what| *what != Held::Folder);
        let expected: BTreeMap<String, Held> = files
            .iter()
            .map(|(name, (content, executable))| {
                let held = Held::File { content: content.clone(), executable: *executable };
                (name.clone(), held)
            })
            .collect();
        prop_assert_eq!(back, expected);
        prop_assert_eq!(roots[0].files, files.len() as u64);
    }
}

#[test]
fn a_change_of_one_per_cent_adds_few_objects() {
    let version = |changed: &[usize]| -> BTreeMap<String, (Vec<u8>, bool)> {
        (0..400)
            .map(|n| {
                let seed = if changed.contains(&n) { 10_000 + n } else { n };
                let name = format!("d{}/f{n}.js", n % 20);
                (name, (noise(seed as u64, 2000), false))
            })
            .collect()
    };
    let objects = Objects::memory();
    take_in(&objects, &gzip(&foreign_tar(&version(&[]))), Format::TarGz).unwrap();
    // The archive itself is another one: count what the taken-apart content adds.
    let next = foreign_zip(&version(&[1, 101, 201, 301]));
    let archive_chunks = {
        let alone = Objects::memory();
        take_in(
            &alone,
            &zip_of(vec![RawEntry::stored("x", &next)]),
            Format::Zip,
        )
        .unwrap()
        .new_objects
    };
    let taken = take_in(&objects, &next, Format::Zip).unwrap();
    // Four files in one folder: four chunks, the folder's node, the root.
    assert!(
        taken.new_objects <= archive_chunks + 6,
        "{} of which the archive {archive_chunks}",
        taken.new_objects
    );
    let again = take_in(&objects, &next, Format::Zip).unwrap();
    assert_eq!(again.new_objects, 0);
}

#[test]
fn an_insertion_moves_few_cuts() {
    let objects = Objects::memory();
    let before = noise(1, 4 << 20);
    let mut after = before.clone();
    after.splice(1_000_000..1_000_000, b"inserted".iter().copied());
    take_in(&objects, &tar_of(&[("f", &before)]), Format::Tar).unwrap();
    let taken = take_in(&objects, &tar_of(&[("f", &after)]), Format::Tar).unwrap();
    assert!(taken.new_objects < 12, "{}", taken.new_objects);
}

#[test]
fn the_executable_bit_comes_from_the_mode_or_the_content() {
    let objects = Objects::memory();
    let script = b"#!/bin/sh\n";
    let archive = zip_of(vec![
        RawEntry::stored("dos-script", script).dos(),
        RawEntry::stored("dos-elf", b"\x7fELF\x02").dos(),
        RawEntry::stored("dos-text", b"text").dos(),
        RawEntry::stored("unix-script", script).mode(0o100_644),
        RawEntry::stored("unix-text", b"text").mode(0o100_711),
        RawEntry::stored("no-mode", script).mode(0),
    ]);
    let taken = take_in(&objects, &archive, Format::Zip).unwrap();
    let executable: Vec<String> = held(&objects, &taken.summary.root)
        .into_iter()
        .filter(|(_, what)| {
            matches!(
                what,
                Held::File {
                    executable: true,
                    ..
                }
            )
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        executable,
        ["dos-elf", "dos-script", "no-mode", "unix-text"]
    );
}

#[test]
fn a_nupkg_loses_its_packaging_and_its_escapes() {
    let objects = Objects::memory();
    let archive = zip_of(
        [
            "_rels/.rels",
            "[Content_Types].xml",
            "package/services/metadata/core-properties/a1.psmdcp",
            "Acme.nuspec",
            ".signature.p7s",
            "content/read%20me.txt",
            "content/100%25.txt",
            "content/odd%zz.txt",
        ]
        .map(|name| RawEntry::deflated(name, name.as_bytes()).dos())
        .to_vec(),
    );
    let taken = take_in(&objects, &archive, Format::Nupkg).unwrap();
    let mut held = held(&objects, &taken.summary.root);
    held.retain(|_, what| *what != Held::Folder);
    let names: Vec<&str> = held.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            ".signature.p7s",
            "Acme.nuspec",
            "content/100%.txt",
            "content/odd%zz.txt",
            "content/read me.txt"
        ]
    );
    let plain = take_in(&objects, &archive, Format::Zip).unwrap();
    assert_eq!(plain.summary.files, 8);
}

#[test]
fn backslashes_of_an_old_windows_writer_are_separators() {
    let objects = Objects::memory();
    let archive = zip_of(vec![RawEntry::stored("dir\\sub\\f.txt", b"x").dos()]);
    let taken = take_in(&objects, &archive, Format::Zip).unwrap();
    assert!(held(&objects, &taken.summary.root).contains_key("dir/sub/f.txt"));
    assert!(taken.warnings[0].contains("backslashes"));
    let unix = zip_of(vec![RawEntry::stored("dir\\f.txt", b"x")]);
    assert!(take_in(&objects, &unix, Format::Zip).is_err());
}

#[test]
fn links_within_the_package_stay() {
    let objects = Objects::memory();
    let archive = RawTar::default()
        .file("lib/libx.so.1", 0o755, b"x")
        .link("lib/libx.so", "./libx.so.1")
        .link("lib/libx", "libx.so")
        .link("bin/lib", "../lib/")
        .link("later", "var/data")
        .end();
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    let held = held(&objects, &taken.summary.root);
    assert_eq!(held["lib/libx.so"], Held::Link("libx.so.1".into()));
    assert_eq!(held["bin/lib"], Held::Link("../lib".into()));
    assert_eq!(
        taken.warnings,
        ["the symbolic link 'later' leads to nothing"]
    );
}

#[test]
fn long_names_of_both_kinds() {
    let objects = Objects::memory();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let archive = RawTar::default()
        .gnu_long(b'L', &long)
        .file("short", 0o644, b"gnu")
        .pax(&[("path", "p/ä"), ("mtime", "1.5")])
        .file("short", 0o644, b"pax")
        .end();
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    let held = held(&objects, &taken.summary.root);
    assert!(held.contains_key(&long) && held.contains_key("p/ä"));
    // The long one is for Windows's old programs.
    assert!(taken.warnings.iter().any(|w| w.contains("long path")));
}

#[test]
fn what_is_not_what_it_is_called() {
    let objects = Objects::memory();
    let zip = zip_of(vec![RawEntry::stored("a", b"x")]);
    for (name, archive, said) in [
        ("a.tar.gz", zip.clone(), "looks like a zip"),
        ("a.zip", gzip(&tar_of(&[("f", b"x")])), "looks like gzip"),
        ("a.zip", Vec::new(), "an empty file"),
        ("a.zip", b"BZh91AY".to_vec(), "looks like bzip2"),
        ("a.tar.bz2", xz(b"x"), "looks like xz"),
        ("a.txt", b"hello".to_vec(), "no archive"),
    ] {
        let error = ingest_reader(
            &objects,
            Cursor::new(archive),
            name,
            None,
            &IngestOptions::default(),
        )
        .unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let told = ingest_reader(
        &objects,
        Cursor::new(zip),
        "no-ending",
        None,
        &IngestOptions::default(),
    );
    assert_eq!(told.unwrap().summary.format, Format::Zip);
}

#[test]
fn an_empty_archive_is_an_empty_package() {
    let objects = Objects::memory();
    let zip = take_in(&objects, &zip_of(vec![]), Format::Zip).unwrap();
    let tar = RawTar::default().folder("./").end();
    let tar = take_in(&objects, &tar, Format::Tar).unwrap();
    assert_eq!(zip.summary.root, tar.summary.root);
    assert_eq!(zip.summary.files, 0);
}
