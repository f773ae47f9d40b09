//! Health checks.

use axum::extract::State;

use super::body::{HealthCheck, HealthCheckRun, Page, Task};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

/// All health checks, with what they found last.
#[utoipa::path(get, path = "/health-checks", tag = "targets", responses((status = 200, body = Page<HealthCheck>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<HealthCheck>>> {
    Ok(Json(Page::whole(
        services.health_check_list(&caller).await?,
    )))
}

/// One health check.
#[utoipa::path(get, path = "/health-checks/{name}", tag = "targets", params(("name" = String, Path, description = "its name")), responses((status = 200, body = HealthCheck)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<HealthCheck>> {
    Ok(Json(services.health_check_show(&caller, &name).await?))
}

/// Runs health checks now: a task for each that is about one of the targets.
#[utoipa::path(post, path = "/health-checks/run", tag = "targets", request_body = HealthCheckRun, responses((status = 200, body = Page<Task>)))]
pub(super) async fn run(
    State(services): State<Services>,
    caller: Caller,
    Json(request): Json<HealthCheckRun>,
) -> ApiResult<Json<Page<Task>>> {
    let tasks = services.health_check_run(&caller, &request).await?;
    Ok(Json(Page::whole(tasks)))
}
