//! A release's notes, which are a template, and its own fields.
//!
//! Notes are evaluated when the release is created, with the variables that hold without a place
//! or for the release's channel (reference section 1.3). Secrets have no value in them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_shared::order::OrderPackage;
use mantle_template::{Options, Variables, render, same_name};

use crate::explain::Refusal;
use crate::variable::{Situation, Variable, VariableValue, resolve};

/// The most fields that a release or a deployment may have.
pub const MOST_FIELDS: usize = 10;
/// The longest name or value of a field, in characters.
pub const LONGEST_FIELD: usize = 150;
/// Notes are read by people.
const MOST_NOTES_BYTES: usize = 64 * 1024;

/// What notes can speak of.
#[derive(Debug, Clone, Copy)]
pub struct NotesContext<'a> {
    /// The project's slug.
    pub project: &'a str,
    /// The release's version.
    pub version: &'a str,
    /// Its channel.
    pub channel: &'a str,
    /// Its variables.
    pub variables: &'a [Variable],
    /// Its packages.
    pub packages: &'a [OrderPackage],
    /// Its own fields.
    pub fields: &'a BTreeMap<String, String>,
}

/// The notes, evaluated; what has no value stays as it was written and is warned of.
pub fn evaluate(
    template: &str,
    context: &NotesContext<'_>,
    now: Timestamp,
) -> Result<(String, Vec<String>), Refusal> {
    let bad = |why: String| Refusal::BadTemplate {
        place: "the release's notes".to_owned(),
        why,
    };
    if template.len() > MOST_NOTES_BYTES {
        return Err(bad("they are larger than 64 KiB".to_owned()));
    }
    let variables = variables(context)?;
    let rendered =
        render(template, &variables, &Options::new(now)).map_err(|error| bad(error.to_string()))?;
    if let Some(problem) = rendered.first_error() {
        return Err(bad(problem.to_string()));
    }
    let mut warnings: Vec<String> = rendered
        .problems
        .iter()
        .map(|problem| format!("the notes use {}, which has no value here", problem.token))
        .collect();
    warnings.dedup();
    if rendered.text.len() > MOST_NOTES_BYTES {
        return Err(bad("they become larger than 64 KiB".to_owned()));
    }
    Ok((rendered.text.into_owned(), warnings))
}

/// The variables that templates of a release itself see, its notes and its version: what holds without
/// a place or for its channel.
pub(super) fn texts_of_release(
    variables: &[Variable],
    channel: &str,
) -> Result<Vec<(String, String)>, Refusal> {
    let situation = Situation {
        channel: Some(channel),
        ..Situation::default()
    };
    let mut texts = Vec::new();
    for variable in variables {
        if let Some(winner) = resolve(variable, &situation)?
            && let VariableValue::Text(text) = &winner.value
        {
            texts.push((variable.name.clone(), text.clone()));
        }
    }
    Ok(texts)
}

fn variables(context: &NotesContext<'_>) -> Result<Variables, Refusal> {
    let texts = texts_of_release(context.variables, context.channel)?;
    let mut variables: Variables = texts.into_iter().collect();
    let mut put = |name: String, value: &str| variables.insert(name, Some(value.to_owned()));
    put("Octopus.Project.Name".to_owned(), context.project);
    put("Octopus.Project.Slug".to_owned(), context.project);
    put("Octopus.Release.Number".to_owned(), context.version);
    put("Octopus.Release.Channel.Name".to_owned(), context.channel);
    for package in context.packages {
        let prefix = format!("Octopus.Release.Package[{}]", package.id);
        put(format!("{prefix}.PackageId"), &package.id);
        put(format!("{prefix}.Version"), &package.version);
    }
    for (name, value) in context.fields {
        put(format!("Octopus.Release.CustomFields[{name}]"), value);
    }
    Ok(variables)
}

/// What may be said about a deployment, in characters.
pub const LONGEST_COMMENT: usize = 2000;

/// A comment that can be kept.
pub fn check_comment(comment: &str) -> Result<(), Refusal> {
    if comment.chars().count() > LONGEST_COMMENT {
        return Err(Refusal::BadComment {
            most: LONGEST_COMMENT,
        });
    }
    Ok(())
}

/// Fields of `whose` that can be kept: `a release`, `a deployment`.
pub fn check_fields(whose: &str, fields: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let bad = |why: String| Err(Refusal::BadField { why });
    if fields.len() > MOST_FIELDS {
        return bad(format!(
            "{whose} has at most {MOST_FIELDS} fields, and {} were given",
            fields.len()
        ));
    }
    for ((name, _), (other, _)) in fields.iter().enumerate().flat_map(|(at, field)| {
        let others = fields.iter().skip(at + 1);
        others.map(move |other| (field, other))
    }) {
        if same_name(name, other) {
            return bad(format!(
                "the fields '{name}' and '{other}' of {whose} are the same: case does not count"
            ));
        }
    }
    for (name, value) in fields {
        if name.is_empty() {
            return bad(format!("a field of {whose} needs a name"));
        }
        let long = |text: &str| text.chars().count() > LONGEST_FIELD;
        if long(name) || long(value) {
            let shown: String = name.chars().take(30).collect();
            return bad(format!(
                "field '{shown}' is longer than {LONGEST_FIELD} characters"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::release::ScannedFiles;
    use crate::testing::{a_package, a_project, a_release};

    fn noted(template: &str) -> Result<(String, Vec<String>), Refusal> {
        let project = a_project(
            "variables: { Site: [{ value: everywhere }, { value: here, channel: default }, { value: t, environment: test }], Only: [{ value: t, environment: test }], P: { secret: shop/password } }\n",
        );
        let release = a_release(&project, &ScannedFiles::new());
        let context = NotesContext {
            project: "shop",
            version: "1.2",
            channel: "default",
            variables: &release.variables.variables,
            packages: &[a_package("Web", "7.0")],
            fields: &[("PR".to_owned(), "12".to_owned())].into(),
        };
        evaluate(template, &context, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn notes_see_values_without_a_place_or_of_their_channel() {
        // Reference section 1.3, release notes.
        for (template, expected) in [
            ("plain", "plain"),
            (
                "#{Octopus.Release.Number} of #{Octopus.Project.Name}",
                "1.2 of shop",
            ),
            ("at #{Site}", "at here"),
            ("web #{Octopus.Release.Package[Web].Version}", "web 7.0"),
            (
                "#{each p in Octopus.Release.Package}#{p.PackageId}#{/each}",
                "Web",
            ),
            ("PR #{Octopus.Release.CustomFields[PR]}", "PR 12"),
        ] {
            assert_eq!(noted(template).unwrap(), (expected.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn what_has_no_value_stays_and_is_warned_of() {
        let (text, warnings) = noted("#{Only} #{P}").unwrap();
        assert_eq!(text, "#{Only} #{P}", "no place, and no secret");
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn notes_that_cannot_be_read_are_refused_and_not_said_to_lack_a_value() {
        let refused = noted("what is new: #{if x").unwrap_err().to_string();
        assert!(refused.contains("is not a tag"), "{refused}");
        assert!(refused.contains("--notes"), "what to type next: {refused}");
        let escaped = noted("what is new: ##{if x").unwrap();
        assert_eq!(escaped, ("what is new: #{if x".to_owned(), Vec::new()));
    }

    #[test]
    fn fields_that_differ_in_case_only_are_refused() {
        let fields = ["Ticket", "other", "ticket"].map(|name| (name.to_owned(), "x".to_owned()));
        let refused = check_fields("a release", &fields.into()).unwrap_err();
        assert!(
            refused.to_string().contains("'Ticket' and 'ticket'"),
            "{refused}"
        );
    }

    #[test]
    fn fields_are_few_and_short() {
        let many = |count: usize| -> BTreeMap<String, String> {
            (0..count)
                .map(|n| (format!("f{n}"), "x".to_owned()))
                .collect()
        };
        assert!(check_fields("a release", &many(10)).is_ok());
        assert!(check_fields("a deployment", &many(11)).is_err());
        assert!(check_comment(&"é".repeat(LONGEST_COMMENT)).is_ok());
        assert!(check_comment(&"x".repeat(LONGEST_COMMENT + 1)).is_err());
        for (name, value) in [("", "x".to_owned()), ("a", "é".repeat(151))] {
            assert!(
                check_fields("a release", &[(name.to_owned(), value)].into()).is_err(),
                "{name}"
            );
        }
        let longest = [("a".to_owned(), "é".repeat(150))].into();
        assert!(check_fields("a release", &longest).is_ok());
    }
}
