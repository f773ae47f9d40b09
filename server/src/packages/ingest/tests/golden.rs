//! The form of what is stored, for good: releases pin roots, so these digests may never change.

use mantle_shared::manifest::EntryKind;

use super::*;

/// Bytes that do not depend on any library: a multiplicative congruential generator.
fn fixed_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn the_root_of_a_small_archive() {
    let objects = Objects::memory();
    let archive = zip_of(vec![
        RawEntry::deflated("index.html", b"<h1>hello</h1>\n"),
        RawEntry::stored("bin/run.sh", b"#!/bin/sh\nexit 0\n").mode(0o100_755),
        RawEntry::stored("empty.txt", b""),
        RawEntry::folder("logs/"),
        RawEntry::link("start", "bin/run.sh"),
        RawEntry::stored("u\u{308}ber.txt", b"x"),
    ]);
    let taken = take_in(&objects, &archive, Format::Zip).unwrap();
    assert_eq!(taken.summary.files, 4);
    assert_eq!(taken.summary.size_bytes, 15 + 17 + 1);
    assert_eq!(
        taken.summary.root.to_string(),
        "b9933cef00ba8ec27aa0a5a68977c0111a00e4765016f973d241c196002eeb44"
    );
    assert!(taken.warnings.is_empty());
}

#[test]
fn the_cuts_of_a_large_file() {
    let objects = Objects::memory();
    let archive = tar_of(&[("data.bin", &fixed_bytes(1_000_000))]);
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    let tree = objects.tree(&taken.summary.root).unwrap();
    let EntryKind::File { chunks, .. } = &tree.entries()[0].kind else {
        panic!("no file");
    };
    let lengths: Vec<u32> = chunks.iter().map(|chunk| chunk.length).collect();
    assert_eq!(
        lengths,
        [
            75_467, 87_354, 105_152, 75_228, 26_552, 92_147, 35_549, 49_938, 100_097, 109_686,
            101_606, 37_671, 18_457, 85_096
        ]
    );
    assert_eq!(
        taken.summary.root.to_string(),
        "b09758030b7be9470e272f2827cadbfb934f7c705802c72b363f84edecd0da23"
    );
    assert_eq!(
        taken.summary.archive_root.to_string(),
        "07323395f64caeb65ed104eca24be2d60806b3564b53b02c791dfb3c822b7ad3"
    );
}

#[test]
fn zeros_are_cut_at_the_largest_and_small_files_not_at_all() {
    let objects = Objects::memory();
    let archive = tar_of(&[
        ("zeros", &vec![0; 600 * 1024]),
        ("small", &fixed_bytes(16 * 1024)),
        ("none", b""),
    ]);
    let taken = take_in(&objects, &archive, Format::Tar).unwrap();
    let tree = objects.tree(&taken.summary.root).unwrap();
    let cuts: Vec<(String, Vec<u32>)> = tree
        .entries()
        .iter()
        .map(|entry| match &entry.kind {
            EntryKind::File { chunks, .. } => (
                entry.name.clone(),
                chunks.iter().map(|chunk| chunk.length).collect(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        cuts,
        [
            ("none".to_owned(), vec![]),
            ("small".to_owned(), vec![]),
            ("zeros".to_owned(), vec![262_144, 262_144, 90_112]),
        ]
    );
}
