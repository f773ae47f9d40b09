//! Making an attempt's order: the domain drafts it, the secrets are filled in here.
//!
//! An order is made of what is pinned and of what was known when the attempt was ordered, so that
//! it is the same order, byte for byte, when it is sent again after a restart.

use mantle_domain::ids::SecretVersionId;
use mantle_domain::order::{DraftValue, OrderContext, OrderDraft, draft_order};
use mantle_domain::plan::NodeRef;
use mantle_domain::state::OutputVariable;
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::lock::Lock;
use mantle_shared::order::{ORDER_FORMAT, Order, OrderVariable, OutputLimits};
use mantle_shared::protocol::CONTROL_LIMIT_BYTES;

use super::Orchestrator;
use super::active::Context;
use crate::security::{MasterKey, SECRET_VERSION_TABLE};
use crate::store::{SecretVersionRow, StoreError, secret_version_fetch};

/// The largest order: a message of the control stream less the ids around it.
const ORDER_BYTES: usize = CONTROL_LIMIT_BYTES - 1024;
/// How many of an order's values are named when it is too large.
const LARGEST_TOLD: usize = 5;

/// Opens what orders need. The master key stays behind it.
pub trait OrderSecrets: Send + Sync {
    /// The value of a secret's version.
    fn open(&self, row: &SecretVersionRow) -> Result<String, SecretError>;
    /// The value of a sensitive output variable that an attempt sealed.
    fn unseal(&self, attempt: AttemptId, name: &str, sealed: &str) -> Result<String, SecretError>;
    /// The key under which an attempt seals sensitive output variables, in base64.
    fn seal_key(&self, attempt: AttemptId) -> String;
}

impl OrderSecrets for MasterKey {
    fn open(&self, row: &SecretVersionRow) -> Result<String, SecretError> {
        self.unseal(SECRET_VERSION_TABLE, row.id.as_bytes(), &row.ciphertext)
            .map(|value| value.expose().to_owned())
            .map_err(|error| SecretError {
                what: format!("the secret '{}'", row.path),
                why: error.to_string(),
            })
    }

    fn unseal(&self, attempt: AttemptId, name: &str, sealed: &str) -> Result<String, SecretError> {
        self.unseal_output(attempt, name, sealed)
            .map(|value| value.expose().to_owned())
            .map_err(|error| SecretError {
                what: format!("the output variable '{name}'"),
                why: error.to_string(),
            })
    }

    fn seal_key(&self, attempt: AttemptId) -> String {
        Self::seal_key(self, attempt).expose().to_owned()
    }
}

/// A secret cannot be opened. Says nothing of its value.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be opened: {why}")]
pub struct SecretError {
    /// Which.
    pub what: String,
    /// Why.
    pub why: String,
}

/// An order cannot be made.
#[derive(Debug)]
pub(super) enum Unmade {
    /// The database cannot be read just now.
    Later(StoreError),
    /// It never can, for this reason.
    Never(String),
}

impl Unmade {
    fn of(error: StoreError, path: &str) -> Self {
        if error.is_retryable() {
            Self::Later(error)
        } else {
            Self::Never(format!("the secret '{path}' cannot be read: {error}"))
        }
    }
}

impl From<String> for Unmade {
    fn from(why: String) -> Self {
        Self::Never(why)
    }
}

impl From<&str> for Unmade {
    fn from(why: &str) -> Self {
        Self::Never(why.to_owned())
    }
}

impl Orchestrator {
    /// The order of an attempt, as JSON.
    pub(super) async fn order(
        &self,
        task: TaskId,
        attempt: AttemptId,
        node: NodeRef,
    ) -> Result<Vec<u8>, Unmade> {
        let deployment = self
            .deployments
            .get(&task)
            .ok_or("the deployment is gone")?;
        let (context, state) = (&deployment.context, &deployment.state);
        let (plan, known) = state
            .plan
            .as_deref()
            .zip(state.attempts.get(&attempt))
            .ok_or("the attempt was never ordered")?;
        let outputs = state
            .outputs
            .get(..known.outputs_before)
            .unwrap_or(&state.outputs);
        let draft = draft_order(
            &OrderContext {
                plan,
                process: &context.pins.process,
                variables: &context.pins.variables,
                task_number: &context.number,
                outputs,
                failed: known.failed_before.as_deref(),
                lists: Some(context.lists(plan)),
            },
            node,
        )
        .map_err(|error| error.to_string())?;
        let variables = self.fill_in(&draft, outputs).await?;
        let locks = plan
            .action(node)
            .zip(plan.node(node))
            .map(|(action, planned)| action.locks_of(planned.subject))
            .unwrap_or_default();
        let order = complete(
            context,
            (attempt, locks, known.despite.clone()),
            draft,
            variables,
            self.parts.secrets.seal_key(attempt),
        );
        written(&order).map_err(Unmade::Never)
    }

    async fn fill_in(
        &self,
        draft: &OrderDraft,
        outputs: &[OutputVariable],
    ) -> Result<Vec<OrderVariable>, Unmade> {
        let mut variables = Vec::with_capacity(draft.variables.len());
        for variable in &draft.variables {
            let (value, sensitive) = match &variable.value {
                DraftValue::Text(text) => (text.clone(), false),
                DraftValue::Secret(pinned) => {
                    let row = self.secret(pinned.secret_version, &pinned.path).await?;
                    let value = self.parts.secrets.open(&row).map_err(|e| e.to_string())?;
                    (value, true)
                }
                DraftValue::Sealed { value, by } => {
                    // Sealed under the name that it was set by, which is the end of its full name.
                    let name = outputs
                        .iter()
                        .find(|output| output.sealed_by == Some(*by) && output.value == *value)
                        .map(|output| output.name.as_str())
                        .ok_or("a sealed output variable is not among the known ones")?;
                    let opened = self.parts.secrets.unseal(*by, name, value);
                    (opened.map_err(|e| e.to_string())?, true)
                }
            };
            variables.push(OrderVariable {
                name: variable.name.clone(),
                value,
                sensitive,
                exported: variable.exported,
            });
        }
        Ok(variables)
    }

    async fn secret(
        &self,
        version: SecretVersionId,
        path: &str,
    ) -> Result<SecretVersionRow, Unmade> {
        let read =
            async { secret_version_fetch(&mut self.parts.store.read().await?, version).await };
        read.await.map_err(|error| Unmade::of(error, path))
    }
}

/// The order as JSON, if a message can hold it. An attempt whose order is too large ends before it
/// begins, and says which values make it so.
fn written(order: &Order) -> Result<Vec<u8>, String> {
    let bytes = serde_json::to_vec(order)
        .map_err(|error| format!("the order cannot be written: {error}"))?;
    if bytes.len() <= ORDER_BYTES {
        return Ok(bytes);
    }
    let mut parts: Vec<(usize, String)> = order
        .variables
        .iter()
        .map(|variable| {
            (
                variable.value.len(),
                format!("variable '{}'", variable.name),
            )
        })
        .chain(order.with.iter().map(|(name, value)| {
            let bytes = value
                .as_str()
                .map_or_else(|| value.to_string().len(), str::len);
            (bytes, format!("input '{name}'"))
        }))
        .collect();
    parts.sort_by(|a, b| b.cmp(a));
    let largest: Vec<String> = parts
        .iter()
        .take(LARGEST_TOLD)
        .map(|(bytes, what)| format!("{what} ({bytes} bytes)"))
        .collect();
    Err(format!(
        "the order has {} bytes, and an agent takes {ORDER_BYTES} at most; the largest values are: {}; \
         put large values into a file of a package, then deploy again",
        bytes.len(),
        largest.join(", ")
    ))
}

fn complete(
    context: &Context,
    (attempt, locks, despite): (AttemptId, Vec<Lock>, Vec<AttemptId>),
    draft: OrderDraft,
    variables: Vec<OrderVariable>,
    seal_key: String,
) -> Order {
    Order {
        format: ORDER_FORMAT,
        attempt,
        task: context.task,
        task_number: context.number.clone(),
        project: draft.project,
        environment: draft.environment,
        release: draft.release,
        step: draft.step,
        action: draft.action,
        subject: draft.subject,
        executor: draft.executor,
        uses: draft.uses,
        with: draft.with,
        variables,
        withheld: draft.withheld,
        packages: draft.packages,
        timeout_ms: draft.timeout_ms,
        grace_ms: draft.grace_ms,
        seal_key,
        output: OutputLimits::default(),
        locks,
        despite,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use mantle_shared::protocol::{Message, StartAttempt};
    use mantle_shared::uuid::Uuid;
    use serde_json::json;

    use super::*;

    fn an_order(value_bytes: usize) -> Order {
        let id = Uuid::from_u128(1);
        let variable = |name: &str, bytes| json!({"name": name, "value": "x".repeat(bytes), "sensitive": name == "Key"});
        serde_json::from_value(json!({
            "format": ORDER_FORMAT,
            "attempt": id,
            "task": id,
            "task_number": "T-1",
            "project": "shop",
            "environment": "prod",
            "release": "1.0.0",
            "step": "s",
            "action": "a",
            "subject": "web-1",
            "executor": "web-1",
            "uses": "script",
            "with": {"run": "y".repeat(2000)},
            "variables": [variable("Small", 10), variable("Key", 1000), variable("Big", value_bytes)],
            "packages": [],
            "timeout_ms": 1000,
            "grace_ms": 1000,
            "seal_key": "k",
            "output": OutputLimits::default(),
        }))
        .unwrap()
    }

    #[test]
    fn an_order_that_no_message_can_hold_names_its_largest_values() {
        let message = written(&an_order(5_000_000)).unwrap_err();
        let expected =
            "variable 'Big' (5000000 bytes), input 'run' (2000 bytes), variable 'Key' (1000 bytes)";
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn every_order_that_is_taken_fits_into_a_message() {
        let overhead = written(&an_order(0)).unwrap().len();
        let order = written(&an_order(ORDER_BYTES - overhead)).unwrap();
        assert_eq!(order.len(), ORDER_BYTES);
        let id = Uuid::max();
        let start = StartAttempt {
            request: u64::MAX,
            deadline_ms: u32::MAX,
            epoch: u64::MAX,
            task: TaskId::from_uuid(id),
            attempt: AttemptId::from_uuid(id),
            order,
        };
        assert!(Message::from(start).to_frame().is_ok());
        assert!(written(&an_order(ORDER_BYTES - overhead + 1)).is_err());
    }
}
