//! The canonical form of manifests: fixed bytes, one form only, hostile bytes refused.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn sample() -> Tree {
    Tree::new(vec![
        Entry {
            name: "run.sh".to_owned(),
            kind: EntryKind::File {
                executable: true,
                size_bytes: 3,
                digest: Digest::of(b"abc"),
                chunks: vec![],
            },
        },
        Entry {
            name: "link".to_owned(),
            kind: EntryKind::Symlink {
                target: "run.sh".to_owned(),
            },
        },
        Entry {
            name: "assets".to_owned(),
            kind: EntryKind::Dir {
                digest: Tree::default().digest(),
                size_bytes: 0,
                files: 0,
            },
        },
    ])
    .unwrap()
}

#[test]
fn the_form_is_fixed() {
    assert_eq!(
        Tree::default().digest().to_string(),
        "1c39c5daa980c466ae53fc0839fb33f303d9f6e546cc017e3d5908731074d21e"
    );
    assert_eq!(
        sample().digest().to_string(),
        "5afdf4a4b4aa9c10280fcc3130e91483337a9eb9ac1dee10c26839a8d862e0cf"
    );
}

#[test]
fn entries_are_sorted_and_totals_add_up() {
    let tree = sample();
    let names: Vec<_> = tree.entries().iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["assets", "link", "run.sh"]);
    assert_eq!((tree.size_bytes(), tree.files()), (3, 1));
    assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
}

#[test]
fn names_that_no_package_may_hold() {
    for name in ["", ".", "..", "a/b", "a\0b", "e\u{301}", &"x".repeat(256)] {
        assert!(check_name(name).is_err(), "{name:?}");
    }
    for name in ["a", "é", "Ünï côde", "...", "con"] {
        assert!(check_name(name).is_ok(), "{name:?}");
    }
}

#[test]
fn twice_the_same_name_is_refused() {
    let link = |name: &str| Entry {
        name: name.to_owned(),
        kind: EntryKind::Symlink {
            target: "x".to_owned(),
        },
    };
    assert!(matches!(
        Tree::new(vec![link("a"), link("a")]),
        Err(ManifestError::Order { .. })
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_a_tree_in_canonical_form_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let mut with_mark = MAGIC.to_vec();
        with_mark.extend_from_slice(&bytes);
        for input in [&bytes, &with_mark] {
            if let Ok(tree) = Tree::decode(input) {
                prop_assert_eq!(&tree.encode(), input);
            }
        }
    }

    #[test]
    fn one_flipped_byte_never_decodes_to_another_form(at in 0_usize..100, bit in 0_u8..8) {
        let mut bytes = sample().encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(tree) = Tree::decode(&bytes) {
            prop_assert_eq!(tree.encode(), bytes);
        }
    }
}
