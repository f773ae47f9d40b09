//! How much room a disk has.

use std::io;
use std::path::{Path, PathBuf};

/// What an unprivileged user may still write on the disk that holds this path. The path itself
/// need not exist yet.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let existing = existing_ancestor(path);
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(&existing)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(windows)]
    {
        windows::free_bytes(&existing)
    }
    #[cfg(not(any(unix, windows)))]
    {
        let _ = existing;
        Ok(u64::MAX)
    }
}

fn existing_ancestor(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

#[cfg(windows)]
#[expect(
    unsafe_code,
    reason = "the free space of a disk is only to be had from the system's C interface"
)]
mod windows {
    use std::io;
    use std::os::windows::ffi::OsStrExt as _;
    use std::path::Path;

    use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;

    pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
        let wide: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
        let mut available = 0_u64;
        // SAFETY: `wide` ends with NUL and lives through the call; `available` is valid for a
        // write of eight bytes; the other two pointers may be null.
        let done = unsafe {
            GetDiskFreeSpaceExW(
                wide.as_ptr(),
                &raw mut available,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(available)
    }
}
