//! A disk that never answers, for the processes that see it (`bin/stuck_disk.rs`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::binaries::binary;
use crate::namespaces::unshare;
use crate::process::Process;
use crate::world::World;

/// How long it may take until the disk is there.
const MOUNT_DEADLINE: Duration = Duration::from_secs(20);

/// A folder on a disk that never answers, in mounts of its own.
pub struct StuckDisk {
    server: Process,
    folder: PathBuf,
}

impl StuckDisk {
    /// Mounts it.
    ///
    /// # Panics
    /// When the system does not allow it.
    pub async fn mount(world: &World) -> Self {
        let folder = world.dir("stuck");
        let mut command = unshare(&["--mount"]);
        command.arg(binary("stuck_disk")).arg(&folder);
        let mut server = Process::spawn(world, "stuck disk", command);
        server
            .line("it is mounted", MOUNT_DEADLINE, |line| line == "mounted")
            .await;
        Self { server, folder }
    }

    /// The process in whose mounts it is.
    pub fn pid(&self) -> i32 {
        self.server.pid()
    }

    /// A file on it. That it is there nobody ever says.
    pub fn file(&self) -> PathBuf {
        self.folder.join("file")
    }

    /// Waits until somebody waits for it.
    pub async fn is_waited_for(&mut self, within: Duration) {
        self.server
            .line("somebody waits", within, |line| line == "waiting")
            .await;
    }

    /// Ends it: whoever waits gets an error.
    pub fn give_up(mut self) {
        self.server.kill9();
    }

    /// The folder that it is mounted over.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
