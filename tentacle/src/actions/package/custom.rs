//! The folder outside of the agent's root into which a version is copied (`custom_directory`).
//!
//! Whoever serves that folder serves a version from there, so it is made by many small steps that each
//! leave a whole file: a file is written beside and renamed, one that is the same already is not
//! touched, and what does not belong to the version goes last. A kill on the way leaves a mixture,
//! which the next copy makes whole.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use mantle_shared::text_file;
use serde::Deserialize;

use super::super::{ActionContext, ActionError, values};
use super::place;
use super::source::{Kind, walk};
use crate::cache::CustomDirectory;
use crate::durable;

/// What a file begins with until it has its name.
const TEMP: &str = ".mantle-copy-";
/// How much of two files is compared at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// `custom_directory:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomInputs {
    path: String,
    #[serde(default, deserialize_with = "values::switch")]
    purge: bool,
    #[serde(default, deserialize_with = "values::texts")]
    exclude: Vec<String>,
}

impl CustomInputs {
    /// What is meant, if it may be.
    pub(super) fn checked(
        &self,
        context: &ActionContext<'_>,
    ) -> Result<CustomDirectory, ActionError> {
        let refuse = |why: &str| {
            Err(ActionError::input(format!(
                "custom_directory: '{}' {why}",
                self.path
            )))
        };
        let path = PathBuf::from(self.path.trim());
        if !path.is_absolute() {
            return refuse("is no absolute path");
        }
        let plain = |part: Component<'_>| {
            matches!(
                part,
                Component::Prefix(_) | Component::RootDir | Component::Normal(_)
            )
        };
        if !path.components().all(plain) {
            return refuse("has a '..' in it; write the path without");
        }
        let depth = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)));
        let least = if self.purge { 2 } else { 1 };
        if depth.count() < least {
            return refuse("is too near to the root to be a folder of one application");
        }
        let real = real(&path);
        for (own, what) in [
            (context.state_dir.apps(), "installed versions"),
            (context.state_dir.root().to_owned(), "the agent's data"),
        ] {
            let own = self::real(&own);
            if real.starts_with(&own) || own.starts_with(&real) {
                return refuse(&format!(
                    "holds, or lies in, {}, where {what} are; name a folder of its own",
                    own.display()
                ));
            }
        }
        exclusions(&self.exclude)?;
        Ok(CustomDirectory {
            path: path.display().to_string(),
            purge: self.purge,
            exclude: self.exclude.clone(),
        })
    }
}

/// With links resolved as far as it is there.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    for at in path.ancestors() {
        if let Ok(real) = at.canonicalize() {
            return rest
                .into_iter()
                .rev()
                .fold(real, |path, part: &OsStr| path.join(part));
        }
        rest.extend(at.file_name());
    }
    path.to_owned()
}

fn exclusions(patterns: &[String]) -> Result<GlobSet, ActionError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(&text_file::pattern(pattern))
            .literal_separator(true)
            .case_insensitive(cfg!(windows))
            .build();
        set.add(glob.map_err(|error| {
            ActionError::input(format!(
                "custom_directory.exclude: '{pattern}' is no pattern: {}",
                error.kind()
            ))
        })?);
    }
    set.build()
        .map_err(|error| ActionError::input(format!("custom_directory.exclude: {error}")))
}

/// What a copy did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) written: usize,
    pub(super) same: usize,
    pub(super) removed: usize,
}

/// Brings a version's folder into the custom one, without the `omitted` files of its root.
pub(super) fn copy(
    context: &ActionContext<'_>,
    version: &Path,
    to: &CustomDirectory,
    omitted: &[&str],
) -> Result<Copied, ActionError> {
    let target = Path::new(&to.path);
    fs::create_dir_all(target).map_err(place::failed(target))?;
    let mut found: Vec<(PathBuf, Kind)> = Vec::new();
    walk(version, &mut |path, kind| {
        if !omitted.iter().any(|name| Path::new(name) == path) {
            found.push((path.to_owned(), kind));
        }
        Ok(())
    })
    .map_err(place::failed(version))?;
    // Folders before what is in them.
    found.sort();
    let mut copied = Copied::default();
    for (path, kind) in &found {
        context.stop.check()?;
        let (from, to_path) = (version.join(path), target.join(path));
        let wrote = match kind {
            Kind::Folder => make_folder(&to_path, to.purge).map(|()| None),
            Kind::File(_) => bring_file(&from, &to_path, to.purge).map(Some),
            Kind::Other => bring_link(&from, &to_path, to.purge).map(Some),
        };
        match wrote.map_err(place::failed(&to_path))? {
            Some(true) => copied.written += 1,
            Some(false) => copied.same += 1,
            None => {}
        }
    }
    if to.purge {
        let own = found.into_iter().map(|(path, _)| folded(&path)).collect();
        copied.removed = purge(context, target, &own, &exclusions(&to.exclude)?)?;
    }
    context.info(format!(
        "{}: {} files written, {} were the same, {} removed",
        target.display(),
        copied.written,
        copied.same,
        copied.removed
    ));
    Ok(copied)
}

/// As names are compared on this platform.
fn folded(path: &Path) -> PathBuf {
    if cfg!(windows) {
        PathBuf::from(path.to_string_lossy().to_lowercase())
    } else {
        path.to_owned()
    }
}

/// A link to a folder is taken for one: it is the machine's own arrangement.
fn make_folder(path: &Path, purge: bool) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if purge && path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    fs::create_dir(path)
}

/// Gives room to a file where a folder is.
fn give_way(path: &Path, purge: bool) -> io::Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|data| data.is_dir());
    if is_folder && purge {
        return fs::remove_dir_all(path);
    }
    if is_folder {
        return Err(io::Error::other(
            "a folder is where the version has a file; remove it, or write 'purge: true'",
        ));
    }
    Ok(())
}

fn bring_file(from: &Path, to: &Path, purge: bool) -> io::Result<bool> {
    give_way(to, purge)?;
    if same_file(from, to)? {
        return Ok(false);
    }
    let temp = temp_beside(to);
    let written = fs::copy(from, &temp).and_then(|_| durable::rename(&temp, to));
    if written.is_err() {
        // What is left of it goes with the next purge.
        let _ = fs::remove_file(&temp);
    }
    written.map(|()| true)
}

#[cfg(unix)]
fn bring_link(from: &Path, to: &Path, purge: bool) -> io::Result<bool> {
    give_way(to, purge)?;
    let leads = fs::read_link(from)?;
    if fs::read_link(to).is_ok_and(|there| there == leads) {
        return Ok(false);
    }
    let temp = temp_beside(to);
    std::os::unix::fs::symlink(leads, &temp)?;
    durable::rename(&temp, to).map(|()| true)
}

/// Packages with links are refused for Windows.
#[cfg(not(unix))]
fn bring_link(_from: &Path, _to: &Path, _purge: bool) -> io::Result<bool> {
    Ok(false)
}

fn temp_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!("{TEMP}{}", uuid::Uuid::now_v7().simple()))
}

/// Same bytes, same rights; a link is never the same.
fn same_file(from: &Path, to: &Path) -> io::Result<bool> {
    let (a, b) = (from.metadata()?, to.symlink_metadata());
    let alike =
        b.is_ok_and(|b| b.is_file() && a.len() == b.len() && a.permissions() == b.permissions());
    if !alike {
        return Ok(false);
    }
    let (mut a, mut b) = (File::open(from)?, File::open(to)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut a).take(BLOCK_BYTES as u64).read_to_end(&mut left)?;
        (&mut b).take(BLOCK_BYTES as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

/// Removes what is not the version's, save for exclusions; gives how many files. A folder goes when
/// nothing in it stays; links are removed, never followed.
fn purge(
    context: &ActionContext<'_>,
    target: &Path,
    own: &BTreeSet<PathBuf>,
    excluded: &GlobSet,
) -> Result<usize, ActionError> {
    let mut foreign: Vec<(PathBuf, bool)> = Vec::new();
    walk(target, &mut |path, kind| {
        let stays = own.contains(&folded(path)) || is_excluded(excluded, path);
        if !stays {
            foreign.push((path.to_owned(), kind == Kind::Folder));
        }
        Ok(())
    })
    .map_err(place::failed(target))?;
    // What is in a folder before the folder.
    foreign.sort();
    let mut removed = 0;
    for (path, is_folder) in foreign.into_iter().rev() {
        context.stop.check()?;
        let path = target.join(path);
        let gone = if is_folder {
            match fs::remove_dir(&path) {
                // Something in it is excluded.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                other => other,
            }
        } else {
            removed += 1;
            fs::remove_file(&path)
        };
        gone.map_err(place::failed(&path))?;
    }
    Ok(removed)
}

/// A path is excluded if a pattern means it or a folder that it is in.
fn is_excluded(excluded: &GlobSet, path: &Path) -> bool {
    path.ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .any(|part| excluded.is_match(part))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::actions::test_context::Bench;

    fn put(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn listed(folder: &Path) -> Vec<String> {
        let mut all = Vec::new();
        walk(folder, &mut |path, _| {
            all.push(path.display().to_string());
            Ok(())
        })
        .unwrap();
        all.sort();
        all
    }

    #[test]
    fn a_purge_leaves_the_version_and_what_is_excluded() {
        let bench = Bench::new();
        let (version, live) = (bench.dir.path().join("v"), bench.dir.path().join("live"));
        put(
            &version,
            &[
                ("a.txt", "new"),
                ("same.txt", "s"),
                ("sub/b.txt", "b"),
                ("Deploy.sh", "x"),
            ],
        );
        std::os::unix::fs::symlink("a.txt", version.join("link")).unwrap();
        let outside = bench.dir.path().join("outside");
        put(&outside, &[("precious", "p")]);
        put(
            &live,
            &[
                ("a.txt", "old"),
                ("same.txt", "s"),
                ("gone.txt", "g"),
                ("logs/today.log", "l"),
                ("up/loads/deep/x", "u"),
                ("empty/y", "y"),
                (".mantle-copy-left", "half"),
            ],
        );
        std::os::unix::fs::symlink(&outside, live.join("away")).unwrap();
        let mut to = CustomDirectory {
            path: live.display().to_string(),
            purge: false,
            exclude: vec!["logs/*.log".to_owned(), "up".to_owned()],
        };
        let copied = |to: &CustomDirectory| {
            bench.with_context(|context| copy(context, &version, to, &["Deploy.sh"]).unwrap())
        };
        let first = copied(&to);
        assert_eq!((first.written, first.same, first.removed), (3, 1, 0));
        assert!(live.join("gone.txt").exists());
        to.purge = true;
        let second = copied(&to);
        assert_eq!((second.written, second.same, second.removed), (0, 4, 4));
        assert_eq!(
            listed(&live),
            [
                "a.txt",
                "link",
                "logs",
                "logs/today.log",
                "same.txt",
                "sub",
                "sub/b.txt",
                "up",
                "up/loads",
                "up/loads/deep",
                "up/loads/deep/x"
            ]
        );
        assert_eq!(fs::read_to_string(live.join("a.txt")).unwrap(), "new");
        assert!(outside.join("precious").exists(), "links are not followed");
        // A folder where a file is to be, and the other way round.
        fs::remove_file(live.join("a.txt")).unwrap();
        put(&live, &[("a.txt/in", "x")]);
        fs::remove_dir_all(live.join("sub")).unwrap();
        put(&live, &[("sub", "x")]);
        copied(&to);
        assert_eq!(fs::read_to_string(live.join("sub/b.txt")).unwrap(), "b");
        assert_eq!(fs::read_to_string(live.join("a.txt")).unwrap(), "new");
    }

    #[test]
    fn folders_that_are_somebody_elses_are_refused() {
        let bench = Bench::new();
        let state = bench.state_dir.root().display().to_string();
        let apps = bench.state_dir.apps().display().to_string();
        let link = bench.dir.path().join("link");
        std::os::unix::fs::symlink(bench.state_dir.root(), &link).unwrap();
        let own = bench.dir.path().join("www").display().to_string();
        for (path, purge, why) in [
            ("www", false, Some("no absolute path")),
            ("/srv/../etc", false, Some("'..'")),
            ("/", false, Some("too near")),
            ("/srv", true, Some("too near")),
            (state.as_str(), false, Some("installed versions")),
            (
                &format!("{apps}/production/octofx/Web/x"),
                false,
                Some("installed versions"),
            ),
            (
                &format!("{apps}/production"),
                false,
                Some("installed versions"),
            ),
            (
                &link.join("x").display().to_string(),
                false,
                Some("agent's data"),
            ),
            (&own, true, None),
        ] {
            let inputs = CustomInputs {
                path: path.to_owned(),
                purge,
                exclude: Vec::new(),
            };
            let checked = bench.with_context(|context| inputs.checked(context));
            match (checked, why) {
                (Ok(_), None) => {}
                (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{error}"),
                (checked, _) => panic!("{path}: {checked:?}"),
            }
        }
    }
}
