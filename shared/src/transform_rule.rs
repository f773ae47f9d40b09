//! Which XDT transforms go into which configuration files, as a package step says it. The server
//! reads the rules when a file is applied, the agent once their templates are evaluated.

use std::fmt;

/// What `transforms:` calls the choice by the names that .NET gives.
pub const AUTOMATIC: &str = "automatic";

/// A line of `transforms:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransformRule {
    /// `Web.Release.config`, then `Web.ENVIRONMENT.config`, into the `Web.config` beside them.
    Automatic,
    /// `TRANSFORM => TARGET`.
    Pair {
        /// The files that say what is to change.
        transform: NamePattern,
        /// The files that are changed.
        target: NamePattern,
    },
}

/// A file of a package: a name in any folder, or a path from the package's root. One `*` in the name
/// stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// The folder from the root, empty for the root itself; `None` for any folder.
    pub folder: Option<String>,
    /// The name, or what is before its `*`.
    pub before: String,
    /// What is after its `*`, if it has one.
    pub after: Option<String>,
}

/// A line of `transforms:` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{line}' {why}; write '{AUTOMATIC}' or 'TRANSFORM => TARGET', such as '*.Blue.config => *.config'"
)]
pub struct TransformRuleError {
    line: String,
    why: &'static str,
}

impl TransformRule {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, TransformRuleError> {
        let refused = |why| TransformRuleError {
            line: line.to_owned(),
            why,
        };
        if line.trim().eq_ignore_ascii_case(AUTOMATIC) {
            return Ok(Self::Automatic);
        }
        let (transform, target) = line
            .split_once("=>")
            .ok_or_else(|| refused("names no target"))?;
        let transform = NamePattern::parse(transform).map_err(refused)?;
        let target = NamePattern::parse(target).map_err(refused)?;
        if transform.after.is_some() && target.after.is_none() {
            return Err(refused("would put many transforms into one file"));
        }
        Ok(Self::Pair { transform, target })
    }
}

impl NamePattern {
    fn parse(written: &str) -> Result<Self, &'static str> {
        let path = written.trim().replace('\\', "/");
        let (folder, name) = match path.rsplit_once('/') {
            Some((folder, name)) => {
                let folder = folder.trim_start_matches("./").trim_matches('/');
                let folder = if folder == "." { "" } else { folder };
                (Some(folder.to_owned()), name)
            }
            None => (None, path.as_str()),
        };
        let folder_parts = || folder.iter().flat_map(|folder| folder.split('/'));
        if folder_parts().any(|part| part == ".." || part.contains('*')) {
            return Err("names a folder that is not one of the package");
        }
        let (before, after) = match name.split_once('*') {
            Some((before, after)) => (before, Some(after)),
            None => (name, None),
        };
        if name.is_empty() || after.is_some_and(|after| after.contains('*')) {
            return Err("names no file, or has more than one '*' in a name");
        }
        Ok(Self {
            folder,
            before: before.to_owned(),
            after: after.map(str::to_owned),
        })
    }

    /// What the `*` stands for in a name, or the empty text without a `*`; `None` if the name is
    /// another. Names are compared without case.
    pub fn matched<'n>(&self, name: &'n str) -> Option<&'n str> {
        let Some(after) = &self.after else {
            return (fold(name) == fold(&self.before)).then_some("");
        };
        let end = name.len().checked_sub(after.len())?;
        let (front, back) = name.split_at_checked(end)?;
        let (before, middle) = front.split_at_checked(self.before.len())?;
        let same = |one: &str, other: &str| fold(one) == fold(other);
        (same(before, &self.before) && same(back, after)).then_some(middle)
    }

    /// The name with this in the place of its `*`.
    pub fn filled(&self, middle: &str) -> String {
        match &self.after {
            Some(after) => format!("{}{middle}{after}", self.before),
            None => self.before.clone(),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            write!(f, "{folder}/")?;
        }
        f.write_str(&self.filled("*"))
    }
}

/// Names of configuration files are compared without case, as .NET on Windows does.
pub fn fold(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rules_are_read() {
        assert_eq!(
            TransformRule::parse(" Automatic ").unwrap(),
            TransformRule::Automatic
        );
        for (line, transform, target) in [
            (
                "Web.Blue.config=>Web.config",
                "Web.Blue.config",
                "Web.config",
            ),
            ("*.Blue.config => *.config", "*.Blue.config", "*.config"),
            ("all.config => *.config", "all.config", "*.config"),
            (r"conf\a.config => .\a.config", "conf/a.config", "/a.config"),
            ("/a => ./conf/b", "/a", "conf/b"),
        ] {
            let TransformRule::Pair {
                transform: from,
                target: to,
            } = TransformRule::parse(line).unwrap()
            else {
                panic!("{line}");
            };
            assert_eq!(
                (from.to_string(), to.to_string()),
                (transform.into(), target.into())
            );
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_reason() {
        for (line, why) in [
            ("Web.Blue.config", "names no target"),
            ("", "names no target"),
            ("a => ", "names no file"),
            (" => a", "names no file"),
            ("a/ => b", "names no file"),
            ("*.*.config => *.config", "more than one '*'"),
            (
                "*.Blue.config => Web.config",
                "many transforms into one file",
            ),
            ("../a => b", "not one of the package"),
            ("x/*/a => b", "not one of the package"),
        ] {
            let error = TransformRule::parse(line).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("=> TARGET"),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_star_is_what_both_names_share() {
        let TransformRule::Pair { transform, target } =
            TransformRule::parse("*.Blue.config => *.config").unwrap()
        else {
            panic!();
        };
        assert_eq!(transform.matched("web.BLUE.config"), Some("web"));
        assert_eq!(target.filled("web"), "web.config");
        for other in ["Blue.config", "web.config", "é", "", ".config"] {
            assert_eq!(transform.matched(other), None, "{other}");
        }
        let named = NamePattern::parse("Web.config").unwrap();
        assert_eq!(named.matched("WEB.config"), Some(""));
        assert_eq!(named.matched("Web.configs"), None);
    }
}
