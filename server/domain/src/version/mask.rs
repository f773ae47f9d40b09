//! Version masks, as Octopus has them: `2.1.c.i`, `1.0.0-rc.i`. `c` stands for the current number and `i` for
//! the current number plus one, where current is the highest release that fits the mask's own numbers.

use super::Version;

/// A text in the shape of a version in which `c` and `i` may stand for numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mask<'m> {
    /// One to four.
    numbers: Vec<Part<'m>>,
    prerelease: Option<&'m str>,
    metadata: Option<&'m str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'m> {
    Number(&'m str),
    Current,
    Increment,
}

impl<'m> Part<'m> {
    fn parse(text: &'m str) -> Option<Self> {
        match text {
            "c" => Some(Self::Current),
            "i" => Some(Self::Increment),
            _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::Number(text))
            }
            _ => None,
        }
    }

    fn is_substitute(self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Current | Self::Increment => true,
        }
    }

    fn value(self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            Self::Current | Self::Increment => None,
        }
    }

    fn substitute(self, current: u64) -> String {
        match self {
            Self::Number(text) => text.to_owned(),
            Self::Current => current.to_string(),
            Self::Increment => current.saturating_add(1).to_string(),
        }
    }
}

impl<'m> Mask<'m> {
    /// Reads a text; `None` if it does not have the shape.
    pub(super) fn parse(text: &'m str) -> Option<Self> {
        let (rest, metadata) = match text.split_once('+') {
            Some((rest, metadata)) => (rest, Some(metadata)),
            None => (text, None),
        };
        let (core, prerelease) = match rest.split_once('-') {
            Some((core, prerelease)) => (core, Some(prerelease)),
            None => (rest, None),
        };
        let numbers: Vec<Part<'m>> = core.split('.').map(Part::parse).collect::<Option<_>>()?;
        (numbers.len() <= 4).then_some(Self {
            numbers,
            prerelease,
            metadata,
        })
    }

    /// Whether it says `c` or `i` anywhere that counts: as a number, or last in the pre-release or metadata after
    /// a dot.
    pub(super) fn is_mask(&self) -> bool {
        self.numbers.iter().any(|part| part.is_substitute())
            || [self.prerelease, self.metadata]
                .into_iter()
                .flatten()
                .any(ends_with_substitute)
    }

    /// The highest version whose numbers are those of the mask, up to its first `c` or `i`.
    pub(super) fn latest<'v>(
        &self,
        versions: impl Iterator<Item = &'v Version>,
    ) -> Option<&'v Version> {
        let fits = |version: &&Version| {
            for (at, number) in version.numbers().into_iter().enumerate() {
                match self.numbers.get(at) {
                    Some(part) if part.is_substitute() => return true,
                    Some(part) if part.value() != Some(number) => return false,
                    None if number != 0 => return false,
                    Some(_) | None => {}
                }
            }
            true
        };
        versions.filter(fits).max_by(|a, b| a.cmp_builds(b))
    }

    /// The text of the version that follows `current`; the first of all if there is none.
    pub(super) fn apply(&self, current: Option<&Version>) -> String {
        let current = current.and_then(|version| Mask::parse(version.as_str()));
        let mut out = self.numbers_after(current.as_ref());
        for (sign, text, known) in [
            (
                '-',
                self.prerelease,
                current.as_ref().and_then(|mask| mask.prerelease),
            ),
            (
                '+',
                self.metadata,
                current.as_ref().and_then(|mask| mask.metadata),
            ),
        ] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                out.push(sign);
                out.push_str(&labels_after(text, known, current.is_some()));
            }
        }
        out
    }

    fn numbers_after(&self, current: Option<&Mask<'_>>) -> String {
        let mut numbers: Vec<String> = Vec::with_capacity(4);
        for at in 0..4 {
            let known = current.and_then(|current| current.numbers.get(at));
            let before = at.checked_sub(1).and_then(|at| self.numbers.get(at));
            match self.numbers.get(at) {
                Some(part) if part.is_substitute() => {
                    // What stands after a raised number begins anew.
                    let anew = before == Some(&Part::Increment) || current.is_none();
                    let known = known.and_then(|part| part.value()).unwrap_or(0);
                    numbers.push(if anew {
                        "0".to_owned()
                    } else {
                        part.substitute(known)
                    });
                }
                Some(part) => numbers.push(part.substitute(0)),
                // A release with one number more than the mask keeps its form.
                None if known.is_some() && before.is_some() => numbers.push("0".to_owned()),
                None => {}
            }
        }
        numbers.join(".")
    }
}

/// `rc.i` after `rc.4` is `rc.5`; labels are compared by their place.
fn labels_after(text: &str, known: Option<&str>, has_current: bool) -> String {
    let known: Vec<&str> = known
        .map(|known| known.split('.').collect())
        .unwrap_or_default();
    let labels: Vec<&str> = text.split('.').collect();
    let anew = ends_with_substitute(text);
    let substituted = labels.iter().enumerate().map(|(at, label)| {
        let after_increment = at
            .checked_sub(1)
            .is_some_and(|before| labels.get(before) == Some(&"i"));
        if has_current && anew && after_increment {
            return "0".to_owned();
        }
        match Part::parse(label) {
            Some(Part::Current | Part::Increment) if !has_current => "0".to_owned(),
            Some(part @ (Part::Current | Part::Increment)) => {
                let number = known.get(at).and_then(|label| label.parse().ok());
                part.substitute(number.unwrap_or(0))
            }
            Some(Part::Number(_)) | None => (*label).to_owned(),
        }
    });
    substituted.collect::<Vec<_>>().join(".")
}

fn ends_with_substitute(text: &str) -> bool {
    matches!(text.rsplit_once('.'), Some((_, "i" | "c")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mask_is_applied_to_the_current_version() {
        for (mask, current, expected) in [
            ("2.4.0-rc.i", None, "2.4.0-rc.0"),
            ("i.c.i", None, "0.0.0"),
            ("2.4.0-rc.i", Some("2.4.0-rc.7"), "2.4.0-rc.8"),
            ("i.4.0-rc.i", Some("2.4.0-rc.7"), "3.4.0-rc.8"),
            ("c.c.i-rc.c", Some("2.4.0-rc.7"), "2.4.1-rc.7"),
            // After a raised number the next substitute begins anew, the one after that does not.
            ("i.i.i", Some("2.4.6"), "3.0.0"),
            ("i.c.c", Some("2.4.6"), "3.0.6"),
            ("c.i.c", Some("2.4.6"), "2.5.0"),
            ("c.c.i", Some("2.4.6-rc.1"), "2.4.7"),
            ("c.i", Some("2.4"), "2.5"),
            // The fourth number is kept in form.
            ("c.c.i", Some("2.4.6.8"), "2.4.7.0"),
            ("2.4.6-rc.i", Some("2.4.5.1"), "2.4.6.0-rc.1"),
            ("1.i", Some("1.2.3.4"), "1.3.0"),
            ("2.1.c.i", Some("2.1.5.7"), "2.1.5.8"),
            ("c.c.c-i", Some("2.4.6"), "2.4.6-1"),
            ("c.c.c-i.c", Some("2.4.6-4.9"), "2.4.6-5.0"),
            ("c.c.c-beta.i", Some("2.4.6-rc"), "2.4.6-beta.1"),
            ("c.c.i+b.i", Some("2.4.6+b.3"), "2.4.7+b.4"),
            ("c.c.i", Some("02.04.06"), "2.4.7"),
        ] {
            let current = current.map(|text| Version::parse(text).unwrap());
            let mask_read = Mask::parse(mask).unwrap();
            assert_eq!(
                mask_read.apply(current.as_ref()),
                expected,
                "{mask} {current:?}"
            );
        }
    }

    #[test]
    fn a_mask_is_told_from_a_version() {
        for (text, is_mask) in [
            ("c.i", true),
            ("1.2.i", true),
            ("1.2.3.4-1.i", true),
            ("1.2.3+b.c", true),
            ("1.2.3", false),
            ("1.2.3-i", false),
            ("1.2.3-i.1", false),
            ("1.2.3-rc-i", false),
            ("1.2.3-beta.ci", false),
            ("1.2.3-rc.i.0", false),
        ] {
            assert_eq!(Mask::parse(text).unwrap().is_mask(), is_mask, "{text}");
        }
        for text in ["", "1..i", "1.2.3.4.i", "1.x", "i1.2", "1.2.3_i", "v1.i"] {
            assert_eq!(Mask::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_current_version_is_the_highest_that_fits() {
        let versions: Vec<Version> = [
            "1.2.3",
            "1.2.10-rc.1",
            "1.3.0",
            "2.0",
            "2026.11.24.3",
            "4.0+b.10",
            "4.0+b.9",
            "4.0",
        ]
        .iter()
        .map(|text| Version::parse(text).unwrap())
        .collect();
        for (mask, latest) in [
            ("1.2.i", Some("1.2.10-rc.1")),
            ("1.i.i", Some("1.3.0")),
            ("i.0.0", Some("2026.11.24.3")),
            ("1.2.3-rc.i", Some("1.2.3")),
            ("1.2.4-rc.i", None),
            ("3.i", None),
            ("2026.11.24.i", Some("2026.11.24.3")),
            ("2026.11.25.i", None),
            // Builds of one version count by their labels, whatever the order of the releases.
            ("4.0+b.i", Some("4.0+b.10")),
        ] {
            let found = Mask::parse(mask).unwrap().latest(versions.iter());
            assert_eq!(found.map(Version::as_str), latest, "{mask}");
        }
    }
}
