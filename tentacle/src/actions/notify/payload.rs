//! What is sent to whom: the forms that webhooks and chats take, and the signature.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::super::Names;

/// The id of a delivery, the same for each try of an attempt.
pub(super) const DELIVERY_HEADER: &str = "Mantle-Delivery";
/// `sha256=` and the HMAC of the body in hexadecimal.
pub(super) const SIGNATURE_HEADER: &str = "Mantle-Signature";

/// What is to be said, and of what.
pub(super) struct Message<'a> {
    pub(super) text: &'a str,
    pub(super) title: Option<&'a str>,
    pub(super) names: &'a Names,
}

/// A webhook's body where the action gives none of its own.
pub(super) fn generic(message: &Message<'_>) -> Value {
    let names = message.names;
    json!({
        "text": message.text,
        "title": message.title,
        "project": names.project,
        "environment": names.environment,
        "release": names.release,
        "task": names.task_number,
        "step": names.step,
        "action": names.action,
        "delivery": names.attempt.to_string(),
    })
}

/// What Slack's incoming webhooks take, and those of chats that follow it.
pub(super) fn slack(message: &Message<'_>) -> Value {
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    // A text may hold Slack's own links, `<url|name>`; a title is a title.
    let text = match message.title {
        Some(title) => format!("*{}*\n{}", escaped(title), message.text),
        None => message.text.to_owned(),
    };
    json!({ "text": text })
}

/// What the webhooks of Microsoft Teams take: one adaptive card.
pub(super) fn teams(message: &Message<'_>) -> Value {
    let block = |text: &str, title: bool| {
        let mut block = json!({"type": "TextBlock", "text": text, "wrap": true});
        if title && let Some(block) = block.as_object_mut() {
            block.insert("weight".to_owned(), json!("Bolder"));
            block.insert("size".to_owned(), json!("Medium"));
        }
        block
    };
    let title = message.title.map(|title| block(title, true));
    let blocks: Vec<Value> = title
        .into_iter()
        .chain([block(message.text, false)])
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": blocks,
            },
        }],
    })
}

/// The signature header's value of a body.
pub(super) fn signature(key: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
