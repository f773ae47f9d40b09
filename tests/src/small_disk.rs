//! A small disk of a process's own, so that "the disk is full" is tried with a disk that is full.
//!
//! The process gets a mount namespace of its own with a tmpfs over one folder: as root directly,
//! else in a user namespace, which Debian allows everyone. The test reaches the files through
//! `/proc/<pid>/root`; when the last process of the namespace ends, the disk is gone.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        let mut wrapped = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            wrapped.args(["--user", "--map-root-user"]);
        }
        wrapped
            .args(["--mount", "sh", "-c", MOUNT, "sh"])
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
