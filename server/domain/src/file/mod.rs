//! Project and infrastructure files: YAML in, definitions out, and back.
//!
//! Strict: an unknown or doubled key, a wrong type, a reference to something that does not exist is
//! an error that names file, line and column, says what is wrong and what may have been meant.
//! Several problems are reported together; with any of them nothing is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::environment::EnvironmentDefinition;
use crate::health::HealthCheckDefinition;
use crate::lifecycle::LifecycleDefinition;
use crate::project::ProjectDefinition;
use crate::target::TargetDefinition;
use crate::variable_set::{VariableSetDefinition, VariableSets};

mod convert;
mod de;
pub mod diff;
pub mod duration;
mod emit;
pub mod export;
mod grammar;
mod node;
mod old_names;
mod report;
mod scalar;
mod schema;
mod typed;

pub use old_names::OldNames;
pub use schema::schema;

use convert::{Declared, World};
use grammar::Document;
use report::Report;
use typed::Each;

/// Reads a set of files together: what one declares, the others may refer to.
///
/// Nothing is accepted unless all of it is sound; the errors are sorted by file and place.
pub fn parse(sources: &[Source<'_>], known: &Known) -> Result<Definitions, Vec<FileError>> {
    let mut errors: Vec<FileError> = Vec::new();
    let mut documents: Vec<(Report, Document)> = Vec::new();
    let old_names = Arc::new(known.old_names.clone());
    let report_on = |name| Report::new(name, Arc::clone(&old_names));
    for source in sources {
        let mut report = report_on(source.name);
        match node::load(source.text) {
            Ok(nodes) => {
                if nodes.is_empty() {
                    report.error(
                        node::Problem::new(
                            node::Position { line: 1, column: 1 },
                            "the file is empty",
                        )
                        .next("begin it with 'mantle: v1'"),
                    );
                }
                for node in nodes {
                    match node.read::<Document>() {
                        Ok(document) => documents.push((report_on(source.name), document)),
                        Err(problem) => report.error(problem),
                    }
                }
            }
            Err(problems) => problems
                .into_iter()
                .for_each(|problem| report.error(problem)),
        }
        errors.append(&mut report.errors);
    }
    let world = World::new(known, &documents);
    let mut declared = Declared::new(known);
    let mut definitions = Definitions::default();
    for (mut report, document) in documents {
        convert::document(
            document,
            &world,
            &mut declared,
            &mut definitions,
            &mut report,
        );
        errors.append(&mut report.errors);
        definitions.warnings.append(&mut report.warnings);
    }
    if errors.is_empty() {
        errors = convert::library(&definitions, known, &declared);
        let tied = convert::tied_by_tags(&definitions, known, &world, &declared);
        errors.extend(tied.errors);
        definitions.warnings.extend(tied.warnings);
    }
    if errors.is_empty() {
        let unmatched = convert::unmatched(&definitions, known, &declared);
        definitions.warnings.extend(unmatched);
        let circles = convert::in_circles(&definitions, known, &declared);
        definitions.warnings.extend(circles);
        definitions.warnings.sort();
        Ok(definitions)
    } else {
        errors.sort();
        errors.dedup();
        Err(errors)
    }
}

/// A file as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// How people know it: its path as they typed it.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// What the server has already, for references out of the files. Empty sets where files are read
/// without a server, with `complete` false.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// The sets below are what there is; otherwise a name that is not in them is not an error.
    pub complete: bool,
    /// Environments.
    pub environments: BTreeSet<String>,
    /// Lifecycles.
    pub lifecycles: BTreeSet<String>,
    /// Targets with their tags.
    pub targets: BTreeMap<String, Vec<String>>,
    /// The environments of targets; of one that is not here they are not known.
    pub target_environments: BTreeMap<String, BTreeSet<String>>,
    /// Health checks.
    pub health_checks: BTreeSet<String>,
    /// Secrets by path.
    pub secrets: BTreeSet<String>,
    /// Variable sets by name.
    pub variable_sets: VariableSets,
    /// The projects that include variable sets: a set that changes must still fit them. All projects
    /// where [`Definitions::retagged`] says that targets change: their tags must fit them, too. So
    /// where [`FileError::is_about_tags`] says it: what was so before is no error.
    pub projects: Vec<ProjectDefinition>,
    /// Names that could not be given any more, of what is there.
    pub old_names: OldNames,
}

/// What a set of files defines.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Definitions {
    /// Environments, in the order of the files.
    pub environments: Vec<EnvironmentDefinition>,
    /// Lifecycles.
    pub lifecycles: Vec<LifecycleDefinition>,
    /// Targets.
    pub targets: Vec<TargetDefinition>,
    /// Health checks.
    #[serde(default)]
    pub health_checks: Vec<HealthCheckDefinition>,
    /// Variable sets.
    #[serde(default)]
    pub variable_sets: Vec<VariableSetDefinition>,
    /// Projects.
    pub projects: Vec<ProjectDefinition>,
    /// What is not wrong but should be known, such as a secret that is not set yet.
    #[serde(default)]
    pub warnings: Vec<FileError>,
}

impl Definitions {
    /// The targets whose tags are not what the server has, or which it does not have.
    pub fn retagged(&self, known: &Known) -> Vec<&TargetDefinition> {
        let targets = self.targets.iter();
        targets
            .filter(|target| {
                let new: BTreeSet<&String> = target.tags.iter().collect();
                let old = known.targets.get(&target.name);
                old.map(|tags| tags.iter().collect::<BTreeSet<_>>()) != Some(new)
            })
            .collect()
    }
}

/// What is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub next: Option<String>,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.what
        )?;
        match &self.next {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FileError {}

impl FileError {
    /// It is about a name that cannot be given, which may be in use all the same.
    pub fn is_about_a_name(&self) -> bool {
        self.what.contains(report::NO_NAME)
    }

    /// It is about values that tie on a target, which they may do already.
    pub fn is_about_tags(&self) -> bool {
        self.what.contains(convert::OF_BOTH)
    }
}

#[cfg(test)]
mod library_tests;
#[cfg(test)]
mod manual_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod references_tests;
#[cfg(test)]
mod scalar_tests;
#[cfg(test)]
mod tests;
