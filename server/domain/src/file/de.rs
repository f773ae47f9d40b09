//! Reads typed values out of a [`Node`] with serde, so that each error knows its place.
//!
//! An error is made where the place is not known; the first reader on its way up that knows it
//! fills it in. Four newtype names have a meaning here: see the constants.

use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer, U32Deserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::node::{Key, Kind, Node, Position, Problem};
use super::scalar::{Scalar, resolve};
use crate::explain::nearest;

/// A value with its position: served as a sequence of line, column, value.
pub(super) const AT: &str = "$mantle::At";
/// One value or a list of them: served as a sequence either way.
pub(super) const MANY: &str = "$mantle::Many";
/// Text, also when unquoted and looking like a number: served as it was written.
pub(super) const RAW: &str = "$mantle::Raw";
/// The node itself: served as a sequence of line, column, kind, content.
pub(super) const NODE: &str = "$mantle::Node";

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Problem {
    fn unplaced(what: String) -> Self {
        Self {
            at: None,
            what,
            next: None,
        }
    }

    fn or_at(mut self, at: Position) -> Self {
        self.at.get_or_insert(at);
        self
    }
}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::unplaced(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = words(&expected.to_string());
        let problem = Self::unplaced(format!("expected {expected}, found {}", shown(&found)));
        match found {
            Unexpected::Signed(number) if expected == "text" => problem.next(format!(
                "put it in quotes, or add its unit if it is a length of time: {number}s"
            )),
            Unexpected::Unsigned(_) | Unexpected::Float(_) | Unexpected::Bool(_)
                if expected == "text" =>
            {
                problem.next("put it in quotes")
            }
            _ => problem,
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = words(&expected.to_string());
        Self::unplaced(format!("expected {expected}, found {}", shown(&found)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unplaced(format!("'{variant}' is none of {}", expected.join(", ")))
            .meant(nearest(variant, expected.iter().copied()))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let problem = Self::unplaced(format!("unknown key '{field}'"));
        let ours = OTHERS_WORDS.iter().find(|(theirs, _)| *theirs == field);
        let ours = ours.map(|(_, ours)| *ours);
        let ours = ours
            .filter(|ours| expected.contains(ours))
            .map(str::to_owned);
        match ours.or_else(|| nearest(field, expected.iter().copied())) {
            Some(name) => problem.meant(Some(name)),
            None => problem.next(format!("the keys here are {}", expected.join(", "))),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::unplaced(format!("key '{field}' is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::unplaced(format!("key '{field}' stands here twice"))
    }
}

/// What people bring along from elsewhere, and the key here.
const OTHERS_WORDS: [(&str, &str); 4] = [
    ("variable_sets", "include"),
    ("library_variable_sets", "include"),
    ("role", "tag"),
    ("roles", "tags"),
];

/// serde's words for what it expects, in the words of files.
fn words(expected: &str) -> String {
    match expected {
        "a string" | "a borrowed string" | "string" => "text",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "u32" | "u64" | "i64" | "u16" | "u8" => "a whole number",
        other => other,
    }
    .to_owned()
}

fn shown(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Str(text) => {
            let short: String = text.chars().take(40).collect();
            format!("'{short}'")
        }
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

impl Node {
    /// Reads a value of this type.
    pub(super) fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Problem> {
        T::deserialize(self).map_err(|problem| problem.or_at(self.at))
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.kind {
            Kind::Text(text) => Unexpected::Str(text),
            Kind::List(_) => Unexpected::Seq,
            Kind::Map(_) => Unexpected::Map,
            Kind::Plain(text) => match resolve(text) {
                Scalar::Null => Unexpected::Unit,
                Scalar::Bool(value) => Unexpected::Bool(value),
                Scalar::Integer(number) => Unexpected::Signed(number),
                Scalar::Unsigned(number) => Unexpected::Unsigned(number),
                Scalar::Float(number) => Unexpected::Float(number),
                Scalar::Text => Unexpected::Str(text),
            },
        }
    }

    fn wrong(&self, expected: &dyn Expected) -> Problem {
        <Problem as de::Error>::invalid_type(self.unexpected(), expected).or_at(self.at)
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let outcome = match &self.kind {
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries::new(entries)),
            Kind::Plain(text) => match resolve(text) {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Integer(number) => visitor.visit_i64(number),
                Scalar::Unsigned(number) => visitor.visit_u64(number),
                Scalar::Float(number) => visitor.visit_f64(number),
                Scalar::Text => visitor.visit_borrowed_str(text),
            },
        };
        outcome.map_err(|problem| problem.or_at(self.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.kind {
            Kind::Plain(text) if resolve(text) == Scalar::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.unexpected() {
            Unexpected::Str(text) => visitor
                .visit_enum(UnitVariant(text))
                .map_err(|problem| problem.or_at(self.at)),
            _ => Err(self.wrong(&"a word")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let outcome = match name {
            AT => visitor.visit_seq(Parts::new(self, Part::Value)),
            NODE => visitor.visit_seq(Parts::new(self, Part::Kind)),
            MANY => match &self.kind {
                Kind::List(items) => visitor.visit_seq(Items(items.iter())),
                _ => visitor.visit_seq(Items(std::slice::from_ref(self).iter())),
            },
            RAW => match &self.kind {
                Kind::Text(text) => visitor.visit_borrowed_str(text),
                Kind::Plain(text) if resolve(text) != Scalar::Null => {
                    visitor.visit_borrowed_str(text)
                }
                _ => Err(self.wrong(&"text")),
            },
            _ => visitor.visit_newtype_struct(self),
        };
        outcome.map_err(|problem| problem.or_at(self.at))
    }

    /// Only from a map: serde would also fill a struct from a list, by position.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.kind {
            Kind::Map(entries) => visitor
                .visit_map(Entries::new(entries))
                .map_err(|problem| problem.or_at(self.at)),
            Kind::Plain(_) | Kind::Text(_) | Kind::List(_) => Err(self.wrong(&visitor)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Problem;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(node) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(node)
            .map(Some)
            .map_err(|problem| problem.or_at(node.at))
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, (Key, Node)>,
    value: Option<&'de Node>,
}

impl<'de> Entries<'de> {
    fn new(entries: &'de [(Key, Node)]) -> Self {
        Self {
            rest: entries.iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Problem;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(KeyReader(key))
            .map(Some)
            .map_err(|problem| problem.or_at(key.at))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some(node) = self.value.take() else {
            return Err(<Problem as de::Error>::custom(
                "a value was read before its key",
            ));
        };
        seed.deserialize(node)
            .map_err(|problem| problem.or_at(node.at))
    }
}

/// A key: text, or text with its position.
struct KeyReader<'de>(&'de Key);

impl<'de> Deserializer<'de> for KeyReader<'de> {
    type Error = Problem;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_borrowed_str(&self.0.text)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if name != AT {
            return visitor.visit_newtype_struct(self);
        }
        visitor.visit_seq(KeyParts {
            key: self.0,
            part: 0,
        })
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any option enum
    }
}

struct KeyParts<'de> {
    key: &'de Key,
    part: u8,
}

impl<'de> SeqAccess<'de> for KeyParts<'de> {
    type Error = Problem;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        self.part += 1;
        match self.part {
            1 => seed.deserialize(number(self.key.at.line)).map(Some),
            2 => seed.deserialize(number(self.key.at.column)).map(Some),
            3 => {
                let text: StrDeserializer<'_, Problem> = self.key.text.as_str().into_deserializer();
                seed.deserialize(text).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn number(value: u32) -> U32Deserializer<Problem> {
    value.into_deserializer()
}

/// What a node is served as, piece by piece.
struct Parts<'de> {
    node: &'de Node,
    next: Option<Part>,
    last: Part,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Line,
    Column,
    Kind,
    Value,
}

impl<'de> Parts<'de> {
    fn new(node: &'de Node, last: Part) -> Self {
        Self {
            node,
            next: Some(Part::Line),
            last,
        }
    }
}

impl<'de> SeqAccess<'de> for Parts<'de> {
    type Error = Problem;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        match self.next {
            Some(Part::Line) => {
                self.next = Some(Part::Column);
                seed.deserialize(number(self.node.at.line)).map(Some)
            }
            Some(Part::Column) => {
                self.next = Some(self.last);
                seed.deserialize(number(self.node.at.column)).map(Some)
            }
            Some(Part::Kind) => {
                self.next = Some(Part::Value);
                let code = match self.node.kind {
                    Kind::Plain(_) => 0,
                    Kind::Text(_) => 1,
                    Kind::List(_) => 2,
                    Kind::Map(_) => 3,
                };
                seed.deserialize(number(code)).map(Some)
            }
            Some(Part::Value) => {
                self.next = None;
                match &self.node.kind {
                    // Served unresolved to whoever asked for the node itself.
                    Kind::Plain(text) if self.last == Part::Kind => {
                        let text: StringDeserializer<Problem> = text.clone().into_deserializer();
                        seed.deserialize(text).map(Some)
                    }
                    _ => seed.deserialize(self.node).map(Some),
                }
            }
            None => Ok(None),
        }
    }
}

struct UnitVariant<'de>(&'de str);

impl<'de> EnumAccess<'de> for UnitVariant<'de> {
    type Error = Problem;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Problem> {
        let name: StrDeserializer<'_, Problem> = self.0.into_deserializer();
        seed.deserialize(name).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'de> {
    type Error = Problem;
    fn unit_variant(self) -> Result<(), Problem> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Problem> {
        Err(<Problem as de::Error>::custom("expected a word"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Problem> {
        Err(<Problem as de::Error>::custom("expected a word"))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        Err(<Problem as de::Error>::custom("expected a word"))
    }
}
