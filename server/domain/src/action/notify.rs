//! The inputs of `notify`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, de};
use serde_json::Value;

use super::inputs::{OneOrMany, Span, Switch};

/// `notify`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// What is said.
    pub text: String,
    /// Its headline; a mail's subject.
    #[serde(default)]
    pub title: Option<String>,
    /// An address that takes JSON by POST.
    #[serde(default)]
    pub webhook: Option<String>,
    /// The address of an incoming webhook of Slack, or of a chat that takes what Slack takes.
    #[serde(default)]
    pub slack: Option<String>,
    /// The address of a webhook of Microsoft Teams.
    #[serde(default)]
    pub teams: Option<String>,
    /// A mail by SMTP.
    #[serde(default)]
    pub email: Option<Email>,
    /// What the webhook gets in place of the usual.
    #[serde(default)]
    pub body: Option<Value>,
    /// Headers of the request to the webhook.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The key of the signature that the webhook gets: HMAC-SHA256 of the body in the header
    /// `Mantle-Signature`.
    #[serde(default)]
    pub sign: Option<String>,
    /// How long to go on trying; a minute by default.
    #[serde(default)]
    pub within: Option<Span>,
    /// How long one try may take; 10 seconds by default.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Whether a message that does not arrive is a warning only.
    #[serde(default)]
    pub ignore_failure: Option<Switch>,
}

/// A mail.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The mail server: `HOST` or `HOST:PORT`. The port is 587 by default, 465 with `security: tls`
    /// and 25 with `none`.
    pub server: String,
    /// The sender's address.
    pub from: String,
    /// The recipients; a text may be several with commas between them.
    pub to: OneOrMany<String>,
    /// Who gets a copy.
    #[serde(default)]
    pub cc: Option<OneOrMany<String>>,
    /// Who gets a copy unseen by the others.
    #[serde(default)]
    pub bcc: Option<OneOrMany<String>>,
    /// The same in HTML, for those who see such.
    #[serde(default)]
    pub html: Option<String>,
    /// How urgent it is; `normal` by default.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Who logs in.
    #[serde(default)]
    pub user: Option<String>,
    /// With which password: `{ secret: PATH }`.
    #[serde(default)]
    pub password: Option<String>,
    /// How the line is kept from others' eyes; `starttls` by default, `tls` at port 465.
    #[serde(default)]
    pub security: Option<Security>,
    /// Whether any certificate will do.
    #[serde(default)]
    pub insecure: Option<Switch>,
}

/// How urgent a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// More than others.
    High,
    /// As others.
    Normal,
    /// Less than others.
    Low,
}

/// How the line to a mail server is kept from others' eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS after a first word in the clear; without it nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Nothing keeps it; no password goes over it.
    None,
}

impl Notify {
    /// Refuses what makes no sense whatever the templates become.
    pub(super) fn sound<E: de::Error>(&self) -> Result<(), E> {
        let nobody = self.email.is_none()
            && [&self.webhook, &self.slack, &self.teams]
                .iter()
                .all(|address| address.is_none());
        if nobody {
            return Err(E::custom(
                "it says nobody to tell; give one or more of 'webhook', 'slack', 'teams' and 'email'",
            ));
        }
        if self.webhook.is_none() {
            for (key, given) in [
                ("body", self.body.is_some()),
                (
                    "headers",
                    self.headers.as_ref().is_some_and(|all| !all.is_empty()),
                ),
                ("sign", self.sign.is_some()),
            ] {
                if given {
                    return Err(E::custom(format!(
                        "'{key}' is of a 'webhook', and there is none"
                    )));
                }
            }
        }
        match &self.email {
            Some(email) => email.sound(),
            None => Ok(()),
        }
    }
}

impl Email {
    fn sound<E: de::Error>(&self) -> Result<(), E> {
        if self.user.is_some() != self.password.is_some() {
            return Err(E::custom("email: 'user' and 'password' go together"));
        }
        if self.user.is_some() && self.security == Some(Security::None) {
            return Err(E::custom(
                "email: a password does not go over a line that anyone can read; take 'security: none' away",
            ));
        }
        Ok(())
    }
}
