//! Actions that a person carries out.

use super::super::grammar::ActionItem;
use super::super::node::Problem;
use super::super::report::Report;

/// Nothing is run, so that what is said of how it runs would be said in vain.
pub(super) fn check(item: &ActionItem, report: &mut Report) {
    let keys = [
        ("run_on", item.run_on.as_ref().map(|value| value.at)),
        ("grace", item.grace.as_ref().map(|value| value.at)),
        ("retries", item.retries.as_ref().map(|value| value.count.at)),
        ("secrets", item.secrets.as_ref().map(|value| value.at)),
        ("locks", item.locks.as_ref().map(|value| value.at)),
    ];
    for (key, at) in keys {
        if let Some(at) = at {
            report.error(
                Problem::new(
                    at,
                    format!("'{key}' means nothing here: a person does it, and nothing is run"),
                )
                .next(format!("remove '{key}'")),
            );
        }
    }
}
