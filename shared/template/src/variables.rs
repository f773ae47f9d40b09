//! The variables a template is rendered against: flat names in the order they were set, and the tree of
//! names, properties and indexes that paths are looked up in.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::ast::Step;
use crate::lexer::fold;
use crate::parser;

/// The node above all names.
pub(crate) const ROOT: u32 = 0;

/// What is written in the place of a result that is not known: by the labels of the values that it hangs
/// on, and by all that it follows from.
pub type Made = fn(labels: &[&str], recipe: &str) -> String;

fn made(labels: &[&str], _recipe: &str) -> String {
    format!("(made from {})", labels.join(", "))
}

/// Variables by name. Names are compared without case; the order is that in which names were first set, and
/// loops follow it. A value of `None` is a variable that exists and is empty.
///
/// A value may only stand in for one that is not known here, such as that of a secret; see
/// [`stand_in`](Self::stand_in).
#[derive(Clone)]
pub struct Variables {
    entries: Vec<Entry>,
    /// What is shown of a result that hangs on a value that is not known.
    made: Made,
    /// Whether any value is a stand-in.
    any_stand_in: bool,
    /// Which names are empty where they have no value.
    empty: Option<fn(&str) -> bool>,
    by_name: HashMap<String, usize>,
    nodes: Vec<Node>,
    children: HashMap<(u32, Kind, String), u32>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    value: Option<Value>,
    /// What its value stands in for.
    stands_for: Option<String>,
    /// The node its name leads to; `None` if the name is not a path.
    node: Option<u32>,
}

/// A value, of this set or shared with others.
#[derive(Clone)]
enum Value {
    Own(String),
    Shared(Arc<str>),
}

impl Deref for Value {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Shared(text) => text,
        }
    }
}

#[derive(Clone, Default)]
struct Node {
    entry: Option<usize>,
    /// The text between the brackets, for a node reached by an index.
    index: Option<String>,
    indexed: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Name,
    Index,
}

impl Default for Variables {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            made,
            any_stand_in: false,
            empty: None,
            by_name: HashMap::new(),
            nodes: vec![Node::default()],
            children: HashMap::new(),
        }
    }
}

/// Names only: values may be secret.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Variables {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable; one of the same name (case aside) keeps its place and gets the new value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.insert(name, Some(value.into()));
    }

    /// As [`set`](Self::set), with a value that may be null.
    pub fn insert(&mut self, name: impl Into<String>, value: Option<String>) {
        self.put(name.into(), value.map(Value::Own));
    }

    /// As [`set`](Self::set), with a value that several sets hold together.
    pub fn share(&mut self, name: impl Into<String>, value: Arc<str>) {
        self.put(name.into(), Some(Value::Shared(value)));
    }

    /// As [`set`](Self::set), with a text in the place of a value that is not known here: `label` says
    /// whose. It is written where the value would be written as it is. What hangs on it in another way (a
    /// filter, a condition, a calculation, a part of it) is not evaluated by it; see
    /// [`made_by`](Self::made_by).
    pub fn stand_in(
        &mut self,
        name: impl Into<String>,
        text: impl Into<String>,
        label: impl Into<String>,
    ) {
        let name = name.into();
        let folded = fold(&name);
        self.put(name, Some(Value::Own(text.into())));
        let index = self.by_name.get(&folded).copied();
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.stands_for = Some(label.into());
            self.any_stand_in = true;
        }
    }

    /// What is written in the place of a result that hangs on values that are not known: made of their
    /// labels, and of all that the result follows from, in which the stand-ins stand for these values.
    pub fn made_by(&mut self, made: Made) {
        self.made = made;
    }

    /// Names for which this holds are empty, not missing, where they have no value.
    pub fn empty_if(&mut self, is: fn(&str) -> bool) {
        self.empty = Some(is);
    }

    pub(crate) fn empty(&self) -> Option<fn(&str) -> bool> {
        self.empty
    }

    pub(crate) fn made(&self) -> Made {
        self.made
    }

    pub(crate) fn has_stand_ins(&self) -> bool {
        self.any_stand_in
    }

    /// The entry whose value a node has, if it is a stand-in.
    pub(crate) fn stand_in_at(&self, node: u32) -> Option<usize> {
        if !self.any_stand_in {
            return None;
        }
        let index = self.nodes.get(node as usize)?.entry?;
        self.entries.get(index)?.stands_for.as_ref().map(|_| index)
    }

    /// What the value of a name stands in for.
    pub fn stands_for(&self, name: &str) -> Option<&str> {
        let index = self.by_name.get(&fold(name))?;
        self.entries.get(*index)?.stands_for.as_deref()
    }

    /// The name of an entry.
    pub(crate) fn name_at(&self, index: usize) -> &str {
        self.entries
            .get(index)
            .map(|entry| entry.name.as_str())
            .unwrap_or_default()
    }

    fn put(&mut self, name: String, value: Option<Value>) {
        let folded = fold(&name);
        let index = if let Some(known) = self.by_name.get(&folded) {
            *known
        } else {
            let node = self.place(&name);
            self.entries.push(Entry {
                name,
                value: None,
                stands_for: None,
                node,
            });
            self.by_name.insert(folded, self.entries.len() - 1);
            self.entries.len() - 1
        };
        if let Some(entry) = self.entries.get_mut(index) {
            entry.value = value;
            entry.stands_for = None;
            // Two spellings of one path: the last one set counts.
            if let Some(node) = entry
                .node
                .and_then(|node| self.nodes.get_mut(node as usize))
            {
                node.entry = Some(index);
            }
        }
    }

    /// The raw value of a variable, as it was set; `None` if there is none or it is empty by being null.
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self.by_name.get(&fold(name))?;
        self.entries.get(*index)?.value.as_deref()
    }

    /// Whether a variable of that name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(&fold(name))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names as first written, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Names and raw values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.value.as_deref()))
    }

    fn place(&mut self, name: &str) -> Option<u32> {
        let path = parser::parse_path(name)?;
        let mut node = ROOT;
        for step in &path.steps {
            let (kind, text) = match step {
                Step::Name(text) => (Kind::Name, *text),
                Step::Index(text) => (Kind::Index, *text),
                Step::Dynamic(_) => return None,
            };
            node = self.child_or_new(node, kind, text)?;
        }
        Some(node)
    }

    fn child_or_new(&mut self, parent: u32, kind: Kind, text: &str) -> Option<u32> {
        let key = (parent, kind, fold(text));
        if let Some(child) = self.children.get(&key) {
            return Some(*child);
        }
        let child = u32::try_from(self.nodes.len()).ok()?;
        let index = (kind == Kind::Index).then(|| text.to_owned());
        self.nodes.push(Node {
            entry: None,
            index,
            indexed: Vec::new(),
        });
        if kind == Kind::Index {
            self.nodes.get_mut(parent as usize)?.indexed.push(child);
        }
        self.children.insert(key, child);
        Some(child)
    }

    pub(crate) fn child(&self, parent: u32, kind: Kind, text: &str) -> Option<u32> {
        self.children.get(&(parent, kind, fold(text))).copied()
    }

    /// The nodes under `node` that are reached by an index, in order.
    pub(crate) fn indexed(&self, node: u32) -> &[u32] {
        self.nodes
            .get(node as usize)
            .map(|node| node.indexed.as_slice())
            .unwrap_or_default()
    }

    pub(crate) fn index_text(&self, node: u32) -> Option<&str> {
        self.nodes.get(node as usize)?.index.as_deref()
    }

    /// What a node stands for: its variable's raw value, or for an index without one the index itself.
    pub(crate) fn item(&self, node: u32) -> Option<&str> {
        let node = self.nodes.get(node as usize)?;
        match node.entry.and_then(|entry| self.entries.get(entry)) {
            Some(entry) => Some(entry.value.as_deref().unwrap_or_default()),
            None => node.index.as_deref(),
        }
    }
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Variables {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.set(name, value);
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut variables = Self::new();
        variables.extend(pairs);
        variables
    }
}
