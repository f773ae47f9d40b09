//! `package.transfer`: a package's archive, byte for byte as it was pushed, in a folder of the machine.
//!
//! What holds here: the archive appears whole, by one rename, once its digest is the release's; one
//! that is there already is not written again.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use mantle_shared::Digest;
use mantle_shared::order::OrderPackage;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Action, ActionContext, ActionError, ActionReport, read_inputs};
use super::{pick, place};
use crate::durable;

/// `package.transfer`.
pub(in super::super) struct Transfer;

/// How much is copied at once.
const BLOCK_BYTES: usize = 256 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    package: String,
    to: String,
    file: Option<String>,
}

impl Inputs {
    /// Where the archive is to be: folder and name.
    fn place(&self, package: &OrderPackage) -> Result<(PathBuf, String), ActionError> {
        let folder = PathBuf::from(self.to.trim());
        let up = folder
            .components()
            .any(|part| matches!(part, Component::ParentDir));
        if !folder.is_absolute() || up {
            return Err(ActionError::input(format!(
                "to: '{}' is no absolute path without '..'",
                self.to
            )));
        }
        let name = match &self.file {
            Some(name) => name.trim().to_owned(),
            None => format!("{}.{}.{}", package.id, package.version, package.format),
        };
        let plain = Path::new(&name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || name.contains(['/', '\\']) || !plain {
            return Err(ActionError::input(format!(
                "file: '{name}' is no name of a file; the folder goes into 'to'"
            )));
        }
        Ok((folder, name))
    }
}

impl Action for Transfer {
    fn name(&self) -> &'static str {
        "package.transfer"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let package = pick(context.packages, &inputs.package)?;
        let (folder, name) = inputs.place(package)?;
        let path = folder.join(&name);
        if holds(context, &path, package.archive).map_err(failed(&path))? {
            context.info(format!("{} is there already", path.display()));
        } else {
            bring(context, package, &folder, &path)?;
            context.info(format!(
                "{} {} transferred to {}",
                package.id,
                package.version,
                path.display()
            ));
        }
        for (variable, value) in [
            ("Package.DirectoryPath", folder.display().to_string()),
            ("Package.FileName", name),
            ("Package.FilePath", path.display().to_string()),
            ("Package.Id", package.id.clone()),
            ("Package.Version", package.version.clone()),
        ] {
            context.output.set_variable(variable, &value, false);
        }
        Ok(ActionReport::default())
    }
}

fn bring(
    context: &ActionContext<'_>,
    package: &OrderPackage,
    folder: &Path,
    path: &Path,
) -> Result<(), ActionError> {
    fs::create_dir_all(folder).map_err(place::failed(folder))?;
    let unpacked = context.work_dir.join("archive");
    fs::create_dir(&unpacked).map_err(place::failed(&unpacked))?;
    context.package_files.materialise(package, &unpacked)?;
    let archive = only_file(&unpacked).map_err(failed(&unpacked))?;
    let temp = folder.join(format!(".mantle-transfer-{}", context.names.attempt));
    let copied = copy(context, &archive, &temp).map_err(failed(&temp));
    let moved = copied.and_then(|digest| {
        if digest != package.archive {
            return Err(ActionError::failed(format!(
                "{} {}: what came is not the archive that the release names; deploy again",
                package.id, package.version
            )));
        }
        durable::rename(&temp, path)
            .and_then(|()| durable::sync_folder(folder))
            .map_err(place::failed(path))
    });
    if moved.is_err() {
        // It may be that it never was there.
        let _ = fs::remove_file(&temp);
    }
    // It goes with the attempt otherwise; an archive may be large.
    let _ = fs::remove_dir_all(&unpacked);
    moved
}

/// The one file of a folder: an archive's own node lists nothing else.
fn only_file(folder: &Path) -> io::Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?;
    match (entries.next().transpose()?, entries.next()) {
        (Some(entry), None) if entry.file_type()?.is_file() => Ok(entry.path()),
        _ => Err(io::Error::other("it holds no archive alone")),
    }
}

/// Whether the file is there and has these bytes.
fn holds(context: &ActionContext<'_>, path: &Path, digest: Digest) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_file() => {}
        Ok(data) if data.is_dir() => return Err(io::Error::other("a folder is in the way")),
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(each_block(context, path, &mut |_| Ok(()))? == digest)
}

/// Copies to a new file and brings that to the disk; gives the digest of what went through.
fn copy(context: &ActionContext<'_>, from: &Path, to: &Path) -> io::Result<Digest> {
    let mut out = File::create(to)?;
    let digest = each_block(context, from, &mut |block| out.write_all(block))?;
    out.sync_all()?;
    Ok(digest)
}

fn each_block(
    context: &ActionContext<'_>,
    path: &Path,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        if context.stop.is_stopped() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let count = file.read(&mut buffer)?;
        let block = buffer.get(..count).unwrap_or_default();
        if block.is_empty() {
            return Ok(Digest::from_bytes(*hasher.finalize().as_bytes()));
        }
        hasher.update(block);
        take(block)?;
    }
}

/// An error of the disk; the stop that ended a copy is one of its own.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> ActionError + use<> {
    let failed = place::failed(path);
    move |error| match error.kind() {
        io::ErrorKind::Interrupted => ActionError::Stopped,
        _ => failed(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::super::test_context::{Bench, message};
    use super::*;
    use crate::cache::test_packages::Package as TestPackage;

    const BYTES: &[u8] = b"as it was pushed";

    fn bench(bytes: &[u8], archive: Digest) -> Bench {
        let mut bench = Bench::new();
        let files = BTreeMap::from([("archive".to_owned(), bytes.to_vec())]);
        let made = TestPackage::of(&files);
        for (digest, bytes) in &made.objects {
            bench.cache().put_for_tests(*digest, bytes);
        }
        bench.packages = vec![OrderPackage {
            id: "Web".to_owned(),
            version: "1.0".to_owned(),
            format: "zip".to_owned(),
            size_bytes: made.size,
            archive,
            root: made.root,
            linux_only: false,
            as_pushed: None,
        }];
        bench
    }

    #[test]
    fn the_archive_is_there_whole_or_not_at_all() {
        let good = bench(BYTES, Digest::of(BYTES));
        let folder = good.dir.path().join("drop/off");
        let with = json!({"package": "web", "to": folder});
        good.run(&Transfer, with.clone()).unwrap();
        assert_eq!(fs::read(folder.join("Web.1.0.zip")).unwrap(), BYTES);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let path = folder.join("Web.1.0.zip").display().to_string();
        assert_eq!(good.said.variable("Package.FilePath"), Some(path));
        good.run(&Transfer, with).unwrap();
        assert!(
            good.said.text().contains("is there already"),
            "{}",
            good.said.text()
        );
        fs::write(folder.join("Web.1.0.zip"), b"changed").unwrap();
        let named = json!({"package": "Web", "to": folder, "file": "Web.1.0.zip"});
        good.run(&Transfer, named).unwrap();
        assert_eq!(fs::read(folder.join("Web.1.0.zip")).unwrap(), BYTES);

        let bad = bench(BYTES, Digest::of(b"another"));
        let folder = bad.dir.path().join("drop");
        let why = message(bad.run(&Transfer, json!({"package": "Web", "to": folder})));
        assert!(why.contains("is not the archive"), "{why}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn places_that_cannot_be_meant_are_refused() {
        let bench = bench(BYTES, Digest::of(BYTES));
        let folder = bench.dir.path().display().to_string();
        for (to, file, why) in [
            ("drop", None, "to:"),
            ("/a/../b", None, "to:"),
            (folder.as_str(), Some("../x"), "file:"),
            (folder.as_str(), Some(".."), "file:"),
            (folder.as_str(), Some(""), "file:"),
        ] {
            let with = json!({"package": "Web", "to": to, "file": file});
            let error = message(bench.run(&Transfer, with));
            assert!(error.starts_with(why), "{error}");
        }
    }
}
