//! Deployments, plans, and what runs where.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{
    DeploymentCreate, DeploymentDiff, DeploymentManifest, Page, PlanBody, PlanPrompt,
    RetentionResult, RetentionRun, StatusBody, Task,
};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services};

/// Which project.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatusQuery {
    /// Only this project.
    project: Option<String>,
}

/// What a deployment would do, target by target. Changes nothing.
#[utoipa::path(post, path = "/plans", tag = "deployments", request_body = DeploymentCreate, responses((status = 200, body = PlanBody)))]
pub(super) async fn plan(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<DeploymentCreate>,
) -> ApiResult<Json<PlanBody>> {
    Ok(Json(services.deployment_plan(&caller, &body).await?))
}

/// What a deployment would ask for, and what of it is answered. Changes nothing.
#[utoipa::path(post, path = "/prompts", tag = "deployments", request_body = DeploymentCreate, responses((status = 200, body = Page<PlanPrompt>)))]
pub(super) async fn prompts(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<DeploymentCreate>,
) -> ApiResult<Json<Page<PlanPrompt>>> {
    let items = services.deployment_prompts(&caller, &body).await?;
    Ok(Json(Page::whole(items)))
}

/// Queues a deployment, if the rules allow it.
#[utoipa::path(post, path = "/deployments", tag = "deployments", request_body = DeploymentCreate, responses((status = 201, body = Task)))]
pub(super) async fn create(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<DeploymentCreate>,
) -> ApiResult<(StatusCode, Json<Task>)> {
    Ok((
        StatusCode::CREATED,
        Json(services.deploy(&caller, &body).await?),
    ))
}

/// What runs where.
#[utoipa::path(get, path = "/status", tag = "deployments", params(StatusQuery), responses((status = 200, body = StatusBody)))]
pub(super) async fn status(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<StatusQuery>,
) -> ApiResult<Json<StatusBody>> {
    Ok(Json(
        services.status(&caller, query.project.as_deref()).await?,
    ))
}

/// What a deployment in fact used.
#[utoipa::path(get, path = "/deployments/{number}", tag = "deployments", params(("number" = String, Path, description = "its task's number")), responses((status = 200, body = DeploymentManifest)))]
pub(super) async fn manifest(
    State(services): State<Services>,
    caller: Caller,
    Path(number): Path<String>,
) -> ApiResult<Json<DeploymentManifest>> {
    Ok(Json(services.deployment_manifest(&caller, &number).await?))
}

/// How another deployment differed from this one.
#[utoipa::path(get, path = "/deployments/{number}/diff/{other}", tag = "deployments", params(("number" = String, Path, description = "its task's number"), ("other" = String, Path, description = "the other one's")), responses((status = 200, body = DeploymentDiff)))]
pub(super) async fn diff(
    State(services): State<Services>,
    caller: Caller,
    Path((number, other)): Path<(String, String)>,
) -> ApiResult<Json<DeploymentDiff>> {
    Ok(Json(
        services.deployment_diff(&caller, &number, &other).await?,
    ))
}

/// Removes what the rules of lifecycles no longer keep, or says what that is.
#[utoipa::path(post, path = "/retention", tag = "deployments", request_body = RetentionRun, responses((status = 200, body = RetentionResult)))]
pub(super) async fn retention(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<RetentionRun>,
) -> ApiResult<Json<RetentionResult>> {
    Ok(Json(services.retention_run(&caller, body.dry_run).await?))
}
