//! `file.template`: a file whose text is a template, with the deployment's variables in it.
//!
//! What must hold: a template that cannot be evaluated writes nothing, and no secret reaches the log:
//! neither one that is written now nor one that stood in the file before.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{
    Action, ActionContext, ActionError, ActionReport, package, read_inputs, values, withheld,
};
use super::absolute;
use super::diff::{self, Shown};
use super::keeper::{Content, Keeper, Put};
use super::rights::Rights;
use crate::config::text::{decode, encode};
use crate::config::{MAX_FILE_BYTES, TextEncoding};

/// `file.template`.
pub(in super::super) struct Template;

/// What a new file gets that holds a secret.
const SECRET_MODE: u32 = 0o600;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    content: Option<String>,
    package: Option<String>,
    from: Option<String>,
    to: String,
    mode: Option<String>,
    owner: Option<String>,
    encoding: Option<Encoding>,
    line_ends: Option<LineEnds>,
    #[serde(default = "yes", deserialize_with = "values::switch")]
    diff: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Encoding {
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-8-bom")]
    Utf8Bom,
    #[serde(rename = "utf-16le")]
    Utf16Le,
    #[serde(rename = "utf-16be")]
    Utf16Be,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "iso-8859-1")]
    Latin1,
    #[serde(rename = "ascii")]
    Ascii,
}

impl Encoding {
    fn of_text(self) -> TextEncoding {
        match self {
            Self::Utf8 => TextEncoding::Utf8,
            Self::Utf8Bom => TextEncoding::Utf8WithMark,
            Self::Utf16Le => TextEncoding::Utf16Le,
            Self::Utf16Be => TextEncoding::Utf16Be,
            Self::Windows1252 => TextEncoding::Other(encoding_rs::WINDOWS_1252),
            Self::Latin1 => TextEncoding::Latin1,
            Self::Ascii => TextEncoding::Ascii,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LineEnds {
    Lf,
    Crlf,
}

impl Inputs {
    fn read(with: &Map<String, Value>) -> Result<Self, ActionError> {
        let inputs: Self = read_inputs(with)?;
        match (&inputs.content, &inputs.package, &inputs.from) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            _ => {
                return Err(ActionError::input(
                    "a template is its text under 'content', or 'package' and 'from'",
                ));
            }
        }
        Rights::check(inputs.mode.as_deref(), inputs.owner.as_deref())?;
        Ok(inputs)
    }

    /// The text, evaluated, and how it is written unless the inputs say so.
    fn text(&self, context: &ActionContext<'_>) -> Result<(String, TextEncoding), ActionError> {
        let (Some(package), Some(from)) = (&self.package, &self.from) else {
            let content = self.content.clone().unwrap_or_default();
            return Ok((content, TextEncoding::Utf8));
        };
        let bytes = package::file(context, package, from)?;
        let (text, encoding) = decode(&bytes, None)
            .map_err(|error| ActionError::failed(format!("from: {from}: {error}")))?;
        if let Some(name) = withheld::needed(&text, context.variables) {
            return Err(withheld::refused("from", from, name));
        }
        let text = (context.render)(&text)
            .map_err(|error| ActionError::failed(format!("from: {from}: {error}")))?;
        Ok((text, encoding))
    }
}

impl Action for Template {
    fn name(&self) -> &'static str {
        "file.template"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        Inputs::read(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs = Inputs::read(context.with)?;
        let path = absolute("to", &inputs.to)?;
        let (text, encoding) = inputs.text(context)?;
        let text = match inputs.line_ends {
            None => text,
            Some(LineEnds::Lf) => text.replace("\r\n", "\n"),
            Some(LineEnds::Crlf) => text.replace("\r\n", "\n").replace('\n', "\r\n"),
        };
        let encoding = inputs.encoding.map_or(encoding, Encoding::of_text);
        let bytes = encode(&text, encoding).ok_or_else(|| {
            ActionError::failed(format!(
                "{}: {encoding} cannot express every character of the text; choose 'encoding: utf-8'",
                path.display()
            ))
        })?;
        let secrets = secrets(context);
        let holds_secret = secrets.iter().any(|secret| text.contains(secret));
        let mut rights = Rights::of(
            inputs.mode.as_deref(),
            inputs.owner.as_deref(),
            context.stop,
        )?;
        rights.new_mode = holds_secret.then_some(SECRET_MODE);
        let before = Before::of(&path);
        let mut keeper = Keeper::of(context, &context.names.action)?;
        let put = keeper.whole(|keeper| keeper.put(&path, Content::Bytes(&bytes), &rights))?;
        let shown = path.display();
        match (put, &before) {
            (Put::Unchanged, _) => {
                context.info(format!("{shown} is as it should be: nothing to do"));
            }
            (Put::Written, Before::Nothing) => {
                context.info(format!("{shown} is new, with {} bytes", bytes.len()));
            }
            (Put::Written, Before::Other) => context.info(format!("{shown} is written")),
            (Put::Written, Before::Text { text: old, .. }) if *old == text => {
                context.info(format!("{shown} has other rights, line ends or encoding"));
            }
            (Put::Written, Before::Text { text: old, open }) => {
                context.info(format!("{shown} is changed"));
                if inputs.diff {
                    let shown = Shown {
                        secrets: &secrets,
                        // One of before that is not known any more may stand in a line that goes.
                        removed: *open && !holds_secret,
                    };
                    context.info(diff::show(old, &text, shown).join("\n"));
                }
            }
        }
        let changed = if put == Put::Written { "True" } else { "False" };
        context.output.set_variable("File.Changed", changed, false);
        Ok(ActionReport::default())
    }
}

/// The values that no log may show.
fn secrets<'a>(context: &'a ActionContext<'_>) -> Vec<&'a str> {
    let secret = context.variables.iter().filter(|one| one.sensitive);
    secret
        .map(|one| one.value.as_str())
        .filter(|value| !value.trim().is_empty())
        .collect()
}

/// What the file was.
enum Before {
    Nothing,
    /// Its text, and whether everybody on the machine could read it anyway.
    Text {
        text: String,
        open: bool,
    },
    /// No text, or one that is too long to compare.
    Other,
}

impl Before {
    fn of(path: &Path) -> Self {
        let Ok(known) = fs::metadata(path) else {
            return Self::Nothing;
        };
        if !known.is_file() || known.len() > MAX_FILE_BYTES {
            return Self::Other;
        }
        #[cfg(unix)]
        let open = std::os::unix::fs::MetadataExt::mode(&known) & 0o004 != 0;
        // Who may read it there is not looked at.
        #[cfg(not(unix))]
        let open = false;
        let text = fs::read(path)
            .ok()
            .and_then(|bytes| Some(decode(&bytes, None).ok()?.0));
        text.map_or(Self::Other, |text| Self::Text { text, open })
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt as _;

    use serde_json::json;

    use super::super::super::test_context::{Bench, message};
    use super::super::back::Back;
    use super::*;

    #[test]
    fn a_file_is_written_told_left_alone_and_given_back() {
        let bench = Bench::new();
        let path = bench.dir.path().join("etc/shop.conf");
        let with = |content: &str| json!({"content": content, "to": path});
        bench.run(&Template, with("port=80\nhost=a\n")).unwrap();
        assert!(
            bench.said.text().contains("is new"),
            "{}",
            bench.said.text()
        );
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o644);
        assert_eq!(bench.said.variable("File.Changed").unwrap(), "True");
        let node = fs::metadata(&path).unwrap().ino();
        bench.run(&Template, with("port=80\nhost=a\n")).unwrap();
        assert!(bench.said.text().contains("nothing to do"));
        assert_eq!(fs::metadata(&path).unwrap().ino(), node, "not written");
        assert_eq!(bench.said.variable("File.Changed").unwrap(), "False");
        bench.run(&Template, with("port=81\nhost=a\n")).unwrap();
        let said = bench.said.text();
        assert!(said.contains("- port=80\n+ port=81"), "{said}");
        bench.run(&Back, json!({"action": "Install"})).unwrap();
        assert!(!path.exists() && !bench.dir.path().join("etc").exists());
    }

    #[test]
    fn encodings_and_line_ends_are_as_chosen() {
        let bench = Bench::new();
        let path = bench.dir.path().join("a.txt");
        for (more, bytes) in [
            (json!({}), &b"a\n\xc3\xa9\r\n"[..]),
            (json!({"line_ends": "crlf"}), b"a\r\n\xc3\xa9\r\n"),
            (
                json!({"line_ends": "lf", "encoding": "utf-8-bom"}),
                b"\xef\xbb\xbfa\n\xc3\xa9\n",
            ),
            (
                json!({"line_ends": "lf", "encoding": "windows-1252"}),
                b"a\n\xe9\n",
            ),
            (
                json!({"line_ends": "lf", "encoding": "utf-16le"}),
                b"\xff\xfea\0\n\0\xe9\0\n\0",
            ),
        ] {
            let mut with = json!({"content": "a\n\u{e9}\r\n", "to": path});
            let own = more.as_object().unwrap().clone();
            with.as_object_mut().unwrap().extend(own);
            bench.run(&Template, with).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes, "{more}");
        }
        let before = fs::read(&path).unwrap();
        let with = json!({"content": "\u{5f20}", "to": path, "encoding": "ascii"});
        let error = message(bench.run(&Template, with));
        assert!(error.contains("cannot express"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let bench = Bench::new();
        for (with, why) in [
            (json!({"content": "x", "to": "etc/x"}), "no absolute path"),
            (json!({"content": "x", "to": "/a/../b"}), "without '..'"),
            (json!({"to": "/x"}), "'content'"),
            (json!({"content": "x", "to": "/x", "mode": "rw"}), "octal"),
            (
                json!({"package": "Web", "from": "a", "to": "/x"}),
                "not a package of this step",
            ),
        ] {
            let error = message(bench.run(&Template, with));
            assert!(error.contains(why), "{error}");
        }
    }
}
