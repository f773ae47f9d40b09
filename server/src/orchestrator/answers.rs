//! What agents answer to orders, as inputs for the deployments that gave them.

use mantle_domain::state::{AcquireEnd, CancelAnswer, Input, StartAnswer};
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::protocol::{
    self as wire, AcquireFailure, AcquireResult, CancelResult, Level, StartRefusal, StartResult,
};

use super::Orchestrator;
use super::active::Order;
use super::turn::Turn;
use crate::gateway::Counters;
use crate::services::whose;

impl Orchestrator {
    pub(super) fn start_answered(
        &mut self,
        agent: AgentId,
        answer: wire::StartAnswer,
        turn: &mut Turn,
    ) {
        let attempt = answer.attempt;
        let Some(task) = self.task_of(agent, attempt) else {
            self.stray(agent, "start");
            return;
        };
        let answer = match answer.result {
            // The end of one that is over comes on its own stream, or is stored already.
            StartResult::Accepted | StartResult::Ended(_) => {
                if let Some(deployment) = self.deployments.get_mut(&task) {
                    deployment.put_off.remove(&attempt);
                }
                StartAnswer::Accepted
            }
            StartResult::Refused { reason, message } => {
                if reason == StartRefusal::Busy
                    && let Some(deployment) = self.deployments.get_mut(&task)
                {
                    deployment.busy.insert(attempt);
                    let said = deployment.put_off.get(&attempt);
                    if said != Some(&message) {
                        deployment.put_off.insert(attempt, message.clone());
                        turn.put_off.push((task, attempt, message.clone()));
                    }
                }
                StartAnswer::Refused { reason, message }
            }
        };
        turn.input(task, Input::StartAnswered { attempt, answer });
    }

    /// Says in the tasks' logs which attempts their agents do not take yet, and why: by our books they run.
    pub(super) async fn tell_put_off(&self, turn: &Turn) {
        for (task, attempt, why) in &turn.put_off {
            let step = whose(&self.parts.store, *task, *attempt).await;
            let text = format!("{step} is not begun yet: {why}; its agent is asked again");
            self.tell(*task, Level::Info, text).await;
        }
    }

    pub(super) fn cancel_answered(
        &mut self,
        agent: AgentId,
        answer: wire::CancelAnswer,
        turn: &mut Turn,
    ) {
        let attempt = answer.attempt;
        let Some(task) = self.task_of(agent, attempt) else {
            self.stray(agent, "cancel");
            return;
        };
        let answer = match answer.result {
            CancelResult::Cancelling | CancelResult::Ended(_) => CancelAnswer::Cancelling,
            CancelResult::Voided => CancelAnswer::Voided,
            CancelResult::Fenced => {
                tracing::error!(agent.id = %agent, attempt.id = %attempt, "the agent says that another server holds the task");
                return;
            }
            CancelResult::Failed => {
                // Its journal cannot be written. It is asked again, but not at once, or it would
                // answer as fast as the network lets it.
                if let Some(deployment) = self.deployments.get_mut(&task) {
                    deployment.again.insert(Order::Cancel(attempt));
                }
                return;
            }
        };
        turn.input(task, Input::CancelAnswered { attempt, answer });
    }

    pub(super) fn acquire_answered(
        &mut self,
        agent: AgentId,
        answer: wire::AcquireAnswer,
        turn: &mut Turn,
    ) {
        let task = answer.task;
        let transfers = &self.parts.online.transfers;
        transfers.answered(task, agent, answer.request);
        let Some(deployment) = self.deployments.get_mut(&task) else {
            self.stray(agent, "acquisition");
            return;
        };
        let target = deployment
            .state
            .acquisitions
            .iter()
            .find(|(_, acquisition)| acquisition.agent == agent)
            .map(|(target, _)| *target);
        let Some(target) = target else {
            self.stray(agent, "acquisition");
            return;
        };
        deployment.sent.remove(&Order::Acquire(target));
        let end = match answer.result {
            AcquireResult::Acquired {
                fetched_bytes,
                reused_bytes,
            } => AcquireEnd::Done {
                fetched_bytes,
                reused_bytes,
            },
            AcquireResult::Failed { reason, message } => {
                let transient = match reason {
                    AcquireFailure::Network | AcquireFailure::Disk | AcquireFailure::Draining => {
                        true
                    }
                    AcquireFailure::NoSpace
                    | AcquireFailure::Refused
                    | AcquireFailure::Corrupt
                    | AcquireFailure::Fenced
                    | AcquireFailure::Platform => false,
                };
                AcquireEnd::Failed { message, transient }
            }
        };
        turn.input(task, Input::AcquireEnded { target, end });
    }

    /// An answer to nothing that is asked, such as that of a request which was given up.
    fn stray(&self, agent: AgentId, request: &'static str) {
        Counters::count(&self.parts.counters.stray_answers);
        tracing::debug!(agent.id = %agent, request, "an answer to nothing that was asked was ignored");
    }

    /// The deployment of an attempt that this agent was ordered to run; nothing if it was another.
    fn task_of(&self, agent: AgentId, attempt: AttemptId) -> Option<TaskId> {
        let task = *self.attempts.get(&attempt)?;
        let known = self.deployments.get(&task)?.state.attempts.get(&attempt)?;
        (known.agent == agent).then_some(task)
    }
}
