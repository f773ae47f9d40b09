//! The identities of one agent while its certificate is renewed.
//!
//! `offered.json` is what the server issued last and has not been used yet, `identity.json` what was
//! seen to work last, `previous.json` the one before. What must hold: a kill at any instant leaves an
//! identity that the server lets in. So the server keeps the key of `identity.json` until it has seen
//! the offered one in use, and here `offered.json` becomes `identity.json`, by one rename, once the
//! server has let it in. The previous one stays for a server that was restored from a backup and does
//! not know the newer key yet; that server renews it at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mantle_shared::fault;

use super::{Enrolled, FILE, Identity, IdentityError, NewKey, folder, io_error};
use crate::durable::{self, Privacy};

const OFFERED: &str = "offered.json";
const PREVIOUS: &str = "previous.json";

/// Which of an agent's identities one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Issued, and not seen to work yet.
    Offered,
    /// The one that was seen to work last.
    Current,
    /// The one before.
    Previous,
}

/// The identities that the agent can show, and the one that it shows.
#[derive(Debug)]
pub struct Identities {
    /// Where they are; none for one that is in memory alone.
    data: Option<PathBuf>,
    /// In the order in which they are tried. Never empty.
    held: Vec<(Kind, Identity)>,
    at: usize,
    fallback: Identity,
}

impl Identities {
    /// Reads them. Of the offered and the previous one only what belongs to the current one counts:
    /// other files are left over from before the agent joined anew.
    pub fn load(data: &Path) -> Result<Self, IdentityError> {
        let current = Identity::load(data)?;
        let beside = |kind, file| match Identity::load_file(data, file) {
            Ok(other) if other.agent == current.agent && other.authority == current.authority => {
                Some((kind, other))
            }
            Ok(_) | Err(IdentityError::NotJoined { .. }) => None,
            Err(error) => {
                tracing::warn!(%error, "an identity beside the current one cannot be used and is left out");
                None
            }
        };
        let mut held = Vec::new();
        held.extend(beside(Kind::Offered, OFFERED));
        held.push((Kind::Current, current.clone()));
        let previous = beside(Kind::Previous, PREVIOUS);
        held.extend(previous.filter(|(_, other)| other.certificate != current.certificate));
        Ok(Self {
            data: Some(data.to_owned()),
            held,
            at: 0,
            fallback: current,
        })
    }

    /// One identity that is nowhere kept, and so is not renewed either.
    pub fn fixed(identity: Identity) -> Self {
        Self {
            data: None,
            held: vec![(Kind::Current, identity.clone())],
            at: 0,
            fallback: identity,
        }
    }

    /// The one to show.
    pub fn shown(&self) -> &Identity {
        self.held
            .get(self.at)
            .map_or(&self.fallback, |(_, identity)| identity)
    }

    /// Which one that is.
    pub fn kind(&self) -> Kind {
        self.held
            .get(self.at)
            .map_or(Kind::Current, |(kind, _)| *kind)
    }

    /// When the last of them ends, in microseconds since 1970.
    pub fn last_end_us(&self) -> i64 {
        let ends = self.held.iter().map(|(_, identity)| identity.not_after_us);
        ends.max().unwrap_or(self.fallback.not_after_us)
    }

    /// Whether another certificate could be kept.
    pub fn can_renew(&self) -> bool {
        self.data.is_some()
    }

    /// The server does not let in the one that is shown: the next one is.
    pub fn refused(&mut self) {
        self.at = (self.at + 1) % self.held.len().max(1);
    }

    /// The server let in the one that is shown. If that was offered, it is the current one now.
    pub fn let_in(&mut self) -> Result<(), IdentityError> {
        match (self.kind(), &self.data) {
            (Kind::Offered, Some(data)) => {
                promote(&folder(data))?;
                *self = Self::load(data)?;
                // The offered one is gone, so the first one is the one that was let in.
                Ok(())
            }
            (Kind::Offered | Kind::Current | Kind::Previous, _) => Ok(()),
        }
    }

    /// Keeps what the server issued, and shows it from now on.
    pub fn offer(
        &mut self,
        key: &NewKey,
        certificate: Vec<u8>,
        not_after_us: i64,
    ) -> Result<(), IdentityError> {
        let Some(data) = self.data.clone() else {
            return Ok(());
        };
        let shown = self.shown();
        let enrolled = Enrolled {
            agent: shown.agent,
            name: shown.name.clone(),
            servers: shown.servers.clone(),
            certificate,
            authority: shown.authority.to_vec(),
            not_after_us,
        };
        super::write_files(&folder(&data), OFFERED, key, &enrolled)?;
        fault::point("agent.offered_written");
        *self = Self::load(&data)?;
        Ok(())
    }
}

/// Makes the offered identity the current one.
fn promote(folder: &Path) -> Result<(), IdentityError> {
    let (offered, current, previous) = (
        folder.join(OFFERED),
        folder.join(FILE),
        folder.join(PREVIOUS),
    );
    let kept = fs::read(&current).map_err(|source| io_error("read", &current, source))?;
    durable::write(&previous, &kept, Privacy::Owner)
        .map_err(|source| io_error("write", &previous, source))?;
    fault::point("agent.previous_written");
    durable::rename(&offered, &current)
        .and_then(|()| durable::sync_folder(folder))
        .map_err(|source| io_error("replace", &current, source))?;
    fault::point("agent.identity_renamed");
    forget_others(folder);
    Ok(())
}

/// Removes the identities beside the current one, and their keys: they are of an agent that was here
/// before. What stays for a while is not taken for this one's.
pub(super) fn forget_beside(folder: &Path) {
    for file in [OFFERED, PREVIOUS] {
        let _ = fs::remove_file(folder.join(file));
    }
    forget_others(folder);
}

/// Removes the keys that no identity names any more. A leftover is harmless and goes next time.
fn forget_others(folder: &Path) {
    let mut named = BTreeSet::new();
    for file in [OFFERED, FILE, PREVIOUS] {
        let path = folder.join(file);
        match super::read_bounded(&path).map(|bytes| super::parse(&path, &bytes)) {
            Ok(Ok(stored)) => {
                named.insert(stored.key_file);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // What cannot be read may name any of them.
            Ok(Err(_)) | Err(_) => return,
        }
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("key-") && !named.contains(name.as_ref()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::AgentId;
    use mantle_shared::uuid::Uuid;

    use super::super::save;
    use super::*;

    fn enrolled(agent: u128, certificate: u8) -> Enrolled {
        Enrolled {
            agent: AgentId::from_uuid(Uuid::from_u128(agent)),
            name: "web01".to_owned(),
            servers: vec!["mantle.example:7443".to_owned()],
            certificate: vec![certificate],
            authority: vec![4, 5, 6],
            not_after_us: 99,
        }
    }

    fn keys(data: &Path) -> usize {
        fs::read_dir(folder(data))
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("key-")
            })
            .count()
    }

    /// Kinds and certificates in the order in which they are tried.
    fn order(identities: &Identities) -> Vec<(Kind, u8)> {
        let held = identities.held.iter();
        held.map(|(kind, identity)| (*kind, *identity.certificate.first().unwrap()))
            .collect()
    }

    #[test]
    fn an_offer_becomes_the_identity_once_it_was_let_in_and_the_one_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &NewKey::generate().unwrap(), &enrolled(7, 1)).unwrap();
        let mut identities = Identities::load(dir.path()).unwrap();
        identities.let_in().unwrap();
        assert_eq!(order(&identities), [(Kind::Current, 1)]);
        for next in 2..5 {
            let key = NewKey::generate().unwrap();
            identities.offer(&key, vec![next], 100).unwrap();
            assert_eq!(identities.kind(), Kind::Offered);
            // A restart finds the same.
            identities = Identities::load(dir.path()).unwrap();
            assert_eq!(
                order(&identities)[..2],
                [(Kind::Offered, next), (Kind::Current, next - 1)]
            );
            identities.let_in().unwrap();
            assert_eq!(
                order(&identities),
                [(Kind::Current, next), (Kind::Previous, next - 1)]
            );
            assert_eq!(
                identities.shown().private_key().secret_der(),
                key.pkcs8().as_slice()
            );
            assert_eq!(keys(dir.path()), 2);
        }
    }

    #[test]
    fn one_that_is_refused_is_followed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &NewKey::generate().unwrap(), &enrolled(7, 1)).unwrap();
        let mut identities = Identities::load(dir.path()).unwrap();
        let offer = |identities: &mut Identities, n| {
            identities
                .offer(&NewKey::generate().unwrap(), vec![n], 100)
                .unwrap();
        };
        offer(&mut identities, 2);
        identities.let_in().unwrap();
        offer(&mut identities, 3);
        let mut tried = Vec::new();
        for _ in 0..4 {
            tried.push(identities.kind());
            identities.refused();
        }
        let expected = [Kind::Offered, Kind::Current, Kind::Previous, Kind::Offered];
        assert_eq!(tried, expected);
        // Another offer takes the place of one that came to nothing, key and all.
        offer(&mut identities, 4);
        assert_eq!(order(&identities)[0], (Kind::Offered, 4));
        identities.let_in().unwrap();
        assert_eq!(keys(dir.path()), 2);
    }

    #[test]
    fn joining_anew_leaves_nothing_of_the_identities_before() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &NewKey::generate().unwrap(), &enrolled(7, 1)).unwrap();
        let mut identities = Identities::load(dir.path()).unwrap();
        identities
            .offer(&NewKey::generate().unwrap(), vec![2], 100)
            .unwrap();
        save(dir.path(), &NewKey::generate().unwrap(), &enrolled(8, 3)).unwrap();
        let identities = Identities::load(dir.path()).unwrap();
        assert_eq!(order(&identities), [(Kind::Current, 3)]);
    }

    #[cfg(unix)]
    #[test]
    fn an_offer_that_others_could_read_is_left_out() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &NewKey::generate().unwrap(), &enrolled(7, 1)).unwrap();
        let mut identities = Identities::load(dir.path()).unwrap();
        identities
            .offer(&NewKey::generate().unwrap(), vec![2], 100)
            .unwrap();
        for entry in fs::read_dir(folder(dir.path())).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let current = fs::read_to_string(folder(dir.path()).join(FILE)).unwrap();
            if name.starts_with("key-") && !current.contains(&name) {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        let identities = Identities::load(dir.path()).unwrap();
        assert_eq!(order(&identities), [(Kind::Current, 1)]);
    }
}
