//! What a deployment brings: the releases between the one that runs in an environment and this one.
//!
//! Between is meant by version number, not by time; only releases of the same channel count, and
//! pre-releases bring their own notes alone (reference section 1.3, release notes and changes).

use std::cmp::Ordering;

use crate::version::Version;

/// A release that may lie between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its version.
    pub version: String,
    /// Its channel.
    pub channel: String,
}

/// Where this release lies, seen from the one that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Nothing of this channel runs there.
    First,
    /// It is newer.
    Forward,
    /// It is the same.
    Same,
    /// It is older.
    Back,
}

/// The direction, and the releases whose notes this one brings, the newest first: itself, and those
/// strictly between.
pub fn brought<'a>(
    running: Option<&str>,
    this: &'a Past,
    all: &'a [Past],
) -> (Direction, Vec<&'a Past>) {
    let Some(running) = running else {
        return (Direction::First, vec![this]);
    };
    let (Ok(from), Ok(to)) = (Version::parse(running), Version::parse(&this.version)) else {
        return (Direction::Forward, vec![this]);
    };
    match to.cmp(&from) {
        Ordering::Equal => return (Direction::Same, Vec::new()),
        Ordering::Less => return (Direction::Back, Vec::new()),
        Ordering::Greater => {}
    }
    let mut between: Vec<(Version, &Past)> = all
        .iter()
        .filter(|past| past.channel == this.channel && past.version != this.version)
        .filter_map(|past| Some((Version::parse(&past.version).ok()?, past)))
        .filter(|(version, _)| !version.is_prerelease() && *version > from && *version < to)
        .collect();
    between.sort_by(|a, b| b.0.cmp(&a.0));
    let mut brought = vec![this];
    brought.extend(between.into_iter().map(|(_, past)| past));
    (Direction::Forward, brought)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(version: &str, channel: &str) -> Past {
        Past {
            version: version.to_owned(),
            channel: channel.to_owned(),
        }
    }

    #[test]
    fn notes_accumulate_between_versions_of_one_channel() {
        // Reference section 1.3, release notes and deployment changes.
        let all = [
            past("1.10.0", "stable"),
            past("1.2.0", "stable"),
            past("1.3.0-rc.1", "stable"),
            past("1.9.0", "stable"),
            past("1.5.0", "hotfix"),
            past("1.1.0", "stable"),
        ];
        for (running, this, direction, expected) in [
            // By number, not by time or by text.
            (
                Some("1.1.0"),
                "1.10.0",
                Direction::Forward,
                &["1.10.0", "1.9.0", "1.2.0"][..],
            ),
            (Some("1.9.0"), "1.10.0", Direction::Forward, &["1.10.0"]),
            // A pre-release never accumulates, but says what it brings itself.
            (
                Some("1.1.0"),
                "1.3.0-rc.1",
                Direction::Forward,
                &["1.3.0-rc.1", "1.2.0"],
            ),
            (Some("1.10.0"), "1.9.0", Direction::Back, &[]),
            (Some("1.9.0.0"), "1.9.0", Direction::Same, &[]),
            (None, "1.2.0", Direction::First, &["1.2.0"]),
        ] {
            let this = past(this, "stable");
            let (found, brought) = brought(running, &this, &all);
            let versions: Vec<&str> = brought.iter().map(|past| past.version.as_str()).collect();
            assert_eq!(
                (found, versions.as_slice()),
                (direction, expected),
                "{running:?}"
            );
        }
    }
}
