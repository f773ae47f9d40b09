//! A line of `transforms:` of a package step, as a file holds it.

use std::borrow::Cow;

use mantle_shared::transform_rule::TransformRule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};

/// Which XDT transforms go into which files, or a template that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform(pub String);

impl<'de> Deserialize<'de> for Transform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        if !line.contains("#{") {
            TransformRule::parse(&line).map_err(de::Error::custom)?;
        }
        Ok(Self(line))
    }
}

impl JsonSchema for Transform {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Transform".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "#\\{|=>|^ *[Aa][Uu][Tt][Oo][Mm][Aa][Tt][Ii][Cc] *$",
            "description": "automatic, or TRANSFORM => TARGET such as *.Blue.config => *.config"
        })
    }
}
