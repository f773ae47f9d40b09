//! Enrolment connections: one request, one answer, both small, then goodbye.
//!
//! A stranger enrols; an agent that shows its certificate, be that at its end, renews it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::{
    ENROL_LIMIT_BYTES, EnrolAccepted, EnrolRefusal, EnrolRefused, EnrolRequest, LeaveResult,
    Message, RenewAnswer, RenewResult, close,
};
use mantle_shared::tls::Fingerprint;
use quinn::{Connection, SendStream, VarInt};

use super::Shared;
use super::counters::Counters;
use super::reader::{Next, Reader};

/// What an enroller decides.
pub type EnrolDecision = Result<EnrolAccepted, EnrolRefused>;

/// An agent asks for the next certificate.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// Who, by the certificate of the connection.
    pub agent: AgentId,
    /// The key that it showed.
    pub key: Fingerprint,
    /// The signing request, DER.
    pub signing_request: Vec<u8>,
    /// Where from.
    pub remote: SocketAddr,
}

/// Judges enrolments and renewals: looks the token up, signs the key, writes the records.
pub trait Enroller: Send + Sync {
    /// Decides on one request. Whatever it accepts is committed when it returns.
    fn enrol(
        &self,
        request: EnrolRequest,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = EnrolDecision> + Send + '_>>;

    /// Decides on the renewal of a certificate. What it issues is committed when it returns.
    fn renew(&self, renewal: Renewal) -> Pin<Box<dyn Future<Output = RenewResult> + Send + '_>>;

    /// Lets an agent go that leaves for good. What it says is committed when it returns, and the agent's
    /// key is let in no more.
    fn leave(
        &self,
        agent: AgentId,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = LeaveResult> + Send + '_>>;

    /// An offered key was seen in use: from now on it is the agent's only one. If that cannot be
    /// written down both stay good, until it is seen again.
    fn seen(
        &self,
        agent: AgentId,
        key: Fingerprint,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Serves a stranger.
pub(super) async fn serve(connection: Connection, shared: &Shared) {
    let exchange = exchange(&connection, shared);
    say_goodbye(&connection, exchange, shared).await;
}

/// Serves an agent of the allow-list, which may renew its certificate here and do nothing else.
pub(super) async fn serve_renewal(
    connection: Connection,
    agent: AgentId,
    key: Fingerprint,
    shared: &Shared,
) {
    let exchange = exchange_renewal(&connection, agent, key, shared);
    say_goodbye(&connection, exchange, shared).await;
}

/// One exchange, with an end to it.
async fn say_goodbye(connection: &Connection, exchange: impl Future<Output = ()>, shared: &Shared) {
    let limit = shared.timing.hello;
    // The request must be here in time; the judgement writes to the database and has its own.
    let finished = tokio::time::timeout(limit * 4, exchange).await;
    if finished.is_err() {
        Counters::count(&shared.parts.counters.handshake_timeouts);
        connection.close(VarInt::from_u32(close::HANDSHAKE_TIMEOUT), b"");
        return;
    }
    // The agent closes once it has read the answer.
    let _ = tokio::time::timeout(limit, connection.closed()).await;
    connection.close(VarInt::from_u32(close::ENROLMENT_DONE), b"");
}

async fn exchange(connection: &Connection, shared: &Shared) {
    let Ok(Ok((send, receive))) =
        tokio::time::timeout(shared.timing.hello, connection.accept_bi()).await
    else {
        return;
    };
    let mut reader = Reader::new(receive, ENROL_LIMIT_BYTES);
    let answer = match reader.next_within(shared.timing.hello).await {
        Ok(Next::Message(Message::EnrolRequest(request))) => {
            match shared
                .parts
                .enroller
                .enrol(request, connection.remote_address())
                .await
            {
                Ok(accepted) => Message::from(accepted),
                Err(refused) => Message::from(refused),
            }
        }
        Ok(Next::Message(_) | Next::Unknown(_) | Next::End) | Err(_) => {
            Counters::count(&shared.parts.counters.bad_streams);
            Message::from(EnrolRefused {
                reason: EnrolRefusal::BadRequest,
                message: "the enrolment request could not be read".to_owned(),
            })
        }
    };
    finish(send, &answer, shared).await;
}

async fn exchange_renewal(
    connection: &Connection,
    agent: AgentId,
    key: Fingerprint,
    shared: &Shared,
) {
    let Ok(Ok((send, receive))) =
        tokio::time::timeout(shared.timing.hello, connection.accept_bi()).await
    else {
        return;
    };
    let mut reader = Reader::new(receive, ENROL_LIMIT_BYTES);
    let (request, result) = match reader.next_within(shared.timing.hello).await {
        Ok(Next::Message(Message::RenewCertificate(asked))) => {
            let renewal = Renewal {
                agent,
                key,
                signing_request: asked.signing_request,
                remote: connection.remote_address(),
            };
            let result = shared.parts.enroller.renew(renewal).await;
            (asked.request, result)
        }
        Ok(Next::Message(_) | Next::Unknown(_) | Next::End) | Err(_) => {
            Counters::count(&shared.parts.counters.bad_streams);
            let reason = "the request for a renewal could not be read".to_owned();
            (0, RenewResult::Refused { reason })
        }
    };
    finish(send, &RenewAnswer { request, result }.into(), shared).await;
}

/// Sends the answer and waits until it was taken.
async fn finish(mut send: SendStream, answer: &Message, shared: &Shared) {
    let Ok(frame) = answer.to_frame() else { return };
    if send.write_all(&frame).await.is_ok() {
        let _ = send.finish();
        let _ = tokio::time::timeout(shared.timing.hello, send.stopped()).await;
    }
}
