//! Health checks: what is declared, running them by hand and by themselves, and what they found.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use mantle_domain::file::duration;
use mantle_domain::health::{
    self, HealthCheckDefinition, HealthOrder, InMaintenance, KEPT_TASKS, worst,
};
use mantle_domain::ids::{HealthCheckId, TargetId, TaskId};
use mantle_domain::permission::Permission;
use mantle_domain::queue::Priority;
use mantle_domain::target::{Platform, TargetFacts};
use serde_json::json;

use super::error::{Error, Result};
use super::tasks::{number, task_shape};
use super::wake::Presence;
use super::{Caller, Deed, Services, at, facts, mint, names};
use crate::api::body::{
    CheckResult, CheckStatus, CheckedTarget, HealthCheck, HealthCheckRun, TargetCheck, Task,
};
use crate::store::{
    self, AuditEntry, HealthCheckRow, NewTask, Store, StoreError, TargetHealthRow, TaskKind, Tx,
    audit_append, health_check_list, health_check_mark_queued, target_health_list, target_list,
    task_fetch, task_find_open, task_insert, task_list_past, task_list_past_keys, task_retire,
};

/// Who queues what runs by itself.
const SCHEDULE: &str = "schedule";
/// The queue keys of checks begin with this.
const QUEUE_KEYS: &str = "health-check/";
/// Tasks that are removed in one transaction.
const BATCH: u32 = 100;

/// Use cases of health checks.
impl Services {
    /// All health checks, with what they found last.
    pub async fn health_check_list(&self, caller: &Caller) -> Result<Vec<HealthCheck>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let rows = health_check_list(&mut tx).await?;
        let found = found_by_check(&mut tx).await?;
        let shape = |row: &HealthCheckRow| {
            let definition = definition(row)?;
            Ok(shape(row, definition, found.get(&row.id)))
        };
        rows.iter().map(shape).collect()
    }

    /// One health check.
    pub async fn health_check_show(&self, caller: &Caller, name: &str) -> Result<HealthCheck> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::health_check(&mut tx, name).await?;
        let found = found_by_check(&mut tx).await?;
        Ok(shape(&row, definition(&row)?, found.get(&row.id)))
    }

    /// Runs health checks now: a task for each that is about one of the targets.
    pub async fn health_check_run(
        &self,
        caller: &Caller,
        request: &HealthCheckRun,
    ) -> Result<Vec<Task>> {
        caller.may(Permission::Deploy)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let checks = self.chosen_checks(&mut tx, request).await?;
        let all = facts::targets(&mut tx, self.presence.as_ref()).await?;
        let chosen = chosen_targets(&mut tx, request, &all).await?;
        let mut tasks = Vec::new();
        let mut looked_at = BTreeSet::new();
        for row in checks {
            let check = definition(&row)?;
            let about: Vec<&TargetFacts> = all
                .iter()
                .filter(|target| chosen.as_ref().is_none_or(|ids| ids.contains(&target.id)))
                .filter(|target| check.may_check(target))
                .collect();
            if about.is_empty() {
                continue;
            }
            let names: Vec<&str> = about.iter().map(|target| target.name.as_str()).collect();
            let only = match &chosen {
                None => Vec::new(),
                Some(_) => about.iter().map(|target| target.id).collect(),
            };
            let order = HealthOrder {
                id: row.id,
                check,
                only,
            };
            let id = queue(&mut tx, &order, &caller.actor.name, now).await?;
            let row = task_fetch(&mut tx, id).await?;
            let deed = Deed {
                action: "health-check.queue",
                subject: &number(row.number),
                id: Some(id.as_uuid()),
                detail: json!({"check": order.check.name, "targets": names}),
            };
            caller.audit(&mut tx, now, deed).await?;
            looked_at.extend(names.into_iter().map(str::to_owned));
            tasks.push(task_shape(&row));
        }
        nobody_missed(request, &looked_at)?;
        tx.commit().await?;
        for task in &tasks {
            self.wake.task_queued(task.id);
            self.feed.task_changed(task.id);
        }
        Ok(tasks)
    }

    async fn chosen_checks(
        &self,
        tx: &mut Tx,
        request: &HealthCheckRun,
    ) -> Result<Vec<HealthCheckRow>> {
        if request.checks.is_empty() {
            let all = health_check_list(tx).await?;
            if all.is_empty() {
                return Err(Error::refused(
                    "no-health-check",
                    "there is no health check",
                    "declare one under 'health_checks:' in a file and apply it",
                ));
            }
            return Ok(all);
        }
        let mut chosen = Vec::new();
        for name in request.checks.iter().collect::<BTreeSet<_>>() {
            chosen.push(names::health_check(tx, name).await?);
        }
        Ok(chosen)
    }

    /// Removes the tasks of each check beyond the latest, and all of those that are declared no more;
    /// says how many.
    pub async fn health_check_tidy(&self) -> Result<usize> {
        let mut tx = self.store.read().await?;
        let rows = health_check_list(&mut tx).await?;
        let known: BTreeSet<String> = rows.iter().map(|row| queue_key(row.id)).collect();
        let keys = task_list_past_keys(&mut tx, QUEUE_KEYS).await?;
        drop(tx);
        let mut removed = 0;
        for key in keys {
            let keep = if known.contains(&key) { KEPT_TASKS } else { 0 };
            loop {
                let now_us = self.now().as_microsecond();
                let gone = self.store.write(async |tx| {
                    let past = task_list_past(tx, &key, keep, BATCH).await?;
                    for task in &past {
                        task_retire(tx, task.id, now_us).await?;
                    }
                    Ok::<_, StoreError>(past.len())
                });
                let gone = gone.await?;
                removed += gone;
                if gone < BATCH as usize {
                    break;
                }
            }
        }
        Ok(removed)
    }
}

/// The targets that were asked for; `None` is all.
async fn chosen_targets(
    tx: &mut Tx,
    request: &HealthCheckRun,
    all: &[TargetFacts],
) -> Result<Option<BTreeSet<TargetId>>> {
    if request.targets.is_empty() && request.tags.is_empty() {
        return Ok(None);
    }
    let mut chosen = BTreeSet::new();
    for name in &request.targets {
        chosen.insert(names::target(tx, name).await?.id);
    }
    for tag in &request.tags {
        let tagged = all.iter().filter(|target| target.tags.contains(tag));
        let before = chosen.len();
        let mut is_known = false;
        for target in tagged {
            is_known = true;
            chosen.insert(target.id);
        }
        if !is_known && chosen.len() == before {
            let known: BTreeSet<&str> = all
                .iter()
                .flat_map(|target| target.tags.iter().map(String::as_str))
                .collect();
            return Err(Error::not_found(
                "tag",
                tag,
                known,
                "'mantle target list' shows the tags of targets",
            ));
        }
    }
    Ok(Some(chosen))
}

/// Each target that was named is looked at by some check, and of the others at least one.
fn nobody_missed(request: &HealthCheckRun, looked_at: &BTreeSet<String>) -> Result<()> {
    let missed = request
        .targets
        .iter()
        .find(|name| !looked_at.contains(*name));
    let whom = match missed {
        Some(name) => format!("the target '{name}'"),
        None if looked_at.is_empty() => "any of these targets".to_owned(),
        None => return Ok(()),
    };
    let which = match request.checks.as_slice() {
        [] => "no health check is".to_owned(),
        [one] => format!("health check '{one}' is not"),
        _ => "none of these health checks is".to_owned(),
    };
    Err(Error::refused(
        "nothing-to-check",
        format!(
            "{which} about {whom}, or it is disabled, has not joined, or has no script for its platform"
        ),
        "'mantle health-check list' shows which targets each is about",
    ))
}

/// Queues the checks that are due; says which tasks came of it. What is due is looked for before the
/// writer's turn is taken: mostly nothing is.
pub async fn queue_due(
    store: &Store,
    presence: &dyn Presence,
    now: Timestamp,
) -> std::result::Result<Vec<TaskId>, StoreError> {
    if due(&mut store.read().await?, presence, now)
        .await?
        .is_empty()
    {
        return Ok(Vec::new());
    }
    let queued = store.write(async |tx| {
        let mut queued = Vec::new();
        for (row, check) in due(tx, presence, now).await? {
            health_check_mark_queued(tx, &row, now.as_microsecond()).await?;
            // One about all of its targets stands for this one.
            if open_run(tx, row.id)
                .await?
                .is_some_and(|open| open.only.is_empty())
            {
                continue;
            }
            let order = HealthOrder {
                id: row.id,
                check,
                only: Vec::new(),
            };
            let id = queue(tx, &order, SCHEDULE, now).await?;
            let entry = AuditEntry {
                at_us: now.as_microsecond(),
                actor: SCHEDULE.to_owned(),
                action: "health-check.queue".to_owned(),
                subject: number(task_fetch(tx, id).await?.number),
                detail: json!({"check": order.check.name, "id": id}).to_string(),
            };
            audit_append(tx, &entry).await?;
            queued.push(id);
        }
        Ok::<_, StoreError>(queued)
    });
    queued.await
}

/// The checks that are due and about some target.
async fn due(
    tx: &mut Tx,
    presence: &dyn Presence,
    now: Timestamp,
) -> std::result::Result<Vec<(HealthCheckRow, HealthCheckDefinition)>, StoreError> {
    let mut due = Vec::new();
    for row in health_check_list(tx).await? {
        let check = stored(&row)?;
        if check.is_due(row.queued_at_us.map(at), now) {
            due.push((row, check));
        }
    }
    if !due.is_empty() {
        let targets = facts::targets(tx, presence).await?;
        due.retain(|(_, check)| targets.iter().any(|target| check.may_check(target)));
    }
    Ok(due)
}

/// What a run of a check that is not over was asked for with; the latest.
async fn open_run(
    tx: &mut Tx,
    check: HealthCheckId,
) -> std::result::Result<Option<HealthOrder>, StoreError> {
    let open = task_find_open(tx, &queue_key(check)).await?;
    open.as_ref().map(order).transpose()
}

async fn queue(
    tx: &mut Tx,
    order: &HealthOrder,
    by: &str,
    now: Timestamp,
) -> std::result::Result<TaskId, StoreError> {
    let id = TaskId::from_uuid(mint());
    let task = NewTask {
        id,
        kind: TaskKind::HealthCheck,
        title: format!("health check {}", order.check.name),
        project_id: None,
        environment_id: None,
        release_id: None,
        // One at a time: what two of them found would come in any order.
        queue_key: Some(queue_key(order.id)),
        body: serde_json::to_string(order)
            .map_err(|error| StoreError::corrupt(format!("a task to be written: {error}")))?,
        variables: None,
        priority: Priority::Normal,
        not_before_us: None,
        expires_at_us: None,
        at_us: now.as_microsecond(),
        by: by.to_owned(),
    };
    task_insert(tx, &task).await?;
    Ok(id)
}

/// What a task was asked for with, if it is a run of a check.
pub fn order(row: &store::TaskRow) -> std::result::Result<HealthOrder, StoreError> {
    serde_json::from_str(&row.body)
        .map_err(|error| StoreError::corrupt(format!("what T-{} asks: {error}", row.number)))
}

/// Of the tasks of a check one runs at a time.
fn queue_key(check: HealthCheckId) -> String {
    format!("{QUEUE_KEYS}{check}")
}

/// A health check's stored definition.
pub(super) fn definition(row: &HealthCheckRow) -> Result<HealthCheckDefinition> {
    super::declared::read("reading a health check's definition", &row.body)
}

fn stored(row: &HealthCheckRow) -> std::result::Result<HealthCheckDefinition, StoreError> {
    serde_json::from_str(&row.body)
        .map_err(|error| StoreError::corrupt(format!("health check '{}': {error}", row.name)))
}

/// What checks found, of those that are about each target now.
#[derive(Debug)]
pub(super) struct Looks {
    checks: HashMap<HealthCheckId, HealthCheckDefinition>,
    found: HashMap<TargetId, Vec<TargetHealthRow>>,
}

impl Looks {
    /// Reads what was found of one target, or of all.
    pub(super) async fn read(tx: &mut Tx, target: Option<TargetId>) -> store::Result<Self> {
        let mut found: HashMap<TargetId, Vec<TargetHealthRow>> = HashMap::new();
        for row in target_health_list(tx, target).await? {
            found.entry(row.target_id).or_default().push(row);
        }
        let mut checks = HashMap::new();
        if !found.is_empty() {
            for row in health_check_list(tx).await? {
                checks.insert(row.id, stored(&row)?);
            }
        }
        Ok(Self { checks, found })
    }

    /// What was found of a target, by check, by name.
    pub(super) fn of(
        &self,
        target: TargetId,
        tags: &[String],
        environments: &[String],
    ) -> Vec<(&str, &TargetHealthRow)> {
        let found = self.found.get(&target).into_iter().flatten();
        let mut of: Vec<(&str, &TargetHealthRow)> = found
            .filter_map(|row| {
                let check = self.checks.get(&row.check_id)?;
                let about = check.is_about(tags, environments);
                about.then_some((check.name.as_str(), row))
            })
            .collect();
        of.sort_by_key(|(name, _)| *name);
        of
    }
}

/// The finding that a target's health goes by.
pub(super) fn telling<'a>(
    found: &[(&'a str, &'a TargetHealthRow)],
) -> Option<(&'a str, &'a TargetHealthRow)> {
    worst(found.iter().copied(), |(_, row)| (row.status, row.since_us))
}

/// What a check says, with its name.
pub(super) fn told(check: &str, message: &str) -> String {
    match message {
        "" => check.to_owned(),
        message => format!("{check}: {message}"),
    }
}

/// What was found, as the API shows it.
pub(super) fn target_checks(found: &[(&str, &TargetHealthRow)]) -> Vec<TargetCheck> {
    let shape = |(check, row): &(&str, &TargetHealthRow)| TargetCheck {
        check: (*check).to_owned(),
        result: result(row),
    };
    found.iter().map(shape).collect()
}

fn result(row: &TargetHealthRow) -> CheckResult {
    CheckResult {
        status: match row.status {
            health::CheckStatus::Healthy => CheckStatus::Healthy,
            health::CheckStatus::HealthyWithWarnings => CheckStatus::HealthyWithWarnings,
            health::CheckStatus::Unhealthy => CheckStatus::Unhealthy,
            health::CheckStatus::Unknown => CheckStatus::Unknown,
        },
        message: row.message.clone(),
        since: at(row.since_us),
        checked_at: at(row.checked_at_us),
        task: number(row.task_number),
    }
}

async fn found_by_check(tx: &mut Tx) -> Result<HashMap<HealthCheckId, Vec<CheckedTarget>>> {
    let mut found: HashMap<HealthCheckId, Vec<CheckedTarget>> = HashMap::new();
    let looks = Looks::read(tx, None).await?;
    let environments = names::environment_names(tx).await?;
    for target in target_list(tx, None).await? {
        let inside = facts::named(&target.environments, &environments);
        for (_, row) in looks.of(target.id, &target.tags, &inside) {
            let checked = CheckedTarget {
                target: target.name.clone(),
                result: result(row),
            };
            found.entry(row.check_id).or_default().push(checked);
        }
    }
    Ok(found)
}

fn shape(
    row: &HealthCheckRow,
    check: HealthCheckDefinition,
    found: Option<&Vec<CheckedTarget>>,
) -> HealthCheck {
    let platforms = [Platform::Linux, Platform::Windows].into_iter();
    let platforms = platforms.filter(|platform| check.script(*platform).is_some());
    HealthCheck {
        platforms: platforms
            .map(|platform| facts::platform_word(platform).to_owned())
            .collect(),
        name: check.name,
        description: check.description.unwrap_or_default(),
        tags: check.tags,
        environments: check.environments,
        every: check.every_ms.map(duration::format),
        timeout: duration::format(check.timeout_ms),
        maintenance: match check.maintenance {
            InMaintenance::Check => "check".to_owned(),
            InMaintenance::Skip => "skip".to_owned(),
        },
        last_queued_at: row.queued_at_us.map(at),
        found: found.cloned().unwrap_or_default(),
    }
}
