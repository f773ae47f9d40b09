//! Releases.

use axum::extract::State;
use http::StatusCode;

use super::body::{Page, Release, ReleaseCreate, ReleaseDetail};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

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
