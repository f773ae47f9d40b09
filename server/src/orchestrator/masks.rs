//! The secrets that a task's deployment may come to know, ready to be looked for in what its agents
//! say.
//!
//! What must hold: nothing that an agent said is stored unless it went through the masks of its task;
//! if these cannot be had, it is held back. They are kept for the tasks that spoke last, so that
//! their memory is bounded; whatever is dropped can be had again from the database.

use std::collections::HashMap;
use std::sync::Arc;

use mantle_domain::variable::secrets_in_scope;
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::mask::{MaskSet, TooManySecrets};
use zeroize::Zeroizing;

use super::active::About;
use super::admit::load_context;
use super::orders::{OrderSecrets, SecretError};
use crate::store::{Store, StoreError, log_sealed_variables, secret_version_fetch, task_fetch};

/// How many tasks' masks are kept, and how large they may be together.
const TASKS: usize = 256;
const BYTES: usize = 64 * 1024 * 1024;

/// Why what a task's agents say cannot be masked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmaskable {
    /// What the deployment is made of cannot be read.
    #[error("what the deployment is made of cannot be read: {0}")]
    Store(#[from] StoreError),
    /// One of its secrets cannot be opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// They are too large.
    #[error(transparent)]
    TooMany(#[from] TooManySecrets),
}

/// The masks of the tasks that spoke last.
pub(super) struct Masks {
    store: Store,
    secrets: Arc<dyn OrderSecrets>,
    tasks: HashMap<TaskId, Known>,
    /// Counts the uses, to find the one that was not used for longest.
    uses: u64,
}

struct Known {
    set: Arc<MaskSet>,
    secrets: Vec<Zeroizing<String>>,
    used: u64,
}

impl Masks {
    pub(super) fn new(store: Store, secrets: Arc<dyn OrderSecrets>) -> Self {
        Self {
            store,
            secrets,
            tasks: HashMap::new(),
            uses: 0,
        }
    }

    /// What is to be looked for in what this task's agents say.
    pub(super) async fn of(&mut self, task: TaskId) -> Result<Arc<MaskSet>, Unmaskable> {
        self.uses += 1;
        if let Some(known) = self.tasks.get_mut(&task) {
            known.used = self.uses;
            return Ok(Arc::clone(&known.set));
        }
        let secrets = self.read(task).await?;
        let set = Arc::new(build(&secrets)?);
        self.keep(
            task,
            Known {
                set: Arc::clone(&set),
                secrets,
                used: self.uses,
            },
        );
        Ok(set)
    }

    /// A sensitive output variable that is about to be stored is a secret from here on. One that
    /// cannot be opened is no text of ours: the agent sent something else, and it stays as it is, a
    /// value that nothing can read.
    pub(super) async fn learn(
        &mut self,
        task: TaskId,
        attempt: AttemptId,
        name: &str,
        sealed: &str,
    ) -> Result<Arc<MaskSet>, Unmaskable> {
        let set = self.of(task).await?;
        let Some(secret) = self.open(attempt, name, sealed) else {
            return Ok(set);
        };
        let Some(known) = self.tasks.get_mut(&task) else {
            return Ok(set);
        };
        if known.secrets.contains(&secret) {
            return Ok(set);
        }
        known.secrets.push(secret);
        match build(&known.secrets) {
            Ok(set) => {
                known.set = Arc::new(set);
                Ok(Arc::clone(&known.set))
            }
            Err(error) => {
                self.tasks.remove(&task);
                Err(error.into())
            }
        }
    }

    fn open(&self, attempt: AttemptId, name: &str, sealed: &str) -> Option<Zeroizing<String>> {
        match self.secrets.unseal(attempt, name, sealed) {
            Ok(value) => Some(Zeroizing::new(value)),
            Err(error) => {
                tracing::warn!(
                    attempt.id = %attempt, %error,
                    "a sensitive output variable cannot be opened and is not masked"
                );
                None
            }
        }
    }

    async fn read(&self, task: TaskId) -> Result<Vec<Zeroizing<String>>, Unmaskable> {
        let mut secrets = Vec::new();
        {
            let mut tx = self.store.read().await?;
            let row = task_fetch(&mut tx, task).await?;
            let context = load_context(&mut tx, &row).await?;
            let variables = &context.pins.variables.variables;
            let pinned = match &context.about {
                About::Deployment(deploys) => {
                    secrets_in_scope(variables, &deploys.environment, &deploys.channel)
                }
                // Its scripts are given no variable.
                About::HealthCheck(_) => Vec::new(),
            };
            for pinned in pinned {
                let row = secret_version_fetch(&mut tx, pinned.secret_version).await?;
                secrets.push(Zeroizing::new(self.secrets.open(&row)?));
            }
        }
        let sealed = log_sealed_variables(&mut self.store.read_logs().await?, task).await?;
        for (attempt, name, value) in sealed {
            secrets.extend(self.open(attempt, &name, &value));
        }
        Ok(secrets)
    }

    fn keep(&mut self, task: TaskId, known: Known) {
        self.tasks.insert(task, known);
        loop {
            let bytes: usize = self
                .tasks
                .values()
                .map(|known| known.set.memory_bytes())
                .sum();
            if self.tasks.len() <= TASKS && bytes <= BYTES {
                return;
            }
            let oldest = self.tasks.iter().min_by_key(|(_, known)| known.used);
            let Some(oldest) = oldest
                .map(|(task, _)| *task)
                .filter(|oldest| *oldest != task)
            else {
                return;
            };
            self.tasks.remove(&oldest);
        }
    }
}

fn build(secrets: &[Zeroizing<String>]) -> Result<MaskSet, TooManySecrets> {
    MaskSet::new(secrets.iter().map(|secret| secret.as_str()))
}
