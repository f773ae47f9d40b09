//! Names of hosts that a test gives and changes, for the processes that see its mounts alone.

use std::path::PathBuf;
use std::time::Duration;

use crate::namespaces::unshare;
use crate::process::Process;
use crate::world::World;

/// How long it may take until the file is in its place.
const MOUNT_DEADLINE: Duration = Duration::from_secs(20);

/// A file in the place of `/etc/hosts`, in mounts of its own.
pub struct Hosts {
    holder: Process,
    file: PathBuf,
}

impl Hosts {
    /// Puts these lines there.
    ///
    /// # Panics
    /// When the system does not allow it.
    pub async fn mount(world: &World, lines: &str) -> Self {
        let file = world.path("hosts");
        std::fs::write(&file, lines).expect("a file of hosts");
        let mut command = unshare(&["--mount"]);
        command
            .args(["sh", "-c"])
            .arg("mount --bind \"$1\" /etc/hosts && echo mounted && exec sleep infinity")
            .arg("sh")
            .arg(&file);
        let mut holder = Process::spawn(world, "hosts", command);
        holder
            .line("it is mounted", MOUNT_DEADLINE, |line| line == "mounted")
            .await;
        Self { holder, file }
    }

    /// The process in whose mounts it is.
    pub fn pid(&self) -> i32 {
        self.holder.pid()
    }

    /// Puts other lines there.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn change(&self, lines: &str) {
        // The same file, since the mount is of the file and not of its name.
        std::fs::write(&self.file, lines).expect("a file of hosts");
    }
}
