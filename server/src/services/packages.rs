//! Packages: resumable uploads, and what was pushed.

use bytes::Bytes;
use mantle_domain::ids::PackageVersionId;
use mantle_domain::permission::Permission;
use mantle_domain::version::Version;
use mantle_shared::Digest;
use serde_json::json;
use uuid::Uuid;

use super::error::{Error, Result};
use super::package_care::needed_by;
use super::{Caller, Deed, SHOWN, Services, at, mint};
use crate::api::body::{Package, PackagePlatform, PackageVersion, Upload, UploadCreate};
use crate::packages::ingest::{FORMATS, Format, IngestError, IngestOptions, Ingested, Platform};
use crate::packages::name::PackageName;
use crate::packages::objects::ObjectError;
use crate::packages::upload::{
    Append, UploadError, UploadId, UploadLimits, UploadSpec, UploadStatus,
};
use crate::store::{
    self, PackageVersionRow, Tx, UploadRow, package_list, package_version_find,
    package_version_insert, package_version_list, upload_delete, upload_find, upload_find_same,
    upload_insert,
};

/// How the database says that a package was pushed for Linux only.
pub(super) const LINUX_ONLY: &str = "linux";

/// A piece of an upload as it comes in.
pub struct IncomingPiece {
    append: Append,
    row: UploadRow,
}

/// Use cases of packages.
impl Services {
    /// All packages.
    pub async fn package_list(&self, caller: &Caller) -> Result<Vec<Package>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let mut packages = Vec::new();
        for row in package_list(&mut tx, "", SHOWN).await? {
            let versions = package_version_list(&mut tx, &row.package_id, SHOWN).await?;
            let newest = newest_first(versions).into_iter().next();
            packages.push(Package {
                latest: newest.map(|row| row.version).unwrap_or_default(),
                id: row.package_id,
                versions: row.versions,
            });
        }
        Ok(packages)
    }

    /// A package's versions, the newest first.
    pub async fn package_versions(&self, caller: &Caller, id: &str) -> Result<Vec<PackageVersion>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let rows = package_version_list(&mut tx, id, SHOWN).await?;
        if rows.is_empty() {
            return Err(unknown(&mut tx, id).await?);
        }
        Ok(newest_first(rows).iter().map(shape).collect())
    }

    /// One version of a package.
    pub async fn package_show(
        &self,
        caller: &Caller,
        id: &str,
        version: &str,
    ) -> Result<PackageVersion> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = version_row(&mut tx, id, version).await?;
        let mut shown = shape(&row);
        shown.needed_by = needed_by(&mut tx, &row).await?;
        Ok(shown)
    }

    /// Begins an upload, or finds the one of the same bytes to go on with.
    pub async fn upload_create(&self, caller: &Caller, request: &UploadCreate) -> Result<Upload> {
        caller.may(Permission::PackagePush)?;
        check_ending(&request.file_name)?;
        let name = PackageName::parse(
            &request.file_name,
            request.id.as_deref(),
            request.version.as_deref(),
        )
        .map_err(|error| {
            Error::invalid(
                "bad-package-name",
                error.to_string(),
                "mantle package push --id ID --version VERSION FILE",
            )
        })?;
        let digest: Digest = request.digest.parse().map_err(|error| {
            Error::invalid(
                "bad-digest",
                format!("{error}"),
                "send the BLAKE3 of the file",
            )
        })?;
        if self.is_there(&name, digest).await? {
            return Ok(present(&name, request));
        }
        let now = self.now();
        let mut tx = self.store.begin().await?;
        if let Some(found) = package_version_find(&mut tx, &name.id, &name.version).await?
            && found.archive != digest
        {
            return Err(exists(&name.id, &name.version));
        }
        let by = &caller.actor.name;
        let same = upload_find_same(&mut tx, by, digest).await?;
        let same = same.filter(|row| row.package_id == name.id && row.version == name.version);
        let row = if let Some(row) = same {
            row
        } else {
            let row = UploadRow {
                id: store::UploadId::from_uuid(mint()),
                package_id: name.id.clone(),
                version: name.version.clone(),
                format: name.format.map(format_word).unwrap_or_default(),
                size_bytes: request.size_bytes,
                digest: Some(digest),
                received_bytes: 0,
                created_at_us: now.as_microsecond(),
                created_by: by.clone(),
                touched_at_us: now.as_microsecond(),
            };
            upload_insert(&mut tx, &row).await?;
            row
        };
        tx.commit().await?;
        // The file may be gone for its age while the row is not, or not made yet: the same call
        // makes it or says how far it is.
        let spec = UploadSpec {
            file_name: canonical_name(&row),
            size_bytes: row.size_bytes,
            blake3: row.digest,
            sha256: None,
        };
        let size_bytes = spec.size_bytes;
        let created = self.packages.uploads().create(file_id(&row), spec).await;
        let status = created.map_err(|error| begin_error(error, size_bytes))?;
        Ok(upload_shape(&row, &status))
    }

    /// Whether the version is there, made of this archive and with all of its bytes. One whose bytes are
    /// lost or damaged is as good as not there: the same archive, pushed again, puts them back. Another
    /// archive puts nothing back, so that it is refused by its digest alone.
    async fn is_there(&self, name: &PackageName, digest: Digest) -> Result<bool> {
        let mut tx = self.store.read().await?;
        let Some(found) = package_version_find(&mut tx, &name.id, &name.version).await? else {
            return Ok(false);
        };
        drop(tx);
        if found.archive != digest {
            return Err(exists(&name.id, &name.version));
        }
        let broken = self
            .packages
            .first_problem(&found.root, &found.archive)
            .await?;
        let Some(problem) = broken else {
            return Ok(true);
        };
        tracing::warn!(
            package.id = %name.id,
            package.version = %name.version,
            problem.path = %problem.path,
            problem.what = %problem.what,
            "bytes of a package are lost or damaged; it is taken in again"
        );
        Ok(false)
    }

    /// How far an upload is.
    pub async fn upload_show(&self, caller: &Caller, id: &str) -> Result<Upload> {
        let row = self.upload_row(caller, id).await?;
        let status = self.packages.uploads().status(file_id(&row)).await?;
        Ok(upload_shape(&row, &status))
    }

    /// Begins a piece of an upload at an offset.
    pub async fn upload_append(
        &self,
        caller: &Caller,
        id: &str,
        offset: u64,
    ) -> Result<IncomingPiece> {
        let row = self.upload_row(caller, id).await?;
        let append = self
            .packages
            .uploads()
            .append(file_id(&row), offset)
            .await?;
        Ok(IncomingPiece { append, row })
    }

    /// Ends a piece: what is told is on disk.
    pub async fn upload_appended(&self, piece: IncomingPiece) -> Result<Upload> {
        let offset = piece.append.finish().await?;
        Ok(Upload {
            upload: piece.row.id.to_string(),
            offset,
            size_bytes: piece.row.size_bytes,
            id: piece.row.package_id,
            version: piece.row.version,
            present: false,
        })
    }

    /// Takes a complete upload apart and makes it a version of its package.
    pub async fn upload_finish(
        &self,
        caller: &Caller,
        id: &str,
        platform: Option<PackagePlatform>,
    ) -> Result<PackageVersion> {
        let row = self.upload_row(caller, id).await?;
        let finished = match self.packages.uploads().finish(file_id(&row)).await {
            Ok(finished) => finished,
            Err(error @ UploadError::DigestMismatch { .. }) => {
                self.forget(&row).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let options = IngestOptions {
            name: Some(finished.spec.file_name.clone()),
            platform: match platform {
                Some(PackagePlatform::Linux) => Platform::Linux,
                None => Platform::Any,
            },
            ..IngestOptions::default()
        };
        let format = Format::split_name(&finished.spec.file_name).map(|(_, format)| format);
        let ingested = match self.packages.ingest(&finished.path, format, options).await {
            Ok(ingested) => ingested,
            Err(error) => {
                let refusal = Error::from(error);
                if matches!(refusal, Error::Invalid { .. } | Error::TooLarge { .. }) {
                    // The same bytes would be refused again.
                    self.forget(&row).await?;
                }
                return Err(refusal);
            }
        };
        let version = self.keep_version(caller, &row, &ingested, platform).await?;
        drop(ingested);
        // A failure here leaves a file that expires by itself.
        if let Err(error) = self.packages.uploads().remove(file_id(&row)).await {
            tracing::warn!(error = %error, "a finished upload could not be removed");
        }
        Ok(version)
    }

    async fn keep_version(
        &self,
        caller: &Caller,
        upload: &UploadRow,
        ingested: &Ingested,
        platform: Option<PackagePlatform>,
    ) -> Result<PackageVersion> {
        let summary = &ingested.summary;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let (id, version) = (&upload.package_id, &upload.version);
        if let Some(found) = package_version_find(&mut tx, id, version).await? {
            if found.archive != summary.archive {
                return Err(exists(id, version));
            }
            upload_delete(&mut tx, upload.id).await?;
            tx.commit().await?;
            return Ok(shape(&found));
        }
        let row = PackageVersionRow {
            id: PackageVersionId::from_uuid(mint()),
            package_id: id.clone(),
            version: version.clone(),
            format: format_word(summary.format),
            archive_bytes: summary.archive_bytes,
            archive: summary.archive,
            sha256: summary.sha256,
            root: summary.root,
            size_bytes: summary.size_bytes,
            files: summary.files,
            platform: platform.map(|PackagePlatform::Linux| LINUX_ONLY.to_owned()),
            created_at_us: now.as_microsecond(),
            created_by: caller.actor.name.clone(),
        };
        package_version_insert(&mut tx, &row).await?;
        upload_delete(&mut tx, upload.id).await?;
        let subject = format!("{id} {version}");
        let deed = Deed {
            action: "package.push",
            subject: &subject,
            id: Some(row.id.as_uuid()),
            detail: json!({"archive": row.archive, "root": row.root}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        let mut version = shape(&row);
        version.warnings.clone_from(&ingested.warnings);
        Ok(version)
    }

    async fn forget(&self, row: &UploadRow) -> Result<()> {
        self.packages.uploads().remove(file_id(row)).await?;
        self.store
            .write(async |tx| upload_delete(tx, row.id).await)
            .await?;
        Ok(())
    }

    async fn upload_row(&self, caller: &Caller, id: &str) -> Result<UploadRow> {
        caller.may(Permission::PackagePush)?;
        let mut tx = self.store.read().await?;
        let found = match id.parse::<store::UploadId>() {
            Ok(id) => upload_find(&mut tx, id).await?,
            Err(_) => None,
        };
        // Somebody else's upload is none of yours.
        found
            .filter(|row| row.created_by == caller.actor.name)
            .ok_or_else(|| {
                Error::not_found(
                    "upload",
                    id,
                    [],
                    "it was finished, or given up for its age; push the file again",
                )
            })
    }
}

impl IncomingPiece {
    /// Takes in a part of the piece.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        Ok(self.append.write(bytes).await?)
    }
}

/// There is nothing to send.
fn present(name: &PackageName, request: &UploadCreate) -> Upload {
    Upload {
        upload: String::new(),
        offset: request.size_bytes,
        size_bytes: request.size_bytes,
        id: name.id.clone(),
        version: name.version.clone(),
        present: true,
    }
}

fn exists(id: &str, version: &str) -> Error {
    Error::Exists {
        code: "package-exists",
        detail: format!(
            "the package {id} {version} exists already with other bytes; a version never changes"
        ),
        help: "give the new bytes a new version".to_owned(),
    }
}

/// The same for every push of the same version, whatever the file is called where it comes from.
fn canonical_name(row: &UploadRow) -> String {
    let dot = if row.format.is_empty() { "" } else { "." };
    format!("{}.{}{dot}{}", row.package_id, row.version, row.format)
}

/// The upload's file goes by the same id as its row.
fn file_id(row: &UploadRow) -> UploadId {
    UploadId(Uuid::from_bytes(*row.id.as_bytes()))
}

fn upload_shape(row: &UploadRow, status: &UploadStatus) -> Upload {
    Upload {
        upload: row.id.to_string(),
        offset: status.received_bytes,
        size_bytes: row.size_bytes,
        id: row.package_id.clone(),
        version: row.version.clone(),
        present: false,
    }
}

/// The row of a version that somebody named.
pub(super) async fn version_row(tx: &mut Tx, id: &str, version: &str) -> Result<PackageVersionRow> {
    if let Some(row) = package_version_find(tx, id, version).await? {
        return Ok(row);
    }
    let rows = package_version_list(tx, id, SHOWN).await?;
    if rows.is_empty() {
        return Err(unknown(tx, id).await?);
    }
    Err(Error::not_found(
        "package version",
        &format!("{id} {version}"),
        [],
        format!("'mantle package versions {id}' shows all"),
    ))
}

/// That there is no such package.
async fn unknown(tx: &mut Tx, id: &str) -> Result<Error> {
    let all = package_list(tx, "", SHOWN).await?;
    Ok(Error::not_found(
        "package",
        id,
        all.iter().map(|row| row.package_id.as_str()),
        "'mantle package list' shows all, 'mantle package push FILE' adds one",
    ))
}

fn newest_first(mut rows: Vec<PackageVersionRow>) -> Vec<PackageVersionRow> {
    rows.sort_by_cached_key(|row| std::cmp::Reverse(Version::parse(&row.version).ok()));
    rows
}

fn format_word(format: Format) -> String {
    format.to_string()
}

pub(super) fn shape(row: &PackageVersionRow) -> PackageVersion {
    PackageVersion {
        id: row.package_id.clone(),
        version: row.version.clone(),
        format: row.format.clone(),
        size_bytes: row.archive_bytes,
        unpacked_bytes: row.size_bytes,
        files: row.files,
        archive_digest: row.archive.to_string(),
        archive_sha256: hex::encode(row.sha256),
        root_digest: row.root.to_string(),
        platform: (row.platform.as_deref() == Some(LINUX_ONLY)).then_some(PackagePlatform::Linux),
        pushed_at: at(row.created_at_us),
        pushed_by: row.created_by.clone(),
        warnings: Vec::new(),
        needed_by: Vec::new(),
    }
}

/// Why an upload does not begin. A disk that is full for it may have room left, which is the
/// server's own.
fn begin_error(error: UploadError, size_bytes: u64) -> Error {
    match error {
        UploadError::NoSpace { path } => Error::StorageFull {
            detail: format!(
                "no space is left in {} for an upload of {size_bytes} bytes: {} bytes of the disk are kept free for the server's database, and what other uploads still expect; free some, or give the server a larger disk",
                path.display(),
                UploadLimits::default().reserve_bytes
            ),
        },
        other => other.into(),
    }
}

/// Archives that people have and packages cannot be: said before their names are found to be odd.
fn check_ending(file_name: &str) -> Result<()> {
    const UNSUPPORTED: [&str; 7] = ["rar", "7z", "xz", "bz2", "lz4", "iso", "cab"];
    if Format::split_name(file_name).is_some() {
        return Ok(());
    }
    let ending = file_name.rsplit_once('.').map(|(_, ending)| ending);
    let found = ending.filter(|ending| {
        UNSUPPORTED
            .iter()
            .any(|known| known.eq_ignore_ascii_case(ending))
    });
    match found {
        None => Ok(()),
        Some(ending) => Err(Error::invalid(
            "unsupported-format",
            format!("'{file_name}' cannot be a package: .{ending} files are not supported"),
            format!("packages are {FORMATS}; pack it as one of them"),
        )),
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::Unknown { .. } => Self::NotFound {
                kind: "upload",
                name: String::new(),
                suggestion: None,
                help: detail,
            },
            UploadError::WrongOffset { .. } | UploadError::Superseded { .. } => Self::refused(
                "wrong-offset",
                detail,
                "push the file again: it goes on where it is",
            ),
            UploadError::Conflict { .. } | UploadError::Incomplete { .. } => {
                Self::refused("upload-conflict", detail, "push the file again")
            }
            UploadError::TooLarge { .. } => Self::TooLarge {
                detail,
                help: "split it into several packages".to_owned(),
            },
            UploadError::TooLong { .. } | UploadError::DigestMismatch { .. } => {
                Self::invalid("damaged-upload", detail, "push the file again")
            }
            UploadError::NoSpace { .. } => Self::StorageFull { detail },
            UploadError::TooMany { .. } | UploadError::Stopped => Self::Unavailable { detail },
            UploadError::Io { .. } => Self::internal("an upload", error),
        }
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        let detail = error.to_string();
        match error {
            IngestError::UnknownFormat { .. }
            | IngestError::WrongFormat { .. }
            | IngestError::Refused { .. }
            | IngestError::TooManyEntries { .. }
            | IngestError::Bomb { .. }
            | IngestError::Window
            | IngestError::Damaged { .. } => Self::invalid(
                "bad-package",
                detail,
                "correct the archive and push it again; nothing of it was kept",
            ),
            IngestError::TooLarge { .. } => Self::TooLarge {
                detail,
                help: "split it into several packages".to_owned(),
            },
            IngestError::Store(ObjectError::NoSpace { .. }) => Self::StorageFull { detail },
            IngestError::Store(ObjectError::Stopped) => Self::Unavailable { detail },
            IngestError::Io { .. } | IngestError::Store(_) => {
                Self::internal("taking a package apart", error)
            }
        }
    }
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
