//! Which secrets a deployment may come to know: those whose value can hold in its environment and
//! channel, whatever the target, step or action.
//!
//! What a deployment's targets print is masked by these. It is more than any one action is given,
//! and less than the release pins: a test system's simple password must not turn the words of a
//! production log into asterisks.

use mantle_template::same_name;
use std::collections::BTreeSet;

use super::{PinnedSecret, Scope, Variable, VariableValue};

/// The pinned secrets of these variables that can hold there; each version once, in order.
pub fn secrets_in_scope<'a>(
    variables: &'a [Variable],
    environment: &str,
    channel: &str,
) -> Vec<&'a PinnedSecret> {
    let mut seen = BTreeSet::new();
    let values = variables.iter().flat_map(|variable| &variable.values);
    values
        .filter(|value| can_hold(&value.scope, environment, channel))
        .filter_map(|value| match &value.value {
            VariableValue::PinnedSecret(secret) => Some(secret),
            VariableValue::Text(_) | VariableValue::Secret(_) | VariableValue::Prompt(_) => None,
        })
        .filter(|secret| seen.insert(secret.secret_version))
        .collect()
}

fn can_hold(scope: &Scope, environment: &str, channel: &str) -> bool {
    let within = |names: &BTreeSet<String>, name: &str| {
        names.is_empty() || names.iter().any(|known| same_name(known, name))
    };
    within(&scope.environments, environment) && within(&scope.channels, channel)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    #[test]
    fn of_each_secret_those_that_can_hold_in_the_environment_and_channel() {
        let secret = |version: u32| {
            json!({"pinned_secret": {"path": format!("p{version}"),
                "secret_version": format!("00000000-0000-0000-0000-{version:012}"), "mark": ""}})
        };
        let value = |version: u32, scope: serde_json::Value| json!({"value": secret(version), "scope": scope});
        let variables: Vec<Variable> = serde_json::from_value(json!([
            {"name": "A", "values": [
                value(1, json!({})),
                value(2, json!({"environments": ["test"]})),
                value(3, json!({"environments": ["Production"], "targets": ["web01"]})),
                value(4, json!({"channels": ["hotfix"]})),
            ]},
            {"name": "B", "values": [value(1, json!({})), {"value": {"text": "x"}, "scope": {}}]},
        ]))
        .unwrap();
        let found = secrets_in_scope(&variables, "production", "default");
        let paths: Vec<&str> = found.iter().map(|secret| secret.path.as_str()).collect();
        assert_eq!(paths, ["p1", "p3"]);
    }
}
