//! Targets.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{MaintenanceSet, Page, Target, TargetTags};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services, TargetSwitch};

/// Which targets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TargetQuery {
    /// Only those of this environment.
    environment: Option<String>,
    /// Only those with this tag.
    tag: Option<String>,
}

/// Targets by name.
#[utoipa::path(get, path = "/targets", tag = "targets", params(TargetQuery), responses((status = 200, body = Page<Target>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<TargetQuery>,
) -> ApiResult<Json<Page<Target>>> {
    Ok(Json(Page::whole(
        services
            .target_list(&caller, query.environment.as_deref(), query.tag.as_deref())
            .await?,
    )))
}

/// One target.
#[utoipa::path(get, path = "/targets/{name}", tag = "targets", params(("name" = String, Path, description = "its name")), responses((status = 200, body = Target)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Target>> {
    Ok(Json(services.target_show(&caller, &name).await?))
}

/// Forgets a target and revokes its agent.
#[utoipa::path(delete, path = "/targets/{name}", tag = "targets", params(("name" = String, Path, description = "its name")), responses((status = 204)))]
pub(super) async fn remove(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    services.target_remove(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a target tags and takes some away.
#[utoipa::path(post, path = "/targets/{name}/tags", tag = "targets", params(("name" = String, Path, description = "its name")), request_body = TargetTags, responses((status = 200, body = Target)))]
pub(super) async fn tag(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<TargetTags>,
) -> ApiResult<Json<Target>> {
    Ok(Json(services.target_tag(&caller, &name, &body).await?))
}

/// Takes a target into maintenance, so that deployments leave it out and say so, or out of it.
#[utoipa::path(put, path = "/targets/{name}/maintenance", tag = "targets", params(("name" = String, Path, description = "its name")), request_body = MaintenanceSet, responses((status = 200, body = Target)))]
pub(super) async fn maintenance(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<MaintenanceSet>,
) -> ApiResult<Json<Target>> {
    Ok(Json(
        services.target_maintenance(&caller, &name, &body).await?,
    ))
}

/// Lets deployments choose a target again.
#[utoipa::path(post, path = "/targets/{name}/enable", tag = "targets", params(("name" = String, Path, description = "its name")), responses((status = 200, body = Target)))]
pub(super) async fn enable(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Target>> {
    Ok(Json(
        services
            .target_switch(&caller, &name, TargetSwitch::Enable)
            .await?,
    ))
}

/// Keeps deployments from choosing a target.
#[utoipa::path(post, path = "/targets/{name}/disable", tag = "targets", params(("name" = String, Path, description = "its name")), responses((status = 200, body = Target)))]
pub(super) async fn disable(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Target>> {
    Ok(Json(
        services
            .target_switch(&caller, &name, TargetSwitch::Disable)
            .await?,
    ))
}
