//! The next certificate: asked for on the control stream while there is a connection, and over a
//! connection for enrolment once the certificate has ended.
//!
//! The key is made anew each time and lives in memory until its certificate is here; then both are
//! written. Whatever is lost on the way is asked for again, with another key.

use std::time::Duration;

use mantle_shared::AgentId;
use mantle_shared::protocol::{Message, RenewAnswer, RenewCertificate, RenewResult, close};
use tokio::time::Instant;

use super::address::{BadAddress, ServerAddress};
use super::dial::{self, DialError};
use super::enrol::{check_certificate, exchange};
use super::framed::StreamError;
use super::{Settings, reason, tls};
use crate::identity::{Identities, Identity, IdentityError, NewKey, NewKeyError};

/// For so long an answer is waited for before another key is made.
const ANSWER: Duration = Duration::from_secs(30);

/// Why there is no other certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewError {
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Key(#[from] NewKeyError),
    #[error("the server did not renew it: {0}")]
    Refused(String),
    #[error("the server closed the connection: {0}")]
    Closed(String),
    #[error("the exchange broke off: {0}")]
    Stream(#[source] StreamError),
    #[error("the server did not answer within {0} s")]
    Timeout(u64),
    #[error("the server answered with {0}; it is of another age")]
    Unexpected(&'static str),
    #[error("the certificate that the server issued is wrong: {0}")]
    BadCertificate(&'static str),
    #[error("it could not be kept: {0}")]
    Keep(#[from] IdentityError),
}

/// A renewal that was asked for.
pub(super) struct Renewal {
    request: u64,
    agent: AgentId,
    key: NewKey,
    since: Instant,
}

impl Renewal {
    /// Makes a key, and the request for its certificate.
    pub(super) fn begin(identity: &Identity) -> Result<(Self, RenewCertificate), NewKeyError> {
        let key = NewKey::generate()?;
        let message = RenewCertificate {
            request: rand::random(),
            signing_request: key.signing_request(&identity.name)?,
        };
        let renewal = Self {
            request: message.request,
            agent: identity.agent,
            key,
            since: Instant::now(),
        };
        Ok((renewal, message))
    }

    /// Its answer may still come.
    pub(super) fn is_fresh(&self) -> bool {
        self.since.elapsed() < ANSWER
    }

    /// Keeps what was issued.
    pub(super) fn finish(
        self,
        answer: RenewAnswer,
        identities: &mut Identities,
    ) -> Result<(), RenewError> {
        if answer.request != self.request {
            return Err(RenewError::Unexpected("an answer to another request"));
        }
        match answer.result {
            RenewResult::Issued {
                certificate,
                not_after_us,
            } => {
                check_certificate(&certificate, self.agent, self.key.public_key())
                    .map_err(RenewError::BadCertificate)?;
                Ok(identities.offer(&self.key, certificate, not_after_us)?)
            }
            RenewResult::Refused { reason } => Err(RenewError::Refused(reason)),
        }
    }
}

/// Renews a certificate that has ended: the server still knows the key, and lets it do this alone.
pub(super) async fn after_the_end(settings: &mut Settings, server: &str) -> Result<(), RenewError> {
    let address: ServerAddress = server.parse()?;
    let (renewal, message) = Renewal::begin(settings.identities.shown())?;
    let dialled = dial::server(&address, &settings.timing, &settings.sockets, |verdict| {
        tls::renew(settings.identities.shown(), verdict)
    })
    .await?;
    let message = Message::from(message);
    let patience = settings.timing.welcome_timeout;
    let answer = tokio::time::timeout(patience, exchange(&dialled, &message)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(match dialled.connection.close_reason() {
                Some(closed) => RenewError::Closed(reason::describe(&closed)),
                None => RenewError::Stream(error),
            });
        }
        Err(_elapsed) => return Err(RenewError::Timeout(patience.as_secs())),
    };
    dialled
        .connection
        .close(close::ENROLMENT_DONE.into(), b"renewed");
    match answer {
        Message::RenewAnswer(answer) => renewal.finish(answer, &mut settings.identities),
        other => Err(RenewError::Unexpected(other.name())),
    }
}
