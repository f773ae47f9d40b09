//! The disk under an agent's journal: what was written, what is certain to survive a power cut, and
//! what goes wrong with the next write.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tentacle::journal::Storage;

/// What the room set aside is worth: more than all the ends of a case.
const RESERVE_BYTES: usize = 64 * 1024;

/// What happens to the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The process dies in the middle of it, after so many 255ths.
    Torn(u8),
    /// It is written, and the order to bring it to the disk fails.
    Unsynced,
}

#[derive(Debug, Default)]
struct Platter {
    /// There is a journal.
    exists: bool,
    /// What a reader finds.
    written: Vec<u8>,
    /// What survives a power cut for certain.
    synced: Vec<u8>,
    trouble: Option<Trouble>,
    /// Nothing more fits, save so much.
    room: Option<usize>,
    reserved: bool,
    /// The process that wrote is dead.
    died: bool,
}

/// A handle on the disk; it outlives every agent that uses it.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<Platter>>);

impl FaultyDisk {
    fn with<T>(&self, work: impl FnOnce(&mut Platter) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next write goes wrong in this way.
    pub fn trouble(&self, trouble: Option<Trouble>) {
        self.with(|platter| platter.trouble = trouble);
    }

    /// Fills the disk up, or gives it room.
    pub fn fill(&self, full: bool) {
        self.with(|platter| platter.room = full.then_some(0));
    }

    /// Whether nothing fits any more.
    pub fn is_full(&self) -> bool {
        self.with(|platter| platter.room.is_some())
    }

    /// Whether the process died while it wrote. Asked once.
    pub fn take_died(&self) -> bool {
        self.with(|platter| std::mem::take(&mut platter.died))
    }

    /// Whether these bytes are certain to survive.
    pub fn holds(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.with(|platter| platter.synced.windows(text.len()).any(|held| held == text))
    }

    /// The machine loses its power: of what was not brought to the disk, this many 255ths are there
    /// afterwards, and the last bytes of those may be garbage.
    pub fn power_cut(&self, part: u8, garbage: bool) {
        self.with(|platter| {
            let synced = platter.synced.len();
            if platter.written.starts_with(&platter.synced) {
                let kept = synced + share(platter.written.len() - synced, part);
                platter.written.truncate(kept);
                if garbage && kept > synced {
                    let from = kept - (kept - synced).min(3);
                    platter
                        .written
                        .iter_mut()
                        .skip(from)
                        .for_each(|byte| *byte = 0);
                }
            } else if part < 128 {
                platter.written.clone_from(&platter.synced);
            }
            platter.synced.clone_from(&platter.written);
            platter.trouble = None;
            platter.died = false;
        });
    }
}

fn share(of: usize, part: u8) -> usize {
    of * usize::from(part) / 255
}

impl Platter {
    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    fn dead(&mut self) -> io::Error {
        self.died = true;
        io::ErrorKind::Interrupted.into()
    }
}

impl Storage for FaultyDisk {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.with(|platter| Ok(platter.exists.then(|| platter.written.clone())))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.with(|platter| {
            if platter.died {
                return Err(platter.dead());
            }
            let length = usize::try_from(length).map_err(io::Error::other)?;
            platter.written.truncate(length);
            platter.synced.clone_from(&platter.written);
            Ok(())
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|platter| {
            let room = platter.room.unwrap_or(usize::MAX);
            if bytes.len() > room {
                platter.written.extend(bytes.iter().take(room));
                return Err(Platter::full());
            }
            if let Some(room) = &mut platter.room {
                *room -= bytes.len();
            }
            match platter.trouble.take() {
                Some(Trouble::Torn(part)) => {
                    let part = share(bytes.len(), part);
                    platter.written.extend(bytes.iter().take(part));
                    Err(platter.dead())
                }
                Some(Trouble::Unsynced) => {
                    platter.written.extend(bytes);
                    Err(io::Error::other("the disk did not answer"))
                }
                None => {
                    platter.written.extend(bytes);
                    platter.synced.clone_from(&platter.written);
                    Ok(())
                }
            }
        })
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|platter| {
            if bytes.len() > platter.room.unwrap_or(usize::MAX) {
                return Err(Platter::full());
            }
            match platter.trouble.take() {
                // Before the rename, or after it and before it is certain.
                Some(Trouble::Torn(part)) => {
                    if part >= 128 {
                        platter.put(bytes);
                    }
                    Err(platter.dead())
                }
                Some(Trouble::Unsynced) => {
                    platter.put(bytes);
                    Err(io::Error::other("the disk did not answer"))
                }
                None => {
                    platter.put(bytes);
                    platter.synced = bytes.to_vec();
                    Ok(())
                }
            }
        })
    }

    fn settle(&mut self) -> io::Result<()> {
        self.with(|platter| {
            platter.synced.clone_from(&platter.written);
            Ok(())
        })
    }

    fn reserve(&mut self) -> io::Result<()> {
        self.with(|platter| {
            if !platter.reserved && platter.room.is_some_and(|room| room < RESERVE_BYTES) {
                return Err(Platter::full());
            }
            platter.reserved = true;
            Ok(())
        })
    }

    fn release(&mut self) -> io::Result<()> {
        self.with(|platter| {
            if std::mem::take(&mut platter.reserved)
                && let Some(room) = &mut platter.room
            {
                *room += RESERVE_BYTES;
            }
            Ok(())
        })
    }
}

impl Platter {
    fn put(&mut self, bytes: &[u8]) {
        self.exists = true;
        self.written = bytes.to_vec();
    }
}
