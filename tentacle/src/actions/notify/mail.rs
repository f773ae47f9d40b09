//! Mail by SMTP.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{SmtpTransport, Transport as _};
use serde::Deserialize;

use super::super::StopToken;
use super::payload::Message;
use super::{Miss, values};

/// How often a letter that is under way is asked whether it should stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// `email` under `with:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Email {
    server: String,
    from: String,
    #[serde(deserialize_with = "values::texts")]
    to: Vec<String>,
    #[serde(default, deserialize_with = "values::texts")]
    cc: Vec<String>,
    #[serde(default, deserialize_with = "values::texts")]
    bcc: Vec<String>,
    #[serde(default)]
    html: Option<String>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    security: Option<Security>,
    #[serde(default, deserialize_with = "values::switch")]
    insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    High,
    Normal,
    Low,
}

/// How the line to the mail server is kept from others' eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Security {
    /// TLS after a first word in the clear; without it nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None.
    None,
}

impl Security {
    const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// A letter and the way to its server.
pub(super) struct Letter {
    message: lettre::Message,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    tls: Tls,
    recipients: usize,
}

impl Email {
    /// Refuses what makes no sense whatever the templates become.
    pub(super) fn sound(&self) -> Result<(), String> {
        if self.user.is_some() != self.password.is_some() {
            return Err("email: 'user' and 'password' go together".to_owned());
        }
        if self.user.is_some() && self.security == Some(Security::None) {
            return Err(
                "email: a password does not go over a line that anyone can read; take 'security: none' away"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The letter of a message; the error says which input is wrong.
    pub(super) fn letter(&self, message: &Message<'_>) -> Result<Letter, String> {
        let (host, port) = host_and_port(&self.server)?;
        let security = self.security.unwrap_or(if port == Some(465) {
            Security::Tls
        } else {
            Security::Starttls
        });
        let credentials = self
            .user
            .clone()
            .zip(self.password.clone())
            .map(|(user, password)| Credentials::new(user, password));
        let message_of = self.compose(message)?;
        Ok(Letter {
            recipients: message_of.envelope().to().len(),
            message: message_of,
            tls: tls(&host, security, self.insecure)?,
            port: port.unwrap_or_else(|| security.port()),
            host,
            credentials,
        })
    }

    fn compose(&self, message: &Message<'_>) -> Result<lettre::Message, String> {
        let names = message.names;
        let subject = message.title.map_or_else(
            || {
                format!(
                    "{} {} in {}: {}",
                    names.project, names.release, names.environment, names.step
                )
            },
            |title| title.split_whitespace().collect::<Vec<_>>().join(" "),
        );
        let from: Mailbox = self
            .from
            .parse()
            .map_err(|error| format!("email: from: {:?} is no address: {error}", self.from))?;
        let mut builder = lettre::Message::builder()
            .from(from)
            .subject(subject)
            .date_now()
            // The same for every try: a mailbox shows what came twice once.
            .message_id(Some(format!("<{}@mantle>", names.attempt)));
        for mailbox in addresses("to", &self.to)? {
            builder = builder.to(mailbox);
        }
        for mailbox in addresses("cc", &self.cc)? {
            builder = builder.cc(mailbox);
        }
        for mailbox in addresses("bcc", &self.bcc)? {
            builder = builder.bcc(mailbox);
        }
        let rank = match self.priority {
            Some(Priority::High) => Some("1 (Highest)"),
            Some(Priority::Low) => Some("5 (Lowest)"),
            Some(Priority::Normal) | None => None,
        };
        if let Some(rank) = rank {
            builder = builder.raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("X-Priority"),
                rank.to_owned(),
            ));
        }
        let made = match &self.html {
            None => builder
                .header(lettre::message::header::ContentType::TEXT_PLAIN)
                .body(message.text.to_owned()),
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(
                message.text.to_owned(),
                html.clone(),
            )),
        };
        made.map_err(|error| format!("email: {error}"))
    }
}

/// The addresses of a list; each text may itself be several, with commas between them.
fn addresses(key: &str, texts: &[String]) -> Result<Vec<Mailbox>, String> {
    let mut all = Vec::new();
    for text in texts.iter().filter(|text| !text.trim().is_empty()) {
        let read: Mailboxes = text
            .parse()
            .map_err(|error| format!("email: {key}: {text:?} is no address: {error}"))?;
        all.extend(read);
    }
    if key == "to" && all.is_empty() {
        return Err("email: to: there is nobody in it".to_owned());
    }
    Ok(all)
}

fn host_and_port(server: &str) -> Result<(String, Option<u16>), String> {
    let bad = || format!("email: server: {server:?} is neither HOST nor HOST:PORT");
    let server = server.trim();
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(bad)?;
            (host, after.strip_prefix(':'))
        }
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(sound) {
        return Err(bad());
    }
    let port = port
        .map(|digits| digits.parse::<u16>().ok().filter(|port| *port > 0))
        .map(|port| port.ok_or_else(bad))
        .transpose()?;
    Ok((host.to_owned(), port))
}

fn tls(host: &str, security: Security, insecure: bool) -> Result<Tls, String> {
    if security == Security::None {
        return Ok(Tls::None);
    }
    let parameters = TlsParameters::builder(host.to_owned())
        .dangerous_accept_invalid_certs(insecure)
        .dangerous_accept_invalid_hostnames(insecure)
        .build()
        .map_err(|error| format!("email: TLS cannot be used: {error}"))?;
    Ok(match security {
        Security::Tls => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
}

impl Letter {
    /// For people.
    pub(super) fn name(&self) -> String {
        format!("mail by {}:{}", self.host, self.port)
    }

    /// Sends it. What is under way when the stop token trips or the time is over is left to end by
    /// itself: whether it arrives then cannot be known.
    pub(super) fn send(&self, deadline: Instant, stop: &StopToken) -> Result<String, Miss> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut builder = SmtpTransport::builder_dangerous(&self.host)
            .port(self.port)
            .tls(self.tls.clone())
            .timeout(Some(left.max(Duration::from_millis(1))));
        if let Some(credentials) = &self.credentials {
            builder = builder.credentials(credentials.clone());
        }
        let transport = builder.build();
        let message = self.message.clone();
        let (tell, told) = channel();
        std::thread::Builder::new()
            .name("mail".to_owned())
            .spawn(move || {
                // Nobody listens any more when the time was over.
                let _ = tell.send(transport.send(&message));
            })
            .map_err(|error| Miss::Later(format!("no thread to send it: {error}")))?;
        loop {
            match told.recv_timeout(LOOK_INTERVAL) {
                Ok(Ok(_)) => {
                    return Ok(match self.recipients {
                        1 => "taken for 1 recipient".to_owned(),
                        many => format!("taken for {many} recipients"),
                    });
                }
                Ok(Err(error)) => return Err(miss(&error)),
                Err(RecvTimeoutError::Timeout)
                    if !stop.is_stopped() && Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Miss::Later("no complete answer in time".to_owned()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Miss::Never("sending it failed in itself".to_owned()));
                }
            }
        }
    }
}

fn miss(error: &lettre::transport::smtp::Error) -> Miss {
    // The chain holds what the server said, or what the system did.
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !said.contains(&cause_text) {
            said = format!("{said}: {cause_text}");
        }
        source = cause.source();
    }
    if error.is_tls() {
        return Miss::Never(format!(
            "{said}; if the certificate is one of your own, say 'insecure: true'"
        ));
    }
    if error.is_permanent() || error.is_client() {
        Miss::Never(said)
    } else {
        Miss::Later(said)
    }
}
