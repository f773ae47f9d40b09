//! The exchange by which a machine becomes an agent: one request, one answer.

use mantle_shared::AgentId;
use mantle_shared::protocol::{
    ENROL_LIMIT_BYTES, EnrolAccepted, EnrolRefused, EnrolRequest, Message, close,
};
use mantle_shared::tls::{Fingerprint, agent_uri};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::dial::Dialled;
use super::framed::{self, StreamError};
use super::reason;
use super::timing::Timing;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The server says no.
    #[error("{}", .0.message)]
    Refused(EnrolRefused),
    /// The server closed the connection without a word.
    #[error("the server closed the connection during enrolment: {0}")]
    Closed(String),
    /// The exchange broke.
    #[error("the enrolment broke off")]
    Stream(#[source] StreamError),
    /// The server did not answer.
    #[error("the server did not answer the enrolment within {0} s")]
    Timeout(u64),
    /// The request does not fit.
    #[error("the name, tags and environments are too long together: at most 4 KiB may be sent")]
    TooLong,
    /// The server said something else.
    #[error("the server answered the enrolment with {0}; it is of another age")]
    Unexpected(&'static str),
    /// The certificate is not what was asked for.
    #[error("the certificate that the server issued is wrong: {0}")]
    BadCertificate(&'static str),
}

/// Asks to be let in, over a connection whose server has proved the pinned authority.
pub async fn enrol(
    dialled: &Dialled,
    request: EnrolRequest,
    pin: Fingerprint,
    public_key: &[u8],
    timing: &Timing,
) -> Result<EnrolAccepted, EnrolError> {
    let message = Message::from(request);
    let frame = message
        .to_frame()
        .map_err(|error| EnrolError::Stream(error.into()))?;
    if frame.len() > ENROL_LIMIT_BYTES {
        return Err(EnrolError::TooLong);
    }
    let answer = tokio::time::timeout(timing.welcome_timeout, exchange(dialled, &message))
        .await
        .map_err(|_elapsed| EnrolError::Timeout(timing.welcome_timeout.as_secs()))?;
    let answer = answer.map_err(|error| match dialled.connection.close_reason() {
        Some(closed) => EnrolError::Closed(reason::describe(&closed)),
        None => EnrolError::Stream(error),
    })?;
    match answer {
        Message::EnrolAccepted(accepted) => {
            check(&accepted, pin, public_key).map_err(EnrolError::BadCertificate)?;
            dialled
                .connection
                .close(close::ENROLMENT_DONE.into(), b"enrolled");
            Ok(accepted)
        }
        Message::EnrolRefused(refused) => Err(EnrolError::Refused(refused)),
        other => Err(EnrolError::Unexpected(other.name())),
    }
}

/// One message there, one back.
pub(super) async fn exchange(dialled: &Dialled, message: &Message) -> Result<Message, StreamError> {
    let (mut send, mut recv) = dialled
        .connection
        .open_bi()
        .await
        .map_err(|error| StreamError::Read(error.into()))?;
    framed::write(&mut send, message).await?;
    let _ = send.finish();
    framed::read_one(&mut recv, ENROL_LIMIT_BYTES).await
}

/// The answer must fit the token and the key: a mix-up shows here, not at the first connection.
fn check(
    accepted: &EnrolAccepted,
    pin: Fingerprint,
    public_key: &[u8],
) -> Result<(), &'static str> {
    if Fingerprint::of_der(&accepted.authority) != pin {
        return Err("it comes with another authority than the token's");
    }
    check_certificate(&accepted.certificate, accepted.agent, public_key)
}

/// A certificate must be for the key that was asked for, and name the agent.
pub(super) fn check_certificate(
    certificate: &[u8],
    agent: AgentId,
    public_key: &[u8],
) -> Result<(), &'static str> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| "it cannot be read")?;
    if certificate.public_key().subject_public_key.data.as_ref() != public_key {
        return Err("it is for another key");
    }
    let uri = agent_uri(agent);
    let named = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .is_some_and(|names| {
            names
                .value
                .general_names
                .iter()
                .any(|name| matches!(name, GeneralName::URI(found) if *found == uri))
        });
    if named {
        Ok(())
    } else {
        Err("it names another agent")
    }
}
