//! How a step rolls: the window, and what failures do.

use super::super::grammar::RollingItem;
use super::super::node::Problem;
use super::super::report::Report;
use super::super::typed::{At, Raw};
use crate::process::{Rolling, Window};

pub(super) fn convert(item: &RollingItem, report: &mut Report) -> Option<Rolling> {
    let window = share(&item.window, 1);
    if window.is_none() {
        let text = item.window.value.0.trim();
        report.error(
            Problem::new(item.window.at, format!("'{text}' is no window"))
                .next("write a number of targets such as 1, or a share such as 25%"),
        );
    }
    let max_failed = item.max_failed.as_ref().and_then(|allowed| {
        let read = share(allowed, 0);
        if read.is_none() {
            let text = allowed.value.0.trim();
            report.error(
                Problem::new(allowed.at, format!("'{text}' is no number of targets"))
                    .next("write how many may fail, such as 2, or a share such as 10%"),
            );
        }
        read
    });
    Some(Rolling {
        window: window?,
        // None at all is what holds where nothing is said.
        max_failed: max_failed.filter(|allowed| *allowed != Window::Targets(0)),
        pause_after_first: item.pause_after_first.unwrap_or(false),
        on_failure: item.on_failure,
    })
}

/// A number of targets, or a share of them.
fn share(raw: &At<Raw>, least: u32) -> Option<Window> {
    let text = raw.value.0.trim();
    match text.strip_suffix('%') {
        Some(share) => share
            .parse()
            .ok()
            .filter(|percent| (least..=100).contains(percent))
            .map(Window::Percent),
        None => text
            .parse()
            .ok()
            .filter(|count| *count >= least)
            .map(Window::Targets),
    }
}
