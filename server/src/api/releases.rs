//! Releases.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{
    Page, RefreshVariables, Release, ReleaseBlockCreate, ReleaseChanges, ReleaseCreate,
    ReleaseDetail, ReleaseDiff, ReleaseDrift, ReleaseEdit, ReleaseUnblockCreate, RevertVariables,
    VariablesChanged,
};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services};

/// Which environment.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesQuery {
    /// Where the release would go.
    environment: String,
}

/// A project's releases, the newest first.
#[utoipa::path(get, path = "/projects/{name}/releases", tag = "releases", params(("name" = String, Path, description = "the project")), responses((status = 200, body = Page<Release>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Page<Release>>> {
    Ok(Json(Page::whole(
        services.release_list(&caller, &name).await?,
    )))
}

/// Makes a release: pins process, variables and packages.
#[utoipa::path(post, path = "/projects/{name}/releases", tag = "releases", params(("name" = String, Path, description = "the project")), request_body = ReleaseCreate, responses((status = 201, body = ReleaseDetail)))]
pub(super) async fn create(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<ReleaseCreate>,
) -> ApiResult<(StatusCode, Json<ReleaseDetail>)> {
    Ok((
        StatusCode::CREATED,
        Json(services.release_create(&caller, &name, &body).await?),
    ))
}

/// One release and what it pins.
#[utoipa::path(get, path = "/projects/{name}/releases/{version}", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), responses((status = 200, body = ReleaseDetail)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
) -> ApiResult<Json<ReleaseDetail>> {
    Ok(Json(services.release_show(&caller, &name, &version).await?))
}

/// Edits a release: gives it other notes.
#[utoipa::path(post, path = "/projects/{name}/releases/{version}/edit", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), request_body = ReleaseEdit, responses((status = 200, body = ReleaseDetail)))]
pub(super) async fn edit(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(body): Json<ReleaseEdit>,
) -> ApiResult<Json<ReleaseDetail>> {
    Ok(Json(
        services
            .release_edit(&caller, &name, &version, &body)
            .await?,
    ))
}

/// Blocks a release: it enters no further phase.
#[utoipa::path(post, path = "/projects/{name}/releases/{version}/block", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), request_body = ReleaseBlockCreate, responses((status = 200, body = ReleaseDetail)))]
pub(super) async fn block(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(body): Json<ReleaseBlockCreate>,
) -> ApiResult<Json<ReleaseDetail>> {
    let reason = &body.reason;
    Ok(Json(
        services
            .release_block(&caller, &name, &version, reason)
            .await?,
    ))
}

/// Lifts the block on a release.
#[utoipa::path(post, path = "/projects/{name}/releases/{version}/unblock", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), request_body = ReleaseUnblockCreate, responses((status = 200, body = ReleaseDetail)))]
pub(super) async fn unblock(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(body): Json<ReleaseUnblockCreate>,
) -> ApiResult<Json<ReleaseDetail>> {
    let reason = &body.reason;
    Ok(Json(
        services
            .release_unblock(&caller, &name, &version, reason)
            .await?,
    ))
}

/// Gives a release the variables that its project has now, or says what would change.
#[utoipa::path(post, path = "/projects/{name}/releases/{version}/variables/refresh", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), request_body = RefreshVariables, responses((status = 200, body = VariablesChanged)))]
pub(super) async fn refresh_variables(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(body): Json<RefreshVariables>,
) -> ApiResult<Json<VariablesChanged>> {
    Ok(Json(
        services
            .release_refresh_variables(&caller, &name, &version, &body)
            .await?,
    ))
}

/// Gives a release variables back that it had, or says what would change.
#[utoipa::path(post, path = "/projects/{name}/releases/{version}/variables/revert", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), request_body = RevertVariables, responses((status = 200, body = VariablesChanged)))]
pub(super) async fn revert_variables(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(body): Json<RevertVariables>,
) -> ApiResult<Json<VariablesChanged>> {
    Ok(Json(
        services
            .release_revert_variables(&caller, &name, &version, &body)
            .await?,
    ))
}

/// How another release differs from this one.
#[utoipa::path(get, path = "/projects/{name}/releases/{version}/diff/{other}", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version"), ("other" = String, Path, description = "the other one's version")), responses((status = 200, body = ReleaseDiff)))]
pub(super) async fn diff(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version, other)): Path<(String, String, String)>,
) -> ApiResult<Json<ReleaseDiff>> {
    Ok(Json(
        services
            .release_diff(&caller, &name, &version, &other)
            .await?,
    ))
}

/// How the project as it is now differs from a release.
#[utoipa::path(get, path = "/projects/{name}/releases/{version}/drift", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version")), responses((status = 200, body = ReleaseDrift)))]
pub(super) async fn drift(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
) -> ApiResult<Json<ReleaseDrift>> {
    Ok(Json(
        services.release_drift(&caller, &name, &version).await?,
    ))
}

/// What a release brings to an environment.
#[utoipa::path(get, path = "/projects/{name}/releases/{version}/changes", tag = "releases", params(("name" = String, Path, description = "the project"), ("version" = String, Path, description = "its version"), ChangesQuery), responses((status = 200, body = ReleaseChanges)))]
pub(super) async fn changes(
    State(services): State<Services>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Query(query): Query<ChangesQuery>,
) -> ApiResult<Json<ReleaseChanges>> {
    let environment = &query.environment;
    Ok(Json(
        services
            .release_changes(&caller, &name, &version, environment)
            .await?,
    ))
}
