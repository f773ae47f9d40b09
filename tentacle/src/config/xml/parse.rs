//! Reads XML into a tree that keeps every byte. Strict about what a document must be; what a
//! document type declares is kept, and never followed.

use super::super::{ConfigError, Format, MAX_DEPTH};
use super::escape;
use super::names;
use super::tree::{Attribute, Document, Element, Kind, NodeId, Origin};

/// The most nodes of a document: sixteen megabytes of the shortest elements would take gigabytes.
const MAX_NODES: usize = 1_000_000;
/// The most attributes of an element.
const MAX_ATTRIBUTES: usize = 1_000;

impl Document {
    /// Reads a document: one element, and around it comments, instructions and blanks.
    pub(crate) fn parse(source: &str) -> Result<Self, ConfigError> {
        let mut parser = Parser::new(source);
        let declared = source.strip_prefix("<?xml");
        if declared.is_some_and(|rest| rest.starts_with(char::is_whitespace)) {
            let end = parser.find("?>", "the declaration has no end")?;
            parser.add(Kind::Verbatim(source[..end + 2].to_owned()), end + 2);
        }
        parser.content()?;
        let top = parser.document.children(Self::ROOT);
        let elements = top
            .iter()
            .filter(|id| parser.document.element(**id).is_some())
            .count();
        if elements == 0 {
            return Err(parser.error("it has no element"));
        }
        Ok(parser.document)
    }

    /// Reads what may stand inside an element.
    pub(super) fn parse_fragment(source: &str) -> Result<Self, ConfigError> {
        let mut parser = Parser::new(source);
        parser.fragment = true;
        parser.content()?;
        Ok(parser.document)
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    document: Document,
    open: Vec<NodeId>,
    fragment: bool,
    seen_element: bool,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            source,
            at: 0,
            document: Document::empty(source),
            open: Vec::new(),
            fragment: false,
            seen_element: false,
        }
    }

    fn error(&self, what: impl Into<String>) -> ConfigError {
        self.error_at(self.at, what)
    }

    fn error_at(&self, at: usize, what: impl Into<String>) -> ConfigError {
        ConfigError::syntax(Format::Xml, self.source, at, what)
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Where this text is found next.
    fn find(&self, end: &str, missing: &str) -> Result<usize, ConfigError> {
        self.rest()
            .find(end)
            .map(|at| self.at + at)
            .ok_or_else(|| self.error(missing))
    }

    /// Puts a node at the end of the open element, and goes on behind it.
    fn add(&mut self, kind: Kind, end: usize) -> NodeId {
        let id = self.document.create(kind, Origin::Read, self.at);
        let parent = self.open.last().copied().unwrap_or(Document::ROOT);
        self.document.append(parent, id);
        self.at = end;
        id
    }

    fn content(&mut self) -> Result<(), ConfigError> {
        while self.at < self.source.len() {
            if self.document.len() > MAX_NODES {
                return Err(ConfigError::Limit(format!(
                    "it has more than {MAX_NODES} nodes"
                )));
            }
            self.piece()?;
        }
        match self.open.last().and_then(|id| self.document.element(*id)) {
            Some(element) => {
                let name = element.name.clone();
                Err(self.error(format!("<{name}> is not closed")))
            }
            None => Ok(()),
        }
    }

    fn piece(&mut self) -> Result<(), ConfigError> {
        let rest = self.rest();
        let start = self.at;
        if rest.starts_with("<!--") {
            let end = self.rest()[4..]
                .find("--")
                .map(|at| self.at + 4 + at)
                .ok_or_else(|| self.error("a comment has no end"))?;
            if !self.source[end..].starts_with("-->") {
                return Err(self.error_at(end, "'--' may not stand in a comment"));
            }
            self.add(
                Kind::Comment(self.source[start + 4..end].to_owned()),
                end + 3,
            );
        } else if rest.starts_with("<![CDATA[") {
            if self.open.is_empty() && !self.fragment {
                return Err(self.error("text outside the element"));
            }
            let end = self.find("]]>", "a CDATA section has no end")?;
            self.add(Kind::CData(self.source[start + 9..end].to_owned()), end + 3);
        } else if rest.starts_with("<?") {
            self.instruction()?;
        } else if rest.starts_with("<!DOCTYPE") {
            self.document_type()?;
        } else if rest.starts_with("</") {
            self.last_tag()?;
        } else if rest.starts_with('<') {
            self.first_tag()?;
        } else {
            self.text()?;
        }
        Ok(())
    }

    fn instruction(&mut self) -> Result<(), ConfigError> {
        let end = self.find("?>", "an instruction has no end")?;
        let inside = &self.source[self.at + 2..end];
        let length = inside.find(|c| !names::is_part(c)).unwrap_or(inside.len());
        let (target, data) = inside.split_at(length);
        if target.is_empty() || target.eq_ignore_ascii_case("xml") {
            return Err(self.error("an instruction needs a name, and that is not 'xml'"));
        }
        let kind = Kind::Instruction {
            target: target.to_owned(),
            data: data.to_owned(),
        };
        self.add(kind, end + 2);
        Ok(())
    }

    /// Past `<!DOCTYPE ...>` with its own brackets and quotes; nothing in it is looked at.
    fn document_type(&mut self) -> Result<(), ConfigError> {
        if !self.open.is_empty() || self.fragment || self.seen_element {
            return Err(self.error("a document type stands before the element"));
        }
        let mut brackets = 0_usize;
        let mut quote = None;
        for (offset, c) in self.rest().char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, '[') => brackets += 1,
                (None, ']') => brackets = brackets.saturating_sub(1),
                (None, '>') if brackets == 0 => {
                    let end = self.at + offset + 1;
                    self.add(Kind::Verbatim(self.source[self.at..end].to_owned()), end);
                    return Ok(());
                }
                (Some(_) | None, _) => {}
            }
        }
        Err(self.error("the document type has no end"))
    }

    fn text(&mut self) -> Result<(), ConfigError> {
        let end = self
            .rest()
            .find('<')
            .map_or(self.source.len(), |at| self.at + at);
        let raw = &self.source[self.at..end];
        let outside = self.open.is_empty() && !self.fragment;
        if outside && let Some(at) = raw.find(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')) {
            return Err(self.error_at(self.at + at, "text outside the element"));
        }
        if let Some(at) = raw.find("]]>") {
            return Err(self.error_at(self.at + at, "']]>' may not stand in text"));
        }
        self.references(raw, self.at)?;
        self.add(Kind::Text(raw.to_owned()), end);
        Ok(())
    }

    /// Refuses references that cannot be resolved without following a document type.
    fn references(&self, raw: &str, start: usize) -> Result<(), ConfigError> {
        for (at, c) in raw.char_indices() {
            if !escape::is_allowed(c) {
                return Err(self.error_at(start + at, format!("{c:?} may not stand in XML")));
            }
        }
        for (at, _) in raw.match_indices('&') {
            let rest = &raw[at + 1..];
            let name = rest.find(';').map(|end| &rest[..end]);
            match name {
                Some(name) if escape::character(name).is_some() => {}
                Some(name) if name.len() < 64 && !name.contains(char::is_whitespace) => {
                    return Err(self.error_at(
                        start + at,
                        format!("'&{name};' is not known; entities of a document are not expanded"),
                    ));
                }
                _ => return Err(self.error_at(start + at, "'&' must be written as '&amp;'")),
            }
        }
        Ok(())
    }

    fn name(&mut self) -> Result<&'a str, ConfigError> {
        let rest = self.rest();
        if !rest.starts_with(names::is_start) {
            return Err(self.error("a name is missing"));
        }
        let end = rest.find(|c| !names::is_part(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        let parts = name.split(':').count();
        if parts > 2 || name.starts_with(':') || name.ends_with(':') {
            return Err(self.error(format!("'{name}' is no name")));
        }
        self.at += end;
        Ok(name)
    }

    fn blanks(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.at += length;
        &rest[..length]
    }

    fn first_tag(&mut self) -> Result<(), ConfigError> {
        let start = self.at;
        if self.open.is_empty() && !self.fragment && self.seen_element {
            return Err(self.error("a second element; a document has one"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(ConfigError::Limit(format!(
                "it nests deeper than {MAX_DEPTH} levels"
            )));
        }
        self.at += 1;
        let mut element = Element {
            name: self.name()?.to_owned(),
            ..Element::default()
        };
        loop {
            let blank = self.blanks();
            if self.rest().starts_with("/>") || self.rest().starts_with('>') {
                blank.clone_into(&mut element.trailing);
                element.empty = self.rest().starts_with('/');
                break;
            }
            if blank.is_empty() {
                return Err(self.error("a blank, '>' or '/>' is missing"));
            }
            let attribute = self.attribute(blank)?;
            if element.attribute(&attribute.name).is_some() {
                let what = format!("attribute '{}' stands there twice", attribute.name);
                return Err(self.error_at(attribute.start, what));
            }
            element.attributes.push(attribute);
            if element.attributes.len() > MAX_ATTRIBUTES {
                return Err(ConfigError::Limit(format!(
                    "an element has more than {MAX_ATTRIBUTES} attributes"
                )));
            }
        }
        let end = self.at + if element.empty { 2 } else { 1 };
        let empty = element.empty;
        self.at = start;
        let id = self.add(Kind::Element(element), end);
        self.seen_element = true;
        self.check_prefixes(id)?;
        if !empty {
            self.open.push(id);
        }
        Ok(())
    }

    /// Prefixes must be declared. Of a fragment that is for the place where it goes.
    fn check_prefixes(&self, id: NodeId) -> Result<(), ConfigError> {
        let Some(element) = self.document.element(id) else {
            return Ok(());
        };
        if self.fragment {
            return Ok(());
        }
        let names = element
            .attributes
            .iter()
            .filter(|attribute| names::declared_prefix(&attribute.name).is_none())
            .map(|attribute| attribute.name.as_str());
        for name in std::iter::once(element.name.as_str()).chain(names) {
            let (prefix, _) = names::split(name);
            if self.document.namespace_at(id, prefix).is_none() {
                let what = format!("the prefix '{prefix}' of '{name}' is not declared");
                return Err(self.error(what));
            }
        }
        Ok(())
    }

    fn attribute(&mut self, leading: &str) -> Result<Attribute, ConfigError> {
        let start = self.at;
        let name = self.name()?.to_owned();
        let before_equals = self.at;
        self.blanks();
        if !self.rest().starts_with('=') {
            return Err(self.error(format!("attribute '{name}' has no value")));
        }
        self.at += 1;
        self.blanks();
        let equals = self.source[before_equals..self.at].to_owned();
        let Some(quote @ ('"' | '\'')) = self.rest().chars().next() else {
            return Err(self.error(format!("the value of '{name}' needs quotes")));
        };
        let from = self.at + 1;
        let Some(length) = self.source[from..].find(quote) else {
            return Err(self.error(format!("the value of '{name}' has no end")));
        };
        let raw = &self.source[from..from + length];
        if let Some(at) = raw.find('<') {
            return Err(self.error_at(from + at, "'<' may not stand in a value; write '&lt;'"));
        }
        self.references(raw, from)?;
        self.at = from + length + 1;
        Ok(Attribute {
            leading: Some(leading.to_owned()),
            name,
            equals,
            quote,
            raw: raw.to_owned(),
            start,
        })
    }

    fn last_tag(&mut self) -> Result<(), ConfigError> {
        let start = self.at;
        self.at += 2;
        let name = self.name()?;
        let trailing = self.blanks();
        if !self.rest().starts_with('>') {
            return Err(self.error("a '>' is missing"));
        }
        let Some(id) = self.open.pop() else {
            return Err(self.error_at(start, format!("</{name}> closes nothing")));
        };
        let open = self.document.position(id);
        if let Some(element) = self.document.element_mut(id) {
            if element.name != name {
                let what = format!(
                    "</{name}> stands where <{}> of line {} must be closed",
                    element.name, open.line
                );
                return Err(self.error_at(start, what));
            }
            trailing.clone_into(&mut element.close_trailing);
        }
        self.at += 1;
        Ok(())
    }
}
