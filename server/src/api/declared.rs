//! What is declared in files: applying, exporting, and what stands.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{
    ApplyRequest, ApplyResult, Environment, Export, Lifecycle, Page, Project, ProjectDetail,
};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services};

/// Which project.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProjectQuery {
    /// Only this project.
    project: Option<String>,
}

/// Applies files, all or none; with `dry_run` only says what would change.
#[utoipa::path(post, path = "/apply", tag = "projects", request_body = ApplyRequest, responses((status = 200, body = ApplyResult)))]
pub(super) async fn apply(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<ApplyRequest>,
) -> ApiResult<Json<ApplyResult>> {
    Ok(Json(services.apply(&caller, &body).await?))
}

/// Files that `apply` reads.
#[utoipa::path(get, path = "/export", tag = "projects", params(ProjectQuery), responses((status = 200, body = Export)))]
pub(super) async fn export(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<ProjectQuery>,
) -> ApiResult<Json<Export>> {
    Ok(Json(
        services.export(&caller, query.project.as_deref()).await?,
    ))
}

/// All environments, in order.
#[utoipa::path(get, path = "/environments", tag = "projects", responses((status = 200, body = Page<Environment>)))]
pub(super) async fn environments(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Environment>>> {
    Ok(Json(Page::whole(services.environment_list(&caller).await?)))
}

/// All lifecycles.
#[utoipa::path(get, path = "/lifecycles", tag = "projects", responses((status = 200, body = Page<Lifecycle>)))]
pub(super) async fn lifecycles(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Lifecycle>>> {
    Ok(Json(Page::whole(services.lifecycle_list(&caller).await?)))
}

/// One lifecycle.
#[utoipa::path(get, path = "/lifecycles/{name}", tag = "projects", params(("name" = String, Path, description = "its name")), responses((status = 200, body = Lifecycle)))]
pub(super) async fn lifecycle(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Lifecycle>> {
    Ok(Json(services.lifecycle_show(&caller, &name).await?))
}

/// All projects.
#[utoipa::path(get, path = "/projects", tag = "projects", responses((status = 200, body = Page<Project>)))]
pub(super) async fn projects(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Project>>> {
    Ok(Json(Page::whole(services.project_list(&caller).await?)))
}

/// One project.
#[utoipa::path(get, path = "/projects/{name}", tag = "projects", params(("name" = String, Path, description = "its name")), responses((status = 200, body = ProjectDetail)))]
pub(super) async fn project(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<ProjectDetail>> {
    Ok(Json(services.project_show(&caller, &name).await?))
}
