//! A source of objects in memory, with faults on demand, and packages to put into it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mantle_shared::Digest;
use mantle_shared::manifest::{Chunk, Entry, EntryKind, Tree};
use mantle_shared::protocol::{FetchObjects, ObjectRefusal, PackageGrant};

use crate::cache::{FetchError, ObjectSink, ObjectSource};

/// Where files are cut in these tests.
pub(crate) const CHUNK: usize = 200_000;

/// What goes wrong with an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Corrupt,
    Longer,
    Shorter,
    CutAt(usize),
    Busy,
}

/// A package: its root and every object of it.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) root: Digest,
    pub(crate) size: u64,
    pub(crate) objects: HashMap<Digest, Vec<u8>>,
    chunks: Vec<Digest>,
}

#[derive(Default)]
struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeMap<String, Folder>,
}

impl Package {
    pub(crate) fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut top = Folder::default();
        for (path, bytes) in files {
            let mut parts: Vec<_> = path.split('/').collect();
            let name = parts.pop().unwrap();
            let mut at = &mut top;
            for part in parts {
                at = at.folders.entry(part.to_owned()).or_default();
            }
            at.files.insert(name.to_owned(), bytes.clone());
        }
        let mut package = Self {
            root: Digest::of(b""),
            size: 0,
            objects: HashMap::new(),
            chunks: Vec::new(),
        };
        let tree = package.add(&top);
        package.root = tree.digest();
        package.size = tree.size_bytes();
        package
    }

    fn add(&mut self, folder: &Folder) -> Tree {
        let mut entries = Vec::new();
        for (name, bytes) in &folder.files {
            let pieces: Vec<_> = bytes.chunks(CHUNK).collect();
            for piece in &pieces {
                self.objects.insert(Digest::of(piece), piece.to_vec());
                self.chunks.push(Digest::of(piece));
            }
            let chunk = |piece: &&[u8]| Chunk {
                length: u32::try_from(piece.len()).unwrap(),
                digest: Digest::of(piece),
            };
            entries.push(Entry {
                name: name.clone(),
                kind: EntryKind::File {
                    executable: name == "app",
                    size_bytes: bytes.len() as u64,
                    digest: Digest::of(bytes),
                    chunks: if pieces.len() > 1 {
                        pieces.iter().map(chunk).collect()
                    } else {
                        Vec::new()
                    },
                },
            });
        }
        for (name, below) in &folder.folders {
            let tree = self.add(below);
            entries.push(Entry {
                name: name.clone(),
                kind: EntryKind::Dir {
                    digest: tree.digest(),
                    size_bytes: tree.size_bytes(),
                    files: tree.files(),
                },
            });
        }
        let tree = Tree::new(entries).unwrap();
        self.objects.insert(tree.digest(), tree.encode());
        tree
    }

    pub(crate) fn grant(&self) -> PackageGrant {
        PackageGrant {
            id: "Web".to_owned(),
            version: "1.0".to_owned(),
            root: self.root,
            size_bytes: self.size,
        }
    }

    pub(crate) fn chunks(&self) -> Vec<Digest> {
        let mut chunks = self.chunks.clone();
        chunks.sort();
        chunks.dedup();
        chunks
    }
}

/// The source.
#[derive(Default)]
pub(crate) struct MemorySource {
    objects: Mutex<HashMap<Digest, Vec<u8>>>,
    faults: Mutex<HashMap<Digest, (Fault, u32)>>,
    sent: AtomicU64,
}

impl MemorySource {
    pub(crate) fn of(packages: &[&Package]) -> Self {
        let source = Self::default();
        for package in packages {
            for bytes in package.objects.values() {
                source.add(bytes.clone());
            }
        }
        source
    }

    pub(crate) fn add(&self, bytes: Vec<u8>) {
        self.objects
            .lock()
            .unwrap()
            .insert(Digest::of(&bytes), bytes);
    }

    pub(crate) fn break_object(&self, digest: Digest, fault: Fault, times: u32) {
        self.faults.lock().unwrap().insert(digest, (fault, times));
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn fault(&self, digest: Digest) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (fault, times) = faults.get_mut(&digest)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }
}

impl ObjectSource for MemorySource {
    async fn fetch<S: ObjectSink>(
        &self,
        request: FetchObjects,
        sink: &mut S,
    ) -> Result<(), FetchError> {
        for asked in request.objects {
            tokio::task::yield_now().await;
            let digest = asked.digest;
            let found = self.objects.lock().unwrap().get(&digest).cloned();
            let Some(bytes) = found else {
                let reason = ObjectRefusal::NotGranted;
                return Err(FetchError::Refused { digest, reason });
            };
            let fault = self.fault(digest);
            if matches!(fault, Some(Fault::Busy)) {
                return Err(FetchError::Busy);
            }
            // Every other object travels compressed.
            let zstd = digest.as_bytes()[0] % 2 == 0 && fault.is_none() && asked.offset == 0;
            let mut wire = if zstd {
                zstd::bulk::compress(&bytes, 1).unwrap()
            } else {
                bytes.clone()
            };
            match fault {
                Some(Fault::Corrupt) => wire[0] ^= 1,
                Some(Fault::Longer) => wire.push(0),
                Some(Fault::Shorter) => {
                    wire.pop();
                }
                _ => {}
            }
            wire.drain(..usize::try_from(asked.offset).unwrap());
            let size = bytes.len() as u64;
            sink.begin(digest, zstd, wire.len() as u64, size)?;
            for piece in wire.chunks(50_000) {
                if let Some(Fault::CutAt(at)) = fault {
                    sink.data(&wire[..at])?;
                    return Err(FetchError::Network("cut".to_owned()));
                }
                sink.data(piece)?;
                self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            sink.end().await?;
        }
        Ok(())
    }
}
