//! A document as a tree that holds all of its text: written out unchanged, it is the same bytes.

use super::super::Position;
use super::escape;

/// A node of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// Where a node came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was in the document when that was read.
    Read,
    /// It was put in since.
    Added,
}

/// What a node is. Texts are kept as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The document itself.
    Root,
    /// An element; its content are its children.
    Element(Element),
    /// Text between tags, references and all.
    Text(String),
    /// The inside of `<![CDATA[...]]>`.
    CData(String),
    /// The inside of `<!--...-->`.
    Comment(String),
    /// `<?target data?>`: the target, and all that follows it.
    Instruction {
        /// Its name.
        target: String,
        /// The blank behind the name, then the data.
        data: String,
    },
    /// A declaration or document type, whole.
    Verbatim(String),
}

/// An element's tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Element {
    /// Its name, prefix included.
    pub(crate) name: String,
    /// Its attributes in the order in which they are written.
    pub(crate) attributes: Vec<Attribute>,
    /// What stands before the `>` or `/>` of its first tag.
    pub(crate) trailing: String,
    /// It is one tag: `<name/>`.
    pub(crate) empty: bool,
    /// What stands before the `>` of its last tag.
    pub(crate) close_trailing: String,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// The blank before it; `None` if that is for the writer to choose.
    pub(crate) leading: Option<String>,
    /// Its name, prefix included.
    pub(crate) name: String,
    /// The equals sign with its blanks.
    pub(crate) equals: String,
    /// The quote around its value.
    pub(crate) quote: char,
    /// Its value as it is written.
    pub(crate) raw: String,
    /// Where its name stands in the text that was read.
    pub(crate) start: usize,
}

impl Attribute {
    /// A new one; the writer puts the blank before it.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self {
            leading: None,
            name: name.to_owned(),
            equals: "=".to_owned(),
            quote: '"',
            raw: escape::attribute(value, '"'),
            start: 0,
        }
    }

    /// Its value.
    pub(crate) fn value(&self) -> String {
        escape::decoded(&self.raw)
    }

    /// Gives it another value.
    pub(crate) fn set(&mut self, value: &str) {
        self.raw = escape::attribute(value, self.quote);
    }
}

impl Element {
    /// The attribute of this name, prefix included.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|found| found.name == name)
    }

    /// The same, to change it.
    pub(crate) fn attribute_mut(&mut self, name: &str) -> Option<&mut Attribute> {
        self.attributes.iter_mut().find(|found| found.name == name)
    }
}

#[derive(Debug, Clone)]
struct Node {
    parent: Option<NodeId>,
    children: Vec<NodeId>,
    kind: Kind,
    origin: Origin,
    start: usize,
}

/// A document.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    source: String,
}

impl Document {
    /// The document's own node.
    pub(crate) const ROOT: NodeId = NodeId(0);

    pub(super) fn empty(source: &str) -> Self {
        Self {
            nodes: vec![Node {
                parent: None,
                children: Vec::new(),
                kind: Kind::Root,
                origin: Origin::Read,
                start: 0,
            }],
            source: source.to_owned(),
        }
    }

    /// Makes a node that has no parent yet.
    pub(crate) fn create(&mut self, kind: Kind, origin: Origin, start: usize) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node {
            parent: None,
            children: Vec::new(),
            kind,
            origin,
            start,
        });
        id
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    /// How many nodes were ever made.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node's number among all, for tables.
    pub(crate) fn index(id: NodeId) -> usize {
        id.0 as usize
    }

    /// What a node is.
    pub(crate) fn kind(&self, id: NodeId) -> &Kind {
        self.node(id).map_or(&Kind::Root, |node| &node.kind)
    }

    /// Makes something else of a node.
    pub(crate) fn set_kind(&mut self, id: NodeId, kind: Kind) {
        if let Some(node) = self.node_mut(id) {
            node.kind = kind;
        }
    }

    /// The element that a node is.
    pub(crate) fn element(&self, id: NodeId) -> Option<&Element> {
        match self.kind(id) {
            Kind::Element(element) => Some(element),
            Kind::Root
            | Kind::Text(_)
            | Kind::CData(_)
            | Kind::Comment(_)
            | Kind::Instruction { .. }
            | Kind::Verbatim(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn element_mut(&mut self, id: NodeId) -> Option<&mut Element> {
        match self.node_mut(id).map(|node| &mut node.kind) {
            Some(Kind::Element(element)) => Some(element),
            Some(
                Kind::Root
                | Kind::Text(_)
                | Kind::CData(_)
                | Kind::Comment(_)
                | Kind::Instruction { .. }
                | Kind::Verbatim(_),
            )
            | None => None,
        }
    }

    /// Where a node came from.
    pub(crate) fn origin(&self, id: NodeId) -> Origin {
        self.node(id).map_or(Origin::Read, |node| node.origin)
    }

    /// A node's parent; none for the document and for what was taken out.
    pub(crate) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).and_then(|node| node.parent)
    }

    /// A node's children.
    pub(crate) fn children(&self, id: NodeId) -> &[NodeId] {
        self.node(id).map_or(&[][..], |node| &node.children)
    }

    /// A node and all below it, in the document's order.
    pub(crate) fn descendants(&self, id: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            found.push(id);
            open.extend(self.children(id).iter().rev());
        }
        found
    }

    /// Where a node stands among its parent's children.
    pub(crate) fn place(&self, id: NodeId) -> Option<(NodeId, usize)> {
        let parent = self.parent(id)?;
        let at = self
            .children(parent)
            .iter()
            .position(|child| *child == id)?;
        Some((parent, at))
    }

    /// Puts a node among the children of another.
    pub(crate) fn insert(&mut self, parent: NodeId, at: usize, child: NodeId) {
        if let Some(node) = self.node_mut(child) {
            node.parent = Some(parent);
        }
        if let Some(node) = self.node_mut(parent) {
            let at = at.min(node.children.len());
            node.children.insert(at, child);
            if let Kind::Element(element) = &mut node.kind
                && element.empty
            {
                // The blank before `/>` means nothing before `>`.
                element.empty = false;
                element.trailing.clear();
            }
        }
    }

    /// Puts a node behind the other children.
    pub(crate) fn append(&mut self, parent: NodeId, child: NodeId) {
        self.insert(parent, usize::MAX, child);
    }

    /// Takes a node out.
    pub(crate) fn remove(&mut self, id: NodeId) {
        if let Some((parent, at)) = self.place(id) {
            if let Some(node) = self.node_mut(parent) {
                node.children.remove(at);
            }
            if let Some(node) = self.node_mut(id) {
                node.parent = None;
            }
        }
    }

    /// Takes all children out.
    pub(crate) fn clear(&mut self, id: NodeId) {
        for child in self.children(id).to_vec() {
            self.remove(child);
        }
    }

    /// A text of nothing but blanks.
    pub(crate) fn is_blank(&self, id: NodeId) -> bool {
        match self.kind(id) {
            Kind::Text(raw) => raw.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n')),
            Kind::Root
            | Kind::Element(_)
            | Kind::CData(_)
            | Kind::Comment(_)
            | Kind::Instruction { .. }
            | Kind::Verbatim(_) => false,
        }
    }

    /// Where a byte of the text stood that was read.
    pub(crate) fn position_of(&self, offset: usize) -> Position {
        Position::of(&self.source, offset)
    }

    /// Where a node stood in the text that was read.
    pub(crate) fn position(&self, id: NodeId) -> Position {
        self.position_of(self.node(id).map_or(0, |node| node.start))
    }

    /// The text that a node stands for, as XPath has it.
    pub(crate) fn text(&self, id: NodeId) -> String {
        match self.kind(id) {
            Kind::Text(raw) => escape::decoded(raw),
            Kind::CData(text) | Kind::Comment(text) => text.clone(),
            Kind::Instruction { data, .. } => data.trim_start().to_owned(),
            Kind::Verbatim(_) => String::new(),
            Kind::Root | Kind::Element(_) => {
                let mut out = String::new();
                for id in self.descendants(id) {
                    match self.kind(id) {
                        Kind::Text(raw) => out.push_str(&escape::decoded(raw)),
                        Kind::CData(text) => out.push_str(text),
                        Kind::Root
                        | Kind::Element(_)
                        | Kind::Comment(_)
                        | Kind::Instruction { .. }
                        | Kind::Verbatim(_) => {}
                    }
                }
                out
            }
        }
    }

    /// The document's text. An attribute without a blank of its own gets one, or `wrap` of its
    /// element if the line would pass `MAX_LINE` characters.
    pub(crate) fn write(&self, wrap: &dyn Fn(NodeId) -> String) -> String {
        let mut writer = Writer {
            document: self,
            wrap,
            out: String::with_capacity(self.source.len()),
        };
        writer.children(Self::ROOT);
        writer.out
    }
}

/// A line longer than this is broken before an attribute that was added.
const MAX_LINE: usize = 160;

struct Writer<'a> {
    document: &'a Document,
    wrap: &'a dyn Fn(NodeId) -> String,
    out: String,
}

/// What a walk through the tree meets: the stack is our own, since a document may be deep.
enum Step {
    Open(NodeId),
    Close(NodeId),
}

impl Writer<'_> {
    fn children(&mut self, root: NodeId) {
        let opens = |document: &Document, id| -> Vec<Step> {
            document
                .children(id)
                .iter()
                .rev()
                .map(|child| Step::Open(*child))
                .collect()
        };
        let mut steps = opens(self.document, root);
        while let Some(step) = steps.pop() {
            match step {
                Step::Open(id) => {
                    if self.open(id) {
                        steps.push(Step::Close(id));
                        steps.extend(opens(self.document, id));
                    }
                }
                Step::Close(id) => {
                    if let Some(element) = self.document.element(id) {
                        for part in ["</", &element.name, &element.close_trailing, ">"] {
                            self.out.push_str(part);
                        }
                    }
                }
            }
        }
    }

    /// Writes a node or its first tag; whether children and a last tag follow.
    fn open(&mut self, id: NodeId) -> bool {
        let parts: [&str; 4] = match self.document.kind(id) {
            Kind::Root => return false,
            Kind::Element(element) => return self.first_tag(id, element),
            Kind::Text(raw) | Kind::Verbatim(raw) => [raw, "", "", ""],
            Kind::CData(text) => ["<![CDATA[", text, "]]>", ""],
            Kind::Comment(text) => ["<!--", text, "-->", ""],
            Kind::Instruction { target, data } => ["<?", target, data, "?>"],
        };
        self.out.push_str(&parts.concat());
        false
    }

    fn first_tag(&mut self, id: NodeId, element: &Element) -> bool {
        self.out.push('<');
        self.out.push_str(&element.name);
        for attribute in &element.attributes {
            let length = attribute.name.chars().count()
                + attribute.raw.chars().count()
                + attribute.equals.len()
                + 2;
            match &attribute.leading {
                Some(blank) => self.out.push_str(blank),
                None if self.column() + length + 1 > MAX_LINE => {
                    let blank = (self.wrap)(id);
                    self.out.push_str(&blank);
                }
                None => self.out.push(' '),
            }
            self.out.push_str(&attribute.name);
            self.out.push_str(&attribute.equals);
            self.out.push(attribute.quote);
            self.out.push_str(&attribute.raw);
            self.out.push(attribute.quote);
        }
        self.out.push_str(&element.trailing);
        self.out.push_str(if element.empty { "/>" } else { ">" });
        !element.empty
    }

    /// The column of the next character, counted from one.
    fn column(&self) -> usize {
        let start = self.out.rfind('\n').map_or(0, |at| at + 1);
        self.out.get(start..).map_or(0, |line| line.chars().count()) + 1
    }
}
