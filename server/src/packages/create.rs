//! Makes an archive of a folder, reproducibly: the same names, contents, executable bits and links give
//! the same bytes, whoever packs them, when, and in which order the file system lists them.
//!
//! So entries stand in the order of their names' bytes, all times are one, owners are nobody's, and a
//! mode says no more than whether a file may be executed. What it writes, a push takes.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::ingest::{Format, Limits};

/// 1980-01-01, the first day that a zip can tell: the time of every entry of a tar as well.
const ENTRY_TIME_S: u64 = 315_532_800;
const READ_BYTES: usize = 128 * 1024;
/// Deflate's usual level: more takes twice the time for a hundredth.
const DEFLATE_LEVEL: u32 = 6;
/// Below zstd's costly levels, and as small as gzip's best at many times its speed.
const ZSTD_LEVEL: i32 = 9;
/// From this size on a zip needs its larger headers.
const LARGE_FILE_BYTES: u64 = 0xffff_ffff;

/// Why a folder cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
    /// A name that no archive can hold in a way that all read alike.
    #[error("the name of '{}' is not UTF-8; rename it", path.display())]
    NotUtf8 {
        /// What.
        path: PathBuf,
    },
    /// It is neither file, folder nor link.
    #[error(
        "'{path}' is a device, pipe or socket, and a package holds files only; leave it out with --exclude"
    )]
    Special {
        /// Where in the folder.
        path: String,
    },
    /// It became longer or shorter meanwhile.
    #[error("'{path}' changed while it was packed; try again when nothing writes to it")]
    Changed {
        /// Where in the folder.
        path: String,
    },
    /// There is more in it than a package may have.
    #[error(
        "the folder holds more than {limit} entries, the most that a package may have; make several packages of it"
    )]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// This format is only read.
    #[error("no {format} archives are made; choose zip, tar.gz or tar.zst")]
    Format {
        /// The format.
        format: Format,
    },
}

/// What of the folder is packed: asked for every path in it, with `/` between names.
pub struct Selection<'a> {
    /// A file, a link or, before anything in it is looked at, a folder stays out.
    pub excludes: &'a dyn Fn(&str) -> bool,
    /// Only these files and links come in; then folders that hold none are not in it either.
    pub includes: Option<&'a dyn Fn(&str) -> bool>,
}

/// Packs the folder into this writer.
pub fn create<W: Write + Seek>(
    folder: &Path,
    format: Format,
    selection: &Selection<'_>,
    to: W,
) -> Result<W, CreateError> {
    let entries = walk(folder, selection)?;
    match format {
        Format::Zip => pack_zip(folder, &entries, to),
        Format::TarGz => {
            let level = flate2::Compression::new(DEFLATE_LEVEL);
            // Its header holds no name and no time.
            let packed = flate2::GzBuilder::new().write(to, level);
            let packed = pack_tar(folder, &entries, packed)?;
            packed.finish().map_err(CreateError::Write)
        }
        Format::TarZst => {
            let packed = zstd::stream::write::Encoder::new(to, ZSTD_LEVEL);
            let mut packed = packed.map_err(CreateError::Write)?;
            packed.include_checksum(true).map_err(CreateError::Write)?;
            let packed = pack_tar(folder, &entries, packed)?;
            packed.finish().map_err(CreateError::Write)
        }
        Format::Nupkg
        | Format::Jar
        | Format::War
        | Format::Tar
        | Format::TarBz2
        | Format::TarXz => Err(CreateError::Format { format }),
    }
}

struct Found {
    /// With `/` between names.
    path: String,
    kind: Kind,
}

enum Kind {
    Folder,
    File { size_bytes: u64, executable: bool },
    Link { target: String },
}

/// Everything that is to be packed, a folder before what is in it.
fn walk(root: &Path, selection: &Selection<'_>) -> Result<Vec<Found>, CreateError> {
    let limit = Limits::default().entries;
    let mut found = Vec::new();
    let mut open = list(root, "")?;
    // The next one is last.
    open.reverse();
    while let Some(path) = open.pop() {
        if (selection.excludes)(&path) {
            continue;
        }
        let place = root.join(&path);
        let read = |source| CreateError::Read {
            path: place.clone(),
            source,
        };
        let meta = fs::symlink_metadata(&place).map_err(read)?;
        let wanted = selection.includes.is_none_or(|includes| includes(&path));
        let kind = if meta.is_dir() {
            let mut below = list(&place, &format!("{path}/"))?;
            below.reverse();
            open.append(&mut below);
            if selection.includes.is_some() {
                continue;
            }
            Kind::Folder
        } else if !wanted {
            continue;
        } else if meta.is_symlink() {
            let target = fs::read_link(&place).map_err(read)?;
            let target = target.to_str().map(|target| {
                if cfg!(windows) {
                    target.replace('\\', "/")
                } else {
                    target.to_owned()
                }
            });
            let not_utf8 = || CreateError::NotUtf8 {
                path: place.clone(),
            };
            Kind::Link {
                target: target.ok_or_else(not_utf8)?,
            }
        } else if meta.is_file() {
            Kind::File {
                size_bytes: meta.len(),
                executable: is_executable(&place, &meta).map_err(read)?,
            }
        } else {
            return Err(CreateError::Special { path });
        };
        found.push(Found { path, kind });
        if found.len() as u64 > limit {
            return Err(CreateError::TooMany { limit });
        }
    }
    Ok(found)
}

/// A folder's entries in the order of their bytes, behind this prefix.
fn list(folder: &Path, prefix: &str) -> Result<Vec<String>, CreateError> {
    let read = |source| CreateError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| CreateError::NotUtf8 { path: entry.path() })?;
        names.push(format!("{prefix}{name}"));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere the file is read")]
fn is_executable(_path: &Path, meta: &fs::Metadata) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(meta.permissions().mode() & 0o111 != 0)
}

/// Where no mode says it: what Linux would run.
#[cfg(not(unix))]
fn is_executable(path: &Path, _meta: &fs::Metadata) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head.starts_with(b"\x7fELF") || head.starts_with(b"#!"))
}

fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

fn pack_zip<W: Write + Seek>(root: &Path, entries: &[Found], to: W) -> Result<W, CreateError> {
    let refused = |error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(error) => CreateError::Write(error),
        other => CreateError::Write(io::Error::other(other)),
    };
    let mut archive = zip::ZipWriter::new(to);
    for Found { path, kind } in entries {
        let options = zip::write::SimpleFileOptions::default()
            .last_modified_time(zip::DateTime::default())
            .compression_method(zip::CompressionMethod::Deflated)
            .compression_level(Some(i64::from(DEFLATE_LEVEL)));
        match kind {
            Kind::Folder => archive
                .add_directory(path.as_str(), options.unix_permissions(0o755))
                .map_err(refused)?,
            Kind::Link { target } => archive
                .add_symlink(path, target, options.unix_permissions(0o777))
                .map_err(refused)?,
            Kind::File {
                size_bytes,
                executable,
            } => {
                let options = options
                    .unix_permissions(mode(*executable))
                    .large_file(*size_bytes >= LARGE_FILE_BYTES);
                archive
                    .start_file(path.as_str(), options)
                    .map_err(refused)?;
                copy(root, path, *size_bytes, |content| {
                    io::copy(content, &mut archive).map(drop)
                })?;
            }
        }
    }
    archive.finish().map_err(refused)
}

fn pack_tar<W: Write>(root: &Path, entries: &[Found], to: W) -> Result<W, CreateError> {
    let mut archive = tar::Builder::new(to);
    for Found { path, kind } in entries {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(ENTRY_TIME_S);
        header.set_size(0);
        match kind {
            Kind::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                archive
                    .append_data(&mut header, format!("{path}/"), io::empty())
                    .map_err(CreateError::Write)?;
            }
            Kind::Link { target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                archive
                    .append_link(&mut header, path, target)
                    .map_err(CreateError::Write)?;
            }
            Kind::File {
                size_bytes,
                executable,
            } => {
                header.set_mode(mode(*executable));
                header.set_size(*size_bytes);
                copy(root, path, *size_bytes, |content| {
                    archive.append_data(&mut header, path, content)
                })?;
            }
        }
    }
    archive.into_inner().map_err(CreateError::Write)
}

/// Gives a file's content to whoever packs it, and sees that it is as long as it was when it was found.
fn copy(
    root: &Path,
    path: &str,
    size_bytes: u64,
    pack: impl FnOnce(&mut Content) -> io::Result<()>,
) -> Result<(), CreateError> {
    let place = root.join(path);
    let read = |source| CreateError::Read {
        path: place.clone(),
        source,
    };
    let mut content = Content {
        file: BufReader::with_capacity(READ_BYTES, File::open(&place).map_err(read)?),
        left: size_bytes,
        failed: None,
    };
    let packed = pack(&mut content);
    if let Some(source) = content.failed.take() {
        return Err(read(source));
    }
    packed.map_err(CreateError::Write)?;
    let more = content.file.read(&mut [0]).map_err(read)?;
    if content.left == 0 && more == 0 {
        Ok(())
    } else {
        Err(CreateError::Changed {
            path: path.to_owned(),
        })
    }
}

/// So many bytes of a file; what the disk says is kept apart from what the archive's writer says.
struct Content {
    file: BufReader<File>,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        match self.file.read(buffer.get_mut(..most).unwrap_or_default()) {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::io::Cursor;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::packages::ingest::tests::{Held, held, noise, take_in};
    use crate::packages::objects::Objects;

    const ALL: Selection<'static> = Selection {
        excludes: &|_| false,
        includes: None,
    };

    fn pack(folder: &Path, format: Format) -> Vec<u8> {
        let archive = create(folder, format, &ALL, Cursor::new(Vec::new())).unwrap();
        archive.into_inner()
    }

    /// The same folder, made in this order, at another time.
    fn a_folder(names: &[&str], age_s: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let then = SystemTime::now() - Duration::from_secs(age_s);
        for name in names {
            let path = dir.path().join(name);
            if name.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content = noise(name.len() as u64, 50_000);
            fs::write(&path, content).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(then).unwrap();
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let run = dir.path().join("bin/run");
            let mode = if age_s == 0 { 0o700 } else { 0o755 };
            fs::set_permissions(run, fs::Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::symlink("bin/run", dir.path().join("start")).unwrap();
        }
        dir
    }

    #[test]
    fn the_same_folder_has_the_same_bytes_and_all_of_it_comes_back() {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
        let mut names = vec!["bin/run", "a.txt", "a/b.txt", "empty/", "ä.txt", &long];
        let first = a_folder(&names, 0);
        names.reverse();
        let second = a_folder(&names, 1_000_000);
        let mut roots = Vec::new();
        for format in [Format::Zip, Format::TarGz, Format::TarZst] {
            let archive = pack(first.path(), format);
            assert!(archive == pack(second.path(), format), "{format}");
            let objects = Objects::memory();
            let taken = take_in(&objects, &archive, format).unwrap();
            assert_eq!(taken.summary.files, 5, "{format}");
            let held = held(&objects, &taken.summary.root);
            assert_eq!(held["empty"], Held::Folder);
            let content = noise(7, 50_000);
            let executable = cfg!(unix);
            assert_eq!(
                held["bin/run"],
                Held::File {
                    content,
                    executable
                }
            );
            #[cfg(unix)]
            assert_eq!(held["start"], Held::Link("bin/run".to_owned()));
            roots.push(taken.summary.root);
        }
        assert!(roots.iter().all(|root| *root == roots[0]));
        // And other content has others.
        fs::write(second.path().join("a.txt"), "changed").unwrap();
        assert!(pack(first.path(), Format::Zip) != pack(second.path(), Format::Zip));
    }

    #[test]
    fn what_is_chosen_comes_in() {
        let folder = a_folder(
            &["bin/run", "a.txt", "a/b.txt", "a/c.log", "node/x/y.txt"],
            0,
        );
        let pack = |selection: &Selection<'_>| -> Vec<String> {
            let packed = create(
                folder.path(),
                Format::Zip,
                selection,
                Cursor::new(Vec::new()),
            );
            let objects = Objects::memory();
            let taken = take_in(&objects, &packed.unwrap().into_inner(), Format::Zip).unwrap();
            held(&objects, &taken.summary.root).into_keys().collect()
        };
        let texts = Selection {
            excludes: &|path| path == "node",
            includes: Some(&|path| path.contains(".txt")),
        };
        assert_eq!(pack(&texts), ["a", "a.txt", "a/b.txt"]);
        let without = Selection {
            excludes: &|path| path == "node" || path == "bin" || path == "start",
            includes: None,
        };
        assert_eq!(pack(&without), ["a", "a.txt", "a/b.txt", "a/c.log"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let folder = a_folder(&["bin/run"], 0);
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("bin/s")).unwrap();
        let error = create(folder.path(), Format::Zip, &ALL, Cursor::new(Vec::new())).unwrap_err();
        assert!(error.to_string().contains("'bin/s' is a device"), "{error}");
        drop(socket);
        fs::remove_file(folder.path().join("bin/s")).unwrap();
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"bin/\xff");
        fs::write(folder.path().join(name), "x").unwrap();
        let error = create(folder.path(), Format::Zip, &ALL, Cursor::new(Vec::new())).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }

    /// A file that grows as the archive is written: here by the first byte that comes out.
    struct Growing {
        to: Cursor<Vec<u8>>,
        file: PathBuf,
        length: usize,
    }

    impl Write for Growing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            fs::write(&self.file, vec![7; self.length])?;
            self.to.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Growing {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.to.seek(to)
        }
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_noticed() {
        for format in [Format::Zip, Format::TarGz, Format::TarZst] {
            for length in [10, 90_000] {
                let folder = a_folder(&["bin/run", "data"], 0);
                let to = Growing {
                    to: Cursor::new(Vec::new()),
                    file: folder.path().join("data"),
                    length,
                };
                // Something must come out before the file is read.
                fs::write(folder.path().join("bin/run"), noise(1, 3_000_000)).unwrap();
                let error = create(folder.path(), format, &ALL, to).err();
                assert!(
                    matches!(&error, Some(CreateError::Changed { path }) if path == "data"),
                    "{format}, {length}: {error:?}"
                );
            }
        }
    }
}
