//! `wait`: lets time pass, for what has no sign that could be waited for.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};

/// `wait`.
pub(super) struct Wait;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    #[serde(rename = "for", deserialize_with = "values::duration")]
    time: Duration,
    reason: Option<String>,
}

impl Action for Wait {
    fn name(&self) -> &'static str {
        "wait"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let time = values::show_duration(inputs.time);
        if inputs.time > context.time_left() {
            let left = values::show_duration(context.time_left());
            return Err(ActionError::input(format!(
                "with.for: {time} is more than the action has left ({left}); give it a longer 'timeout'"
            )));
        }
        let reason = inputs.reason.map(|why| format!(": {why}"));
        context.info(format!("waiting for {time}{}", reason.unwrap_or_default()));
        context.stop.sleep(inputs.time)?;
        Ok(ActionReport::default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::super::test_context::{Bench, message};
    use super::*;

    #[test]
    fn it_waits_as_long_as_it_should_and_ends_with_a_cancel() {
        let bench = Bench::new();
        let began = Instant::now();
        bench
            .run(&Wait, json!({"for": "80ms", "reason": "the cache"}))
            .unwrap();
        assert!(began.elapsed() >= Duration::from_millis(80));
        assert!(bench.said.text().contains("waiting for 80ms: the cache"));
        let long = message(bench.run(&Wait, json!({"for": "2h"})));
        assert!(long.contains("longer 'timeout'"), "{long}");
        bench.stop.stop();
        let stopped = bench.run(&Wait, json!({"for": "30s"}));
        assert_eq!(stopped, Err(ActionError::Stopped));
    }
}
