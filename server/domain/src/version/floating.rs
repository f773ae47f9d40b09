//! Versions that float, as `NuGet` has them: `1.*`, `1.2.*-*`, `2.0.0-rc.*`.
//!
//! What a rule asks of them is membership, which in `NuGet` is the float's own test: the numbers
//! before the star are fixed, pre-releases count only where a second star says so, and stable
//! versions count in any case.

use super::{RangeError, Version};

/// A floating version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Floating {
    /// The numbers before the star; after them anything goes if `open`, and otherwise zeros.
    fixed: Vec<u64>,
    open: bool,
    /// What pre-releases must begin with; without it only stable versions count.
    prefix: Option<String>,
}

impl Floating {
    /// Whether a text is meant as one.
    pub(super) fn is_meant(text: &str) -> bool {
        text.contains('*')
    }

    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError::Floating {
            text: text.chars().take(80).collect(),
        };
        let (numbers, prefix) = match text.split_once('-') {
            Some((numbers, labels)) => (numbers, Some(labels.strip_suffix('*').ok_or_else(wrong)?)),
            None => (text, None),
        };
        let (fixed, open) = match numbers.strip_suffix('*') {
            Some("") => (None, true),
            Some(before) => (Some(before.strip_suffix('.').ok_or_else(wrong)?), true),
            None => (Some(numbers), false),
        };
        let mut read = Vec::new();
        for number in fixed.into_iter().flat_map(|fixed| fixed.split('.')) {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| number.parse().ok()).flatten();
            read.push(number.ok_or_else(wrong)?);
        }
        let most = if open { 3 } else { 4 };
        let labels = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if read.len() > most || prefix.is_some_and(|prefix| !prefix.chars().all(labels)) {
            return Err(wrong());
        }
        Ok(Self {
            fixed: read,
            open,
            prefix: prefix.map(str::to_ascii_lowercase),
        })
    }

    /// The lowest version in it.
    pub(super) fn floor(&self) -> Result<Version, RangeError> {
        let mut text = if self.fixed.is_empty() {
            "0".to_owned()
        } else {
            let numbers: Vec<String> = self.fixed.iter().map(u64::to_string).collect();
            numbers.join(".")
        };
        if let Some(prefix) = &self.prefix {
            text.push('-');
            text.push_str(prefix);
            if prefix.is_empty() || prefix.ends_with('.') {
                text.push('0');
            }
        }
        Ok(Version::parse(&text)?)
    }

    /// Whether a version is one of those that it stands for.
    pub(super) fn contains(&self, version: &Version) -> bool {
        let numbers = version.numbers();
        let (fixed, rest) = numbers.split_at(self.fixed.len());
        if fixed != self.fixed || !(self.open || rest.iter().all(|number| *number == 0)) {
            return false;
        }
        !version.is_prerelease()
            || self.prefix.as_ref().is_some_and(|prefix| {
                let labels = version.prerelease().to_ascii_lowercase();
                labels.starts_with(prefix)
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Range;
    use super::*;

    /// Section 1.3 of the reference (version rules): ranges are `NuGet`'s, which has these.
    #[test]
    fn what_floats_holds_what_nuget_says() {
        for (range, inside, outside) in [
            ("*", &["0.1", "9.9.9.9"][..], &["1.0-rc"][..]),
            ("*-*", &["0.1", "1.0-rc", "7.0-a+b"], &[]),
            ("*-rc*", &["0.1", "1.0-rc.1", "1.0-RC2"], &["1.0-beta"]),
            (
                "1.*",
                &["1.0", "1.99.3", "01.2+b"],
                &["0.9", "2.0", "1.5-rc", "2.0-rc"],
            ),
            ("1.2.*", &["1.2", "1.2.0.7"], &["1.3", "1.2.1-a"]),
            ("1.2.3.*", &["1.2.3", "1.2.3.9"], &["1.2.4"]),
            ("1.*-*", &["1.0-rc", "1.5"], &["2.0-rc", "0.9"]),
            ("1.2.*-rc.*", &["1.2.9-rc.3", "1.2"], &["1.2.9-rc3", "1.3"]),
            (
                "2.0.0-*",
                &["2.0-alpha", "2.0", "2.0.0.0"],
                &["2.0.1", "2.0.0.1"],
            ),
            ("2.0-rc.*", &["2.0.0-RC.1", "2.0"], &["2.0-beta.9"]),
            ("[1.*,2.0)", &["1.7"], &["2.0", "1.7-rc"]),
            ("[1.*-*,1.5]", &["1.0-rc", "1.5"], &["1.6", "0.9"]),
            ("[1.*-*, 1.0)", &["1.0-rc"], &["1.0"]),
            (" [ 1.2.* , ) ", &["1.2.9"], &["1.3"]),
        ] {
            let read = Range::parse(range).unwrap();
            for (versions, expected) in [(inside, true), (outside, false)] {
                for version in versions {
                    let version = Version::parse(version).unwrap();
                    assert_eq!(read.contains(&version), expected, "{range} {version}");
                }
            }
        }
    }

    #[test]
    fn what_floats_wrongly_is_refused_with_a_form_that_works() {
        for bad in [
            "1*",
            "1.2*",
            "1.*.3",
            "**",
            "1.*.*",
            "1.2.3.4.*",
            "1.*+b",
            "-*",
            "1.*-rc",
            "1.*-r c*",
            "v1.*",
            "99999999999999999999.*",
            "1.*-..*",
            "1.*-*-*",
        ] {
            let error = Range::parse(bad).unwrap_err().to_string();
            assert!(error.contains("write one like"), "{bad}: {error}");
        }
        for (bad, hint) in [
            ("(1.*,2.0)", "[1.*"),
            ("[1.0,2.*]", "upper end"),
            ("[1.*]", "write 1.*"),
            ("[2.*,1.0]", "is empty"),
            ("[1.*,1.0)", "is empty"),
        ] {
            let error = Range::parse(bad).unwrap_err().to_string();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }
}
