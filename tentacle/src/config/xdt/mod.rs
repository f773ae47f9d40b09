//! XDT, the transforms of .NET configuration files: a second document says at its elements what is
//! to become of those of the first.
//!
//! Elements are found and changed in the order of the transform; then what was put in gets blanks
//! as what stands around it has, and everything else stays as it was written.

mod adopt;
mod attributes;
mod directive;
mod format;
mod locate;
mod transforms;

use std::collections::HashMap;

use super::xml::{Document, Kind, NodeId};
use super::{ConfigError, Position};
use attributes::Tag;
use directive::Directive;
use locate::Scope;

/// What makes an attribute or element one of a transform.
const NAMESPACE: &str = "http://schemas.microsoft.com/XML-Document-Transform";
/// What all transforms of a file may cost: for each XPath as many as the document has nodes.
const MAX_WORK: usize = 200_000_000;

/// Something to tell about a place of the transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) position: Position,
    pub(super) text: String,
}

/// What came of a transform.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) text: String,
    /// What was done, in order.
    pub(super) done: Vec<String>,
    pub(super) warnings: Vec<Message>,
    pub(super) errors: Vec<Message>,
}

/// Applies a transform to a document's text.
pub(super) fn apply(source: &str, rules: &Document) -> Result<Outcome, ConfigError> {
    let target = Document::parse(source)?;
    let mut engine = Engine {
        original: target.clone(),
        target,
        rules,
        tags: HashMap::new(),
        work: 0,
        quiet: false,
        outcome: Outcome::default(),
    };
    engine.foreign_tags();
    for id in engine.elements(Document::ROOT) {
        engine.element(id, None)?;
    }
    if engine.elements_of_target() == 0 {
        engine.warn(Document::ROOT, "the file would have no element any more");
    }
    let (document, wraps) = format::format(engine.target, engine.tags);
    let mut outcome = engine.outcome;
    outcome.text = document.write(&|id| {
        wraps
            .get(&id)
            .cloned()
            .unwrap_or_else(|| super::edits::line_end(source).to_owned())
    });
    if outcome.errors.is_empty() && outcome.warnings.is_empty() {
        Document::parse(&outcome.text).map_err(|error| ConfigError::Broken(error.to_string()))?;
    }
    Ok(outcome)
}

struct Engine<'a> {
    target: Document,
    /// As it was before.
    original: Document,
    rules: &'a Document,
    /// How the tags were laid out whose attributes change.
    tags: HashMap<NodeId, Tag>,
    work: usize,
    /// Warnings are not wanted.
    quiet: bool,
    outcome: Outcome,
}

impl Engine<'_> {
    fn elements(&self, of: NodeId) -> Vec<NodeId> {
        let children = self.rules.children(of).iter();
        children
            .filter(|id| self.rules.element(**id).is_some())
            .copied()
            .collect()
    }

    fn elements_of_target(&self) -> usize {
        let top = self.target.children(Document::ROOT).iter();
        top.filter(|id| matches!(self.target.kind(**id), Kind::Element(_)))
            .count()
    }

    fn warn(&mut self, at: NodeId, text: impl Into<String>) {
        self.warn_at(self.rules.position(at), text);
    }

    fn warn_at(&mut self, position: Position, text: impl Into<String>) {
        if !self.quiet {
            let text = text.into();
            self.outcome.warnings.push(Message { position, text });
        }
    }

    fn error_at(&mut self, position: Position, text: impl Into<String>) {
        let text = text.into();
        self.outcome.errors.push(Message { position, text });
    }

    /// Elements of the transform's own namespace: none of them does anything here.
    fn foreign_tags(&mut self) {
        for id in self.rules.descendants(Document::ROOT) {
            let Some(element) = self.rules.element(id) else {
                continue;
            };
            if self.rules.namespace(id) != NAMESPACE {
                continue;
            }
            let name = element.name.clone();
            if name.ends_with(":Import") {
                let position = self.rules.position(id);
                self.error_at(position, "transforms of .NET assemblies cannot be imported");
            } else {
                self.warn(id, format!("<{name}> is not known"));
            }
        }
    }

    /// Does what an element of the transform says, then what its children say.
    fn element(&mut self, id: NodeId, parent: Option<&Scope<'_>>) -> Result<(), ConfigError> {
        let directive = match Directive::transform(self.rules, id) {
            Ok(directive) => directive,
            Err(message) => {
                self.outcome.errors.push(message);
                return Ok(());
            }
        };
        let scope = match Scope::new(self.rules, id, parent) {
            Ok(scope) => scope,
            Err(message) => {
                self.outcome.errors.push(message);
                return Ok(());
            }
        };
        if let Some(directive) = &directive {
            let before = self.quiet;
            self.quiet = directive::is_quiet(self.rules, id).unwrap_or(before);
            self.transform(directive, &scope)?;
            self.quiet = before;
        }
        for child in self.elements(id) {
            self.element(child, Some(&scope))?;
        }
        Ok(())
    }

    /// The elements that an XPath selects in a document.
    fn select(
        &mut self,
        whole: Whole,
        path: &str,
        scope: &Scope<'_>,
    ) -> Result<Result<Vec<NodeId>, String>, ConfigError> {
        let document = match whole {
            Whole::Target => &self.target,
            Whole::Original => &self.original,
        };
        self.work = self.work.saturating_add(document.len());
        if self.work > MAX_WORK {
            return Err(ConfigError::Limit(
                "so many transforms over so large a file take too much work".to_owned(),
            ));
        }
        Ok(locate::select(
            document,
            path,
            &scope.prefixes,
            Document::ROOT,
        ))
    }
}

/// Which state of the file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Target,
    Original,
}

#[cfg(test)]
mod tests;
