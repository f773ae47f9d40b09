//! The package's folders as they grow, and the nodes that they become.
//!
//! It lets no two entries meet in one place, on any platform that the package is for, and no entry
//! or link lead out.

use std::collections::BTreeMap;

use mantle_shared::Digest;
use mantle_shared::manifest::{Entry, EntryKind, MAX_ENTRIES, MAX_NODE_BYTES, Tree};

use super::chunk::Content;
use super::error::{IngestError, Refusal};
use super::path::{EntryPath, Part, Platform, fold};
use crate::packages::objects::Writer;

/// The longest target of a symbolic link, as Linux has it.
pub(super) const MAX_TARGET_BYTES: usize = 4095;
/// Links followed before they count as a circle, as Linux has it.
const MAX_HOPS: usize = 40;

/// A file that was stored.
#[derive(Debug, Clone)]
pub(super) struct FileNode {
    pub(super) executable: bool,
    pub(super) content: Content,
}

#[derive(Debug)]
enum Node {
    Folder(Folder),
    File(FileNode),
    Link(String),
}

#[derive(Debug)]
struct Named {
    name: String,
    altered: bool,
    node: Node,
}

/// A folder's entries by the key under which they may meet: the folded name, or for Linux the name.
#[derive(Debug, Default)]
struct Folder {
    entries: BTreeMap<String, Named>,
}

/// The package's folders.
#[derive(Debug)]
pub(super) struct Builder {
    root: Folder,
    platform: Platform,
    links: Vec<Link>,
    nodes: u64,
    max_nodes: u64,
}

#[derive(Debug)]
struct Link {
    folder: Vec<String>,
    target: String,
    shown: String,
}

/// What the finished tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    pub(super) files: u64,
}

impl Builder {
    pub(super) fn new(platform: Platform, max_nodes: u64) -> Self {
        Self {
            root: Folder::default(),
            platform,
            links: Vec::new(),
            nodes: 0,
            max_nodes,
        }
    }

    /// Adds a folder, or finds it there.
    pub(super) fn add_folder(&mut self, path: &EntryPath) -> Result<(), IngestError> {
        self.descend(path, &path.parts).map(|_| ())
    }

    /// Adds a file.
    pub(super) fn add_file(&mut self, path: &EntryPath, file: FileNode) -> Result<(), IngestError> {
        self.add(path, Node::File(file))
    }

    /// Adds a symbolic link; where it leads is checked at the end, when all is there.
    pub(super) fn add_link(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), IngestError> {
        let refuse = |why| IngestError::refused(&path.shown, why);
        let target = link_target(target).map_err(refuse)?;
        let folder = path
            .parts
            .split_last()
            .map(|(_, folder)| folder.iter().map(|part| part.name.clone()).collect())
            .unwrap_or_default();
        self.links.push(Link {
            folder,
            target: target.clone(),
            shown: path.shown.clone(),
        });
        self.add(path, Node::Link(target))
    }

    /// Whether a file could be added here: asked before its content is stored.
    pub(super) fn check_free(&mut self, path: &EntryPath) -> Result<(), IngestError> {
        let platform = self.platform;
        let (last, folder) = Self::split(path)?;
        let parent = self.descend(path, folder)?;
        match parent.entries.get(&key(last, platform)) {
            Some(there) => Err(meet(path, last, there)),
            None => Ok(()),
        }
    }

    /// The file at this path, for a hard link to it.
    pub(super) fn file(&self, path: &EntryPath) -> Option<&FileNode> {
        let names: Vec<&str> = path.parts.iter().map(|part| part.name.as_str()).collect();
        match self.find(&names)? {
            Node::File(file) => Some(file),
            Node::Folder(_) | Node::Link(_) => None,
        }
    }

    fn split(path: &EntryPath) -> Result<(&Part, &[Part]), IngestError> {
        path.parts
            .split_last()
            .ok_or_else(|| IngestError::refused(&path.shown, Refusal::EmptyPart))
    }

    fn add(&mut self, path: &EntryPath, node: Node) -> Result<(), IngestError> {
        let platform = self.platform;
        let (last, folder) = Self::split(path)?;
        self.count()?;
        let parent = self.descend(path, folder)?;
        let key = key(last, platform);
        if let Some(there) = parent.entries.get(&key) {
            return Err(meet(path, last, there));
        }
        parent.entries.insert(
            key,
            Named {
                name: last.name.clone(),
                altered: last.altered,
                node,
            },
        );
        Ok(())
    }

    fn count(&mut self) -> Result<(), IngestError> {
        self.nodes += 1;
        if self.nodes > self.max_nodes {
            return Err(IngestError::TooManyEntries {
                limit: self.max_nodes,
            });
        }
        Ok(())
    }

    /// The folder at these parts of the path, made where it is not there.
    fn descend(&mut self, path: &EntryPath, parts: &[Part]) -> Result<&mut Folder, IngestError> {
        let (platform, max_nodes) = (self.platform, self.max_nodes);
        let mut folder = &mut self.root;
        for part in parts {
            let named = folder
                .entries
                .entry(key(part, platform))
                .or_insert_with(|| {
                    self.nodes += 1;
                    Named {
                        name: part.name.clone(),
                        altered: part.altered,
                        node: Node::Folder(Folder::default()),
                    }
                });
            if self.nodes > max_nodes {
                return Err(IngestError::TooManyEntries { limit: max_nodes });
            }
            if named.name != part.name || named.altered != part.altered {
                return Err(meet(path, part, named));
            }
            folder = match &mut named.node {
                Node::Folder(next) => next,
                Node::File(_) => {
                    let why = Refusal::Conflict(named.name.clone());
                    return Err(IngestError::refused(&path.shown, why));
                }
                Node::Link(_) => {
                    let why = Refusal::ThroughLink(named.name.clone());
                    return Err(IngestError::refused(&path.shown, why));
                }
            };
        }
        Ok(folder)
    }

    fn find(&self, names: &[&str]) -> Option<&Node> {
        let (last, folders) = names.split_last()?;
        let mut folder = &self.root;
        for name in folders {
            match &self.lookup(folder, name)?.node {
                Node::Folder(next) => folder = next,
                Node::File(_) | Node::Link(_) => return None,
            }
        }
        Some(&self.lookup(folder, last)?.node)
    }

    fn lookup<'a>(&self, folder: &'a Folder, name: &str) -> Option<&'a Named> {
        let found = match self.platform {
            Platform::Any => folder.entries.get(&fold(name)),
            Platform::Linux => folder.entries.get(name),
        };
        found.filter(|named| named.name == name)
    }

    /// Checks the links, stores every folder's node, and says what the package is. Links that lead
    /// to nothing are told of, not refused: what they name may be made on the target.
    pub(super) fn finish(
        self,
        writer: &mut Writer,
        mut dangling: impl FnMut(&str),
    ) -> Result<Root, IngestError> {
        for link in &self.links {
            let checked = self.check_link(link);
            if !checked.map_err(|why| IngestError::refused(&link.shown, why))? {
                dangling(&link.shown);
            }
        }
        store(self.root, "", writer)
    }

    /// Follows a link by names alone; `Ok(false)` when it leads to nothing.
    fn check_link(&self, link: &Link) -> Result<bool, Refusal> {
        let mut folder: Vec<&str> = link.folder.iter().map(String::as_str).collect();
        let mut target = link.target.as_str();
        for _ in 0..MAX_HOPS {
            let mut parts = target.split('/').peekable();
            while let Some(part) = parts.next() {
                if part == ".." {
                    if folder.pop().is_none() {
                        return Err(Refusal::LinkLeaves(link.target.clone()));
                    }
                    continue;
                }
                folder.push(part);
                if parts.peek().is_some()
                    && let Some(Node::Link(_)) = self.find(&folder)
                {
                    return Err(Refusal::ThroughLink(folder.join("/")));
                }
            }
            match self.find(&folder) {
                Some(Node::Link(next)) => {
                    folder.pop();
                    target = next;
                }
                Some(Node::File(_) | Node::Folder(_)) => return Ok(true),
                // The package's own folder, reached by nothing but "..".
                None => return Ok(folder.is_empty()),
            }
        }
        Err(Refusal::LinkLoop)
    }
}

/// Why this part cannot be where another is.
fn meet(path: &EntryPath, part: &Part, there: &Named) -> IngestError {
    let why = if there.name != part.name {
        Refusal::CaseCollision(there.name.clone())
    } else if there.altered != part.altered {
        Refusal::FormCollision(there.name.clone())
    } else if matches!(there.node, Node::Folder(_)) {
        Refusal::Conflict(there.name.clone())
    } else {
        Refusal::Duplicate
    };
    IngestError::refused(&path.shown, why)
}

fn key(part: &Part, platform: Platform) -> String {
    match platform {
        Platform::Any => fold(&part.name),
        Platform::Linux => part.name.clone(),
    }
}

/// A link's target in its one form: relative, `..` only at its beginning, no `.`.
fn link_target(raw: &[u8]) -> Result<String, Refusal> {
    let target = std::str::from_utf8(raw).map_err(|_| Refusal::LinkTarget("is not UTF-8"))?;
    if target.len() > MAX_TARGET_BYTES {
        return Err(Refusal::LinkTarget("is longer than a path can be"));
    }
    if target.contains('\0') {
        return Err(Refusal::LinkTarget("holds a NUL"));
    }
    let mut chars = target.chars();
    let drive = matches!(
        (chars.next(), chars.next()),
        (Some(letter), Some(':')) if letter.is_ascii_alphabetic()
    );
    if target.starts_with('/') || target.contains('\\') || drive {
        return Err(Refusal::LinkAbsolute(target.to_owned()));
    }
    let parts: Vec<&str> = target
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.is_empty() {
        return Err(Refusal::LinkTarget("is empty or its own folder"));
    }
    let climbs = parts.iter().take_while(|part| **part == "..").count();
    if parts.iter().skip(climbs).any(|part| *part == "..") {
        return Err(Refusal::LinkTarget(
            "goes down and up again; write it without '..' after a name",
        ));
    }
    // Names in the package are in normal form C; a link must find them.
    Ok(unicode_normalization::UnicodeNormalization::nfc(parts.join("/").as_str()).collect())
}

/// Stores a folder's node after those below it. The depth was bounded when paths were parsed.
fn store(folder: Folder, shown: &str, writer: &mut Writer) -> Result<Root, IngestError> {
    if folder.entries.len() > MAX_ENTRIES as usize {
        return Err(IngestError::damaged(format!(
            "the folder '{shown}' has more than {MAX_ENTRIES} entries"
        )));
    }
    let mut entries = Vec::with_capacity(folder.entries.len());
    for named in folder.entries.into_values() {
        let kind = match named.node {
            Node::File(file) => EntryKind::File {
                executable: file.executable,
                size_bytes: file.content.size_bytes,
                digest: file.content.digest,
                chunks: file.content.chunks,
            },
            Node::Link(target) => EntryKind::Symlink { target },
            Node::Folder(below) => {
                let below = store(below, &format!("{shown}{}/", named.name), writer)?;
                EntryKind::Dir {
                    digest: below.digest,
                    size_bytes: below.size_bytes,
                    files: below.files,
                }
            }
        };
        entries.push(Entry {
            name: named.name,
            kind,
        });
    }
    let tree = Tree::new(entries).map_err(|e| IngestError::damaged(e.to_string()))?;
    let bytes = tree.encode();
    if bytes.len() > MAX_NODE_BYTES {
        return Err(IngestError::damaged(format!(
            "the list of the folder '{shown}' is over {MAX_NODE_BYTES} bytes"
        )));
    }
    Ok(Root {
        digest: writer.put(&bytes)?,
        size_bytes: tree.size_bytes(),
        files: tree.files(),
    })
}
