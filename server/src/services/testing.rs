//! Use cases over a database of their own, for tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use mantle_domain::permission::{ADMINISTRATORS, Actor};
use mantle_domain::upkeep::UpkeepRules;
use mantle_shared::Digest;
use mantle_shared::tls::Fingerprint;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Caller, Feed, NoWake, Parts, Presence, ServerFacts, Services};
use crate::api::body::{
    ApiKeyCreate, ApplyFile, ApplyRequest, ApplyResult, PackagePlatform, PackageVersion,
    UploadCreate,
};
use crate::gateway::{SOCKET_BUFFER_BYTES, SocketBuffers};
use crate::installers::{Installers, Programs, Reached};
use crate::packages::PackageRepository;
use crate::packages::ingest::tests::tar_of;
use crate::packages::objects::Objects;
use crate::packages::upload::{UploadLimits, Uploads};
use crate::security::MasterKey;
use crate::store::{PackageVersionRow, Store, StoreConfig, package_version_find};

/// Use cases, and the folder that they live in.
pub(crate) struct House {
    pub(crate) services: Services,
    pub(crate) admin: Caller,
    folder: TempDir,
}

/// A server without network: database, keys and packages in a temporary folder.
pub(crate) async fn a_house() -> House {
    a_house_that_keeps(UpkeepRules::default()).await
}

/// The same, with rules for how much of the past is kept.
pub(crate) async fn a_house_that_keeps(upkeep: UpkeepRules) -> House {
    furnished(upkeep, Arc::new(NoWake)).await
}

/// The same, where it is known who is connected.
pub(crate) async fn a_house_with(presence: Arc<dyn Presence>) -> House {
    furnished(UpkeepRules::default(), presence).await
}

async fn furnished(upkeep: UpkeepRules, presence: Arc<dyn Presence>) -> House {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::Sqlite {
        folder: folder.path().to_owned(),
    };
    let store = Store::open(config).await.unwrap();
    house(store, folder, upkeep, presence)
}

/// The same, over a database that is there.
pub(crate) fn a_house_over(store: Store, folder: TempDir, upkeep: UpkeepRules) -> House {
    house(store, folder, upkeep, Arc::new(NoWake))
}

/// The same, with packages in this store.
pub(crate) async fn a_house_storing_in(objects: Objects) -> House {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::Sqlite {
        folder: folder.path().to_owned(),
    };
    let store = Store::open(config).await.unwrap();
    let uploads = folder.path().join("uploads");
    let uploads = Uploads::open(&uploads, UploadLimits::default()).unwrap();
    let packages = PackageRepository::new(objects, uploads);
    let upkeep = UpkeepRules::default();
    house_with(store, folder, upkeep, Arc::new(NoWake), packages)
}

fn house(store: Store, folder: TempDir, upkeep: UpkeepRules, presence: Arc<dyn Presence>) -> House {
    let packages = PackageRepository::open(folder.path()).unwrap();
    house_with(store, folder, upkeep, presence, packages)
}

fn house_with(
    store: Store,
    folder: TempDir,
    upkeep: UpkeepRules,
    presence: Arc<dyn Presence>,
    packages: PackageRepository,
) -> House {
    let services = Services::new(Parts {
        store,
        master_key: Arc::new(MasterKey::generate()),
        packages,
        wake: Arc::new(NoWake),
        presence,
        feed: Feed::new(),
        stopping: CancellationToken::new(),
        server: ServerFacts {
            advertise: "mantle.example:7443".to_owned(),
            authority: Fingerprint::from_bytes([7; 32]),
            started_at: Timestamp::UNIX_EPOCH,
            buffers: SocketBuffers {
                receive_bytes: 212_992,
                send_bytes: SOCKET_BUFFER_BYTES,
            },
        },
        upkeep,
        installers: Installers::new(
            Reached {
                url: "https://mantle.example:7443".to_owned(),
                server: "mantle.example:7443".to_owned(),
                pin: "cGlu".to_owned(),
                key_digest: "AB".to_owned(),
            },
            Programs::in_folders(vec![folder.path().join("agents")]),
        ),
    });
    House {
        services,
        admin: Caller::server(),
        folder,
    }
}

/// Somebody who may only look.
pub(crate) fn a_reader() -> Caller {
    Caller {
        actor: Actor {
            key: None,
            name: "dashboard".to_owned(),
            team: "readers".to_owned(),
        },
        request: None,
    }
}

impl House {
    /// Puts a program where the server looks for agents.
    pub(crate) fn put_agent(&self, name: &str, content: &str) {
        let folder = self.folder.path().join("agents");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), content).unwrap();
    }

    /// A tar archive with one file of this content.
    pub(crate) fn archive(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, tar_of(&[("index.html", content.as_bytes())])).unwrap();
        path
    }

    /// Pushes a package with one file, and gives its row.
    pub(crate) async fn push(&self, id: &str, version: &str, content: &str) -> PackageVersionRow {
        let bytes = std::fs::read(self.archive("pushed.tar", content)).unwrap();
        self.push_tar(id, version, bytes, None).await.unwrap();
        let mut tx = self.services.store.read().await.unwrap();
        package_version_find(&mut tx, id, version)
            .await
            .unwrap()
            .unwrap()
    }

    /// Pushes a tar archive.
    pub(crate) async fn push_tar(
        &self,
        id: &str,
        version: &str,
        bytes: Vec<u8>,
        platform: Option<PackagePlatform>,
    ) -> super::Result<PackageVersion> {
        let request = UploadCreate {
            file_name: format!("{id}.{version}.tar"),
            size_bytes: bytes.len() as u64,
            digest: Digest::of(&bytes).to_string(),
            id: None,
            version: None,
        };
        let (services, admin) = (&self.services, &self.admin);
        let upload = services
            .upload_create(admin, &request)
            .await
            .unwrap()
            .upload;
        let mut piece = services.upload_append(admin, &upload, 0).await.unwrap();
        piece.write(bytes.into()).await.unwrap();
        services.upload_appended(piece).await.unwrap();
        services.upload_finish(admin, &upload, platform).await
    }

    /// Applies one file.
    pub(crate) async fn apply(&self, text: &str, dry_run: bool) -> super::Result<ApplyResult> {
        let request = ApplyRequest {
            files: vec![ApplyFile {
                name: "a.yaml".to_owned(),
                text: text.to_owned(),
            }],
            dry_run,
            ..ApplyRequest::default()
        };
        self.services.apply(&self.admin, &request).await
    }

    /// The text of a new administrator's key.
    pub(crate) async fn key(&self, name: &str) -> String {
        let request = ApiKeyCreate {
            name: name.to_owned(),
            team: Some(ADMINISTRATORS.to_owned()),
            expires_in_s: None,
        };
        let created = self.services.api_key_create(&self.admin, &request).await;
        created.unwrap().token
    }
}

/// Two environments, a lifecycle over them, and a project without packages.
pub(crate) const INFRASTRUCTURE: &str = "\
mantle: v1
environments:
  - name: test
  - name: production
lifecycles:
  - name: standard
    phases:
      - { name: Test, environments: [test] }
      - { name: Production, environments: [production] }
targets:
  - { name: web01, tags: [web], environments: [test] }
";

/// The project.
pub(crate) const PROJECT: &str = "\
mantle: v1
project: shop
description: A shop
lifecycle: standard
variables:
  Port: \"8080\"
process:
  - step: Say hello
    targets: { tag: web }
    uses: script
    with: { shell: sh, run: echo hello }
";
