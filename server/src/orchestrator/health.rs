//! Health checks: tasks like deployments, without a release. What they find is read out of their logs
//! once they are over, and shown in the transaction that ends them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use mantle_domain::health::{self, CheckStatus, Finding, HealthOrder};
use mantle_domain::state::{Input, State};
use mantle_shared::ids::{AttemptId, TaskId};
use mantle_shared::protocol::{Level, RecordBody, Stream};
use serde_json::json;

use super::Orchestrator;
use super::active::{About, Checks, Context, Decided};
use super::admit::{AGENTS_RETURN, First};
use super::commit::audit;
use crate::services::planning::Pins;
use crate::services::{facts, health as checks};
use crate::store::{
    LogTx, Store, StoreError, TargetHealthRow, TaskRow, Tx, health_check_list, log_position,
    log_read_attempt, log_read_remarks, target_health_list_of_check, target_health_show,
    task_fetch, task_mark_warned,
};

/// So many of an attempt's last records are looked through for what it said.
const LAST_RECORDS: u64 = 200;
/// So many of a task's remarks are looked through for warnings at a time.
const REMARKS: u32 = 500;
/// How long the log of a run is read.
const READING: Duration = Duration::from_secs(5);
/// The longest message that is kept, in characters; the log has all of it.
const LONGEST_MESSAGE: usize = 300;

/// What a run of a check is made of: its row says it all.
pub(super) fn context(row: &TaskRow) -> Result<Context, StoreError> {
    let order = checks::order(row)?;
    let (process, variables, packages) = health::process(&order.check);
    Ok(Context {
        task: row.id,
        number: format!("T-{}", row.number),
        pins: Pins {
            process,
            variables,
            packages,
        },
        lists: OnceLock::new(),
        about: About::HealthCheck(Checks {
            order,
            found: OnceLock::new(),
        }),
    })
}

impl Orchestrator {
    /// Queues the checks that are due.
    pub(super) async fn queue_checks(&mut self) {
        let (store, online) = (&self.parts.store, self.parts.online.as_ref());
        match checks::queue_due(store, online, Timestamp::now()).await {
            Ok(tasks) => {
                for task in tasks {
                    self.look_again = true;
                    self.parts.feed.task_changed(task);
                }
            }
            // Somebody queued one in the same moment, or changed it: it is looked at again.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the health checks that are due cannot be queued; it is tried again"
            ),
        }
    }

    /// The plan of a run, or why it has none; nothing yet for as long as agents come back after a start
    /// of the server.
    pub(super) async fn plan_check(
        &self,
        tx: &mut Tx,
        task: TaskId,
        order: &HealthOrder,
    ) -> Result<First, StoreError> {
        let declared = health_check_list(tx).await?;
        if declared.iter().all(|check| check.id != order.id) {
            return Ok(First::Input(Input::Refuse {
                message: format!(
                    "health check '{}' was removed before its turn came",
                    order.check.name
                ),
            }));
        }
        let targets = facts::targets(tx, self.parts.online.as_ref()).await?;
        let patience = AGENTS_RETURN.saturating_sub(self.began.elapsed());
        let away = targets.iter().filter(|target| {
            let wanted = order.only.is_empty() || order.only.contains(&target.id);
            wanted && order.check.may_check(target)
        });
        let strangers = away.filter(|target| {
            let agent = target.agent.as_ref();
            agent.is_some_and(|agent| !agent.online && !self.parts.online.was_here(agent.id))
        });
        let strangers: BTreeSet<String> = strangers.map(|target| target.name.clone()).collect();
        if !patience.is_zero() && !strangers.is_empty() {
            return Ok(First::Awaits(strangers, patience));
        }
        Ok(First::Input(match health::plan(task, order, &targets) {
            Ok(plan) => Input::Begin {
                plan: Arc::new(plan),
            },
            Err(error) => Input::Refuse {
                message: error.to_string(),
            },
        }))
    }

    /// Reads what the runs found that are over by what was decided.
    pub(super) async fn read_findings(&self, decided: &[Decided]) {
        for decision in decided
            .iter()
            .filter(|decision| decision.next.is_finished())
        {
            let deployment = self.deployments.get(&decision.task);
            if let Some(About::HealthCheck(checks)) = deployment.map(|one| &one.context.about)
                && checks.found.get().is_none()
            {
                let found = found(&self.parts.store, decision.task, &decision.next).await;
                let _ = checks.found.set(found);
            }
        }
    }
}

/// What a run found, with what its scripts said. What they said is left out if the log cannot be read:
/// the verdicts stand without.
async fn found(store: &Store, task: TaskId, state: &State) -> Vec<Finding> {
    let mut found = health::findings(state);
    // Everybody's deployments wait for this.
    let words = tokio::time::timeout(READING, add_words(store, task, &mut found));
    if let Err(error) = words.await.unwrap_or(Err(StoreError::Busy(None))) {
        tracing::warn!(
            task.id = %task,
            error = &error as &dyn std::error::Error,
            "the log of a health check cannot be read; what it found is shown without its words"
        );
    }
    for finding in &mut found {
        finding.message = presentable(&finding.message);
    }
    found
}

async fn add_words(store: &Store, task: TaskId, found: &mut [Finding]) -> Result<(), StoreError> {
    // Of each script the last warning.
    let mut warnings: HashMap<AttemptId, String> = HashMap::new();
    let mut after = 0;
    let mut logs = store.read_logs().await?;
    loop {
        let remarks = log_read_remarks(&mut logs, task, after, REMARKS).await?;
        let Some(last) = remarks.last() else { break };
        after = last.seq;
        for remark in remarks {
            if let (Some((attempt, _)), RecordBody::Line { level, text, .. }) =
                (remark.attempt, remark.record.body)
                && level == Level::Warning
            {
                warnings.insert(attempt, presentable(&text));
            }
        }
    }
    for finding in found {
        let Some(attempt) = finding.attempt else {
            continue;
        };
        match finding.status {
            CheckStatus::Healthy => {
                if let Some(text) = warnings.remove(&attempt) {
                    finding.status = CheckStatus::HealthyWithWarnings;
                    finding.message = text;
                } else if let Some(line) = last_line(&mut logs, attempt).await? {
                    finding.message = line;
                }
            }
            CheckStatus::Unhealthy => {
                if let Some(line) = last_line(&mut logs, attempt).await? {
                    finding.message = format!("{line} ({})", finding.message);
                }
            }
            CheckStatus::HealthyWithWarnings | CheckStatus::Unknown => {}
        }
    }
    Ok(())
}

/// The last thing that an attempt's script said: an error before anything else.
async fn last_line(logs: &mut LogTx, attempt: AttemptId) -> Result<Option<String>, StoreError> {
    let end = log_position(logs, attempt).await?;
    let from = end.saturating_sub(LAST_RECORDS);
    let most = u32::try_from(LAST_RECORDS).unwrap_or(u32::MAX);
    let records = log_read_attempt(logs, attempt, from, most).await?;
    let lines = records.into_iter().filter_map(|record| {
        let RecordBody::Line {
            stream,
            level,
            text,
        } = record.record.body
        else {
            return None;
        };
        let of_script = matches!(stream, Stream::Stdout | Stream::Stderr);
        let is_error = stream == Stream::Stderr || level == Level::Error;
        (of_script && level != Level::Verbose && !text.trim().is_empty())
            .then_some((is_error, text))
    });
    // Of those that are alike the last.
    Ok(lines
        .max_by_key(|(is_error, _)| *is_error)
        .map(|(_, text)| text))
}

/// One line that any terminal and database takes.
fn presentable(message: &str) -> String {
    let clean = message.trim().chars().map(|c| match c {
        c if c.is_control() => ' ',
        c => c,
    });
    clean.take(LONGEST_MESSAGE).collect()
}

/// A run is over: what it found is shown, and that a target is another than it was is written down.
pub(super) async fn finish(
    tx: &mut Tx,
    context: &Context,
    checks: &Checks,
    now_us: i64,
) -> Result<(), StoreError> {
    let check = &checks.order;
    let task_number = task_fetch(tx, context.task).await?.number;
    let known = target_health_list_of_check(tx, check.id).await?;
    let mut known: BTreeMap<_, _> = known.into_iter().map(|row| (row.target_id, row)).collect();
    for finding in checks.found.get().into_iter().flatten() {
        let before = known.remove(&finding.target);
        let row = TargetHealthRow {
            target_id: finding.target,
            check_id: check.id,
            status: finding.status,
            message: finding.message.clone(),
            since_us: now_us,
            checked_at_us: now_us,
            task_number,
        };
        // If the check or the target was removed meanwhile there is nothing to show of it.
        if !target_health_show(tx, &row).await? {
            continue;
        }
        if finding.status == CheckStatus::HealthyWithWarnings {
            task_mark_warned(tx, context.task).await?;
        }
        if before.as_ref().map(|row| row.status) != Some(finding.status) {
            let detail = json!({
                "check": check.check.name,
                "target": finding.target,
                "before": before.map(|row| row.status.word()),
                "status": finding.status.word(),
                "message": finding.message,
            });
            audit(tx, context, "target.health", detail, now_us).await?;
        }
    }
    Ok(())
}
