//! Interruptions: what deployments ask people.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{Interruption, InterruptionAnswer, InterruptionAnswered, Page};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services};

/// Which interruptions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InterruptionQuery {
    /// All that this task ever asked, in place of what is open anywhere.
    task: Option<String>,
}

/// What waits for a person, the oldest first; of one task all that it ever asked.
#[utoipa::path(get, path = "/interruptions", tag = "interruptions", params(InterruptionQuery), responses((status = 200, body = Page<Interruption>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<InterruptionQuery>,
) -> ApiResult<Json<Page<Interruption>>> {
    let task = query.task.as_deref();
    Ok(Json(services.interruption_list(&caller, task).await?))
}

/// One by its name, such as `T-12.1`; the task's number will do if only one is open there.
#[utoipa::path(get, path = "/interruptions/{interruption}", tag = "interruptions", params(("interruption" = String, Path, description = "its name")), responses((status = 200, body = Interruption)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Interruption>> {
    Ok(Json(services.interruption_show(&caller, &name).await?))
}

/// Takes care of one: nobody else answers it, unless they take it over.
#[utoipa::path(post, path = "/interruptions/{interruption}/take", tag = "interruptions", params(("interruption" = String, Path, description = "its name")), responses((status = 200, body = Interruption)))]
pub(super) async fn take(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Interruption>> {
    Ok(Json(services.interruption_take(&caller, &name).await?))
}

/// Answers one. Members of the teams that it names may, or whoever may answer anything.
#[utoipa::path(post, path = "/interruptions/{interruption}/answer", tag = "interruptions", params(("interruption" = String, Path, description = "its name")), request_body = InterruptionAnswer, responses((status = 200, body = InterruptionAnswered)))]
pub(super) async fn answer(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<InterruptionAnswer>,
) -> ApiResult<Json<InterruptionAnswered>> {
    Ok(Json(
        services.interruption_answer(&caller, &name, &body).await?,
    ))
}
