//! Packages for actions: out of the cache, which the agent filled before the start.

use std::path::Path;

use mantle_shared::order::OrderPackage;

use crate::actions::{ActionError, PackageFiles, StopToken};
use crate::cache::{Cache, MaterialiseError};
use crate::state_dir::StateDir;

/// The cache of this agent.
pub(super) struct Cached {
    cache: Cache,
    stop: StopToken,
}

impl Cached {
    pub(super) fn new(state_dir: &StateDir, stop: StopToken) -> Self {
        Self {
            cache: Cache::at(state_dir.cache()),
            stop,
        }
    }
}

impl PackageFiles for Cached {
    fn materialise(&self, package: &OrderPackage, into: &Path) -> Result<(), ActionError> {
        let go_on = || !self.stop.is_stopped();
        match self.cache.materialise(package.root, into, &go_on) {
            Ok(_) => Ok(()),
            Err(MaterialiseError::Stopped) => Err(ActionError::Stopped),
            Err(error) => {
                let why = crate::cli::Failure::from_error(0, &error).message;
                Err(ActionError::failed(format!(
                    "package {} {} could not be unpacked: {why}",
                    package.id, package.version
                )))
            }
        }
    }
}
