//! API keys.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{ApiKey, ApiKeyCreate, ApiKeyCreated, Page};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services};

/// All API keys, good ones first.
#[utoipa::path(get, path = "/apikeys", tag = "access", responses((status = 200, body = Page<ApiKey>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<ApiKey>>> {
    Ok(Json(Page::whole(services.api_key_list(&caller).await?)))
}

/// Makes an API key; its token is in this answer and never again.
#[utoipa::path(post, path = "/apikeys", tag = "access", request_body = ApiKeyCreate, responses((status = 201, body = ApiKeyCreated)))]
pub(super) async fn create(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<ApiKeyCreate>,
) -> ApiResult<(StatusCode, Json<ApiKeyCreated>)> {
    Ok((
        StatusCode::CREATED,
        Json(services.api_key_create(&caller, &body).await?),
    ))
}

/// How to revoke.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct RevokeQuery {
    /// Also the last key of an administrator.
    #[serde(default)]
    force: bool,
}

/// Revokes an API key at once.
#[utoipa::path(delete, path = "/apikeys/{name}", tag = "access", params(("name" = String, Path, description = "its name"), RevokeQuery), responses((status = 200, body = ApiKey)))]
pub(super) async fn revoke(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<RevokeQuery>,
) -> ApiResult<Json<ApiKey>> {
    let revoked = services.api_key_revoke(&caller, &name, query.force);
    Ok(Json(revoked.await?))
}
