//! One connection from `Welcome` to its end.
//!
//! Each direction of the control stream has a task of its own, so that a driver which waits and a
//! network which stalls never wait for each other. What the tasks notice comes to one loop, which
//! alone decides that the session is over.

use std::sync::Arc;
use std::time::Duration;

use mantle_shared::protocol::{
    Acquire, AcquireAnswer, AcquireFailure, AcquireProgress, AcquireResult, EchoAnswer, Message,
    RenewAnswer, Unsupported, close,
};
use quinn::{Connection, ConnectionError, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::artifacts;
use super::framed::{self, Incoming, MessageReader, count_bad_stream};
use super::handshake::Welcomed;
use super::reason;
use super::renewal::Renewal;
use super::reports::Reports;
use super::silence::ask_when_silent;
use super::timing::Timing;
use super::transfer::BulkSource;
use crate::artifacts::Artifacts;
use crate::cache::Acquirer;
use crate::identity::Identities;
use crate::link::{LinkCommand, LinkEvent, LinkPeer};

/// Messages that wait for the control stream.
const CONTROL_QUEUE: usize = 64;
/// The largest payload of an echo that is answered.
const MAX_ECHO_BYTES: usize = 1024;
/// How long an orderly end may take to reach the server.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// After `GoAway` the server closes; if it does not, the agent does.
const GO_AWAY_PATIENCE: Duration = Duration::from_secs(30);
/// How long the driver may leave an event lying; over that it hangs, and a new session is no worse.
const DRIVER_PATIENCE: Duration = Duration::from_mins(1);
/// Report and acquire tasks at once; far more than a server orders.
const MAX_TASKS: usize = 4096;

/// How a session ended.
#[derive(Debug)]
pub(super) struct SessionEnd {
    /// Why, for people.
    pub(super) reason: String,
    /// The server asked not to be dialled before this.
    pub(super) retry_after: Option<Duration>,
    /// The driver asked for the end, or is gone.
    pub(super) closed_by_driver: bool,
    /// There is another certificate, to be shown at once.
    pub(super) renewed: bool,
    /// The server had taken the agent in, and was gone or another without a word.
    pub(super) server_vanished: bool,
}

/// What a task tells the loop.
#[derive(Debug)]
enum Notice {
    /// The last portion of the server's answer to the resync is here.
    Resynced,
    /// The server goes away.
    GoAway(Duration, String),
    /// The certificate is to be renewed.
    CertificateDue,
    /// The answer to a renewal.
    Renewal(RenewAnswer),
    /// The session cannot go on.
    Failed(String),
}

/// Everything of one session.
struct Session {
    connection: Connection,
    control: mpsc::Sender<Message>,
    reports: Reports,
    acquirer: Arc<Acquirer>,
    /// Which session this is.
    number: u64,
    /// The driver has begun its resync; what came before is left over from an earlier session.
    resync_begun: bool,
    /// The renewal that was asked for last.
    renewal: Option<Renewal>,
    tasks: JoinSet<()>,
}

/// Runs the session to its end.
pub(super) async fn run(
    connection: Connection,
    welcomed: Welcomed,
    number: u64,
    peer: &mut LinkPeer,
    (acquirer, artifacts): (Arc<Acquirer>, Artifacts),
    identities: &mut Identities,
    timing: &Timing,
) -> SessionEnd {
    let (notices, mut noticed) = mpsc::channel(8);
    let (control, outgoing) = mpsc::channel(CONTROL_QUEUE);
    let (reports, shared_stream) = Reports::new(connection.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(shared_stream);
    tasks.spawn(take_streams(connection.clone(), artifacts));
    tasks.spawn(ask_when_silent(connection.clone(), timing.keepalive));
    let writer = tokio::spawn(write_control(
        welcomed.send,
        outgoing,
        timing.write_timeout,
        notices.clone(),
    ));
    let connected = LinkEvent::Connected {
        session: number,
        welcome: welcomed.welcome,
    };
    let reader = read_control(
        welcomed.reader,
        connected,
        peer.events.clone(),
        control.clone(),
        notices,
    );
    tasks.spawn(reader);
    let mut session = Session {
        connection: connection.clone(),
        control,
        reports,
        acquirer,
        number,
        resync_begun: false,
        renewal: None,
        tasks,
    };
    let end = session.serve(peer, &mut noticed, identities, timing).await;
    drop(session);
    if end.closed_by_driver || end.renewed {
        // Only the writer is left: it ends when what was queued is with the server.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, writer).await;
    } else {
        writer.abort();
    }
    connection.close(close::GOING_AWAY.into(), b"");
    end
}

impl Session {
    async fn serve(
        &mut self,
        peer: &mut LinkPeer,
        noticed: &mut mpsc::Receiver<Notice>,
        identities: &mut Identities,
        timing: &Timing,
    ) -> SessionEnd {
        let mut end = SessionEnd {
            reason: String::new(),
            retry_after: None,
            closed_by_driver: false,
            renewed: false,
            server_vanished: false,
        };
        let mut resynced = false;
        // Until the resync is through; later, until the server closes after it said so.
        let mut deadline = Some((
            Instant::now() + timing.resync_timeout,
            "the server did not answer the resync in time".to_owned(),
        ));
        loop {
            let at = deadline.as_ref().map_or_else(Instant::now, |(at, _)| *at);
            tokio::select! {
                closed = self.connection.closed() => {
                    end.reason = reason::describe(&closed);
                    end.server_vanished = resynced && vanished(&closed);
                    return end;
                }
                notice = noticed.recv() => match notice {
                    Some(Notice::Resynced) => {
                        resynced = true;
                        deadline = None;
                    }
                    Some(Notice::CertificateDue) => {
                        // Later, if there is no peace just now: the server says it again.
                        if deadline.is_none() {
                            self.ask_for_certificate(identities).await;
                        }
                    }
                    Some(Notice::Renewal(answer)) => {
                        if self.take_certificate(answer, identities) {
                            "the certificate was renewed".clone_into(&mut end.reason);
                            end.renewed = true;
                            return end;
                        }
                    }
                    Some(Notice::GoAway(retry_after, why)) => {
                        end.retry_after = Some(retry_after);
                        deadline = Some((Instant::now() + GO_AWAY_PATIENCE, why));
                    }
                    Some(Notice::Failed(why)) => {
                        let closed = self.connection.close_reason();
                        end.server_vanished = resynced && closed.as_ref().is_some_and(vanished);
                        end.reason = match (end.retry_after, deadline) {
                            // What follows a good-bye is no failure.
                            (Some(_), Some((_, good_bye))) => good_bye,
                            _ => closed.map_or(why, |closed| reason::describe(&closed)),
                        };
                        return end;
                    }
                    None => {
                        "the control stream ended".clone_into(&mut end.reason);
                        return end;
                    }
                },
                command = peer.commands.recv() => match command {
                    Some(LinkCommand::Close) | None => {
                        end.closed_by_driver = true;
                        "the agent stops".clone_into(&mut end.reason);
                        return end;
                    }
                    Some(command) => self.obey(command).await,
                },
                () = tokio::time::sleep_until(at), if deadline.is_some() => {
                    end.reason = deadline.map(|(_, why)| why).unwrap_or_default();
                    return end;
                }
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    async fn ask_for_certificate(&mut self, identities: &Identities) {
        let waits = self.renewal.as_ref().is_some_and(Renewal::is_fresh);
        if waits || !identities.can_renew() {
            return;
        }
        match Renewal::begin(identities.shown()) {
            Ok((renewal, message)) => {
                self.renewal = Some(renewal);
                let _ = self.control.send(message.into()).await;
            }
            Err(error) => tracing::warn!(%error, "the certificate could not be renewed"),
        }
    }

    /// Whether there is another certificate now.
    fn take_certificate(&mut self, answer: RenewAnswer, identities: &mut Identities) -> bool {
        let Some(renewal) = self.renewal.take() else {
            return false;
        };
        match renewal.finish(answer, identities) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the certificate was not renewed; the server will ask again");
                false
            }
        }
    }

    async fn obey(&mut self, command: LinkCommand) {
        if let LinkCommand::Begin { session } = &command {
            self.resync_begun = *session == self.number;
        }
        if !self.resync_begun {
            tracing::debug!("dropped what an earlier session left behind");
            return;
        }
        match command {
            LinkCommand::Control(message) => {
                // The queue is long and the writer gives up a stuck stream, so this wait is short.
                let _ = self.control.send(message).await;
            }
            LinkCommand::Reports { attempt, messages } => {
                if self.tasks.len() < MAX_TASKS {
                    self.tasks
                        .spawn(self.reports.clone().send(attempt, messages));
                }
            }
            LinkCommand::Acquire(request) => {
                let source = BulkSource::new(self.connection.clone());
                let acquirer = Arc::clone(&self.acquirer);
                if self.tasks.len() < MAX_TASKS {
                    self.tasks
                        .spawn(acquire(acquirer, source, request, self.control.clone()));
                }
            }
            LinkCommand::Begin { .. } | LinkCommand::Close => {}
        }
    }
}

/// Whether the server was gone, or one that knows nothing of this connection.
fn vanished(closed: &ConnectionError) -> bool {
    match closed {
        ConnectionError::Reset | ConnectionError::TimedOut => true,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => false,
    }
}

/// Brings packages in and answers, exactly once.
async fn acquire(
    acquirer: Arc<Acquirer>,
    source: BulkSource,
    request: Acquire,
    control: mpsc::Sender<Message>,
) {
    let (number, task) = (request.request, request.task);
    let progress = |done_bytes, total_bytes| {
        let message = AcquireProgress {
            request: number,
            done_bytes,
            total_bytes,
        };
        // Progress gives way when the control stream is busy.
        let _ = control.try_send(message.into());
    };
    let patience = Duration::from_millis(request.deadline_ms.into());
    let work = acquirer.acquire(&source, task, &request.packages, progress);
    let result = tokio::time::timeout(patience, work)
        .await
        .unwrap_or_else(|_elapsed| AcquireResult::Failed {
            reason: AcquireFailure::Network,
            message: format!(
                "the packages were not here within {} s; what came is kept and not sent again",
                patience.as_secs()
            ),
        });
    let answer = AcquireAnswer {
        request: number,
        task,
        result,
    };
    let _ = control.send(answer.into()).await;
}

async fn write_control(
    mut stream: SendStream,
    mut messages: mpsc::Receiver<Message>,
    patience: Duration,
    notices: mpsc::Sender<Notice>,
) {
    while let Some(message) = messages.recv().await {
        match tokio::time::timeout(patience, framed::write(&mut stream, &message)).await {
            Ok(Ok(())) => {}
            Ok(Err(framed::StreamError::Codec(error))) => {
                tracing::error!(message = message.name(), %error, "a message could not be encoded and was dropped");
            }
            Ok(Err(error)) => {
                let _ = notices
                    .send(Notice::Failed(format!("the control stream broke: {error}")))
                    .await;
                return;
            }
            Err(_elapsed) => {
                let why = format!(
                    "the server read nothing of the control stream for {} s",
                    patience.as_secs()
                );
                let _ = notices.send(Notice::Failed(why)).await;
                return;
            }
        }
    }
    let _ = stream.finish();
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, stream.stopped()).await;
}

async fn read_control(
    mut reader: MessageReader,
    connected: LinkEvent,
    events: mpsc::Sender<LinkEvent>,
    control: mpsc::Sender<Message>,
    notices: mpsc::Sender<Notice>,
) {
    let why = match read_until_end(&mut reader, connected, &events, &control, &notices).await {
        Ok(()) => "the server ended the control stream".to_owned(),
        Err(why) => {
            reader.stop(close::PROTOCOL);
            why
        }
    };
    let _ = notices.send(Notice::Failed(why)).await;
}

async fn read_until_end(
    reader: &mut MessageReader,
    connected: LinkEvent,
    events: &mpsc::Sender<LinkEvent>,
    control: &mpsc::Sender<Message>,
    notices: &mpsc::Sender<Notice>,
) -> Result<(), String> {
    hand_up(events, connected).await?;
    loop {
        let message = match reader.next().await {
            Ok(Some(Incoming::Message(message))) => *message,
            Ok(Some(Incoming::Unknown(kind))) => {
                tracing::debug!(
                    kind,
                    "a message of an unknown type was answered with Unsupported"
                );
                let _ = control.send(Unsupported { kind }.into()).await;
                continue;
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                if error.is_peers_fault() {
                    count_bad_stream();
                }
                return Err(format!("the control stream broke: {error}"));
            }
        };
        match message {
            Message::Echo(echo) => {
                let mut payload = echo.payload;
                payload.truncate(MAX_ECHO_BYTES);
                let answer = EchoAnswer {
                    request: echo.request,
                    payload,
                };
                let _ = control.send(answer.into()).await;
            }
            Message::GoAway(go_away) => {
                let retry_after = Duration::from_millis(go_away.retry_after_ms.into());
                tracing::info!(reason = %go_away.reason, "the server goes away");
                let why = format!("the server goes away: {}", go_away.reason);
                let _ = notices.send(Notice::GoAway(retry_after, why)).await;
            }
            Message::CertificateDue(_) => {
                let _ = notices.send(Notice::CertificateDue).await;
            }
            Message::RenewAnswer(answer) => {
                let _ = notices.send(Notice::Renewal(answer)).await;
            }
            Message::Unsupported(unsupported) => {
                tracing::warn!(
                    kind = unsupported.kind,
                    "the server does not know a message that the agent sent; it is older than the agent"
                );
            }
            message => {
                let last = matches!(&message, Message::Resynced(part) if part.last);
                hand_up(events, LinkEvent::Received(message)).await?;
                if last {
                    let _ = notices.send(Notice::Resynced).await;
                }
            }
        }
    }
}

async fn hand_up(events: &mpsc::Sender<LinkEvent>, event: LinkEvent) -> Result<(), String> {
    events
        .send_timeout(event, DRIVER_PATIENCE)
        .await
        .map_err(|_| "the agent's driver does not take events".to_owned())
}

/// Takes the streams that the server opens: it asks for collected files. There are one-way streams to
/// an agent in no version so far, so such a one is refused alone.
async fn take_streams(connection: Connection, artifacts: Artifacts) {
    // Bounded by the number of streams that the transport allows; ends with the session.
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(mut recv) => {
                    let _ = recv.stop(close::PROTOCOL.into());
                    count_bad_stream();
                }
                Err(_closed) => return,
            },
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    serving.spawn(artifacts::serve(send, recv, artifacts.clone()));
                }
                Err(_closed) => return,
            },
            Some(_) = serving.join_next() => {}
        }
    }
}
