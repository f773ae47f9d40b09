//! Carrying out what is outstanding: telling agents, once on each connection.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use mantle_domain::plan::NodeRef;
use mantle_domain::state::{Effect, Input, Sent, outstanding};
use mantle_shared::fault;
use mantle_shared::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::{Acquire, CancelAttempt, Message, PackageGrant, StartAttempt};

use super::Orchestrator;
use super::active::Order;
use super::orders::Unmade;
use crate::gateway::SessionId;

/// An agent answers a start or a cancel from its journal, which takes milliseconds.
pub(super) const ANSWER_MS: u32 = 60_000;

impl Orchestrator {
    /// Sends what is outstanding of a deployment to the agents that are there.
    pub(super) async fn carry_out(&mut self, task: TaskId) {
        let Some(deployment) = self.deployments.get(&task) else {
            return;
        };
        let mut unable = Vec::new();
        for effect in outstanding(&deployment.state) {
            let order = Order::from(&effect);
            let agent = effect.agent();
            let Some(session) = self.parts.online.session(agent) else {
                continue;
            };
            let sent = self
                .deployments
                .get(&task)
                .and_then(|d| d.sent.get(&order))
                .copied();
            let said_once = sent.is_some()
                && matches!(order, Order::Cancel(_))
                && fault::sabotaged("cancels-not-repeated");
            if sent == Some(session) || said_once {
                continue;
            }
            match self.message(task, effect).await {
                Ok(message) => self.send(task, order, agent, session, message),
                Err((attempt, Unmade::Never(message))) => unable.push((attempt, message)),
                Err((_, Unmade::Later(error))) => {
                    tracing::warn!(
                        task.id = %task,
                        error = &error as &dyn std::error::Error,
                        "an order cannot be made just now; it is tried again"
                    );
                    if let Some(deployment) = self.deployments.get_mut(&task) {
                        deployment.again.insert(order);
                    }
                }
            }
        }
        self.give_up(task, unable).await;
    }

    fn send(
        &mut self,
        task: TaskId,
        order: Order,
        agent: AgentId,
        session: SessionId,
        message: Message,
    ) {
        if self.parts.sessions.send(agent, session, message)
            && let Some(deployment) = self.deployments.get_mut(&task)
        {
            deployment.sent.insert(order, session);
        }
    }

    /// Sends what could not be made before, and asks again for what was not taken.
    pub(super) async fn send_again(&mut self) {
        let mut tasks = Vec::new();
        for (task, deployment) in &mut self.deployments {
            let busy = std::mem::take(&mut deployment.busy);
            if !busy.is_empty() {
                tasks.push(*task);
            }
            for attempt in busy {
                // Its agent said that it has not taken it: it is as if it had not been sent.
                deployment.sent.remove(&Order::Start(attempt));
            }
            let again = std::mem::take(&mut deployment.again);
            if !again.is_empty() {
                tasks.push(*task);
            }
            for order in again {
                match order {
                    Order::Cancel(_) => {
                        deployment.sent.remove(&order);
                    }
                    // On which connection it was sent is kept: that it was is known by that.
                    Order::Acquire(_) | Order::Start(_) => {}
                }
            }
        }
        for task in tasks {
            self.carry_out(task).await;
            self.retire(task);
        }
    }

    /// An attempt whose order cannot be made did not start, if none of it has left before.
    async fn give_up(&mut self, task: TaskId, unable: Vec<(AttemptId, String)>) {
        if unable.is_empty() {
            return;
        }
        let inputs = unable
            .into_iter()
            .map(|(attempt, message)| {
                let perhaps = self.deployments.get(&task).is_none_or(|deployment| {
                    deployment.inherited.contains(&attempt)
                        || deployment.sent.contains_key(&Order::Start(attempt))
                });
                let sent = if perhaps { Sent::Perhaps } else { Sent::Never };
                Input::OrderImpossible {
                    attempt,
                    sent,
                    message,
                }
            })
            .collect();
        let mut inputs = [(task, inputs)].into();
        let decided = self.decide(&mut inputs, Timestamp::now());
        let committed = Box::pin(self.commit(decided, &super::turn::Turn::default())).await;
        for task in committed.touched {
            Box::pin(self.carry_out(task)).await;
        }
    }

    async fn message(
        &mut self,
        task: TaskId,
        effect: Effect,
    ) -> Result<Message, (AttemptId, Unmade)> {
        self.requests += 1;
        let request = self.requests;
        let epoch = self
            .deployments
            .get(&task)
            .map_or(0, |deployment| deployment.epoch);
        match effect {
            Effect::Acquire {
                agent,
                packages,
                deadline,
                ..
            } => {
                self.parts
                    .grants
                    .give(agent, task, packages.iter().map(|package| package.root));
                self.parts.online.transfers.ordered(task, agent, request);
                let left = deadline.duration_since(Timestamp::now()).as_millis().max(0);
                Ok(Acquire {
                    request,
                    deadline_ms: u32::try_from(left).unwrap_or(u32::MAX),
                    epoch,
                    task,
                    packages: packages.iter().map(grant).collect(),
                }
                .into())
            }
            Effect::Start { attempt, node, .. } => {
                let order = self
                    .order(task, attempt, node)
                    .await
                    .map_err(|unmade| (attempt, unmade))?;
                let deadline_ms = ANSWER_MS;
                Ok(StartAttempt {
                    request,
                    deadline_ms,
                    epoch,
                    task,
                    attempt,
                    order,
                }
                .into())
            }
            Effect::Cancel { attempt, node, .. } => {
                let (deadline_ms, grace_ms) = (ANSWER_MS, self.grace_ms(task, node));
                Ok(CancelAttempt {
                    request,
                    deadline_ms,
                    epoch,
                    task,
                    attempt,
                    grace_ms,
                }
                .into())
            }
        }
    }

    fn grace_ms(&self, task: TaskId, node: NodeRef) -> u32 {
        self.deployments
            .get(&task)
            .and_then(|deployment| deployment.state.plan.as_ref()?.action(node))
            .map_or(0, |action| {
                u32::try_from(action.grace_ms).unwrap_or(u32::MAX)
            })
    }
}

fn grant(package: &OrderPackage) -> PackageGrant {
    PackageGrant {
        id: package.id.clone(),
        version: package.version.clone(),
        root: package.root,
        size_bytes: package.size_bytes,
    }
}

/// The wall clock, in microseconds since 1970.
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
