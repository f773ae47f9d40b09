//! Plans that bind: what each rests on is kept under its id, and a deployment that names the id is
//! refused when that is not so any more.

use std::collections::BTreeMap;

use mantle_domain::explain::{NamedRelease, Refusal};
use mantle_domain::plan::Plan;
use mantle_domain::plan::basis::{ID_PREFIX, PlanBasis, ReleaseDigests};
use mantle_domain::variable::prompt::named;

use super::Services;
use super::error::{Error, Result};
use crate::api::body::{DeploymentCreate, PlanPrompt};
use crate::security::Secret;
use crate::store::{StoreError, Tx, plan_find, plan_keep};

impl Services {
    /// Keeps what a plan rests on; answers its id.
    pub(super) async fn plan_keep(
        &self,
        plan: &Plan,
        release: ReleaseDigests,
        given: &BTreeMap<String, String>,
    ) -> Result<String> {
        let basis = PlanBasis::new(plan, release, given);
        let (body, id) = basis
            .identify()
            .map_err(|error| Error::internal("writing a plan", error))?;
        let at_us = self.now().as_microsecond();
        let body = String::from_utf8_lossy(&body).into_owned();
        self.store
            .write(async |tx| plan_keep(tx, &id, &body, at_us).await)
            .await?;
        Ok(id)
    }
}

impl Services {
    /// What is given for a deployment, as marks: a plan is bound to it, and some are secrets.
    /// `prompts` are what is asked for, since an answer may go by a label; one that several have
    /// is refused.
    pub(super) fn given(
        &self,
        request: &DeploymentCreate,
        prompts: &[PlanPrompt],
    ) -> Result<BTreeMap<String, String>> {
        let mut answers = Vec::new();
        for (name, text) in request.variables.expose() {
            let variable = meant(prompts, name)?.map_or(name, |prompt| &prompt.variable);
            answers.push((format!("the answer to '{variable}'"), text));
        }
        let fields = request.fields.iter();
        let fields = fields.map(|(name, text)| (format!("field {name}"), text));
        let comment =
            (!request.comment.is_empty()).then(|| ("the comment".to_owned(), &request.comment));
        let all = answers.into_iter().chain(fields).chain(comment);
        Ok(all
            .map(|(name, text)| (name, self.master_key.mark(&Secret::new(text.clone()))))
            .collect())
    }
}

/// The prompt that a name means: that of the variable of this name, or else the only one with this
/// label.
fn meant<'a>(prompts: &'a [PlanPrompt], name: &str) -> Result<Option<&'a PlanPrompt>> {
    let labels: Vec<(&str, Option<&str>)> = prompts
        .iter()
        .map(|prompt| (prompt.variable.as_str(), prompt.label.as_deref()))
        .collect();
    let found = named(&labels, name).map_err(|why| Refusal::BadAnswer {
        variable: name.to_owned(),
        why,
    })?;
    Ok(found.and_then(|index| prompts.get(index)))
}

/// Refuses a plan that is another now, or that is unknown.
pub(super) async fn check(
    tx: &mut Tx,
    asked: &str,
    now: &Plan,
    release: ReleaseDigests,
    given: &BTreeMap<String, String>,
) -> Result<()> {
    if !asked.starts_with(ID_PREFIX) || plan_find(tx, asked).await?.is_none() {
        return Err(Error::not_found(
            "plan",
            asked,
            [],
            "'mantle plan' makes one and prints its id; it is kept for 30 days",
        ));
    }
    match bound(tx, asked, now, release, given).await? {
        None => Ok(()),
        Some(refusal) => Err(refusal.into()),
    }
}

/// Why a deployment that is bound to a plan may not begin; `None` if what the plan rests on is as
/// it was.
pub async fn bound(
    tx: &mut Tx,
    asked: &str,
    now: &Plan,
    release: ReleaseDigests,
    given: &BTreeMap<String, String>,
) -> std::result::Result<Option<Refusal>, StoreError> {
    let unreadable = |error| StoreError::corrupt(format!("plan {asked}: {error}"));
    let basis = PlanBasis::new(now, release, given);
    let (_, id) = basis.identify().map_err(unreadable)?;
    if id == asked {
        return Ok(None);
    }
    let changes = match plan_find(tx, asked).await? {
        None => vec!["what it rested on is not known any more".to_owned()],
        Some(body) => {
            let was: PlanBasis = serde_json::from_str(&body).map_err(unreadable)?;
            was.changes(&basis)
        }
    };
    // An id from before an upgrade is another, though nothing that it could speak of is.
    if changes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Refusal::PlanChanged {
        plan: asked.to_owned(),
        release: Box::new(NamedRelease {
            project: now.project.clone(),
            version: now.release.clone(),
        }),
        environment: now.environment.clone(),
        changes,
    }))
}
