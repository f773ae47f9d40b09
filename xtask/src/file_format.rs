//! The manual's page of every key of the files, written from their schema.
//!
//! The schema is made from the types that read the files; a test of those holds the copy in `docs` to
//! it, and a rule of tidy this page to the copy. So the page says what is read, and nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use crate::tree::{Tree, root};

/// The page.
pub(crate) const PAGE: &str = "docs/src/file-format.md";
/// The schema that it is written from.
pub(crate) const SCHEMA: &str = "docs/mantle.schema.json";
/// What a reference begins with.
const REFERENCE: &str = "#/definitions/";
/// The type of the document itself, which the schema does not name.
const DOCUMENT: &str = "Document";

const HEAD: &str = "# Every key of the files

What may stand in a file, key by key. [Project files](files.md) says how the parts belong together, with examples;
[Actions](actions.md) what each action does. `mantle schema` prints the same for editors.

This page is written from the schema by `cargo run -p xtask -- file-format`.
";

/// What each type of the schema is called here, in the order of the sections. What is not here and is
/// no word or text is a fault.
const TITLES: &[(&str, &str)] = &[
    (DOCUMENT, "A document"),
    ("VersionPackage", "A version by package"),
    ("PackageItem", "A package"),
    ("ChannelItem", "A channel"),
    ("RuleItem", "A rule of a channel"),
    ("SecretItem", "A secret"),
    ("PromptedItem", "A prompted variable"),
    ("PromptItem", "A prompt"),
    ("ValueItem", "A value of a variable"),
    ("StepItem", "A step"),
    ("ActionItem", "An action"),
    ("SelectorItem", "Targets by tag"),
    ("RollingItem", "A rolling step"),
    ("WhenItem", "Where something applies"),
    ("RetriesItem", "Retries"),
    ("LockItem", "A lock"),
    ("TimeoutsItem", "Time limits of a project"),
    ("EnvironmentItem", "An environment"),
    ("LifecycleItem", "A lifecycle"),
    ("PhaseItem", "A phase"),
    ("RetentionItem", "What is kept"),
    ("TargetItem", "A target"),
    ("HealthCheckItem", "A health check"),
    ("Script", "Inputs of script"),
    ("Package", "Inputs of package"),
    ("PackageScripts", "Scripts of package"),
    ("CustomDirectory", "A custom directory"),
    ("PackageTransfer", "Inputs of package.transfer"),
    ("HttpCheck", "Inputs of http.check"),
    ("HaproxyDrain", "Inputs of haproxy.drain"),
    ("HaproxyEnable", "Inputs of haproxy.enable"),
    ("Site", "Inputs of iis.site"),
    ("Application", "Inputs of iis.application"),
    ("VirtualDirectory", "Inputs of iis.virtual_directory"),
    ("AppPool", "Inputs of iis.app_pool"),
    ("Binding", "A binding of a site"),
    ("Authentication", "Ways to log in"),
    ("Feature", "Inputs of iis.feature"),
    ("Notify", "Inputs of notify"),
    ("Email", "A mail"),
    ("SystemdService", "Inputs of systemd.service"),
    ("WindowsService", "Inputs of windows.service"),
    ("Service", "Inputs of service"),
    ("NginxDrain", "Inputs of nginx.drain"),
    ("NginxEnable", "Inputs of nginx.enable"),
    ("NginxSite", "Inputs of nginx.site"),
    ("FileTemplate", "Inputs of file.template"),
    ("FileCopy", "Inputs of file.copy"),
    ("ProcessCheck", "Inputs of process.check"),
    ("TcpCheck", "Inputs of tcp.check"),
    ("Wait", "Inputs of wait"),
    ("Manual", "Inputs of manual"),
];

/// The page as it should be, and what it cannot say.
pub(crate) fn page(tree: &Tree) -> Result<(String, Vec<String>)> {
    let file = tree.files().find(|file| file.path == SCHEMA);
    let text = &file.with_context(|| format!("{SCHEMA} is not there"))?.text;
    let schema: Value = serde_json::from_str(text).context("reading the schema")?;
    let mut writer = Writer {
        schema: &schema,
        faults: Vec::new(),
    };
    let reached = writer.reached();
    for name in &reached {
        if is_map(writer.definition(name)) && title(name).is_none() {
            writer
                .faults
                .push(format!("type {name} of the schema has no title in xtask"));
        }
    }
    let mut page = HEAD.to_owned();
    for (name, title) in TITLES {
        if reached.contains(*name) {
            writer.section(name, title, &mut page)?;
        } else {
            writer
                .faults
                .push(format!("the title of {name} is for nothing in the schema"));
        }
    }
    Ok((page, writer.faults))
}

/// Writes the page; true if there is nothing to complain of.
pub(crate) fn write() -> Result<bool> {
    let (page, faults) = page(&Tree::read()?)?;
    for fault in &faults {
        println!("{fault}");
    }
    let path = root()?.join(PAGE);
    std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    println!("written: {PAGE}");
    Ok(faults.is_empty())
}

fn title(name: &str) -> Option<&'static str> {
    let mut titles = TITLES.iter();
    titles
        .find(|(known, _)| *known == name)
        .map(|(_, title)| *title)
}

struct Writer<'s> {
    schema: &'s Value,
    faults: Vec<String>,
}

impl<'s> Writer<'s> {
    fn definition(&self, name: &str) -> &'s Value {
        let found = if name == DOCUMENT {
            Some(self.schema)
        } else {
            self.schema.get("definitions").and_then(|all| all.get(name))
        };
        found.unwrap_or(&Value::Null)
    }

    /// The types that a document leads to.
    fn reached(&self) -> BTreeSet<String> {
        let mut reached = BTreeSet::from([DOCUMENT.to_owned()]);
        let mut open = VecDeque::from([DOCUMENT.to_owned()]);
        while let Some(name) = open.pop_front() {
            let mut found = Vec::new();
            let definition = self.definition(&name);
            let own = definition.as_object().into_iter().flatten();
            // The definitions stand beside the document's own keys.
            for (_, part) in own.filter(|(key, _)| *key != "definitions") {
                references(part, &mut found);
            }
            for name in found {
                if reached.insert(name.clone()) {
                    open.push_back(name);
                }
            }
        }
        reached
    }

    fn section(&mut self, name: &str, heading: &str, page: &mut String) -> Result<()> {
        let definition = self.definition(name);
        let says = said(definition);
        writeln!(page, "\n## {heading}\n").context("a heading")?;
        // The inputs of an action say no more than their name.
        if !says.starts_with('`') {
            writeln!(page, "{says}\n").context("a description")?;
        }
        writeln!(page, "| Key | Type | What it is |\n|---|---|---|").context("a table")?;
        let required: BTreeSet<&str> = list(definition, "required")
            .filter_map(Value::as_str)
            .collect();
        let keys = definition.get("properties").and_then(Value::as_object);
        for (key, value) in keys.into_iter().flatten() {
            let mut kind = self.kind(value);
            if required.contains(key.as_str()) {
                kind.push_str("; required");
            }
            let text = self.text(value);
            // Some descriptions say it themselves.
            let default = value.get("default").and_then(Value::as_str);
            if let Some(word) = default.filter(|_| !text.contains("default")) {
                let _ = write!(kind, "; by default `{word}`");
            }
            writeln!(page, "| `{key}` | {} | {} |", cell(&kind), cell(&text)).context("a row")?;
        }
        let mut inputs = list(definition, "allOf").filter_map(input_of).peekable();
        if inputs.peek().is_some() {
            let links = inputs.map(|(action, reference)| {
                let title = title(&reference).unwrap_or_default();
                format!("[`{action}`](#{})", anchor(title))
            });
            let links: Vec<String> = links.collect();
            writeln!(
                page,
                "\nWhat stands under `with` is checked for {}.",
                links.join(", ")
            )
            .context("a line")?;
        }
        Ok(())
    }

    /// What may stand there, for people.
    fn kind(&mut self, value: &Value) -> String {
        if let Some(name) = reference(value) {
            return self.named(&name);
        }
        if let Some(word) = value.get("const").and_then(Value::as_str) {
            return format!("`{word}`");
        }
        let words: Vec<String> = list(value, "enum")
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        if !words.is_empty() {
            return words.join(", ");
        }
        let kinds: Vec<&Value> = list(value, "anyOf")
            .chain(list(value, "oneOf"))
            .filter(|one| one.get("type").and_then(Value::as_str) != Some("null"))
            .collect();
        if let [one, many] = kinds.as_slice()
            && many.get("items") == Some(*one)
        {
            return format!("{}, or a list of such", self.kind(one));
        }
        if !kinds.is_empty() {
            let mut said: Vec<String> = Vec::new();
            for one in kinds {
                let kind = self.kind(one);
                if !said.contains(&kind) {
                    said.push(kind);
                }
            }
            return said.join(", or ");
        }
        self.plain(value)
    }

    fn plain(&mut self, value: &Value) -> String {
        let types: Vec<&str> = match value.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let pattern = value
            .get("pattern")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let said = types
            .into_iter()
            .filter(|one| *one != "null")
            .map(|one| match one {
                "string" if pattern.contains("(ms|s|m|h|d)") => "time, or a template".to_owned(),
                "string" if pattern.starts_with("#\\{") => "a template".to_owned(),
                "string" => "text".to_owned(),
                "boolean" => "true, false".to_owned(),
                "integer" => "whole number".to_owned(),
                "number" => "number".to_owned(),
                "array" => match value.get("items") {
                    Some(items) => format!("list: {}", self.kind(items)),
                    None => "list".to_owned(),
                },
                "object" => match value.get("additionalProperties") {
                    Some(inner @ Value::Object(_)) => format!("map of names: {}", self.kind(inner)),
                    _ => "map".to_owned(),
                },
                other => {
                    self.faults
                        .push(format!("a type of the schema is not known: {other}"));
                    other.to_owned()
                }
            });
        let said: Vec<String> = said.collect();
        if said.is_empty() {
            "anything".to_owned()
        } else {
            said.join(", or ")
        }
    }

    /// A type by its name: a link to its section, or what it is.
    fn named(&mut self, name: &str) -> String {
        match title(name) {
            Some(title) => format!("[{}](#{})", title.to_lowercase(), anchor(title)),
            None => self.kind(self.definition(name)),
        }
    }

    /// What is said of a key, and of each word that it may have.
    fn text(&self, value: &Value) -> String {
        let mut text = said(value);
        let words = self.words(value);
        if !words.is_empty() {
            let _ = write!(text, " {}", words.join("; "));
        }
        text
    }

    fn words(&self, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        references(value, &mut found);
        let mut words = Vec::new();
        for name in found {
            for one in list(self.definition(&name), "oneOf") {
                let Some(word) = one.get("const").and_then(Value::as_str) else {
                    continue;
                };
                let line = said(one);
                words.push(format!("`{word}`: {}", line.trim_end_matches('.')));
            }
        }
        words
    }
}

fn is_map(definition: &Value) -> bool {
    definition.get("properties").is_some()
}

/// The action type and the type of its inputs, of a rule of the schema.
fn input_of(rule: &Value) -> Option<(String, String)> {
    let action = rule.pointer("/if/properties/uses/const")?.as_str()?;
    let inputs = reference(rule.pointer("/then/properties/with")?)?;
    Some((action.to_owned(), inputs))
}

/// The type that a value is, if it is only that.
fn reference(value: &Value) -> Option<String> {
    let direct = value.get("$ref").and_then(Value::as_str);
    let wrapped = match value
        .get("allOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([one]) => one.get("$ref").and_then(Value::as_str),
        _ => None,
    };
    let name = direct.or(wrapped)?.strip_prefix(REFERENCE)?;
    Some(name.to_owned())
}

/// Every type that a part of the schema names, in order.
fn references(part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
                    Some(name) if key == "$ref" => found.push(name.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    let all: Option<&Map<String, Value>> = value.as_object();
    let all = all.and_then(|map| map.get(key)).and_then(Value::as_array);
    all.into_iter().flatten()
}

fn said(value: &Value) -> String {
    let text = value.get("description").and_then(Value::as_str);
    text.unwrap_or_default().replace('\n', " ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// As mdBook makes anchors of headings.
fn anchor(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    let kept: String = kept.collect();
    kept.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r##"{
        "description": "One document.",
        "properties": {
            "mantle": {"type": "string", "const": "v1", "description": "The version."},
            "version": {"anyOf": [{"$ref": "#/definitions/VersionPackage"}, {"type": "null"}], "description": "From\nwhere."},
            "names": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "start": {"anyOf": [{"$ref": "#/definitions/Start"}, {"type": "null"}], "description": "When.", "default": "now"},
            "wait": {"type": ["string", "null"], "pattern": "#\\{|^([0-9]+(ms|s|m|h|d))+$"},
            "all": {"type": "array", "items": {"$ref": "#/definitions/VersionPackage"}}
        },
        "required": ["mantle"],
        "definitions": {
            "VersionPackage": {"description": "A package's.", "properties": {"package": {"type": "integer", "description": "a|b"}}, "required": ["package"]},
            "Start": {"oneOf": [{"const": "now", "type": "string", "description": "At once."}, {"const": "later", "type": "string", "description": "Not yet."}]},
            "Lost": {"properties": {}}
        }
    }"##;

    fn page_of(schema: &str) -> (String, Vec<String>) {
        page(&Tree::of(&[(SCHEMA, schema)])).unwrap()
    }

    #[test]
    fn a_row_says_what_may_stand_there() {
        let (page, faults) = page_of(SMALL);
        for row in [
            "## A document\n\nOne document.\n",
            "| `mantle` | `v1`; required | The version. |",
            "| `version` | [a version by package](#a-version-by-package) | From where. |",
            "| `names` | text, or a list of such |  |",
            "| `start` | `now`, or `later`; by default `now` | When. `now`: At once; `later`: Not yet |",
            "| `wait` | time, or a template |  |",
            "| `all` | list: [a version by package](#a-version-by-package) |  |",
            "| `package` | whole number; required | a\\|b |",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        // Only what the schema has no use for is complained of.
        assert!(
            faults.iter().all(|fault| fault.contains("is for nothing")),
            "{faults:?}"
        );
    }

    #[test]
    fn a_type_without_a_title_is_a_fault() {
        let schema = SMALL.replace("VersionPackage", "SomethingNew");
        let (_, faults) = page_of(&schema);
        let new = "type SomethingNew of the schema has no title in xtask";
        assert!(faults.contains(&new.to_owned()), "{faults:?}");
    }

    #[test]
    fn the_schema_of_this_repository_is_told_without_a_fault() {
        let schema = include_str!("../../docs/mantle.schema.json");
        let (page, faults) = page_of(schema);
        assert_eq!(faults, [""; 0]);
        assert_eq!(page, include_str!("../../docs/src/file-format.md"));
    }
}
