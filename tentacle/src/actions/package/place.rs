//! The folder of one package in one environment: its versions, their records, and who may go.
//!
//! ```text
//! <apps>/<environment>/<project>/<package>/
//!   1.0/  1.0_1/  1.1/              installed versions
//!   1.0.mantle-install.json  ...    what each was made of
//!   current                         the one in use
//!   .staging-<attempt>  .removing-* leftovers, removed by the next installation
//! ```
//!
//! A folder without a record is not ours and is never touched.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mantle_shared::Digest;

use super::super::{ActionContext, ActionError};
use super::switch;
use crate::cache::{INSTALL_RECORD_SUFFIX, InstallRecord};
use crate::durable::{self, Privacy};

/// How often a lock that another step holds is tried again.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// The lock's file.
pub(super) const LOCK_FILE: &str = ".mantle-lock";
const STAGING: &str = ".staging-";
const REMOVING: &str = ".removing-";

/// Where the versions of one package are.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(super) fn new(apps: &Path, environment: &str, project: &str, package: &str) -> Self {
        Self {
            root: apps
                .join(folder_name(environment))
                .join(folder_name(project))
                .join(folder_name(package)),
        }
    }

    /// That of a package where an action runs.
    pub(super) fn of(context: &ActionContext<'_>, package: &str) -> Self {
        let names = context.names;
        let apps = context.state_dir.apps();
        Self::new(&apps, &names.environment, &names.project, package)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn folder(&self, record: &InstallRecord) -> PathBuf {
        self.root.join(&record.folder)
    }

    pub(super) fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Waits until no other step installs here. The system lets go when the holder dies.
    pub(super) fn lock(&self, context: &ActionContext<'_>) -> Result<File, ActionError> {
        durable::create_readable_folder(&self.root).map_err(failed(&self.root))?;
        let path = self.root.join(LOCK_FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed(&path))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        context.info("another step installs this package here; waiting for it");
                        told = true;
                    }
                    context.stop.sleep(LOCK_INTERVAL)?;
                }
                Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
            }
        }
    }

    /// Removes what killed installations left: staging folders, and records whose folder never
    /// appeared. To be called under the lock.
    pub(super) fn clean(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(STAGING) || name.starts_with(REMOVING) {
                fs::remove_dir_all(entry.path())?;
            } else if name.starts_with(switch::TEMP_PREFIX) {
                fs::remove_file(entry.path())?;
            } else if let Some(folder) = name.strip_suffix(INSTALL_RECORD_SUFFIX)
                && !self.root.join(folder).exists()
            {
                fs::remove_file(entry.path())?;
            }
        }
        durable::sweep(&self.root)
    }

    /// An empty folder to build in.
    pub(super) fn stage(&self, attempt: &str) -> io::Result<PathBuf> {
        let path = self.root.join(format!("{STAGING}{attempt}"));
        fs::create_dir(&path)?;
        durable::make_readable(&path)?;
        Ok(path)
    }

    /// Every installed version with its record.
    pub(super) fn records(&self) -> Vec<InstallRecord> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .ends_with(INSTALL_RECORD_SUFFIX)
            })
            .filter_map(|entry| InstallRecord::read(&entry.path()))
            .filter(|record| self.folder(record).is_dir())
            .collect()
    }

    /// The installed folder that was made of exactly this.
    pub(super) fn find(&self, version: &str, inputs: Digest) -> Option<InstallRecord> {
        self.records()
            .into_iter()
            .filter(|record| record.inputs == inputs && record.version == version)
            .max_by_key(|record| record.activated_at_us)
    }

    /// The first of `1.0`, `1.0_1`, `1.0_2`, ... that nothing has.
    pub(super) fn unused_folder(&self, version: &str) -> String {
        let plain = folder_name(version);
        let taken = |name: &str| {
            self.root.join(name).symlink_metadata().is_ok() || self.record_path(name).exists()
        };
        let next = |n: u32| match n {
            0 => plain.clone(),
            n => format!("{plain}_{n}"),
        };
        // So many of one version never are; if they were, the rename would say so.
        (0..1_000_000)
            .map(next)
            .find(|name| !taken(name))
            .unwrap_or_else(|| plain.clone())
    }

    pub(super) fn write_record(&self, record: &InstallRecord) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(record)?;
        durable::write(&self.record_path(&record.folder), &bytes, Privacy::Folder)
    }

    /// Why a folder that is there is not known for a version.
    pub(super) fn without_record(&self, folder: &str) -> String {
        let record = self.record_path(folder);
        let path = self.root.join(folder);
        let what = if record.exists() {
            "cannot be read"
        } else {
            "is missing"
        };
        format!(
            "{} is there, and its record {} {what}, so that nobody knows what it holds",
            path.display(),
            record.display()
        )
    }

    /// Folders with the name of a version, such as `1.0` and `1.0_1`, that have no record that can be read.
    pub(super) fn without_records(&self, version: &str) -> Vec<String> {
        let plain = folder_name(version);
        let of_version = |name: &str| match name.strip_prefix(&plain) {
            Some("") => true,
            Some(rest) => rest
                .strip_prefix('_')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())),
            None => false,
        };
        let known = self.records();
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| of_version(name) && !known.iter().any(|one| one.folder == *name))
            .collect();
        names.sort();
        names
    }

    fn record_path(&self, folder: &str) -> PathBuf {
        self.root.join(format!("{folder}{INSTALL_RECORD_SUFFIX}"))
    }

    /// Removes versions beyond the `keep` good ones that were in use last, never the current one nor,
    /// if any is kept, the one that it took the place of. What never was in use, or failed once it was,
    /// does not count. What cannot be removed is a warning: the new version is in use all the same.
    pub(super) fn retain(&self, context: &ActionContext<'_>, keep: u32, current: &InstallRecord) {
        let mut others = self.records();
        others.retain(|record| record.folder != current.folder);
        others.sort_by_key(|record| std::cmp::Reverse(record.activated_at_us));
        let good = |record: &&InstallRecord| record.activated_at_us > 0 && !record.unproven;
        let kept = others.iter().filter(good).take(keep as usize);
        let mut kept: Vec<_> = kept.map(|record| record.folder.clone()).collect();
        if keep > 0 {
            kept.extend(before(current).cloned());
        }
        others.retain(|record| !kept.contains(&record.folder));
        self.remove_all(context, &others);
    }

    /// Removes what earlier installations left that did not succeed, save for what is in use and what
    /// that took the place of.
    pub(super) fn remove_failed(&self, context: &ActionContext<'_>) {
        let mut records = self.records();
        let Some(current) = switch::current_folder(self) else {
            records.retain(|record| record.activated_at_us == 0);
            return self.remove_all(context, &records);
        };
        let in_use = records.iter().find(|record| record.folder == current);
        let before = in_use.and_then(before).cloned();
        records.retain(|record| {
            let failed = record.activated_at_us == 0 || record.unproven;
            failed && record.folder != current && Some(&record.folder) != before.as_ref()
        });
        self.remove_all(context, &records);
    }

    fn remove_all(&self, context: &ActionContext<'_>, records: &[InstallRecord]) {
        for record in records {
            match self.remove(record) {
                Ok(()) => context.verbose(format!("removed the earlier version {}", record.folder)),
                Err(error) => context.warning(format!(
                    "the earlier version {} could not be removed: {error}",
                    self.folder(record).display()
                )),
            }
        }
    }

    /// By one rename out of sight, so that no half-removed folder is ever taken for a version.
    fn remove(&self, record: &InstallRecord) -> io::Result<()> {
        let away = self
            .root
            .join(format!("{REMOVING}{}", uuid::Uuid::now_v7().simple()));
        fs::rename(self.folder(record), &away)?;
        fs::remove_file(self.record_path(&record.folder))?;
        fs::remove_dir_all(away)
    }
}

/// What a version took the place of.
fn before(record: &InstallRecord) -> Option<&String> {
    record.replaced.as_ref()?.folder.as_ref()
}

/// A name as one folder that every platform takes: what could lead elsewhere is percent-encoded,
/// so that two names never share a folder.
pub(super) fn folder_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let count = name.chars().count();
    for (at, c) in name.chars().enumerate() {
        let hidden = at == 0 && c == '.';
        let dropped = at + 1 == count && (c == '.' || c == ' ');
        if c.is_control() || "%<>:\"|?*\\/".contains(c) || hidden || dropped {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push('%');
                out.push(hex_digit(byte >> 4));
                out.push(hex_digit(byte & 15));
            }
        } else {
            out.push(c);
        }
    }
    // Device names, and names that this folder uses itself.
    let own = ["current", "current.json"]
        .iter()
        .any(|own| out.eq_ignore_ascii_case(own));
    if out.is_empty() || own || crate::cache::windows_refuses_name(&out).is_some() {
        out.push_str("%00");
    }
    out
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// An error of the disk, with its place.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> ActionError + use<> {
    let path = path.to_owned();
    move |error| {
        let next = match error.kind() {
            io::ErrorKind::StorageFull => "; make room on that disk and deploy again",
            io::ErrorKind::PermissionDenied => "; the agent's user needs the right to write there",
            _ => "",
        };
        ActionError::failed(format!("{}: {error}{next}", path.display()))
    }
}
