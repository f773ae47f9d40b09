//! Why a connection ended or never was, in words for people.

use mantle_shared::protocol::close;
use quinn::ConnectionError;

/// Transport errors that stand for alerts of TLS: the certificate was not taken.
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// Says why a connection ended.
pub(super) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(closed) => {
            let code = u32::try_from(closed.error_code.into_inner()).unwrap_or(u32::MAX);
            describe_code(code)
        }
        ConnectionError::ConnectionClosed(closed)
            if TLS_ALERTS.contains(&u64::from(closed.error_code)) =>
        {
            // The server's verifier tells a stranger nothing, so no more is known here.
            format!(
                "{}; the server says: {}",
                describe_code(close::NOT_AUTHORISED),
                closed.error_code
            )
        }
        ConnectionError::ConnectionClosed(closed) => {
            format!("the server's transport ended the connection ({closed})")
        }
        ConnectionError::Reset => {
            "the server does not know this connection any more: it was restarted".to_owned()
        }
        ConnectionError::TimedOut => {
            "nothing came from the server for the whole idle timeout: the network or the server is down".to_owned()
        }
        ConnectionError::VersionMismatch => {
            "what answers there speaks another version of QUIC; it is no mantle server".to_owned()
        }
        ConnectionError::TransportError(error) => {
            format!("what the server sent breaks the transport's rules ({error})")
        }
        ConnectionError::LocallyClosed => "the agent closed the connection".to_owned(),
        ConnectionError::CidsExhausted => "there are no connection ids left".to_owned(),
    }
}

/// The close codes in words.
fn describe_code(code: u32) -> String {
    match code {
        close::GOING_AWAY => "the server goes down or restarts".to_owned(),
        close::NOT_AUTHORISED => {
            "the server does not let this agent in: it is unknown there, revoked, or its certificate has ended; \
             look with 'mantle agent list' and join again with 'tentacle join --force'"
                .to_owned()
        }
        close::SUPERSEDED => {
            "another connection with this agent's identity took over; if this machine was cloned, \
             join the clone anew with 'tentacle join --force'"
                .to_owned()
        }
        close::PROTOCOL => "the server says that the agent broke the protocol".to_owned(),
        close::HANDSHAKE_TIMEOUT => {
            "the server waited too long for the agent's first message".to_owned()
        }
        close::ENROLMENT_DONE => "enrolment is over".to_owned(),
        close::CERTIFICATE_ENDED => {
            "the agent's certificate has ended; the server may still renew it".to_owned()
        }
        other => format!("the server closed the connection with code {other}"),
    }
}

/// The close code, if the peer closed with one. Who did not take the certificate in the handshake says
/// the same as one who refuses it after.
pub(super) fn close_code(error: &ConnectionError) -> Option<u32> {
    match error {
        ConnectionError::ApplicationClosed(closed) => {
            u32::try_from(closed.error_code.into_inner()).ok()
        }
        ConnectionError::ConnectionClosed(closed)
            if TLS_ALERTS.contains(&u64::from(closed.error_code)) =>
        {
            Some(close::NOT_AUTHORISED)
        }
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    }
}
