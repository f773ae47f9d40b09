//! What the agent itself knows of the variables that the server defines (reference section 1.4,
//! agent): where applications are, and what of a package is in use before its action begins.

use mantle_shared::order::{Order, OrderVariable};

use crate::actions::{self, InUse};
use crate::state_dir::StateDir;

const APPS: &str = "Octopus.Tentacle.Agent.ApplicationDirectoryPath";
const PREVIOUS_PATH: &str = "Octopus.Tentacle.PreviousInstallation.OriginalInstalledPath";
const PREVIOUS_CUSTOM: &str = "Octopus.Tentacle.PreviousInstallation.CustomInstallationDirectory";
const PREVIOUS_VERSION: &str = "Octopus.Tentacle.PreviousInstallation.PackageVersion";

/// Puts them among the variables of an order, in place of any of the same name.
pub(super) fn add(order: &mut Order, state_dir: &StateDir) {
    let mut known = vec![(APPS, state_dir.apps().display().to_string())];
    if let Some(previous) = previous(order, state_dir) {
        known.push((PREVIOUS_PATH, previous.folder.display().to_string()));
        known.push((PREVIOUS_VERSION, previous.version));
        known.extend(previous.custom.map(|path| (PREVIOUS_CUSTOM, path)));
    }
    for (name, value) in known {
        let other = |variable: &OrderVariable| !variable.name.eq_ignore_ascii_case(name);
        order.variables.retain(other);
        order.variables.push(OrderVariable {
            name: name.to_owned(),
            value,
            sensitive: false,
            exported: true,
        });
    }
}

/// Only an action that uses a package replaces one.
fn previous(order: &Order, state_dir: &StateDir) -> Option<InUse> {
    let package = order.packages.first()?;
    let place = (order.environment.as_str(), order.project.as_str());
    actions::package_in_use(&state_dir.apps(), place, &package.id)
}
