//! The rights and the owner of a file, as inputs say them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use mantle_shared::inputs::{file_mode, file_owner};

use super::super::{ActionError, StopToken, tool};

/// How long the system may take to look a name up, which may lie on another machine.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// What a file's rights and owner should be; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Rights {
    pub(in super::super) mode: Option<u32>,
    /// The rights of a file that was not there, unless `mode` says them.
    pub(in super::super) new_mode: Option<u32>,
    pub(in super::super) user: Option<u32>,
    pub(in super::super) group: Option<u32>,
}

/// What new files get that nothing else is said of.
#[cfg(unix)]
const USUAL_MODE: u32 = 0o644;

impl Rights {
    /// Whether inputs could be meant; nothing is looked up.
    pub(in super::super) fn check(
        mode: Option<&str>,
        owner: Option<&str>,
    ) -> Result<(), ActionError> {
        let refused = |key: &str, why: String| ActionError::input(format!("with.{key}: {why}"));
        if let Some(mode) = mode {
            file_mode(mode).map_err(|why| refused("mode", why))?;
        }
        if let Some(owner) = owner {
            file_owner(owner).map_err(|why| refused("owner", why))?;
        }
        Ok(())
    }

    /// Reads inputs and looks up whom they name.
    pub(in super::super) fn of(
        mode: Option<&str>,
        owner: Option<&str>,
        stop: &StopToken,
    ) -> Result<Self, ActionError> {
        Self::check(mode, owner)?;
        if cfg!(windows) && (mode.is_some() || owner.is_some()) {
            return Err(ActionError::input(
                "with.mode and with.owner are of Linux; on Windows a file takes the rights of its folder: leave them out, by two actions with 'when: { platform: ... }'",
            ));
        }
        let mut rights = Self {
            mode: mode.and_then(|mode| file_mode(mode).ok()),
            ..Self::default()
        };
        if let Some(Ok((user, group))) = owner.map(file_owner) {
            rights.user = user.map(|user| user_id(user, stop)).transpose()?;
            rights.group = group.map(|group| group_id(group, stop)).transpose()?;
        }
        Ok(rights)
    }

    /// Whether a file has them.
    pub(super) fn fit(&self, found: &fs::Metadata) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            self.mode.is_none_or(|mode| found.mode() & 0o7777 == mode)
                && self.user.is_none_or(|user| found.uid() == user)
                && self.group.is_none_or(|group| found.gid() == group)
        }
        #[cfg(not(unix))]
        {
            let _ = found;
            true
        }
    }

    /// Gives them to a new file that will take the place of another, or of none.
    pub(super) fn give(&self, path: &Path, instead_of: Option<&fs::Metadata>) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
            let own = fs::metadata(path)?;
            let user = self.user.or(instead_of.map(MetadataExt::uid));
            let group = self.group.or(instead_of.map(MetadataExt::gid));
            let other = |wanted: Option<u32>, has: u32| wanted.filter(|wanted| *wanted != has);
            let (user, group) = (other(user, own.uid()), other(group, own.gid()));
            if user.is_some() || group.is_some() {
                std::os::unix::fs::chown(path, user, group)?;
            }
            let kept = instead_of.map(|known| known.mode() & 0o7777);
            let mode = self.mode.or(kept).or(self.new_mode);
            // After the owner: a change of owner takes some of the rights away.
            fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(USUAL_MODE)))
        }
        #[cfg(not(unix))]
        {
            let _ = (path, instead_of);
            Ok(())
        }
    }
}

/// By `id`, which asks whatever the machine has its users from.
pub(in super::super) fn user_id(user: &str, stop: &StopToken) -> Result<u32, ActionError> {
    if let Ok(id) = user.parse() {
        return Ok(id);
    }
    let said = tool::ask("id", &["-u", "--", user], LOOKUP_TIMEOUT, stop)?;
    let id = said.out.trim().parse().ok().filter(|_| said.is_ok());
    id.ok_or_else(|| {
        ActionError::failed(format!(
            "there is no user '{user}' on this machine; make it first, or write another owner"
        ))
    })
}

fn group_id(group: &str, stop: &StopToken) -> Result<u32, ActionError> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let own = fs::read_to_string("/etc/group").unwrap_or_default();
    if let Some(id) = of_group(&own, group) {
        return Ok(id);
    }
    let said = tool::ask("getent", &["group", group], LOOKUP_TIMEOUT, stop);
    let asked = said.ok().filter(tool::Said::is_ok);
    asked
        .and_then(|said| of_group(&said.out, group))
        .ok_or_else(|| {
            ActionError::failed(format!(
                "there is no group '{group}' on this machine; make it first, or write another owner"
            ))
        })
}

/// The number of a group in lines as those of `/etc/group`.
fn of_group(text: &str, group: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_looked_up_and_unknown_ones_told() {
        let stop = StopToken::new();
        assert_eq!(user_id("root", &stop).unwrap(), 0);
        assert_eq!(user_id("1234", &stop).unwrap(), 1234);
        assert_eq!(group_id("root", &stop).unwrap(), 0);
        let text = "root:x:0:\nwww-data:x:33:a,b\n";
        assert_eq!(of_group(text, "www-data"), Some(33));
        assert_eq!(of_group(text, "www"), None);
        for owner in ["no-such-user-here", ":no-such-group-here"] {
            let error = Rights::of(None, Some(owner), &stop)
                .unwrap_err()
                .to_string();
            assert!(error.contains("there is no"), "{error}");
        }
        assert!(Rights::of(Some("rw"), None, &stop).is_err());
    }
}
