//! The filters of `#{Value | Filter argument}`.
//!
//! A filter that cannot do anything with its input (most: no value; too many or too few arguments) leaves the
//! token as it was. Names are compared without case.
//!
//! | Filters | What they do |
//! |---|---|
//! | `ToLower`, `ToUpper` | one character for one, as .NET does: `ß` stays |
//! | `Trim [start\|end]`, `Substring [start] length`, `Truncate length`, `Indent [n \| first/rest \| text [text]]` | lengths are UTF-16 units, as in .NET |
//! | `Append text...`, `Prepend text...`, `Replace regex [replacement]` | |
//! | `Match regex`, `StartsWith`, `EndsWith`, `Contains` | `true` or `false`; case counts |
//! | `LessThan`, `LessThanOrEqual`, `GreaterThan`, `GreaterThanOrEqual` | compare numbers |
//! | `ToBase64 [utf8\|unicode]`, `FromBase64 [utf8\|unicode]` | |
//! | `Md5`, `Sha1`, `Sha256`, `Sha384`, `Sha512` `[utf8\|unicode\|base64] [bytes]` | hexadecimal |
//! | `HashBucket n` | a number below `n` |
//! | `HtmlEscape`, `XmlEscape`, `JsonEscape`, `UriEscape`, `UriDataEscape`, `YamlSingleQuoteEscape`, `YamlDoubleQuoteEscape`, `PropertiesKeyEscape`, `PropertiesValueEscape` | |
//! | `Markdown`, `MarkdownToHtml` | `CommonMark` with tables, strikethrough, sub- and superscript, links made of URLs |
//! | `UriPart part` | `AbsolutePath`, `AbsoluteUri`, `Authority`, `DnsSafeHost`, `Fragment`, `Host`, `HostAndPort`, `HostNameType`, `IsAbsoluteUri`, `IsDefaultPort`, `IsFile`, `IsLoopback`, `IsUnc`, `Path`, `PathAndQuery`, `Port`, `Query`, `Scheme`, `SchemeAndServer`, `UserInfo` |
//! | `NowDate [format]`, `NowDateUtc [format]` | the caller's time |
//! | `AddSeconds`, `AddMinutes`, `AddHours`, `AddDays`, `AddWeeks`, `AddMonths`, `AddTimeSpan` | |
//! | `Format [Int32\|Double\|Decimal\|Date\|DateTime\|DateTimeOffset] format` | see below |
//! | `VersionMajor`, `VersionMinor`, `VersionPatch`, `VersionRevision`, `VersionPreRelease`, `VersionPreReleasePrefix`, `VersionPreReleaseCounter`, `VersionMetadata` | |
//! | `Null` | no text at all |
//!
//! `Format` knows .NET's standard number formats `C D E F G N P R X` with an optional precision, custom ones of
//! `0 # . , % ‰ E+0 ; 'text' "text" \c`, the standard date formats `d D f F g G m o r s t T u U y`, and custom ones
//! of `d M y h H m s f F t z K : /` with quoted text and escapes. Everything is spelt as in the culture en-US.
//! Without a type, a number is tried first, then a date.
//!
//! Regular expressions are .NET's dialect as far as look-around, back references and named groups go; work on
//! one is bounded, and the token stays if the bound is met.

mod compare;
mod date;
mod date_format;
mod escape;
mod format;
mod hash;
mod markdown;
mod number_custom;
mod number_format;
mod regex;
mod text;
mod uri;
mod version;

use std::borrow::Cow;

use crate::evaluate::{Eval, Fuel};
use crate::template::Options;

/// The filters' names as the manual spells them. Besides, `each` knows `Reverse`.
pub const NAMES: &[&str] = &[
    "ToLower",
    "ToUpper",
    "Trim",
    "Substring",
    "Truncate",
    "Indent",
    "Append",
    "Prepend",
    "Replace",
    "Match",
    "StartsWith",
    "EndsWith",
    "Contains",
    "LessThan",
    "LessThanOrEqual",
    "GreaterThan",
    "GreaterThanOrEqual",
    "ToBase64",
    "FromBase64",
    "Md5",
    "Sha1",
    "Sha256",
    "Sha384",
    "Sha512",
    "HashBucket",
    "HtmlEscape",
    "XmlEscape",
    "JsonEscape",
    "UriEscape",
    "UriDataEscape",
    "YamlSingleQuoteEscape",
    "YamlDoubleQuoteEscape",
    "PropertiesKeyEscape",
    "PropertiesValueEscape",
    "Markdown",
    "MarkdownToHtml",
    "UriPart",
    "NowDate",
    "NowDateUtc",
    "AddSeconds",
    "AddMinutes",
    "AddHours",
    "AddDays",
    "AddWeeks",
    "AddMonths",
    "AddTimeSpan",
    "Format",
    "VersionMajor",
    "VersionMinor",
    "VersionPatch",
    "VersionRevision",
    "VersionPreRelease",
    "VersionPreReleasePrefix",
    "VersionPreReleaseCounter",
    "VersionMetadata",
    "Null",
];

/// What a filter is given.
pub(crate) struct Call<'c> {
    pub(crate) input: Option<&'c str>,
    pub(crate) args: &'c [String],
    pub(crate) options: &'c Options,
}

impl Call<'_> {
    /// The only argument; a failure otherwise.
    pub(crate) fn only(&self) -> Result<&str, Outcome> {
        match self.args {
            [only] => Ok(only),
            _ => Err(Outcome::failed("takes one argument")),
        }
    }

    /// The input, provided there are no arguments.
    pub(crate) fn plain(&self) -> Result<&str, Outcome> {
        if self.args.is_empty() {
            self.text()
        } else {
            Err(Outcome::failed("takes no argument"))
        }
    }

    /// The most that a filter may make of it.
    pub(crate) fn most_bytes(&self) -> usize {
        let own = self.input.map_or(0, str::len);
        self.options.limits.output_bytes.max(own)
    }

    /// The input.
    pub(crate) fn text(&self) -> Result<&str, Outcome> {
        self.input
            .ok_or_else(|| Outcome::failed("needs a value before it"))
    }
}

/// What a filter answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Value(String),
    /// The `Null` filter: no text, and nothing wrong.
    Nothing,
    Unknown,
    Failed(Cow<'static, str>),
}

impl Outcome {
    pub(crate) fn failed(reason: &'static str) -> Self {
        Self::Failed(Cow::Borrowed(reason))
    }
}

/// `true` or `false` as the language writes it.
fn truth(value: bool) -> String {
    if value {
        "true".to_owned()
    } else {
        "false".to_owned()
    }
}

type Answer = Result<String, Outcome>;

/// Runs the filter of that name.
pub(crate) fn call(name: &str, call: &Call<'_>, fuel: &mut Fuel) -> Eval<Outcome> {
    let name = name.to_ascii_lowercase();
    let answer: Answer = match name.as_str() {
        "null" => return Ok(Outcome::Nothing),
        "match" => regex::matches(call, fuel)?,
        "replace" => regex::replace(call, fuel)?,
        "indent" => text::indent(call)?,
        _ => match simple(&name) {
            Some(filter) => filter(call),
            None => return Ok(Outcome::Unknown),
        },
    };
    Ok(answer.map_or_else(|failed| failed, Outcome::Value))
}

/// Whether there is a filter of that name.
pub(crate) fn exists(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "null" | "match" | "replace" | "indent") || simple(&name).is_some()
}

type Filter = fn(&Call<'_>) -> Answer;

/// The filters whose work is proportional to their input.
fn simple(name: &str) -> Option<Filter> {
    let filter: Filter = match name {
        "tolower" => text::to_lower,
        "toupper" => text::to_upper,
        "trim" => text::trim,
        "substring" => text::substring,
        "truncate" => text::truncate,
        "append" => text::append,
        "prepend" => text::prepend,
        "tobase64" => hash::to_base64,
        "frombase64" => hash::from_base64,
        "md5" => hash::md5,
        "sha1" => hash::sha1,
        "sha256" => hash::sha256,
        "sha384" => hash::sha384,
        "sha512" => hash::sha512,
        "hashbucket" => hash::bucket,
        "markdown" | "markdowntohtml" => markdown::to_html,
        "uripart" => uri::part,
        "format" => format::format,
        _ => {
            return escape::filter(name)
                .or_else(|| compare::filter(name))
                .or_else(|| date::filter(name))
                .or_else(|| version::filter(name));
        }
    };
    Some(filter)
}
