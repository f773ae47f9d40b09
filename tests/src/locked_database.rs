//! A server's database that nobody can use for a while.
//!
//! It has every lock that SQLite's own processes ask for before they read or write (its file format,
//! "WAL-index locks"), on both of the server's files. Whoever wants one meanwhile is told that it is
//! busy, or after many tries that the locking protocol failed; nothing that is stored is touched.
#![allow(
    unsafe_code,
    reason = "no safe crate in the tree locks a range of bytes"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use mantle::store::{LOGS_FILE, STATE_FILE};

use crate::wait::wait_for;

/// The bytes of the `-shm` file that are locked: the writer's, the checkpointer's, recovery's, and those
/// of five kinds of readers. The one behind them says only that somebody has the file open.
const LOCKS: Range<i64> = 120..128;
/// How long those who have a lock may take to be done.
const DEADLINE: Duration = Duration::from_secs(30);

/// Holds the locks until it is dropped.
#[derive(Debug)]
pub struct LockedDatabase {
    // The locks go with them.
    _files: Vec<File>,
}

impl LockedDatabase {
    /// Takes the database of the server whose data directory this is, as soon as those who use it just
    /// now are done.
    ///
    /// # Panics
    /// When there is no database, or somebody uses it all the time.
    pub async fn lock(data: &Path) -> Self {
        let mut files = Vec::new();
        for name in [STATE_FILE, LOGS_FILE] {
            let path = data.join(format!("{name}-shm"));
            let file = File::options().read(true).write(true).open(&path);
            let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // One by one: whoever has one of the others is let finish, and nobody new comes.
            for byte in LOCKS {
                let what = format!("lock {byte} of {name} is free");
                wait_for(&what, DEADLINE, || async {
                    lock(&file, byte).map_err(|error| error.to_string())
                })
                .await;
            }
            files.push(file);
        }
        Self { _files: files }
    }
}

/// Locks one byte for this open file alone, or says that somebody else has it.
fn lock(file: &File, byte: i64) -> io::Result<()> {
    let wanted = libc::flock {
        l_type: narrow(libc::F_WRLCK),
        l_whence: narrow(libc::SEEK_SET),
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the kernel only reads `wanted`.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const wanted) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn narrow(constant: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(constant).expect("a small constant")
}
