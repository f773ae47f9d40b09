//! `current` on Windows: which version is in use stands in `current.json`, and a junction follows it.
//!
//! What must hold: once `current.json` names a version, the junction comes to point at that version's
//! folder, whatever is killed when. The file is the intent: it is on the disk before the junction is
//! touched, every installation compares the two, also one that finds its version current already,
//! and so does the agent when it starts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::LOCK_FILE;
use crate::durable::{self, Privacy};

/// The file's name.
pub(super) const FILE: &str = "current.json";
/// The junction's name.
pub(super) const LINK: &str = "current";

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Current {
    /// 1.
    pub format: u32,
    /// The version's folder, beside the file.
    pub folder: String,
    /// The version.
    pub version: String,
    /// The folder with its whole path, for scripts.
    pub path: String,
}

impl Current {
    /// What the file in this folder says; `None` if there is none that can be read.
    pub(super) fn read(root: &Path) -> Option<Self> {
        let bytes = fs::read(root.join(FILE)).ok()?;
        let current: Self = serde_json::from_slice(&bytes).ok()?;
        let inside = !current.folder.is_empty() && !current.folder.contains(['/', '\\']);
        (inside && current.folder != "..").then_some(current)
    }

    /// Puts the file in place of the one before.
    pub(super) fn write(&self, root: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        durable::write(&root.join(FILE), &bytes, Privacy::Folder)
    }
}

/// How links are made and removed here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    /// Makes a link (first) to a folder (second).
    pub make: fn(&Path, &Path) -> io::Result<()>,
    /// Removes a link or an empty folder, and nothing else.
    pub remove: fn(&Path) -> io::Result<()>,
}

/// What stands where the link should be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// Nothing.
    Nothing,
    /// A link to this place.
    Link(PathBuf),
    /// A folder with nothing in it: a junction is one until its target is written.
    EmptyFolder,
    /// Something that the agent did not make.
    Other,
}

/// What is to be done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Keep,
    Make,
    Replace,
    Refuse,
}

fn decide(found: &Found, wanted: &Path) -> Step {
    match found {
        Found::Nothing => Step::Make,
        Found::Link(target) if same_folder(target, wanted) => Step::Keep,
        Found::Link(_) | Found::EmptyFolder => Step::Replace,
        Found::Other => Step::Refuse,
    }
}

/// A junction gives its target back as the system keeps it.
fn same_folder(left: &Path, right: &Path) -> bool {
    let plain = |path: &Path| {
        let text = path.to_string_lossy().replace('/', "\\");
        let text = text
            .strip_prefix(r"\\?\")
            .or_else(|| text.strip_prefix(r"\??\"))
            .unwrap_or(&text);
        text.trim_end_matches('\\').to_lowercase()
    };
    plain(left) == plain(right)
}

fn look(link: &Path) -> io::Result<Found> {
    let meta = match fs::symlink_metadata(link) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    if meta.is_symlink() {
        return fs::read_link(link).map(Found::Link);
    }
    if meta.is_dir() && fs::read_dir(link)?.next().is_none() {
        return Ok(Found::EmptyFolder);
    }
    Ok(Found::Other)
}

/// Makes the link point at this folder; says whether it had to. To be called under the place's lock.
pub(super) fn follow(root: &Path, folder: &str, links: Links) -> io::Result<bool> {
    let (link, wanted) = (root.join(LINK), root.join(folder));
    match decide(&look(&link)?, &wanted) {
        Step::Keep => return Ok(false),
        Step::Make => {}
        Step::Replace => (links.remove)(&link)?,
        Step::Refuse => {
            return Err(io::Error::other(
                "it is not a junction that this agent made; move it away and deploy again",
            ));
        }
    }
    (links.make)(&link, &wanted)?;
    // What makes junctions has been known to say that it did.
    match decide(&look(&link)?, &wanted) {
        Step::Keep => Ok(true),
        Step::Make | Step::Replace | Step::Refuse => {
            Err(io::Error::other("it was made, and does not point there"))
        }
    }
}

/// Completes the switches that a kill cut short; gives how many. What cannot be completed is logged:
/// the agent has other work, and the next installation there fails on it.
pub(super) fn complete_all(apps: &Path, links: Links) -> usize {
    let mut completed = 0;
    for root in places(apps) {
        match complete(&root, links) {
            Ok(true) => {
                completed += 1;
                tracing::info!(place = %root.display(), "the switch to a version was cut short and is completed now");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(place = %root.display(), %error, "the junction 'current' does not follow current.json; deploy again, which says the same or puts it right");
            }
        }
    }
    completed
}

fn complete(root: &Path, links: Links) -> io::Result<bool> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(root.join(LOCK_FILE))?;
    match lock.try_lock() {
        Ok(()) => {}
        // A step that outlived the agent before this one is at work, and completes its own.
        Err(fs::TryLockError::WouldBlock) => return Ok(false),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    match Current::read(root) {
        Some(current) if root.join(&current.folder).is_dir() => {
            follow(root, &current.folder, links)
        }
        Some(_) | None => Ok(false),
    }
}

/// The folders below the root of installed versions that say which version is in use.
fn places(apps: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    };
    let environments = below(apps.to_owned()).into_iter();
    environments
        .flat_map(below)
        .flat_map(below)
        .filter(|root| root.join(FILE).is_file())
        .collect()
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Symbolic links stand in for junctions, which this system has not.
    const LINKS: Links = Links {
        make: |link, target| std::os::unix::fs::symlink(target, link),
        remove: |link| fs::remove_file(link).or_else(|_| fs::remove_dir(link)),
    };

    #[test]
    fn what_is_done_with_what_stands_there() {
        let link = |text: &str| Found::Link(PathBuf::from(text));
        let wanted = Path::new(r"C:\Apps\test\shop\Web\1.1");
        for (found, step) in [
            (Found::Nothing, Step::Make),
            (link(r"C:\Apps\test\shop\Web\1.1"), Step::Keep),
            (link(r"\\?\C:\Apps\test\shop\Web\1.1"), Step::Keep),
            (link(r"\??\C:\Apps\test\shop\Web\1.1\"), Step::Keep),
            (link(r"c:\apps\TEST\shop\web\1.1"), Step::Keep),
            (link("C:/Apps/test/shop/Web/1.1"), Step::Keep),
            (link(r"C:\Apps\test\shop\Web\1.0"), Step::Replace),
            (link(r"C:\Apps\test\shop\Web\1.1\web"), Step::Replace),
            (link(r"D:\Apps\test\shop\Web\1.1"), Step::Replace),
            (Found::EmptyFolder, Step::Replace),
            (Found::Other, Step::Refuse),
        ] {
            assert_eq!(decide(&found, wanted), step, "{found:?}");
        }
    }

    fn place(apps: &Path) -> PathBuf {
        let root = apps.join("test/shop/Web");
        for version in ["1.0", "1.1"] {
            fs::create_dir_all(root.join(version)).unwrap();
        }
        root
    }

    fn say(root: &Path, folder: &str) {
        let current = Current {
            format: 1,
            folder: folder.to_owned(),
            version: folder.to_owned(),
            path: String::new(),
        };
        current.write(root).unwrap();
    }

    #[test]
    fn a_switch_that_was_cut_short_is_completed_at_the_start() {
        let apps = tempfile::tempdir().unwrap();
        let root = place(apps.path());
        // Killed before the first junction; before it was replaced; between its folder and its
        // target; with nothing to do; with a file that names a folder which is not there.
        let link = root.join(LINK);
        say(&root, "1.0");
        assert_eq!(complete_all(apps.path(), LINKS), 1);
        assert_eq!(fs::read_link(&link).unwrap(), root.join("1.0"));
        say(&root, "1.1");
        assert_eq!(complete_all(apps.path(), LINKS), 1);
        assert_eq!(fs::read_link(&link).unwrap(), root.join("1.1"));
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert_eq!(complete_all(apps.path(), LINKS), 1);
        assert_eq!(fs::read_link(&link).unwrap(), root.join("1.1"));
        assert_eq!(complete_all(apps.path(), LINKS), 0);
        for elsewhere in ["2.0", "..", "../../x"] {
            say(&root, elsewhere);
            assert_eq!(complete_all(apps.path(), LINKS), 0, "{elsewhere}");
            assert_eq!(fs::read_link(&link).unwrap(), root.join("1.1"));
        }
    }

    #[test]
    fn a_place_where_a_step_is_at_work_is_left_to_it() {
        let apps = tempfile::tempdir().unwrap();
        let root = place(apps.path());
        say(&root, "1.0");
        let lock = File::create(root.join(LOCK_FILE)).unwrap();
        lock.lock().unwrap();
        assert_eq!(complete_all(apps.path(), LINKS), 0);
        drop(lock);
        assert_eq!(complete_all(apps.path(), LINKS), 1);
    }

    #[test]
    fn a_junction_that_cannot_be_made_or_replaced_is_an_error() {
        let apps = tempfile::tempdir().unwrap();
        let root = place(apps.path());
        let pretends = Links {
            make: |_, _| Ok(()),
            ..LINKS
        };
        let error = follow(&root, "1.0", pretends).unwrap_err();
        assert!(error.to_string().contains("does not point"), "{error}");
        fs::create_dir(root.join(LINK)).unwrap();
        fs::write(root.join(LINK).join("file"), b"").unwrap();
        let error = follow(&root, "1.0", LINKS).unwrap_err();
        assert!(error.to_string().contains("move it away"), "{error}");
        assert!(root.join(LINK).join("file").exists());
    }
}
