//! Which names of secrets stand in the files of a release's packages.
//!
//! Each folder of a package is read once and each file that is asked for once, one after the other, so
//! that the time grows with the files alone and memory holds one of them. There is a bound and a
//! deadline: what goes beyond is refused, for a release without some of its names would leave files
//! without their secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use mantle_domain::project::ProjectDefinition;
use mantle_domain::release::scan::{self, ScanRequest};
use mantle_domain::release::{ScannedFiles, Selection, sensitive_variables};
use mantle_shared::order::OrderPackage;
use mantle_shared::text_file::{self, MAX_TEXT_FILE_BYTES};
use mantle_template::same_name;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Services;
use super::error::{Error, Result};
use crate::packages::objects::{ObjectError, Objects};
use crate::packages::read::each_entry;

/// What is looked through for one release at most.
const MOST: Bounds = Bounds {
    files: 100_000,
    bytes: 2 * 1024 * 1024 * 1024,
};

/// What is looked for, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Question {
    names: BTreeSet<String>,
    places: Vec<Place>,
}

/// A package, and what actions ask for in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    package: OrderPackage,
    requests: Vec<ScanRequest>,
}

/// What was looked for last and found: the same is not looked for twice.
pub(super) struct Scan {
    until: Instant,
    asked: Question,
    found: ScannedFiles,
}

/// How much is looked through.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    files: u64,
    bytes: u64,
}

/// Why it was not looked through to its end.
#[derive(Debug, thiserror::Error)]
enum ScanError {
    /// A package cannot be read.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The globs of actions name more than the bounds allow.
    #[error("more than {} files or {} MiB", .0.files, .0.bytes / 1024 / 1024)]
    TooMuch(Bounds),
}

impl Question {
    /// What is to be known of the packages that were selected.
    pub(super) fn of(definition: &ProjectDefinition, selection: &Selection) -> Self {
        let names = sensitive_variables(definition);
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        if names.is_empty() {
            return Self::default();
        }
        for request in scan::requests(&definition.process) {
            let mut held = selection.packages.iter();
            let package = held.find(|p| same_name(&p.id, &request.package));
            if let Some(package) = package {
                let place = places.entry(&package.id).or_insert_with(|| Place {
                    package: package.clone(),
                    requests: Vec::new(),
                });
                place.requests.push(request);
            }
        }
        let places = places.into_values().collect();
        Self { names, places }
    }

    /// The places, for people.
    fn describe(&self) -> String {
        let places = self.places.iter().map(|place| {
            let actions = place.requests.iter();
            let actions: Vec<String> = actions.map(|r| format!("'{}'", r.action)).collect();
            format!(
                "package '{}' {} (for {})",
                place.package.id,
                place.package.version,
                actions.join(", ")
            )
        });
        places.collect::<Vec<_>>().join(" and ")
    }

    fn too_much(&self, what: &str) -> Error {
        Error::refused(
            "too-much-to-scan",
            format!(
                "looking for the names of secrets in the files of {} takes {what}",
                self.describe()
            ),
            "let 'substitute', 'structured' and 'dotnet_config' name fewer files, such as 'conf/*.json' in place of '**'",
        )
    }
}

impl Scan {
    /// Nothing yet, and to be done by this time.
    pub(super) fn until(until: Instant) -> Self {
        Self {
            until,
            asked: Question::default(),
            found: ScannedFiles::new(),
        }
    }
}

impl Services {
    /// Which of the names stand in which action's files.
    pub(super) async fn scan<'s>(
        &self,
        question: Question,
        scan: &'s mut Scan,
    ) -> Result<&'s ScannedFiles> {
        if question != scan.asked {
            scan.found = self.look_through(&question, scan.until).await?;
            scan.asked = question;
        }
        Ok(&scan.found)
    }

    async fn look_through(&self, question: &Question, until: Instant) -> Result<ScannedFiles> {
        let begun = Instant::now();
        // Nobody waits for it any more: it ends at the next file.
        let stop = self.stopping.child_token();
        let _guard = stop.clone().drop_guard();
        let (objects, asked) = (self.packages.objects().clone(), question.clone());
        let work = tokio::task::spawn_blocking(move || look(&objects, &asked, MOST, &stop));
        match tokio::time::timeout_at(until, work).await {
            Err(_) => {
                let took: Duration = begun.elapsed();
                Err(question.too_much(&format!("more than {} s", took.as_secs())))
            }
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(ScanError::Objects(error)))) => Err(error.into()),
            Ok(Ok(Err(error @ ScanError::TooMuch(_)))) => {
                Err(question.too_much(&error.to_string()))
            }
            Ok(Err(error)) => Err(Error::internal("looking through packages", error)),
        }
    }
}

/// What an action asks for, ready to be matched.
struct Wanted<'a> {
    action: &'a str,
    texts: GlobSet,
    structured: GlobSet,
}

/// Looks through all places. Blocks.
fn look(
    objects: &Objects,
    question: &Question,
    most: Bounds,
    stop: &CancellationToken,
) -> std::result::Result<ScannedFiles, ScanError> {
    let names = &question.names;
    let mut scanned = ScannedFiles::new();
    let mut left = most;
    for Place { package, requests } in &question.places {
        let wanted: Vec<Wanted<'_>> = requests
            .iter()
            .map(|request| Wanted {
                action: &request.action,
                texts: glob_set(&request.texts),
                structured: glob_set(&request.structured),
            })
            .collect();
        each_entry(objects, &package.root, &mut |entry| {
            if stop.is_cancelled() {
                return Err(ObjectError::Stopped.into());
            }
            let asking: Vec<(&Wanted<'_>, bool, bool)> = wanted
                .iter()
                .map(|wanted| {
                    let is_text = wanted.texts.is_match(entry.path());
                    let is_structured = wanted.structured.is_match(entry.path());
                    (wanted, is_text, is_structured)
                })
                .filter(|(_, is_text, is_structured)| *is_text || *is_structured)
                .collect();
            if asking.is_empty() {
                return Ok(());
            }
            let Some(bytes) = entry.read(MAX_TEXT_FILE_BYTES)? else {
                return Ok(());
            };
            let spent = (
                left.files.checked_sub(1),
                left.bytes.checked_sub(bytes.len() as u64),
            );
            let (Some(files), Some(bytes_left)) = spent else {
                return Err(ScanError::TooMuch(most));
            };
            left = Bounds {
                files,
                bytes: bytes_left,
            };
            let text = text_of(&bytes);
            for (wanted, is_text, is_structured) in asking {
                let mut found = BTreeSet::new();
                if is_text {
                    found.extend(scan::names_in_text(&text, names));
                }
                if is_structured {
                    found.extend(scan::names_in_structure(&text, names));
                }
                if !found.is_empty() {
                    let action = wanted.action.to_owned();
                    scanned.entry(action).or_default().extend(found);
                }
            }
            Ok(())
        })?;
    }
    Ok(scanned)
}

/// The globs in one. What is none matches nothing: a template cannot be matched before the deployment,
/// and the action names its secrets.
fn glob_set(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let pattern = text_file::pattern(glob);
        let mut builder = GlobBuilder::new(&pattern);
        // As agents on Windows match them: rather a file too many than one too few.
        let builder = builder.literal_separator(true).case_insensitive(true);
        if let Ok(glob) = builder.build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

/// A file as an agent will read it; what it cannot read as text, byte by byte: a script may be in any
/// encoding, and names are plain letters.
fn text_of(bytes: &[u8]) -> String {
    text_file::decode(bytes).map_or_else(
        || String::from_utf8_lossy(bytes).into_owned(),
        |(text, _)| text,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::packages::ingest::Format;
    use crate::packages::ingest::tests::{take_in, tar_of};

    /// Ten files of four bytes, all of them asked for.
    fn ten_files(objects: &Objects) -> Question {
        let names: Vec<String> = (0..10).map(|nth| format!("conf/{nth}.txt")).collect();
        let files: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), b"#Pin".as_slice()))
            .collect();
        let summary = take_in(objects, &tar_of(&files), Format::Tar).unwrap();
        let summary = summary.summary;
        Question {
            names: ["Pin".to_owned()].into(),
            places: vec![Place {
                package: OrderPackage {
                    id: "Site".to_owned(),
                    version: "1.0".to_owned(),
                    format: "tar".to_owned(),
                    size_bytes: summary.size_bytes,
                    archive: summary.archive,
                    root: summary.root,
                    linux_only: false,
                    as_pushed: None,
                },
                requests: vec![ScanRequest {
                    action: "Put".to_owned(),
                    package: "Site".to_owned(),
                    texts: vec!["**/*.txt".to_owned()],
                    structured: Vec::new(),
                }],
            }],
        }
    }

    #[test]
    fn what_goes_beyond_the_bounds_is_refused_and_what_nobody_waits_for_ends() {
        let objects = Objects::memory();
        let question = ten_files(&objects);
        let go = CancellationToken::new();
        for (files, bytes, fits) in [(10, 40, true), (9, 40, false), (10, 39, false)] {
            let looked = look(&objects, &question, Bounds { files, bytes }, &go);
            match looked {
                Ok(found) => assert!(fits && found["Put"].contains("Pin"), "{files} {bytes}"),
                Err(error) => assert!(
                    !fits && matches!(error, ScanError::TooMuch(_)),
                    "{files} {bytes}: {error}"
                ),
            }
        }
        go.cancel();
        let stopped = look(&objects, &question, MOST, &go);
        assert!(
            matches!(stopped, Err(ScanError::Objects(ObjectError::Stopped))),
            "{stopped:?}"
        );
    }
}
