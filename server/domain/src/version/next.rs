//! The next release's version, from the project's template and the releases there are.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mantle_template::{Options, Variables, render};

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

/// Evaluates a version template.
///
/// `releases` are the versions of all of the project's releases, `in_channel` those of the channel.
/// Known are `Octopus.Version.{Last,Next}{Major,Minor,Patch,Build,Revision,Suffix}`, the same under
/// `Octopus.Version.Channel.`, `Octopus.Date.*`, `Octopus.Time.*` (UTC) and what `extra` adds.
pub fn next_version(
    template: &str,
    releases: &[Version],
    in_channel: &[Version],
    extra: &[(String, String)],
    now: Timestamp,
) -> Result<Version, NextVersionError> {
    let mut variables = Variables::new();
    for (name, value) in extra {
        variables.set(name, value);
    }
    number_variables(&mut variables, "Octopus.Version", releases.iter().max());
    number_variables(
        &mut variables,
        "Octopus.Version.Channel",
        in_channel.iter().max(),
    );
    time_variables(&mut variables, now);
    let options = Options::new(now).strict();
    let rendered =
        render(template, &variables, &options).map_err(|error| NextVersionError::Template {
            why: error.to_string(),
        })?;
    Ok(Version::parse(rendered.text.trim())?)
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

    fn versions(texts: &[&str]) -> Vec<Version> {
        texts
            .iter()
            .map(|text| Version::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn the_next_version_follows_the_highest() {
        let now = "2026-11-23T10:20:30Z".parse().unwrap();
        for (template, releases, channel, expected) in [
            (DEFAULT_VERSION_TEMPLATE, &[][..], &[][..], "0.0.1"),
            (
                DEFAULT_VERSION_TEMPLATE,
                &["1.2.9", "1.2.10", "0.9"],
                &[],
                "1.2.11",
            ),
            (
                "#{Octopus.Version.LastMajor}.#{Octopus.Version.NextMinor}.0",
                &["1.2.3"],
                &[],
                "1.3.0",
            ),
            (
                "2.#{Octopus.Version.Channel.NextMinor}",
                &["9.9"],
                &["2.4"],
                "2.5",
            ),
            (
                "1.0.0-#{Octopus.Version.NextSuffix}",
                &["1.0.0-beta.3"],
                &[],
                "1.0.0-beta.4",
            ),
            (
                "#{Octopus.Date.Year}.#{Octopus.Date.Month}.#{Octopus.Date.Day}",
                &[],
                &[],
                "2026.11.23",
            ),
        ] {
            let next =
                next_version(template, &versions(releases), &versions(channel), &[], now).unwrap();
            assert_eq!(next.as_str(), expected, "{template}");
        }
        for bad in ["#{Nope}", "x", "#{Octopus.Version.NextMajor"] {
            assert!(next_version(bad, &[], &[], &[], now).is_err(), "{bad}");
        }
    }
}
