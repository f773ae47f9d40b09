//! Warns of variables that lead back to themselves: whatever needs one fails.

use mantle_template::fold;

use super::super::{Definitions, FileError, Known};
use super::{Declared, Owner, Place};
use crate::variable::circle::{Circle, circles};
use crate::variable::{ScopedValue, Variable};
use crate::variable_set::{VariableSets, complete};

/// Those of the projects of these files, with their sets, and of the sets by themselves.
pub(in super::super) fn in_circles(
    definitions: &Definitions,
    known: &Known,
    declared: &Declared,
) -> Vec<FileError> {
    let mut sets: VariableSets = known.variable_sets.clone();
    for set in &definitions.variable_sets {
        sets.insert(set.name.clone(), set.clone());
    }
    let mut warnings = Vec::new();
    for project in &definitions.projects {
        // Offline, a set may be one that only the server has.
        let whole = complete(project.clone(), &sets).unwrap_or_else(|_| project.clone());
        let place = |variable: &Variable, index: usize| declared.find(&whole, variable, index);
        for circle in circles(&whole.variables) {
            let place =
                value(&whole.variables, &circle).and_then(|(one, _)| place(one, circle.at.1));
            let place = place.or_else(|| declared.include_place(&whole));
            warnings.extend(place.map(|place| warning(place, &circle)));
        }
    }
    for set in &definitions.variable_sets {
        for circle in circles(&set.variables) {
            let Some((one, _)) = value(&set.variables, &circle) else {
                continue;
            };
            let key = (Owner::Set(set.name.clone()), fold(&one.name));
            let places = declared.values.get(&key);
            let place = places.and_then(|places| places.get(circle.at.1));
            warnings.extend(place.map(|place| warning(place, &circle)));
        }
    }
    warnings.sort();
    warnings.dedup();
    warnings
}

fn value<'a>(
    variables: &'a [Variable],
    circle: &Circle,
) -> Option<(&'a Variable, &'a ScopedValue)> {
    let variable = variables.get(circle.at.0)?;
    Some((variable, variable.values.get(circle.at.1)?))
}

fn warning(place: &Place, circle: &Circle) -> FileError {
    let first = circle.names.first().map(String::as_str).unwrap_or_default();
    place.error(
        format!("variable '{first}' refers to itself: {}", circle.shown()),
        Some("whatever needs it fails; take one of these references out".to_owned()),
    )
}
