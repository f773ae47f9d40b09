//! The files of the repository: what git tracks, and what it would if it were added.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::source::Source;

/// A text file of the repository.
pub(crate) struct File {
    /// Its path in the repository, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// The text files of the repository.
#[derive(Default)]
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the repository in which this is run.
    pub(crate) fn read() -> Result<Self> {
        let root = root()?;
        let output = Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("running git")?;
        ensure!(output.status.success(), "git ls-files failed");
        let names = String::from_utf8(output.stdout).context("file names in UTF-8")?;
        let files = names
            .lines()
            // What is not text holds no rule; what is tracked and deleted is gone.
            .filter_map(|name| {
                let text = std::fs::read_to_string(root.join(name)).ok()?;
                Some(File {
                    path: name.to_owned(),
                    text,
                })
            })
            .collect();
        Ok(Self { files })
    }

    /// A tree of these files, for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// All Rust files, taken apart. Generated code is not in the tree.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, Source)> {
        self.files
            .iter()
            .filter(|file| has_extension(&file.path, "rs"))
            .map(|file| (file, Source::parse(&file.text)))
    }

    /// All manifests of crates.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| Path::new(&file.path).ends_with("Cargo.toml"))
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e == extension)
}

/// The repository's top folder.
pub(crate) fn root() -> Result<PathBuf> {
    let output = Command::new("git")
        .args(["rev-parse", "--show-toplevel"])
        .output()
        .context("running git")?;
    ensure!(output.status.success(), "this is not a git repository");
    let path = String::from_utf8(output.stdout).context("a path in UTF-8")?;
    Ok(PathBuf::from(path.trim_end()))
}
