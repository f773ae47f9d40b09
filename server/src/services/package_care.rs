//! Looking after packages that are there: their bytes read again and put back, the archive given out as it
//! was pushed, and versions deleted that nothing needs.

use std::collections::{BTreeMap, BTreeSet};

use mantle_domain::ids::ReleaseId;
use mantle_domain::permission::Permission;
use mantle_domain::snapshot::PackageSnapshot;
use mantle_shared::Digest;
use serde_json::json;

use super::error::{Error, Result};
use super::packages::{LINUX_ONLY, shape, version_row};
use super::planning::snapshot;
use super::tasks::number;
use super::{Caller, Deed, Services};
use crate::api::body::{PackageProblem, PackageVerified, PackageVerify, PackageVersion};
use crate::packages::ingest::{Format, IngestOptions, Platform};
use crate::packages::read::Archive;
use crate::packages::verify::VerifyReport;
use crate::store::{
    Extent, PackageVersionRow, Tx, package_version_delete, project_fetch, project_list,
    release_fetch, release_pin_list, task_open_list,
};

/// So many releases and tasks are named one by one.
const NAMED_MAX: usize = 20;

/// Use cases of packages that are there.
impl Services {
    /// Reads every byte of a version again; puts back what is lost if that is asked for and can be done.
    pub async fn package_verify(
        &self,
        caller: &Caller,
        id: &str,
        version: &str,
        request: PackageVerify,
    ) -> Result<PackageVerified> {
        caller.may(if request.repair {
            Permission::PackagePush
        } else {
            Permission::Read
        })?;
        let row = {
            let mut tx = self.store.read().await?;
            version_row(&mut tx, id, version).await?
        };
        let found = self.packages.verify(&row.root, &row.archive).await?;
        if found.is_intact() || !request.repair {
            return Ok(verified(&row, found, 0));
        }
        self.take_in_again(&row).await;
        let left = self.packages.verify(&row.root, &row.archive).await?;
        // What is below a lost list was not counted before, so there can be more left than were found.
        let repaired = found.problem_count.saturating_sub(left.problem_count);
        if repaired > 0 {
            let subject = format!("{} {}", row.package_id, row.version);
            let deed = Deed {
                action: "package.repair",
                subject: &subject,
                id: Some(row.id.as_uuid()),
                detail: json!({ "objects": repaired, "left": left.problem_count }),
            };
            let mut tx = self.store.begin().await?;
            caller.audit(&mut tx, self.now(), deed).await?;
            tx.commit().await?;
        }
        Ok(verified(&row, left, repaired))
    }

    /// Unpacks the archive that the repository has once more. Where that is damaged too, what comes of it
    /// is all that can be done here; what is left is found by whoever asked.
    async fn take_in_again(&self, row: &PackageVersionRow) {
        let Ok(format) = row.format.parse::<Format>() else {
            return;
        };
        let options = IngestOptions {
            platform: if row.platform.as_deref() == Some(LINUX_ONLY) {
                Platform::Linux
            } else {
                Platform::Any
            },
            ..IngestOptions::default()
        };
        let again = self
            .packages
            .ingest_again(&row.archive, format, options)
            .await;
        if let Err(error) = again {
            tracing::warn!(
                package.id = %row.package_id,
                package.version = %row.version,
                error = %error,
                "a package cannot be repaired from its own archive; it has to be pushed again"
            );
        }
    }

    /// A version's archive as it was pushed, and what the file is called.
    pub async fn package_open(
        &self,
        caller: &Caller,
        id: &str,
        version: &str,
    ) -> Result<(String, Archive)> {
        caller.may(Permission::Read)?;
        let row = {
            let mut tx = self.store.read().await?;
            version_row(&mut tx, id, version).await?
        };
        let archive = self.packages.archive(&row.archive).await?;
        let name = format!("{}.{}.{}", row.package_id, row.version, row.format);
        Ok((name, archive))
    }

    /// Deletes a version that no release and no running task needs. Its bytes go when nothing else has
    /// them and they are collected.
    pub async fn package_delete(
        &self,
        caller: &Caller,
        id: &str,
        version: &str,
    ) -> Result<PackageVersion> {
        caller.may(Permission::PackageDelete)?;
        let now = self.now();
        // Releases are made in such a transaction too, so none comes to need it in between.
        let mut tx = self.store.begin().await?;
        let row = version_row(&mut tx, id, version).await?;
        let needed_by = needed_by(&mut tx, &row).await?;
        if !needed_by.is_empty() {
            return Err(Error::Refused {
                code: "package-in-use",
                detail: format!("the package {id} {version} is needed and stays"),
                reasons: needed_by,
                help: "releases go by the rules of their lifecycles, 'mantle retention run --dry-run' says which; a running task can be cancelled"
                    .to_owned(),
            });
        }
        package_version_delete(&mut tx, row.id).await?;
        let subject = format!("{id} {version}");
        let deed = Deed {
            action: "package.delete",
            subject: &subject,
            id: Some(row.id.as_uuid()),
            detail: json!({ "archive": row.archive, "root": row.root }),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        Ok(shape(&row))
    }
}

fn verified(row: &PackageVersionRow, report: VerifyReport, repaired: u64) -> PackageVerified {
    PackageVerified {
        id: row.package_id.clone(),
        version: row.version.clone(),
        format: row.format.clone(),
        archive_sha256: hex::encode(row.sha256),
        objects: report.objects,
        bytes: report.bytes,
        repaired,
        problem_count: report.problem_count,
        problems: report
            .problems
            .into_iter()
            .map(|problem| PackageProblem {
                path: problem.path,
                digest: problem.digest.to_string(),
                what: problem.what,
            })
            .collect(),
    }
}

/// The releases that pin this version and the tasks that deploy one of those, in words.
pub(super) async fn needed_by(tx: &mut Tx, row: &PackageVersionRow) -> Result<Vec<String>> {
    let mut holds: BTreeMap<Digest, bool> = BTreeMap::new();
    let mut releases: BTreeSet<ReleaseId> = BTreeSet::new();
    for (release, packages) in release_pin_list(tx).await? {
        let held = if let Some(held) = holds.get(&packages) {
            *held
        } else {
            let pinned: PackageSnapshot = snapshot(tx, packages).await?;
            let held = pinned.packages.iter().any(|package| {
                package.id.eq_ignore_ascii_case(&row.package_id) && package.version == row.version
            });
            holds.insert(packages, held);
            held
        };
        if held {
            releases.insert(release);
        }
    }
    if releases.is_empty() {
        return Ok(Vec::new());
    }
    let mut names: BTreeMap<ReleaseId, String> = BTreeMap::new();
    for release in &releases {
        let release = release_fetch(tx, *release).await?;
        let project = project_fetch(tx, release.project_id).await?;
        names.insert(release.id, format!("{} {}", project.slug, release.version));
    }
    let mut said = Vec::new();
    for project in project_list(tx, "", Extent::All).await? {
        for (task, release) in task_open_list(tx, project.id).await? {
            if let Some(name) = names.get(&release) {
                said.push(format!("task {} deploys release {name}", number(task)));
            }
        }
    }
    said.extend(
        names
            .values()
            .map(|name| format!("release {name} holds it")),
    );
    let more = said.len().saturating_sub(NAMED_MAX);
    said.truncate(NAMED_MAX);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::{Duration, SystemTime};

    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::api::body::ReleaseCreate;
    use crate::packages::ingest::tests::{noise, tar_of};
    use crate::packages::objects::Key;
    use crate::services::testing::{House, INFRASTRUCTURE, PROJECT, a_house, a_reader};

    fn lose(house: &House, digest: Digest) {
        let later = SystemTime::now() + Duration::from_hours(48);
        let objects = house.services.packages.objects();
        assert!(
            objects
                .remove(Key::Object(digest), later, Duration::ZERO)
                .unwrap()
        );
    }

    const TELL: PackageVerify = PackageVerify { repair: false };
    const REPAIR: PackageVerify = PackageVerify { repair: true };

    #[tokio::test]
    async fn what_is_lost_of_the_content_is_put_back_from_the_archive_and_no_more() {
        let house = a_house().await;
        let (services, admin) = (&house.services, &house.admin);
        let big = noise(1, 700_000);
        let bytes = tar_of(&[("index.html", b"hello".as_slice()), ("d/big", &big)]);
        house
            .push_tar("Shop", "1.0.0", bytes.clone(), None)
            .await
            .unwrap();
        let verify = async |request| {
            services
                .package_verify(admin, "Shop", "1.0.0", request)
                .await
                .unwrap()
        };
        let whole = verify(TELL).await;
        assert_eq!((whole.problem_count, whole.repaired), (0, 0));
        // The archive of one large file shares chunks with that file, and they are read once.
        assert!(whole.bytes > 700_000, "content and archive: {whole:?}");

        lose(&house, Digest::of(b"hello"));
        let told = verify(TELL).await;
        assert_eq!((told.problem_count, told.repaired), (1, 0));
        assert_eq!(told.problems[0].path, "index.html");
        let repaired = verify(REPAIR).await;
        assert_eq!((repaired.problem_count, repaired.repaired), (0, 1));
        assert_eq!(verify(TELL).await.problem_count, 0);

        // The list of a folder, and with it all that is below.
        let mut tx = services.store.read().await.unwrap();
        let row = version_row(&mut tx, "Shop", "1.0.0").await.unwrap();
        drop(tx);
        lose(&house, row.root);
        assert_eq!(verify(REPAIR).await.problem_count, 0);

        // What the archive itself has lost only whoever has it can give back.
        let node = services.packages.archive_root(&row.archive).await.unwrap();
        let reach = services.packages.reach(&node).await.unwrap();
        assert!(reach.len() > 3);
        let tree = services.packages.objects().tree(&node).unwrap();
        let mantle_shared::manifest::EntryKind::File { chunks, .. } = &tree.entries()[0].kind
        else {
            panic!("{tree:?}")
        };
        lose(&house, chunks[0].digest);
        let left = verify(REPAIR).await;
        assert!(left.problem_count > 0, "{left:?}");
        assert!(
            left.problems
                .iter()
                .any(|problem| problem.path == "archive")
        );
        house.push_tar("Shop", "1.0.0", bytes, None).await.unwrap();
        assert_eq!(verify(TELL).await.problem_count, 0);

        let refused = services
            .package_verify(&a_reader(), "Shop", "1.0.0", REPAIR)
            .await;
        assert!(matches!(refused, Err(Error::Forbidden { .. })));
        assert!(
            services
                .package_verify(&a_reader(), "Shop", "1.0.0", TELL)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn the_archive_comes_back_byte_for_byte_from_any_place() {
        let house = a_house().await;
        let bytes = tar_of(&[("a", &noise(2, 900_000)), ("b", b"x".as_slice())]);
        house
            .push_tar("Shop", "1.0.0", bytes.clone(), None)
            .await
            .unwrap();
        let open = || house.services.package_open(&house.admin, "Shop", "1.0.0");
        let (name, archive) = open().await.unwrap();
        assert_eq!(
            (name.as_str(), archive.size_bytes()),
            ("Shop.1.0.0.tar", bytes.len() as u64)
        );
        for offset in [0, 1, 511, 300_000, bytes.len() - 1, bytes.len()] {
            let (_, archive) = open().await.unwrap();
            let pieces: Vec<_> = archive.stream(offset as u64).try_collect().await.unwrap();
            assert!(pieces.concat() == bytes[offset..], "from {offset}");
        }
    }

    #[tokio::test]
    async fn a_version_that_a_release_or_a_task_needs_is_not_deleted() {
        let house = a_house().await;
        let (services, admin) = (&house.services, &house.admin);
        house.apply(INFRASTRUCTURE, false).await.unwrap();
        let project = PROJECT.replace(
            "lifecycle: standard",
            "lifecycle: standard\npackages: [{ id: Shop }]",
        );
        house.apply(&project, false).await.unwrap();
        house.push("Shop", "1.0.0", "pinned").await;
        house.push("Shop", "1.1.0", "free").await;
        let release = ReleaseCreate {
            version: Some("1.0".to_owned()),
            packages: [("Shop".to_owned(), "1.0.0".to_owned())].into(),
            ..ReleaseCreate::default()
        };
        services
            .release_create(admin, "shop", &release)
            .await
            .unwrap();
        let delete = async |version| services.package_delete(admin, "Shop", version).await;
        let Err(Error::Refused { code, reasons, .. }) = delete("1.0.0").await else {
            panic!("it is gone")
        };
        assert_eq!(
            (code, reasons.as_slice()),
            (
                "package-in-use",
                &["release shop 1.0 holds it".to_owned()][..]
            )
        );
        let shown = services.package_show(admin, "Shop", "1.0.0").await.unwrap();
        assert_eq!(shown.needed_by, reasons);

        assert_eq!(delete("1.1.0").await.unwrap().version, "1.1.0");
        let gone = services.package_show(admin, "Shop", "1.1.0").await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
        assert!(matches!(delete("1.1.0").await, Err(Error::NotFound { .. })));
        let refused = services.package_delete(&a_reader(), "Shop", "1.0.0").await;
        assert!(matches!(refused, Err(Error::Forbidden { .. })));
        // The version may be pushed anew, with other bytes: nothing pinned the old ones.
        house.push("Shop", "1.1.0", "other").await;
        let trail = services.audit_list(admin, None, 100).await.unwrap();
        let deeds: Vec<&str> = trail
            .items
            .iter()
            .map(|entry| entry.action.as_str())
            .collect();
        assert!(deeds.contains(&"package.delete"), "{deeds:?}");
    }
}
