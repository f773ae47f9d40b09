//! Plans the steps: subjects, windows, executors, and what does not apply.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::TargetId;
use mantle_shared::order::OrderPackage;
use mantle_template::same_name;

use super::PlanRequest;
use super::pool::{Policies, Pool};
use crate::action::{self, MANUAL, PACKAGE_TRANSFER, needs};
use crate::explain::{Refusal, nearest};
use crate::plan::{NO_TARGET, PlanAction, PlanNode, PlanStep, PlanTarget};
use crate::process::{Action, OnFailure, Step, Unavailable, Unhealthy, When};
use crate::target::Platform;

pub(super) struct Planner<'a> {
    request: &'a PlanRequest<'a>,
    pool: &'a Pool<'a>,
    pub(super) refusals: Vec<Refusal>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(request: &'a PlanRequest<'a>, pool: &'a Pool<'a>) -> Self {
        Self {
            request,
            pool,
            refusals: Vec::new(),
        }
    }

    pub(super) fn steps(&mut self) -> Vec<PlanStep> {
        let steps = &self.request.process.process.steps;
        (1_u32..)
            .zip(steps)
            .map(|(number, step)| self.step(number, step))
            .collect()
    }

    fn step(&mut self, number: u32, step: &Step) -> PlanStep {
        let mut planned = PlanStep {
            name: step.name.clone(),
            number,
            run: step.run.clone(),
            start: step.start,
            required: step.is_required(),
            rolling: step.rolling.is_some(),
            parallel: 1,
            max_failed: 0,
            on_failure: step
                .rolling
                .map_or(OnFailure::default(), |rolling| rolling.on_failure),
            pause_after_first: step
                .rolling
                .is_some_and(|rolling| rolling.pause_after_first),
            timeout_ms: step.timeout_ms,
            subjects: Vec::new(),
            actions: step
                .actions
                .iter()
                .map(|action| self.idle(action))
                .collect(),
            skipped: self.step_skipped(step),
            back: None,
        };
        if planned.skipped.is_some() {
            return planned;
        }
        let Some(selector) = &step.targets else {
            if self.is_by_people(step) {
                return self.once(planned, step);
            }
            return self.by_a_worker(planned, step);
        };
        let chosen = self.pool.choose_subjects(selector, self.policies(step));
        if chosen.is_empty() {
            if self.pool.is_left_out_by_choice(selector) {
                planned.skipped = Some("none of its targets was chosen".to_owned());
                return planned;
            }
            self.nobody(&format!("step '{}'", step.name), &step.name, &selector.tag);
            return planned;
        }
        let subjects: Vec<&PlanTarget> = chosen
            .into_iter()
            .filter(|target| {
                step.when
                    .platform
                    .is_none_or(|wanted| wanted == target.platform)
            })
            .collect();
        for (slot, action) in planned.actions.iter_mut().zip(&step.actions) {
            slot.nodes = self.nodes(action, &subjects);
        }
        let nodes = planned.actions.iter().flat_map(|action| &action.nodes);
        let taking_part: BTreeSet<TargetId> = nodes.map(|node| node.subject).collect();
        planned.subjects = subjects
            .iter()
            .map(|subject| subject.id)
            .filter(|id| taking_part.contains(id))
            .collect();
        if self.policies(step).unhealthy == Unhealthy::Fail {
            let subjects = planned.subjects.iter().copied().collect();
            self.refusals.extend(self.pool.unhealthy(&subjects));
        }
        planned.parallel = parallel(step, planned.subjects.len());
        planned.max_failed = step
            .rolling
            .and_then(|rolling| rolling.max_failed)
            .map_or(0, |allowed| allowed.allowance(planned.subjects.len()));
        if planned.subjects.is_empty() {
            planned.skipped = Some("none of its actions applies to any of its targets".to_owned());
        }
        planned
    }

    /// People do all of it that applies, for which no agent is needed.
    fn is_by_people(&self, step: &Step) -> bool {
        let mut applies = step
            .actions
            .iter()
            .filter(|action| self.action_skipped(action).is_none());
        applies.all(|action| action.uses == MANUAL)
    }

    /// A step that is done once, for no target.
    fn once(&self, mut planned: PlanStep, step: &Step) -> PlanStep {
        planned.subjects = vec![NO_TARGET];
        for (slot, action) in planned.actions.iter_mut().zip(&step.actions) {
            if self.action_skipped(action).is_none() {
                slot.nodes = vec![PlanNode {
                    subject: NO_TARGET,
                    executor: NO_TARGET,
                }];
            }
        }
        planned
    }

    /// A step that is about no target runs once, on a worker.
    fn by_a_worker(&mut self, mut planned: PlanStep, step: &Step) -> PlanStep {
        let Some(worker) = self.pool.worker() else {
            self.refusals.push(Refusal::NeedsServerWorker {
                step: step.name.clone(),
                uses: step
                    .actions
                    .iter()
                    .find(|action| action.uses != MANUAL)
                    .map(|action| action.uses.clone())
                    .unwrap_or_default(),
            });
            return planned;
        };
        for (slot, action) in planned.actions.iter_mut().zip(&step.actions) {
            slot.nodes = self.nodes(action, &[worker]);
        }
        let mut nodes = planned.actions.iter().flat_map(|action| &action.nodes);
        if nodes.next().is_some() {
            planned.subjects = vec![worker.id];
        } else {
            planned.skipped = Some("none of its actions applies to its worker".to_owned());
        }
        planned
    }

    /// What becomes of a step's targets that are away or unhealthy: as the operator says, else the
    /// step, else the project.
    fn policies(&self, step: &Step) -> Policies {
        let (options, process) = (self.request.options, &self.request.process.process);
        let unavailable = options.unavailable.or(step.unavailable);
        let unhealthy = options.unhealthy.or(step.unhealthy);
        Policies {
            unavailable: unavailable.unwrap_or(process.unavailable),
            unhealthy: unhealthy.unwrap_or(process.unhealthy),
        }
    }

    /// The tags by which the steps that apply choose targets, and whether a step goes on without
    /// those of them that are away or unhealthy.
    pub(super) fn wanted_tags(&self) -> BTreeMap<String, Policies> {
        let mut wanted = BTreeMap::new();
        for step in &self.request.process.process.steps {
            if self.step_skipped(step).is_some() {
                continue;
            }
            let executors = step
                .actions
                .iter()
                .filter_map(|action| action.run_on.as_ref());
            let executors = executors.map(|selector| (&selector.tag, Policies::OF_EXECUTORS));
            let subjects = step.targets.iter();
            let subjects = subjects.map(|selector| (&selector.tag, self.policies(step)));
            for (tag, policies) in executors.chain(subjects) {
                let known: &mut Policies = wanted.entry(tag.clone()).or_insert(policies);
                if policies.unavailable == Unavailable::Skip {
                    known.unavailable = Unavailable::Skip;
                }
                if policies.unhealthy == Unhealthy::Skip {
                    known.unhealthy = Unhealthy::Skip;
                }
            }
        }
        wanted
    }

    /// Why a step does not apply here at all.
    fn step_skipped(&self, step: &Step) -> Option<String> {
        if self.request.options.leaves_out(&step.name) {
            return Some("left out by the options of this deployment".to_owned());
        }
        if let Some(task) = self.request.options.done_in(&step.name) {
            return Some(format!("runs once, and went well in {task}"));
        }
        if let Some(reason) = self.when_fails(&step.when) {
            return Some(reason);
        }
        if step.actions.iter().all(|action| action.disabled) {
            return Some("all of its actions are disabled".to_owned());
        }
        let mut reasons = step
            .actions
            .iter()
            .map(|action| self.action_skipped(action));
        if reasons.all(|reason| reason.is_some()) {
            return Some("none of its actions applies here".to_owned());
        }
        None
    }

    pub(super) fn action_skipped(&self, action: &Action) -> Option<String> {
        if action.disabled {
            return Some("disabled".to_owned());
        }
        self.when_fails(&action.when)
    }

    fn when_fails(&self, when: &When) -> Option<String> {
        let environment = self.request.environment;
        if !when.environments.is_empty() && !when.environments.contains(environment) {
            return Some(format!("only in {}", joined(when.environments.iter())));
        }
        if when.not_environments.contains(environment) {
            return Some(format!("not in {environment}"));
        }
        if !when.channels.is_empty() && !when.channels.contains(self.request.channel) {
            return Some(format!("only for channel {}", joined(when.channels.iter())));
        }
        None
    }

    /// The action without nodes.
    fn idle(&mut self, action: &Action) -> PlanAction {
        PlanAction {
            name: action.name.clone(),
            uses: action.uses.clone(),
            run: action.run.clone(),
            timeout_ms: action.timeout_ms,
            grace_ms: action.grace_ms,
            retries: action.retries,
            packages: self.packages(action),
            nodes: Vec::new(),
            locks: Vec::new(),
            ask: action::ask(action),
            undoes: None,
        }
    }

    fn packages(&mut self, action: &Action) -> Vec<OrderPackage> {
        let mut pinned = Vec::new();
        for id in action::packages(action) {
            let held = self.request.packages.packages.iter();
            match held.clone().find(|held| same_name(&held.id, &id)) {
                Some(package) if action.uses == PACKAGE_TRANSFER => match package.archive_alone() {
                    Some(archive) => pinned.push(archive),
                    None => self.refusals.push(Refusal::ArchiveNotInRelease {
                        action: action.name.clone(),
                        package: id,
                    }),
                },
                Some(package) => pinned.push(package.clone()),
                None => self.refusals.push(Refusal::PackageNotInRelease {
                    action: action.name.clone(),
                    package: id,
                }),
            }
        }
        pinned
    }

    fn nodes(&mut self, action: &Action, subjects: &[&PlanTarget]) -> Vec<PlanNode> {
        let platform = action.when.platform;
        let subjects: Vec<&&PlanTarget> = subjects
            .iter()
            .filter(|subject| platform.is_none_or(|wanted| wanted == subject.platform))
            .collect();
        if self.action_skipped(action).is_some() || subjects.is_empty() {
            return Vec::new();
        }
        let executors: Option<Vec<&PlanTarget>> = action
            .run_on
            .as_ref()
            .map(|selector| self.pool.choose_executors(selector));
        if let (Some(selector), Some([])) = (&action.run_on, executors.as_deref()) {
            if self.pool.tag_exists(&selector.tag) {
                self.refusals.push(Refusal::NoExecutor {
                    action: action.name.clone(),
                    tag: selector.tag.clone(),
                    environment: self.request.environment.to_owned(),
                    remedy: self.pool.remedy(Some(&selector.tag)),
                });
            } else {
                self.unknown_tag(&format!("action '{}'", action.name), &selector.tag);
            }
            return Vec::new();
        }
        let nodes: Vec<PlanNode> = subjects
            .iter()
            .flat_map(|subject| {
                let by: Vec<TargetId> = match &executors {
                    Some(executors) => executors.iter().map(|executor| executor.id).collect(),
                    None => vec![subject.id],
                };
                by.into_iter().map(|executor| PlanNode {
                    subject: subject.id,
                    executor,
                })
            })
            .collect();
        let executors: BTreeSet<TargetId> = nodes.iter().map(|node| node.executor).collect();
        self.check_support(action, &executors);
        self.check_packages(action, &executors);
        nodes
    }

    /// What was pushed for Linux is not unpacked on Windows.
    fn check_packages(&mut self, action: &Action, executors: &BTreeSet<TargetId>) {
        let windows: Vec<String> = self
            .pool
            .all()
            .filter(|target| target.platform == Platform::Windows)
            .filter(|target| executors.contains(&target.id))
            .map(|target| target.name.clone())
            .collect();
        // An archive is only laid down.
        if windows.is_empty() || action.uses == PACKAGE_TRANSFER {
            return;
        }
        let used = action::packages(action);
        for package in &self.request.packages.packages {
            let is_used = used.iter().any(|id| same_name(id, &package.id));
            if is_used && package.linux_only {
                self.refusals.push(Refusal::PackageForLinux {
                    action: action.name.clone(),
                    package: package.id.clone(),
                    version: package.version.clone(),
                    targets: windows.clone(),
                });
            }
        }
    }

    /// Every executor's agent must know the action's type and its inputs, and have the shell that it
    /// runs.
    fn check_support(&mut self, action: &Action, executors: &BTreeSet<TargetId>) {
        if action.uses == MANUAL {
            return;
        }
        let lacking = self.pool.lacking(executors, &action.uses);
        if let Some(version) = lacking.values().next() {
            self.refusals.push(Refusal::ActionUnsupported {
                action: action.name.clone(),
                uses: action.uses.clone(),
                agent_version: (*version).to_owned(),
                targets: lacking.keys().map(|name| (*name).to_owned()).collect(),
            });
            return;
        }
        if let Some((feature, input)) = needs::inputs(action) {
            let lacking = self.pool.lacking_feature(executors, feature);
            if let Some(version) = lacking.values().next() {
                self.refusals.push(Refusal::InputUnsupported {
                    action: action.name.clone(),
                    input: input.to_owned(),
                    agent_version: (*version).to_owned(),
                    targets: lacking.keys().map(|name| (*name).to_owned()).collect(),
                });
            }
        }
        for (shell, targets) in self.pool.without_shell(executors, action) {
            self.refusals.push(Refusal::ShellMissing {
                action: action.name.clone(),
                shell: shell.to_owned(),
                targets,
            });
        }
    }

    fn nobody(&mut self, place: &str, step: &str, tag: &str) {
        if self.pool.tag_exists(tag) {
            self.refusals.push(Refusal::NoTargetForStep {
                step: step.to_owned(),
                tag: tag.to_owned(),
                environment: self.request.environment.to_owned(),
                reasons: self.pool.reasons(tag),
                remedy: self.pool.remedy(Some(tag)),
            });
        } else {
            self.unknown_tag(place, tag);
        }
    }

    fn unknown_tag(&mut self, place: &str, tag: &str) {
        self.refusals.push(Refusal::UnknownTag {
            place: place.to_owned(),
            tag: tag.to_owned(),
            suggestion: nearest(tag, self.pool.tags()),
            target: self.pool.first(),
        });
    }
}

/// The smaller of window and limit, one target at least.
fn parallel(step: &Step, subjects: usize) -> u32 {
    let limit = step.max_parallel.max(1);
    let window = step
        .rolling
        .map_or(limit, |rolling| rolling.window.size(subjects));
    window.min(limit).max(1)
}

fn joined<'n>(names: impl Iterator<Item = &'n String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}
