//! Looks for the names of secrets in scripts and in the package files that an action substitutes.
//!
//! An action uses a secret when its name stands literally there. A name is found in any case, as it
//! is or as an environment variable (`Database.Password`, `DATABASE_PASSWORD`), and only as a whole
//! word.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::action::runs_packaged_scripts;
use crate::action::undo::ROLLBACK;
use crate::process::{Action, Process};

/// A package's files to be scanned for one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRequest {
    /// The action.
    pub action: String,
    /// The package.
    pub package: String,
    /// Paths or globs in it whose text holds names.
    pub texts: Vec<String>,
    /// Paths or globs in it whose keys, joined by `:`, are names.
    pub structured: Vec<String>,
}

/// What must be looked at in packages before a release of this process can be assembled.
pub fn requests(process: &Process) -> Vec<ScanRequest> {
    let mut requests = Vec::new();
    for action in process.steps.iter().flat_map(|step| &step.actions) {
        let Some(Value::String(package)) = action.with.get("package") else {
            continue;
        };
        let mut texts = Vec::new();
        if let Some(Value::String(file)) = action.with.get("file") {
            texts.push(file.clone());
        }
        if action.uses == "file.template" {
            texts.extend(globs(action, "from"));
        }
        if action.uses != "script" {
            texts.extend(globs(action, "substitute"));
            // A setting's key is the variable's whole name.
            texts.extend(globs(action, "dotnet_config"));
        }
        if runs_packaged_scripts(action) {
            texts.extend(mantle_shared::convention::globs());
        }
        let structured = globs(action, "structured");
        if !texts.is_empty() || !structured.is_empty() {
            requests.push(ScanRequest {
                action: action.name.clone(),
                package: package.clone(),
                texts,
                structured,
            });
        }
    }
    requests
}

fn globs(action: &Action, key: &str) -> Vec<String> {
    match action.with.get(key) {
        Some(Value::String(glob)) => vec![glob.clone()],
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

/// The script texts of an action that stand in the process itself.
pub(super) fn own_texts(action: &Action) -> impl Iterator<Item = &str> {
    let keys = if action.uses == "script" {
        &["run", ROLLBACK][..]
    } else {
        &[]
    };
    let own = keys.iter().filter_map(|key| action.with.get(*key));
    let scripts = action
        .with
        .get("scripts")
        .filter(|_| action.uses == "package");
    let of_stages = scripts.and_then(Value::as_object).into_iter();
    let of_stages = of_stages.flat_map(|scripts| scripts.values());
    own.chain(of_stages).filter_map(Value::as_str)
}

/// Those of `names` that stand in a script or text file.
pub fn names_in_text(text: &str, names: &BTreeSet<String>) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    names
        .iter()
        .filter(|name| {
            let plain = name.to_lowercase();
            stands_in(&lower, &plain) || stands_in(&lower, &as_environment(&plain))
        })
        .cloned()
        .collect()
}

/// Those of `names` whose parts all stand in a configuration file: what is between the colons of a
/// path, the words of an XPath.
pub fn names_in_structure(text: &str, names: &BTreeSet<String>) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    names
        .iter()
        .filter(|name| {
            let name = name.to_lowercase();
            let stands = |part: &str| stands_in(&lower, part);
            if name.contains('/') {
                let mut words = name.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
                words.all(|word| word.is_empty() || stands(word))
            } else {
                name.split(':').all(stands)
            }
        })
        .cloned()
        .collect()
}

fn as_environment(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// As a whole word: `Password` does not stand in `PasswordHint`.
fn stands_in(text: &str, word: &str) -> bool {
    if word.is_empty() {
        return false;
    }
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(word)) {
        let start = from + found;
        let end = start + word.len();
        let before = text.get(..start).and_then(|left| left.chars().next_back());
        let after = text.get(end..).and_then(|right| right.chars().next());
        if !before.is_some_and(part) && !after.is_some_and(part) {
            return true;
        }
        from = start + word.chars().next().map_or(1, char::len_utf8);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> BTreeSet<String> {
        ["Database.Password", "Api:Key", "Pin"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn names_are_found_as_whole_words_in_either_spelling() {
        for (text, expected) in [
            (
                "get_octopusvariable \"Database.Password\"",
                &["Database.Password"][..],
            ),
            ("echo $DATABASE_PASSWORD", &["Database.Password"]),
            (
                "$OctopusParameters['database.password']",
                &["Database.Password"],
            ),
            ("echo $DATABASE_PASSWORD_HINT", &[]),
            ("ping host; spin", &[]),
            ("pin=$PIN", &["Pin"]),
            ("curl -H \"$API_KEY\"", &["Api:Key"]),
            ("", &[]),
        ] {
            let found: Vec<String> = names_in_text(text, &names()).into_iter().collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn structured_names_are_paths() {
        let found = names_in_structure(r#"{"api": {"key": "x"}, "pinned": 1}"#, &names());
        assert_eq!(found, ["Api:Key".to_owned()].into());
        let paths = ["//add[@key='Api.Key']/@value", "/a/b[@id='x']/@key", "/a/c"];
        let names = paths.map(str::to_owned).into();
        let text = "<a><B id='x' key=''/><add key=\"api.key\" value=\"\"/></a>";
        let found: Vec<_> = names_in_structure(text, &names).into_iter().collect();
        assert_eq!(
            found,
            ["//add[@key='Api.Key']/@value", "/a/b[@id='x']/@key"]
        );
    }

    #[test]
    fn settings_are_looked_for_by_their_keys() {
        let found = names_in_text(r#"<add key="Api:Key" value=""/>"#, &names());
        assert_eq!(found, ["Api:Key".to_owned()].into());
    }
}
