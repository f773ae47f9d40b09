//! Files that actions put somewhere on the machine: each whole or as it was, and each with a way back.
//!
//! What must hold: before a file is changed, what it was is on disk in the agent's own folder
//! ([`keeper`]), so that a failure, a stop and a rollback can give exactly that back. A file that is as
//! it should be is not written.

pub(super) mod back;
pub(super) mod copy;
mod diff;
pub(super) mod keeper;
#[cfg(all(test, unix))]
mod keeper_tests;
pub(super) mod rights;
pub(super) mod template;

use std::path::{Component, Path, PathBuf};

use super::ActionError;

/// A path of the machine that is meant as it stands.
pub(super) fn absolute(key: &str, text: &str) -> Result<PathBuf, ActionError> {
    let path = Path::new(text.trim());
    let leads_up = path.components().any(|part| part == Component::ParentDir);
    if !path.is_absolute() || leads_up || text.contains('\0') {
        return Err(ActionError::input(format!(
            "with.{key}: '{text}' is no absolute path{}; write one such as {}",
            if leads_up { " without '..'" } else { "" },
            if cfg!(windows) {
                "D:\\Sites\\Shop"
            } else {
                "/etc/shop/shop.conf"
            }
        )));
    }
    Ok(path.to_owned())
}
