//! Puts a package together from what the readers of the formats find, within its limits.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::chunk::Chunker;
use super::error::{IngestError, Refusal};
use super::path::{EntryPath, Platform};
use super::tree::{Builder, FileNode, Root};
use crate::packages::objects::{ObjectError, Writer};

/// What a package may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the archive, and folders that they imply.
    pub entries: u64,
    /// Content, unpacked.
    pub unpacked_bytes: u64,
    /// How many times its own size an archive may unpack to, beyond [`Self::ratio_from_bytes`].
    pub ratio: u64,
    /// Below this the ratio does not matter: a few files of zeros are no bomb.
    pub ratio_from_bytes: u64,
}

impl Default for Limits {
    /// A whole disk image fits; what fills a disk from an e-mail does not. Deflate reaches 1,030:1
    /// on zeros alone.
    fn default() -> Self {
        Self {
            entries: 500_000,
            unpacked_bytes: 64 * 1024 * 1024 * 1024,
            ratio: 1000,
            ratio_from_bytes: 100 * 1024 * 1024,
        }
    }
}

/// A push can be given up; the work stops at the next chunk.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the work to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) -> Result<(), IngestError> {
        if self.is_set() {
            Err(ObjectError::Stopped.into())
        } else {
            Ok(())
        }
    }
}

/// So many warnings are told one by one.
const WARNINGS_MAX: usize = 50;
/// Longer paths leave too little of Windows's 260 for the folder that they are installed in.
const LONG_PATH_CHARS: usize = 200;

/// The package under construction.
pub(super) struct Assembler {
    tree: Builder,
    chunker: Chunker,
    writer: Writer,
    meter: Meter,
    platform: Platform,
    entries: u64,
    warnings: Vec<String>,
    unsaid: u64,
}

/// Counts what comes out of the archive against the limits.
struct Meter {
    limits: Limits,
    archive_bytes: u64,
    unpacked_bytes: u64,
    stop: StopFlag,
}

impl Meter {
    fn spend(&mut self, bytes: usize) -> Result<(), IngestError> {
        self.stop.check()?;
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(bytes as u64);
        if self.unpacked_bytes > self.limits.unpacked_bytes {
            return Err(IngestError::TooLarge {
                limit_bytes: self.limits.unpacked_bytes,
            });
        }
        let most = self.archive_bytes.saturating_mul(self.limits.ratio);
        if self.unpacked_bytes > self.limits.ratio_from_bytes && self.unpacked_bytes > most {
            return Err(IngestError::Bomb {
                ratio: self.limits.ratio,
            });
        }
        Ok(())
    }
}

impl Assembler {
    pub(super) fn new(
        writer: Writer,
        platform: Platform,
        limits: Limits,
        archive_bytes: u64,
        stop: StopFlag,
    ) -> Self {
        Self {
            tree: Builder::new(platform, limits.entries),
            chunker: Chunker::new(),
            writer,
            meter: Meter {
                limits,
                archive_bytes,
                unpacked_bytes: 0,
                stop,
            },
            platform,
            entries: 0,
            warnings: Vec::new(),
            unsaid: 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.meter.limits
    }

    /// Begins an entry: counts it and checks its name.
    pub(super) fn begin(&mut self, name: &[u8]) -> Result<EntryPath, IngestError> {
        self.entries += 1;
        if self.entries > self.meter.limits.entries {
            return Err(IngestError::TooManyEntries {
                limit: self.meter.limits.entries,
            });
        }
        let path = EntryPath::parse(name, self.platform)?;
        if self.platform == Platform::Any && path.shown.chars().count() > LONG_PATH_CHARS {
            self.warn(format!(
                "'{}' is a long path; Windows programs that are not ready for long paths cannot open it",
                path.shown
            ));
        }
        Ok(path)
    }

    /// Counts bytes that were unpacked and are no file's content.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), IngestError> {
        self.meter.spend(bytes)
    }

    /// Stores a file and says how large it was. Without a mode its content tells whether it may be
    /// executed.
    pub(super) fn file(
        &mut self,
        path: &EntryPath,
        executable: Option<bool>,
        content: &mut dyn Read,
    ) -> Result<u64, IngestError> {
        self.tree.check_free(path)?;
        let meter = &mut self.meter;
        let reading = format!("'{}'", path.shown);
        let content = self
            .chunker
            .store(content, &reading, &mut self.writer, &mut |n| meter.spend(n))?;
        let size_bytes = content.size_bytes;
        let file = FileNode {
            executable: executable.unwrap_or(content.looks_executable),
            content,
        };
        self.tree.add_file(path, file)?;
        Ok(size_bytes)
    }

    pub(super) fn folder(&mut self, path: &EntryPath) -> Result<(), IngestError> {
        self.tree.add_folder(path)
    }

    pub(super) fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), IngestError> {
        self.tree.add_link(path, target)
    }

    /// A hard link is a second file with the content of the first.
    pub(super) fn hard_link(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), IngestError> {
        let shown = super::error::printable(target);
        let refuse = || IngestError::refused(&path.shown, Refusal::HardLink(shown.clone()));
        let target = EntryPath::parse(target, self.platform).map_err(|_| refuse())?;
        let file = self.tree.file(&target).cloned().ok_or_else(refuse)?;
        // Many links to one large file are a bomb for whoever unpacks it.
        self.meter
            .spend(usize::try_from(file.content.size_bytes).unwrap_or(usize::MAX))?;
        self.tree.add_file(path, file)
    }

    pub(super) fn warn_setuid(&mut self, path: &EntryPath) {
        self.warn(format!(
            "'{}' is setuid or setgid; packages do not carry that",
            path.shown
        ));
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        } else {
            self.unsaid += 1;
        }
    }

    /// Stores the folders' nodes; gives back the writer for the archive itself.
    pub(super) fn finish(mut self) -> Result<(Root, Vec<String>, Writer, Chunker), IngestError> {
        let mut dangling = Vec::new();
        let root = self.tree.finish(&mut self.writer, |link| {
            if dangling.len() < WARNINGS_MAX {
                dangling.push(format!("the symbolic link '{link}' leads to nothing"));
            }
        })?;
        self.warnings.append(&mut dangling);
        if self.unsaid > 0 {
            self.warnings
                .push(format!("and {} more warnings", self.unsaid));
        }
        Ok((root, self.warnings, self.writer, self.chunker))
    }
}
