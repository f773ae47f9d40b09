//! A deployment that repeats another for what failed there (`--failed-only-of`): it is asked for as that one
//! was, but for what is said anew. What went well there and runs once is not done again.
//!
//! Steps, answers and what ran once are taken over only into the same release: another one may have other
//! steps, and what ran once for the one says nothing about the other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use mantle_domain::file::duration;
use mantle_domain::planner::PlanOptions;
use mantle_domain::process::{Unavailable, Unhealthy};
use mantle_domain::snapshot::VariableSnapshot;
use mantle_domain::state::{State, done_once};
use mantle_domain::variable::prompt::{self, Control};
use mantle_domain::variable::{DEPLOYMENT_PROCESS, Situation, VariableValue};

use super::declared::read;
use super::deployments::DeploymentOrder;
use super::error::{Error, Result};
use super::planning::Pins;
use super::tasks::number;
use super::{Services, names};
use crate::api::body::{
    Answers, DeploymentChoices, DeploymentCreate, UnavailableTargets, UnhealthyTargets,
};
use crate::security::SECRET_VERSION_TABLE;
use crate::store::{ANSWER_PATH, TaskRow, Tx, release_fetch, secret_version_fetch, snapshot_fetch};

impl Services {
    /// The request, with what it does not say taken from the deployment that it repeats. That it may not
    /// repeat that one is said by whoever looks for what failed.
    pub(super) async fn as_before<'a>(
        &self,
        request: &'a DeploymentCreate,
    ) -> Result<Cow<'a, DeploymentCreate>> {
        let Some(task) = &request.choices.failed_only_of else {
            return Ok(Cow::Borrowed(request));
        };
        let mut tx = self.store.read().await?;
        let row = names::task(&mut tx, task).await?;
        let Some(release) = row.release_id else {
            return Ok(Cow::Borrowed(request));
        };
        let order: DeploymentOrder = read("reading what a task asks", &row.body)?;
        let is_same = request.version.as_ref() == Some(&order.version)
            && request.project == order.project
            && request.environment == order.environment;
        let mut repeated = request.clone();
        if !is_same || request.rollback.is_some() {
            repeated.choices = choices(&request.choices, &order.options, None);
            return Ok(Cow::Owned(repeated));
        }
        let release = release_fetch(&mut tx, release).await?;
        let pins = Pins::read(&mut tx, release.digests()).await?;
        let steps = pins.process.process.steps.iter();
        let steps: Vec<&str> = steps.map(|step| step.name.as_str()).collect();
        repeated.choices = choices(&request.choices, &order.options, Some(&steps));
        let situation = Situation {
            environment: Some(&order.environment),
            channel: Some(&release.channel),
            process: Some(DEPLOYMENT_PROCESS),
            ..Situation::default()
        };
        // What cannot be asked is refused by whoever plans.
        let asked = prompt::asked(&pins.variables.variables, &situation).unwrap_or_default();
        let mut answers = request.variables.expose().clone();
        for one in asked {
            let is_said = answers.keys().any(|name| one.is_named(name));
            let before = order.answers.get(one.variable).filter(|_| !is_said);
            let before = match before {
                None => continue,
                Some(Some(text)) => Some(text.clone()),
                // What was a secret then is none to show, whatever is asked now.
                Some(None) if one.prompt.control != Control::Sensitive => continue,
                Some(None) => self.secret_answer(&mut tx, &order, one.variable).await?,
            };
            if let Some(text) = before {
                answers.insert(one.variable.to_owned(), text);
            }
        }
        repeated.variables = Answers::new(answers);
        Ok(Cow::Owned(repeated))
    }

    /// What was answered in secret, if it is still kept.
    async fn secret_answer(
        &self,
        tx: &mut Tx,
        order: &DeploymentOrder,
        variable: &str,
    ) -> Result<Option<String>> {
        let Some(digest) = order.variables else {
            return Ok(None);
        };
        let body = snapshot_fetch(tx, digest).await?;
        let snapshot: VariableSnapshot = read(
            "reading a deployment's variables",
            &String::from_utf8_lossy(&body),
        )?;
        let known = snapshot.variables.iter().find(|one| one.name == variable);
        let mut sealed = known.into_iter().flat_map(|one| &one.values);
        let sealed = sealed.find_map(|one| match &one.value {
            VariableValue::PinnedSecret(pinned) if pinned.path.starts_with(ANSWER_PATH) => {
                Some(pinned.secret_version)
            }
            _ => None,
        });
        let Some(version) = sealed else {
            return Ok(None);
        };
        let row = secret_version_fetch(tx, version).await?;
        let opened = self
            .master_key
            .unseal(SECRET_VERSION_TABLE, row.id.as_bytes(), &row.ciphertext)
            .map_err(|error| Error::internal("opening an earlier answer", error))?;
        Ok(Some(opened.expose().to_owned()))
    }
}

/// What is chosen, with what was chosen before where it is silent; `steps` are those of the release, if it is
/// the same. What was meant by naming the only steps is left out by naming the others, so that whoever names
/// one now asks for it in so many words.
fn choices(
    asked: &DeploymentChoices,
    before: &PlanOptions,
    steps: Option<&[&str]>,
) -> DeploymentChoices {
    let also = |own: &[String], before: &BTreeSet<String>| -> Vec<String> {
        let own: BTreeSet<&String> = own.iter().chain(before).collect();
        own.into_iter().cloned().collect()
    };
    let mut chosen = asked.clone();
    chosen.exclude = also(&asked.exclude, &before.not_targets);
    if let Some(steps) = steps
        && asked.only.is_empty()
    {
        let left_out = steps.iter().filter(|step| before.leaves_out(step));
        let left_out = left_out.map(|&step| step.to_owned()).collect();
        chosen.skip = also(&asked.skip, &left_out);
    }
    chosen.unavailable = asked
        .unavailable
        .or(before.unavailable.map(|policy| match policy {
            Unavailable::Fail => UnavailableTargets::Fail,
            Unavailable::Skip => UnavailableTargets::Skip,
        }));
    chosen.unhealthy = asked
        .unhealthy
        .or(before.unhealthy.map(|policy| match policy {
            Unhealthy::Deploy => UnhealthyTargets::Deploy,
            Unhealthy::Skip => UnhealthyTargets::Skip,
            Unhealthy::Fail => UnhealthyTargets::Fail,
        }));
    let limit = || before.time_limit_ms.map(duration::format);
    chosen.time_limit = asked.time_limit.clone().or_else(limit);
    chosen.guided_failure = asked.guided_failure.or(before.guided_failure);
    chosen
}

/// The steps that are not done again, and in which deployment they went well.
pub(super) async fn done_steps(
    tx: &mut Tx,
    row: &TaskRow,
    state: &State,
    version: &str,
) -> Result<BTreeMap<String, String>> {
    let order: DeploymentOrder = read("reading what a task asks", &row.body)?;
    let Some(release) = row.release_id.filter(|_| order.version == version) else {
        return Ok(BTreeMap::new());
    };
    let release = release_fetch(tx, release).await?;
    let pins = Pins::read(tx, release.digests()).await?;
    let once = done_once(state, &pins.process.process).into_iter();
    let mut done = order.options.done_steps;
    done.extend(once.map(|step| (step, number(row.number))));
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&name| name.to_owned()).collect()
    }

    fn set(all: &[&str]) -> BTreeSet<String> {
        names(all).into_iter().collect()
    }

    const STEPS: [&str; 3] = ["Warm", "Work", "Notify"];

    #[test]
    fn what_was_chosen_before_holds_where_nothing_else_is_said() {
        let before = PlanOptions {
            only_targets: set(&["web01", "web02"]),
            not_targets: set(&["web03"]),
            skip_steps: set(&["Notify"]),
            unavailable: Some(Unavailable::Skip),
            time_limit_ms: Some(60_000),
            guided_failure: Some(true),
            ..PlanOptions::default()
        };
        let silent = choices(&DeploymentChoices::default(), &before, Some(&STEPS));
        assert_eq!(silent.exclude, names(&["web03"]));
        assert_eq!(silent.skip, names(&["Notify"]));
        assert_eq!(silent.unavailable, Some(UnavailableTargets::Skip));
        assert_eq!(silent.time_limit.as_deref(), Some("1m"));
        assert_eq!(silent.guided_failure, Some(true));
        assert!(silent.targets.is_empty(), "those are the ones that failed");

        let said = DeploymentChoices {
            skip: names(&["Warm"]),
            unavailable: Some(UnavailableTargets::Fail),
            time_limit: Some("2h".to_owned()),
            guided_failure: Some(false),
            ..DeploymentChoices::default()
        };
        let mixed = choices(&said, &before, Some(&STEPS));
        assert_eq!(mixed.skip, names(&["Notify", "Warm"]));
        assert_eq!(mixed.unavailable, Some(UnavailableTargets::Fail));
        assert_eq!(mixed.time_limit.as_deref(), Some("2h"));
        assert_eq!(mixed.guided_failure, Some(false));

        let only = DeploymentChoices {
            only: names(&["Notify"]),
            ..DeploymentChoices::default()
        };
        let only = choices(&only, &before, Some(&STEPS));
        assert_eq!((only.only, only.skip), (names(&["Notify"]), Vec::new()));
        let another = choices(&DeploymentChoices::default(), &before, None);
        assert!(another.skip.is_empty(), "another release has other steps");
        assert_eq!(another.exclude, names(&["web03"]));

        let only_before = PlanOptions {
            only_steps: set(&["Work"]),
            ..PlanOptions::default()
        };
        let silent = choices(&DeploymentChoices::default(), &only_before, Some(&STEPS));
        assert_eq!(silent.skip, names(&["Notify", "Warm"]));
        assert!(silent.only.is_empty(), "nobody asks for it by name");
    }
}
