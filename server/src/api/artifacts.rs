//! Artifacts: the files that a task's steps left behind.

use axum::extract::State;
use axum::response::Response;

use super::attachment::attachment;
use super::body::{Artifact, Page};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

/// The files that a task's steps left behind.
#[utoipa::path(get, path = "/tasks/{task}/artifacts", tag = "tasks", params(("task" = String, Path, description = "its number")), responses((status = 200, body = Page<Artifact>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
) -> ApiResult<Json<Page<Artifact>>> {
    Ok(Json(Page::whole(
        services.artifact_list(&caller, &task).await?,
    )))
}

/// The bytes of one of them, as the step left it behind.
#[utoipa::path(get, path = "/tasks/{task}/artifacts/{artifact}", tag = "tasks",
    params(("task" = String, Path, description = "the task's number"), ("artifact" = u64, Path, description = "the file's number in the task")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(super) async fn download(
    State(services): State<Services>,
    caller: Caller,
    Path((task, artifact)): Path<(String, u64)>,
) -> ApiResult<Response> {
    let (name, archive) = services.artifact_open(&caller, &task, artifact).await?;
    Ok(attachment(&name, archive))
}
