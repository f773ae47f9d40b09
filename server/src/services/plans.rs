//! Plans that bind: what each rests on is kept under its id, and a deployment that names the id is
//! refused when that is not so any more.

use std::collections::BTreeMap;

use mantle_domain::explain::{NamedRelease, Refusal};
use mantle_domain::ids::ReleaseId;
use mantle_domain::plan::Plan;
use mantle_domain::plan::basis::{ID_PREFIX, PlanBasis, PlanKind, ReleaseDigests};
use mantle_domain::variable::prompt::named;

use super::Services;
use super::error::{Error, Result};
use crate::api::body::{DeploymentCreate, PlanPrompt};
use crate::security::Secret;
use crate::store::{StoreError, Tx, plan_find, plan_keep, project_find, release_find};

/// What a plan rests on beside what became of the targets.
#[derive(Debug, Clone, Copy)]
pub struct Footing<'a> {
    /// What is deployed, before anything is answered.
    pub digests: ReleaseDigests,
    /// The release that it goes back from, if it is a rollback.
    pub back_from: Option<ReleaseId>,
    /// What was given for it, as marks.
    pub given: &'a BTreeMap<String, String>,
}

impl Footing<'_> {
    fn basis(self, plan: &Plan) -> PlanBasis {
        PlanBasis::new(plan, self.digests, self.given).going_back(self.back_from)
    }
}

impl Services {
    /// Keeps what a plan rests on; answers its id.
    pub(super) async fn plan_keep(&self, plan: &Plan, footing: Footing<'_>) -> Result<String> {
        let (body, id) = footing
            .basis(plan)
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

/// Refuses a plan that is another now, that is of another kind, or that is unknown.
pub(super) async fn check(
    tx: &mut Tx,
    asked: &str,
    now: &Plan,
    footing: Footing<'_>,
) -> Result<()> {
    let kept = if asked.starts_with(ID_PREFIX) {
        kept(tx, asked).await?
    } else {
        None
    };
    let Some(was) = kept else {
        return Err(Error::not_found(
            "plan",
            asked,
            [],
            "'mantle plan' makes one and prints its id, and so does 'mantle rollback --dry-run'; it is kept for 30 days",
        ));
    };
    let kind = footing.basis(now).kind();
    if was.kind() != kind {
        let (is, meant) = (told(was.kind()), told(kind));
        let Plan {
            project,
            release,
            environment,
            ..
        } = &was.plan;
        return Err(Error::refused(
            "plan-of-another-kind",
            format!(
                "plan {asked} is of a {is} to {project} {release} in '{environment}', and this is a {meant}"
            ),
            format!(
                "what it shows is done by: {}",
                command(tx, asked, &was).await?
            ),
        ));
    }
    match bound(tx, asked, now, footing).await? {
        None => Ok(()),
        Some(refusal) => Err(refusal.into()),
    }
}

fn told(kind: PlanKind) -> &'static str {
    match kind {
        PlanKind::Deployment => "deployment",
        PlanKind::Rollback => "rollback",
    }
}

/// What does what a plan shows. With which of the release's variables a rollback goes back is told
/// by their digest: where the release has them now, it may as well be told to take those.
async fn command(tx: &mut Tx, asked: &str, was: &PlanBasis) -> Result<String> {
    let (slug, version) = (&was.plan.project, &was.plan.release);
    let environment = &was.plan.environment;
    if was.kind() == PlanKind::Deployment {
        return Ok(format!(
            "mantle deploy {slug} {version} -e {environment} --plan {asked}"
        ));
    }
    let release = match project_find(tx, slug).await? {
        Some(project) => release_find(tx, project.id, version).await?,
        None => None,
    };
    let current = release.is_some_and(|release| release.variables == was.variables);
    let more = if current { " --current-variables" } else { "" };
    Ok(format!(
        "mantle rollback {slug} -e {environment} --to {version}{more} --plan {asked}"
    ))
}

/// Why a deployment that is bound to a plan may not begin; `None` if what the plan rests on is as
/// it was.
pub async fn bound(
    tx: &mut Tx,
    asked: &str,
    now: &Plan,
    footing: Footing<'_>,
) -> std::result::Result<Option<Refusal>, StoreError> {
    let basis = footing.basis(now);
    let (_, id) = basis.identify().map_err(|error| unreadable(asked, error))?;
    if id == asked {
        return Ok(None);
    }
    let changes = match kept(tx, asked).await? {
        None => vec!["what it rested on is not known any more".to_owned()],
        Some(was) => was.changes(&basis),
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
        kind: basis.kind(),
        changes,
    }))
}

async fn kept(tx: &mut Tx, asked: &str) -> std::result::Result<Option<PlanBasis>, StoreError> {
    let body = plan_find(tx, asked).await?;
    body.map(|body| serde_json::from_str(&body).map_err(|error| unreadable(asked, error)))
        .transpose()
}

fn unreadable(asked: &str, error: serde_json::Error) -> StoreError {
    StoreError::corrupt(format!("plan {asked}: {error}"))
}
