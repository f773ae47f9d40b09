//! Service messages: what a script says to the server through its standard output.
//!
//! `##octopus[name key='base64' ...]`, also with `##mantle[`. The values are base64, so that no
//! value can end the message. What is not such a message stays an ordinary line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mantle_shared::protocol::{Level, Stream};

/// What begins a message.
pub const MARKERS: [&[u8]; 2] = [b"##octopus[", b"##mantle["];
/// The longest message: the value of an output variable in base64.
pub const LONGEST_BYTES: usize = 1024 * 1024;

/// A message of a script.
#[derive(Clone, PartialEq, Eq)]
pub enum ServiceMessage {
    /// An output variable.
    SetVariable {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// It is a secret.
        sensitive: bool,
    },
    /// How far the script is.
    Progress {
        /// 0 to 100.
        percent: u8,
        /// What it is doing.
        message: String,
    },
    /// Lines of this stream are shown so from now on; `None`: they are not kept.
    SetLevel {
        /// Which stream.
        stream: Stream,
        /// How.
        level: Option<Level>,
    },
    /// A value to be masked from now on.
    Mask {
        /// The value.
        value: String,
    },
    /// Why the step fails, in the script's words.
    ResultMessage {
        /// The words.
        message: String,
    },
    /// A message that is known but that nothing here can act on.
    NotSupported {
        /// Its name.
        name: String,
    },
}

impl std::fmt::Debug for ServiceMessage {
    /// Without values, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SetVariable { .. } => "SetVariable",
            Self::Progress { .. } => "Progress",
            Self::SetLevel { .. } => "SetLevel",
            Self::Mask { .. } => "Mask",
            Self::ResultMessage { .. } => "ResultMessage",
            Self::NotSupported { .. } => "NotSupported",
        })
    }
}

/// Reads what stands between the brackets. `None` if it is no message.
pub fn parse(body: &str) -> Option<ServiceMessage> {
    let body = body.trim();
    let (name, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
    let fields = fields(rest)?;
    let get = |key: &str| {
        fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.clone())
    };
    Some(match name {
        "setVariable" => ServiceMessage::SetVariable {
            name: get("name").filter(|name| !name.is_empty())?,
            value: get("value").unwrap_or_default(),
            sensitive: get("sensitive").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        },
        "progress" => ServiceMessage::Progress {
            percent: percent(&get("percentage")?)?,
            message: get("message").unwrap_or_default(),
        },
        "mask" => ServiceMessage::Mask {
            value: get("value")?,
        },
        "resultMessage" => ServiceMessage::ResultMessage {
            message: get("message").unwrap_or_default(),
        },
        _ => match level(name) {
            Some((stream, level)) => ServiceMessage::SetLevel { stream, level },
            None => ServiceMessage::NotSupported {
                name: name.to_owned(),
            },
        },
    })
}

fn percent(text: &str) -> Option<u8> {
    let number: f64 = text.trim().parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is between 0 and 100"
    )]
    Some(number.clamp(0.0, 100.0).round() as u8)
}

fn level(name: &str) -> Option<(Stream, Option<Level>)> {
    let level = match name {
        "stdout-default" | "stdout-wait" => (Stream::Stdout, Some(Level::Info)),
        "stdout-verbose" => (Stream::Stdout, Some(Level::Verbose)),
        "stdout-highlight" => (Stream::Stdout, Some(Level::Highlight)),
        "stdout-warning" => (Stream::Stdout, Some(Level::Warning)),
        "stdout-error" => (Stream::Stdout, Some(Level::Error)),
        "stdout-ignore" => (Stream::Stdout, None),
        "stderr-default" | "stderr-error" => (Stream::Stderr, Some(Level::Error)),
        "stderr-progress" => (Stream::Stderr, Some(Level::Verbose)),
        "stderr-ignore" => (Stream::Stderr, None),
        _ => return None,
    };
    Some(level)
}

/// `key='base64' key='base64'`.
fn fields(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = after.trim_start().strip_prefix('\'')?.split_once('\'')?;
        let bytes = STANDARD.decode(value.trim()).ok()?;
        found.push((
            key.trim().to_owned(),
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
        rest = after.trim_start();
    }
    Some(found)
}

/// Writes a message as a script would.
pub fn render(name: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("##octopus[{name}");
    for (key, value) in fields {
        text.push_str(&[" ", key, "='", &STANDARD.encode(value), "'"].concat());
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn inner(text: &str) -> &str {
        text.strip_prefix("##octopus[")
            .unwrap()
            .strip_suffix(']')
            .unwrap()
    }

    #[test]
    fn what_is_rendered_is_parsed() {
        let text = render(
            "setVariable",
            &[("name", "A'b"), ("value", "x\ny]"), ("sensitive", "True")],
        );
        let expected = ServiceMessage::SetVariable {
            name: "A'b".to_owned(),
            value: "x\ny]".to_owned(),
            sensitive: true,
        };
        assert!(parse(inner(&text)) == Some(expected));
        let text = render("progress", &[("percentage", "142.5"), ("message", "half")]);
        let expected = ServiceMessage::Progress {
            percent: 100,
            message: "half".to_owned(),
        };
        assert!(parse(inner(&text)) == Some(expected));
    }

    #[test]
    fn levels_and_unknown_names() {
        let expected = ServiceMessage::SetLevel {
            stream: Stream::Stdout,
            level: Some(Level::Warning),
        };
        assert!(parse("stdout-warning") == Some(expected));
        assert!(matches!(
            parse("createArtifact path='YQ=='"),
            Some(ServiceMessage::NotSupported { .. })
        ));
    }

    #[test]
    fn what_is_damaged_is_no_message() {
        for text in [
            "setVariable name='!!'",
            "setVariable",
            "progress percentage='eA=='",
            "setVariable name='YQ==",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
