//! Enrolment connections: one request, one answer, both small, then goodbye.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use mantle_shared::protocol::{
    ENROL_LIMIT_BYTES, EnrolAccepted, EnrolRefusal, EnrolRefused, EnrolRequest, Message, close,
};
use quinn::{Connection, VarInt};

use super::Shared;
use super::counters::Counters;
use super::reader::{Next, Reader};

/// What an enroller decides.
pub type EnrolDecision = Result<EnrolAccepted, EnrolRefused>;

/// Judges enrolments: looks the token up, signs the key, writes the records.
pub trait Enroller: Send + Sync {
    /// Decides on one request. Whatever it accepts is committed when it returns.
    fn enrol(
        &self,
        request: EnrolRequest,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = EnrolDecision> + Send + '_>>;
}

pub(super) async fn serve(connection: Connection, shared: &Shared) {
    let limit = shared.timing.hello;
    // The request must be here in time; the judgement writes to the database and has its own.
    let finished = tokio::time::timeout(limit * 4, exchange(&connection, shared)).await;
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
    let Ok(Ok((mut send, receive))) =
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
    let Ok(frame) = answer.to_frame() else { return };
    if send.write_all(&frame).await.is_ok() {
        let _ = send.finish();
        let _ = tokio::time::timeout(shared.timing.hello, send.stopped()).await;
    }
}
