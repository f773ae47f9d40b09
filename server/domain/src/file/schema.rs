//! The JSON Schema of files, for editors: made from the types that read them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::grammar::Document;
use crate::action::{self, iis, inputs, notify};

/// The schema, draft 7, which is what editors understand.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let inputs: Vec<(&str, Value)> = [
        ("script", generator.subschema_for::<inputs::Script>()),
        ("package", generator.subschema_for::<inputs::Package>()),
        (
            "package.transfer",
            generator.subschema_for::<inputs::PackageTransfer>(),
        ),
        ("http.check", generator.subschema_for::<inputs::HttpCheck>()),
        (
            "haproxy.drain",
            generator.subschema_for::<inputs::HaproxyDrain>(),
        ),
        (
            "haproxy.enable",
            generator.subschema_for::<inputs::HaproxyEnable>(),
        ),
        ("iis.site", generator.subschema_for::<iis::Site>()),
        (
            "iis.application",
            generator.subschema_for::<iis::Application>(),
        ),
        (
            "iis.virtual_directory",
            generator.subschema_for::<iis::VirtualDirectory>(),
        ),
        ("iis.app_pool", generator.subschema_for::<iis::AppPool>()),
        ("iis.feature", generator.subschema_for::<iis::Feature>()),
        ("notify", generator.subschema_for::<notify::Notify>()),
        (
            "systemd.service",
            generator.subschema_for::<inputs::SystemdService>(),
        ),
        (
            "windows.service",
            generator.subschema_for::<inputs::WindowsService>(),
        ),
        ("service", generator.subschema_for::<inputs::Service>()),
        (
            "nginx.drain",
            generator.subschema_for::<inputs::NginxDrain>(),
        ),
        (
            "nginx.enable",
            generator.subschema_for::<inputs::NginxEnable>(),
        ),
        ("nginx.site", generator.subschema_for::<inputs::NginxSite>()),
        (
            "file.template",
            generator.subschema_for::<inputs::FileTemplate>(),
        ),
        ("file.copy", generator.subschema_for::<inputs::FileCopy>()),
        (
            "process.check",
            generator.subschema_for::<inputs::ProcessCheck>(),
        ),
        ("tcp.check", generator.subschema_for::<inputs::TcpCheck>()),
        ("wait", generator.subschema_for::<inputs::Wait>()),
        (action::MANUAL, generator.subschema_for::<inputs::Manual>()),
    ]
    .into_iter()
    .map(|(name, schema)| (name, schema.to_value()))
    .collect();
    let mut schema = generator.into_root_schema_for::<Document>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert(
            "title".to_owned(),
            json!("Mantle project and infrastructure files"),
        );
        if let Some(definitions) = root.get_mut("definitions").and_then(Value::as_object_mut) {
            for item in ["StepItem", "ActionItem"] {
                if let Some(item) = definitions.get_mut(item).and_then(Value::as_object_mut) {
                    describe_action(item, &inputs);
                }
            }
        }
    }
    schema
}

/// The action types by name, and for those that are checked what stands under `with:`.
fn describe_action(item: &mut Map<String, Value>, inputs: &[(&str, Value)]) {
    let names: Vec<&str> = action::TYPES.iter().map(|known| known.name).collect();
    if let Some(uses) = item
        .get_mut("properties")
        .and_then(|properties| properties.get_mut("uses"))
        .and_then(Value::as_object_mut)
    {
        uses.insert("type".to_owned(), json!("string"));
        uses.insert("enum".to_owned(), json!(names));
    }
    let rules: Vec<Value> = inputs
        .iter()
        .map(|(name, schema)| {
            json!({
                "if": { "properties": { "uses": { "const": name } }, "required": ["uses"] },
                "then": { "properties": { "with": schema } }
            })
        })
        .collect();
    item.insert("allOf".to_owned(), Value::Array(rules));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The manual's page of every key is written from it.
    #[test]
    fn the_schema_in_the_repository_is_that_of_the_types() {
        let kept = include_str!("../../../../docs/mantle.schema.json");
        let kept: Value = serde_json::from_str(kept).unwrap();
        assert!(
            kept == schema(),
            "run `mantle schema > docs/mantle.schema.json`, then `cargo run -p xtask -- file-format`"
        );
    }

    #[test]
    fn the_schema_knows_every_key_and_action_type() {
        let schema = schema();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        let keys = schema["properties"].as_object().unwrap();
        for key in [
            "mantle",
            "project",
            "variables",
            "process",
            "environments",
            "targets",
        ] {
            assert!(keys.contains_key(key), "{key}");
        }
        assert_eq!(schema["additionalProperties"], json!(false));
        let step = &schema["definitions"]["StepItem"];
        let names = step["properties"]["uses"]["enum"].as_array().unwrap();
        assert_eq!(names.len(), action::TYPES.len());
        let checked = action::TYPES
            .iter()
            .filter(|known| known.support != action::Support::NameOnly);
        assert_eq!(step["allOf"].as_array().unwrap().len(), checked.count());
        let text = serde_json::to_string(&schema).unwrap();
        for reference in text.split("\"$ref\":\"#/definitions/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schema["definitions"].get(name).is_some(), "dangling {name}");
        }
    }
}
