//! Starting queued deployments: in order, one at a time for each project and environment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::explain::Refusal;
use mantle_domain::plan::{LeftOutReason, Plan};
use mantle_domain::planner;
use mantle_domain::project::ProjectDefinition;
use mantle_domain::queue::{Awaited, Reason, Turn as Place};
use mantle_domain::state::{Input, State};
use mantle_shared::ids::TaskId;

use super::active::{About, Context, Deployment, Deploys};
use super::commit::{manifest, write_deployment};
use super::{LEASE, Orchestrator};
use crate::services::Presence;
use crate::services::planning::{Pins, Wanted};
use crate::services::progress::{Course, Way, digests_of};
use crate::services::queue::{Queue, expire};
use crate::services::{DeploymentOrder, bound, facts, teams};
use crate::store::{
    EnvironmentRow, StoreError, TaskKind, TaskRow, Tx, environment_fetch, epoch_current,
    project_fetch, release_fetch, task_fetch, task_lease_take,
};

/// How long a queued task waits for agents that are offline when its turn comes. All are, when the
/// server was restarted; each looks for it once a minute at least.
pub(super) const AGENTS_RETURN: Duration = Duration::from_mins(2);
/// How soon a task that waits for agents is planned again when some came: a fleet comes one by one,
/// and each plan takes its time.
const TRIED_AGAIN: Duration = Duration::from_millis(500);

/// How a queued task waits for agents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Since when.
    since: Instant,
    /// When it was planned last, and in vain.
    tried: Option<Instant>,
}

impl Patience {
    /// What is left of it.
    fn left(self) -> Duration {
        AGENTS_RETURN.saturating_sub(self.since.elapsed())
    }

    /// How long it is to be left alone, if it is.
    fn rests(self) -> Option<Duration> {
        let rests = TRIED_AGAIN.checked_sub(self.tried?.elapsed())?;
        (!self.left().is_zero() && !rests.is_zero()).then_some(rests)
    }
}

impl Orchestrator {
    /// Starts what can start; says what was started.
    pub(super) async fn admit(&mut self) -> Vec<TaskId> {
        let now = Timestamp::now();
        let queue = match self.read_queue().await {
            Ok(queue) => queue,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the queue cannot be read; it is looked at again"
                );
                return Vec::new();
            }
        };
        let waiting = queue.waiting();
        self.awaited.retain(|task, _| waiting.contains(task));
        self.parts.online.keep_awaited(&waiting);
        self.next_look = queue.next_look(now);
        let mut started = Vec::new();
        for lot in queue.lots() {
            let mut room = lot.room();
            for place in lot.places(now) {
                match place.turn {
                    // One that still waits for agents leaves its place to the next, so that who
                    // comes after the last place is asked as well.
                    Place::Now | Place::Waits(Reason::Agents(_) | Reason::Full { .. })
                        if room > 0 =>
                    {
                        let rests = self.awaited.get(&place.task).and_then(|p| p.rests());
                        if let Some(at) = rests.and_then(|rests| now.checked_add(rests).ok()) {
                            self.next_look =
                                self.next_look.map_or(Some(at), |look| Some(look.min(at)));
                        } else if self.try_begin(place.task).await {
                            room -= 1;
                            started.push(place.task);
                        }
                    }
                    Place::Expired { .. } => self.expire(place.task, now).await,
                    Place::Now
                    | Place::Waits(
                        Reason::Agents(_)
                        | Reason::Full { .. }
                        | Reason::Behind { .. }
                        | Reason::Scheduled { .. },
                    ) => {
                        // Others have its turn: when its own comes, it has all its patience.
                        self.awaited.remove(&place.task);
                        self.parts.online.forget_awaited(place.task);
                    }
                }
            }
        }
        started
    }

    async fn read_queue(&self) -> Result<Queue, StoreError> {
        let mut tx = self.parts.store.read().await?;
        let queue = Queue::read(&mut tx).await?;
        Ok(queue.awaiting(|task| self.parts.online.awaited(task)))
    }

    async fn try_begin(&mut self, task: TaskId) -> bool {
        let row = async { task_fetch(&mut self.parts.store.read().await?, task).await };
        let begun = match row.await {
            Ok(row) => match row.kind {
                TaskKind::Deployment | TaskKind::HealthCheck => self.begin(row).await,
                TaskKind::Upgrade | TaskKind::Runbook => Ok(false),
            },
            Err(error) => Err(error),
        };
        match begun {
            Ok(true) => {
                self.awaited.remove(&task);
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::error!(
                    task.id = %task,
                    error = &error as &dyn std::error::Error,
                    "a queued task could not be started; it stays queued"
                );
                false
            }
        }
    }

    async fn expire(&mut self, task: TaskId, now: Timestamp) {
        let store = &self.parts.store;
        match store.write(async |tx| expire(tx, task, now).await).await {
            Ok(()) => {
                tracing::info!(task.id = %task, "a queued task's time was over before its turn");
                self.parts.feed.task_changed(task);
            }
            // Somebody cancelled it in the same moment.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => tracing::error!(
                task.id = %task,
                error = &error as &dyn std::error::Error,
                "that a task's time is over cannot be written; it is tried again"
            ),
        }
    }

    /// Takes the lease, plans, and writes the first events down, all or nothing. `false` if it is
    /// still waited for agents that are offline.
    async fn begin(&mut self, row: TaskRow) -> Result<bool, StoreError> {
        let task = row.id;
        let (context, input) = {
            let mut tx = self.parts.store.read().await?;
            let context = Arc::new(load_context(&mut tx, &row).await?);
            let patience = self.awaited.entry(task).or_insert_with(|| Patience {
                since: Instant::now(),
                tried: None,
            });
            let patience = patience.left();
            let first = match &context.about {
                About::Deployment(deploys) => {
                    self.plan(&mut tx, &row, (&context, deploys), patience)
                        .await?
                }
                About::HealthCheck(checks) => self.plan_check(&mut tx, task, &checks.order).await?,
            };
            match first {
                First::Input(input) => (context, input),
                First::Awaits(targets, within) => {
                    if let Some(patience) = self.awaited.get_mut(&task) {
                        patience.tried = Some(Instant::now());
                    }
                    self.note_awaited(task, targets, within);
                    return Ok(false);
                }
            }
        };
        self.deployments.insert(
            task,
            Deployment {
                context: Arc::clone(&context),
                state: State::default(),
                epoch: 0,
                cancel_by: None,
                answers: Vec::new(),
                revoked: Vec::new(),
                sent: HashMap::new(),
                inherited: BTreeSet::new(),
                again: BTreeSet::new(),
                busy: BTreeSet::new(),
                put_off: BTreeMap::new(),
                next_event: row.next_event,
                parked_for: Duration::ZERO,
            },
        );
        let mut inputs = [(task, vec![input])].into();
        let decided = self.decide(&mut inputs, Timestamp::now());
        let now_us = super::effects::now_us();
        let plan = decided.iter().find_map(|d| d.next.plan.clone());
        if let Some(plan) = plan {
            let context = Arc::clone(&context);
            let noted = aside(move || match &context.about {
                About::Deployment(deploys) => {
                    manifest(&context, deploys, &plan, now_us).map(|_| ())
                }
                About::HealthCheck(_) => Ok(()),
            });
            if let Err(error) = noted.await.flatten() {
                self.deployments.remove(&task);
                return Err(error);
            }
        }
        let node = self.parts.node;
        let written = self
            .parts
            .store
            .write(async |tx| {
                let lease = task_lease_take(tx, task, node, LEASE).await?;
                for decision in &decided {
                    let (next, events) = (&decision.next, &decision.events);
                    let first = row.next_event;
                    write_deployment(tx, &context, lease.epoch, first, next, events, now_us)
                        .await?;
                }
                epoch_current(tx)
                    .await
                    .map(|current| (lease.epoch, current))
            })
            .await;
        let (epoch, current) = match written {
            Ok(epochs) => epochs,
            Err(error) => {
                self.deployments.remove(&task);
                if error.is_retryable() {
                    // It may have been kept all the same: then it runs, and must be taken up.
                    self.park(task, &error);
                }
                return Err(error);
            }
        };
        self.parked.remove(&task);
        self.parts.epochs.raise(current);
        for decision in decided {
            let events = decision.events.clone();
            if let Some(deployment) = self.deployments.get_mut(&task) {
                deployment.epoch = epoch;
                deployment.next_event += decision.events.len() as u64;
                deployment.state = decision.next;
                for attempt in deployment.state.attempts.keys() {
                    self.attempts.insert(*attempt, task);
                }
            }
            self.note_locks(task, &events);
            self.tell_blocked(task, &events).await;
        }
        tracing::info!(
            task.number = context.number,
            kind = row.kind.word(),
            "a task began"
        );
        self.parts.feed.task_changed(task);
        Ok(true)
    }

    /// Whoever looks at the queue is told whom a task waits for, and how long.
    fn note_awaited(&self, task: TaskId, targets: BTreeSet<String>, within: Duration) {
        let whom = Awaited {
            targets: targets.into_iter().collect(),
            until: Timestamp::now() + within,
        };
        self.parts.online.note_awaited(task, whom);
    }

    /// The targets that a plan leaves out as being away and whose agents were not connected since
    /// this server began.
    fn strangers_left_out(&self, plan: &Plan) -> BTreeSet<String> {
        let away = plan.left_out.iter().filter(|target| match target.why {
            LeftOutReason::Unavailable => true,
            LeftOutReason::Excluded
            | LeftOutReason::NotChosen
            | LeftOutReason::NotJoined
            | LeftOutReason::Maintenance
            | LeftOutReason::Unhealthy => false,
        });
        let strangers = away.filter(|target| {
            let agent = target.agent;
            agent.is_some_and(|agent| !self.parts.online.was_here(agent))
        });
        strangers.map(|target| target.name.clone()).collect()
    }

    /// What its plan is, or why it has none; nothing yet if only the absence of agents forbids it
    /// and there is still patience.
    async fn plan(
        &self,
        tx: &mut Tx,
        row: &TaskRow,
        (context, deploys): (&Arc<Context>, &Deploys),
        patience: Duration,
    ) -> Result<First, StoreError> {
        let order = order(row)?;
        let patient = !patience.is_zero();
        let refuse = |refusal: &Refusal| {
            Ok(First::Input(Input::Refuse {
                message: refusal.message(),
            }))
        };
        let way = match order.back_from {
            Some(_) => Way::Back,
            None => Way::Forward,
        };
        let course = course(tx, row, deploys, way).await?;
        if let Some(refusal) = &course.forbidden {
            return refuse(refusal);
        }
        let release = release_fetch(tx, deploys.release_id).await?;
        let environment = environment_fetch(tx, deploys.environment_id).await?;
        let created = Timestamp::from_microsecond(row.created_at_us).unwrap_or_default();
        let asked = facts::Asked {
            at: created,
            by: &row.created_by,
            comment: &order.comment,
            fields: &order.fields,
            expires: row
                .expires_at_us
                .and_then(|at| Timestamp::from_microsecond(at).ok()),
            options: &order.options,
        };
        let facts = facts::of_plan(tx, &release, &environment, asked).await?;
        let before = facts::before(tx, deploys.project_id, deploys.environment_id).await?;
        let environment_says = definition(&environment)?;
        let footing = order.footing(deploys.digests);
        let targets = facts::targets(tx, self.parts.online.as_ref()).await?;
        let made_of = Arc::clone(context);
        let options = order.options.clone();
        let named = [&deploys.environment, &deploys.version, &deploys.channel].map(String::clone);
        let planned = aside(move || {
            let [environment, version, channel] = &named;
            let wanted = Wanted {
                task: made_of.task,
                environment,
                version,
                channel,
                pins: &made_of.pins,
                options: &options,
                keep_on_target: course.keep_on_target,
                time_limit_ms: environment_says.timeout_ms,
                guided_failure: environment_says.guided_failure,
                facts: &facts,
                before: &before,
            };
            planner::plan(&wanted.request(&targets))
        });
        Ok(match planned.await? {
            Ok(mut plan) => {
                // After a start all agents are away for a moment: none is left out for that.
                let strangers = self.strangers_left_out(&plan);
                if patient && !strangers.is_empty() {
                    return Ok(First::Awaits(strangers, patience));
                }
                if let Some(asked) = &order.plan
                    && let Some(refusal) = bound(tx, asked, &plan, footing).await?
                {
                    return refuse(&refusal);
                }
                let members = teams::members(tx).await?;
                plan.warnings.extend(teams::unanswerable(&plan, &members));
                First::Input(Input::Begin {
                    plan: Arc::new(plan),
                })
            }
            Err(refusals) => {
                if let Some(away) = only_absence(&refusals).filter(|_| patient) {
                    return Ok(First::Awaits(away, patience));
                }
                let sentences: BTreeSet<String> = refusals.iter().map(Refusal::message).collect();
                let message = sentences.into_iter().collect::<Vec<_>>().join("; ");
                First::Input(Input::Refuse { message })
            }
        })
    }
}

/// What a queued task begins with once its turn has come.
pub(super) enum First {
    /// With that.
    Input(Input),
    /// With nothing yet: the agents of these targets may come back within that time.
    Awaits(BTreeSet<String>, Duration),
}

/// The targets whose absence alone forbids a plan; `None` if anything else does.
fn only_absence(refusals: &[Refusal]) -> Option<BTreeSet<String>> {
    let away = refusals.iter().map(|refusal| {
        if let Refusal::AgentOffline { target, .. } = refusal {
            Some(target.clone())
        } else {
            None
        }
    });
    away.collect()
}

/// Does what may take seconds, such as evaluating templates, beside the threads that serve. One at a
/// time: the orchestrator waits for it.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(fault) => std::panic::resume_unwind(fault),
            // The server is about to end.
            Err(_) => Err(StoreError::Unavailable(None)),
        },
    }
}

/// What an environment says of deployments into it.
fn definition(environment: &EnvironmentRow) -> Result<EnvironmentDefinition, StoreError> {
    serde_json::from_str(&environment.body).map_err(|error| {
        StoreError::corrupt(format!("environment '{}': {error}", environment.name))
    })
}

/// Everything that a task is made of, from the database.
pub(super) async fn load_context(tx: &mut Tx, row: &TaskRow) -> Result<Context, StoreError> {
    if row.kind == TaskKind::HealthCheck {
        return super::health::context(row);
    }
    let missing = |what: &str| StoreError::corrupt(format!("task T-{}: no {what}", row.number));
    let release_id = row.release_id.ok_or_else(|| missing("release"))?;
    let environment_id = row.environment_id.ok_or_else(|| missing("environment"))?;
    let release = release_fetch(tx, release_id).await?;
    let environment = environment_fetch(tx, environment_id).await?;
    let digests = digests_of(tx, &release, order(row)?.variables, row.created_at_us).await?;
    let pins = Pins::read(tx, digests).await?;
    Ok(Context {
        task: row.id,
        number: format!("T-{}", row.number),
        pins,
        lists: OnceLock::new(),
        about: About::Deployment(Deploys {
            project_id: release.project_id,
            environment_id,
            environment: environment.name,
            release_id,
            version: release.version,
            channel: release.channel,
            digests,
            manifest: OnceLock::new(),
        }),
    })
}

/// What the release's lifecycle says of a deployment when its turn comes.
struct Turn {
    /// The release may not go there, although it could when it was queued: somebody blocked it, or
    /// the lifecycle is another by now.
    forbidden: Option<Refusal>,
    /// How many earlier versions of a package stay on a target.
    keep_on_target: Option<u32>,
}

async fn course(
    tx: &mut Tx,
    row: &TaskRow,
    deploys: &Deploys,
    way: Way,
) -> Result<Turn, StoreError> {
    let release = release_fetch(tx, deploys.release_id).await?;
    let project = project_fetch(tx, release.project_id).await?;
    let definition: ProjectDefinition = serde_json::from_str(&project.body).map_err(|error| {
        StoreError::corrupt(format!("the project of T-{}: {error}", row.number))
    })?;
    let course = Course::read(tx, &definition, &release).await?;
    let checked = course.check(&project.slug, &release, &deploys.environment, way);
    Ok(Turn {
        forbidden: checked.err(),
        keep_on_target: course.keep_on_target(),
    })
}

fn order(row: &TaskRow) -> Result<DeploymentOrder, StoreError> {
    serde_json::from_str(&row.body)
        .map_err(|error| StoreError::corrupt(format!("what T-{} asks: {error}", row.number)))
}
