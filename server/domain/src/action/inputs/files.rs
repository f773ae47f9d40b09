//! What the actions about files take.

use mantle_shared::inputs::{file_mode, file_owner};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use super::{OneOrMany, Switch, absolute};

/// `file.template`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileTemplate {
    /// The file's text, a template.
    #[serde(default)]
    pub content: Option<String>,
    /// Instead of `content`: the package that holds the template.
    #[serde(default)]
    pub package: Option<String>,
    /// The template's path in the package.
    #[serde(default)]
    pub from: Option<String>,
    /// The file that is written, as an absolute path of the target.
    pub to: String,
    /// Its rights on Linux, such as `"0640"`. By default those that the file has; a new one gets `0644`, or
    /// `0600` if it holds a secret.
    #[serde(default)]
    pub mode: Option<String>,
    /// Its owner on Linux: `USER`, `USER:GROUP` or `:GROUP`. By default whom it belongs to; a new one
    /// belongs to the agent's user.
    #[serde(default)]
    pub owner: Option<String>,
    /// How its characters are written; `utf-8` by default, for a template of a package as that is.
    #[serde(default)]
    pub encoding: Option<FileEncoding>,
    /// What its lines end with; by default what they end with in the template.
    #[serde(default)]
    pub line_ends: Option<LineEnds>,
    /// Whether the log shows what changes; `true` unless this says no.
    #[serde(default)]
    pub diff: Option<Switch>,
}

/// How the characters of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FileEncoding {
    /// UTF-8 without a mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-8 with its mark (BOM) in front.
    #[serde(rename = "utf-8-bom")]
    Utf8Bom,
    /// UTF-16, the low byte first, with its mark.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, the high byte first, with its mark.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// Windows-1252.
    #[serde(rename = "windows-1252")]
    Windows1252,
    /// ISO 8859-1.
    #[serde(rename = "iso-8859-1")]
    Latin1,
    /// ASCII alone.
    #[serde(rename = "ascii")]
    Ascii,
}

/// What lines end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineEnds {
    /// A line feed, as on Linux.
    Lf,
    /// Carriage return and line feed, as on Windows.
    Crlf,
}

/// `file.copy`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileCopy {
    /// The package that holds what is copied. Without one it is copied from the machine itself.
    #[serde(default)]
    pub package: Option<String>,
    /// The file or folder: its path in the package (all of it by default), or an absolute path of the target.
    #[serde(default)]
    pub from: Option<String>,
    /// Where to, as an absolute path of the target. With a `/` at its end a file goes into that folder.
    pub to: String,
    /// The rights of the files on Linux, such as `"0644"`; by default those that they have at `from`.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner of the files on Linux: `USER`, `USER:GROUP` or `:GROUP`. By default whom the file there
    /// belongs to; a new one belongs to the agent's user.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether files in the folder `to` that are not in `from` are removed.
    #[serde(default)]
    pub purge: Option<Switch>,
    /// What is left alone in the folder, as globs relative to it: neither written nor removed.
    #[serde(default)]
    pub exclude: Option<OneOrMany<String>>,
}

fn known(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.contains("#{"))
}

pub(super) fn sound_rights<E: de::Error>(
    mode: Option<&String>,
    owner: Option<&String>,
) -> Result<(), E> {
    if let Some(mode) = known(mode) {
        file_mode(mode).map_err(|why| E::custom(format!("'mode': {why}")))?;
    }
    if let Some(owner) = known(owner) {
        file_owner(owner).map_err(|why| E::custom(format!("'owner': {why}")))?;
    }
    Ok(())
}

pub(super) fn sound_template<E: de::Error>(file: &FileTemplate) -> Result<(), E> {
    match (&file.content, &file.package, &file.from) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => {}
        (Some(_), _, _) => {
            return Err(E::custom(
                "a template is either its text under 'content' or a file of a package, not both",
            ));
        }
        (None, _, _) => {
            return Err(E::custom(
                "a template needs its text under 'content', or 'package' and 'from'",
            ));
        }
    }
    absolute("to", &file.to)?;
    sound_rights(file.mode.as_ref(), file.owner.as_ref())
}

pub(super) fn sound_copy<E: de::Error>(copy: &FileCopy) -> Result<(), E> {
    match (&copy.package, &copy.from) {
        (None, None) => {
            return Err(E::custom(
                "'from' is missing: name a path of the target, or a package under 'package'",
            ));
        }
        (None, Some(from)) => absolute("from", from)?,
        (Some(_), _) => {}
    }
    absolute("to", &copy.to)?;
    sound_rights(copy.mode.as_ref(), copy.owner.as_ref())
}
