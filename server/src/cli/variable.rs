//! `mantle variable`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use mantle_template::fold;
use serde::Serialize;

use super::apply;
use super::exit::{CliResult, Exit, Failure};
use super::output::{BAD, DIM, GOOD, Output};
use crate::api::body::{
    OriginSource, ValueView, VariableExplanation, VariableOrigin, VariablePlace, VariablePut,
    VariableRemove, VariableScope, VariableView,
};
use crate::client::Client;

/// So much of a mark tells two values apart.
const SHOWN_MARK: usize = 12;
/// Longer values are cut in tables; JSON has all of them.
const SHOWN_VALUE: usize = 60;

/// More values on other targets, or more of these, are counted.
const SHOWN_TARGETS: usize = 20;
/// The scope of what a project says in vain.
const NOWHERE: &str = "nowhere: the server defines it";

/// What to do with variables.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a project's variables: every value, or what holds in environments
    List(ListArgs),
    /// Show why a variable has its value: every candidate, the winner, and where each token in it
    /// comes from
    Explain(ExplainArgs),
    /// Give a project's variable a value, in place of the one of the same scope
    Set(SetArgs),
    /// Take a value of a project's variable away
    Unset(UnsetArgs),
    /// Show which variables differ between two environments
    Diff(DiffArgs),
}

/// Of which project, and for what.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArgs {
    /// The project's name
    #[arg(short, long)]
    project: String,
    /// About this target
    #[arg(long)]
    target: Option<String>,
    /// In this step or action
    #[arg(long)]
    step: Option<String>,
    /// For releases of this channel; by default the project's default channel
    #[arg(long)]
    channel: Option<String>,
    /// As this release holds them, rather than as the project is now
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
}

/// What to list.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Show what holds in this environment; may be given several times
    #[arg(short, long = "environment", value_name = "ENV")]
    environments: Vec<String>,
}

/// What to explain.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The variable's name
    name: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// In this environment
    #[arg(short, long, value_name = "ENV")]
    environment: Option<String>,
}

/// Where a value holds.
#[derive(Debug, Clone, Args)]
pub(super) struct ScopeArgs {
    /// Only in this environment; may be given several times, as may the others
    #[arg(short, long = "environment", value_name = "ENV")]
    environments: Vec<String>,
    /// Only on this target
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// Only on targets with this tag
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only in this step or action
    #[arg(long = "step", value_name = "STEP")]
    steps: Vec<String>,
    /// Only for releases of this channel
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Only for tenants with this tag; kept, but nothing is deployed for a tenant yet
    #[arg(long = "tenant-tag", value_name = "SET/TAG")]
    tenant_tags: Vec<String>,
    /// Only in this process: deployment
    #[arg(long = "process", value_name = "PROCESS")]
    processes: Vec<String>,
}

/// What to set.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// NAME=VALUE, or NAME alone with --secret
    #[arg(value_name = "NAME=VALUE")]
    assignment: String,
    /// The project's name
    #[arg(short, long)]
    project: String,
    /// The value is the secret of this path
    #[arg(long, value_name = "PATH")]
    secret: Option<String>,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// What to unset.
#[derive(Debug, Args)]
pub(super) struct UnsetArgs {
    /// The variable's name
    name: String,
    /// The project's name
    #[arg(short, long)]
    project: String,
    /// All of its values, whatever their scope
    #[arg(long)]
    all: bool,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// What to compare.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// An environment; given twice
    #[arg(short, long = "environment", value_name = "ENV", required = true)]
    environments: Vec<String>,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List(args) => list(args, client, out).await,
        Command::Explain(args) => {
            let place = args.place.at(args.environment);
            let found = client.variable_explain(&args.place.project, &args.name, &place);
            out.object(&found.await?, explanation)
        }
        Command::Set(args) => set(args, client, out).await,
        Command::Unset(args) => {
            let body = VariableRemove {
                scope: args.scope.into(),
                all: args.all,
                dry_run: args.dry_run,
            };
            let done = client.variable_remove(&args.project, &args.name, &body);
            apply::finish(&done.await?, out)
        }
        Command::Diff(args) => diff(args, client, out).await,
    }
}

async fn list(args: ListArgs, client: &Client, out: Output) -> CliResult {
    let project = &args.place.project;
    if args.environments.is_empty() {
        let page = client.variables(project, &args.place.at(None)).await?;
        return out.list(
            &page.items,
            &["variable", "value", "scope", "from"],
            |one| {
                let own = one.set.clone().unwrap_or_else(|| "project".to_owned());
                let (scope, from) = match (one.of_server, one.scope.is_empty()) {
                    (false, _) => (one.scope.clone(), own),
                    // What the project says of it, and what holds in a place.
                    (true, false) => (NOWHERE.to_owned(), own),
                    (true, true) => (String::new(), "server".to_owned()),
                };
                vec![one.name.clone(), shown(one), scope, from]
            },
        );
    }
    let mut columns = Vec::new();
    for environment in &args.environments {
        let place = args.place.at(Some(environment.clone()));
        columns.push(client.variables(project, &place).await?.items);
    }
    let rows = rows(&args.environments, &columns);
    let mut headers = vec!["variable"];
    headers.extend(args.environments.iter().map(String::as_str));
    out.list(&rows, &headers, |row| {
        let mut cells = vec![row.name.clone()];
        cells.extend(args.environments.iter().map(|environment| {
            row.environments
                .get(environment)
                .map_or_else(|| "-".to_owned(), shown)
        }));
        cells
    })
}

/// One variable in several environments.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// By environment; one in which it has no value is absent.
    environments: BTreeMap<String, VariableView>,
}

fn rows(environments: &[String], columns: &[Vec<VariableView>]) -> Vec<Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (environment, column) in environments.iter().zip(columns) {
        for view in column {
            let row = rows.entry(fold(&view.name)).or_insert_with(|| Row {
                name: view.name.clone(),
                environments: BTreeMap::new(),
            });
            row.environments.insert(environment.clone(), view.clone());
        }
    }
    rows.into_values().collect()
}

async fn diff(args: DiffArgs, client: &Client, out: Output) -> CliResult {
    let [a, b] = args.environments.as_slice() else {
        let message = "two environments are compared";
        return Err(Failure::new(Exit::Usage, message).with_help("give -e twice: -e test -e live"));
    };
    let mut columns = Vec::new();
    for environment in [a, b] {
        let place = args.place.at(Some(environment.clone()));
        columns.push(client.variables(&args.place.project, &place).await?.items);
    }
    let mut rows = rows(&args.environments, &columns);
    rows.retain(|row| differs(row.environments.get(a), row.environments.get(b)));
    if rows.is_empty() {
        out.note(&format!("{a} and {b} have the same values"));
    }
    out.list(&rows, &["variable", a.as_str(), b.as_str()], |row| {
        let cell = |environment: &String| {
            let view = row.environments.get(environment);
            view.map_or_else(|| "-".to_owned(), shown)
        };
        vec![row.name.clone(), cell(a), cell(b)]
    })
}

/// Two secrets are the same if their marks are, whatever their paths. Of templates what comes out
/// counts as well.
fn differs(a: Option<&VariableView>, b: Option<&VariableView>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => match (&a.value.mark, &b.value.mark) {
            (Some(a), Some(b)) => a != b,
            // A tie names its place, which is another one on either side.
            (None, None) => {
                let all = |view: &VariableView| {
                    let VariableView {
                        value, evaluated, ..
                    } = view.clone();
                    (value, evaluated, view.tie.is_some())
                };
                all(a) != all(b)
            }
            (Some(_), None) | (None, Some(_)) => true,
        },
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

async fn set(args: SetArgs, client: &Client, out: Output) -> CliResult {
    let named = args.assignment.split('=').next().unwrap_or_default();
    if named.trim().is_empty() {
        let message = format!("'{}' names no variable", args.assignment);
        return Err(Failure::new(Exit::Usage, message).with_help("write NAME=VALUE"));
    }
    let (name, value) = match (args.assignment.split_once('='), &args.secret) {
        (Some((name, value)), None) => (name.to_owned(), Some(value.to_owned())),
        (None, Some(_)) => (args.assignment.clone(), None),
        (Some(_), Some(_)) => {
            let message = "a variable's value is either a text or a secret";
            return Err(Failure::new(Exit::Usage, message)
                .with_help("write NAME=VALUE, or NAME --secret PATH"));
        }
        (None, None) => {
            let message = format!("'{}' is not NAME=VALUE", args.assignment);
            return Err(Failure::new(Exit::Usage, message)
                .with_help("write NAME= for an empty value, or NAME --secret PATH"));
        }
    };
    let body = VariablePut {
        value,
        secret: args.secret,
        scope: args.scope.into(),
        dry_run: args.dry_run,
    };
    let done = client.variable_put(&args.project, &name, &body).await?;
    apply::finish(&done, out)
}

impl PlaceArgs {
    fn at(&self, environment: Option<String>) -> VariablePlace {
        VariablePlace {
            environment,
            target: self.target.clone(),
            step: self.step.clone(),
            channel: self.channel.clone(),
            release: self.release.clone(),
        }
    }
}

impl From<ScopeArgs> for VariableScope {
    fn from(args: ScopeArgs) -> Self {
        Self {
            environments: args.environments,
            targets: args.targets,
            tags: args.tags,
            steps: args.steps,
            channels: args.channels,
            tenant_tags: args.tenant_tags,
            processes: args.processes,
        }
    }
}

/// A value in a line: secrets by path and the beginning of their mark.
pub(super) fn value(view: &ValueView) -> String {
    match (&view.secret, &view.prompt, &view.value) {
        (Some(path), _, _) => match &view.mark {
            Some(mark) => format!("secret {path} #{}", cut(mark, SHOWN_MARK)),
            None => format!("secret {path} (not set)"),
        },
        (None, Some(label), default) => {
            let label = if label.is_empty() { "a value" } else { label };
            let default = default.as_ref().map(|text| format!(", else '{text}'"));
            format!("asks for {label}{}", default.unwrap_or_default())
        }
        (None, None, Some(text)) => in_a_line(text),
        (None, None, None) => String::new(),
    }
}

fn in_a_line(text: &str) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    let short = cut(&line, SHOWN_VALUE);
    if short.len() < line.len() {
        format!("{short}...")
    } else {
        line
    }
}

/// What a variable is in a place: the value, and what comes of it.
fn shown(view: &VariableView) -> String {
    let own = value(&view.value);
    match (&view.tie, &view.evaluated) {
        (Some(_), _) => "two equally specific values".to_owned(),
        (None, Some(evaluated)) => format!("{own} = {}", in_a_line(evaluated)),
        (None, None) if view.of_server && view.value.value.is_none() => {
            "what the server says at deployment".to_owned()
        }
        (None, None) => own,
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn explanation(found: &VariableExplanation) -> Vec<String> {
    let mut lines = vec![format!("{} for {}", found.variable, found.situation)];
    for one in &found.candidates {
        let (sign, style) = match (one.wins, one.matches) {
            (true, _) => ("*", GOOD),
            (false, true) => (" ", anstyle::Style::new()),
            (false, false) => (" ", DIM),
        };
        let set = one.set.as_ref().map(|set| format!(" in set '{set}'"));
        let rank = if one.matches {
            format!("rank: {}", one.rank)
        } else {
            format!("does not hold: {}", one.rank)
        };
        lines.push(format!(
            "{style}{sign} {}  ({}{})  {rank}{style:#}",
            value(&one.value),
            one.scope,
            set.unwrap_or_default(),
        ));
    }
    if let Some(tie) = &found.tie {
        lines.push(format!("{BAD}{tie}{BAD:#}"));
    }
    match &found.winner {
        Some(winner) => origin(winner, 0, &mut lines),
        None if found.tie.is_none() => lines.push("no value holds here".to_owned()),
        None => {}
    }
    lines.extend(elsewhere(found));
    lines
}

/// The targets on which it is something else.
fn elsewhere(found: &VariableExplanation) -> Vec<String> {
    let mut lines = Vec::new();
    for one in found.on_targets.iter().take(SHOWN_TARGETS) {
        let view = &one.view;
        let own = match &view.tie {
            Some(tie) => format!("{BAD}{tie}{BAD:#}"),
            None if view.scope.is_empty() => "no value".to_owned(),
            None => format!("{}  {DIM}{}{DIM:#}", shown(view), view.scope),
        };
        lines.push(format!("on {}: {own}", listed(&one.targets)));
    }
    let hidden = found.on_targets.iter().skip(SHOWN_TARGETS);
    let hidden: usize = hidden.map(|one| one.targets.len()).sum();
    if hidden > 0 {
        lines.push(format!("and other values on {hidden} further targets"));
    }
    if found.more_targets > 0 {
        let more = found.more_targets;
        lines.push(format!(
            "{more} more targets were not looked at; name one with --target"
        ));
    }
    if !found.on_targets.is_empty() {
        lines.push("--target shows why it is so on one of them".to_owned());
    }
    lines
}

/// Names, of which a long list is cut.
fn listed(names: &[String]) -> String {
    match names.get(..SHOWN_TARGETS) {
        Some(first) if names.len() > SHOWN_TARGETS => {
            let more = names.len() - SHOWN_TARGETS;
            format!("{} and {more} more", first.join(", "))
        }
        _ => names.join(", "),
    }
}

fn origin(one: &VariableOrigin, depth: usize, lines: &mut Vec<String>) {
    let scope = one.scope.as_deref().unwrap_or_default();
    let from = match one.source {
        OriginSource::Project => format!("the project, {scope}"),
        OriginSource::VariableSet => {
            let set = one.set.as_deref().unwrap_or_default();
            format!("set '{set}', {scope}")
        }
        OriginSource::Server => "the server".to_owned(),
        OriginSource::Later => "known when earlier actions have run".to_owned(),
        OriginSource::Tied => {
            let tie = one.tie.as_deref().unwrap_or_default();
            format!("{BAD}{tie}{BAD:#}")
        }
        OriginSource::Nowhere => "no variable has a value for it here".to_owned(),
        OriginSource::Circle => "it leads back to itself, so it has no value".to_owned(),
    };
    let own = value(&one.value);
    let equals = match (&one.evaluated, own.is_empty()) {
        (Some(evaluated), _) => format!(" = {evaluated}  {DIM}from {own}{DIM:#}"),
        (None, false) => format!(" = {own}"),
        (None, true) => String::new(),
    };
    let pad = "  ".repeat(depth);
    lines.push(format!("{pad}{}{equals}  {DIM}{from}{DIM:#}", one.name));
    for token in &one.tokens {
        origin(token, depth + 1, lines);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn view(name: &str, value: ValueView) -> VariableView {
        VariableView {
            name: name.to_owned(),
            scope: String::new(),
            set: None,
            value,
            evaluated: None,
            of_server: false,
            tie: None,
        }
    }

    fn text(text: &str) -> ValueView {
        ValueView {
            value: Some(text.to_owned()),
            ..ValueView::default()
        }
    }

    fn secret(path: &str, mark: Option<&str>) -> ValueView {
        ValueView {
            secret: Some(path.to_owned()),
            mark: mark.map(str::to_owned),
            ..ValueView::default()
        }
    }

    #[test]
    fn equal_secrets_are_no_difference_whatever_their_paths() {
        for (a, b, expected) in [
            (Some(text("x")), Some(text("x")), false),
            (Some(text("x")), Some(text("y")), true),
            (Some(text("x")), None, true),
            (
                Some(secret("a", Some("1"))),
                Some(secret("b", Some("1"))),
                false,
            ),
            (
                Some(secret("a", Some("1"))),
                Some(secret("a", Some("2"))),
                true,
            ),
            (Some(secret("a", None)), Some(text("a")), true),
        ] {
            let [a, b] = [a, b].map(|value| value.map(|value| view("A", value)));
            assert_eq!(differs(a.as_ref(), b.as_ref()), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn templates_that_come_to_something_else_are_a_difference_and_both_are_shown() {
        let one = |evaluated: &str| VariableView {
            evaluated: Some(evaluated.to_owned()),
            ..view("Url", text("http://#{Host}/"))
        };
        assert!(differs(Some(&one("http://a/")), Some(&one("http://b/"))));
        assert!(!differs(Some(&one("http://a/")), Some(&one("http://a/"))));
        let tied = |place: &str| VariableView {
            tie: Some(format!("two values for {place}")),
            ..view("Url", ValueView::default())
        };
        assert!(!differs(Some(&tied("test")), Some(&tied("live"))));
        assert!(differs(Some(&tied("test")), Some(&one("http://a/"))));
        assert_eq!(shown(&one("http://a/")), "http://#{Host}/ = http://a/");
    }

    #[test]
    fn names_that_differ_in_case_are_one_row() {
        let environments = ["test".to_owned(), "live".to_owned()];
        let columns = [
            vec![view("Port", text("1"))],
            vec![view("port", text("2")), view("Only", text("3"))],
        ];
        let rows = rows(&environments, &columns);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].environments["live"].value, text("2"));
        assert!(!rows[0].environments.contains_key("test"));
    }

    #[test]
    fn secrets_are_shown_by_path_and_mark_only() {
        let mark = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            value(&secret("a/b", Some(mark))),
            "secret a/b #0123456789ab"
        );
        assert_eq!(value(&secret("a/b", None)), "secret a/b (not set)");
        assert_eq!(value(&text("a\nb")), "a b");
        assert_eq!(value(&text(&"x".repeat(70))).len(), 63);
    }
}
