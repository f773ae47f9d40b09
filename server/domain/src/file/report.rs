//! Collects what is wrong in one file, and checks names on the way.

use mantle_template::same_name;
use std::sync::Arc;

use super::node::{Position, Problem};
use super::typed::{At, Each};
use super::{FileError, OldNames};
use crate::explain::nearest;
use crate::name;

/// More problems than these help nobody; they mostly follow from the first.
const MAX_ERRORS: usize = 50;

/// What is said of every name that cannot be given.
pub(super) const NO_NAME: &str = "cannot be the name of";

/// Two names that people and file systems take for the same.
pub(super) fn case_only(kind: &str, name: &str, other: &str, place: &str) -> String {
    format!("{kind} '{name}' and '{other}' {place} differ by letter case only")
}

/// The problems of one file.
#[derive(Debug, Default)]
pub(super) struct Report {
    old_names: Arc<OldNames>,
    pub(super) file: String,
    pub(super) errors: Vec<FileError>,
    pub(super) warnings: Vec<FileError>,
}

impl Report {
    pub(super) fn new(file: &str, old_names: Arc<OldNames>) -> Self {
        Self {
            old_names,
            file: file.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn error(&mut self, problem: Problem) {
        if self.errors.len() < MAX_ERRORS {
            let error = self.placed(problem);
            self.errors.push(error);
        }
    }

    pub(super) fn warn(&mut self, problem: Problem) {
        if self.warnings.len() < MAX_ERRORS {
            let warning = self.placed(problem);
            self.warnings.push(warning);
        }
    }

    /// The file asks for what this version accepts and keeps but does not do: whoever wrote it must
    /// hear so now, not wait for it in vain.
    pub(super) fn unheeded(&mut self, at: Position, what: &str, instead: &str) {
        self.warn(
            Problem::new(at, format!("{what}, which this version does not act on")).next(instead),
        );
    }

    fn placed(&self, problem: Problem) -> FileError {
        let at = problem.at.unwrap_or(Position { line: 1, column: 1 });
        FileError {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            what: problem.what,
            next: problem.next,
        }
    }

    /// The items of a list that could be read; the others are reported.
    pub(super) fn each<T>(&mut self, items: Option<Each<T>>) -> Vec<At<T>> {
        let mut sound = Vec::new();
        for item in items.map(|each| each.0).unwrap_or_default() {
            match item {
                Ok(item) => sound.push(item),
                Err(problem) => self.error(problem),
            }
        }
        sound
    }

    /// A reference to one of `names`.
    pub(super) fn reference<'a, I>(&mut self, kind: &str, name: &At<String>, names: I, hint: &str)
    where
        I: IntoIterator<Item = &'a str> + Clone,
    {
        if names.clone().into_iter().any(|known| known == name.value) {
            return;
        }
        let problem = Problem::new(name.at, format!("there is no {kind} '{}'", name.value));
        self.error(match nearest(&name.value, names) {
            Some(meant) => problem.meant(Some(meant)),
            None => problem.next(hint),
        });
    }

    /// A name that stands once only; `seen` are those before it, with their places.
    pub(super) fn unique(&mut self, kind: &str, name: &At<String>, seen: &[(String, Position)]) {
        let mut twins = seen.iter().filter(|(other, _)| same_name(other, name));
        if let Some((other, at)) = twins.next() {
            let what = if *other == name.value {
                format!("{kind} '{}' stands at line {} already", name.value, at.line)
            } else {
                case_only(kind, &name.value, other, &format!("at line {}", at.line))
            };
            self.error(Problem::new(name.at, what).next("give one of them another name"));
        }
    }

    /// A name that people type and that becomes a folder: letters, digits, `.`, `_` and `-`, with
    /// `extra` characters inside.
    pub(super) fn word(&mut self, kind: &str, name: &At<String>, extra: &[char]) {
        if name::is_sound(name, extra) {
            return;
        }
        let (shown, what) = (shorten(name), name::with_article(kind));
        if self.old_names.contains(kind, name) {
            let kept = format!(
                "'{shown}' {NO_NAME} {what} any more; it is kept, since there is one of that name"
            );
            self.warn(Problem::new(name.at, kept).next(name::remedy(extra)));
            return;
        }
        let problem = Problem::new(name.at, format!("'{shown}' {NO_NAME} {what}"));
        self.error(problem.next(name::remedy(extra)));
    }

    /// A name that stands in templates, as `Octopus.Action[Name]`: one line without brackets.
    pub(super) fn title(&mut self, kind: &str, name: &At<String>) {
        let sound = !name.trim().is_empty()
            && name.trim().len() == name.len()
            && name.len() <= name::LONGEST
            && !name
                .chars()
                .any(|c| c.is_control() || matches!(c, '[' | ']' | '#' | '{' | '}'));
        if !sound {
            self.error(
                Problem::new(
                    name.at,
                    format!("'{}' {NO_NAME} {}", shorten(name), name::with_article(kind)),
                )
                .next("use one line without the characters [ ] # { } and without spaces around it"),
            );
        }
    }

    /// A text that is a template.
    pub(super) fn template(&mut self, at: Position, text: &str) {
        self.readable(at, text);
        for problem in unknown_filters(at, text) {
            self.warn(problem);
        }
    }

    fn readable(&mut self, at: Position, text: &str) {
        let problems = mantle_template::Template::parse(text).problems();
        if let Some(first) = problems.first() {
            let said = first.to_string();
            let problem = Problem::new(at, format!("the template cannot be read: {said}"));
            self.error(if said.contains("'##{'") {
                problem
            } else {
                problem.next("write '##{' for a '#{' that is meant literally")
            });
        }
    }

    /// A template that decides whether something runs: with a filter that does not exist it never could.
    pub(super) fn condition(&mut self, at: Position, text: &str) {
        self.readable(at, text);
        for problem in unknown_filters(at, text) {
            self.error(problem);
        }
    }
}

fn unknown_filters(at: Position, text: &str) -> impl Iterator<Item = Problem> {
    let unknown = mantle_template::references(text).unknown_filters;
    unknown.into_iter().take(MOST_FILTERS).map(move |filter| {
        let what = format!("there is no filter '{}'", shorten(&filter));
        let known = mantle_template::filters::NAMES.iter().copied();
        let problem = Problem::new(at, what);
        match nearest(&filter, known) {
            Some(meant) => problem.meant(Some(meant)),
            None => {
                problem.next("name one of those under 'Filters' in the manual's page Templates")
            }
        }
    })
}

/// More filters that do not exist than this in one text help nobody.
const MOST_FILTERS: usize = 5;

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}
