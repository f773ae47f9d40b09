//! Filters that make text safe to stand inside another language.

use std::fmt::Write as _;

use super::{Answer, Call, Filter};

pub(super) fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "htmlescape" => |call| each(call, |_, c, out| markup(c, true, out)),
        "xmlescape" => |call| each(call, |_, c, out| markup(c, false, out)),
        "jsonescape" => |call| each(call, |_, c, out| json(c, out)),
        "uriescape" => |call| each(call, |_, c, out| uri(c, "-_.!~*'();/?:@&=+$,#[]", out)),
        "uridataescape" => |call| each(call, |_, c, out| uri(c, "-_.~", out)),
        "yamlsinglequoteescape" => |call| Ok(yaml_single(call.plain()?)),
        "yamldoublequoteescape" => |call| each(call, |_, c, out| yaml_double(c, out)),
        "propertieskeyescape" => |call| {
            each(call, |_, c, out| {
                properties(c, matches!(c, ' ' | ':' | '='), out);
            })
        },
        "propertiesvalueescape" => {
            |call| each(call, |at, c, out| properties(c, c == ' ' && at == 0, out))
        }
        _ => return None,
    })
}

fn each(call: &Call<'_>, write: fn(usize, char, &mut String)) -> Answer {
    let text = call.plain()?;
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        write(at, c, &mut out);
    }
    Ok(out)
}

fn markup(c: char, html: bool, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&apos;"),
        '/' if html => out.push_str("&#x2F;"),
        _ => out.push(c),
    }
}

fn json(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\r' => out.push_str("\\r"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        _ => out.push(c),
    }
}

fn uri(c: char, kept: &str, out: &mut String) {
    if c.is_ascii_alphanumeric() || kept.contains(c) {
        out.push(c);
        return;
    }
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

/// A line break inside single quotes is a space to YAML, so each run of them gets one more.
fn yaml_single(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_run = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let starts_break = c == '\n' || (c == '\r' && chars.peek() == Some(&'\n'));
        if starts_break && !in_run {
            out.push_str(if c == '\r' { "\r\n" } else { "\n" });
        }
        in_run = starts_break;
        match c {
            '\'' => out.push_str("''"),
            '\r' if starts_break => {
                out.push_str("\r\n");
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

fn unit_escapes(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

fn yaml_double(c: char, out: &mut String) {
    match c {
        '"' | '\\' | '\r' | '\n' | '\t' => json(c, out),
        ' '..='~' => out.push(c),
        _ => unit_escapes(c, out),
    }
}

fn properties(c: char, special: bool, out: &mut String) {
    match c {
        _ if special => {
            out.push('\\');
            out.push(c);
        }
        '\\' | '\r' | '\n' | '\t' => json(c, out),
        // Latin 1, which property files are written in.
        '\0'..='\u{fe}' => out.push(c),
        _ => unit_escapes(c, out),
    }
}
