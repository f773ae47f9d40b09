//! `Match` and `Replace` with regular expressions in .NET's dialect, bounded in work.

use fancy_regex::{Captures, Regex, RegexBuilder};

use super::{Answer, Call, Outcome, truth};
use crate::dotnet_regex::translate;
use crate::evaluate::{Eval, Fuel, Halt};
use crate::problem::Error;

/// A longer expression is refused before it is compiled.
const MAX_PATTERN: usize = 16 * 1024;
/// Steps back that one search may take.
const BACKTRACKS: usize = 500_000;
/// What a search costs that may backtrack: a few thousand of them use up a rendering's work.
const HARD_SEARCH: u64 = 4_000;
/// What compiling costs.
const COMPILE: u64 = 500;

pub(super) fn matches(call: &Call<'_>, fuel: &mut Fuel) -> Eval<Answer> {
    let (text, pattern) = match (call.text(), call.only()) {
        (Ok(text), Ok(pattern)) => (text, pattern),
        (Err(failed), _) | (_, Err(failed)) => return Ok(Err(failed)),
    };
    let regex = match compile(text, pattern, fuel)? {
        Ok(regex) => regex,
        Err(failed) => return Ok(Err(failed)),
    };
    regex.charge(fuel)?;
    Ok(regex
        .regex
        .is_match(text)
        .map(truth)
        .map_err(|_| Outcome::failed("needs too much work for its expression")))
}

pub(super) fn replace(call: &Call<'_>, fuel: &mut Fuel) -> Eval<Answer> {
    let text = match call.text() {
        Ok(text) => text,
        Err(failed) => return Ok(Err(failed)),
    };
    let (pattern, replacement) = match call.args {
        [pattern] => (pattern, ""),
        [pattern, replacement] => (pattern, replacement.as_str()),
        _ => {
            return Ok(Err(Outcome::failed(
                "takes an expression and a replacement",
            )));
        }
    };
    let regex = match compile(text, pattern, fuel)? {
        Ok(regex) => regex,
        Err(failed) => return Ok(Err(failed)),
    };
    let limit = call.most_bytes();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut captures = regex.regex.captures_iter(text);
    loop {
        regex.charge(fuel)?;
        let found = match captures.next() {
            None => break,
            Some(Ok(found)) => found,
            Some(Err(_)) => {
                return Ok(Err(Outcome::failed(
                    "needs too much work for its expression",
                )));
            }
        };
        let Some(whole) = found.get(0) else { break };
        out.push_str(text.get(copied..whole.start()).unwrap_or_default());
        let before = out.len();
        expand(replacement, &found, &regex.order, text, limit, &mut out);
        fuel.charge_bytes(out.len() - before)?;
        if out.len() > limit {
            return Err(Halt::Limit(Error::TooLarge { limit }));
        }
        copied = whole.end();
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(Ok(out))
}

struct Compiled {
    regex: Regex,
    hard: bool,
    /// Our numbers of the groups in the order in which .NET numbers them: those with a name come last.
    order: Vec<usize>,
}

impl Compiled {
    fn charge(&self, fuel: &mut Fuel) -> Eval<()> {
        fuel.charge(if self.hard { HARD_SEARCH } else { 1 })
    }
}

fn compile(text: &str, pattern: &str, fuel: &mut Fuel) -> Eval<Result<Compiled, Outcome>> {
    fuel.charge(COMPILE)?;
    if pattern.len() > MAX_PATTERN {
        return Ok(Err(Outcome::failed("has too long an expression")));
    }
    let pattern = translate(pattern, text.ends_with('\n'));
    // Without these an expression runs in linear time.
    let hard = pattern.contains("(?")
        || has_backreference(&pattern)
        || pattern.contains('\\') && pattern.contains("\\G");
    let built = RegexBuilder::new(&pattern)
        .backtrack_limit(BACKTRACKS)
        .delegate_size_limit(4 << 20)
        .build();
    Ok(match built {
        Ok(regex) => {
            let order = numbering(&regex);
            Ok(Compiled { regex, hard, order })
        }
        Err(_) => Err(Outcome::failed("has an expression that cannot be read")),
    })
}

fn numbering(regex: &Regex) -> Vec<usize> {
    let groups = regex.capture_names().enumerate().skip(1);
    let (named, plain): (Vec<_>, Vec<_>) = groups.partition(|(_, name)| name.is_some());
    let numbers = plain.into_iter().chain(named);
    numbers.map(|(number, _)| number).collect()
}

fn has_backreference(pattern: &str) -> bool {
    pattern
        .as_bytes()
        .windows(2)
        .any(|pair| matches!(pair, [b'\\', b'1'..=b'9' | b'k']))
}

/// `$1`, `${name}`, `$$`, `$&`, `` $` ``, `$'`, `$+` and `$_`; anything else stands for itself. Gives up
/// once there is more than `limit` bytes: a short replacement may ask for all of the text many times.
fn expand(
    replacement: &str,
    found: &Captures<'_>,
    order: &[usize],
    text: &str,
    limit: usize,
    out: &mut String,
) {
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        if out.len() > limit {
            return;
        }
        out.push_str(rest.get(..dollar).unwrap_or_default());
        rest = rest.get(dollar + 1..).unwrap_or_default();
        let used = substitute(rest, found, order, text, out);
        if used == 0 {
            out.push('$');
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// Writes what the text after a `$` stands for; answers how much of it was used.
fn substitute(
    rest: &str,
    found: &Captures<'_>,
    order: &[usize],
    text: &str,
    out: &mut String,
) -> usize {
    let (start, end) = found
        .get(0)
        .map_or((0, 0), |whole| (whole.start(), whole.end()));
    let group = |number: usize| {
        let ours = number
            .checked_sub(1)
            .map_or(Some(0), |at| order.get(at).copied());
        ours.and_then(|ours| found.get(ours))
            .map(|group| group.as_str())
            .unwrap_or_default()
    };
    match rest.bytes().next() {
        Some(b'$') => out.push('$'),
        Some(b'&') => out.push_str(group(0)),
        Some(b'`') => out.push_str(text.get(..start).unwrap_or_default()),
        Some(b'\'') => out.push_str(text.get(end..).unwrap_or_default()),
        Some(b'_') => out.push_str(text),
        Some(b'+') => out.push_str(group(found.len().saturating_sub(1))),
        Some(b'0'..=b'9') => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            // The longest number that names a group.
            for used in (1..=digits.min(4)).rev() {
                let number = rest
                    .get(..used)
                    .and_then(|digits| digits.parse::<usize>().ok());
                if let Some(number) = number.filter(|number| *number < found.len()) {
                    out.push_str(group(number));
                    return used;
                }
            }
            return 0;
        }
        Some(b'{') => {
            let Some(close) = rest.find('}') else {
                return 0;
            };
            let name = rest.get(1..close).unwrap_or_default();
            let by_number = name
                .parse::<usize>()
                .ok()
                .filter(|number| *number < found.len());
            let value = match by_number {
                Some(number) => group(number),
                None => match found.name(name) {
                    Some(group) => group.as_str(),
                    None => return 0,
                },
            };
            out.push_str(value);
            return close + 1;
        }
        _ => return 0,
    }
    1
}
