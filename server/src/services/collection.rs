//! Collecting what no package and no release names: what a cut push left in the repository.

use std::time::{Duration, SystemTime};

use mantle_domain::permission::Permission;
use mantle_domain::snapshot::PackageSnapshot;
use mantle_shared::Digest;
use serde_json::json;

use super::error::{Error, Result};
use super::planning::snapshot;
use super::{Caller, Deed, Services};
use crate::api::body::{PackageCollect, PackageCollected};
use crate::packages::gc::{GcOptions, GcReport, Live};
use crate::packages::objects::ObjectError;
use crate::store::{
    Tx, artifact_list_digests, package_version_list_digests, release_list_packages,
};

/// How long after a start the repository is first collected: agents and pushes come back first.
pub const COLLECT_FIRST: Duration = Duration::from_mins(10);
/// How often it is collected then. What is dead waits for a day before it goes anyway.
pub const COLLECT_EVERY: Duration = Duration::from_hours(24);

/// Use cases of the repository.
impl Services {
    /// Collects now, or says what collecting would remove.
    pub async fn package_collect(
        &self,
        caller: &Caller,
        request: PackageCollect,
        now: SystemTime,
    ) -> Result<PackageCollected> {
        caller.may(Permission::CollectPackages)?;
        let live = {
            let mut tx = self.store.read().await?;
            live(&mut tx).await?
        };
        let options = GcOptions {
            dry_run: request.dry_run,
            ..GcOptions::default()
        };
        let report = self.packages.collect(live, options, now).await?;
        if report.removed_objects > 0 && !request.dry_run {
            let mut tx = self.store.begin().await?;
            let (objects, bytes) = (report.removed_objects, report.removed_bytes);
            let deed = Deed {
                action: "package.collect",
                subject: "the package repository",
                id: None,
                detail: json!({"objects": objects, "bytes": bytes}),
            };
            caller.audit(&mut tx, self.now(), deed).await?;
            tx.commit().await?;
        }
        Ok(shape(&report, request.dry_run))
    }
}

/// Everything that a row names. A push that ends after this was read is young, and so is safe.
async fn live(tx: &mut Tx) -> Result<Live> {
    let mut live = Live::default();
    for (root, archive) in package_version_list_digests(tx).await? {
        live.roots.push(root);
        live.archives.push(archive);
    }
    for pinned in release_list_packages(tx).await? {
        let pinned: PackageSnapshot = snapshot(tx, pinned).await?;
        for package in pinned.packages {
            live.roots.push(package.root);
            live.archives.push(package.archive);
        }
    }
    live.artifacts = artifact_list_digests(tx).await?;
    for digests in [&mut live.roots, &mut live.archives] {
        digests.sort();
        digests.dedup();
    }
    Ok(live)
}

fn shape(report: &GcReport, dry_run: bool) -> PackageCollected {
    PackageCollected {
        dry_run,
        removed_objects: report.removed_objects,
        removed_bytes: report.removed_bytes,
        live_objects: report.live_objects,
        live_bytes: report.live_bytes,
        young_objects: report.young_objects,
        broken: report.broken.iter().map(Digest::to_string).collect(),
    }
}

impl From<ObjectError> for Error {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::NoSpace { .. } => Self::StorageFull {
                detail: error.to_string(),
            },
            ObjectError::Stopped => Self::Unavailable {
                detail: "the server stops".to_owned(),
            },
            error => Self::internal("the package repository", error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::api::body::ReleaseCreate;
    use crate::packages::ingest::IngestOptions;
    use crate::services::testing::{House, INFRASTRUCTURE, PROJECT, a_house, a_reader};
    use crate::store::{package_version_delete, package_version_find};

    const DAY: Duration = Duration::from_hours(24);
    const NOW: PackageCollect = PackageCollect { dry_run: false };
    const DRY: PackageCollect = PackageCollect { dry_run: true };

    /// What a push leaves that was cut off between its objects and its row.
    async fn cut_push(house: &House, content: &str) {
        let file = house.archive("cut.tar", content);
        let options = IngestOptions::default();
        let packages = &house.services.packages;
        drop(packages.ingest(&file, None, options).await.unwrap());
    }

    #[tokio::test]
    async fn what_a_cut_push_left_goes_after_a_day_and_what_is_named_stays() {
        let house = a_house().await;
        let (services, admin) = (&house.services, &house.admin);
        house.push("Shop", "1.0.0", "kept").await;
        cut_push(&house, "never named").await;
        let collect =
            async |request, at| services.package_collect(admin, request, at).await.unwrap();

        let young = collect(NOW, SystemTime::now()).await;
        assert_eq!((young.removed_objects, young.young_objects > 0), (0, true));
        let later = SystemTime::now() + 2 * DAY;
        let would = collect(DRY, later).await;
        assert!(would.dry_run && would.removed_objects > 0);
        let did = collect(NOW, later).await;
        assert_eq!(did.removed_objects, would.removed_objects);
        assert_eq!(
            (did.live_objects, did.broken.len()),
            (would.live_objects, 0)
        );
        assert_eq!(collect(NOW, later).await.removed_objects, 0, "only once");

        let mut tx = services.store.read().await.unwrap();
        let row = package_version_find(&mut tx, "Shop", "1.0.0")
            .await
            .unwrap()
            .unwrap();
        let whole = services
            .packages
            .verify(&row.root, &row.archive)
            .await
            .unwrap();
        assert!(whole.is_intact(), "{whole:?}");
    }

    #[tokio::test]
    async fn what_a_release_pins_stays_when_its_package_is_gone() {
        let house = a_house().await;
        let (services, admin) = (&house.services, &house.admin);
        house.apply(INFRASTRUCTURE, false).await.unwrap();
        let project = PROJECT.replace(
            "lifecycle: standard",
            "lifecycle: standard\npackages: [{ id: Shop }]",
        );
        house.apply(&project, false).await.unwrap();
        let row = house.push("Shop", "1.0.0", "pinned").await;
        let release = ReleaseCreate {
            version: Some("1.0".to_owned()),
            ..ReleaseCreate::default()
        };
        services
            .release_create(admin, "shop", &release)
            .await
            .unwrap();
        services
            .store
            .write(async |tx| package_version_delete(tx, row.id).await)
            .await
            .unwrap();
        let later = SystemTime::now() + 2 * DAY;
        let did = services.package_collect(admin, NOW, later).await.unwrap();
        assert_eq!(did.removed_objects, 0, "{did:?}");
        let whole = services
            .packages
            .verify(&row.root, &row.archive)
            .await
            .unwrap();
        assert!(whole.is_intact(), "{whole:?}");
    }

    #[tokio::test]
    async fn who_may_only_look_may_not_collect() {
        let house = a_house().await;
        let refused = house
            .services
            .package_collect(&a_reader(), NOW, SystemTime::now())
            .await;
        assert!(
            matches!(refused, Err(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
}
