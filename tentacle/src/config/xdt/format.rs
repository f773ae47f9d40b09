//! Blanks around what was put in, as what stands around it has them; blanks that a removed element
//! left doubled become one. Nothing else is touched.
//!
//! The steps are those of the original, odd ones included, so that files come out alike.

use std::collections::HashMap;

use super::super::xml::tree::Origin;
use super::super::xml::{Document, Kind, NodeId};
use super::attributes::{self, Tag};

/// The blank of one level where the file shows none.
const DEFAULT_TAB: &str = "\t";

/// Lays the document out. With it come the line breaks before attributes, by element.
pub(super) fn format(
    document: Document,
    tags: HashMap<NodeId, Tag>,
) -> (Document, HashMap<NodeId, String>) {
    let mut formatter = Formatter {
        document,
        tags,
        breaks: HashMap::new(),
        indents: Vec::new(),
        attribute_indents: Vec::new(),
        indent: Some(String::new()),
        attribute_indent: None,
        tab: None,
        current: None,
        previous: None,
    };
    formatter.children(Document::ROOT);
    (formatter.document, formatter.breaks)
}

struct Formatter {
    document: Document,
    tags: HashMap<NodeId, Tag>,
    breaks: HashMap<NodeId, String>,
    /// The blanks before the open elements, the outermost first, each with its line end.
    indents: Vec<String>,
    attribute_indents: Vec<Option<String>>,
    /// The blank of this level, once it is known.
    indent: Option<String>,
    attribute_indent: Option<String>,
    tab: Option<String>,
    current: Option<NodeId>,
    previous: Option<NodeId>,
}

impl Formatter {
    fn go_to(&mut self, id: NodeId) {
        self.previous = self.current;
        self.current = Some(id);
    }

    fn children(&mut self, parent: NodeId) {
        let mut at = 0;
        while let Some(id) = self.document.children(parent).get(at).copied() {
            self.go_to(id);
            let moved: isize = match self.document.kind(id) {
                Kind::Element(_) => self.element(id),
                Kind::Text(_) if self.document.is_blank(id) => self.blank(id),
                Kind::Comment(_) => self.indent_before(id),
                Kind::Root
                | Kind::Text(_)
                | Kind::CData(_)
                | Kind::Instruction { .. }
                | Kind::Verbatim(_) => 0,
            };
            at = at.saturating_add_signed(moved + 1);
        }
    }

    fn element(&mut self, id: NodeId) -> isize {
        let moved = self.indent_before(id);
        self.lay_out_attributes(id);
        self.push();
        self.move_blank_to_end(id);
        self.children(id);
        self.go_to(id);
        self.pop();
        let empty = self
            .document
            .element(id)
            .is_none_or(|element| element.empty);
        if !empty && self.needs_indent(id) {
            let blank = self.new_blank();
            self.document.append(id, blank);
        }
        moved
    }

    fn new_blank(&mut self) -> NodeId {
        let indent = self.current_indent();
        self.document.create(Kind::Text(indent), Origin::Added, 0)
    }

    fn indent_before(&mut self, id: NodeId) -> isize {
        if !self.needs_indent(id) {
            return 0;
        }
        let blank = self.new_blank();
        if let Some((parent, at)) = self.document.place(id) {
            self.document.insert(parent, at, blank);
        }
        1
    }

    fn is_blank(&self, id: Option<NodeId>) -> bool {
        id.is_some_and(|id| self.document.is_blank(id))
    }

    fn is_text(&self, id: Option<NodeId>) -> bool {
        id.is_some_and(|id| matches!(self.document.kind(id), Kind::Text(_)))
    }

    /// Whether the element that a node is, or stands in, was put in.
    fn is_new(&self, id: Option<NodeId>) -> bool {
        let mut at = id;
        while let Some(id) = at {
            if self.document.element(id).is_some() {
                return self.document.origin(id) == Origin::Added;
            }
            at = self.document.parent(id);
        }
        false
    }

    fn needs_indent(&self, id: NodeId) -> bool {
        let previous = self.previous;
        !self.is_blank(previous)
            && !self.is_text(previous)
            && (self.is_new(Some(id)) || self.is_new(previous))
    }

    /// A blank: of two in a row the one with a line end stays.
    fn blank(&mut self, id: NodeId) -> isize {
        let mut moved = 0;
        let own = self.raw(id);
        if let Some(previous) = self.previous
            && self.document.is_blank(previous)
        {
            let other = self.raw(previous);
            let keeps_other = last_line_end(&own).is_none() && last_line_end(&other).is_some();
            self.document
                .remove(if keeps_other { id } else { previous });
            moved = -1;
        }
        if let Some(at) = last_line_end(&own) {
            let indent = own[at..].to_owned();
            if self.indent.as_ref() != Some(&indent) {
                self.indent = Some(indent);
                self.tab = None;
                self.attribute_indent = None;
            }
        }
        moved
    }

    fn raw(&self, id: NodeId) -> String {
        match self.document.kind(id) {
            Kind::Text(raw) => raw.clone(),
            Kind::Root
            | Kind::Element(_)
            | Kind::CData(_)
            | Kind::Comment(_)
            | Kind::Instruction { .. }
            | Kind::Verbatim(_) => String::new(),
        }
    }

    /// New elements came behind the blank before the last tag: it goes back to the end.
    fn move_blank_to_end(&mut self, id: NodeId) {
        if self.is_new(Some(id)) {
            return;
        }
        let children = self.document.children(id).to_vec();
        let mut back = children.iter().rev().copied().peekable();
        if back.peek().is_none_or(|last| self.document.is_blank(*last)) {
            return;
        }
        for child in back {
            if self.document.is_blank(child) {
                self.document.remove(child);
                self.document.append(id, child);
                return;
            }
            if !(self.document.element(child).is_some() && self.is_new(Some(child))) {
                return;
            }
        }
    }

    fn push(&mut self) {
        let indent = self.current_indent();
        self.indents.push(indent);
        // That of the next level is found when it is needed.
        self.indent = None;
        self.attribute_indents.push(self.attribute_indent.take());
    }

    fn pop(&mut self) {
        self.indent = self.indents.pop();
        self.attribute_indent = self.attribute_indents.pop().flatten();
    }

    fn current_indent(&mut self) -> String {
        if let Some(indent) = &self.indent {
            return indent.clone();
        }
        let indent = self.sibling_indent().unwrap_or_else(|| {
            let outer = self.indents.last().cloned().unwrap_or_default();
            outer + &self.one_tab()
        });
        self.indent = Some(indent.clone());
        indent
    }

    /// The blank before some sibling, from its line end on.
    fn sibling_indent(&self) -> Option<String> {
        let parent = self.document.parent(self.current?)?;
        let siblings = self.document.children(parent);
        let (_, but_last) = siblings.split_last()?;
        but_last.iter().find_map(|id| {
            let raw = self.document.is_blank(*id).then(|| self.raw(*id))?;
            last_line_end(&raw).map(|at| raw[at..].to_owned())
        })
    }

    fn one_tab(&mut self) -> String {
        if let Some(tab) = &self.tab {
            return tab.clone();
        }
        let tab = self.find_tab();
        self.tab = Some(tab.clone());
        tab
    }

    /// The difference of two levels.
    fn find_tab(&self) -> String {
        let mut inner = self.indents.last();
        for outer in self.indents.iter().rev().skip(1) {
            if let Some(tab) = inner.and_then(|inner| inner.strip_prefix(outer.as_str())) {
                return tab.to_owned();
            }
            inner = Some(outer);
        }
        let indent = inner.map_or("", String::as_str);
        let end = indent.len().saturating_sub(1);
        let blank = indent
            .bytes()
            .take(end)
            .position(|byte| byte != b'\r' && byte != b'\n');
        match blank {
            Some(at) => indent[at + 1..].to_owned(),
            None => DEFAULT_TAB.to_owned(),
        }
    }

    fn lay_out_attributes(&mut self, id: NodeId) {
        let Some(element) = self.document.element(id) else {
            return;
        };
        let tag = match self.document.origin(id) {
            Origin::Added => Tag::default(),
            // What nobody changed stays as it is.
            Origin::Read => match self.tags.remove(&id) {
                Some(tag) => tag,
                None => return,
            },
        };
        let mut element = element.clone();
        let line_break = tag.lay_out(&mut element, || self.current_attribute_indent());
        if let Some(line_break) = line_break {
            self.breaks.insert(id, line_break);
        }
        self.document.set_kind(id, Kind::Element(element));
    }

    fn current_attribute_indent(&mut self) -> String {
        if let Some(indent) = &self.attribute_indent {
            return indent.clone();
        }
        let indent = self
            .sibling_attribute_indent()
            .unwrap_or_else(|| self.current_indent() + &self.one_tab());
        self.attribute_indent = Some(indent.clone());
        indent
    }

    /// How the attributes of a sibling are put on lines: of the one before, or of one behind.
    fn sibling_attribute_indent(&self) -> Option<String> {
        let current = self.current?;
        let parent = self.document.parent(current)?;
        let mut before = true;
        let mut found = None;
        for id in self.document.children(parent) {
            if *id == current {
                before = false;
            } else if let Some(element) = self.document.element(*id) {
                let known = self.breaks.get(id).cloned();
                found = known.or_else(|| attributes::line_break(element));
            }
            if !before && found.is_some() {
                return found;
            }
        }
        None
    }
}

/// Where the last line end of a blank begins.
fn last_line_end(blank: &str) -> Option<usize> {
    let at = blank.rfind(['\r', '\n'])?;
    let pair = blank[at..].starts_with('\n') && blank[..at].ends_with('\r');
    Some(if pair { at - 1 } else { at })
}
