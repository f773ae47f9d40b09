//! Locks: what is held, and breaking it.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{HeldLock, LockBreak, Page};
use super::error::ApiResult;
use super::extract::{Json, Query};
use crate::services::{Caller, Services};

/// Which locks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LockQuery {
    /// Only those on this target.
    target: Option<String>,
}

/// The locks that are held, the oldest first.
#[utoipa::path(get, path = "/locks", tag = "locks", params(LockQuery), responses((status = 200, body = Page<HeldLock>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<LockQuery>,
) -> ApiResult<Json<Page<HeldLock>>> {
    let items = services.lock_list(&caller, query.target.as_deref()).await?;
    Ok(Json(Page::whole(items)))
}

/// Breaks a lock: whoever waits for it goes on, although the process that held it may live. Takes
/// the permission to break locks. Answers with all that its holders held.
#[utoipa::path(post, path = "/locks/break", tag = "locks", request_body = LockBreak, responses((status = 200, body = Page<HeldLock>)))]
pub(super) async fn break_one(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<LockBreak>,
) -> ApiResult<Json<Page<HeldLock>>> {
    let items = services.lock_break(&caller, &body).await?;
    Ok(Json(Page::whole(items)))
}
