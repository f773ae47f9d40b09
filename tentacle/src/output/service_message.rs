//! Service messages: what a script says to the server through its standard output.
//!
//! `##octopus[name key='base64' ...]`, also with `##mantle[`. The values are base64, so that no
//! value can end the message. What is not such a message stays an ordinary line.
//!
//! A child's output may hold what strangers wrote: a log, a page that was fetched. So the helper
//! functions say their messages with the attempt's key, `##mantle[KEY name ...]`, which no such text
//! can know; messages without it are obeyed where the step allows it ([`MessageRules`]).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mantle_shared::protocol::{Level, Stream};

/// What begins a message.
pub const MARKERS: [&[u8]; 2] = [b"##octopus[", b"##mantle["];
/// The environment variable that holds the key for a shell without functions.
pub const MESSAGE_KEY_VARIABLE: &str = "MANTLE_MESSAGE_KEY";
/// The longest message: the value of an output variable in base64.
pub const LONGEST_BYTES: usize = 1024 * 1024;

/// Which messages of a process are obeyed.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRules {
    /// Those that begin with this.
    pub key: String,
    /// Those without a key too.
    pub from_anybody: bool,
}

impl std::fmt::Debug for MessageRules {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageRules")
            .field("from_anybody", &self.from_anybody)
            .finish_non_exhaustive()
    }
}

impl MessageRules {
    /// A new key, for one process and its helper functions.
    pub fn new(from_anybody: bool) -> Self {
        Self {
            key: hex::encode(rand::random::<[u8; 16]>()),
            from_anybody,
        }
    }

    /// What stands between the brackets, without the key; `None` if it is not to be obeyed.
    pub fn admit<'a>(&self, body: &'a str) -> Option<&'a str> {
        match body.trim_start().strip_prefix(self.key.as_str()) {
            Some(rest) if rest.starts_with(' ') => Some(rest),
            Some(_) | None => self.from_anybody.then_some(body),
        }
    }
}

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
    /// A file to be kept with the task.
    CreateArtifact {
        /// Where it is; relative to the step's working folder.
        path: String,
        /// What it is to be called; its own name if that is empty.
        name: String,
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
            Self::CreateArtifact { .. } => "CreateArtifact",
            Self::ResultMessage { .. } => "ResultMessage",
            Self::NotSupported { .. } => "NotSupported",
        })
    }
}

/// Reads what stands between the brackets; the error says why it is no message.
pub fn parse(body: &str) -> Result<ServiceMessage, String> {
    let body = body.trim();
    let (name, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        return Err("it has no name".to_owned());
    }
    let fields = fields(rest).map_err(|why| format!("{name}: {why}"))?;
    let get = |key: &str| {
        fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.clone())
    };
    let need = |key: &str| {
        get(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("{name}: '{key}' is missing or empty"))
    };
    Ok(match name {
        "setVariable" => ServiceMessage::SetVariable {
            name: need("name")?,
            value: get("value").unwrap_or_default(),
            sensitive: get("sensitive").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        },
        "progress" => ServiceMessage::Progress {
            percent: percent(&need("percentage")?)
                .ok_or_else(|| format!("{name}: 'percentage' is no number"))?,
            message: get("message").unwrap_or_default(),
        },
        "mask" => ServiceMessage::Mask {
            value: need("value")?,
        },
        "createArtifact" => ServiceMessage::CreateArtifact {
            path: need("path")?,
            name: get("name").unwrap_or_default(),
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

/// `key='base64' key='base64'`. Errors never repeat a value, which may be a secret.
fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once('=')
            .ok_or("a value is not written as key='base64'")?;
        let key: String = key.trim().chars().take(40).collect();
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("a value is not written as key='base64'".to_owned());
        }
        let (value, after) = after
            .trim_start()
            .strip_prefix('\'')
            .and_then(|after| after.split_once('\''))
            .ok_or_else(|| format!("the value of '{key}' does not stand between quotes"))?;
        let bytes = STANDARD
            .decode(value.trim())
            .map_err(|_| format!("the value of '{key}' is not base64"))?;
        found.push((key, String::from_utf8_lossy(&bytes).into_owned()));
        rest = after.trim_start();
    }
    Ok(found)
}

/// Writes a message as a script would, with the key if there is one.
pub fn render(key: Option<&str>, name: &str, fields: &[(&str, &str)]) -> String {
    let mut text = match key {
        Some(key) => format!("##mantle[{key} {name}"),
        None => format!("##octopus[{name}"),
    };
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
            None,
            "setVariable",
            &[("name", "A'b"), ("value", "x\ny]"), ("sensitive", "True")],
        );
        let expected = ServiceMessage::SetVariable {
            name: "A'b".to_owned(),
            value: "x\ny]".to_owned(),
            sensitive: true,
        };
        assert!(parse(inner(&text)) == Ok(expected));
        let text = render(
            None,
            "progress",
            &[("percentage", "142.5"), ("message", "half")],
        );
        let expected = ServiceMessage::Progress {
            percent: 100,
            message: "half".to_owned(),
        };
        assert!(parse(inner(&text)) == Ok(expected));
    }

    #[test]
    fn a_file_is_named_by_its_path_and_by_a_name_of_its_own_if_it_has_one() {
        let text = render(
            None,
            "createArtifact",
            &[
                ("path", "/tmp/a b.xml"),
                ("name", "report.xml"),
                ("length", "12"),
            ],
        );
        let expected = ServiceMessage::CreateArtifact {
            path: "/tmp/a b.xml".to_owned(),
            name: "report.xml".to_owned(),
        };
        assert!(parse(inner(&text)) == Ok(expected));
        let text = render(None, "createArtifact", &[("path", "out.log")]);
        let expected = ServiceMessage::CreateArtifact {
            path: "out.log".to_owned(),
            name: String::new(),
        };
        assert!(parse(inner(&text)) == Ok(expected));
        let missing = parse("createArtifact name='YQ=='").err();
        assert_eq!(
            missing.as_deref(),
            Some("createArtifact: 'path' is missing or empty")
        );
    }

    #[test]
    fn levels_and_unknown_names() {
        let expected = ServiceMessage::SetLevel {
            stream: Stream::Stdout,
            level: Some(Level::Warning),
        };
        assert!(parse("stdout-warning") == Ok(expected));
        assert!(matches!(
            parse("delete-target machine='YQ=='"),
            Ok(ServiceMessage::NotSupported { .. })
        ));
    }

    #[test]
    fn what_is_damaged_is_no_message() {
        for (text, why) in [
            (
                "setVariable name='!!'",
                "setVariable: the value of 'name' is not base64",
            ),
            ("setVariable", "setVariable: 'name' is missing or empty"),
            ("mask value=''", "mask: 'value' is missing or empty"),
            (
                "progress percentage='eA=='",
                "progress: 'percentage' is no number",
            ),
            (
                "setVariable name='YQ==",
                "setVariable: the value of 'name' does not stand between quotes",
            ),
            (
                "setVariable name",
                "setVariable: a value is not written as key='base64'",
            ),
            ("", "it has no name"),
            ("%s name='YQ=='", "it has no name"),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(why), "{text}");
        }
    }

    #[test]
    fn a_message_without_the_key_is_obeyed_only_where_anybody_may_say_one() {
        let open = MessageRules::new(true);
        let closed = MessageRules {
            from_anybody: false,
            ..open.clone()
        };
        let keyed = render(Some(&open.key), "mask", &[("value", "x")]);
        let body = keyed.strip_prefix("##mantle[").unwrap();
        for rules in [&open, &closed] {
            assert_eq!(rules.admit(body), Some(" mask value='eA==']"));
        }
        assert_eq!(open.admit("mask value='eA=='"), Some("mask value='eA=='"));
        assert_eq!(closed.admit("mask value='eA=='"), None);
        let other = MessageRules::new(false);
        assert_eq!(other.admit(body), None, "each process has its own");
        assert!(!format!("{open:?}").contains(&open.key));
    }
}
