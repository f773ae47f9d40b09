//! Filters that answer `true` or `false`, regular expressions aside.

use super::{Answer, Call, Filter, Outcome, truth};

pub(super) fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "startswith" => |call| text(call, |text, part| text.starts_with(part)),
        "endswith" => |call| text(call, |text, part| text.ends_with(part)),
        "contains" => |call| text(call, |text, part| text.contains(part)),
        "lessthan" => |call| numbers(call, |left, right| left < right),
        "lessthanorequal" => |call| numbers(call, |left, right| left <= right),
        "greaterthan" => |call| numbers(call, |left, right| left > right),
        "greaterthanorequal" => |call| numbers(call, |left, right| left >= right),
        _ => return None,
    })
}

fn text(call: &Call<'_>, holds: fn(&str, &str) -> bool) -> Answer {
    Ok(truth(holds(call.text()?, call.only()?)))
}

fn numbers(call: &Call<'_>, holds: fn(f64, f64) -> bool) -> Answer {
    let (left, right) = (number(call.text()?), number(call.only()?));
    match (left, right) {
        (Some(left), Some(right)) => Ok(truth(holds(left, right))),
        _ => Err(Outcome::failed("compares numbers only")),
    }
}

/// No thousands separators: `1,000` could mean two numbers.
fn number(text: &str) -> Option<f64> {
    if text.contains(',') {
        None
    } else {
        crate::number::parse(text)
    }
}
