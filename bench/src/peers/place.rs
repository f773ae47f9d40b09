//! Where the other tools come from: this machine, or else their registry, into a folder of the
//! benchmark. Nothing is installed on the machine itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// How much of what an installer said is shown.
const SHOWN_BYTES: usize = 600;

/// A folder with the tools that this machine lacks.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    /// Removes the folder at the end, if nobody asked to keep it.
    _temporary: Option<TempDir>,
}

impl Place {
    /// This folder, which stays, or a temporary one.
    pub(crate) fn new(kept: Option<&Path>) -> Result<Self> {
        if let Some(folder) = kept {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            let folder = std::fs::canonicalize(folder).context("the folder of the peers")?;
            return Ok(Self {
                folder,
                _temporary: None,
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix("mantle-bench-peers-")
            .tempdir()
            .context("a temporary folder")?;
        Ok(Self {
            folder: temporary.path().to_owned(),
            _temporary: Some(temporary),
        })
    }

    /// A folder of its own for something that runs, empty.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// A program of a Python package, in a virtual environment of its own.
    pub(crate) fn python(&self, package: &str, program: &str) -> Result<PathBuf> {
        let environment = self.folder.join(format!("python-{package}"));
        let path = environment.join("bin").join(program);
        if path.is_file() {
            return Ok(path);
        }
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&environment);
        finish(make, "making a virtual environment of Python")?;
        let mut install = Command::new(environment.join("bin").join("pip"));
        install.args(["install", "--quiet", "--disable-pip-version-check", package]);
        finish(install, &format!("installing {package}"))?;
        ensure!(
            path.is_file(),
            "{package} was installed, but there is no '{program}' in it"
        );
        Ok(path)
    }

    /// A program of the machine, or of these Debian packages, unpacked into the folder.
    pub(crate) fn debian(&self, program: &str, packages: &[&str]) -> Result<PathBuf> {
        if let Some(path) = find(program, std::env::var_os("PATH")) {
            return Ok(path);
        }
        if let Some(path) = find(program, Some(self.search_path())) {
            return Ok(path);
        }
        let archives = self.fresh("debian-archives")?;
        let mut download = Command::new("apt-get");
        download
            .args(["download", "--quiet"])
            .args(packages)
            .current_dir(&archives);
        finish(download, &format!("fetching {}", packages.join(", ")))?;
        for archive in std::fs::read_dir(&archives).context("the fetched packages")? {
            let mut unpack = Command::new("dpkg-deb");
            unpack
                .arg("-x")
                .arg(archive.context("a fetched package")?.path())
                .arg(self.root());
            finish(unpack, "unpacking a Debian package")?;
        }
        find(program, Some(self.search_path()))
            .with_context(|| format!("{} hold no '{program}'", packages.join(", ")))
    }

    fn root(&self) -> PathBuf {
        self.folder.join("debian")
    }

    /// Where its programs are.
    fn search_path(&self) -> OsString {
        let root = self.root();
        let folders = ["usr/bin", "usr/sbin", "bin", "sbin"].map(|folder| root.join(folder));
        std::env::join_paths(folders).unwrap_or_default()
    }

    /// Lets a program find what was unpacked.
    pub(crate) fn equip(&self, command: &mut Command) {
        let mut path = self.search_path();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        path.push(":/usr/sbin:/sbin");
        let python = self.root().join("usr/lib/python3/dist-packages");
        command
            .env("PATH", path)
            .env("LD_LIBRARY_PATH", self.libraries())
            .env("PYTHONPATH", python)
            .env("HOME", &self.folder)
            .env("LC_ALL", "C.UTF-8");
    }

    fn libraries(&self) -> PathBuf {
        let folder = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        self.root().join(folder)
    }

    /// rsync, and what its other end is called by.
    pub(crate) fn rsync(&self) -> Result<String> {
        let packages = ["rsync", "libpopt0", "libxxhash0", "liblz4-1"];
        let program = self.debian("rsync", &packages)?;
        Ok(format!(
            "rsync --rsync-path=\"env LD_LIBRARY_PATH={} {}\"",
            self.libraries().display(),
            program.display()
        ))
    }
}

fn find(program: &str, path: Option<OsString>) -> Option<PathBuf> {
    let mut path = path?;
    path.push(":/usr/sbin:/sbin");
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a command to its end, which must be a success.
pub(crate) fn finish(mut command: Command, what: &str) -> Result<String> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| {
            format!(
                "{what}: {} could not be started",
                command.get_program().display()
            )
        })?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let said: String = said.trim().chars().take(SHOWN_BYTES).collect();
        bail!("{what}: {}: {said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_program_of_the_machine_is_taken_as_it_is() {
        let place = Place::new(None).unwrap();
        assert!(place.debian("sh", &[]).unwrap().ends_with("sh"));
        assert!(
            place
                .debian("no-such-program-here", &["no-such-package"])
                .is_err()
        );
    }

    #[test]
    fn what_fails_says_what_and_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo because; exit 3"]);
        let error = finish(command, "trying").unwrap_err().to_string();
        assert!(
            error.contains("trying") && error.contains("because"),
            "{error}"
        );
    }
}
