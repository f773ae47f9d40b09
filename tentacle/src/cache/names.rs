//! What a host refuses in a package: names and links that its file system cannot have or that
//! would lead out of the folder.
//!
//! `check_name` in `shared` holds everywhere (no separator, no `..`, normal form C). This is what
//! comes on top, and it is decided by value so that both hosts' rules are tested on either.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::manifest::{EntryKind, Tree};

/// The kind of machine that a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Names are bytes, links are fine.
    Unix,
    /// Names are restricted and do not differ by case; no links.
    Windows,
}

/// Device names that Windows takes for the device whatever follows the first dot.
const RESERVED: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$"];
/// How many links may be followed from one: more is a loop.
const MAX_LINK_STEPS: usize = 40;
/// The longest text of a link.
const MAX_TARGET_BYTES: usize = 4096;

impl Host {
    /// This machine.
    pub const fn current() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else {
            Self::Unix
        }
    }

    /// Why this host cannot have this folder; `None` if it can.
    pub(super) fn refuses(self, tree: &Tree) -> Option<String> {
        match self {
            Self::Unix => None,
            Self::Windows => {
                let mut seen = BTreeSet::new();
                for entry in tree.entries() {
                    let name = &entry.name;
                    if let Some(why) = windows_refuses_name(name) {
                        return Some(format!("'{name}': {why}"));
                    }
                    if matches!(entry.kind, EntryKind::Symlink { .. }) {
                        return Some(format!("'{name}' is a symbolic link"));
                    }
                    if !seen.insert(name.to_lowercase()) {
                        return Some(format!("'{name}' differs from another name by case alone"));
                    }
                }
                None
            }
        }
    }
}

/// Why Windows refuses a name; `None` if it takes it.
pub(crate) fn windows_refuses_name(name: &str) -> Option<&'static str> {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| {
            matches!(rest.chars().collect::<Vec<_>>().as_slice(), [c] if "123456789¹²³".contains(*c))
        })
    };
    if name.contains(['<', '>', ':', '"', '|', '?', '*', '\\', '/']) {
        Some("Windows refuses the characters < > : \" | ? * \\")
    } else if name.chars().any(|c| (c as u32) < 32) {
        Some("Windows refuses control characters")
    } else if name.ends_with(['.', ' ']) {
        Some("Windows drops a dot or a space at the end")
    } else if RESERVED.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        Some("Windows takes it for a device")
    } else {
        None
    }
}

/// The links of a whole package, by the path that they stand at.
pub(super) type Links = BTreeMap<Vec<String>, String>;

/// Checks that every link is relative and stays inside, also when it leads through others.
pub(super) fn check_links(links: &Links) -> Result<(), (String, &'static str)> {
    for (at, target) in links {
        let shown = || at.join("/");
        if target.is_empty() || target.len() > MAX_TARGET_BYTES || target.contains('\0') {
            return Err((shown(), "it points nowhere"));
        }
        if target.starts_with('/') || target.contains('\\') || target.contains(':') {
            return Err((shown(), "it is not relative"));
        }
        let mut steps = 0;
        let folder = at.split_last().map_or(&[][..], |(_, folder)| folder);
        follow(links, folder.to_vec(), target, &mut steps).map_err(|why| (shown(), why))?;
    }
    Ok(())
}

/// Where a link's text leads from a real folder, as the system would walk it.
fn follow(
    links: &Links,
    mut at: Vec<String>,
    target: &str,
    steps: &mut usize,
) -> Result<Vec<String>, &'static str> {
    *steps += 1;
    if *steps > MAX_LINK_STEPS {
        return Err("it leads in a circle");
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                at.pop().ok_or("it leads out of the package")?;
            }
            name => {
                at.push(name.to_owned());
                if let Some(next) = links.get(&at) {
                    if next.starts_with('/') {
                        return Err("it leads out of the package");
                    }
                    at.pop();
                    at = follow(links, at, next, steps)?;
                }
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a29_names_that_windows_refuses() {
        for name in [
            "a:b", "CON", "con.txt", "Nul", "COM1", "com1.log", "LPT9", "COM¹", "x.", "x ", "a\\b",
            "a?b", "a\u{1}", "CONIN$", "aux .txt",
        ] {
            assert!(windows_refuses_name(name).is_some(), "{name:?}");
        }
        for name in [
            "a", "console", "com10", "com", "com0", ".x", "a b", "é", "nul_", "xcon",
        ] {
            assert!(windows_refuses_name(name).is_none(), "{name:?}");
        }
    }

    fn links(list: &[(&str, &str)]) -> Links {
        list.iter()
            .map(|(at, target)| {
                (
                    at.split('/').map(str::to_owned).collect(),
                    (*target).to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn a30_links_stay_inside_also_through_each_other() {
        for good in [
            &[("a", "b")][..],
            &[("d/a", "../b")],
            &[("d/e/a", "../../x/y")],
            &[("d/l", ".."), ("x", "d/l/f")],
            &[("a", "./b//c")],
        ] {
            assert_eq!(check_links(&links(good)), Ok(()), "{good:?}");
        }
        for bad in [
            &[("a", "/etc")][..],
            &[("a", "../b")],
            &[("d/a", "../../b")],
            &[("a", "")],
            &[("a", "a")],
            &[("a", "b"), ("b", "a")],
            &[("d/l", ".."), ("x", "d/l/../f")],
            &[("a", "C:x")],
            &[("a", "..\\x")],
        ] {
            assert!(check_links(&links(bad)).is_err(), "{bad:?}");
        }
    }
}
