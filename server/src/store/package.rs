//! Versions of packages in the repository. Their bytes are in the object store.

use mantle_domain::ids::PackageVersionId;
use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::extent::Extent;
use super::tx::Tx;
use super::value::{Row, params};

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersionRow {
    /// Its row's id.
    pub id: PackageVersionId,
    /// The package's id, such as `OctoFX.Web`.
    pub package_id: String,
    /// The version.
    pub version: String,
    /// `zip`, `nupkg`, `tar.gz`, `tar.zst`, ...
    pub format: String,
    /// The archive's size.
    pub archive_bytes: u64,
    /// The archive's digest.
    pub archive: Digest,
    /// The archive's SHA-256, which others publish.
    pub sha256: [u8; 32],
    /// The digest of its manifest's root.
    pub root: Digest,
    /// The size of its files, taken apart.
    pub size_bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// The platform that it says it is for.
    pub platform: Option<String>,
    /// When it was pushed.
    pub created_at_us: i64,
    /// Who pushed it.
    pub created_by: String,
}

/// Adds a version. A conflict if the package has it already; the caller compares the bytes.
pub async fn package_version_insert(tx: &mut Tx, package: &PackageVersionRow) -> Result<()> {
    tx.exec(
        "INSERT INTO package_version (id, package_id, version, format, archive_bytes, archive,
             sha256, root, size_bytes, files, platform, created_at_us, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        params![
            package.id,
            package.package_id,
            package.version,
            package.format,
            package.archive_bytes,
            package.archive,
            package.sha256,
            package.root,
            package.size_bytes,
            package.files,
            package.platform,
            package.created_at_us,
            package.created_by,
        ],
    )
    .await
    .map_err(|error| error.naming("package version"))?;
    Ok(())
}

/// The version of a package.
pub async fn package_version_find(
    tx: &mut Tx,
    package_id: &str,
    version: &str,
) -> Result<Option<PackageVersionRow>> {
    tx.row(
        "SELECT * FROM package_version WHERE package_id = $1 AND version = $2",
        params![package_id, version],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// All versions of a package, the newest push first. Ordering by version is the caller's.
pub async fn package_version_list(
    tx: &mut Tx,
    package_id: &str,
    extent: Extent,
) -> Result<Vec<PackageVersionRow>> {
    tx.rows(
        "SELECT * FROM package_version WHERE package_id = $1
         ORDER BY created_at_us DESC, version LIMIT $2",
        params![package_id, extent],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// A package and how many versions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSummary {
    /// The package's id.
    pub package_id: String,
    /// How many versions there are.
    pub versions: u64,
    /// When the last one was pushed.
    pub pushed_at_us: i64,
}

/// Packages by id, after this one.
pub async fn package_list(tx: &mut Tx, after: &str, extent: Extent) -> Result<Vec<PackageSummary>> {
    tx.rows(
        "SELECT package_id, COUNT(*) AS versions, MAX(created_at_us) AS pushed_at_us
         FROM package_version WHERE package_id > $1
         GROUP BY package_id ORDER BY package_id LIMIT $2",
        params![after, extent],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(PackageSummary {
            package_id: row.get("package_id")?,
            versions: row.get("versions")?,
            pushed_at_us: row.get("pushed_at_us")?,
        })
    })
    .collect()
}

/// Every version there is: package, version, root.
pub async fn package_version_list_all(tx: &mut Tx) -> Result<Vec<(String, String, Digest)>> {
    tx.rows(
        "SELECT package_id, version, root FROM package_version ORDER BY package_id, version",
        params![],
    )
    .await?
    .iter()
    .map(|row| {
        Ok((
            row.get("package_id")?,
            row.get("version")?,
            row.get("root")?,
        ))
    })
    .collect()
}

/// The root and the archive of every version: what the object store must keep.
pub async fn package_version_list_digests(tx: &mut Tx) -> Result<Vec<(Digest, Digest)>> {
    tx.rows(
        "SELECT DISTINCT root, archive FROM package_version ORDER BY root, archive",
        params![],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("root")?, row.get("archive")?)))
    .collect()
}

/// Removes a version. The caller made sure that no release pins it.
pub async fn package_version_delete(tx: &mut Tx, id: PackageVersionId) -> Result<()> {
    tx.exec_one(
        "DELETE FROM package_version WHERE id = $1",
        params![id],
        StoreError::not_found("package version"),
    )
    .await
}

fn read(row: &Row) -> Result<PackageVersionRow> {
    Ok(PackageVersionRow {
        id: row.get("id")?,
        package_id: row.get("package_id")?,
        version: row.get("version")?,
        format: row.get("format")?,
        archive_bytes: row.get("archive_bytes")?,
        archive: row.get("archive")?,
        sha256: row.get("sha256")?,
        root: row.get("root")?,
        size_bytes: row.get("size_bytes")?,
        files: row.get("files")?,
        platform: row.find("platform")?,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
    })
}
