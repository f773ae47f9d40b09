//! `notify`: tells people and programs, by webhook, chat or mail.
//!
//! What fails for a while (no connection, an answer that says "later") is tried again until
//! `within` is over, always under the same delivery id, so that who receives it twice can tell. An
//! address often is a secret of its own (a chat's webhook); only its host is ever said.

mod mail;
mod payload;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{self, Body, Request, Url};
use super::values;
use super::{Action, ActionContext, ActionError, ActionReport};
use mail::Email;

/// The pause before the second try; it doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How much of a refusal's body stands in the failure.
const SNIPPET_CHARS: usize = 200;

/// `notify`.
pub(super) struct Notify;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    text: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    webhook: Option<String>,
    #[serde(default)]
    slack: Option<String>,
    #[serde(default)]
    teams: Option<String>,
    #[serde(default)]
    email: Option<Email>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    sign: Option<String>,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
    #[serde(default = "ten_seconds", deserialize_with = "values::duration")]
    timeout: Duration,
    #[serde(default, deserialize_with = "values::switch")]
    ignore_failure: bool,
}

fn a_minute() -> Duration {
    Duration::from_mins(1)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl Inputs {
    /// What makes no sense whatever the templates become.
    fn sound(&self) -> Result<(), ActionError> {
        let names = [&self.webhook, &self.slack, &self.teams];
        if self.email.is_none() && names.iter().all(|name| name.is_none()) {
            return Err(ActionError::input(
                "the action's inputs: it says nobody to tell; give one or more of 'webhook', 'slack', 'teams' and 'email'",
            ));
        }
        if self.webhook.is_none() {
            for (key, given) in [
                ("body", self.body.is_some()),
                ("headers", !self.headers.is_empty()),
                ("sign", self.sign.is_some()),
            ] {
                if given {
                    return Err(ActionError::input(format!(
                        "the action's inputs: '{key}' is of a 'webhook', and there is none"
                    )));
                }
            }
        }
        let mail = self.email.as_ref().map_or(Ok(()), Email::sound);
        mail.map_err(|why| ActionError::input(format!("the action's inputs: {why}")))
    }
}

/// Why a try did not arrive.
#[derive(Debug)]
enum Miss {
    /// Another try may help.
    Later(String),
    /// None will.
    Never(String),
}

impl Action for Notify {
    fn name(&self) -> &'static str {
        "notify"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<Inputs>(with)?.sound()
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        inputs.sound()?;
        let ways = ways(&inputs, context)?;
        let mut failures = Vec::new();
        for way in &ways {
            if let Err(why) = deliver(way, &inputs, context)? {
                failures.push(format!("{}: {why}", way.name()));
            }
        }
        if failures.is_empty() {
            return Ok(ActionReport::default());
        }
        let failed = failures.join("; ");
        if !inputs.ignore_failure {
            return Err(ActionError::failed(failed));
        }
        context.warning(format!("not everyone was told: {failed}"));
        Ok(ActionReport {
            exit_code: None,
            message: format!("not told: {failed}"),
        })
    }
}

/// One way to tell somebody, ready to be gone.
enum Way {
    Post(Post),
    Mail(Box<mail::Letter>),
}

/// A request to a webhook.
struct Post {
    name: &'static str,
    url: Url,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Way {
    /// For people: which way and to which host, never the whole address.
    fn name(&self) -> String {
        match self {
            Self::Post(post) => format!("{} at {}", post.name, post.url.host),
            Self::Mail(letter) => letter.name(),
        }
    }
}

/// All that is to be sent. Whatever is wrong with any of it is found before the first is gone.
fn ways(inputs: &Inputs, context: &ActionContext<'_>) -> Result<Vec<Way>, ActionError> {
    let message = payload::Message {
        text: &inputs.text,
        title: inputs.title.as_deref(),
        names: context.names,
    };
    let mut ways = Vec::new();
    if let Some(address) = &inputs.webhook {
        let body = match &inputs.body {
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(own) => own.to_string().into_bytes(),
            None => payload::generic(&message).to_string().into_bytes(),
        };
        let mut headers = inputs.headers.clone();
        http::check_headers(&headers).map_err(ActionError::input)?;
        if let Some(key) = &inputs.sign {
            headers.insert(
                payload::SIGNATURE_HEADER.to_owned(),
                payload::signature(key, &body),
            );
        }
        ways.push(post("webhook", address, (headers, body), context)?);
    }
    for (name, address, body) in [
        ("slack", &inputs.slack, payload::slack(&message)),
        ("teams", &inputs.teams, payload::teams(&message)),
    ] {
        if let Some(address) = address {
            let body = body.to_string().into_bytes();
            ways.push(post(name, address, (BTreeMap::new(), body), context)?);
        }
    }
    if let Some(email) = &inputs.email {
        let letter = email.letter(&message).map_err(ActionError::input)?;
        ways.push(Way::Mail(Box::new(letter)));
    }
    Ok(ways)
}

fn post(
    name: &'static str,
    address: &str,
    (mut headers, body): (BTreeMap<String, String>, Vec<u8>),
    context: &ActionContext<'_>,
) -> Result<Way, ActionError> {
    // The address may be a secret: what is wrong with it is said without it.
    let url = Url::parse(address).map_err(|_| {
        ActionError::input(format!(
            "{name}: its address is no URL; write https://HOST/PATH, without a user name"
        ))
    })?;
    headers
        .entry(payload::DELIVERY_HEADER.to_owned())
        .or_insert_with(|| context.names.attempt.to_string());
    Ok(Way::Post(Post {
        name,
        url,
        headers,
        body,
    }))
}

/// Tries until it arrived, or nothing more will help, or the time is over; the inner error says
/// why it did not arrive.
fn deliver(
    way: &Way,
    inputs: &Inputs,
    context: &ActionContext<'_>,
) -> Result<Result<(), String>, ActionError> {
    let end = Instant::now() + inputs.within;
    let mut pause = FIRST_PAUSE;
    loop {
        context.stop.check()?;
        let until = (Instant::now() + inputs.timeout).min(context.deadline);
        let tried = match way {
            Way::Post(post) => post.send(until, context),
            Way::Mail(letter) => letter.send(until, context.stop),
        };
        context.stop.check()?;
        match tried {
            Ok(said) => {
                context.info(format!("{}: {said}", way.name()));
                return Ok(Ok(()));
            }
            Err(Miss::Never(why)) => return Ok(Err(why)),
            Err(Miss::Later(why)) => {
                if Instant::now() + pause >= end {
                    return Ok(Err(why));
                }
                context.info(format!(
                    "{}: {why}; trying again in {}",
                    way.name(),
                    values::show_duration(pause)
                ));
            }
        }
        context.stop.sleep(pause)?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Post {
    fn send(&self, deadline: Instant, context: &ActionContext<'_>) -> Result<String, Miss> {
        let tls = if self.url.is_https {
            Some(http::tls_config(false).map_err(Miss::Never)?)
        } else {
            None
        };
        let request = Request {
            url: &self.url,
            headers: &self.headers,
            body: Some(Body {
                kind: "application/json",
                bytes: &self.body,
            }),
            tls: tls.as_ref(),
            deadline,
            stop: context.stop,
        };
        let answer = request.send().map_err(Miss::Later)?;
        let said = format!("{} {}", answer.status, answer.reason)
            .trim()
            .to_owned();
        let refused = || match http::snippet(&answer.body, SNIPPET_CHARS) {
            body if body.is_empty() => said.clone(),
            body => format!("{said}: {body}"),
        };
        match answer.status {
            200..=299 => Ok(said),
            408 | 425 | 429 | 500..=599 => Err(Miss::Later(refused())),
            _ => Err(Miss::Never(refused())),
        }
    }
}
