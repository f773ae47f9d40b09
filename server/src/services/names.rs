//! Finds what people name, and says what they probably meant when there is no such thing.

use std::collections::HashMap;

use mantle_domain::explain::Refusal;
use mantle_domain::ids::EnvironmentId;
use mantle_domain::name;

use super::error::{Error, Result, nearest};
use crate::store::{
    EnvironmentRow, Extent, HealthCheckRow, LifecycleRow, ProjectRow, ReleaseRow, TargetRow,
    TaskRow, Tx, VariableSetRow, environment_find, environment_list, health_check_find,
    health_check_list, lifecycle_find, lifecycle_list, project_find, project_list, release_find,
    release_list, target_find, target_list, task_find, variable_set_find, variable_set_list,
};

/// The project of this slug.
pub async fn project(tx: &mut Tx, slug: &str) -> Result<ProjectRow> {
    if let Some(row) = project_find(tx, slug).await? {
        return Ok(row);
    }
    let all = project_list(tx, "", Extent::All).await?;
    Err(Refusal::UnknownProject {
        project: slug.to_owned(),
        suggestion: nearest(slug, all.iter().map(|row| row.slug.as_str())),
    }
    .into())
}

/// The environment of this name.
pub async fn environment(tx: &mut Tx, name: &str) -> Result<EnvironmentRow> {
    if let Some(row) = environment_find(tx, name).await? {
        return Ok(row);
    }
    let all = environment_list(tx).await?;
    Err(Refusal::UnknownEnvironment {
        environment: name.to_owned(),
        suggestion: nearest(name, all.iter().map(|row| row.name.as_str())),
    }
    .into())
}

/// All environments' names by id.
pub async fn environment_names(
    tx: &mut Tx,
) -> crate::store::Result<HashMap<EnvironmentId, String>> {
    let all = environment_list(tx).await?;
    Ok(all.into_iter().map(|row| (row.id, row.name)).collect())
}

/// The lifecycle of this name.
pub async fn lifecycle(tx: &mut Tx, name: &str) -> Result<LifecycleRow> {
    if let Some(row) = lifecycle_find(tx, name).await? {
        return Ok(row);
    }
    let all = lifecycle_list(tx).await?;
    let known = all.iter().map(|row| row.name.as_str());
    Err(Error::not_found(
        "lifecycle",
        name,
        known,
        "'mantle lifecycle list' shows all",
    ))
}

/// The health check of this name.
pub async fn health_check(tx: &mut Tx, name: &str) -> Result<HealthCheckRow> {
    if let Some(row) = health_check_find(tx, name).await? {
        return Ok(row);
    }
    let all = health_check_list(tx).await?;
    let known = all.iter().map(|row| row.name.as_str());
    Err(Error::not_found(
        "health check",
        name,
        known,
        "'mantle health-check list' shows all",
    ))
}

/// The variable set of this name.
pub async fn variable_set(tx: &mut Tx, name: &str) -> Result<VariableSetRow> {
    if let Some(row) = variable_set_find(tx, name).await? {
        return Ok(row);
    }
    let all = variable_set_list(tx).await?;
    let known = all.iter().map(|row| row.name.as_str());
    Err(Error::not_found(
        "variable set",
        name,
        known,
        "'mantle variable-set list' shows all",
    ))
}

/// The release of this version.
pub async fn release(tx: &mut Tx, project: &ProjectRow, version: &str) -> Result<ReleaseRow> {
    if let Some(row) = release_find(tx, project.id, version).await? {
        return Ok(row);
    }
    let all = release_list(tx, project.id, None, 200).await?;
    // Another line of versions is no slip of the finger.
    let line = |version: &str| version.split(['.', '-', '+']).next().map(str::to_owned);
    let known = all.iter().map(|row| row.version.as_str());
    let near = nearest(version, known.filter(|known| line(known) == line(version)));
    Err(Refusal::UnknownRelease {
        project: project.slug.clone(),
        version: version.to_owned(),
        suggestion: near,
    }
    .into())
}

/// The target of this name.
pub async fn target(tx: &mut Tx, name: &str) -> Result<TargetRow> {
    if let Some(row) = target_find(tx, name).await? {
        return Ok(row);
    }
    let all = target_list(tx, None).await?;
    let known = all.iter().map(|row| row.name.as_str());
    Err(Error::not_found(
        "target",
        name,
        known,
        "'mantle target list' shows all",
    ))
}

/// The task of this number, written `T-12`, `t-12` or `12`.
pub async fn task(tx: &mut Tx, text: &str) -> Result<TaskRow> {
    let number = task_number(text)?;
    match task_find(tx, number).await? {
        Some(row) => Ok(row),
        None => Err(Error::not_found(
            "task",
            text,
            [],
            "'mantle task list' shows the latest",
        )),
    }
}

/// The number in `T-12`, `t-12` or `12`.
pub fn task_number(text: &str) -> Result<u64> {
    let digits = text
        .strip_prefix("T-")
        .or_else(|| text.strip_prefix("t-"))
        .unwrap_or(text);
    digits.parse().map_err(|_| {
        Error::invalid(
            "bad-task-number",
            format!("'{text}' is not a task's number"),
            "write it like T-12; 'mantle task list' shows the latest",
        )
    })
}

/// Checks the name of a target, a tag or an environment by the rule that files obey, with the
/// characters that such names may hold inside.
pub fn check(kind: &'static str, name: &str, extra: &[char]) -> Result<()> {
    if name::is_sound(name, extra) {
        return Ok(());
    }
    let shown: String = name.chars().take(60).collect();
    Err(Error::invalid(
        "bad-name",
        format!(
            "'{shown}' cannot be the name of {}",
            name::with_article(kind)
        ),
        name::remedy(extra),
    ))
}

/// Checks a name that people give to keys and teams: it must fit one word in a table, a
/// path and a command line.
pub fn check_word(what: &'static str, word: &str) -> Result<()> {
    if name::is_word(word) {
        return Ok(());
    }
    let shown: String = word.chars().take(name::LONGEST_WORD).collect();
    Err(Error::invalid(
        "bad-name",
        format!("'{shown}' cannot be the name of {what}"),
        "use up to 100 letters, digits and . - _ @ +",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn task_numbers_are_read_as_people_write_them() {
        for text in ["T-12", "t-12", "12"] {
            assert_eq!(task_number(text).unwrap(), 12);
        }
        let error = task_number("X-1").unwrap_err();
        assert_eq!(error.to_string(), "'X-1' is not a task's number");
    }

    #[test]
    fn what_a_file_refuses_a_command_refuses_too() {
        assert!(check("tag", "role/web", name::IN_TAGS).is_ok());
        assert!(check("environment", "pre production", name::IN_ENVIRONMENTS).is_ok());
        let error = check("tag", "a@b+c", name::IN_TAGS).unwrap_err();
        assert_eq!(error.to_string(), "'a@b+c' cannot be the name of a tag");
        let error = check("environment", "a,b", name::IN_ENVIRONMENTS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "'a,b' cannot be the name of an environment"
        );
    }

    #[test]
    fn names_with_blanks_or_slashes_are_refused() {
        assert!(check_word("an API key", "ada@example.com").is_ok());
        for bad in ["", "a b", "a/b", "a,b", &"x".repeat(101)] {
            assert!(check_word("an API key", bad).is_err(), "{bad}");
        }
    }
}
