//! What each transform does to the elements that it means.

use super::super::ConfigError;
use super::super::xml::{Document, NodeId};
use super::attributes::Tag;
use super::directive::{Directive, Transform};
use super::locate::{self, Scope};
use super::{Engine, Whole};

impl Engine<'_> {
    pub(super) fn transform(
        &mut self,
        directive: &Directive,
        scope: &Scope<'_>,
    ) -> Result<(), ConfigError> {
        let path = if directive.what.inserts() {
            &scope.parent_path
        } else {
            &scope.path
        };
        if path.is_empty() {
            self.error_at(
                directive.position,
                "the outermost element cannot be inserted; a document has one",
            );
            return Ok(());
        }
        let found = match self.select(Whole::Target, path, scope)? {
            Ok(found) => found,
            Err(text) => {
                self.error_at(directive.position, text);
                return Ok(());
            }
        };
        let Some(first) = found.first().copied() else {
            return self.missing(directive, scope);
        };
        self.warn_of_arguments(directive);
        let done = match directive.what {
            Transform::Replace | Transform::Remove => {
                if found.len() > 1 {
                    self.warn_at(
                        directive.position,
                        format!(
                            "several elements match, and {} applies to the first of them only",
                            directive.what.name()
                        ),
                    );
                }
                self.replace_or_remove(directive.what, scope.id, first);
                true
            }
            Transform::RemoveAll => {
                for id in &found {
                    self.target.remove(*id);
                }
                true
            }
            Transform::Insert => {
                self.adopt(scope.id, first, usize::MAX);
                true
            }
            Transform::InsertIfMissing => self.insert_if_missing(directive, scope, first)?,
            Transform::InsertBefore | Transform::InsertAfter => {
                self.insert_beside(directive, scope, first)
            }
            Transform::SetAttributes => self.set_attributes(directive, scope.id, &found),
            Transform::RemoveAttributes => self.remove_attributes(directive, scope.id, &found),
        };
        if done {
            let what = directive.what.name();
            self.outcome.done.push(format!("{what} {}", scope.path));
        }
        Ok(())
    }

    /// Nothing matches: why, at the outermost element for which that is so.
    fn missing(&mut self, directive: &Directive, scope: &Scope<'_>) -> Result<(), ConfigError> {
        let mut failed = scope;
        while let Some(parent) = failed.parent {
            match self.select(Whole::Target, &parent.path, parent)? {
                Ok(found) if found.is_empty() => failed = parent,
                Ok(_) | Err(_) => break,
            }
        }
        let before = self.select(Whole::Original, &failed.path, failed)?;
        let existed = before.is_ok_and(|found| !found.is_empty());
        let text = if existed {
            format!(
                "what matches {} was removed by an earlier transform",
                failed.path
            )
        } else {
            format!("no element of the file matches {}", failed.path)
        };
        let id = failed.id;
        if directive.what.inserts() {
            let position = self.rules.position(id);
            self.error_at(position, text);
        } else {
            self.warn(id, text);
        }
        Ok(())
    }

    fn warn_of_arguments(&mut self, directive: &Directive) {
        let takes = match directive.what {
            Transform::Replace
            | Transform::Remove
            | Transform::RemoveAll
            | Transform::Insert
            | Transform::InsertIfMissing => false,
            Transform::InsertBefore
            | Transform::InsertAfter
            | Transform::SetAttributes
            | Transform::RemoveAttributes => true,
        };
        if !takes && !directive.arguments.is_empty() {
            let text = format!("{} takes no arguments", directive.what.name());
            self.warn_at(directive.position, text);
        }
    }

    fn replace_or_remove(&mut self, what: Transform, rule: NodeId, id: NodeId) {
        let Some((parent, at)) = self.target.place(id) else {
            return;
        };
        self.target.remove(id);
        if what == Transform::Replace {
            self.adopt(rule, parent, at);
        }
    }

    fn insert_if_missing(
        &mut self,
        directive: &Directive,
        scope: &Scope<'_>,
        parent: NodeId,
    ) -> Result<bool, ConfigError> {
        Ok(match self.select(Whole::Target, &scope.path, scope)? {
            Ok(found) if found.is_empty() => {
                self.adopt(scope.id, parent, usize::MAX);
                true
            }
            Ok(_) => false,
            Err(text) => {
                self.error_at(directive.position, text);
                false
            }
        })
    }

    fn insert_beside(&mut self, directive: &Directive, scope: &Scope<'_>, parent: NodeId) -> bool {
        let name = directive.what.name();
        let [path] = &directive.arguments[..] else {
            let text = format!("{name} takes one argument, the XPath of an element");
            self.error_at(directive.position, text);
            return false;
        };
        let sibling = match locate::select(&self.target, path, &scope.prefixes, parent) {
            Ok(found) => found.first().copied(),
            Err(text) => {
                self.error_at(directive.position, text);
                return false;
            }
        };
        let place = sibling.and_then(|id| self.target.place(id));
        match place {
            Some((holder, _)) if holder == Document::ROOT => {
                let text = format!("{name} beside the outermost element; a document has one");
                self.error_at(directive.position, text);
                false
            }
            Some((holder, at)) => {
                let after = usize::from(directive.what == Transform::InsertAfter);
                self.adopt(scope.id, holder, at + after);
                true
            }
            None => {
                let text = format!("no element of the file matches {path}");
                self.error_at(directive.position, text);
                false
            }
        }
    }

    /// Whether an attribute is among those that a transform names; none named means all.
    fn is_named(directive: &Directive, name: &str) -> bool {
        let local = name.rsplit(':').next().unwrap_or(name);
        let arguments = &directive.arguments;
        arguments.is_empty()
            || arguments
                .iter()
                .any(|argument| argument == name || argument == local || argument == "*")
    }

    fn warn_of_unmatched<'n>(
        &mut self,
        directive: &Directive,
        names: impl Iterator<Item = &'n str> + Clone,
    ) {
        for argument in &directive.arguments {
            let mut names = names.clone();
            let local = |name: &str| name.rsplit(':').next() == Some(argument);
            if argument != "*" && !names.any(|name| name == argument || local(name)) {
                self.warn_at(
                    directive.position,
                    format!("there is no attribute '{argument}'"),
                );
            }
        }
    }

    fn set_attributes(&mut self, directive: &Directive, rule: NodeId, targets: &[NodeId]) -> bool {
        let given = self.given(rule);
        self.warn_of_unmatched(directive, given.iter().map(|given| given.name.as_str()));
        let given: Vec<_> = given
            .into_iter()
            .filter(|given| Self::is_named(directive, &given.name))
            .collect();
        if given.is_empty() {
            self.warn_at(directive.position, "there are no attributes to set");
            return false;
        }
        for id in targets {
            self.remember(*id);
            for given in &given {
                self.set_attribute(*id, given);
            }
        }
        true
    }

    fn remove_attributes(
        &mut self,
        directive: &Directive,
        rule: NodeId,
        targets: &[NodeId],
    ) -> bool {
        let mut any = false;
        for id in targets {
            let names: Vec<String> = self.target.element(*id).map_or_else(Vec::new, |element| {
                let names = element.attributes.iter().map(|attribute| &attribute.name);
                names
                    .filter(|name| *name != "xmlns" && !name.starts_with("xmlns:"))
                    .cloned()
                    .collect()
            });
            self.warn_of_unmatched(directive, names.iter().map(String::as_str));
            let named: Vec<_> = names
                .iter()
                .filter(|name| Self::is_named(directive, name))
                .collect();
            if named.is_empty() {
                self.warn(rule, "there are no attributes to remove");
                continue;
            }
            self.remember(*id);
            if let Some(element) = self.target.element_mut(*id) {
                element
                    .attributes
                    .retain(|attribute| !named.contains(&&attribute.name));
            }
            any = true;
        }
        any
    }

    /// Keeps how a tag was laid out, before its attributes change.
    fn remember(&mut self, id: NodeId) {
        if let Some(element) = self.target.element(id) {
            let origin = self.target.origin(id);
            self.tags
                .entry(id)
                .or_insert_with(|| Tag::of(element, origin));
        }
    }
}
