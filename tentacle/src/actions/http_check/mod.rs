//! `http.check`: asks a URL until it answers as it should, several times in a row.
//!
//! Redirects are not followed: a redirect is an answer with its own status, and one that leads to a
//! login page would look like success. The last status, the beginning of the body and the last
//! error are in the failure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mantle_shared::inputs::StatusRange;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::http::{self, Answer, Request, Url};
use super::values;
use super::{Action, ActionContext, ActionError, ActionReport};

/// How much of a body stands in a failure.
const SNIPPET_CHARS: usize = 400;
/// One answer may take this long unless `timeout` says otherwise.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// `http.check`.
pub(super) struct HttpCheck;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    url: String,
    #[serde(default = "ok", deserialize_with = "statuses")]
    expect: Vec<StatusRange>,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
    #[serde(default, deserialize_with = "values::optional_number")]
    consecutive: Option<u32>,
    #[serde(default = "a_second", deserialize_with = "values::duration")]
    interval: Duration,
    #[serde(default = "try_timeout", deserialize_with = "values::duration")]
    timeout: Duration,
    #[serde(default, deserialize_with = "values::texts")]
    contains: Vec<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "values::switch")]
    insecure: bool,
}

fn ok() -> Vec<StatusRange> {
    vec![StatusRange::OK]
}

fn a_minute() -> Duration {
    Duration::from_mins(1)
}

fn a_second() -> Duration {
    Duration::from_secs(1)
}

fn try_timeout() -> Duration {
    TRY_TIMEOUT
}

fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StatusRange>, D::Error> {
    let one = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        StatusRange::parse_list(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no HTTP status; write 200, 2xx, 200-299 or a list of such"
            ))
        })
    };
    match Value::deserialize(deserializer)? {
        Value::Array(list) if !list.is_empty() => {
            let each: Result<Vec<_>, _> = list.iter().map(one).collect();
            each.map(|each| each.concat())
        }
        other => one(&other),
    }
}

impl Inputs {
    fn consecutive(&self) -> u32 {
        self.consecutive.unwrap_or(1).max(1)
    }

    fn expected(&self) -> String {
        let list: Vec<_> = self.expect.iter().map(ToString::to_string).collect();
        list.join(" or ")
    }

    /// Why an answer is not right; `None` if it is.
    fn objection(&self, answer: &Answer) -> Option<String> {
        let right = |range: &StatusRange| range.contains(answer.status);
        if !self.expect.iter().any(right) {
            return Some(format!("expected {}", self.expected()));
        }
        let body = String::from_utf8_lossy(&answer.body);
        self.contains
            .iter()
            .find(|text| !body.contains(text.as_str()))
            .map(|text| format!("the body does not contain {text:?}"))
    }
}

impl Action for HttpCheck {
    fn name(&self) -> &'static str {
        "http.check"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let url = Url::parse(&inputs.url).map_err(ActionError::input)?;
        http::check_headers(&inputs.headers).map_err(ActionError::input)?;
        let tls = if url.is_https {
            Some(http::tls_config(inputs.insecure).map_err(ActionError::failed)?)
        } else {
            None
        };
        let deadline = Instant::now() + inputs.within;
        let mut in_a_row = 0;
        let mut last = String::new();
        for number in 1_u32.. {
            context.stop.check()?;
            let begun = Instant::now();
            let request = Request {
                url: &url,
                headers: &inputs.headers,
                body: None,
                tls: tls.as_ref(),
                deadline: begun + inputs.timeout,
                stop: context.stop,
            };
            let outcome = request.send();
            context.stop.check()?;
            let took = values::show_duration(begun.elapsed());
            match judge(&inputs, outcome) {
                Ok(status) => {
                    in_a_row += 1;
                    context.info(format!(
                        "try {number}: {status} in {took} ({in_a_row} of {})",
                        inputs.consecutive()
                    ));
                    if in_a_row >= inputs.consecutive() {
                        return Ok(ActionReport::default());
                    }
                }
                Err(why) => {
                    in_a_row = 0;
                    context.info(format!("try {number}: {} in {took}", why.short));
                    last = why.long;
                }
            }
            if Instant::now() + inputs.interval > deadline {
                break;
            }
            context.stop.sleep(inputs.interval)?;
        }
        Err(ActionError::failed(failure(&inputs, in_a_row, &last)))
    }
}

fn failure(inputs: &Inputs, in_a_row: u32, last: &str) -> String {
    let within = values::show_duration(inputs.within);
    let times = match inputs.consecutive() {
        1 => String::new(),
        count => format!(" {count} times in a row"),
    };
    let so_far = if in_a_row > 0 {
        format!(
            "the last {in_a_row} answers were right, but the time was over; give it more with 'within'"
        )
    } else {
        format!("last: {last}")
    };
    format!(
        "{} did not answer {}{times} within {within}; {so_far}",
        inputs.url,
        inputs.expected()
    )
}

/// What was wrong, for the line of the try and for the failure at the end.
struct Objection {
    short: String,
    long: String,
}

fn judge(inputs: &Inputs, outcome: Result<Answer, String>) -> Result<String, Objection> {
    let answer = outcome.map_err(|error| Objection {
        short: error.clone(),
        long: error,
    })?;
    let status = format!("{} {}", answer.status, answer.reason)
        .trim()
        .to_owned();
    match inputs.objection(&answer) {
        None => Ok(status),
        Some(why) => {
            let short = format!("{status} ({why})");
            let body = http::snippet(&answer.body, SNIPPET_CHARS);
            let long = if body.is_empty() {
                format!("{short}, with an empty body")
            } else {
                format!("{short}, body: {body}")
            };
            Err(Objection { short, long })
        }
    }
}
