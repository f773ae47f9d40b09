//! Secrets: paths and values in, paths out.

use axum::extract::State;
use http::StatusCode;

use super::body::{Page, Secret, SecretSet};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

/// The paths of all secrets.
#[utoipa::path(get, path = "/secrets", tag = "access", responses((status = 200, body = Page<Secret>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Secret>>> {
    Ok(Json(Page::whole(services.secret_list(&caller).await?)))
}

/// Gives a secret a value.
#[utoipa::path(put, path = "/secrets/{*path}", tag = "access", params(("path" = String, Path, description = "its path")), request_body = SecretSet, responses((status = 200, body = Secret)))]
pub(super) async fn set(
    State(services): State<Services>,
    caller: Caller,
    Path(path): Path<String>,
    Json(body): Json<SecretSet>,
) -> ApiResult<Json<Secret>> {
    Ok(Json(services.secret_set(&caller, &path, body).await?))
}

/// Deletes a secret; releases that pinned it keep their value.
#[utoipa::path(delete, path = "/secrets/{*path}", tag = "access", params(("path" = String, Path, description = "its path")), responses((status = 204)))]
pub(super) async fn delete(
    State(services): State<Services>,
    caller: Caller,
    Path(path): Path<String>,
) -> ApiResult<StatusCode> {
    services.secret_delete(&caller, &path).await?;
    Ok(StatusCode::NO_CONTENT)
}
