//! Tags that files give to targets, and the values of the server's projects for them: what ties only
//! then is refused where the tags stand.

use super::super::{Definitions, FileError, Known};
use super::Declared;
use crate::project::ProjectDefinition;
use crate::variable::tags::{Tagged, ties_by_tags};
use crate::variable_set::{VariableSets, complete};

/// The ties that tags of these files bring about in projects that stand in none of them. Those of
/// the projects in these files are found with them.
pub(in super::super) fn tied_by_tags(
    definitions: &Definitions,
    known: &Known,
    declared: &Declared,
) -> Vec<FileError> {
    let targets = definitions.retagged(known);
    if targets.is_empty() {
        return Vec::new();
    }
    let mut sets: VariableSets = known.variable_sets.clone();
    for set in &definitions.variable_sets {
        sets.insert(set.name.clone(), set.clone());
    }
    let here = |one: &&ProjectDefinition| definitions.projects.iter().any(|p| p.slug == one.slug);
    let mut errors = Vec::new();
    for project in known.projects.iter().filter(|one| !here(one)) {
        // A set that it lacks is refused elsewhere.
        let Ok(project) = complete(project.clone(), &sets) else {
            continue;
        };
        for target in &targets {
            let Some(place) = declared.targets.get(&target.name) else {
                continue;
            };
            let tagged = Tagged {
                name: &target.name,
                tags: &target.tags,
                before: known.targets.get(&target.name).map(Vec::as_slice),
            };
            let ties = ties_by_tags(&project.variables, &project.process, tagged);
            errors.extend(ties.into_iter().map(|tie| {
                place.error(
                    format!(
                        "with these tags of target '{}' {tie}, both of project '{}'",
                        target.name, project.slug
                    ),
                    Some(
                        "give one of the two values a further scope, or the target one of the tags less"
                            .to_owned(),
                    ),
                )
            }));
        }
    }
    errors
}
