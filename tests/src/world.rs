//! A test's world: its folder, its processes, and what is left when it ends.
//!
//! Whatever a test starts carries the world's mark in its environment. When the last handle goes,
//! every process with the mark is killed by its id (also those that were detached on purpose), the
//! logs are printed if the test failed, and the folder is removed. `KEEP=1` keeps the folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait::block_until;

/// The environment variable that marks every process of a world.
pub const MARK: &str = "MANTLE_TEST_WORLD";
/// How much of each log is shown when a test fails.
const SHOWN_LINES: usize = 200;

/// A handle on a test's world.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    logs: Mutex<Vec<(String, PathBuf)>>,
    keep: AtomicBool,
}

impl World {
    /// A fresh folder.
    ///
    /// # Panics
    /// When none can be made.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("mantle-test-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        Self {
            inner: Arc::new(Inner {
                root,
                logs: Mutex::default(),
                keep: AtomicBool::new(false),
            }),
        }
    }

    /// The world's folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Keeps the folder when the world ends.
    pub fn keep(&self) {
        self.inner.keep.store(true, Ordering::Relaxed);
    }

    /// A path in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }

    /// A folder in the world's folder, made if it is not there.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("a folder of the test's world");
        path
    }

    /// Writes a file in the world's folder and gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder of the test's world");
        }
        std::fs::write(&path, content).expect("a file of the test's world");
        path
    }

    /// Shows this file if the test fails.
    pub(crate) fn watch_log(&self, name: &str, path: &Path) {
        let mut logs = self.inner.logs.lock().unwrap();
        if !logs.iter().any(|(_, known)| known == path) {
            logs.push((name.to_owned(), path.to_owned()));
        }
    }

    /// The value of [`MARK`] for processes of this world.
    pub(crate) fn mark(&self) -> &Path {
        &self.inner.root
    }

    /// The processes of this world that are alive, whoever started them.
    pub fn processes(&self) -> Vec<i32> {
        self.inner.processes()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// Marked processes, by what the kernel says of each. The mark names this world's folder,
    /// which no other test has, so that only processes of this test are found.
    fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.root.display());
        let own = std::process::id().cast_signed();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own && self.owns(*pid, &mark))
            .collect()
    }

    fn owns(&self, pid: i32, mark: &str) -> bool {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let root = self.root.as_os_str().as_encoded_bytes();
        let alive = !read("stat")
            .rsplit(|byte| *byte == b')')
            .next()
            .is_some_and(|rest| rest.starts_with(b" Z") || rest.is_empty());
        let marked = read("environ")
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes());
        let started_here = read("cmdline").windows(root.len()).any(|part| part == root)
            || std::fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|dir| dir.starts_with(&self.root));
        alive && (marked || started_here)
    }

    fn kill_all(&self) {
        // A process may start another while it is being killed, so this goes on until none is left.
        let none_left = block_until(Duration::from_secs(10), || {
            let processes = self.processes();
            for pid in &processes {
                if let Some(pid) = Pid::from_raw(*pid) {
                    // It may have ended by itself meanwhile.
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            processes.is_empty()
        });
        if !none_left {
            say(&format!("still alive: {:?}", self.processes()));
        }
    }

    fn print_logs(&self) {
        for (name, path) in self.logs.lock().unwrap().iter() {
            let bytes = std::fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(SHOWN_LINES);
            say(&format!(
                "---- {name} ({} lines)\n{}",
                lines.len(),
                lines[from..].join("\n")
            ));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.kill_all();
        if std::thread::panicking() {
            self.print_logs();
        }
        if self.keep.load(Ordering::Relaxed) || std::env::var_os("KEEP").is_some() {
            say(&format!("kept: {}", self.root.display()));
        } else {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

fn say(text: &str) {
    // Standard error may be closed when a test run is cut short.
    let _ = writeln!(std::io::stderr(), "{text}");
}
