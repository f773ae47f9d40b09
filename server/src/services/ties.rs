//! Equally specific values that tags of targets bring about, where they cannot be refused: targets
//! change while projects and releases stay as they are. A plan refuses what is tied.

use std::collections::BTreeMap;

use mantle_domain::release::ReleaseDraft;
use mantle_domain::variable::tags::{Tagged, may_tie_by_tags, ties_by_tags};
use mantle_domain::variable_set::complete;

use super::declared::{project_definition, variable_sets};
use super::error::Result;
use crate::store::{Extent, Tx, project_list, target_list};

/// More of them are counted.
const SHOWN: usize = 10;

/// What a target's new tags bring about in all projects, in sentences.
pub(super) async fn by_tags(tx: &mut Tx, target: Tagged<'_>) -> Result<Vec<String>> {
    let sets = variable_sets(tx).await?;
    let mut found = Vec::new();
    for row in project_list(tx, "", Extent::All).await? {
        let definition = project_definition(&row)?;
        let whole = if definition.include.is_empty() {
            definition
        } else {
            complete(definition, &sets)?
        };
        let ties = ties_by_tags(&whole.variables, &whole.process, target);
        found.extend(ties.into_iter().map(|tie| {
            format!(
                "project '{}': {tie}; a plan that needs it there is refused until one of them has a further scope, or the target one of the tags less",
                row.slug
            )
        }));
    }
    Ok(few(found))
}

/// The same of a release that is made, for all targets that there are.
pub(super) async fn in_release(tx: &mut Tx, draft: &ReleaseDraft) -> Result<Vec<String>> {
    let variables = &draft.variables.variables;
    if !variables.iter().any(may_tie_by_tags) {
        return Ok(Vec::new());
    }
    // One sentence for all targets on which the same two values tie.
    let mut found: BTreeMap<[String; 3], (String, usize)> = BTreeMap::new();
    for row in target_list(tx, None).await? {
        let target = Tagged {
            name: &row.name,
            tags: &row.tags,
            before: None,
        };
        for tie in ties_by_tags(variables, &draft.process.process, target) {
            let said = tie.to_string();
            let key = [tie.variable, tie.first, tie.second];
            found.entry(key).or_insert((said, 0)).1 += 1;
        }
    }
    let sentences = found.into_values().map(|(said, targets)| match targets {
        1 => format!("{said}; a plan that needs it there is refused"),
        more => format!(
            "{said}; so on {} further targets, and a plan that needs it there is refused",
            more - 1
        ),
    });
    Ok(few(sentences.collect()))
}

fn few(mut sentences: Vec<String>) -> Vec<String> {
    let more = sentences.len().saturating_sub(SHOWN);
    sentences.truncate(SHOWN);
    if more > 0 {
        sentences.push(format!(
            "and {more} further variables whose values are equally specific"
        ));
    }
    sentences
}
