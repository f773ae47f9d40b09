//! `mantle package create`: an archive of a folder, made without a server.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Serialize;

use crate::api::body::PackagePlatform;
use crate::cli::exit::{CliResult, Exit, Failure};
use crate::cli::output::{Output, size};
use crate::cli::whole;
use crate::packages::create::{CreateError, Selection, create};
use crate::packages::ingest::{self, Format, IngestError, IngestOptions, Platform, Summary};
use crate::packages::name::{NameError, PackageName};

/// What to pack.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    /// The folder
    dir: PathBuf,
    /// The package's id; by default what the folder is called
    #[arg(long)]
    id: Option<String>,
    /// The version; by default the one in the folder's name, as in Acme.Web.1.2.3
    #[arg(long)]
    version: Option<String>,
    /// What to make
    #[arg(long, value_enum, default_value = "zip")]
    format: Packing,
    /// The folder to put the archive in, as ID.VERSION.zip; by default the current one
    #[arg(long, value_name = "FOLDER", alias = "out-folder")]
    to: Option<PathBuf>,
    /// Pack only files that match this, such as '**/*.dll'; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave files and folders that match this out, such as '**/*.pdb'; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// The only platform that the package is for: names that Windows refuses or mixes up are then
    /// taken; say so to 'package push' too
    #[arg(long)]
    platform: Option<PackagePlatform>,
    /// Replace an archive that is there
    #[arg(long, alias = "overwrite")]
    force: bool,
}

/// The formats that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Packing {
    /// A zip
    Zip,
    /// A tar, packed with gzip
    #[value(name = "tar.gz", alias = "tgz")]
    TarGz,
    /// A tar, packed with zstd: smaller and faster
    #[value(name = "tar.zst", alias = "tzst")]
    TarZst,
}

impl Packing {
    fn format(self) -> Format {
        match self {
            Self::Zip => Format::Zip,
            Self::TarGz => Format::TarGz,
            Self::TarZst => Format::TarZst,
        }
    }
}

/// What was made.
#[derive(Debug, Serialize)]
struct Created {
    file: String,
    id: String,
    version: String,
    format: String,
    size_bytes: u64,
    unpacked_bytes: u64,
    files: u64,
    archive_digest: String,
    archive_sha256: String,
    root_digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Does it. It reads and packs for as long as it takes, beside whoever waits for Ctrl-C.
pub(super) async fn run(args: CreateArgs, out: Output) -> CliResult {
    tokio::task::spawn_blocking(move || pack(&args, out))
        .await
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?
}

fn pack(args: &CreateArgs, out: Output) -> CliResult {
    let unreadable = |path: &Path, error: &io::Error| Failure::unreadable(path, error);
    let folder = args
        .dir
        .canonicalize()
        .map_err(|error| unreadable(&args.dir, &error))?;
    if !folder.is_dir() {
        let what = format!("{} is no folder", args.dir.display());
        return Err(Failure::new(Exit::Invalid, what).with_help(
            "a file that is an archive already is pushed as it is: 'mantle package push FILE'",
        ));
    }
    let name = name(args, &folder)?;
    let into = args.to.as_deref().unwrap_or(Path::new("."));
    let into = into
        .canonicalize()
        .map_err(|error| unreadable(into, &error))?;
    if into.starts_with(&folder) {
        let what = format!(
            "{} is in the folder that is packed, so the next archive would hold this one",
            into.display()
        );
        return Err(Failure::new(Exit::Usage, what).with_help("put it elsewhere with --to FOLDER"));
    }
    let format = args.format.format();
    let file = into.join(format!("{}.{}.{format}", name.id, name.version));
    whole::must_be_free(&file, args.force)?;
    let part = whole::part(&file);
    let made = write(args, &folder, format, &part).and_then(|()| {
        let checked = check(args, format, &part)?;
        std::fs::rename(&part, &file).map_err(|error| whole::failed(&file, &error))?;
        Ok(checked)
    });
    if made.is_err() {
        // What cannot be pushed is of no use to anybody.
        let _ = std::fs::remove_file(&part);
    }
    let (summary, warnings) = made?;
    for warning in &warnings {
        out.warn(warning);
    }
    let shown = args.to.as_deref().unwrap_or(Path::new(""));
    let shown = shown.join(file.file_name().unwrap_or_default());
    let created = created(&shown, name, &summary, warnings);
    out.object(&created, |created| {
        vec![
            created.file.clone(),
            format!(
                "{} files, {} packed into {}",
                created.files,
                size(created.unpacked_bytes),
                size(created.size_bytes)
            ),
            format!("sha256 {}", created.archive_sha256),
        ]
    })
}

fn created(file: &Path, name: PackageName, summary: &Summary, warnings: Vec<String>) -> Created {
    Created {
        file: file.display().to_string(),
        id: name.id,
        version: name.version,
        format: summary.format.to_string(),
        size_bytes: summary.archive_bytes,
        unpacked_bytes: summary.size_bytes,
        files: summary.files,
        archive_digest: summary.archive.to_string(),
        archive_sha256: hex::encode(summary.sha256),
        root_digest: summary.root.to_string(),
        warnings,
    }
}

/// Which package it is, by the options or else by what the folder is called.
fn name(args: &CreateArgs, folder: &Path) -> Result<PackageName, Failure> {
    let called = folder.file_name().unwrap_or_default().to_string_lossy();
    let named = PackageName::parse(&called, args.id.as_deref(), args.version.as_deref());
    named.map_err(|error| {
        let what = match &error {
            NameError::NoVersion { .. } => {
                format!("the folder's name, '{called}', tells no version")
            }
            NameError::NoId { .. } => format!("the folder's name, '{called}', tells no id"),
            NameError::BadId { .. } | NameError::BadVersion { .. } => error.to_string(),
        };
        Failure::new(Exit::Invalid, what).with_help(format!(
            "mantle package create {} --id Acme.Web --version 1.2.3",
            args.dir.display()
        ))
    })
}

fn write(args: &CreateArgs, folder: &Path, format: Format, part: &Path) -> Result<(), Failure> {
    let (includes, excludes) = (globs(&args.include)?, globs(&args.exclude)?);
    let wanted = |path: &str| includes.is_match(path);
    let selection = Selection {
        excludes: &|path| excludes.is_match(path),
        includes: (!args.include.is_empty()).then_some(&wanted),
    };
    let failed = |error: io::Error| whole::failed(part, &error);
    let file = File::create(part).map_err(failed)?;
    let written = create(folder, format, &selection, BufWriter::new(file)).map_err(refused)?;
    let mut file = written;
    file.flush().map_err(failed)?;
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// The archive is taken apart as the server would do it: what a push refuses is said here.
fn check(
    args: &CreateArgs,
    format: Format,
    part: &Path,
) -> Result<(Summary, Vec<String>), Failure> {
    let options = IngestOptions {
        platform: match args.platform {
            Some(PackagePlatform::Linux) => Platform::Linux,
            None => Platform::Any,
        },
        ..IngestOptions::default()
    };
    match ingest::check(part, Some(format), &options) {
        Ok(checked) => Ok((checked.summary, checked.warnings)),
        Err(IngestError::Io { path, source }) => Err(Failure::unreadable(&path, &source)),
        Err(other) => Err(Failure::new(Exit::Invalid, other.to_string())
            .with_help("correct the folder, or leave it out with --exclude GLOB")),
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let bad = |error: globset::Error| {
        Failure::new(Exit::Usage, format!("no pattern: {error}")).with_help(
            "'*.pdb' matches in the top folder, '**/*.pdb' in all, 'node_modules' a whole folder",
        )
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.trim_end_matches('/');
        // A star stays within a name, as a shell has it.
        set.add(
            GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()
                .map_err(bad)?,
        );
    }
    set.build().map_err(bad)
}

fn refused(error: CreateError) -> Failure {
    match &error {
        CreateError::Read { path, source } => Failure::unreadable(path, source),
        CreateError::Write(source) => Failure::io("cannot write the archive", source),
        CreateError::NotUtf8 { .. }
        | CreateError::Special { .. }
        | CreateError::Changed { .. }
        | CreateError::TooMany { .. }
        | CreateError::Format { .. } => Failure::new(Exit::Invalid, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use clap::Parser as _;

    use super::*;
    use crate::cli::output::Format as Shown;

    #[derive(clap::Parser)]
    struct Words {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn run(words: &[&str]) -> CliResult {
        let words = [&["create"], words].concat();
        pack(&Words::parse_from(words).args, Output::new(Shown::Json))
    }

    fn a_folder(name: &str) -> (tempfile::TempDir, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(name);
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::create_dir_all(dir.path().join("out")).unwrap();
        std::fs::write(folder.join("sub/a.txt"), "a").unwrap();
        std::fs::write(folder.join("b.pdb"), "b").unwrap();
        let out = dir.path().join("out").display().to_string();
        (dir, folder.display().to_string(), out)
    }

    #[test]
    fn the_folders_name_or_the_options_name_the_package() {
        let (dir, folder, to) = a_folder("Acme.Web.1.2.3");
        run(&[&folder, "--to", &to]).unwrap();
        let made = dir.path().join("out/Acme.Web.1.2.3.zip");
        let first = std::fs::read(&made).unwrap();
        let again = run(&[&folder, "--to", &to]).unwrap_err();
        assert_eq!(again.exit, Exit::Refused);
        run(&[&folder, "--to", &to, "--overwrite"]).unwrap();
        assert!(std::fs::read(&made).unwrap() == first);
        run(&[
            &folder,
            "--out-folder",
            &to,
            "--version",
            "2.0",
            "--format",
            "tar.zst",
        ])
        .unwrap();
        assert!(dir.path().join("out/Acme.Web.2.0.tar.zst").exists());

        let (_dir, folder, to) = a_folder("site");
        let error = run(&[&folder, "--to", &to]).unwrap_err();
        assert_eq!(error.exit, Exit::Invalid);
        assert!(
            error.message.contains("tells no version"),
            "{}",
            error.message
        );
        assert!(error.help.unwrap().contains("--version"));
        run(&[&folder, "--to", &to, "--version", "1.0", "--format", "tgz"]).unwrap();
        let error = run(&[&folder, "--to", &to, "--version", "latest"]).unwrap_err();
        assert!(
            error.message.contains("'latest' is no version"),
            "{}",
            error.message
        );
    }

    #[test]
    fn what_a_push_would_refuse_is_not_made() {
        let (dir, folder, to) = a_folder("Web.1.0");
        std::fs::write(dir.path().join("Web.1.0/aux.txt"), "x").unwrap();
        let error = run(&[&folder, "--to", &to]).unwrap_err();
        assert!(error.message.contains("'aux.txt'"), "{}", error.message);
        assert_eq!(
            std::fs::read_dir(&to).unwrap().count(),
            0,
            "nothing is left"
        );
        run(&[&folder, "--to", &to, "--platform", "linux"]).unwrap();
        run(&[&folder, "--to", &to, "--exclude", "aux.*", "--force"]).unwrap();
        let inside = run(&[&folder, "--to", &folder]).unwrap_err();
        assert_eq!(inside.exit, Exit::Usage);
        let lost = run(&[&format!("{folder}x")]).unwrap_err();
        assert_eq!(lost.exit, Exit::Invalid);
        let bad = run(&[&folder, "--to", &to, "--include", "a{b", "--force"]).unwrap_err();
        assert_eq!(bad.exit, Exit::Usage);
    }
}
