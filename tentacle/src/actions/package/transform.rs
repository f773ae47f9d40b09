//! What is written from variables into a package's files, as bytes, before anything is touched.

use std::collections::BTreeMap;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use mantle_template::{Options, Template, Variables};

use super::super::{ActionContext, ActionError};
use super::structured;
use crate::cache::{Cache, PackageFile};

/// The largest file that is written from variables: configuration, not data.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How many unresolved tokens of one file are named.
const MAX_WARNINGS: usize = 20;

/// The files that differ from the package's, by path. A pattern that matches nothing is a warning,
/// a file that is named and not there is an error.
pub(super) fn written(
    context: &ActionContext<'_>,
    cache: &Cache,
    files: &[PackageFile],
    substitute: &[String],
    structured: &[String],
) -> Result<BTreeMap<String, Vec<u8>>, ActionError> {
    let mut written = BTreeMap::new();
    let variables = template_variables(context);
    for file in matching(context, "substitute", substitute, files)? {
        context.stop.check()?;
        let bytes = load(cache, file)?;
        let (text, encoding) = decode(&bytes).ok_or_else(|| {
            ActionError::failed(format!(
                "substitute: {} is not UTF-8 or UTF-16 text; name only text files",
                file.path
            ))
        })?;
        let rendered = render(context, &file.path, &text, &variables)?;
        context.verbose(format!("substituted variables in {}", file.path));
        written.insert(file.path.clone(), encode(&rendered, encoding));
    }
    for file in matching(context, "structured", structured, files)? {
        context.stop.check()?;
        let bytes = match written.get(&file.path) {
            Some(bytes) => bytes.clone(),
            None => load(cache, file)?,
        };
        let Some((text, encoding)) = decode(&bytes) else {
            return Err(ActionError::failed(format!(
                "structured: {} is not UTF-8 or UTF-16 text",
                file.path
            )));
        };
        let replaced = structured::replace(&file.path, &text, context.variables)
            .map_err(|error| ActionError::failed(format!("structured: {error}")))?;
        match replaced {
            Some((text, names)) => {
                context.verbose(format!("{}: set {}", file.path, names.join(", ")));
                written.insert(file.path.clone(), encode(&text, encoding));
            }
            None => context.verbose(format!(
                "{}: no variable is named as a path in it",
                file.path
            )),
        }
    }
    Ok(written)
}

fn template_variables(context: &ActionContext<'_>) -> Variables {
    let mut variables = Variables::new();
    for variable in context.variables.iter() {
        variables.set(variable.name.as_str(), variable.value.as_str());
    }
    variables
}

fn render(
    context: &ActionContext<'_>,
    path: &str,
    text: &str,
    variables: &Variables,
) -> Result<String, ActionError> {
    let options = Options::new(jiff::Timestamp::now());
    let rendered = Template::parse(text)
        .render(variables, &options)
        .map_err(|error| ActionError::failed(format!("substitute: {path}: {error}")))?;
    for problem in rendered.problems.iter().take(MAX_WARNINGS) {
        context.warning(format!("substitute: {path}, {problem}"));
    }
    let more = rendered.more_problems + rendered.problems.len().saturating_sub(MAX_WARNINGS);
    if more > 0 {
        context.warning(format!("substitute: {path}: and {more} more"));
    }
    Ok(rendered.text.into_owned())
}

/// The files that a list of patterns means, each once, in the package's order.
fn matching<'a>(
    context: &ActionContext<'_>,
    key: &str,
    patterns: &[String],
    files: &'a [PackageFile],
) -> Result<Vec<&'a PackageFile>, ActionError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = glob(key, pattern)?;
        let one = glob.compile_matcher();
        if !files.iter().any(|file| one.is_match(&file.path)) {
            let named = !pattern.contains(['*', '?', '[', '{']);
            let message = format!("{key}: '{pattern}' matches no file of the package");
            if named {
                return Err(ActionError::failed(message));
            }
            context.warning(message);
        }
        set.add(glob);
    }
    let set: GlobSet = set
        .build()
        .map_err(|error| ActionError::input(format!("{key}: {error}")))?;
    Ok(files
        .iter()
        .filter(|file| set.is_match(&file.path))
        .collect())
}

fn glob(key: &str, pattern: &str) -> Result<Glob, ActionError> {
    // People write paths with either separator, and with a leading one.
    let path = pattern.trim().replace('\\', "/");
    let path = path.trim_start_matches("./").trim_start_matches('/');
    GlobBuilder::new(path)
        .literal_separator(true)
        .case_insensitive(cfg!(windows))
        .build()
        .map_err(|error| {
            ActionError::input(format!(
                "{key}: '{pattern}' is no pattern: {}",
                error.kind()
            ))
        })
}

fn load(cache: &Cache, file: &PackageFile) -> Result<Vec<u8>, ActionError> {
    if file.size_bytes > MAX_FILE_BYTES {
        return Err(ActionError::failed(format!(
            "{} has {} bytes; only files of up to {MAX_FILE_BYTES} bytes are written from variables",
            file.path, file.size_bytes
        )));
    }
    cache
        .package_file(file)
        .map_err(|error| ActionError::failed(format!("{}: {error}; deploy again", file.path)))
}

/// How a text file says its characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf8WithMark,
    Utf16Le,
    Utf16Be,
}

fn decode(bytes: &[u8]) -> Option<(String, Encoding)> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        if rest.is_empty() {
            String::from_utf16(&units).ok()
        } else {
            None
        }
    };
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        let text = std::str::from_utf8(rest).ok()?;
        Some((text.to_owned(), Encoding::Utf8WithMark))
    } else if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        Some((utf16(rest, u16::from_le_bytes)?, Encoding::Utf16Le))
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        Some((utf16(rest, u16::from_be_bytes)?, Encoding::Utf16Be))
    } else {
        let text = std::str::from_utf8(bytes).ok()?;
        Some((text.to_owned(), Encoding::Utf8))
    }
}

fn encode(text: &str, encoding: Encoding) -> Vec<u8> {
    let utf16 = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
        let units = text.encode_utf16().flat_map(bytes);
        mark.into_iter().chain(units).collect()
    };
    match encoding {
        Encoding::Utf8 => text.as_bytes().to_vec(),
        Encoding::Utf8WithMark => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        Encoding::Utf16Le => utf16([0xff, 0xfe], u16::to_le_bytes),
        Encoding::Utf16Be => utf16([0xfe, 0xff], u16::to_be_bytes),
    }
}

#[cfg(test)]
mod encoding_tests {
    use super::*;

    #[test]
    fn texts_keep_their_encoding() {
        for bytes in [
            &b"plain \xc3\xa9"[..],
            b"\xef\xbb\xbfmarked",
            b"\xff\xfea\x00\xe9\x00",
            b"\xfe\xff\x00a\x00\xe9",
            b"",
        ] {
            let (text, encoding) = decode(bytes).unwrap();
            assert_eq!(encode(&text, encoding), bytes);
            assert!(!text.starts_with('\u{feff}'));
        }
        for bytes in [&b"\xff\x00binary"[..], b"\xff\xfea", b"\x80"] {
            assert!(decode(bytes).is_none(), "{bytes:?}");
        }
    }
}
