//! Which packages an agent was granted, by task: the only ones that it is given objects of.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{PoisonError, RwLock};

use mantle_shared::Digest;
use mantle_shared::ids::{AgentId, TaskId};
use mantle_shared::protocol::ObjectRefusal;

use crate::gateway::{ObjectSource, WireObject};
use crate::packages::PackageRepository;
use crate::packages::objects::ObjectError;

/// The grants of all running deployments. Kept in memory: after a restart the agent is asked again,
/// and with the asking the grant is back.
#[derive(Debug, Default)]
pub struct Grants {
    roots: RwLock<HashMap<(AgentId, TaskId), HashSet<Digest>>>,
}

impl Grants {
    /// Nobody was granted anything.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn give(&self, agent: AgentId, task: TaskId, roots: impl Iterator<Item = Digest>) {
        let mut all = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        all.entry((agent, task)).or_default().extend(roots);
    }

    pub(super) fn take_back(&self, task: TaskId) {
        let mut all = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, of), _| *of != task);
    }

    fn holds(&self, agent: AgentId, task: TaskId, root: Digest) -> bool {
        let all = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&(agent, task))
            .is_some_and(|roots| roots.contains(&root))
    }
}

/// Gives out the objects of packages that were granted.
pub struct GrantedObjects {
    /// What was granted.
    pub grants: std::sync::Arc<Grants>,
    /// Where the objects are.
    pub packages: PackageRepository,
}

impl ObjectSource for GrantedObjects {
    fn object(
        &self,
        agent: AgentId,
        task: TaskId,
        root: Digest,
        object: Digest,
    ) -> Pin<Box<dyn Future<Output = Result<WireObject, ObjectRefusal>> + Send + '_>> {
        Box::pin(async move {
            if !self.grants.holds(agent, task, root) {
                return Err(ObjectRefusal::NotGranted);
            }
            match self.packages.reachable(&root, &object).await {
                Ok(true) => {}
                Ok(false) => return Err(ObjectRefusal::NotGranted),
                Err(error) => return Err(refusal(&error, root)),
            }
            match self.packages.object_wire(&object).await {
                Ok(found) => Ok(WireObject {
                    encoding: found.encoding,
                    size_bytes: found.size_bytes,
                    bytes: found.bytes,
                }),
                Err(error) => Err(refusal(&error, object)),
            }
        })
    }
}

fn refusal(error: &ObjectError, object: Digest) -> ObjectRefusal {
    tracing::error!(
        object = %object,
        error = error as &dyn std::error::Error,
        "a granted object cannot be given out"
    );
    match error {
        // The agent asks again after a while, and by then the bucket may answer.
        ObjectError::Remote { .. } | ObjectError::Stopped => ObjectRefusal::Busy,
        ObjectError::Missing { .. }
        | ObjectError::Damaged { .. }
        | ObjectError::NoSpace { .. }
        | ObjectError::Io { .. } => ObjectRefusal::Missing,
    }
}
