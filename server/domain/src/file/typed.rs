//! What files are made of besides serde's own types: values with positions, one or many, text as
//! it was written, lists that are read item by item, and nodes as they are.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};

use super::de::{AT, MANY, NODE, RAW};
use super::node::{Key, Kind, Node, Position, Problem};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) at: Position,
    pub(super) value: T,
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
                let at = placed(&mut parts)?;
                let value = parts.next_element()?.ok_or_else(lost)?;
                Ok(At { at, value })
            }
        }
        deserializer.deserialize_newtype_struct(AT, Reader(PhantomData))
    }
}

fn placed<'de, A: SeqAccess<'de>>(parts: &mut A) -> Result<Position, A::Error> {
    Ok(Position {
        line: parts.next_element()?.ok_or_else(lost)?,
        column: parts.next_element()?.ok_or_else(lost)?,
    })
}

fn lost<E: de::Error>() -> E {
    E::custom("a position is missing")
}

/// Schemas are those of the value: positions are not part of a file.
macro_rules! schema_of {
    ($type:ident) => {
        impl<T: JsonSchema> JsonSchema for $type<T> {
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                T::schema_name()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    };
}
schema_of!(At);

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Many<T>(pub(super) Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_newtype_struct(MANY, AllItems(PhantomData))
            .map(Many)
    }
}

struct AllItems<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AllItems<T> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(all)
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

/// Text, quoted or not: `8080` and `1.10` as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw(pub(super) String);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw(text.to_owned()))
            }
        }
        deserializer.deserialize_newtype_struct(RAW, Reader)
    }
}

impl JsonSchema for Raw {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Raw".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// The entries of a map in the order of the file.
struct Pairs(Vec<(Key, Node)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<At<String>>()? {
                    let key = Key {
                        at: key.at,
                        text: key.value,
                    };
                    pairs.push((key, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Node, A::Error> {
                let at = placed(&mut parts)?;
                let code: u32 = parts.next_element()?.ok_or_else(lost)?;
                let kind = match code {
                    0 => parts.next_element()?.map(Kind::Plain),
                    1 => parts.next_element()?.map(Kind::Text),
                    2 => parts.next_element()?.map(Kind::List),
                    _ => parts
                        .next_element::<Pairs>()?
                        .map(|pairs| Kind::Map(pairs.0)),
                };
                Ok(Node {
                    at,
                    kind: kind.ok_or_else(lost)?,
                })
            }
        }
        deserializer.deserialize_newtype_struct(NODE, Reader)
    }
}

/// A list whose items are read one by one, so that a problem in one does not hide the next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Each<T>(pub(super) Vec<Result<At<T>, Problem>>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Reader<T> {
            type Value = Each<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Each<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(node) = items.next_element::<Node>()? {
                    all.push(node.read::<T>().map(|value| At { at: node.at, value }));
                }
                Ok(Each(all))
            }
        }
        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Each<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Each_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"type": "array", "items": one})
    }
}
