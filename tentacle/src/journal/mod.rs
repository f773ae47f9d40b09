//! The journal: the durable record of every attempt.
//!
//! What holds here: [`Journal::append`] returns once its records are on the disk; a record that was
//! not written whole is cut off when the journal is opened, and everything before it holds; after a
//! failed write nothing is appended behind the damage; a full disk leaves room for the ends of what
//! was started. Who cannot append must not act.

mod ledger;
mod record;
mod storage;

use std::io;

pub use ledger::{Began, Entry, Illegal, Ledger, Phase, REMEMBER_US};
pub use record::Record;
pub use storage::{Disk, Storage};

/// The first line. A later layout has another number, and this build refuses it.
const HEADER: &[u8] = b"mantle-journal 1\n";
/// A journal is written anew when it has grown by this much and to twice its compact size.
const COMPACT_BYTES: u64 = 1024 * 1024;

/// The open journal.
pub struct Journal {
    storage: Box<dyn Storage>,
    /// Everything up to here is whole and on the disk.
    good: u64,
    compacted: u64,
    /// A write failed: what follows `good` is unknown, and must be cut off before the next one.
    dirty: bool,
    /// A replacement failed half-way: what would be in place if it did not.
    doubt: Option<Vec<u8>>,
    reserved: bool,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What it adds up to.
    pub ledger: Ledger,
    /// Bytes of a torn end that were cut off.
    pub cut_bytes: u64,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("bytes", &self.good)
            .finish_non_exhaustive()
    }
}

/// How much an append matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weight {
    /// It allows something new, which is better refused than begun on a full disk.
    Begins,
    /// It says what already is: it may use the reserve.
    #[default]
    Settles,
}

/// Why records were not written. Nothing that they allow may happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk is full.
    #[error("there is no room for the journal")]
    NoSpace,
    /// Something else.
    #[error("the journal could not be written")]
    Io(#[source] io::Error),
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read or written.
    #[error("the journal could not be opened")]
    Io(#[source] io::Error),
    /// It was written by a later version.
    #[error(
        "the journal begins with '{found}', which this version of the agent does not know; use the version that wrote it, or a later one"
    )]
    Format {
        /// What was found.
        found: String,
    },
    /// A record in the middle is damaged: what follows cannot be trusted.
    #[error("the journal is damaged at byte {offset}, before its last record")]
    Damaged {
        /// Where.
        offset: u64,
    },
    /// The records contradict each other.
    #[error("the journal contradicts itself")]
    Illegal(#[source] Illegal),
}

impl Journal {
    /// Opens the journal, or begins one. A torn end is cut off.
    pub fn open(mut storage: Box<dyn Storage>, now_us: i64) -> Result<Opened, OpenError> {
        let bytes = storage.load().map_err(OpenError::Io)?.unwrap_or_default();
        let mut ledger = Ledger::default();
        let mut journal = Self {
            storage,
            good: 0,
            compacted: 0,
            dirty: false,
            doubt: None,
            reserved: false,
        };
        // A header that is not whole was never followed by a record.
        if bytes.len() < HEADER.len() && HEADER.starts_with(&bytes) {
            journal.storage.replace(HEADER).map_err(OpenError::Io)?;
            journal.good = HEADER.len() as u64;
            journal.compacted = journal.good;
            journal.try_reserve();
            return Ok(Opened {
                journal,
                ledger,
                cut_bytes: 0,
            });
        }
        let whole = read(&bytes, &mut ledger)?;
        let cut_bytes = (bytes.len() - whole) as u64;
        journal.good = whole as u64;
        if cut_bytes > 0 {
            journal
                .storage
                .truncate(journal.good)
                .map_err(OpenError::Io)?;
        }
        journal.try_reserve();
        if let Some(pruned) = journal.pruned(&ledger, now_us) {
            ledger = pruned;
        }
        journal.compact_if_due(&ledger);
        Ok(Opened {
            journal,
            ledger,
            cut_bytes,
        })
    }

    /// Writes records; on return they are on the disk. On an error none of them counts.
    pub fn append(&mut self, records: &[Record], weight: Weight) -> Result<(), AppendError> {
        let mut bytes = Vec::new();
        for record in records {
            record::encode(record, &mut bytes)
                .map_err(|error| AppendError::Io(io::Error::other(error)))?;
        }
        if weight == Weight::Begins {
            self.try_reserve();
            if !self.reserved {
                return Err(AppendError::NoSpace);
            }
        }
        match self.write(&bytes) {
            Err(error) if is_full(&error) && weight == Weight::Settles && self.reserved => {
                self.reserved = false;
                // If it cannot be given free the second try says so.
                let _ = self.storage.release();
                self.write(&bytes)
            }
            done => done,
        }
        .map_err(|error| {
            if is_full(&error) {
                AppendError::NoSpace
            } else {
                AppendError::Io(error)
            }
        })
    }

    /// Writes the journal anew if it has grown enough. A failure leaves the old one in place.
    pub fn compact_if_due(&mut self, ledger: &Ledger) {
        if self.good < self.compacted.saturating_mul(2).max(COMPACT_BYTES) && !self.dirty {
            return;
        }
        // The next append is another occasion.
        let _ = self.rewrite(ledger);
    }

    /// The ledger without what need not be remembered, once the journal says the same; `None` if
    /// nothing is to be forgotten, or the journal cannot be written now. What only memory had
    /// forgotten would come back with the next start, and contradict an attempt that was accepted
    /// under the same id meanwhile.
    pub fn pruned(&mut self, ledger: &Ledger, now_us: i64) -> Option<Ledger> {
        let pruned = ledger.pruned(now_us)?;
        match self.rewrite(&pruned) {
            Ok(()) => Some(pruned),
            Err(error) => {
                tracing::warn!(%error, "the journal could not be written anew; what is old stays for now");
                None
            }
        }
    }

    /// Puts a journal that adds up to this ledger in the old one's place, whole or not at all.
    pub fn rewrite(&mut self, ledger: &Ledger) -> io::Result<()> {
        let mut bytes = HEADER.to_vec();
        for record in ledger.records() {
            record::encode(&record, &mut bytes).map_err(io::Error::other)?;
        }
        match self.storage.replace(&bytes) {
            Ok(()) => {
                self.put_in_place(bytes.len());
                Ok(())
            }
            Err(error) => {
                // The new one may be in place and only its name not on the disk yet.
                self.doubt = Some(bytes);
                Err(error)
            }
        }
    }

    fn put_in_place(&mut self, bytes: usize) {
        self.good = bytes as u64;
        self.compacted = self.good;
        self.dirty = false;
        self.doubt = None;
    }

    /// After a replacement that failed: which of the two journals is in place, the old or the new one?
    /// Both add up to the same; but nothing may be appended to the one by the other's length, nor to
    /// one that a power cut could exchange for the other.
    fn settle(&mut self) -> io::Result<()> {
        let Some(new) = &self.doubt else {
            return Ok(());
        };
        self.storage.settle()?;
        let held = self.storage.load()?.unwrap_or_default();
        if held == *new {
            let bytes = held.len();
            self.put_in_place(bytes);
        } else {
            self.doubt = None;
        }
        Ok(())
    }

    /// There is no record in it.
    pub fn is_empty(&self) -> bool {
        self.good <= HEADER.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.settle()?;
        if self.dirty {
            self.storage.truncate(self.good)?;
            self.dirty = false;
        }
        match self.storage.append(bytes) {
            Ok(()) => {
                self.good += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.dirty = self.storage.truncate(self.good).is_err();
                Err(error)
            }
        }
    }

    fn try_reserve(&mut self) {
        if !self.reserved {
            self.reserved = self.storage.reserve().is_ok();
        }
    }
}

/// What a journal's bytes add up to, for who looks at it beside the agent that writes it. One that was
/// only just begun holds nothing.
pub fn inspect(bytes: &[u8]) -> Result<Ledger, OpenError> {
    let mut ledger = Ledger::default();
    if !HEADER.starts_with(bytes) {
        read(bytes, &mut ledger)?;
    }
    Ok(ledger)
}

/// Applies every whole record behind the header; gives how many bytes they have with it.
fn read(bytes: &[u8], ledger: &mut Ledger) -> Result<usize, OpenError> {
    let Some(body) = bytes.strip_prefix(HEADER) else {
        let first = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let found = String::from_utf8_lossy(first).chars().take(60).collect();
        return Err(OpenError::Format { found });
    };
    Ok(HEADER.len() + replay(body, ledger)?)
}

/// Applies every whole record; gives how many bytes they have. Damage is torn only at the end.
fn replay(body: &[u8], ledger: &mut Ledger) -> Result<usize, OpenError> {
    let mut offset = 0;
    while let Some(length) = body
        .get(offset..)
        .and_then(|rest| rest.iter().position(|b| *b == b'\n'))
    {
        let line = body.get(offset..offset + length).unwrap_or_default();
        let next = offset + length + 1;
        match record::decode(line) {
            Some(record) => ledger.apply(&record).map_err(OpenError::Illegal)?,
            // A power cut may leave garbage in the last write, line feeds and all, but no whole
            // record can follow it.
            None if no_record_in(body.get(next..).unwrap_or_default()) => break,
            None => {
                return Err(OpenError::Damaged {
                    offset: (HEADER.len() + offset) as u64,
                });
            }
        }
        offset = next;
    }
    Ok(offset)
}

fn no_record_in(bytes: &[u8]) -> bool {
    bytes
        .split(|byte| *byte == b'\n')
        .all(|line| record::decode(line).is_none())
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests;
