//! What an agent may have: everything that a granted root leads to, and nothing else.
//!
//! The objects of a root are found once, by walking its nodes, and kept as a sorted list while the
//! root is in use; fifty agents that fetch one package walk it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mantle_shared::Digest;
use mantle_shared::manifest::{EntryKind, MAX_DEPTH};
use tokio::sync::OnceCell;

use super::objects::{ObjectError, Objects};

/// How many digests all cached lists may hold: 64 MiB of memory, some hundred ordinary packages.
const CACHED_DIGESTS_MAX: usize = 2 * 1024 * 1024;

/// Every object that a root leads to, itself among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    digests: Box<[Digest]>,
}

impl Reach {
    /// Whether the root leads to this object.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.digests.binary_search(digest).is_ok()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether there are none; there never are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Walks a root's nodes. Blocks.
    pub fn walk(objects: &Objects, root: &Digest) -> Result<Self, ObjectError> {
        let mut digests = Vec::new();
        visit(objects, root, &mut |object| {
            digests.push(object.digest);
            Ok(object.is_node)
        })?;
        digests.sort_unstable();
        digests.dedup();
        Ok(Self {
            digests: digests.into_boxed_slice(),
        })
    }
}

/// An object that a walk comes to.
pub(super) struct Visited<'a> {
    pub(super) digest: Digest,
    /// It is a folder's node.
    pub(super) is_node: bool,
    /// The size that the manifest states, for a chunk.
    pub(super) size_bytes: Option<u64>,
    /// Where it is in the package.
    pub(super) path: &'a str,
}

/// Walks all that a root leads to, nodes before what they name. The visitor says of each whether to
/// go into it, and is told of an object once for every place where it stands.
pub(super) fn visit(
    objects: &Objects,
    root: &Digest,
    visitor: &mut dyn FnMut(Visited<'_>) -> Result<bool, ObjectError>,
) -> Result<(), ObjectError> {
    let mut open = vec![(*root, String::new(), 0_usize)];
    while let Some((digest, path, depth)) = open.pop() {
        let node = Visited {
            digest,
            is_node: true,
            size_bytes: None,
            path: &path,
        };
        // Digests make a circle impossible; the depth bounds a manifest that we did not make.
        if !visitor(node)? || depth > MAX_DEPTH {
            continue;
        }
        for entry in objects.tree(&digest)?.entries() {
            let below = if path.is_empty() {
                entry.name.clone()
            } else {
                format!("{path}/{}", entry.name)
            };
            match &entry.kind {
                EntryKind::Dir { digest, .. } => open.push((*digest, below, depth + 1)),
                EntryKind::File {
                    digest,
                    size_bytes,
                    chunks,
                    ..
                } => {
                    let whole = chunks.is_empty().then_some((*digest, *size_bytes));
                    let parts = chunks.iter().map(|c| (c.digest, u64::from(c.length)));
                    for (digest, size_bytes) in whole.into_iter().chain(parts) {
                        visitor(Visited {
                            digest,
                            is_node: false,
                            size_bytes: Some(size_bytes),
                            path: &below,
                        })?;
                    }
                }
                EntryKind::Symlink { .. } => {}
            }
        }
    }
    Ok(())
}

/// The lists of the roots in use, the least recently used given up first.
#[derive(Debug, Default)]
pub(super) struct ReachCache {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    clock: u64,
    lists: HashMap<Digest, Slot>,
}

#[derive(Debug, Default, Clone)]
struct Slot {
    used: u64,
    /// Filled by whoever asks first; the others wait for the one walk.
    list: Arc<OnceCell<Arc<Reach>>>,
}

impl ReachCache {
    /// The list of this root, walked if it is not known.
    pub(super) async fn get(
        &self,
        objects: &Objects,
        root: &Digest,
    ) -> Result<Arc<Reach>, ObjectError> {
        let list = self.slot(root);
        if let Some(known) = list.get() {
            return Ok(known.clone());
        }
        let reach = list
            .get_or_try_init(|| async {
                let (objects, root) = (objects.clone(), *root);
                super::blocking(move || Reach::walk(&objects, &root).map(Arc::new)).await
            })
            .await
            .cloned();
        match reach {
            Ok(reach) => {
                self.trim(root);
                Ok(reach)
            }
            Err(error) => {
                self.forget(root, &list);
                Err(error)
            }
        }
    }

    fn slot(&self, root: &Digest) -> Arc<OnceCell<Arc<Reach>>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let clock = table.clock;
        let slot = table.lists.entry(*root).or_default();
        slot.used = clock;
        slot.list.clone()
    }

    fn forget(&self, root: &Digest, failed: &Arc<OnceCell<Arc<Reach>>>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = table.lists.get(root)
            && Arc::ptr_eq(&slot.list, failed)
            && !slot.list.initialized()
        {
            table.lists.remove(root);
        }
    }

    /// Gives up the oldest lists until the rest fit; the one just asked for stays.
    fn trim(&self, keep: &Digest) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let held: usize = table
                .lists
                .values()
                .filter_map(|slot| slot.list.get())
                .map(|reach| reach.len())
                .sum();
            if held <= CACHED_DIGESTS_MAX {
                return;
            }
            let oldest = table
                .lists
                .iter()
                .filter(|(root, slot)| *root != keep && slot.list.initialized())
                .min_by_key(|(_, slot)| slot.used)
                .map(|(root, _)| *root);
            match oldest {
                Some(root) => table.lists.remove(&root),
                None => return,
            };
        }
    }
}
