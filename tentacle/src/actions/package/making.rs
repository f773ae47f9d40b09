//! Making a version's folder: out of the cache and the variables alone, or step by step, with scripts
//! between.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use mantle_shared::Digest;
use mantle_shared::fault;
use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::Level;

use super::super::{ActionContext, ActionError, ChildEnd, OutputSink, Variable};
use super::place::{self, Place};
use super::source::{Pushed, Unpacked, below};
use super::{Inputs, files, switch};
use crate::cache::{Cache, InstallRecord, PackageFile};
use crate::durable;
use crate::output::service_message::MessageRules;

/// What a folder is made of, and where.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) context: &'a ActionContext<'a>,
    pub(super) package: &'a OrderPackage,
    pub(super) cache: &'a Cache,
    /// The package's files, in the order of their paths.
    pub(super) files: &'a [PackageFile],
    pub(super) inputs: &'a Inputs,
    pub(super) place: &'a Place,
}

type Written = BTreeMap<String, Vec<u8>>;
type Settled = (Written, Digest, Option<InstallRecord>);

impl Making<'_> {
    /// The folder that was made of exactly this, or a new one. `marks` are what else tells it from
    /// others.
    pub(super) fn install(&self, marks: &[String]) -> Result<InstallRecord, ActionError> {
        let (written, digest, found) = self.settle(marks)?;
        if let Some(record) = found {
            self.context.info(format!(
                "{} {} is installed already, with the same configuration, in {}",
                self.package.id,
                self.package.version,
                self.place.folder(&record).display()
            ));
            return Ok(record);
        }
        self.tell_passed_over();
        let staging = self.stage()?;
        let built = self
            .write_into(&staging, &written)
            .and_then(|()| flush(&staging).map_err(place::failed(&staging)));
        let record = self.appear(&staging, built, digest)?;
        self.tell("installed", &record);
        Ok(record)
    }

    /// Says which folders of this version are passed over, and that it is made anew.
    fn tell_passed_over(&self) {
        for folder in self.place.without_records(&self.package.version) {
            self.context.warning(format!(
                "{}: it is left alone, and {} {} is brought in again",
                self.place.without_record(&folder),
                self.package.id,
                self.package.version
            ));
        }
    }

    fn tell(&self, what: &str, record: &InstallRecord) {
        self.context.info(format!(
            "{} {} {what} in {}",
            record.package,
            record.version,
            self.place.folder(record).display()
        ));
    }

    /// A folder with the package's files and nothing else, for scripts to work in. Nothing takes it
    /// for a version until [`Self::complete`].
    pub(super) fn unpack(&self) -> Result<InstallRecord, ActionError> {
        let staging = self.stage()?;
        let record = self.appear(&staging, Ok(()), self.of_nothing())?;
        self.tell("unpacked", &record);
        Ok(record)
    }

    /// Writes variables into what lies in such a folder now.
    pub(super) fn configure(&self, record: &InstallRecord) -> Result<(), ActionError> {
        if !self.inputs.configures() {
            return Ok(());
        }
        let folder = self.place.folder(record);
        let unpacked = Unpacked::of(&folder)?;
        let (written, _) = files::written(self.context, &unpacked, self.inputs, &folder)?;
        self.write_into(&folder, &written)
    }

    /// Brings such a folder to the disk: it may be in use from now on. Only who may want to know
    /// whether it is installed says what it was made of: no other deployment takes it over.
    pub(super) fn complete(
        &self,
        record: &mut InstallRecord,
        marks: &[String],
    ) -> Result<(), ActionError> {
        self.context.stop.check()?;
        let folder = self.place.folder(record);
        flush(&folder).map_err(place::failed(&folder))?;
        if self.inputs.skip_if_installed
            && let Some(digest) = self.digest(&record.folder, marks)
        {
            record.inputs = digest;
        }
        Ok(())
    }

    /// The record of what is in use, if that was made of exactly this and all went well then.
    pub(super) fn in_use(&self, marks: &[String]) -> Option<InstallRecord> {
        let current = switch::current_folder(self.place)?;
        let mut records = self.place.records().into_iter();
        let record = records.find(|record| record.folder == current)?;
        let same = record.version == self.package.version
            && record.root == self.package.root
            && record.activated_at_us > 0
            && !record.unproven;
        let same = same && self.digest(&record.folder, marks)? == record.inputs;
        same.then_some(record)
    }

    /// The digest of what would go into this folder; `None` if that cannot be told beforehand, since
    /// a script makes a file that is to be written into.
    fn digest(&self, folder: &str, marks: &[String]) -> Option<Digest> {
        let (written, _) = self.written(&self.quiet(), folder).ok()?;
        Some(inputs_digest(self.package.root, &written, marks))
    }

    fn quiet(&self) -> ActionContext<'_> {
        ActionContext {
            output: &Quiet,
            ..*self.context
        }
    }

    /// Puts files of the package back into a folder where they are not.
    pub(super) fn put_back(
        &self,
        record: &InstallRecord,
        files: &[&PackageFile],
    ) -> Result<(), ActionError> {
        let folder = self.place.folder(record);
        for file in files {
            let path = below(&folder, &file.path);
            if path.exists() {
                continue;
            }
            let bytes = self
                .cache
                .package_file(file)
                .map_err(|error| super::walk_failed(self.package, &error))?;
            fs::write(&path, bytes).map_err(place::failed(&path))?;
        }
        Ok(())
    }

    /// What is written, its digest, and the folder that was made of exactly that. Where files name the
    /// folder that they are in, each folder of the version is asked whether it was made so.
    fn settle(&self, marks: &[String]) -> Result<Settled, ActionError> {
        let root = self.package.root;
        let new = self.place.unused_folder(&self.package.version);
        let (written, names_folder) = self.written(self.context, &new)?;
        let digest = inputs_digest(root, &written, marks);
        let mut found = self.place.find(&self.package.version, digest);
        if names_folder {
            let quiet = self.quiet();
            let mut records = self.place.records();
            records.retain(|one| one.version == self.package.version && one.root == root);
            records.sort_by_key(|one| std::cmp::Reverse(one.activated_at_us));
            for record in records {
                let (same, _) = self.written(&quiet, &record.folder)?;
                if inputs_digest(root, &same, marks) == record.inputs {
                    found = Some(record);
                    break;
                }
            }
        }
        Ok((written, digest, found))
    }

    fn written(
        &self,
        context: &ActionContext<'_>,
        folder: &str,
    ) -> Result<(Written, bool), ActionError> {
        let pushed = Pushed {
            cache: self.cache,
            files: self.files,
        };
        let folder = self.place.root().join(folder);
        files::written(context, &pushed, self.inputs, &folder)
    }

    /// A folder of another name with the package's files.
    fn stage(&self) -> Result<std::path::PathBuf, ActionError> {
        let context = self.context;
        let staging = self
            .place
            .stage(&context.names.attempt.to_string())
            .map_err(place::failed(self.place.root()))?;
        let unpacked = context.package_files.materialise(self.package, &staging);
        or_remove(&staging, unpacked)?;
        Ok(staging)
    }

    fn write_into(&self, folder: &Path, written: &Written) -> Result<(), ActionError> {
        for (path, bytes) in written {
            self.context.stop.check()?;
            let target = below(folder, path);
            overwrite(&target, bytes).map_err(place::failed(&target))?;
        }
        Ok(())
    }

    /// Gives a staged folder its name, once there is a record of what it is.
    fn appear(
        &self,
        staging: &Path,
        built: Result<(), ActionError>,
        inputs: Digest,
    ) -> Result<InstallRecord, ActionError> {
        or_remove(staging, built)?;
        let (package, place) = (self.package, self.place);
        let record = InstallRecord {
            format: 1,
            package: package.id.clone(),
            version: package.version.clone(),
            folder: place.unused_folder(&package.version),
            root: package.root,
            inputs,
            installed_at_us: jiff::Timestamp::now().as_microsecond(),
            activated_at_us: 0,
            unproven: false,
            custom: None,
            replaced: None,
        };
        let folder = place.folder(&record);
        place
            .write_record(&record)
            .inspect(|()| fault::point("package.before_rename"))
            .and_then(|()| durable::rename(staging, &folder))
            .and_then(|()| durable::sync_folder(place.root()))
            .inspect(|()| fault::point("package.installed"))
            .map_err(place::failed(&folder))?;
        Ok(record)
    }

    /// What no folder is ever made of.
    fn of_nothing(&self) -> Digest {
        Digest::of(self.context.names.attempt.to_string().as_bytes())
    }
}

/// What went wrong leaves no folder behind; what cannot be removed now is at the next installation.
fn or_remove(staging: &Path, built: Result<(), ActionError>) -> Result<(), ActionError> {
    if built.is_err() {
        let _ = fs::remove_dir_all(staging);
    }
    built
}

/// Says nothing twice.
struct Quiet;

impl OutputSink for Quiet {
    fn line(&self, _level: Level, _text: &str) {}
    fn progress(&self, _percent: u8, _message: &str) {}
    fn set_variable(&self, _name: &str, _value: &str, _sensitive: bool) {}
    fn variables_set(&self) -> Vec<Variable> {
        Vec::new()
    }
    fn settle_failure(&self) {}
    fn run_child(&self, _command: Command, _rules: &MessageRules) -> Result<ChildEnd, ActionError> {
        Err(ActionError::failed("files are written without a process"))
    }
}

/// The digest of all that goes into a folder.
fn inputs_digest(root: Digest, written: &Written, marks: &[String]) -> Digest {
    let mut lines = vec![format!("mantle-install/1\n{root}")];
    lines.extend(
        written
            .iter()
            .map(|(path, bytes)| format!("{} {path}", Digest::of(bytes))),
    );
    lines.extend(marks.iter().cloned());
    Digest::of(lines.join("\n").as_bytes())
}

/// Writes a file of the staging folder anew; its mode stays.
fn overwrite(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::options().write(true).truncate(true).open(path)?;
    file.write_all(bytes)
}

/// Brings all of the folder to the disk before it gets its name: a power cut must not leave a
/// folder with a record and half its bytes.
fn flush(folder: &Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(fs::File::open(folder)?)?;
    #[cfg(not(target_os = "linux"))]
    flush_files(folder)?;
    Ok(())
}

/// Where a file system cannot be flushed as a whole: file by file; gives how many. A link has nothing
/// of its own to flush.
#[cfg(any(not(target_os = "linux"), test))]
pub(super) fn flush_files(folder: &Path) -> std::io::Result<usize> {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                // Windows flushes what may be written alone.
                let file = fs::File::options().append(true).open(entry.path())?;
                file.sync_all()?;
                files += 1;
            }
        }
        durable::sync_folder(&folder)?;
    }
    Ok(files)
}
