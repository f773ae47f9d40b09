//! Which files differ between two packages. Folders with equal digests are not looked into, so two
//! versions that share nearly everything are compared in the time of what they do not share.

use mantle_shared::Digest;
use mantle_shared::manifest::{Entry, EntryKind, Tree};

use super::objects::{ObjectError, Objects};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFate {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// It is another.
    Changed,
}

/// The files that differ, by path, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The first so many.
    pub files: Vec<(String, FileFate)>,
    /// How many more.
    pub more: u64,
}

/// Two folders at one path, either of which may be missing.
struct Pair {
    path: String,
    first: Option<Digest>,
    second: Option<Digest>,
}

/// Compares; names at most so many files.
pub(super) fn compare(
    objects: &Objects,
    first: &Digest,
    second: &Digest,
    most: usize,
) -> Result<Difference, ObjectError> {
    let mut found = Difference::default();
    let mut open = vec![Pair {
        path: String::new(),
        first: Some(*first),
        second: Some(*second),
    }];
    while let Some(pair) = open.pop() {
        if pair.first == pair.second {
            continue;
        }
        let tree = |digest: Option<Digest>| match digest {
            None => Ok(Tree::default()),
            Some(digest) => objects.tree(&digest),
        };
        let (before, after) = (tree(pair.first)?, tree(pair.second)?);
        let mut names: Vec<&str> = before
            .entries()
            .iter()
            .chain(after.entries())
            .map(|entry| entry.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut below = Vec::new();
        for name in names {
            let path = if pair.path.is_empty() {
                name.to_owned()
            } else {
                format!("{}/{name}", pair.path)
            };
            let entries = (find(&before, name), find(&after, name));
            judge(path, entries, &mut found, &mut below, most);
        }
        // The next one on top, so that paths come in order.
        open.extend(below.into_iter().rev());
    }
    found.files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn find<'t>(tree: &'t Tree, name: &str) -> Option<&'t Entry> {
    let entries = tree.entries();
    let at = entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name.as_bytes()));
    at.ok().and_then(|at| entries.get(at))
}

/// A folder is looked into; what is no folder on one side is a file there.
fn judge(
    path: String,
    entries: (Option<&Entry>, Option<&Entry>),
    found: &mut Difference,
    below: &mut Vec<Pair>,
    most: usize,
) {
    let folder = |entry: Option<&Entry>| match entry.map(|entry| &entry.kind) {
        Some(EntryKind::Dir { digest, .. }) => Some(*digest),
        Some(EntryKind::File { .. } | EntryKind::Symlink { .. }) | None => None,
    };
    let file = |entry: Option<&Entry>| match entry.map(|entry| &entry.kind) {
        Some(kind @ (EntryKind::File { .. } | EntryKind::Symlink { .. })) => Some(kind.clone()),
        Some(EntryKind::Dir { .. }) | None => None,
    };
    let fate = match (file(entries.0), file(entries.1)) {
        (None, None) => None,
        (None, Some(_)) => Some(FileFate::Added),
        (Some(_), None) => Some(FileFate::Removed),
        (Some(before), Some(after)) => (before != after).then_some(FileFate::Changed),
    };
    if let Some(fate) = fate {
        if found.files.len() < most {
            found.files.push((path.clone(), fate));
        } else {
            found.more += 1;
        }
    }
    let (first, second) = (folder(entries.0), folder(entries.1));
    if first != second {
        below.push(Pair {
            path,
            first,
            second,
        });
    }
}
