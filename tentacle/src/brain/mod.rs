//! The brain: what the agent does about what happens. Pure: no clock, no file, no socket.
//!
//! ```text
//! decide(input) -> Decision { records, then, otherwise }
//! ```
//!
//! The driver writes the records to the journal; if that succeeds it gives them back by
//! [`Brain::commit`] and carries out `then`; if not, it asks [`Brain::failed`] what to do instead.
//! So nothing is done that is not in the journal, and what the brain knows is what the journal says.
//!
//! Rules that hold here:
//! - a start is "ensure started": the same id twice is one spawn and equal answers;
//! - an order of an older epoch of its task is refused; a server whose counter is below what was seen
//!   is a restored backup and is obeyed in nothing;
//! - an attempt is forgotten only when the server says that its end is stored, or, thirty days after
//!   its end, that it does not know it;
//! - a cancel of what was never seen makes sure that it never starts.

mod types;

use mantle_shared::fault;
use mantle_shared::protocol::{
    AcquireAnswer, AcquireFailure, AcquireResult, AttemptEnd, AttemptPosition, AttemptReport,
    CancelAnswer, CancelResult, ReportedState, StartAnswer, StartRefusal, StartResult, Welcome,
};
use mantle_shared::{AttemptId, TaskId};

use crate::journal::{Ledger, Phase, REMEMBER_US, Record, Weight};
pub use types::{
    BrainConfig, Cancel, Claims, Decision, Effect, Input, JournalFailure, Otherwise, Start,
};

/// The agent's mind.
#[derive(Debug)]
pub struct Brain {
    config: BrainConfig,
    ledger: Ledger,
    server: Server,
    draining: bool,
    /// The highest epoch that a server named when it took the agent in, also if the journal did not
    /// take it.
    unwritten_epoch: u64,
}

/// Where the agent stands with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Not connected.
    Away,
    /// Connected; the epoch is at least what was seen.
    Trusted,
    /// Connected to a restored backup.
    Stale,
}

impl Brain {
    /// A brain that remembers this much.
    pub fn new(config: BrainConfig, ledger: Ledger) -> Self {
        Self {
            config,
            ledger,
            server: Server::Away,
            draining: false,
            unwritten_epoch: 0,
        }
    }

    /// What the journal adds up to.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Goes on with this ledger: the same without what need not be remembered any more.
    pub fn remember(&mut self, ledger: Ledger) {
        self.ledger = ledger;
    }

    /// Whether the server is a restored backup.
    pub fn is_stale(&self) -> bool {
        self.server == Server::Stale
    }

    /// What is to be done about this.
    pub fn decide(&mut self, now_us: i64, input: Input) -> Decision {
        match input {
            Input::Connected(welcome) => self.connected(now_us, &welcome),
            Input::Disconnected => {
                self.server = Server::Away;
                Decision::just(vec![Effect::StopShipping])
            }
            Input::Resynced(positions) => self.positions(now_us, &positions, true),
            Input::Acknowledged(positions) => self.positions(now_us, &positions, false),
            Input::Start(start) => self.start(now_us, start),
            Input::Cancel(cancel) => self.cancel(now_us, cancel),
            Input::Acquire(acquire) => self.acquire(now_us, acquire),
            Input::Spawned { attempt, process } => match self.phase(attempt) {
                Some(Phase::Accepted(_)) => Decision {
                    records: vec![Record::Spawned { attempt, process }],
                    // The claim in the attempt's folder says the same.
                    weight: Weight::Settles,
                    then: Vec::new(),
                    otherwise: Otherwise::Nothing,
                },
                Some(
                    Phase::Spawned(..) | Phase::Ended(..) | Phase::Acknowledged(..) | Phase::Voided,
                )
                | None => Decision::default(),
            },
            Input::Ended { attempt, end } => self.ended(attempt, end),
            Input::Drain => {
                self.draining = true;
                Decision::default()
            }
        }
    }

    /// These records are on the disk.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), crate::journal::Illegal> {
        records
            .iter()
            .try_for_each(|record| self.ledger.apply(record))
    }

    /// What is to be done since the records could not be written.
    pub fn failed(&self, otherwise: Otherwise, failure: JournalFailure) -> Vec<Effect> {
        match otherwise {
            Otherwise::Nothing => Vec::new(),
            Otherwise::Resync => vec![Effect::Resync],
            Otherwise::RefuseStart { request, attempt } => {
                let reason = match failure {
                    JournalFailure::NoSpace => StartRefusal::NoSpace,
                    JournalFailure::Other => StartRefusal::Journal,
                };
                let message = match failure {
                    JournalFailure::NoSpace => "the agent's disk is full; free some room there",
                    JournalFailure::Other => "the agent's journal could not be written",
                };
                let refusal = refuse(request, attempt, reason, message);
                self.with_discard(attempt, refusal)
            }
            Otherwise::FailCancel { request, attempt } => {
                vec![answer_cancel(request, attempt, CancelResult::Failed)]
            }
            Otherwise::FailAcquire { request, task } => {
                let reason = match failure {
                    JournalFailure::NoSpace => AcquireFailure::NoSpace,
                    JournalFailure::Other => AcquireFailure::Disk,
                };
                let message = "the agent's journal could not be written".to_owned();
                let result = AcquireResult::Failed { reason, message };
                let answer = AcquireAnswer {
                    request,
                    task,
                    result,
                };
                vec![Effect::Send(answer.into())]
            }
            Otherwise::EndLater { attempt, end } => vec![Effect::EndLater { attempt, end }],
        }
    }

    /// Everything that the server was not told or has not stored.
    pub fn reports(&self) -> Vec<AttemptReport> {
        self.ledger
            .unacknowledged()
            .filter_map(|(attempt, entry)| {
                let (state, records) = match &entry.phase {
                    Phase::Accepted(_) => (ReportedState::Accepted, 0),
                    Phase::Spawned(..) => (ReportedState::Running, 0),
                    Phase::Ended(_, end) => (ReportedState::Ended(end.clone()), end.records),
                    Phase::Acknowledged(..) | Phase::Voided => return None,
                };
                Some(AttemptReport {
                    attempt,
                    task: entry.task,
                    epoch: entry.epoch,
                    state,
                    records,
                })
            })
            .collect()
    }

    fn phase(&self, attempt: AttemptId) -> Option<&Phase> {
        self.ledger.get(attempt).map(|entry| &entry.phase)
    }

    fn connected(&mut self, now_us: i64, welcome: &Welcome) -> Decision {
        let highest = self.ledger.highest_epoch().max(self.unwritten_epoch);
        self.unwritten_epoch = highest.max(welcome.epoch);
        self.server = if welcome.epoch < highest {
            Server::Stale
        } else {
            Server::Trusted
        };
        let mut records = Vec::new();
        if welcome.epoch > self.ledger.highest_epoch() {
            records.push(Record::EpochSeen {
                task: None,
                epoch: welcome.epoch,
                at_us: now_us,
            });
        }
        Decision {
            records,
            weight: Weight::Settles,
            then: vec![Effect::Resync],
            // A disk that takes no record is the more reason to send what is on it; the next order
            // carries its epoch again, and nothing is started that is not recorded.
            otherwise: Otherwise::Resync,
        }
    }

    fn positions(&mut self, now_us: i64, positions: &[AttemptPosition], resync: bool) -> Decision {
        match self.server {
            Server::Trusted => {}
            // A backup may have stored less than it once said; what it says is no leave to forget.
            Server::Stale | Server::Away => return Decision::default(),
        }
        let mut decision = Decision {
            weight: Weight::Settles,
            ..Decision::default()
        };
        for position in positions {
            let attempt = position.attempt;
            if !position.known {
                // Another server's, or one that this server's backup knows nothing of. It may yet be
                // that server's again, but not for ever.
                if let Some(Phase::Ended(_, end)) = self.phase(attempt)
                    && end.ended_at_us < now_us.saturating_sub(REMEMBER_US)
                {
                    decision.records.push(Record::Acknowledged { attempt });
                    decision.then.push(Effect::Forget { attempt });
                }
                continue;
            }
            match self.phase(attempt) {
                Some(Phase::Ended(..)) if position.end_stored => {
                    decision.records.push(Record::Acknowledged { attempt });
                    decision.then.push(Effect::Forget { attempt });
                }
                Some(Phase::Ended(..) | Phase::Accepted(_) | Phase::Spawned(..)) => {
                    let from_seq = position.next_seq;
                    decision.then.push(if resync {
                        Effect::Ship { attempt, from_seq }
                    } else {
                        Effect::Stored {
                            attempt,
                            next_seq: from_seq,
                        }
                    });
                }
                Some(Phase::Acknowledged(..) | Phase::Voided) | None => {}
            }
        }
        decision
    }

    fn start(&mut self, now_us: i64, start: Start) -> Decision {
        let Start {
            request,
            epoch,
            task,
            attempt,
            payload,
            ..
        } = start;
        if let Some(reason) = self.distrust(task, epoch) {
            let (reason, message) = match reason {
                Distrust::Stale => (
                    StartRefusal::StaleServer,
                    "this server's counter is below what this agent has seen: it is a restored backup, and nothing is obeyed until it runs on its newest data again",
                ),
                Distrust::Fenced => (StartRefusal::Fenced, "a newer holder of this task was seen"),
            };
            let refusal = refuse(request, attempt, reason, message);
            return Decision::just(self.with_discard(attempt, refusal));
        }
        let known = match self.phase(attempt) {
            None => None,
            Some(Phase::Accepted(_) | Phase::Spawned(..)) if fault::sabotaged("starts-again") => {
                None
            }
            Some(Phase::Acknowledged(..)) if fault::sabotaged("tombstones-forgotten") => None,
            Some(Phase::Voided) => {
                let message = "the attempt was cancelled before it started";
                return Decision::just(vec![refuse(
                    request,
                    attempt,
                    StartRefusal::Voided,
                    message,
                )]);
            }
            Some(Phase::Accepted(known) | Phase::Spawned(known, _)) => {
                Some((*known, StartResult::Accepted, true))
            }
            Some(Phase::Ended(known, end)) => Some((*known, StartResult::Ended(end.clone()), true)),
            Some(Phase::Acknowledged(known, end)) => {
                Some((*known, StartResult::Ended(end.clone()), false))
            }
        };
        let Some((known, result, unsent)) = known else {
            return self.start_new(now_us, start);
        };
        if known != payload {
            let message = "an attempt of this id was accepted with another order";
            return Decision::just(vec![refuse(
                request,
                attempt,
                StartRefusal::Conflict,
                message,
            )]);
        }
        let mut then = vec![Effect::Send(
            StartAnswer {
                request,
                attempt,
                result,
            }
            .into(),
        )];
        if unsent {
            // The server knows it now, if it did not at the resync.
            then.push(Effect::ShipIfIdle { attempt });
        }
        self.seen(
            now_us,
            task,
            epoch,
            then,
            Otherwise::RefuseStart { request, attempt },
        )
    }

    fn start_new(&mut self, now_us: i64, start: Start) -> Decision {
        let Start {
            request,
            epoch,
            task,
            attempt,
            payload,
            order,
            workspace,
        } = start;
        let refusal = |reason, message: &str| {
            let refusal = refuse(request, attempt, reason, message);
            Decision::just(self.with_discard(attempt, refusal))
        };
        if self.draining {
            return refusal(StartRefusal::Draining, "the agent is going down");
        }
        let claims = match order {
            Ok(claims) => claims,
            Err(message) => return refusal(StartRefusal::BadOrder, &message),
        };
        if let Some((lock, holder)) = self.ledger.holder(&claims.locks, &claims.despite) {
            let message = format!("the lock '{lock}' is held here by attempt {holder}");
            return refusal(StartRefusal::Busy, &message);
        }
        if self.ledger.open().count() >= self.config.most_attempts {
            let message = format!(
                "the agent runs {} attempts already",
                self.config.most_attempts
            );
            return refusal(StartRefusal::Busy, &message);
        }
        if let Err(failure) = workspace {
            let effects = self.failed(Otherwise::RefuseStart { request, attempt }, failure);
            return Decision::just(effects);
        }
        Decision {
            records: vec![Record::Accepted {
                attempt,
                task,
                epoch,
                payload,
                at_us: now_us,
                locks: claims.locks,
            }],
            weight: Weight::Begins,
            then: vec![
                Effect::Spawn { attempt },
                Effect::Send(
                    StartAnswer {
                        request,
                        attempt,
                        result: StartResult::Accepted,
                    }
                    .into(),
                ),
                Effect::Ship {
                    attempt,
                    from_seq: 0,
                },
            ],
            otherwise: Otherwise::RefuseStart { request, attempt },
        }
    }

    fn cancel(&mut self, now_us: i64, cancel: Cancel) -> Decision {
        let Cancel {
            request,
            epoch,
            task,
            attempt,
            grace_ms,
        } = cancel;
        if self.distrust(task, epoch).is_some() {
            return Decision::just(vec![answer_cancel(request, attempt, CancelResult::Fenced)]);
        }
        let otherwise = Otherwise::FailCancel { request, attempt };
        let cancelling = self
            .ledger
            .get(attempt)
            .is_some_and(|entry| entry.cancel.is_some());
        match self.phase(attempt) {
            None => Decision {
                records: vec![Record::Voided {
                    attempt,
                    task,
                    epoch,
                    at_us: now_us,
                }],
                weight: Weight::Settles,
                then: vec![answer_cancel(request, attempt, CancelResult::Voided)],
                otherwise,
            },
            Some(Phase::Voided) => {
                let then = vec![answer_cancel(request, attempt, CancelResult::Voided)];
                self.seen(now_us, task, epoch, then, otherwise)
            }
            Some(Phase::Ended(_, end) | Phase::Acknowledged(_, end)) => {
                let result = CancelResult::Ended(end.clone());
                let then = vec![answer_cancel(request, attempt, result)];
                self.seen(now_us, task, epoch, then, otherwise)
            }
            Some(Phase::Accepted(_) | Phase::Spawned(..)) => {
                let then = vec![
                    Effect::WriteCancel { attempt, grace_ms },
                    answer_cancel(request, attempt, CancelResult::Cancelling),
                ];
                if cancelling {
                    return self.seen(now_us, task, epoch, then, otherwise);
                }
                Decision {
                    records: vec![Record::CancelRequested {
                        attempt,
                        epoch,
                        grace_ms,
                    }],
                    weight: Weight::Settles,
                    then,
                    otherwise,
                }
            }
        }
    }

    fn acquire(&mut self, now_us: i64, acquire: mantle_shared::protocol::Acquire) -> Decision {
        let (request, task, epoch) = (acquire.request, acquire.task, acquire.epoch);
        let refusal = if self.distrust(task, epoch).is_some() {
            Some((
                AcquireFailure::Fenced,
                "a newer holder of this task was seen, or the server is a restored backup",
            ))
        } else if self.draining {
            Some((AcquireFailure::Draining, "the agent is going down"))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            let result = AcquireResult::Failed {
                reason,
                message: message.to_owned(),
            };
            let answer = AcquireAnswer {
                request,
                task,
                result,
            };
            return Decision::just(vec![Effect::Send(answer.into())]);
        }
        let then = vec![Effect::Acquire(acquire)];
        self.seen(
            now_us,
            task,
            epoch,
            then,
            Otherwise::FailAcquire { request, task },
        )
    }

    fn ended(&mut self, attempt: AttemptId, end: AttemptEnd) -> Decision {
        match self.phase(attempt) {
            Some(Phase::Accepted(_) | Phase::Spawned(..)) => Decision {
                records: vec![Record::Finished {
                    attempt,
                    end: end.clone(),
                }],
                weight: Weight::Settles,
                then: vec![Effect::Complete {
                    attempt,
                    end: end.clone(),
                }],
                otherwise: Otherwise::EndLater { attempt, end },
            },
            // The first end counts.
            Some(Phase::Ended(..) | Phase::Acknowledged(..) | Phase::Voided) | None => {
                Decision::default()
            }
        }
    }

    /// Records that this task was spoken for under this epoch, if that is news, and then goes on.
    fn seen(
        &self,
        now_us: i64,
        task: TaskId,
        epoch: u64,
        then: Vec<Effect>,
        otherwise: Otherwise,
    ) -> Decision {
        if epoch <= self.ledger.task_epoch(task) {
            return Decision::just(then);
        }
        Decision {
            records: vec![Record::EpochSeen {
                task: Some(task),
                epoch,
                at_us: now_us,
            }],
            weight: Weight::Settles,
            then,
            otherwise,
        }
    }

    /// A refusal of a start, and the removal of the folder that was prepared for it. The folder of an
    /// attempt that is known is its own: it may be running in it.
    fn with_discard(&self, attempt: AttemptId, refusal: Effect) -> Vec<Effect> {
        match self.phase(attempt) {
            None => vec![Effect::Discard { attempt }, refusal],
            Some(_) => vec![refusal],
        }
    }

    fn distrust(&self, task: TaskId, epoch: u64) -> Option<Distrust> {
        match self.server {
            Server::Stale => Some(Distrust::Stale),
            Server::Away | Server::Trusted => {
                let fenced = epoch < self.ledger.task_epoch(task);
                (fenced && !fault::sabotaged("older-epochs-obeyed")).then_some(Distrust::Fenced)
            }
        }
    }
}

/// Why an order is not obeyed.
enum Distrust {
    Stale,
    Fenced,
}

fn refuse(request: u64, attempt: AttemptId, reason: StartRefusal, message: &str) -> Effect {
    let result = StartResult::Refused {
        reason,
        message: message.to_owned(),
    };
    Effect::Send(
        StartAnswer {
            request,
            attempt,
            result,
        }
        .into(),
    )
}

fn answer_cancel(request: u64, attempt: AttemptId, result: CancelResult) -> Effect {
    Effect::Send(
        CancelAnswer {
            request,
            attempt,
            result,
        }
        .into(),
    )
}

#[cfg(test)]
mod lock_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
