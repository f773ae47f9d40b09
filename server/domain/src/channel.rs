//! Channels: which package versions a kind of release may take.
//!
//! The rules are judged when a release is created and never again; the lifecycle that a channel
//! names is live.

use mantle_template::same_name;
use serde::{Deserialize, Serialize};

use crate::version::{PatternError, PrereleasePattern, Range, RangeError, Version};

/// The name of the channel that a project without channels has.
pub const IMPLICIT_CHANNEL: &str = "default";

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDefinition {
    /// Its name, unique in the project.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Releases go here unless they name another.
    #[serde(default)]
    pub default: bool,
    /// The lifecycle of its releases, in place of the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// What the packages of a release must satisfy.
    #[serde(default)]
    pub rules: Vec<ChannelRule>,
}

/// What one package's version must satisfy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRule {
    /// The package's id.
    pub package: String,
    /// A `NuGet` range, such as `[1.0,2.0)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// An expression for the pre-release text, such as `^$` for "stable only".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prerelease: Option<String>,
}

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The range is not one.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The expression is not one, or takes too long.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// The channel of a project that declares none: anything goes.
pub fn implicit() -> ChannelDefinition {
    ChannelDefinition {
        name: IMPLICIT_CHANNEL.to_owned(),
        description: None,
        default: true,
        lifecycle: None,
        rules: Vec::new(),
    }
}

/// The project's channels, of which there is always at least one.
pub fn effective(channels: &[ChannelDefinition]) -> Vec<ChannelDefinition> {
    if channels.is_empty() {
        vec![implicit()]
    } else {
        channels.to_vec()
    }
}

/// The channels of a project that are gone from it, or bear another name, in their order.
pub fn gone(before: &[ChannelDefinition], after: &[ChannelDefinition]) -> Vec<String> {
    let left = effective(after);
    let stays = |one: &ChannelDefinition| left.iter().any(|other| other.name == one.name);
    let before = effective(before).into_iter();
    before
        .filter(|one| !stays(one))
        .map(|one| one.name)
        .collect()
}

/// The channel that a release gets when it names none: the one marked, or else the first.
pub fn default_of(channels: &[ChannelDefinition]) -> ChannelDefinition {
    channels
        .iter()
        .find(|channel| channel.default)
        .or_else(|| channels.first())
        .cloned()
        .unwrap_or_else(implicit)
}

impl ChannelRule {
    /// The rule for people: `range [1.0,), pre-release ^$`.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if let Some(range) = &self.range {
            parts.push(format!("range {range}"));
        }
        if let Some(pattern) = &self.prerelease {
            parts.push(format!("pre-release {pattern}"));
        }
        if parts.is_empty() {
            "any version".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

impl ChannelDefinition {
    /// The rules for a package, to be asked about many versions.
    pub fn rules_for(&self, package: &str) -> Result<PackageRules<'_>, RuleError> {
        let rules = self.rules.iter();
        let own = rules.filter(|rule| same_name(&rule.package, package));
        Ok(PackageRules(
            own.map(PackageRule::read).collect::<Result<_, _>>()?,
        ))
    }
}

/// A channel's rules for one package, each read once.
#[derive(Debug)]
pub struct PackageRules<'a>(Vec<PackageRule<'a>>);

#[derive(Debug)]
struct PackageRule<'a> {
    rule: &'a ChannelRule,
    range: Option<Range>,
    prerelease: Option<PrereleasePattern>,
}

impl<'a> PackageRules<'a> {
    /// The first rule that this version of the package breaks.
    pub fn broken(&self, version: &Version) -> Result<Option<&'a ChannelRule>, RuleError> {
        for own in &self.0 {
            if !own.accepts(version)? {
                return Ok(Some(own.rule));
            }
        }
        Ok(None)
    }

    /// The rules for people, one after the other.
    pub fn describe(&self) -> String {
        let rules = self.0.iter().map(|own| own.rule.describe());
        rules.collect::<Vec<_>>().join("; ")
    }
}

impl<'a> PackageRule<'a> {
    fn read(rule: &'a ChannelRule) -> Result<Self, RuleError> {
        #[cfg(test)]
        tests::READ.set(tests::READ.get() + 1);
        let range = rule.range.as_deref().map(Range::parse).transpose()?;
        let pattern = rule.prerelease.as_deref();
        Ok(Self {
            rule,
            range,
            prerelease: pattern.map(PrereleasePattern::parse).transpose()?,
        })
    }

    fn accepts(&self, version: &Version) -> Result<bool, RuleError> {
        if self
            .range
            .as_ref()
            .is_some_and(|range| !range.contains(version))
        {
            return Ok(false);
        }
        match &self.prerelease {
            None => Ok(true),
            Some(pattern) => Ok(pattern.accepts(version)?),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many rules this test has read.
        pub(crate) static READ: Cell<usize> = const { Cell::new(0) };
    }

    fn rule(range: Option<&str>, prerelease: Option<&str>) -> ChannelRule {
        ChannelRule {
            package: "Web".to_owned(),
            range: range.map(str::to_owned),
            prerelease: prerelease.map(str::to_owned),
        }
    }

    #[test]
    fn rules_judge_range_and_prerelease_together() {
        // Reference section 1.3, version rules.
        for (range, prerelease, version, expected) in [
            (Some("[1.0,)"), Some("^$"), "1.2.3", true),
            (Some("[1.0,)"), Some("^$"), "1.2.3-beta", false),
            (Some("[1.0,)"), Some("^$"), "0.9", false),
            (None, Some("^hotfix"), "1.0.0-hotfix.2", true),
            (None, Some("^hotfix"), "1.0.0", false),
            (None, Some(r"^(|\+.*)$"), "1.0.0+build.7", true),
            (None, Some(r"^$"), "1.0.0+build.7", false),
            (None, Some(r"^[^\+].*"), "1.0.0-rc.1+7", true),
            (None, None, "1.0.0-rc.1", true),
        ] {
            let version = Version::parse(version).unwrap();
            let rule = rule(range, prerelease);
            let accepted = PackageRule::read(&rule).unwrap().accepts(&version);
            assert_eq!(
                accepted.unwrap(),
                expected,
                "{range:?} {prerelease:?} {version}"
            );
        }
    }

    #[test]
    fn a_channel_is_gone_when_its_name_is() {
        let named = |names: &[&str]| -> Vec<ChannelDefinition> {
            let one = |name: &&str| ChannelDefinition {
                name: (*name).to_owned(),
                default: false,
                ..implicit()
            };
            names.iter().map(one).collect()
        };
        for (before, after, gone_) in [
            (&["a", "b"][..], &["b", "c"][..], &["a"][..]),
            (&["a", "b"], &["b", "a"], &[]),
            // The one that a project without channels has.
            (&[], &["stable"], &["default"]),
            (&[], &["default", "hotfix"], &[]),
            (&["stable"], &[], &["stable"]),
        ] {
            assert_eq!(
                gone(&named(before), &named(after)),
                gone_,
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn a_project_without_channels_has_one() {
        let channels = effective(&[]);
        assert_eq!(default_of(&channels).name, IMPLICIT_CHANNEL);
    }
}
