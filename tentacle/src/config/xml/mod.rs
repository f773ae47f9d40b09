//! XML: a document that keeps every byte that nobody changes, and what variables change in it.

mod escape;
mod fragment;
mod names;
mod parse;
mod settings;
mod structured;
pub(super) mod tree;
pub(super) mod xpath;

pub(super) use settings::replace as replace_settings;
pub(super) use structured::replace;
pub(crate) use tree::{Attribute, Document, Element, Kind, NodeId};

/// The encoding that a document's declaration names, if its bytes can be read without knowing it.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    // A declaration is short, and ASCII in every encoding that it can be read in.
    let head = bytes.get(..bytes.len().min(200))?;
    let head: String = head.iter().copied().map(char::from).collect();
    let declaration = head.strip_prefix("<?xml")?;
    let declaration = declaration.get(..declaration.find("?>")?)?;
    let (start, end) = encoding_span(declaration)?;
    declaration.get(start..end).map(str::to_owned)
}

/// Where the encoding's name stands in a declaration.
fn encoding_span(declaration: &str) -> Option<(usize, usize)> {
    let at = declaration.find("encoding")? + "encoding".len();
    let rest = declaration.get(at..)?;
    let equals = rest.len() - rest.trim_start().strip_prefix('=')?.len();
    let value = rest.get(equals..)?;
    let blank = value.len() - value.trim_start().len();
    let quote = value.trim_start().chars().next()?;
    if !matches!(quote, '"' | '\'') {
        return None;
    }
    let start = at + equals + blank + 1;
    let length = declaration.get(start..)?.find(quote)?;
    Some((start, start + length))
}

/// The text with a declaration that says UTF-8, if it has one that says anything.
pub(super) fn declare_utf8(text: &str) -> String {
    let end = match text.find("?>") {
        Some(end) if text.starts_with("<?xml") => end,
        _ => return text.to_owned(),
    };
    match text.get(..end).and_then(encoding_span) {
        Some((start, stop)) => {
            let mut out = text.to_owned();
            out.replace_range(start..stop, "utf-8");
            out
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
