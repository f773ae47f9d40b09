//! A small disk of a process's own, so that "the disk is full" is tried with a disk that is full.
//!
//! The process gets a mount namespace of its own with a tmpfs over one folder: as root directly,
//! else in a user namespace, which Debian allows everyone. The test reaches the files through
//! `/proc/<pid>/root`; when the last process of the namespace ends, the disk is gone. A [`KeptDisk`]
//! has a process of its own for that, so that it outlives those who use it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::namespaces::unshare;
use crate::process::Process;
use crate::world::World;

/// A folder on a disk of its own.
#[derive(Debug, Clone)]
pub struct SmallDisk {
    /// Where it is mounted. What is in there now is copied onto it.
    pub folder: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// Copies what is there onto a new disk, puts that in its place, and becomes the command.
const MOUNT: &str = r#"set -e
folder=$1; size=$2; shift 2
mkdir -p "$folder"
new=$(mktemp -d "$folder.disk.XXXXXX")
mount -t tmpfs -o "size=$size" tmpfs "$new"
cp -a "$folder/." "$new/"
mount --move "$new" "$folder"
exec "$@""#;

impl SmallDisk {
    /// The same command with the disk mounted before it starts, under the same process id.
    pub fn with(&self, command: &Command) -> Command {
        let mut wrapped = unshare(&["--mount"]);
        wrapped
            .args(["sh", "-c", MOUNT, "sh"])
            .arg(&self.folder)
            .arg(self.size_bytes.to_string())
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }
}

/// `path` as the process with this id sees it.
pub fn seen_by(pid: i32, path: &Path) -> PathBuf {
    let relative = path.strip_prefix("/").unwrap_or(path);
    PathBuf::from(format!("/proc/{pid}/root")).join(relative)
}

/// The same command in the mounts of this process, under the same process id.
pub(crate) fn in_mounts_of(pid: i32, command: &Command) -> Command {
    let mut wrapped = Command::new("nsenter");
    if !rustix::process::geteuid().is_root() {
        wrapped.args(["--user", "--preserve-credentials"]);
    }
    wrapped
        .args(["--mount", "--target", &pid.to_string()])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// How long a disk may take to be there.
const MOUNT_DEADLINE: Duration = Duration::from_secs(20);

/// A small disk that stays while the processes that use it come and go.
pub struct KeptDisk {
    holder: Process,
    folder: PathBuf,
}

impl KeptDisk {
    /// Mounts it over a folder, whose files are copied onto it.
    ///
    /// # Panics
    /// When the system does not allow it.
    pub async fn mount(world: &World, name: &str, folder: &Path, size_bytes: u64) -> Self {
        let disk = SmallDisk {
            folder: folder.to_owned(),
            size_bytes,
        };
        let mut hold = Command::new("sh");
        hold.args(["-c", "echo mounted; exec sleep infinity"]);
        let mut holder = Process::spawn(world, &format!("disk {name}"), disk.with(&hold));
        holder
            .line("it is mounted", MOUNT_DEADLINE, |line| line == "mounted")
            .await;
        Self {
            holder,
            folder: folder.to_owned(),
        }
    }

    /// The same command with the disk in its place, under the same process id.
    pub fn enter(&self, command: &Command) -> Command {
        in_mounts_of(self.holder.pid(), command)
    }

    /// The disk as this process can reach it.
    pub fn path(&self) -> PathBuf {
        seen_by(self.holder.pid(), &self.folder)
    }

    /// Fills it until not one more byte fits.
    ///
    /// # Panics
    /// When the file that fills it cannot be made.
    pub fn fill(&self) {
        let path = self.filler();
        let mut file = match std::fs::File::create(&path) {
            Ok(file) => file,
            // A disk that is full already has no room for another name.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        for size in [64 * 1024, 1024, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Ends [`Self::fill`].
    pub fn free(&self) {
        // It is not there if it was never filled.
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}
