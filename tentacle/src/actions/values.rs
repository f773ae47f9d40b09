//! How inputs are written: durations, switches, numbers.
//!
//! Templates give texts, so `"30s"`, `"true"` and `"200"` must mean what `30s`, `true` and `200`
//! mean. A wrong value says what would be right.

use std::time::Duration;

use mantle_shared::inputs;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A duration as people write it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1000 {
        format!("{ms}ms")
    } else if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{:.1}s", duration.as_secs_f64())
    }
}

/// A length of time, with its unit.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let value = Value::deserialize(deserializer)?;
    value
        .as_str()
        .and_then(inputs::duration_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is not a length of time; write one like 30s, 10m or 1h30m"
            ))
        })
}

/// A switch: true or false, also as a text; nothing is false.
pub(crate) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.is_null() {
        return Ok(false);
    }
    value
        .as_bool()
        .or_else(|| value.as_str().and_then(inputs::switch))
        .ok_or_else(|| D::Error::custom(format!("{value} is neither true nor false")))
}

/// The same, where it matters whether it is given.
pub(crate) fn optional_switch<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<bool>, D::Error> {
    switch(deserializer).map(Some)
}

/// A whole number, also as a text.
pub(crate) fn optional_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .or_else(|| value.as_str().and_then(inputs::count))
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{value} is no whole number")))
}

/// A list of texts, or one text alone; nothing is an empty list.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(list) => list
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(D::Error::custom(format!("{other} is no text"))),
            })
            .collect(),
        other => Err(D::Error::custom(format!(
            "{other} is neither a text nor a list of texts"
        ))),
    }
}
