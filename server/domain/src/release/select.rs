//! Chooses a release's channel, the versions of its packages and its own version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_shared::order::OrderPackage;
use mantle_template::same_name;

use super::notes::texts_of_release;
use super::{ExistingRelease, ReleaseOptions, Selection};
use crate::channel::{self, ChannelDefinition};
use crate::explain::{Refusal, nearest};
use crate::project::{ProjectDefinition, VersionSource};
use crate::version::{NextVersion, Released, Version, next_version, written_version};

/// Chooses. `available` are the versions of the project's packages that the repository holds.
///
/// Of each package it is the newest that satisfies the channel's rules, unless one is named.
pub fn select(
    project: &ProjectDefinition,
    options: &ReleaseOptions,
    available: &BTreeMap<String, Vec<OrderPackage>>,
    existing: &[ExistingRelease],
    now: Timestamp,
) -> Result<Selection, Vec<Refusal>> {
    let mut refusals = Vec::new();
    for asked in options.packages.keys() {
        if !project
            .packages
            .iter()
            .any(|package| same_name(&package.id, asked))
        {
            refusals.push(Refusal::UnknownPackage {
                project: project.slug.clone(),
                package: asked.clone(),
                suggestion: nearest(
                    asked,
                    project.packages.iter().map(|package| package.id.as_str()),
                ),
            });
        }
    }
    let channels = channel::effective(&project.channels);
    let (channel, chosen) = match &options.channel {
        Some(name) => {
            let channel = named(project, &channels, name).map_err(|refusal| vec![refusal])?;
            let chosen = choose_packages(project, options, available, &channel);
            (channel, chosen)
        }
        None => suitable(project, options, available, &channels)?,
    };
    let mut packages = match chosen {
        Ok(packages) => packages,
        Err(more) => {
            refusals.extend(more);
            Vec::new()
        }
    };
    packages.sort_by(|a, b| a.id.cmp(&b.id));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let version = choose_version(project, options, &channel, &packages, existing, now)
        .map_err(|refusal| vec![refusal])?;
    Ok(Selection {
        version,
        channel: channel.name,
        packages,
    })
}

/// The version of a release whose channel and packages are chosen, given the releases that there are
/// by now: another one than was chosen then, if somebody took that meanwhile.
pub fn version_of(
    project: &ProjectDefinition,
    options: &ReleaseOptions,
    chosen: (&str, &[OrderPackage]),
    existing: &[ExistingRelease],
    now: Timestamp,
) -> Result<String, Refusal> {
    let (channel, packages) = chosen;
    let channels = channel::effective(&project.channels);
    let channel = named(project, &channels, channel)?;
    choose_version(project, options, &channel, packages, existing, now)
}

fn named(
    project: &ProjectDefinition,
    channels: &[ChannelDefinition],
    name: &str,
) -> Result<ChannelDefinition, Refusal> {
    let mut known = channels.iter();
    let found = known.find(|channel| same_name(&channel.name, name));
    found.cloned().ok_or_else(|| Refusal::UnknownChannel {
        project: project.slug.clone(),
        channel: name.to_owned(),
        suggestion: nearest(name, channels.iter().map(|channel| channel.name.as_str())),
    })
}

type Chosen = Result<Vec<OrderPackage>, Vec<Refusal>>;

/// The channel whose rules all packages satisfy (reference section 1.3): the only one, or of
/// several the default one. With none of them nothing is guessed.
fn suitable(
    project: &ProjectDefinition,
    options: &ReleaseOptions,
    available: &BTreeMap<String, Vec<OrderPackage>>,
    channels: &[ChannelDefinition],
) -> Result<(ChannelDefinition, Chosen), Vec<Refusal>> {
    let default = channel::default_of(channels);
    let chosen = choose_packages(project, options, available, &default);
    // A package that nobody pushed, or not in that version, is missing in every channel.
    let by_rule = |refusal: &Refusal| {
        matches!(
            refusal,
            Refusal::ChannelRuleBroken { .. } | Refusal::NoPackageForChannel { .. }
        )
    };
    let judged = match &chosen {
        Ok(_) => return Ok((default, chosen)),
        Err(refusals) => refusals.iter().all(by_rule),
    };
    if channels.len() < 2 || !judged {
        return Ok((default, chosen));
    }
    let mut fitting: Vec<(ChannelDefinition, Vec<OrderPackage>)> = channels
        .iter()
        .filter_map(|channel| {
            let packages = choose_packages(project, options, available, channel).ok()?;
            Some((channel.clone(), packages))
        })
        .collect();
    if fitting.len() > 1 {
        return Err(vec![Refusal::ChannelAmbiguous {
            project: project.slug.clone(),
            channels: fitting
                .into_iter()
                .map(|(channel, _)| channel.name)
                .collect(),
        }]);
    }
    // Of none the default one says why not.
    Ok(fitting
        .pop()
        .map_or((default, chosen), |(channel, packages)| {
            (channel, Ok(packages))
        }))
}

fn choose_packages(
    project: &ProjectDefinition,
    options: &ReleaseOptions,
    available: &BTreeMap<String, Vec<OrderPackage>>,
    channel: &ChannelDefinition,
) -> Chosen {
    let mut packages = Vec::new();
    let mut refusals = Vec::new();
    for reference in &project.packages {
        let versions = available
            .iter()
            .find(|(id, _)| same_name(id, &reference.id))
            .map(|(_, versions)| versions.as_slice())
            .unwrap_or_default();
        match choose_package(&project.slug, &reference.id, versions, channel, options) {
            Ok(package) => packages.push(package),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() {
        Ok(packages)
    } else {
        Err(refusals)
    }
}

fn choose_package(
    project: &str,
    id: &str,
    versions: &[OrderPackage],
    channel: &ChannelDefinition,
    options: &ReleaseOptions,
) -> Result<OrderPackage, Refusal> {
    // What cannot be read as a version was never accepted by the repository.
    let mut parsed: Vec<(Version, &OrderPackage)> = versions
        .iter()
        .filter_map(|package| Some((Version::parse(&package.version).ok()?, package)))
        .collect();
    parsed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| b.1.version.cmp(&a.1.version)));
    let Some((_, newest)) = parsed.first() else {
        return Err(Refusal::PackageMissing {
            package: id.to_owned(),
        });
    };
    let bad_rule = |why: String| Refusal::BadRule {
        channel: channel.name.clone(),
        why,
    };
    let rules = channel
        .rules_for(id)
        .map_err(|error| bad_rule(error.to_string()))?;
    let asked = options
        .packages
        .iter()
        .find(|(name, _)| same_name(name, id))
        .map(|(_, version)| version)
        .or(options.package_version.as_ref());
    if let Some(asked) = asked {
        let wanted = Version::parse(asked).map_err(|error| Refusal::BadVersion {
            project: project.to_owned(),
            package: Some(id.to_owned()),
            place: format!("package '{id}'"),
            why: error.to_string(),
        })?;
        let found = parsed
            .iter()
            .find(|(version, _)| version.is_same_build(&wanted))
            .or_else(|| parsed.iter().find(|(version, _)| *version == wanted));
        let Some((version, package)) = found else {
            return Err(Refusal::PackageVersionMissing {
                package: id.to_owned(),
                version: asked.clone(),
                newest: newest.version.clone(),
            });
        };
        let broken = rules
            .broken(version)
            .map_err(|error| bad_rule(error.to_string()))?;
        return match broken {
            Some(rule) if !options.ignore_channel_rules => Err(Refusal::ChannelRuleBroken {
                package: id.to_owned(),
                version: package.version.clone(),
                channel: channel.name.clone(),
                rule: rule.describe(),
            }),
            _ => Ok((*package).clone()),
        };
    }
    for (version, package) in &parsed {
        let broken = rules
            .broken(version)
            .map_err(|error| bad_rule(error.to_string()))?;
        if broken.is_none() || options.ignore_channel_rules {
            return Ok((*package).clone());
        }
    }
    Err(Refusal::NoPackageForChannel {
        package: id.to_owned(),
        channel: channel.name.clone(),
        rule: rules.describe(),
        newest: newest.version.clone(),
    })
}

fn choose_version(
    project: &ProjectDefinition,
    options: &ReleaseOptions,
    channel: &ChannelDefinition,
    packages: &[OrderPackage],
    existing: &[ExistingRelease],
    now: Timestamp,
) -> Result<String, Refusal> {
    let bad = |place: &str, why: String| Refusal::BadVersion {
        project: project.slug.clone(),
        package: None,
        place: place.to_owned(),
        why,
    };
    let releases: Vec<Released> = existing
        .iter()
        .filter_map(|release| {
            Some(Released {
                version: Version::parse(&release.version).ok()?,
                channel: release.channel.clone(),
            })
        })
        .collect();
    let version = match (&options.version, &project.version) {
        (Some(text), _) => written_version(text, &releases)
            .map_err(|error| bad("the release's version", error.to_string()))?,
        (None, VersionSource::Template(template)) => {
            let channels: Vec<&str> = project
                .channels
                .iter()
                .map(|channel| channel.name.as_str())
                .collect();
            let mut variables = texts_of_release(&project.variables, &channel.name)?;
            for name in ["Octopus.Project.Name", "Octopus.Project.Slug"] {
                variables.push((name.to_owned(), project.slug.clone()));
            }
            let given = NextVersion {
                releases: &releases,
                channels: &channels,
                channel: &channel.name,
                variables: &variables,
                now,
            };
            next_version(template, &given)
                .map_err(|error| bad("the project's version template", error.to_string()))?
        }
        (None, VersionSource::Package(id)) => {
            let donor = packages.iter().find(|package| same_name(&package.id, id));
            let donor = donor.ok_or_else(|| Refusal::PackageMissing {
                package: id.clone(),
            })?;
            Version::parse(&donor.version)
                .map_err(|error| bad("the package's version", error.to_string()))?
        }
    };
    // Equal in precedence is the same release to people: 1.0 and 1.0.0 side by side only confuse.
    let mut taken = releases.iter().map(|release| &release.version);
    if let Some(taken) = taken.find(|other| other.is_same_build(&version)) {
        return Err(Refusal::VersionExists {
            project: project.slug.clone(),
            version: taken.to_string(),
        });
    }
    Ok(version.to_string())
}
