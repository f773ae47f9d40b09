//! Variables with answers in them, as retention sees them: they go with the last task that has them, in
//! its transaction. Who only says what would go has them looked at task by task, as they would go.

use std::collections::BTreeSet;

use mantle_domain::ids::{ReleaseId, TaskId};
use mantle_domain::retention::Fate;
use mantle_shared::Digest;
use serde_json::json;

use super::error::Result;
use super::tasks::number;
use super::upkeep::{Mode, Tally};
use super::{Caller, Deed, SHOWN_MOST, Services};
use crate::api::body::RetentionResult;
use crate::store::{
    AnsweredVariables, Leaving, PastTask, Tx, answered_drop_left, answered_list_left,
    task_answered, task_list_of_release,
};

/// Of those that earlier servers left behind, so many in one transaction.
const LEFT: u32 = 100;
const LEFT_BEHIND: &str = "its last task is gone";

/// What one run of retention has removed so far, or would have.
pub(super) struct Going {
    /// Releases, and, of who only says so, the tasks that would go.
    pub(super) leaving: Leaving,
    /// The numbers of the tasks that went by themselves, or would.
    pub(super) tasks: BTreeSet<u64>,
    answered: Tally,
}

impl Default for Going {
    fn default() -> Self {
        Self {
            leaving: Leaving::default(),
            tasks: BTreeSet::new(),
            answered: Tally::new("variables"),
        }
    }
}

impl Going {
    /// Variables went with their tasks.
    pub(super) fn note_all(&mut self, went: &[AnsweredVariables]) {
        for went in went {
            self.note(went);
        }
    }

    fn note(&mut self, went: &AnsweredVariables) {
        let name = format!("{} {}", number(went.task), went.title);
        let fate = Fate::Goes("its last task goes".to_owned());
        self.answered.note(name, &fate, (1, went.size_bytes));
    }

    /// The task went already, or would have.
    pub(super) fn took(&self, task: &PastTask) -> bool {
        self.tasks.contains(&task.number) || self.leaving.tasks.contains(&task.id)
    }

    /// A task would go; notes what would go with it.
    pub(super) async fn task_would_go(&mut self, tx: &mut Tx, task: TaskId) -> Result<()> {
        if let Some(answered) = task_answered(tx, task, &self.leaving).await? {
            self.note(&answered);
        }
        self.leaving.tasks.insert(task);
        Ok(())
    }

    /// A release would go with its tasks; notes what would go with them.
    pub(super) async fn release_would_go(&mut self, tx: &mut Tx, release: ReleaseId) -> Result<()> {
        for task in task_list_of_release(tx, release).await? {
            self.task_would_go(tx, task).await?;
        }
        Ok(())
    }
}

/// Use cases of what answers leave behind.
impl Services {
    /// Removes what earlier servers left behind, and says what went with tasks.
    pub(super) async fn retain_answered(
        &self,
        caller: &Caller,
        mode: Mode,
        mut going: Going,
        result: &mut RetentionResult,
    ) -> Result<()> {
        let fate = Fate::Goes(LEFT_BEHIND.to_owned());
        let mut note = |left: &[(Digest, u64)]| {
            for (digest, size_bytes) in left {
                let name = digest.short();
                going.answered.note(name, &fate, (1, *size_bytes));
            }
        };
        if mode == Mode::Say {
            let mut tx = self.store.read().await?;
            note(&answered_list_left(&mut tx, SHOWN_MOST).await?);
        } else {
            loop {
                let left = self.drop_left(caller).await?;
                note(&left);
                if left.len() < LEFT as usize {
                    break;
                }
            }
        }
        going.answered.into(result);
        Ok(())
    }

    async fn drop_left(&self, caller: &Caller) -> Result<Vec<(Digest, u64)>> {
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let left = answered_drop_left(&mut tx, LEFT).await?;
        if !left.is_empty() {
            let deed = Deed {
                action: "variables.remove",
                subject: "answers",
                id: None,
                detail: json!({ "why": LEFT_BEHIND, "snapshots": left.len() }),
            };
            caller.audit(&mut tx, now, deed).await?;
            tx.commit().await?;
        }
        Ok(left)
    }
}
