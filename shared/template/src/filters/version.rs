//! Parts of a version, read as leniently as the original reads release numbers: an optional `v`, up to four
//! numbers apart by `.`, `-` or `_`, then the pre-release, then `+` and the metadata.

use super::{Answer, Call, Filter};

pub(super) fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "versionmajor" => |call| part(call, |version| version.number(0)),
        "versionminor" => |call| part(call, |version| version.number(1)),
        "versionpatch" => |call| part(call, |version| version.number(2)),
        "versionrevision" => |call| part(call, |version| version.number(3)),
        "versionprerelease" => |call| part(call, |version| version.release.clone()),
        "versionprereleaseprefix" => |call| part(call, |version| version.prefix.clone()),
        "versionprereleasecounter" => |call| part(call, |version| version.counter.clone()),
        "versionmetadata" => |call| part(call, |version| version.metadata.clone()),
        _ => return None,
    })
}

fn part(call: &Call<'_>, part: fn(&Version) -> String) -> Answer {
    Ok(part(&Version::parse(call.text()?)))
}

#[derive(Debug, Default)]
struct Version {
    numbers: Vec<i32>,
    release: String,
    prefix: String,
    counter: String,
    metadata: String,
}

const SEPARATORS: [char; 3] = ['.', '-', '_'];

impl Version {
    fn number(&self, at: usize) -> String {
        self.numbers.get(at).copied().unwrap_or(0).to_string()
    }

    fn parse(text: &str) -> Self {
        let text = text.trim();
        if text.contains(char::is_whitespace) {
            return Self::default();
        }
        let (body, metadata) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, rest) = numbers(body);
        let mut version = Self {
            metadata: metadata.to_owned(),
            ..Self::default()
        };
        // Numbers from the first that is too large on belong to the pre-release, separators and all.
        let mut oversized = String::new();
        for (separator, digits) in numbers {
            match digits.parse::<i32>() {
                Ok(number) if oversized.is_empty() => version.numbers.push(number),
                _ => {
                    if !oversized.is_empty() {
                        oversized.extend(separator);
                    }
                    oversized.push_str(digits);
                }
            }
        }
        let release = rest.strip_prefix(SEPARATORS).unwrap_or(rest);
        let (prefix, counter) = release.split_once(SEPARATORS).unwrap_or((release, ""));
        version.release = format!("{oversized}{release}");
        version.prefix = format!("{oversized}{prefix}");
        counter.clone_into(&mut version.counter);
        version
    }
}

/// Up to four numbers with the separator before each, and what follows them.
fn numbers(body: &str) -> (Vec<(Option<char>, &str)>, &str) {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let start = body
        .strip_prefix(['v', 'V'])
        .filter(|rest| digits(rest) > 0)
        .unwrap_or(body);
    let mut found = Vec::new();
    let mut rest = start;
    while found.len() < 4 {
        let separator = if found.is_empty() {
            None
        } else {
            rest.chars().next().filter(|c| SEPARATORS.contains(c))
        };
        let tail = if separator.is_some() {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };
        let length = digits(tail);
        if length == 0 || (!found.is_empty() && separator.is_none()) {
            break;
        }
        found.push((separator, tail.get(..length).unwrap_or_default()));
        rest = tail.get(length..).unwrap_or_default();
    }
    (found, rest)
}
