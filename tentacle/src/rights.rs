//! Who may read and write what the agent goes by: it does not start where others could.
//!
//! Whoever can write its settings or its journal says what the agent does, and on most machines it is
//! root. So rights that are too wide are not narrowed in silence, for what stands there may be
//! another's work by now: a person looks, and types the line that mends them. The keys themselves are
//! looked at where they are read (`identity`).

use std::fmt;
use std::path::{Path, PathBuf};

use crate::state_dir::StateDir;

/// Bits of a mode that nobody but the owner may have on what is secret.
#[cfg(unix)]
const ANY_BY_OTHERS: u32 = 0o077;
/// Bits by which others change something.
#[cfg(unix)]
const WRITE_BY_OTHERS: u32 = 0o022;

/// Something that others could read or write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weak {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The mode lets others in.
    Mode {
        /// What it is.
        is: u32,
        /// What it has to be.
        wanted: u32,
    },
    /// It belongs to another user, who may change it at will.
    Owner {
        /// Whose it is.
        is: u32,
        /// Whose it has to be.
        wanted: u32,
    },
}

/// What the agent goes by can be read or written by others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct WeakRights(pub Vec<Weak>);

impl fmt::Display for WeakRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("others can get at what this agent goes by, so it does not start:")?;
        for Weak { path, wrong } in &self.0 {
            let path = path.display();
            match wrong {
                Wrong::Mode { is, wanted } => {
                    write!(f, "\n  {path} has the mode {is:04o}, not {wanted:04o}")?;
                }
                Wrong::Owner { is, wanted } => {
                    write!(f, "\n  {path} belongs to user {is}, not {wanted}")?;
                }
            }
        }
        f.write_str("\n  look whether somebody has changed what is in there; if not, type")?;
        for Weak { path, wrong } in &self.0 {
            let path = shell_word(path);
            match wrong {
                Wrong::Mode { wanted, .. } => write!(f, "\n    chmod {wanted:o} {path}")?,
                Wrong::Owner { wanted, .. } => write!(f, "\n    chown {wanted} {path}")?,
            }
        }
        Ok(())
    }
}

/// A path as one word of a shell.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if text
        .chars()
        .all(|c| c.is_alphanumeric() || "/._-+:@".contains(c))
    {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Looks at everything that the agent goes by. What is not there yet is made with strict rights.
#[cfg(unix)]
pub fn check(state: &StateDir) -> Result<(), WeakRights> {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    let identity = state.identity();
    let looked_at = [
        (state.root().to_owned(), WRITE_BY_OTHERS, 0o700),
        (state.journal(), WRITE_BY_OTHERS, 0o700),
        (state.attempts(), WRITE_BY_OTHERS, 0o700),
        (state.artifacts(), WRITE_BY_OTHERS, 0o700),
        (state.cache(), WRITE_BY_OTHERS, 0o755),
        (identity.join("identity.json"), ANY_BY_OTHERS, 0o600),
        (state.root().join("settings.json"), ANY_BY_OTHERS, 0o600),
        (identity, ANY_BY_OTHERS, 0o700),
    ];
    let mut weak = Vec::new();
    for (path, forbidden, wanted) in looked_at {
        // What cannot be looked at is told by whoever opens it.
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let mut found = |wrong| {
            weak.push(Weak {
                path: path.clone(),
                wrong,
            });
        };
        if meta.uid() != own && meta.uid() != 0 {
            let (is, wanted) = (meta.uid(), own);
            found(Wrong::Owner { is, wanted });
        }
        let is = meta.mode() & 0o7777;
        // A link has no rights of its own: whoever may write its folder was looked at.
        if is & forbidden != 0 && !meta.is_symlink() {
            found(Wrong::Mode { is, wanted });
        }
    }
    if weak.is_empty() {
        Ok(())
    } else {
        Err(WeakRights(weak))
    }
}

/// Windows decides by access lists, which the installation gives the data directory.
#[cfg(not(unix))]
pub fn check(_state: &StateDir) -> Result<(), WeakRights> {
    Ok(())
}

/// The first thing by which another user than root could put a program of his in the place of this
/// one: it or a folder on the way to it.
#[cfg(unix)]
pub fn replaceable(program: &Path) -> Option<Weak> {
    use std::os::unix::fs::MetadataExt as _;
    const STICKY: u32 = 0o1000;
    program.ancestors().find_map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        let is = meta.mode() & 0o7777;
        let wrong = if meta.uid() != 0 {
            let (is, wanted) = (meta.uid(), 0);
            Wrong::Owner { is, wanted }
        } else if is & WRITE_BY_OTHERS != 0 && (path == program || is & STICKY == 0) {
            let wanted = is & !WRITE_BY_OTHERS;
            Wrong::Mode { is, wanted }
        } else {
            return None;
        };
        Some(Weak {
            path: path.to_owned(),
            wrong,
        })
    })
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A data directory as an agent makes it.
    fn state() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state of 'web'"));
        state.create().unwrap();
        crate::settings::settle(&state, Some(&dir.path().join("apps"))).unwrap();
        let identity = state.identity().join("identity.json");
        crate::durable::write_private(&identity, b"{}").unwrap();
        (dir, state)
    }

    #[test]
    fn what_the_agent_makes_itself_is_strict_enough() {
        let (dir, state) = state();
        assert_eq!(check(&state), Ok(()));
        assert_eq!(check(&StateDir::at(dir.path().join("none"))), Ok(()));
    }

    #[test]
    fn a62_each_right_that_is_too_wide_is_named_with_the_line_that_mends_it() {
        let table = [
            ("", 0o777, "chmod 700"),
            ("", 0o720, "chmod 700"),
            ("journal", 0o702, "chmod 700"),
            ("attempts", 0o770, "chmod 700"),
            ("cache", 0o775, "chmod 755"),
            ("identity", 0o750, "chmod 700"),
            ("identity/identity.json", 0o644, "chmod 600"),
            ("identity/identity.json", 0o640, "chmod 600"),
            ("settings.json", 0o666, "chmod 600"),
            ("settings.json", 0o604, "chmod 600"),
        ];
        for (name, mode, mend) in table {
            let (_dir, state) = state();
            let path = state.root().join(name);
            let path = path.components().collect::<PathBuf>();
            set(&path, mode);
            let refusal = check(&state).expect_err(name);
            let [weak] = refusal.0.as_slice() else {
                panic!("{name} {mode:o}: {refusal}");
            };
            assert_eq!(weak.path, path);
            let text = refusal.to_string();
            assert!(text.contains(&format!("has the mode {mode:04o}")), "{text}");
            // The line that it names, typed into a shell, mends it.
            let line = text.lines().last().unwrap().trim();
            assert!(line.starts_with(mend), "{line}");
            let shell = std::process::Command::new("sh").args(["-c", line]).status();
            assert!(shell.unwrap().success(), "{line}");
            assert_eq!(check(&state), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_program_that_others_could_replace_is_found_by_what_lets_them() {
        if !rustix::process::geteuid().is_root() {
            // Whatever this user makes is replaceable by him, and that is found first.
            let own = tempfile::NamedTempFile::new().unwrap();
            let weak = replaceable(own.path()).unwrap();
            assert!(matches!(weak.wrong, Wrong::Owner { wanted: 0, .. }));
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (folder, program) = (dir.path().join("bin"), dir.path().join("bin/tentacle"));
        fs::create_dir(&folder).unwrap();
        fs::write(&program, b"").unwrap();
        for (path, mode, found) in [
            (&program, 0o755, false),
            (&program, 0o775, true),
            (&program, 0o755, false),
            (&folder, 0o777, true),
            // Nobody removes or renames what is another's in there.
            (&folder, 0o1777, false),
        ] {
            set(path, mode);
            let weak = replaceable(&program);
            assert_eq!(weak.is_some(), found, "{mode:o}: {weak:?}");
            assert!(weak.is_none_or(|weak| weak.path == *path));
        }
    }
}
