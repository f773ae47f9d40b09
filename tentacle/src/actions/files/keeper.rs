//! Changes files, and can give back what they were.
//!
//! ```text
//! <state dir>/undo/files/<digest of task, action and subject>/
//!   changes     a line a change, on disk before the change is made
//!   0.before    the file that the first change took the place of ...
//! ```
//!
//! It serves twice: a change that fails takes back those before it, and a step that rolls back those
//! of an action that had succeeded, also after a restart in between. What is kept is the file itself
//! where the disk allows (a second name for it), so rights, owner and times come back with it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use mantle_shared::Digest;
use serde::{Deserialize, Serialize};

use super::super::{ActionContext, ActionError};
use super::rights::Rights;
use crate::durable::{self, Privacy};

/// The most ways back that are kept; the oldest go first. A rollback comes within its deployment.
const KEPT: usize = 100;
/// How much is read at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// A change, by what it takes to take it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    path: PathBuf,
    before: Before,
}

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Before {
    /// Nothing, and then a file.
    Nothing,
    /// No folder, and then one.
    NoFolder,
    /// A folder, and then none.
    Folder,
    /// A file, which is kept under this number.
    File(usize),
    /// A link to this.
    Link(PathBuf),
}

/// What a file should hold.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Content<'a> {
    Bytes(&'a [u8]),
    /// That of another file.
    File(&'a Path),
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Put {
    Unchanged,
    Written,
}

/// Changes files for one action of one task, about one subject.
pub(in super::super) struct Keeper<'a> {
    context: &'a ActionContext<'a>,
    folder: PathBuf,
    changes: Vec<Change>,
}

impl<'a> Keeper<'a> {
    /// With what this action of the task has changed so far.
    pub(in super::super) fn of(
        context: &'a ActionContext<'a>,
        action: &str,
    ) -> Result<Self, ActionError> {
        let names = context.names;
        let key = format!("{}\n{action}\n{}", names.task, names.subject);
        let all = context.state_dir.undo().join("files");
        let folder = all.join(Digest::of(key.as_bytes()).to_string());
        let text = match fs::read_to_string(folder.join("changes")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(&folder)(error)),
        };
        // A line that a kill cut short is of a change that was not made.
        let changes = text
            .lines()
            .map_while(|line| serde_json::from_str::<Change>(line).ok());
        Ok(Self {
            context,
            changes: changes.collect(),
            folder,
        })
    }

    /// Does work; if it fails or is stopped, what it changed is taken back.
    pub(in super::super) fn whole<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, ActionError>,
    ) -> Result<T, ActionError> {
        let since = self.changes.len();
        let error = match work(self) {
            Ok(done) => return Ok(done),
            Err(error) if self.changes.len() == since => return Err(error),
            Err(error) => error,
        };
        let back = self.take_back(since);
        match (error, back) {
            (ActionError::Stopped, Ok(())) => {
                self.context
                    .info("what was changed is as it was before again");
                Err(ActionError::Stopped)
            }
            (ActionError::Stopped, Err(why)) => {
                self.context
                    .warning(format!("what was changed could not be taken back: {why}"));
                Err(ActionError::Stopped)
            }
            (error, Ok(())) => Err(ActionError::failed(format!(
                "{error}; what was changed is as it was before again"
            ))),
            (error, Err(why)) => Err(ActionError::failed(format!(
                "{error}; and what was changed could not be taken back: {why}"
            ))),
        }
    }

    /// Puts a file in its place, unless it is as it should be. The folders around it are made.
    pub(in super::super) fn put(
        &mut self,
        path: &Path,
        content: Content<'_>,
        rights: &Rights,
    ) -> Result<Put, ActionError> {
        let path = &real(path)?;
        let known = match fs::symlink_metadata(path) {
            Ok(known) if known.is_dir() => {
                return Err(ActionError::failed(format!(
                    "{} is a folder, and a file should be there; name another place, or remove it",
                    path.display()
                )));
            }
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(path)(error)),
        };
        if let Some(known) = &known
            && rights.fit(known)
            && self.holds(path, known, content)?
        {
            return Ok(Put::Unchanged);
        }
        self.make_folders(path)?;
        let temp = temp_beside(path)?;
        let tried = self
            .write(&temp, content)
            .and_then(|()| rights.give(&temp, known.as_ref()).map_err(failed(path)))
            .and_then(|()| self.replace(&temp, path, known.as_ref()));
        if tried.is_err() {
            // It may be that it never was there.
            let _ = fs::remove_file(&temp);
        }
        tried.map(|()| Put::Written)
    }

    /// Makes a link, in the place of whatever file or link is there.
    #[cfg(unix)]
    pub(super) fn put_link(&mut self, path: &Path, to: &Path) -> Result<Put, ActionError> {
        let known = fs::symlink_metadata(path).ok();
        if known.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(ActionError::failed(format!(
                "{} is a folder, and a link should be there; remove it",
                path.display()
            )));
        }
        if fs::read_link(path).is_ok_and(|own| own == to) {
            return Ok(Put::Unchanged);
        }
        self.make_folders(path)?;
        let temp = temp_beside(path)?;
        // One that a kill left.
        let _ = fs::remove_file(&temp);
        std::os::unix::fs::symlink(to, &temp).map_err(failed(path))?;
        self.replace(&temp, path, known.as_ref())?;
        Ok(Put::Written)
    }

    /// Makes a folder and those around it.
    pub(super) fn make_folder(&mut self, path: &Path) -> Result<(), ActionError> {
        for folder in durable::missing([path]).iter().rev() {
            self.note(folder, Before::NoFolder)?;
            durable::create_readable_folder(folder).map_err(failed(folder))?;
        }
        Ok(())
    }

    /// Takes a file, a link or an empty folder away.
    pub(super) fn remove(&mut self, path: &Path) -> Result<(), ActionError> {
        let known = fs::symlink_metadata(path).map_err(failed(path))?;
        if known.is_dir() {
            self.note(path, Before::Folder)?;
            return fs::remove_dir(path).map_err(failed(path));
        }
        self.keep(path, Some(&known))?;
        fs::remove_file(path).map_err(failed(path))
    }

    /// Takes back all that the action did in this task, and does what is to be done then; only after
    /// that it is forgotten.
    pub(in super::super) fn take_back_all(
        &mut self,
        then: impl FnOnce() -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        if self.changes.is_empty() {
            self.context
                .info("this deployment changed no file here that is to be put back");
            return Ok(());
        }
        for change in self.changes.iter().rev() {
            self.restore(change)?;
        }
        then()?;
        self.changes.clear();
        fs::remove_dir_all(&self.folder).map_err(failed(&self.folder))
    }

    /// Whether there is anything to take back.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn take_back(&mut self, since: usize) -> Result<(), ActionError> {
        let own: Vec<Change> = self.changes.get(since..).unwrap_or_default().to_vec();
        for change in own.iter().rev() {
            self.restore(change)?;
        }
        self.changes.truncate(since);
        let mut text = Vec::new();
        for change in &self.changes {
            text.extend(line(change)?);
        }
        let path = self.folder.join("changes");
        durable::write(&path, &text, Privacy::Owner).map_err(failed(&path))
    }

    fn restore(&self, change: &Change) -> Result<(), ActionError> {
        let path = &change.path;
        let gone = |removed: io::Result<()>| match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let shown = path.display();
        let done = match &change.before {
            Before::Nothing => {
                self.context
                    .info(format!("{shown} was not there before, and is removed"));
                gone(fs::remove_file(path))
            }
            // One that holds something by now is somebody else's too.
            Before::NoFolder => {
                let _ = fs::remove_dir(path);
                Ok(())
            }
            Before::Folder => durable::create_readable_folder(path),
            Before::File(number) => {
                self.context.info(format!("{shown} is as it was before"));
                self.give_back(*number, path)
            }
            Before::Link(to) => {
                self.context
                    .info(format!("{shown} is the link that it was before"));
                gone(fs::remove_file(path)).and_then(|()| link(to, path))
            }
        };
        done.map_err(failed(path))
    }

    fn give_back(&self, number: usize, path: &Path) -> io::Result<()> {
        let temp = temp_beside(path).map_err(|error| io::Error::other(error.to_string()))?;
        duplicate(&self.kept(number), &temp)?;
        durable::rename(&temp, path)?;
        // A rename of one name of a file over another of the same does nothing.
        let _ = fs::remove_file(&temp);
        durable::sync_folder(path.parent().unwrap_or(Path::new(".")))
    }

    fn replace(
        &mut self,
        temp: &Path,
        path: &Path,
        known: Option<&fs::Metadata>,
    ) -> Result<(), ActionError> {
        self.keep(path, known)?;
        durable::rename(temp, path)
            .and_then(|()| durable::sync_folder(path.parent().unwrap_or(Path::new("."))))
            .map_err(failed(path))
    }

    /// Keeps what is there, and notes it.
    fn keep(&mut self, path: &Path, known: Option<&fs::Metadata>) -> Result<(), ActionError> {
        let before = match known {
            None => Before::Nothing,
            Some(known) if known.is_symlink() => {
                Before::Link(fs::read_link(path).map_err(failed(path))?)
            }
            Some(_) => {
                self.prepare()?;
                let number = self.changes.len();
                let kept = self.kept(number);
                duplicate(path, &kept)
                    .and_then(|()| durable::sync_folder(&self.folder))
                    .map_err(not_kept(path))?;
                Before::File(number)
            }
        };
        self.note(path, before)
    }

    fn note(&mut self, path: &Path, before: Before) -> Result<(), ActionError> {
        self.prepare()?;
        let change = Change {
            path: path.to_owned(),
            before,
        };
        let bytes = line(&change)?;
        let noted = File::options()
            .append(true)
            .create(true)
            .open(self.folder.join("changes"))
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()?;
                durable::sync_folder(&self.folder)
            });
        noted.map_err(not_kept(path))?;
        self.changes.push(change);
        Ok(())
    }

    fn prepare(&self) -> Result<(), ActionError> {
        if !self.folder.is_dir() {
            self.prune();
            let undo = self.context.state_dir.undo();
            durable::create_private_folder(&undo)
                .and_then(|()| durable::create_private_folder(&self.folder))
                .map_err(not_kept(&self.folder))?;
        }
        Ok(())
    }

    /// Forgets the oldest ways back beside this one.
    fn prune(&self) {
        let all = self.folder.parent().unwrap_or(Path::new("."));
        let entries = fs::read_dir(all).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        folders.sort();
        let surplus = (folders.len() + 1).saturating_sub(KEPT);
        for (_, folder) in folders.into_iter().take(surplus) {
            // It is only room: the next one tries again.
            let _ = fs::remove_dir_all(folder);
        }
    }

    fn make_folders(&mut self, path: &Path) -> Result<(), ActionError> {
        path.parent()
            .map_or(Ok(()), |folder| self.make_folder(folder))
    }

    fn kept(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{number}.before"))
    }

    fn holds(
        &self,
        path: &Path,
        known: &fs::Metadata,
        content: Content<'_>,
    ) -> Result<bool, ActionError> {
        match content {
            Content::Bytes(bytes) => {
                Ok(known.len() == bytes.len() as u64
                    && fs::read(path).map_err(failed(path))? == bytes)
            }
            Content::File(from) => {
                let length = fs::metadata(from).map_err(failed(from))?.len();
                if known.len() != length {
                    return Ok(false);
                }
                let mut other = File::open(path).map_err(failed(path))?;
                let mut same = true;
                self.each_block(from, |block| {
                    let mut own = vec![0; block.len()];
                    same = same && other.read_exact(&mut own).is_ok() && own == block;
                    Ok(())
                })?;
                Ok(same)
            }
        }
    }

    /// Makes a new file for the agent's user alone and brings it to the disk.
    fn write(&self, temp: &Path, content: Content<'_>) -> Result<(), ActionError> {
        match content {
            Content::Bytes(bytes) => {
                // One that a kill left may have other rights.
                let _ = fs::remove_file(temp);
                durable::write_private(temp, bytes).map_err(failed(temp))
            }
            Content::File(from) => {
                let _ = fs::remove_file(temp);
                durable::write_scratch(temp, b"").map_err(failed(temp))?;
                let file = File::options().append(true).open(temp);
                let mut file = file.map_err(failed(temp))?;
                self.each_block(from, |block| file.write_all(block))?;
                file.sync_all().map_err(failed(temp))
            }
        }
    }

    fn each_block(
        &self,
        from: &Path,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ActionError> {
        let mut file = File::open(from).map_err(failed(from))?;
        let mut buffer = vec![0; BLOCK_BYTES];
        loop {
            self.context.stop.check()?;
            let count = file.read(&mut buffer).map_err(failed(from))?;
            let block = buffer.get(..count).unwrap_or_default();
            if block.is_empty() {
                return Ok(());
            }
            take(block).map_err(failed(from))?;
        }
    }
}

fn line(change: &Change) -> Result<Vec<u8>, ActionError> {
    let mut bytes = serde_json::to_vec(change).map_err(|error| {
        ActionError::failed(format!(
            "{}: its name cannot be written down ({error}); give it one in Unicode",
            change.path.display()
        ))
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A second name for a file, or else a copy with its rights and its owner.
fn duplicate(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    durable::write_scratch(to, b"")?;
    fs::copy(from, to)?;
    Rights::default().give(to, Some(&fs::metadata(from)?))?;
    File::options().append(true).open(to)?.sync_all()
}

/// The file behind a link; one that leads nowhere is an error.
fn real(path: &Path) -> Result<PathBuf, ActionError> {
    if path.is_symlink() {
        return fs::canonicalize(path).map_err(failed(path));
    }
    Ok(path.to_owned())
}

/// Not seen by programs that read all of a folder: they pass names with a dot in front over.
fn temp_beside(path: &Path) -> Result<PathBuf, ActionError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ActionError::failed(format!(
            "{} names no file",
            path.display()
        )));
    };
    Ok(folder.join(format!(".{}.mantle-put", name.to_string_lossy())))
}

#[cfg(unix)]
fn link(to: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, path)
}

/// None is ever replaced there.
#[cfg(not(unix))]
fn link(_to: &Path, _path: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// An error of the disk, with its place.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> ActionError + use<> {
    let path = path.to_owned();
    move |error| {
        let next = match error.kind() {
            io::ErrorKind::StorageFull => "; make room on that disk and deploy again",
            io::ErrorKind::PermissionDenied => {
                "; the agent's user needs the right to do that: run it as root, or give its user that folder"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "; the agent's own service may be confined: give it that folder with ReadWritePaths="
            }
            _ => "",
        };
        ActionError::failed(format!("{}: {error}{next}", path.display()))
    }
}

fn not_kept(path: &Path) -> impl FnOnce(io::Error) -> ActionError + use<> {
    let failed = failed(path);
    move |error| {
        ActionError::failed(format!(
            "what was there before cannot be kept, so nothing was changed: {}",
            failed(error)
        ))
    }
}
