//! `file.copy`: a file or a folder of a package or of the machine, at another place.
//!
//! What must hold: each file is whole or as it was, one that is as it should be is not written, and a
//! copy that fails or is stopped leaves nothing changed. Links are never followed out of `from`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use mantle_shared::text_file;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{
    Action, ActionContext, ActionError, ActionReport, package, read_inputs, values,
};
use super::absolute;
use super::keeper::{Content, Keeper, Put, failed};
use super::rights::Rights;

/// `file.copy`.
pub(in super::super) struct Copy;

/// The most files and folders that one copy takes.
const MOST_ENTRIES: usize = 200_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    package: Option<String>,
    from: Option<String>,
    to: String,
    mode: Option<String>,
    owner: Option<String>,
    #[serde(default, deserialize_with = "values::switch")]
    purge: bool,
    #[serde(default, deserialize_with = "values::texts")]
    exclude: Vec<String>,
}

impl Inputs {
    fn read(with: &Map<String, Value>) -> Result<Self, ActionError> {
        let inputs: Self = read_inputs(with)?;
        if inputs.package.is_none() && inputs.from.is_none() {
            return Err(ActionError::input(
                "with.from: name a path of this machine, or a package under 'package'",
            ));
        }
        Rights::check(inputs.mode.as_deref(), inputs.owner.as_deref())?;
        Ok(inputs)
    }

    /// Where the source is on this machine.
    fn source(&self, context: &ActionContext<'_>) -> Result<PathBuf, ActionError> {
        let Some(package) = &self.package else {
            return absolute("from", self.from.as_deref().unwrap_or_default());
        };
        let within = self.from.as_deref().unwrap_or_default().replace('\\', "/");
        let within = Path::new(within.trim());
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !within.components().all(plain) {
            return Err(ActionError::input(format!(
                "with.from: '{}' is no path within a package; write one such as conf/shop",
                within.display()
            )));
        }
        let unpacked = context.work_dir.join("mantle-package");
        fs::create_dir(&unpacked).map_err(failed(&unpacked))?;
        package::unpack(context, package, &unpacked)?;
        let source = unpacked.join(within);
        if fs::symlink_metadata(&source).is_err() {
            return Err(ActionError::failed(format!(
                "'{}' is not in the package {package}; write its path as it is in the archive that was pushed",
                within.display()
            )));
        }
        Ok(source)
    }
}

impl Action for Copy {
    fn name(&self) -> &'static str {
        "file.copy"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        Inputs::read(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs = Inputs::read(context.with)?;
        let mut to = absolute("to", &inputs.to)?;
        let excluded = exclusions(&inputs.exclude)?;
        let rights = Rights::of(
            inputs.mode.as_deref(),
            inputs.owner.as_deref(),
            context.stop,
        )?;
        let from = inputs.source(context)?;
        let is_folder = fs::metadata(&from).map_err(failed(&from))?.is_dir();
        if !is_folder {
            if inputs.purge || !inputs.exclude.is_empty() {
                return Err(ActionError::input(
                    "with.purge and with.exclude are for a folder, and 'from' is a file",
                ));
            }
            if inputs.to.trim().ends_with(['/', '\\']) {
                to.extend(from.file_name());
            }
        } else if to.starts_with(&from) || from.starts_with(&to) {
            return Err(ActionError::input(format!(
                "with.to: {} and {} lie in each other; name a place of its own",
                from.display(),
                to.display()
            )));
        }
        let mut keeper = Keeper::of(context, &context.names.action)?;
        let work = Work {
            context,
            from: &from,
            to: &to,
            rights,
        };
        let done = keeper.whole(|keeper| {
            if !is_folder {
                return work.file(keeper, Path::new(""));
            }
            let found = entries(&from, context)?;
            let mut done = work.folder(keeper, &found, &excluded)?;
            if inputs.purge {
                done.removed = work.purge(keeper, &found, &excluded)?;
            }
            Ok(done)
        })?;
        if inputs.package.is_some() {
            // It goes with the attempt otherwise; a package may be large.
            let _ = fs::remove_dir_all(context.work_dir.join("mantle-package"));
        }
        context.info(done.show(&to));
        let changed = done.written + done.removed > 0;
        let changed = if changed { "True" } else { "False" };
        context.output.set_variable("File.Changed", changed, false);
        Ok(ActionReport::default())
    }
}

/// What a copy did.
#[derive(Debug, Default)]
struct Done {
    written: usize,
    unchanged: usize,
    removed: usize,
}

impl Done {
    fn show(&self, to: &Path) -> String {
        let to = to.display();
        if self.written + self.removed == 0 {
            return format!(
                "{to} is as it should be ({} files): nothing to do",
                self.unchanged
            );
        }
        let removed = match self.removed {
            0 => String::new(),
            count => format!(", {count} removed"),
        };
        format!(
            "{to}: {} written, {} as they should be{removed}",
            self.written, self.unchanged
        )
    }

    fn count(&mut self, put: Put) {
        match put {
            Put::Written => self.written += 1,
            Put::Unchanged => self.unchanged += 1,
        }
    }
}

/// One copy.
struct Work<'a> {
    context: &'a ActionContext<'a>,
    from: &'a Path,
    to: &'a Path,
    rights: Rights,
}

impl Work<'_> {
    /// One file or link, by its path in `from`.
    fn file(&self, keeper: &mut Keeper<'_>, path: &Path) -> Result<Done, ActionError> {
        let mut done = Done::default();
        let put = self.put(keeper, path)?;
        done.count(put);
        Ok(done)
    }

    fn put(&self, keeper: &mut Keeper<'_>, path: &Path) -> Result<Put, ActionError> {
        self.context.stop.check()?;
        // A join with nothing would end with a slash.
        let place = |root: &Path| {
            if path.as_os_str().is_empty() {
                root.to_owned()
            } else {
                root.join(path)
            }
        };
        let (from, to) = (place(self.from), place(self.to));
        let known = fs::symlink_metadata(&from).map_err(failed(&from))?;
        #[cfg(unix)]
        if known.is_symlink() && !path.as_os_str().is_empty() {
            let target = fs::read_link(&from).map_err(failed(&from))?;
            return keeper.put_link(&to, &target);
        }
        if !known.is_file() && !known.is_symlink() {
            return Err(ActionError::failed(format!(
                "{} is neither a file, a folder nor a link; leave it out with 'exclude'",
                from.display()
            )));
        }
        let mut rights = self.rights;
        rights.mode = rights.mode.or(own_mode(&known));
        let put = keeper.put(&to, Content::File(&from), &rights)?;
        if put == Put::Written {
            self.context.verbose(format!("wrote {}", to.display()));
        }
        Ok(put)
    }

    fn folder(
        &self,
        keeper: &mut Keeper<'_>,
        found: &[(PathBuf, bool)],
        excluded: &GlobSet,
    ) -> Result<Done, ActionError> {
        let mut done = Done::default();
        keeper.make_folder(self.to)?;
        for (path, is_folder) in found {
            if is_excluded(excluded, path) {
                continue;
            }
            if *is_folder {
                keeper.make_folder(&self.to.join(path))?;
            } else {
                done.count(self.put(keeper, path)?);
            }
        }
        Ok(done)
    }

    /// Removes what is not in `from`, save for exclusions; gives how many files. A folder goes when
    /// nothing in it stays; links are removed, never followed.
    fn purge(
        &self,
        keeper: &mut Keeper<'_>,
        found: &[(PathBuf, bool)],
        excluded: &GlobSet,
    ) -> Result<usize, ActionError> {
        let own: BTreeSet<PathBuf> = found.iter().map(|(path, _)| folded(path)).collect();
        let mut removed = 0;
        // What is in a folder before the folder.
        for (path, is_folder) in entries(self.to, self.context)?.into_iter().rev() {
            self.context.stop.check()?;
            if own.contains(&folded(&path)) || is_excluded(excluded, &path) {
                continue;
            }
            let path = self.to.join(path);
            if !is_folder {
                keeper.remove(&path)?;
                self.context.verbose(format!("removed {}", path.display()));
                removed += 1;
            } else if is_empty(&path)? {
                keeper.remove(&path)?;
            }
        }
        Ok(removed)
    }
}

fn is_empty(folder: &Path) -> Result<bool, ActionError> {
    let mut entries = fs::read_dir(folder).map_err(failed(folder))?;
    Ok(entries.next().is_none())
}

/// The rights that a file has at its source, without those that make a program run as its owner: they
/// are given by `mode` alone.
fn own_mode(known: &fs::Metadata) -> Option<u32> {
    #[cfg(unix)]
    {
        if known.is_symlink() {
            return None;
        }
        Some(std::os::unix::fs::MetadataExt::mode(known) & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = known;
        None
    }
}

/// One file has one name where letters have no case.
fn folded(path: &Path) -> PathBuf {
    if cfg!(windows) {
        PathBuf::from(path.to_string_lossy().to_lowercase())
    } else {
        path.to_owned()
    }
}

/// All that is below a folder, by its path from there and whether it is a folder, in order.
fn entries(
    folder: &Path,
    context: &ActionContext<'_>,
) -> Result<Vec<(PathBuf, bool)>, ActionError> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(at) = pending.pop() {
        context.stop.check()?;
        let here = folder.join(&at);
        for entry in fs::read_dir(&here).map_err(failed(&here))? {
            let entry = entry.map_err(failed(&here))?;
            let path = at.join(entry.file_name());
            let is_folder = entry.file_type().map_err(failed(&here))?.is_dir();
            if is_folder {
                pending.push(path.clone());
            }
            found.push((path, is_folder));
        }
        if found.len() > MOST_ENTRIES {
            return Err(ActionError::failed(format!(
                "{} holds more than {MOST_ENTRIES} files, which is the most that one copy takes; copy its folders one by one, or make a package of it",
                folder.display()
            )));
        }
    }
    found.sort();
    Ok(found)
}

fn exclusions(patterns: &[String]) -> Result<GlobSet, ActionError> {
    let refused = |pattern: &str, error: &globset::Error| {
        ActionError::input(format!(
            "with.exclude: '{pattern}' is no pattern: {}",
            error.kind()
        ))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(&text_file::pattern(pattern))
            .literal_separator(true)
            .case_insensitive(cfg!(windows))
            .build();
        set.add(glob.map_err(|error| refused(pattern, &error))?);
    }
    set.build().map_err(|error| refused("", &error))
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
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use serde_json::json;

    use super::super::super::test_context::{Bench, message};
    use super::super::back::Back;
    use super::*;

    fn put(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// All below a folder: files with their texts, links with where they lead.
    fn tree(folder: &Path) -> Vec<String> {
        let bench = Bench::new();
        let found = bench
            .with_context(|context| entries(folder, context))
            .unwrap();
        let shown = found.iter().map(|(path, is_folder)| {
            let at = folder.join(path);
            let name = path.display();
            if *is_folder {
                format!("{name}/")
            } else if let Ok(to) = fs::read_link(&at) {
                format!("{name}->{}", to.display())
            } else {
                format!("{name}={}", fs::read_to_string(&at).unwrap())
            }
        });
        shown.collect()
    }

    #[test]
    fn a_folder_is_copied_purged_left_alone_and_given_back() {
        let bench = Bench::new();
        let (from, to) = (bench.dir.path().join("from"), bench.dir.path().join("to"));
        put(&from, &[("a", "1"), ("d/run", "x"), ("d/same", "s")]);
        fs::set_permissions(from.join("d/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("a", from.join("link")).unwrap();
        put(
            &to,
            &[
                ("a", "old"),
                ("d/same", "s"),
                ("logs/x.log", "log"),
                ("gone/deep/b", "b"),
            ],
        );
        symlink("/etc/passwd", to.join("gone/away")).unwrap();
        let before = tree(&to);
        let node = fs::metadata(to.join("d/same")).unwrap().ino();
        let with = json!({"from": from, "to": to, "purge": true, "exclude": ["logs"]});
        bench.run(&Copy, with.clone()).unwrap();
        assert_eq!(
            tree(&to),
            [
                "a=1",
                "d/",
                "d/run=x",
                "d/same=s",
                "link->a",
                "logs/",
                "logs/x.log=log"
            ]
        );
        let said = bench.said.text();
        assert!(
            said.contains("3 written, 1 as they should be, 2 removed"),
            "{said}"
        );
        assert_eq!(fs::metadata(to.join("d/same")).unwrap().ino(), node);
        assert_eq!(
            fs::metadata(to.join("d/run")).unwrap().mode() & 0o777,
            0o755
        );
        bench.run(&Copy, with).unwrap();
        assert!(bench.said.text().contains("(4 files): nothing to do"));
        assert_eq!(bench.said.variable("File.Changed").unwrap(), "False");
        bench.run(&Back, json!({"action": "Install"})).unwrap();
        assert_eq!(tree(&to), before);
    }

    #[test]
    fn one_file_goes_to_a_name_or_into_a_folder() {
        let bench = Bench::new();
        let at = |name: &str| bench.dir.path().join(name).display().to_string();
        put(bench.dir.path(), &[("a", "1")]);
        bench
            .run(
                &Copy,
                json!({"from": at("a"), "to": at("b"), "mode": "0600"}),
            )
            .unwrap();
        assert_eq!(fs::metadata(at("b")).unwrap().mode() & 0o777, 0o600);
        bench
            .run(&Copy, json!({"from": at("a"), "to": at("in/here/")}))
            .unwrap();
        assert_eq!(fs::read_to_string(at("in/here/a")).unwrap(), "1");
    }

    #[test]
    fn a_copy_that_fails_in_the_middle_leaves_nothing_changed() {
        let bench = Bench::new();
        let (from, to) = (bench.dir.path().join("from"), bench.dir.path().join("to"));
        put(&from, &[("a", "1"), ("b", "2")]);
        put(&to, &[("a", "old"), ("b/in", "way")]);
        let before = tree(&to);
        let error = message(bench.run(&Copy, json!({"from": from, "to": to})));
        assert!(
            error.contains("is a folder, and a file should be there"),
            "{error}"
        );
        assert_eq!(tree(&to), before);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let bench = Bench::new();
        put(bench.dir.path(), &[("d/a", "1")]);
        let at = |name: &str| bench.dir.path().join(name).display().to_string();
        for (with, why) in [
            (json!({"to": "/x"}), "with.from"),
            (json!({"from": "a", "to": "/x"}), "no absolute path"),
            (
                json!({"from": at("d"), "to": at("d/e")}),
                "lie in each other",
            ),
            (
                json!({"from": at("d/a"), "to": at("x"), "purge": true}),
                "'from' is a file",
            ),
            (json!({"from": at("none"), "to": at("x")}), "none"),
            (
                json!({"from": at("d"), "to": at("x"), "exclude": "["}),
                "no pattern",
            ),
            (
                json!({"package": "W", "from": "../a", "to": at("x")}),
                "within a package",
            ),
        ] {
            let error = message(bench.run(&Copy, with));
            assert!(error.contains(why), "{error}");
        }
    }
}
