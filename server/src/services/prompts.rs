//! Answers to the prompts of a deployment: checked, put in the place of the prompts in a copy of the
//! release's variables, and kept with the task as a snapshot of its own.
//!
//! A sensitive answer is sealed like every secret, under a path that nobody can name: the task's
//! body, the audit trail and the snapshot hold its mark only.

use std::collections::BTreeMap;

use mantle_domain::explain::Refusal;
use mantle_domain::ids::{SecretVersionId, TaskId};
use mantle_domain::snapshot::VariableSnapshot;
use mantle_domain::variable::prompt::{self, Answer, Asked, Control, Prompt, answer, fill};
use mantle_domain::variable::{DEPLOYMENT_PROCESS, PinnedSecret, Situation, VariableValue};
use mantle_shared::Digest;

use super::deploy::Place;
use super::error::{Error, Result};
use super::planning::Pins;
use super::releases::{document, pinned_secrets};
use super::{Caller, Services, mint};
use crate::api::body::{Answers, PlanPrompt};
use crate::security::{SECRET_VERSION_TABLE, Secret};
use crate::store::{ANSWER_PATH, NewSecretVersion, SnapshotKind, Tx, secret_keep, snapshot_keep};

/// The variables of a deployment.
pub(super) struct Answered {
    /// The snapshot with the answers in place.
    pub(super) digest: Digest,
    /// What people gave, by variable; `None` for a secret.
    pub(super) shown: BTreeMap<String, Option<String>>,
}

/// What the deployment asks, for those who plan it.
pub(super) fn asked(
    place: &Place,
    snapshot: &VariableSnapshot,
    given: &Answers,
) -> Result<Vec<PlanPrompt>> {
    let answers = answer(&snapshot.variables, &situation(place), given.expose())?;
    let shown = answers.into_iter();
    Ok(shown
        .map(|answer| shape(&answer.asked, !answer.by_default))
        .collect())
}

/// The same for those who are about to be asked: what is missing is no fault yet.
pub(super) fn open(
    place: &Place,
    snapshot: &VariableSnapshot,
    given: &Answers,
) -> Result<Vec<PlanPrompt>> {
    let (variables, situation) = (&snapshot.variables, situation(place));
    if let Err(mut refusals) = answer(variables, &situation, given.expose()) {
        refusals.retain(|refusal| !matches!(refusal, Refusal::PromptsUnanswered { .. }));
        if !refusals.is_empty() {
            return Err(refusals.into());
        }
    }
    let asked = prompt::asked(variables, &situation)?;
    let answered = |one: &Asked<'_>| given.expose().keys().any(|name| one.is_named(name));
    Ok(asked.iter().map(|one| shape(one, answered(one))).collect())
}

fn shape(asked: &Asked<'_>, answered: bool) -> PlanPrompt {
    let Prompt {
        label,
        description,
        required,
        default,
        control,
    } = asked.prompt.clone();
    let (control, options) = match control {
        Control::Text => ("text", Vec::new()),
        Control::MultiLine => ("multi-line", Vec::new()),
        Control::Checkbox => ("checkbox", Vec::new()),
        Control::Select(options) => ("select", options),
        Control::Sensitive => ("sensitive", Vec::new()),
    };
    PlanPrompt {
        variable: asked.variable.to_owned(),
        label,
        description,
        control: control.to_owned(),
        options,
        required,
        default,
        answered,
    }
}

/// The variables as the answers make them, for a plan: nothing is kept.
pub(super) fn preview(
    place: &Place,
    snapshot: VariableSnapshot,
    given: &Answers,
) -> Result<VariableSnapshot> {
    let answers = answer(&snapshot.variables, &situation(place), given.expose())?;
    let values = answers.into_iter().map(|answer| {
        let value = if answer.is_secret() {
            VariableValue::Secret(answer.asked.variable.to_owned())
        } else {
            VariableValue::Text(answer.text)
        };
        (answer.asked, value)
    });
    let variables = fill(&snapshot.variables, values.collect());
    Ok(VariableSnapshot {
        variables,
        ..snapshot
    })
}

/// The variables of a deployment that is about to be queued, kept.
pub(super) async fn keep(
    services: &Services,
    tx: &mut Tx,
    caller: &Caller,
    task: TaskId,
    place: &Place,
    pins: &Pins,
    given: &Answers,
) -> Result<Answered> {
    let snapshot = &pins.variables;
    let answers = answer(&snapshot.variables, &situation(place), given.expose())?;
    if answers.is_empty() {
        return Ok(Answered {
            digest: place.digests.variables,
            shown: BTreeMap::new(),
        });
    }
    let at_us = services.now().as_microsecond();
    let mut shown = BTreeMap::new();
    let mut values = Vec::with_capacity(answers.len());
    for answer in answers {
        let secret = answer.is_secret();
        if !answer.by_default {
            let given = (!secret).then(|| answer.text.clone());
            shown.insert(answer.asked.variable.to_owned(), given);
        }
        let value = if secret {
            seal(services, tx, caller, task, &answer, at_us).await?
        } else {
            VariableValue::Text(answer.text)
        };
        values.push((answer.asked, value));
    }
    let variables = VariableSnapshot {
        format: snapshot.format,
        variables: fill(&snapshot.variables, values),
    };
    let body = document(&variables)?;
    let pinned = pinned_secrets(&variables);
    let digest = snapshot_keep(tx, SnapshotKind::Variables, &body, &pinned, at_us).await?;
    Ok(Answered { digest, shown })
}

async fn seal(
    services: &Services,
    tx: &mut Tx,
    caller: &Caller,
    task: TaskId,
    answer: &Answer<'_>,
    at_us: i64,
) -> Result<VariableValue> {
    let value = Secret::new(answer.text.clone());
    let id = SecretVersionId::from_uuid(mint());
    let ciphertext = services
        .master_key
        .seal(SECRET_VERSION_TABLE, id.as_bytes(), &value)
        .map_err(|error| Error::internal("sealing an answer", error))?;
    let new = NewSecretVersion {
        id,
        path: format!("{ANSWER_PATH}{task}/{}", answer.asked.variable),
        key_id: services.master_key.active_id(),
        ciphertext,
        mark: services.master_key.mark(&value),
        at_us,
        by: caller.actor.name.clone(),
    };
    secret_keep(tx, &new).await?;
    Ok(VariableValue::PinnedSecret(PinnedSecret {
        path: new.path,
        secret_version: id,
        mark: new.mark,
    }))
}

/// What is known for the whole deployment.
fn situation(place: &Place) -> Situation<'_> {
    Situation {
        environment: Some(&place.environment.name),
        channel: Some(&place.release.channel),
        process: Some(DEPLOYMENT_PROCESS),
        ..Situation::default()
    }
}
