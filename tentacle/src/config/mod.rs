//! Configuration files on the target: structured variables, .NET settings and XDT transforms.
//!
//! All of it works on a file's text and edits it where a value stands; what no variable names
//! stays as it is, byte for byte: comments, layout, line ends, encoding. Nothing here looks at a
//! disk but [`file`]. What must hold: a document that is refused is named by line and column, what
//! was made of a document is a document again, and no input costs more than it should: files are
//! bounded in size and depth, and entities are never expanded.

mod edits;
pub mod file;
mod json;
#[cfg(test)]
mod manual_tests;
mod properties;
mod settings;
mod substitute;
#[cfg(test)]
mod tests;
pub mod text;
mod wanted;
mod xdt;
mod xml;
mod yaml;

use std::fmt;

pub(crate) use settings::as_text;
pub use settings::{Setting, Settings, SettingsError};
pub use substitute::{MAX_PROBLEMS, Substituted, substitute};
pub use text::TextEncoding;
pub(crate) use xml::{Attribute, Document, NodeId};

/// The largest file that is edited: configuration, not data.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How deep a document may nest. Real ones stay under twenty.
const MAX_DEPTH: usize = 200;

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON; comments and trailing commas are read, and stay.
    Json,
    /// YAML, of one document or several.
    Yaml,
    /// XML; variables are named by XPath.
    Xml,
    /// Java's `.properties`.
    Properties,
    /// A .NET configuration file: `appSettings`, `connectionStrings` and `applicationSettings`.
    DotnetConfig,
    /// By the name, then by the content: JSON is tried first, then what the name says; a name that
    /// says nothing is tried as JSON, XML, YAML and properties.
    Auto,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Xml => "XML",
            Self::Properties => "properties",
            Self::DotnetConfig => ".NET configuration",
            Self::Auto => "any format",
        })
    }
}

/// A place in a text, both counted from one; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column in it.
    pub column: usize,
}

impl Position {
    /// The place of a byte.
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[start..].chars().count() + 1,
        }
    }
}

/// Why a file stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no document of its format.
    #[error("{}:{}: not {format}: {what}", position.line, position.column)]
    Syntax {
        /// What it was read as.
        format: Format,
        /// Where.
        position: Position,
        /// What is wrong there.
        what: String,
    },
    /// Its bytes are no text.
    #[error("{0}")]
    Encoding(#[from] text::DecodeError),
    /// It is too large, too deep, or takes too much work.
    #[error("{0}")]
    Limit(String),
    /// What came out would be no document of its format any more.
    #[error("what would be written is broken, so nothing was written: {0}")]
    Broken(String),
    /// A transform has errors, or warnings that were not to be ignored.
    #[error("the transform failed\n{}", .0.join("\n"))]
    Transform(Vec<String>),
}

impl ConfigError {
    fn syntax(format: Format, text: &str, offset: usize, what: impl Into<String>) -> Self {
        Self::Syntax {
            format,
            position: Position::of(text, offset),
            what: what.into(),
        }
    }

    /// The error with its file: `FILE:LINE:COLUMN: ...` where there is a place.
    pub fn in_file(&self, file: &str) -> String {
        match self {
            Self::Syntax { .. } => format!("{file}:{self}"),
            Self::Encoding(_) | Self::Limit(_) | Self::Broken(_) | Self::Transform(_) => {
                format!("{file}: {self}")
            }
        }
    }

    /// Another format may read the file.
    fn is_syntax(&self) -> bool {
        match self {
            Self::Syntax { .. } => true,
            Self::Encoding(_) | Self::Limit(_) | Self::Broken(_) | Self::Transform(_) => false,
        }
    }
}

/// What a file becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it was read as.
    pub format: Format,
    /// Its new bytes; `None` if nothing in it changes.
    pub bytes: Option<Vec<u8>>,
    /// The names of the variables that have a place in it, in the order in which they were set.
    pub set: Vec<String>,
    /// Values that variables name and that stay as they were.
    pub refused: Vec<Refused>,
    /// What could not be done as it was asked.
    pub warnings: Vec<String>,
}

/// A variable that has a place in a file and a value that cannot stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The variable's name.
    pub name: String,
    /// Why its value cannot stand there.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' stays as it was: {}", self.name, self.why)
    }
}

/// A text with its edits made.
#[derive(Debug, Default)]
struct Edited {
    text: String,
    set: Vec<String>,
    refused: Vec<Refused>,
    warnings: Vec<String>,
}

/// The value of a YAML text that was written for this program; see `yaml::value`.
pub(crate) fn yaml_value(text: &str) -> Result<serde_json::Value, ConfigError> {
    yaml::value(text)
}

/// Puts the variables that have a place in a file there. `name` is the file's, for `Format::Auto`.
pub fn apply(
    format: Format,
    name: &str,
    bytes: &[u8],
    settings: &Settings,
) -> Result<Applied, ConfigError> {
    let candidates = candidates(format, name);
    let (last, earlier) = candidates.split_last().unwrap_or((&Format::Json, &[][..]));
    for format in earlier {
        match apply_as(*format, bytes, settings) {
            Err(error) if error.is_syntax() => {}
            done => return done,
        }
    }
    apply_as(*last, bytes, settings)
}

fn candidates(format: Format, name: &str) -> Vec<Format> {
    if format != Format::Auto {
        return vec![format];
    }
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "json" => vec![Format::Json],
        "yaml" | "yml" => vec![Format::Json, Format::Yaml],
        "xml" => vec![Format::Json, Format::Xml],
        "properties" => vec![Format::Json, Format::Properties],
        _ => vec![Format::Json, Format::Xml, Format::Yaml, Format::Properties],
    }
}

fn apply_as(format: Format, bytes: &[u8], settings: &Settings) -> Result<Applied, ConfigError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(bytes.len()));
    }
    let declared = match format {
        Format::Xml | Format::DotnetConfig => xml::declared_encoding(bytes),
        Format::Json | Format::Yaml | Format::Properties | Format::Auto => None,
    };
    let (source, encoding) = text::decode(bytes, declared.as_deref())?;
    let mut edited = match format {
        Format::Json | Format::Auto => json::replace(&source, settings)?,
        Format::Yaml => yaml::replace(&source, settings)?,
        Format::Xml => xml::replace(&source, settings)?,
        Format::Properties => properties::replace(&source, settings)?,
        Format::DotnetConfig => xml::replace_settings(&source, settings)?,
    };
    let bytes =
        (edited.text != source).then(|| write(format, edited.text, encoding, &mut edited.warnings));
    Ok(Applied {
        format,
        bytes,
        set: edited.set,
        refused: edited.refused,
        warnings: edited.warnings,
    })
}

/// The text in its encoding, or in UTF-8 if that cannot express it; XML then says so of itself.
fn write(
    format: Format,
    mut text: String,
    encoding: TextEncoding,
    warnings: &mut Vec<String>,
) -> Vec<u8> {
    if let Some(bytes) = text::encode(&text, encoding) {
        return bytes;
    }
    warnings.push(format!(
        "{encoding} cannot express a value, so the file is UTF-8 now"
    ));
    match format {
        Format::Xml | Format::DotnetConfig => text = xml::declare_utf8(&text),
        Format::Json | Format::Yaml | Format::Properties | Format::Auto => {}
    }
    text.into_bytes()
}

fn too_large(bytes: usize) -> ConfigError {
    ConfigError::Limit(format!(
        "it has {bytes} bytes; files of up to {MAX_FILE_BYTES} bytes are edited"
    ))
}

/// What a transform's warning means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnWarning {
    /// The transform failed: an element that it names is not there, most often.
    Fail,
    /// It is told, no more.
    Tell,
}

/// Applies an XDT transform to an XML document. `transform_name` stands in what is said of it.
pub fn transform(
    bytes: &[u8],
    transform_name: &str,
    transform: &[u8],
    on_warning: OnWarning,
) -> Result<Applied, ConfigError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(bytes.len()));
    }
    let (source, encoding) = text::decode(bytes, xml::declared_encoding(bytes).as_deref())?;
    let rules = text::decode(transform, xml::declared_encoding(transform).as_deref())
        .map_err(ConfigError::from)
        .and_then(|(text, _)| Document::parse(&text))
        .map_err(|error| ConfigError::Transform(vec![error.in_file(transform_name)]))?;
    let outcome = xdt::apply(&source, &rules)?;
    let tell = |message: &xdt::Message| {
        let at = message.position;
        format!(
            "{transform_name}:{}:{}: {}",
            at.line, at.column, message.text
        )
    };
    let mut warnings: Vec<String> = outcome.warnings.iter().map(tell).collect();
    let mut errors: Vec<String> = outcome.errors.iter().map(tell).collect();
    if on_warning == OnWarning::Fail {
        errors.extend(warnings.iter().map(|text| format!("{text} (a warning)")));
    }
    if !errors.is_empty() {
        return Err(ConfigError::Transform(errors));
    }
    let new = outcome.text;
    let bytes = (new != source).then(|| write(Format::Xml, new, encoding, &mut warnings));
    Ok(Applied {
        format: Format::Xml,
        bytes,
        set: outcome.done,
        refused: Vec::new(),
        warnings,
    })
}
