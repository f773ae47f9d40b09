//! The packages of a task that runs: what is fetched before the first step, by whom, and how far that
//! is. What was decided stands in the task's events; how far it is only its agent says, and who is
//! away only the gateway knows.

use mantle_domain::plan::Plan;
use mantle_domain::state::{Acquisition, AcquisitionStatus, State};
use mantle_shared::ids::{TargetId, TaskId};

use super::{Arrived, Services};
use crate::api::body::{PackagesView, WorkState};

impl Services {
    /// One entry a target whose agent fetches any.
    pub(super) fn packages_on_the_way(&self, task: TaskId, state: &State) -> Vec<PackagesView> {
        let Some(plan) = state.plan.as_deref() else {
            return Vec::new();
        };
        let is_over = state.is_finished();
        let entries = state.acquisitions.iter();
        entries
            .map(|(target, known)| {
                let seen = Seen {
                    is_over,
                    is_there: self.presence.is_online(known.agent),
                    arrived: self.presence.arrived(task, known.agent),
                };
                view(&name(plan, *target), known, seen)
            })
            .collect()
    }
}

/// What the events do not say.
#[derive(Clone, Copy)]
struct Seen {
    /// The task has ended.
    is_over: bool,
    /// The agent is connected.
    is_there: bool,
    /// How far its agent says it is.
    arrived: Option<Arrived>,
}

fn view(target: &str, known: &Acquisition, seen: Seen) -> PackagesView {
    let (state, message) = match &known.status {
        AcquisitionStatus::Pending | AcquisitionStatus::Ordered { .. } if seen.is_over => {
            (WorkState::Cancelled, String::new())
        }
        AcquisitionStatus::Pending | AcquisitionStatus::Ordered { .. } if !seen.is_there => (
            WorkState::Waiting,
            format!("waits for the agent of {target} to connect"),
        ),
        AcquisitionStatus::Pending => (WorkState::Waiting, String::new()),
        AcquisitionStatus::Ordered { .. } => (WorkState::Running, String::new()),
        AcquisitionStatus::Waiting { message, .. } => (WorkState::Waiting, message.clone()),
        AcquisitionStatus::Done {
            fetched_bytes,
            reused_bytes,
        } => (
            WorkState::Succeeded,
            format!("{fetched_bytes} bytes sent, {reused_bytes} bytes reused"),
        ),
        AcquisitionStatus::Failed { message } => (WorkState::Failed, message.clone()),
    };
    // One that waits goes on from there.
    let is_open = matches!(state, WorkState::Running | WorkState::Waiting);
    let arrived = seen.arrived.filter(|_| is_open);
    PackagesView {
        target: target.to_owned(),
        state,
        done_bytes: arrived.map(|arrived| arrived.done_bytes),
        total_bytes: arrived.map(|arrived| arrived.total_bytes),
        message,
    }
}

fn name(plan: &Plan, target: TargetId) -> String {
    plan.target(target)
        .map_or_else(|| target.to_string(), |target| target.name.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use mantle_shared::ids::AgentId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_on_its_way_says_how_far_it_is_and_whom_it_waits_for() {
        use AcquisitionStatus::{Done, Failed, Ordered, Pending, Waiting};
        let now = Timestamp::UNIX_EPOCH;
        let half = Some(Arrived {
            done_bytes: 40,
            total_bytes: 80,
        });
        let away = "waits for the agent of db1 to connect";
        let disk = || "no room".to_owned();
        // (status, connected, over, arrived) -> (state, bytes, message)
        let table = [
            (Pending, true, false, None, (WorkState::Waiting, None, "")),
            (
                Pending,
                false,
                false,
                None,
                (WorkState::Waiting, None, away),
            ),
            (
                Ordered { since: now },
                true,
                false,
                half,
                (WorkState::Running, Some((40, 80)), ""),
            ),
            (
                Ordered { since: now },
                false,
                false,
                half,
                (WorkState::Waiting, Some((40, 80)), away),
            ),
            (
                Ordered { since: now },
                false,
                true,
                half,
                (WorkState::Cancelled, None, ""),
            ),
            (
                Waiting {
                    until: now,
                    message: disk(),
                },
                true,
                false,
                half,
                (WorkState::Waiting, Some((40, 80)), "no room"),
            ),
            (
                Done {
                    fetched_bytes: 60,
                    reused_bytes: 20,
                },
                false,
                false,
                half,
                (WorkState::Succeeded, None, "60 bytes sent, 20 bytes reused"),
            ),
            (
                Failed { message: disk() },
                true,
                true,
                half,
                (WorkState::Failed, None, "no room"),
            ),
        ];
        for (status, is_there, is_over, arrived, (state, bytes, message)) in table {
            let known = Acquisition {
                agent: AgentId::from_uuid(Uuid::from_u128(1)),
                packages: Vec::new(),
                status,
                deadline: now,
            };
            let seen = Seen {
                is_over,
                is_there,
                arrived,
            };
            let shown = view("db1", &known, seen);
            let said = (shown.state, shown.done_bytes.zip(shown.total_bytes));
            assert_eq!(said, (state, bytes), "{known:?}");
            assert_eq!(shown.message, message, "{known:?}");
        }
    }
}
