//! A release is of the project, the secrets and the packages as they are when it is written, however
//! long it took to look through its files.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::packages::ingest::tests::tar_of;
use crate::packages::objects::{Backend, Key, Memory, ObjectError, Objects, Stored};
use crate::services::apply_read::READINGS;
use crate::services::release_scan::Scan;
use crate::services::testing::a_house_storing_in;
use crate::store::{package_version_delete, package_version_find, release_list};

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store that counts what is read, and holds a reader up.
#[derive(Debug, Default)]
struct Watched {
    inner: Memory,
    reads: Mutex<Vec<Key>>,
    gate: Mutex<Option<Gate>>,
}

/// Where a reader is held up.
#[derive(Debug)]
struct Gate {
    /// Of this alone.
    key: Option<Key>,
    coming: oneshot::Sender<()>,
    waiting: mpsc::Receiver<()>,
}

/// The next reader, who waits until this is dropped.
struct Held {
    came: oneshot::Receiver<()>,
    _go: mpsc::Sender<()>,
}

impl Watched {
    fn hold_next(&self) -> Held {
        self.hold(None)
    }

    /// Holds up the next reader of this.
    fn hold(&self, key: Option<Key>) -> Held {
        let (coming, came) = oneshot::channel();
        let (go, waiting) = mpsc::channel();
        *self.gate.lock().unwrap() = Some(Gate {
            key,
            coming,
            waiting,
        });
        Held { came, _go: go }
    }

    /// What was read since this was asked last.
    fn reads(&self) -> Vec<Key> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

impl Backend for Watched {
    fn keep(&self, key: Key) -> Result<bool, ObjectError> {
        self.inner.keep(key)
    }

    fn put_all(&self, blobs: &[(Key, Vec<u8>)], kept: &[Key]) -> Result<(), ObjectError> {
        self.inner.put_all(blobs, kept)
    }

    fn get(&self, key: Key) -> Result<Option<Bytes>, ObjectError> {
        self.reads.lock().unwrap().push(key);
        let here = |gate: &mut Gate| gate.key.is_none_or(|only| only == key);
        let gate = self.gate.lock().unwrap().take_if(here);
        if let Some(gate) = gate {
            let _ = gate.coming.send(());
            // An error is the drop of the other end.
            let _ = gate.waiting.recv_timeout(PATIENCE);
        }
        self.inner.get(key)
    }

    fn list(
        &self,
        each: &mut dyn FnMut(Stored) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        self.inner.list(each)
    }

    fn remove(&self, key: Key, touched_before: SystemTime) -> Result<bool, ObjectError> {
        self.inner.remove(key, touched_before)
    }
}

const SHOP: &str = "\
mantle: v1
project: shop
lifecycle: standard
include: [common]
packages: [{ id: Site }]
channels:
  - { name: stable, default: true }
  - { name: hotfix }
variables:
  Pin: { secret: shop/pin }
process:
  - step: Put
    targets: { tag: web }
    uses: package
    with: { package: Site, substitute: [conf/*.txt] }
  - step: Put again
    targets: { tag: web }
    uses: package
    with: { package: Site, structured: [\"**\"] }
";

const SETS: &str = "\
mantle: v1
variable_set: common
variables: { Domain: example.com }
";

const CALM: &str = "\
mantle: v1
lifecycles:
  - { name: calm, phases: [{ name: Test, environments: [test] }] }
";

/// A shop whose releases go to test by themselves, and the store of its packages.
async fn a_watched_shop(files: usize) -> (House, Arc<Watched>) {
    let watched = Arc::new(Watched::default());
    let house = a_house_storing_in(Objects::new(watched.clone())).await;
    house.apply(&automatic(), false).await.unwrap();
    pinned(&house, "one").await;
    house
        .apply(&format!("{SETS}---\n{CALM}---\n{SHOP}"), false)
        .await
        .unwrap();
    let named: Vec<(String, String)> = (0..files)
        .map(|nth| (format!("conf/{nth}.txt"), format!("{nth} #{{Pin}}")))
        .collect();
    let named: Vec<(&str, &[u8])> = named
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_bytes()))
        .collect();
    for version in ["1.0", "1.1"] {
        house
            .push_tar("Site", version, tar_of(&named), None)
            .await
            .unwrap();
    }
    watched.reads();
    (house, watched)
}

async fn pinned(house: &House, value: &str) {
    let value = SecretSet {
        value: value.to_owned(),
    };
    let set = house.services.secret_set(&house.admin, "shop/pin", value);
    set.await.unwrap();
}

/// Creates a release; while its files are looked through, somebody does something else.
async fn made_while(
    house: &House,
    watched: &Watched,
    channel: &str,
    meanwhile: impl AsyncFnOnce(&House),
) -> super::super::Result<ReleaseDetail> {
    let request = ReleaseCreate {
        channel: Some(channel.to_owned()),
        ..ReleaseCreate::default()
    };
    let mut held = watched.hold_next();
    let making = house
        .services
        .release_create(&house.admin, "shop", &request);
    let other = async {
        tokio::time::timeout(PATIENCE, &mut held.came)
            .await
            .unwrap()
            .unwrap();
        meanwhile(house).await;
        drop(held);
    };
    tokio::join!(making, other).0
}

async fn count(house: &House) -> usize {
    let releases = house.services.release_list(&house.admin, "shop").await;
    releases.unwrap().len()
}

#[tokio::test]
async fn a_channel_and_a_lifecycle_that_went_meanwhile_get_no_release() {
    let (house, watched) = a_watched_shop(2).await;
    let left = SHOP
        .replace("  - { name: hotfix }\n", "")
        .replace("lifecycle: standard", "lifecycle: calm");
    let apply = async |house: &House| drop(house.apply(&left, false).await.unwrap());
    let refused = made_while(&house, &watched, "hotfix", apply)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "missing");
    assert!(refused.to_string().contains("'hotfix'"), "{refused}");
    assert_eq!(count(&house).await, 0);
    assert!(
        actions(&house)
            .await
            .iter()
            .all(|(_, action, _)| action != "deployment.create")
    );

    house.apply(SHOP, false).await.unwrap();
    let made = made_while(&house, &watched, "stable", apply).await.unwrap();
    assert!(
        made.queued.is_empty(),
        "the lifecycle that it left deploys nothing"
    );
    house.apply(SHOP, false).await.unwrap();
    let made = made_while(&house, &watched, "stable", async |_| {})
        .await
        .unwrap();
    assert_eq!(made.queued.len(), 1, "the one that it has does");
}

#[tokio::test]
async fn what_a_release_pins_is_what_there_is_when_it_is_written() {
    let (house, watched) = a_watched_shop(2).await;
    let (services, admin) = (&house.services, &house.admin);
    let sets = SETS.replace("example.com", "example.org");
    let domain = async |house: &House| drop(house.apply(&sets, false).await.unwrap());
    let secret = async |house: &House| pinned(house, "two").await;
    let package = async |house: &House| {
        let mut tx = house.services.store.begin().await.unwrap();
        let row = package_version_find(&mut tx, "Site", "1.1")
            .await
            .unwrap()
            .unwrap();
        package_version_delete(&mut tx, row.id).await.unwrap();
        tx.commit().await.unwrap();
    };
    let made = [
        made_while(&house, &watched, "stable", domain)
            .await
            .unwrap(),
        made_while(&house, &watched, "stable", secret)
            .await
            .unwrap(),
        made_while(&house, &watched, "stable", package)
            .await
            .unwrap(),
    ];
    assert_eq!(made[2].packages[0].version, "1.0");
    let last = &made[2].release.version;
    let drift = services.release_drift(admin, "shop", last).await.unwrap();
    assert!(!drift.drifted, "{drift:?}");
    for (earlier, later) in [(0, 1), (1, 2)] {
        let (from, to) = (&made[earlier].release.version, &made[later].release.version);
        let diff = services
            .release_diff(admin, "shop", from, to)
            .await
            .unwrap();
        // The set was new before the first one; the secret is before the second one.
        assert_eq!(diff.variables.len(), usize::from(earlier == 0), "{diff:?}");
    }
}

#[tokio::test]
async fn a_project_that_went_meanwhile_is_said_to_have_gone() {
    let (house, watched) = a_watched_shop(2).await;
    let prune = async |house: &House| {
        let request = crate::api::body::ApplyRequest {
            files: vec![crate::api::body::ApplyFile {
                name: "a.yaml".to_owned(),
                text: automatic(),
            }],
            prune: true,
            ..crate::api::body::ApplyRequest::default()
        };
        let done = house.services.apply(&house.admin, &request).await.unwrap();
        assert!(done.changes.iter().any(|change| change.name == "shop"));
    };
    let refused = made_while(&house, &watched, "stable", prune)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "missing");
    let said = refused.to_string();
    assert!(
        said.contains("'shop' was removed while its release was made"),
        "{said}"
    );
}

#[tokio::test]
async fn what_never_stands_still_is_given_up() {
    let (house, watched) = a_watched_shop(2).await;
    let dry = ReleaseCreate {
        dry_run: true,
        ..ReleaseCreate::default()
    };
    let (services, admin) = (&house.services, &house.admin);
    services.release_create(admin, "shop", &dry).await.unwrap();
    // The root of the package, which every look at it begins with.
    let root = watched.reads()[0];
    let request = ReleaseCreate::default();
    let mut held = watched.hold(Some(root));
    let making = services.release_create(admin, "shop", &request);
    let others = async {
        for nth in 0..READINGS {
            tokio::time::timeout(PATIENCE, &mut held.came)
                .await
                .unwrap()
                .unwrap();
            // Other files: they are looked through again.
            let other = SHOP.replace("conf/*.txt", &format!("conf/{nth}.txt"));
            house.apply(&other, false).await.unwrap();
            held = watched.hold(Some(root));
        }
        drop(held);
    };
    let refused = tokio::join!(making, others).0.unwrap_err();
    assert_eq!(code(&refused), "changed-meanwhile");
    assert_eq!(count(&house).await, 0);
}

#[tokio::test]
async fn every_file_and_every_folder_is_read_once() {
    for files in [20, 200] {
        let (house, watched) = a_watched_shop(files).await;
        released(&house, "1.0").await;
        // The root, the folder, and two steps ask for the files.
        assert_eq!(watched.reads().len(), files + 2);
    }
}

#[tokio::test]
async fn what_changes_beside_the_files_does_not_have_them_read_again() {
    let (house, watched) = a_watched_shop(3).await;
    let other = SHOP.replace("variables:", "description: other\nvariables:");
    let apply = async |house: &House| drop(house.apply(&other, false).await.unwrap());
    made_while(&house, &watched, "stable", apply).await.unwrap();
    assert_eq!(watched.reads().len(), 5);
}

#[tokio::test]
async fn to_look_through_files_has_a_deadline_that_says_what_to_do() {
    let (house, watched) = a_watched_shop(3).await;
    let request = ReleaseCreate::default();
    let reading = house.services.release_read("shop", &request).await.unwrap();
    let held = watched.hold_next();
    let mut scan = Scan::until(Instant::now() + Duration::from_millis(20));
    let refused = house.services.release_make(reading, &mut scan).await;
    let Err(Error::Refused {
        code, detail, help, ..
    }) = refused.map(drop)
    else {
        panic!("it was not refused")
    };
    assert_eq!(code, "too-much-to-scan");
    for part in [
        "package 'Site' 1.1",
        "'Put', 'Put again'",
        "takes more than",
    ] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert!(help.contains("name fewer files"), "{help}");
    drop(held);
    let mut tx = house.services.store.read().await.unwrap();
    let project = names::project(&mut tx, "shop").await.unwrap();
    assert!(
        release_list(&mut tx, project.id, None, 9)
            .await
            .unwrap()
            .is_empty()
    );
}
