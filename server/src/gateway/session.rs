//! A work connection: who is who, the resync, then messages both ways until it ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mantle_shared::ids::AgentId;
use mantle_shared::protocol::{
    AttemptReport, CONTROL_LIMIT_BYTES, EVENTS_LIMIT_BYTES, Echo, EchoAnswer, GoAway,
    HELLO_LIMIT_BYTES, Hello, Journal, Leave, LeaveAnswer, LeaveResult, Message, RenewAnswer,
    RenewCertificate, Unsupported, Welcome, close, negotiate,
};
use mantle_shared::tls::Fingerprint;
use quinn::{Connection, RecvStream, SendStream, VarInt};

use super::arrival::Arrival;
use super::arrivals::report_size;
use super::copies::{self, Machine};
use super::counters::Counters;
use super::limits::{REPORTS, REPORTS_BYTES};
use super::outbox::{Outbox, Outgoing, Queue, outbox};
use super::reader::{Next, ReadError, Reader};
use super::{Meeting, Renewal, Shared, Standing, renewal, transfer};

/// Control goes before logs, logs before bulk.
const CONTROL_PRIORITY: i32 = 10;

/// Serves an agent whose certificate was judged, until its connection ends.
pub(super) async fn serve(
    connection: Connection,
    agent: AgentId,
    key: Fingerprint,
    shared: &Arc<Shared>,
) {
    match greet(&connection, agent, shared).await {
        Ok(greeted) => work(connection, (agent, key), greeted, shared).await,
        Err(code) => connection.close(VarInt::from_u32(code), b""),
    }
}

/// Who is in the middle of its report: each agent once at most, so that one agent's reports take the
/// memory of one.
#[derive(Default)]
pub(super) struct Greetings {
    under_way: Mutex<HashMap<AgentId, Connection>>,
}

impl Greetings {
    /// The newest wins, as of sessions.
    fn begin(&self, agent: AgentId, connection: &Connection) -> Greeting<'_> {
        let older = self.lock().insert(agent, connection.clone());
        if let Some(older) = older {
            older.close(VarInt::from_u32(close::SUPERSEDED), b"");
        }
        Greeting {
            all: self,
            agent,
            connection: connection.stable_id(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, Connection>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is under way.
struct Greeting<'a> {
    all: &'a Greetings,
    agent: AgentId,
    connection: usize,
}

impl Drop for Greeting<'_> {
    fn drop(&mut self) {
        let mut under_way = self.all.lock();
        if under_way
            .get(&self.agent)
            .is_some_and(|known| known.stable_id() == self.connection)
        {
            under_way.remove(&self.agent);
        }
    }
}

/// What is known after the greeting.
struct Greeted {
    hello: Hello,
    journal: Option<Journal>,
    reports: Vec<AttemptReport>,
    reader: Reader,
    send: SendStream,
}

/// From the first stream to the end of the agent's report. An error is the code to close with.
async fn greet(connection: &Connection, agent: AgentId, shared: &Shared) -> Result<Greeted, u32> {
    let timing = shared.timing;
    let (mut send, receive) = tokio::time::timeout(timing.hello, connection.accept_bi())
        .await
        .map_err(|_| close::HANDSHAKE_TIMEOUT)?
        .map_err(|_| close::PROTOCOL)?;
    let _ = send.set_priority(CONTROL_PRIORITY);
    let mut reader = Reader::new(receive, HELLO_LIMIT_BYTES);
    let hello = match reader.next_within(timing.hello).await {
        Ok(Next::Message(Message::Hello(hello))) => hello,
        Ok(Next::Message(_) | Next::Unknown(_) | Next::End) => return Err(close::PROTOCOL),
        Err(ReadError::Timeout) => return Err(close::HANDSHAKE_TIMEOUT),
        Err(error) => {
            Counters::count(&shared.parts.counters.bad_streams);
            tracing::warn!(agent.id = %agent, %error, "the agent's hello could not be read");
            return Err(close::PROTOCOL);
        }
    };
    let Some(protocol) = negotiate(hello.protocol_min, hello.protocol_max) else {
        tracing::warn!(
            agent.id = %agent,
            agent.version = hello.version,
            protocol_min = hello.protocol_min,
            protocol_max = hello.protocol_max,
            "the agent speaks no protocol version of ours; upgrade it"
        );
        return Err(close::PROTOCOL);
    };
    let meeting = shared.parts.epochs.meet(agent, hello.highest_epoch);
    let welcome = Welcome {
        protocol,
        version: shared.version.clone(),
        now_us: now_us(),
        // Of a server that it must not obey an agent is told the lowest one.
        epoch: match meeting {
            Meeting::Fine(epoch) => epoch,
            Meeting::Held | Meeting::Ahead => 0,
        },
    };
    let frame = Message::from(welcome)
        .to_frame()
        .map_err(|_| close::PROTOCOL)?;
    tokio::time::timeout(timing.hello, send.write_all(&frame))
        .await
        .map_err(|_| close::HANDSHAKE_TIMEOUT)?
        .map_err(|_| close::PROTOCOL)?;
    match meeting {
        Meeting::Fine(_) => {}
        Meeting::Held => {
            return Err(turn_away(connection, send, shared, Farewell::soon(RESTORED)).await);
        }
        Meeting::Ahead => {
            tracing::error!(
                agent.id = %agent,
                agent.highest_epoch = hello.highest_epoch,
                epoch = shared.parts.epochs.current(),
                "an agent has seen more than this server knows: it runs on older data than it has served. The agent is not let in; type 'mantle server recover' if the server was put back from a backup"
            );
            return Err(turn_away(connection, send, shared, Farewell::soon(AHEAD)).await);
        }
    }
    let remote = connection.remote_address();
    if let Some(other) = copies::living_other(agent, &hello, remote, shared).await {
        let told = Farewell {
            reason: &copies::reason(&other),
            retry_after_ms: copies::ASK_AGAIN_MS,
        };
        return Err(turn_away(connection, send, shared, told).await);
    }
    let mut reader = reader.into_limit(CONTROL_LIMIT_BYTES);
    let _newest = shared.greetings.begin(agent, connection);
    let report = report(&mut reader, &mut send, (agent, remote), shared);
    let (journal, reports) = tokio::time::timeout(timing.resync, report)
        .await
        .map_err(|_| close::HANDSHAKE_TIMEOUT)??;
    Ok(Greeted {
        hello,
        journal,
        reports,
        reader,
        send,
    })
}

/// What an agent is told that a restored server does not let in.
const RESTORED: &str = "it was restored from a backup, and nothing is ordered until 'mantle server recover' is typed there";
/// The same where only the agent shows it.
const AHEAD: &str = "it runs on older data than this agent has seen, as if restored from a backup, and nothing is ordered until 'mantle server recover' is typed there";
/// When it may ask again.
const TURNED_AWAY_MS: u32 = 3000;

/// What an agent is told that is not let in.
#[derive(Clone, Copy)]
struct Farewell<'a> {
    reason: &'a str,
    retry_after_ms: u32,
}

impl<'a> Farewell<'a> {
    /// It may ask again soon.
    fn soon(reason: &'a str) -> Self {
        Self {
            reason,
            retry_after_ms: TURNED_AWAY_MS,
        }
    }
}

/// Tells an agent to come back later, and why. Gives the code to close with.
async fn turn_away(
    connection: &Connection,
    mut send: SendStream,
    shared: &Shared,
    told: Farewell<'_>,
) -> u32 {
    let message = Message::from(GoAway {
        retry_after_ms: told.retry_after_ms,
        reason: told.reason.to_owned(),
    });
    if let Ok(frame) = message.to_frame()
        && send.write_all(&frame).await.is_ok()
    {
        let _ = send.finish();
        // It closes when it has read that.
        let _ = tokio::time::timeout(shared.timing.drain, connection.closed()).await;
    }
    close::GOING_AWAY
}

/// The agent's report: which journal it goes by, if it says so, and what stands in it. An echo before
/// it is answered: a machine that joins proves a round trip and goes again, without a resync, so that
/// nothing is ordered meanwhile. So does one that leaves.
async fn report(
    reader: &mut Reader,
    send: &mut SendStream,
    (agent, remote): (AgentId, SocketAddr),
    shared: &Shared,
) -> Result<(Option<Journal>, Vec<AttemptReport>), u32> {
    let mut journal = None;
    let mut reports = Vec::new();
    let mut bytes = 0;
    loop {
        let answer = match reader.next().await {
            Ok(Next::Message(Message::Journal(said))) => {
                journal = Some(said);
                continue;
            }
            Ok(Next::Message(Message::Resync(portion))) => {
                bytes += portion.reports.iter().map(report_size).sum::<usize>();
                reports.extend(portion.reports);
                if reports.len() > REPORTS || bytes > REPORTS_BYTES {
                    tracing::warn!(
                        reports = reports.len(),
                        bytes,
                        "an agent reports more than any journal holds; disconnected"
                    );
                    return Err(close::PROTOCOL);
                }
                if portion.last {
                    return Ok((journal, reports));
                }
                continue;
            }
            Ok(Next::Message(Message::Echo(Echo { request, payload }))) => {
                Message::from(EchoAnswer { request, payload })
            }
            Ok(Next::Message(Message::Leave(Leave { request }))) => {
                let result = shared.parts.enroller.leave(agent, remote).await;
                if matches!(result, LeaveResult::Left) {
                    // Whoever else works under its identity is out with it.
                    let sessions = &shared.parts.sessions;
                    sessions.disconnect(agent, close::NOT_AUTHORISED);
                }
                Message::from(LeaveAnswer { request, result })
            }
            // A newer agent may have more to say of itself.
            Ok(Next::Unknown(kind)) => {
                Counters::count(&shared.parts.counters.unsupported);
                Unsupported { kind }.into()
            }
            // The connection is gone or the agent has ended its side: a probe does that.
            Ok(Next::End) | Err(ReadError::Stream(_)) => return Err(close::GOING_AWAY),
            Ok(Next::Message(_)) | Err(_) => return Err(close::PROTOCOL),
        };
        let frame = answer.to_frame().map_err(|_| close::PROTOCOL)?;
        send.write_all(&frame)
            .await
            .map_err(|_| close::GOING_AWAY)?;
    }
}

/// Everything after the resync.
async fn work(
    connection: Connection,
    (agent, key): (AgentId, Fingerprint),
    greeted: Greeted,
    shared: &Arc<Shared>,
) {
    let parts = &shared.parts;
    let (control, queue) = outbox();
    let session = parts.sessions.open(
        agent,
        connection.clone(),
        control.clone(),
        Arc::clone(&parts.counters),
        Machine::of(&greeted.hello),
    );
    let Some(standing) = parts.trust.find(agent, key) else {
        // Revoked between the handshake and now: the look-up and the registration must overlap.
        parts.sessions.close_session(agent, session);
        connection.close(VarInt::from_u32(close::NOT_AUTHORISED), b"");
        return;
    };
    if matches!(standing, Standing::Offered(_)) {
        parts.enroller.seen(agent, key).await;
    }
    Counters::count(&parts.counters.welcomed);
    let resync = Arrival::Resync {
        agent,
        session,
        remote: connection.remote_address(),
        hello: Box::new(greeted.hello),
        journal: greeted.journal,
        reports: greeted.reports,
    };
    if parts.arrivals.send(resync).await.is_ok() {
        let code = tokio::select! {
            code = control_in(greeted.reader, (agent, key), &connection, &control, shared) => code,
            () = renewal::remind(standing.key(), &control) => close::GOING_AWAY,
            () = control_out(greeted.send, queue, &connection, agent, shared) => close::GOING_AWAY,
            () = events_in(&connection, agent, shared) => close::GOING_AWAY,
            () = transfer::serve(&connection, agent, shared) => close::GOING_AWAY,
        };
        connection.close(VarInt::from_u32(code), b"");
    }
    parts.sessions.close_session(agent, session);
    let _ = parts
        .arrivals
        .send(Arrival::Disconnected { agent, session })
        .await;
}

/// Reads the control stream; the result is the code to close with.
async fn control_in(
    mut reader: Reader,
    (agent, key): (AgentId, Fingerprint),
    connection: &Connection,
    control: &Outbox,
    shared: &Shared,
) -> u32 {
    loop {
        let arrival = match reader.next_whole_within(shared.timing.message).await {
            Ok(Next::Message(Message::StartAnswer(answer))) => {
                Arrival::StartAnswered { agent, answer }
            }
            Ok(Next::Message(Message::CancelAnswer(answer))) => {
                Arrival::CancelAnswered { agent, answer }
            }
            Ok(Next::Message(Message::AcquireAnswer(answer))) => {
                Arrival::AcquireAnswered { agent, answer }
            }
            Ok(Next::Message(Message::AcquireProgress(progress))) => {
                Arrival::AcquireProgressed { agent, progress }
            }
            Ok(Next::Message(Message::OutputHeld(held))) => Arrival::OutputHeld { agent, held },
            Ok(Next::Message(Message::Echo(Echo { request, payload }))) => {
                // Who asks more than it reads is not answered.
                let _ = control.push(&EchoAnswer { request, payload }.into());
                continue;
            }
            Ok(Next::Message(Message::EchoAnswer(answer))) => {
                if !shared.parts.sessions.is_alive(agent, answer.request) {
                    Counters::count(&shared.parts.counters.stray_answers);
                }
                continue;
            }
            Ok(Next::Message(Message::Unsupported(_))) => continue,
            Ok(Next::Message(Message::RenewCertificate(asked))) => {
                let RenewCertificate {
                    request,
                    signing_request,
                } = asked;
                let renewal = Renewal {
                    agent,
                    key,
                    signing_request,
                    remote: connection.remote_address(),
                };
                // The agent waits for the answer before it asks again, and once in a while only is
                // anything written.
                let result = shared.parts.enroller.renew(renewal).await;
                let _ = control.push(&RenewAnswer { request, result }.into());
                continue;
            }
            Ok(Next::Unknown(kind)) => {
                Counters::count(&shared.parts.counters.unsupported);
                let _ = control.push(&Unsupported { kind }.into());
                continue;
            }
            Ok(Next::Message(message)) => {
                tracing::warn!(agent.id = %agent, message = message.name(), "not to be said here");
                return close::PROTOCOL;
            }
            Ok(Next::End) | Err(ReadError::Stream(_)) => return close::GOING_AWAY,
            Err(error) => {
                Counters::count(&shared.parts.counters.bad_streams);
                tracing::warn!(agent.id = %agent, %error, "the control stream cannot be read");
                return close::PROTOCOL;
            }
        };
        if shared.parts.arrivals.send(arrival).await.is_err() {
            return close::GOING_AWAY;
        }
    }
}

/// Writes what is said to the agent. One that takes nothing for a while is disconnected: it reports
/// its whole journal when it comes back.
async fn control_out(
    mut send: SendStream,
    mut queue: Queue,
    connection: &Connection,
    agent: AgentId,
    shared: &Shared,
) {
    while let Some(Outgoing::Frame(frame)) = queue.next().await {
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match tokio::time::timeout(shared.timing.stall, send.write(rest)).await {
                Ok(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                Ok(Err(_)) => return,
                Err(_) => {
                    Counters::count(&shared.parts.counters.slow_agents);
                    tracing::warn!(agent.id = %agent, "the agent takes nothing of what it is sent; disconnected");
                    return;
                }
            }
        }
        queue.written(frame.len());
    }
    // A connection that closes takes back what was not read yet, so the agent closes it: it does
    // when the stream has ended.
    let _ = send.finish();
    let _ = tokio::time::timeout(shared.timing.drain, connection.closed()).await;
}

/// Takes the streams on which attempts report.
async fn events_in(connection: &Connection, agent: AgentId, shared: &Arc<Shared>) {
    while let Ok(stream) = connection.accept_uni().await {
        let shared = Arc::clone(shared);
        // Bounded by the number of streams that the transport allows; ends with the connection.
        tokio::spawn(async move { events(stream, agent, &shared).await });
    }
}

/// Reads one such stream. What is wrong with it is its own affair: the connection lives on.
async fn events(stream: RecvStream, agent: AgentId, shared: &Shared) {
    let mut reader = Reader::new(stream, EVENTS_LIMIT_BYTES);
    loop {
        let arrival = match reader.next_whole_within(shared.timing.message).await {
            Ok(Next::Message(Message::Records(records))) => Arrival::Records { agent, records },
            Ok(Next::Message(Message::RecordsGone(gone))) => Arrival::RecordsGone { agent, gone },
            Ok(Next::Message(Message::AttemptEnded(ended))) => {
                Arrival::AttemptEnded { agent, ended }
            }
            Ok(Next::Unknown(_)) => {
                Counters::count(&shared.parts.counters.unsupported);
                continue;
            }
            Ok(Next::End) | Err(ReadError::Stream(_)) => return,
            Ok(Next::Message(_)) | Err(_) => {
                Counters::count(&shared.parts.counters.bad_streams);
                reader.reset(close::PROTOCOL);
                return;
            }
        };
        if shared.parts.arrivals.send(arrival).await.is_err() {
            return;
        }
    }
}

/// The wall clock, in microseconds since 1970.
fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
