//! The fuzz targets on a stable compiler: their corpora, and small changes of every seed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

// The bodies belong to a workspace that needs another compiler, so the file itself is shared.
#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library elsewhere")]
mod targets;

/// Changed copies of each seed. More are for the fuzzer itself; this finds the shallow ones.
const CHANGES: usize = 400;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<_> = std::fs::read_dir(corpus().join(target))
        .unwrap_or_else(|error| panic!("{target} has no corpus: {error}"))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_none_is_left_over() {
    let names: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(n, _)| (*n).to_owned())
        .collect();
    let listing = |dir: PathBuf| -> BTreeSet<String> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(listing(corpus()), names, "corpora");
    assert_eq!(listing(corpus().join("../fuzz_targets")), names, "programs");
    for name in &names {
        assert!(!seeds(name).is_empty(), "{name} has no seed");
    }
}

#[test]
fn every_seed_is_read_or_refused() {
    for (name, target) in targets::TARGETS {
        for (_, bytes) in seeds(name) {
            target(&bytes);
        }
    }
}

#[test]
fn changed_seeds_are_read_or_refused() {
    for (name, target) in targets::TARGETS {
        for (path, bytes) in seeds(name) {
            // The seed's own name decides its changes, so that a failure can be repeated.
            let seed = path.bytes().rev().take(24).fold(7_u64, |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(u64::from(byte))
            });
            let mut rng = StdRng::seed_from_u64(seed);
            for _ in 0..CHANGES {
                target(&changed(&bytes, &mut rng));
            }
        }
    }
}

/// A copy with one to four changes: a bit, a byte, a cut, a repetition, a large number.
fn changed(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        if out.is_empty() {
            out.push(rng.random());
            continue;
        }
        let at = rng.random_range(0..out.len());
        match rng.random_range(0..5) {
            0 => out[at] ^= 1 << rng.random_range(0..8),
            1 => out[at] = rng.random(),
            2 => out.truncate(at),
            3 => {
                let part = out[at..].to_vec();
                out.extend_from_slice(&part[..part.len().min(64)]);
            }
            _ => {
                let huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
                out.splice(at..at, huge);
            }
        }
    }
    out
}
