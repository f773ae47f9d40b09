//! Values that an action was not given: secrets that it does not use, and what reaches one. A file
//! that needs one is not written without it: nobody would notice before it is too late.

use jiff::Timestamp;
use mantle_template::{Options, References, references, render};

use super::{ActionError, Variables};

/// Stands for each of the values that are not there. No file holds it by accident.
const MARK: &str = "\u{1}withheld by mantle\u{1}";

/// The first withheld name that a text needs: one that stands in it, or one without which it comes out
/// as another (an index that is only known now may lead to it, and so may a loop).
pub(super) fn needed<'v>(text: &str, variables: &'v Variables) -> Option<&'v str> {
    variables.withheld().next()?;
    if !text.contains("#{") {
        return None;
    }
    let reached = references(text);
    let written = References {
        names: reached.names.clone(),
        ..References::default()
    };
    let named = variables.withheld().find(|name| written.reaches(name));
    named.or_else(|| {
        let led_to = variables.withheld().filter(|name| reached.reaches(name));
        let led_to: Vec<&str> = led_to.collect();
        let first = led_to.first().copied()?;
        differs(text, variables, &led_to).then_some(first)
    })
}

/// The text comes out as another when these have a value.
fn differs(text: &str, variables: &Variables, names: &[&str]) -> bool {
    let without = template_variables(variables);
    let mut with = without.clone();
    for name in names {
        with.set(*name, MARK);
    }
    // The same moment for both, or a date would tell them apart.
    let options = Options::new(Timestamp::UNIX_EPOCH);
    match (
        render(text, &without, &options),
        render(text, &with, &options),
    ) {
        (Ok(without), Ok(with)) => without.text != with.text || without.problems != with.problems,
        // What cannot be rendered at all fails for itself.
        (Err(_), _) => false,
        (Ok(_), Err(_)) => true,
    }
}

/// Why a file is not written.
pub(super) fn refused(key: &str, path: &str, name: &str) -> ActionError {
    ActionError::failed(format!(
        "{key}: {path} needs '{name}', which is a secret, or reaches one, that this action was not given; name it under secrets: of the action"
    ))
}

/// The variables that an action was given.
pub(super) fn template_variables(variables: &Variables) -> mantle_template::Variables {
    let mut all = mantle_template::Variables::new();
    for variable in variables.iter() {
        all.set(variable.name.as_str(), variable.value.as_str());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::Variable;
    use super::*;

    #[test]
    fn a_text_needs_what_it_names_and_what_its_loops_and_indexes_lead_to() {
        let given = [
            ("Plain", "x"),
            ("Which", "web02"),
            ("Other", "web01"),
            ("List[a]", "1"),
            ("Out[web02].Url", "u"),
            ("When", "#{ | NowDate}"),
        ];
        let given = given.map(|(name, value)| Variable {
            name: name.to_owned(),
            value: value.to_owned(),
            sensitive: false,
            exported: true,
        });
        let withheld = ["Password", "List[b]", "Out[web01].Url", "Deep.Key"];
        let variables =
            Variables::new(given.to_vec()).withholding(withheld.map(str::to_owned).to_vec());
        for (text, needs) in [
            ("no template", None),
            ("#{Plain} #{Missing}", None),
            ("#{password}", Some("Password")),
            ("#{if Password}a#{/if}", Some("Password")),
            ("#{if Password == \"never\"}a#{/if}", Some("Password")),
            ("#{Plain | Replace #{Password}}", Some("Password")),
            ("#{Deep.Key}", Some("Deep.Key")),
            ("##{Password}", None),
            ("#{each x in List}#{x};#{/each}", Some("List[b]")),
            ("#{Out[#{Which}].Url}", None),
            ("#{Out[#{Other}].Url}", Some("Out[web01].Url")),
            ("#{Out[#{Which}].Url} #{When}", None),
        ] {
            assert_eq!(needed(text, &variables), needs, "{text}");
        }
        assert_eq!(needed("#{Password}", &Variables::new(given.to_vec())), None);
    }
}
