//! The next release's version, from the project's template and the releases there are.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mantle_template::{Options, Variables, render};

use super::mask::Mask;
use super::{Version, VersionError};

/// A template that gives no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NextVersionError {
    /// It cannot be evaluated completely.
    #[error("{why}")]
    Template {
        /// What is wrong with it.
        why: String,
    },
    /// What came out is no version.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// A release that exists, as far as versions go.
#[derive(Debug, Clone)]
pub struct Released {
    /// Its version.
    pub version: Version,
    /// Its channel.
    pub channel: String,
}

/// What the next version depends on.
#[derive(Debug, Clone, Copy)]
pub struct NextVersion<'n> {
    /// The project's releases, in any order.
    pub releases: &'n [Released],
    /// The names of the project's channels.
    pub channels: &'n [&'n str],
    /// The channel of the release to come.
    pub channel: &'n str,
    /// Variables of the project, by name.
    pub variables: &'n [(String, String)],
    /// The time that dates are taken from, in UTC.
    pub now: Timestamp,
}

/// Evaluates a version template.
///
/// Known are `Octopus.Version.{Last,Next}{Major,Minor,Patch,Build,Revision,Suffix}` of the highest release, the same
/// under `Octopus.Version.Channel.` and `Octopus.Version.Channel[NAME].`, `Octopus.Release.Channel.Name`,
/// `Octopus.Date.*`, `Octopus.Time.*` and the given variables. White space in the result does not count, so that a
/// template may have several lines. A result such as `1.2.i` is a mask over the project's releases.
pub fn next_version(template: &str, given: &NextVersion<'_>) -> Result<Version, NextVersionError> {
    let mut variables = Variables::new();
    for (name, value) in given.variables {
        variables.set(name, value);
    }
    let highest = |channel: Option<&str>| {
        let releases = given.releases.iter();
        let fits =
            releases.filter(|release| channel.is_none_or(|channel| release.channel == channel));
        fits.map(|release| &release.version).max()
    };
    number_variables(&mut variables, "Octopus.Version", highest(None));
    number_variables(
        &mut variables,
        "Octopus.Version.Channel",
        highest(Some(given.channel)),
    );
    for channel in given.channels {
        number_variables(
            &mut variables,
            &format!("Octopus.Version.Channel[{channel}]"),
            highest(Some(channel)),
        );
    }
    variables.set("Octopus.Release.Channel.Name", given.channel);
    time_variables(&mut variables, given.now);
    let options = Options::new(given.now).strict();
    let rendered =
        render(template, &variables, &options).map_err(|error| NextVersionError::Template {
            why: error.to_string(),
        })?;
    let text: String = rendered.text.split_whitespace().collect();
    Ok(written_version(&text, given.releases)?)
}

/// A version as somebody wrote it: `1.2.3`, or a mask such as `1.2.i`, which counts on from the
/// project's releases.
pub fn written_version(text: &str, releases: &[Released]) -> Result<Version, VersionError> {
    match Mask::parse(text).filter(Mask::is_mask) {
        Some(mask) => {
            let current = mask.latest(releases.iter().map(|release| &release.version));
            Version::parse(&mask.apply(current))
        }
        None => Version::parse(text),
    }
}

/// Without a release all numbers are 0, so that the first is `0.0.1` by the default template.
fn number_variables(variables: &mut Variables, prefix: &str, last: Option<&Version>) {
    let [major, minor, patch, revision] = last.map(Version::numbers).unwrap_or_default();
    let suffix = last.map(Version::prerelease).unwrap_or_default();
    for (name, number) in [
        ("Major", major),
        ("Minor", minor),
        ("Patch", patch),
        // Octopus's older word for the third number.
        ("Build", patch),
        ("Revision", revision),
    ] {
        variables.set(format!("{prefix}.Last{name}"), number.to_string());
        variables.set(
            format!("{prefix}.Next{name}"),
            number.saturating_add(1).to_string(),
        );
    }
    variables.set(format!("{prefix}.LastSuffix"), suffix);
    variables.set(format!("{prefix}.NextSuffix"), next_suffix(suffix));
}

/// The last parts of the names under `Octopus.Version`.
const NUMBERS: [&str; 12] = [
    "LastMajor",
    "LastMinor",
    "LastPatch",
    "LastBuild",
    "LastRevision",
    "LastSuffix",
    "NextMajor",
    "NextMinor",
    "NextPatch",
    "NextBuild",
    "NextRevision",
    "NextSuffix",
];

/// The first name under `Octopus.Version` in a template that there is not, as it was read, with the
/// one that may have been meant.
pub fn unknown_number(template: &str) -> Option<(String, Option<String>)> {
    let found = mantle_template::references(template);
    found.names.into_iter().find_map(|name| {
        let rest = name.strip_prefix("octopus.version.")?;
        let last = match rest.strip_prefix("channel") {
            None => rest,
            Some(of_channel) => match of_channel.rsplit_once("].") {
                Some((_, last)) => last,
                None => of_channel.strip_prefix('.').unwrap_or(of_channel),
            },
        };
        let known = NUMBERS.iter().any(|known| known.eq_ignore_ascii_case(last));
        let meant = crate::explain::nearest(last, NUMBERS);
        (!known).then_some((name, meant))
    })
}

/// `beta.3` becomes `beta.4`; a suffix without a number at its end stays.
fn next_suffix(suffix: &str) -> String {
    let digits = suffix.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, number) = suffix.split_at(suffix.len() - digits);
    match number.parse::<u64>() {
        Ok(number) => format!("{stem}{}", number.saturating_add(1)),
        Err(_) => suffix.to_owned(),
    }
}

fn time_variables(variables: &mut Variables, now: Timestamp) {
    let now = now.to_zoned(TimeZone::UTC);
    for (name, value) in [
        ("Octopus.Date.Year", i64::from(now.year())),
        ("Octopus.Date.Month", i64::from(now.month())),
        ("Octopus.Date.Day", i64::from(now.day())),
        ("Octopus.Date.DayOfYear", i64::from(now.day_of_year())),
        ("Octopus.Time.Hour", i64::from(now.hour())),
        ("Octopus.Time.Minute", i64::from(now.minute())),
        ("Octopus.Time.Second", i64::from(now.second())),
    ] {
        variables.set(name, value.to_string());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::project::DEFAULT_VERSION_TEMPLATE;

    /// `1.2.3` or `1.2.3@channel`.
    fn releases(texts: &[&str]) -> Vec<Released> {
        texts
            .iter()
            .map(|text| {
                let (version, channel) = text.split_once('@').unwrap_or((text, "default"));
                Released {
                    version: Version::parse(version).unwrap(),
                    channel: channel.to_owned(),
                }
            })
            .collect()
    }

    fn next(template: &str, texts: &[&str]) -> Result<String, NextVersionError> {
        let given = NextVersion {
            releases: &releases(texts),
            channels: &["default", "hot fix", "empty"],
            channel: "default",
            variables: &[("Train".to_owned(), "7".to_owned())],
            now: "2026-11-23T10:20:30Z".parse().unwrap(),
        };
        next_version(template, &given).map(|version| version.to_string())
    }

    #[test]
    fn a_number_that_there_is_not_is_found_with_what_was_meant() {
        for (template, expected) in [
            ("1.#{Octopus.Version.NextPatch}", None),
            ("1.#{octopus.version.channel.lastbuild}", None),
            ("1.#{Octopus.Version.Channel[hot fix].NextMinor}", None),
            ("1.#{Train}", None),
            ("1.#{Octopus.Version.NextPatc}", Some(Some("NextPatch"))),
            (
                "1.#{Octopus.Version.Channel[x].NextPach}",
                Some(Some("NextPatch")),
            ),
            ("1.#{Octopus.Version.Xyz}", Some(None)),
        ] {
            let found = unknown_number(template).map(|(_, meant)| meant);
            let expected = expected.map(|meant| meant.map(str::to_owned));
            assert_eq!(found, expected, "{template}");
        }
    }

    /// Every number that is known has a value.
    #[test]
    fn every_known_number_can_be_evaluated() {
        for number in NUMBERS {
            let template = format!("#{{if Octopus.Version.{number} == \"\"}}#{{/if}}1.0");
            assert!(next(&template, &["1.2.3"]).is_ok(), "{number}");
        }
    }

    /// Sections 1.3 (release) of the reference.
    #[test]
    fn the_next_version_follows_the_highest() {
        for (template, releases, expected) in [
            (DEFAULT_VERSION_TEMPLATE, &[][..], "0.0.1"),
            (
                DEFAULT_VERSION_TEMPLATE,
                &["1.2.9", "1.2.10", "0.9"],
                "1.2.11",
            ),
            (
                "1.2.#{Octopus.Version.NextPatch}-pre",
                &["1.2.3"],
                "1.2.4-pre",
            ),
            ("1.0.#{Octopus.Version.NextBuild}", &["1.0.3"], "1.0.4"),
            (
                "1.0.0.#{Octopus.Version.NextRevision}",
                &["1.0.0.3"],
                "1.0.0.4",
            ),
            (
                "#{Octopus.Version.LastMajor}.#{Octopus.Version.NextMinor}.0",
                &["1.2.3"],
                "1.3.0",
            ),
            (
                "1.0.0-#{Octopus.Version.NextSuffix}",
                &["1.0.0-beta.3"],
                "1.0.0-beta.4",
            ),
            (
                "2.#{Octopus.Version.Channel.NextMinor}",
                &["9.9@hot fix", "2.4"],
                "2.5",
            ),
            (
                "3.#{Octopus.Version.Channel[hot fix].LastMinor}.#{Octopus.Version.Channel[empty].NextPatch}",
                &["9.9@hot fix", "2.4"],
                "3.9.1",
            ),
            (
                "#{Train}.0-#{Octopus.Release.Channel.Name}",
                &[],
                "7.0-default",
            ),
            (
                "#{Octopus.Date.Year}.#{Octopus.Date.Month}.#{Octopus.Date.Day}",
                &[],
                "2026.11.23",
            ),
            (
                "#{Octopus.Date.DayOfYear}.#{Octopus.Time.Hour}.#{Octopus.Time.Minute}.#{Octopus.Time.Second}",
                &[],
                "327.10.20.30",
            ),
        ] {
            assert_eq!(next(template, releases).unwrap(), expected, "{template}");
        }
        for bad in [
            "#{Nope}",
            "x",
            "#{Octopus.Version.NextMajor",
            "1.2.#{Octopus.Version.Channel[gone].LastPatch}",
        ] {
            assert!(next(bad, &[]).is_err(), "{bad}");
        }
    }

    /// Sections 1.3 (release, versions) and 7 (surprises) of the reference, and the decision in docs/adr: the
    /// last release is the highest, not the one that was created last, which a patch of an older
    /// line would be. What a channel's variables count is the channel's alone.
    #[test]
    fn the_last_release_is_the_highest_whatever_was_created_last() {
        // The newest first, as the store lists them, and the other way round.
        for releases in [["1.0.1", "1.0.2", "1.0.0"], ["1.0.0", "1.0.2", "1.0.1"]] {
            assert_eq!(next(DEFAULT_VERSION_TEMPLATE, &releases).unwrap(), "1.0.3");
        }
        let releases = ["9.1.1@hot fix", "10.2.99", "9.1.2@hot fix"];
        for (template, expected) in [
            (
                "#{Octopus.Version.LastMajor}.#{Octopus.Version.NextMinor}",
                "10.3",
            ),
            ("9.1.#{Octopus.Version.Channel[hot fix].NextPatch}", "9.1.3"),
            ("10.2.#{Octopus.Version.Channel.NextPatch}", "10.2.100"),
            ("1.#{Octopus.Version.Channel[empty].NextMinor}", "1.1"),
        ] {
            assert_eq!(next(template, &releases).unwrap(), expected, "{template}");
        }
    }

    /// Section 1.3 of the reference (release): masks `i` and `c`.
    #[test]
    fn a_version_that_is_written_may_be_a_mask() {
        let releases = releases(&["1.2.3", "1.2.4@hot fix", "1.3.0"]);
        for (text, expected) in [
            ("1.2.i", Some("1.2.5")),
            ("1.c.i", Some("1.3.1")),
            ("2.0.i", Some("2.0.0")),
            ("1.3.0-rc.i", Some("1.3.0-rc.1")),
            ("1.2.7", Some("1.2.7")),
            ("1.2.x", None),
            ("v1.2.i", None),
            ("1.2.3.4.i", None),
        ] {
            let version = written_version(text, &releases).ok();
            let version = version.as_ref().map(Version::as_str);
            assert_eq!(version, expected, "{text}");
        }
    }

    #[test]
    fn a_mask_counts_on_from_the_highest_release_that_fits() {
        const DAY: &str = "#{Octopus.Date.Year}.#{Octopus.Date.Month}.#{Octopus.Date.Day}.i";
        for (template, releases, expected) in [
            (DAY, &["2026.11.22.4"][..], "2026.11.23.0"),
            (DAY, &["2026.11.23.4", "2026.11.22.9"], "2026.11.23.5"),
            ("1.#{Train}.i", &["1.7.3", "1.8.1"], "1.7.4"),
            (
                "1.0.0-#{Octopus.Release.Channel.Name}.i",
                &["1.0.0-default.9@hot fix"],
                "1.0.0-default.10",
            ),
            ("2.1.c.i", &["1.0"], "2.1.0.0"),
            // No mask: 'i' is the name of the pre-release.
            ("1.0.0-i", &["1.0.0-4"], "1.0.0-i"),
        ] {
            assert_eq!(next(template, releases).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_template_may_have_several_lines() {
        let template = concat!(
            "#{Octopus.Date.Year}.#{Octopus.Date.Month}.#{Octopus.Date.Day}.\n",
            "#{if Octopus.Date.Day==Octopus.Version.LastPatch}\n  #{Octopus.Version.NextRevision}\n",
            "#{else}\n  0\n#{/if}\n",
        );
        assert_eq!(next(template, &["2026.11.23.4"]).unwrap(), "2026.11.23.5");
        assert_eq!(next(template, &["2026.11.22.4"]).unwrap(), "2026.11.23.0");
    }
}
