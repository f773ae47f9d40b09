//! Packages and resumable uploads.

use std::time::SystemTime;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::attachment::attachment;
use super::body::{
    Package, PackageCollect, PackageCollected, PackagePlatform, PackageVerified, PackageVerify,
    PackageVersion, Page, Upload, UploadCreate,
};
use super::error::{ApiError, ApiResult};
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Error, Services};

/// Where a piece begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PieceQuery {
    /// The offset, which must be where the upload stands.
    offset: u64,
}

/// How a package is to be taken in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FinishQuery {
    /// The only platform that it is for; none if it may go anywhere.
    platform: Option<PackagePlatform>,
}

/// All packages.
#[utoipa::path(get, path = "/packages", tag = "packages", responses((status = 200, body = Page<Package>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Package>>> {
    Ok(Json(Page::whole(services.package_list(&caller).await?)))
}

/// A package's versions, the newest first.
#[utoipa::path(get, path = "/packages/{id}/versions", tag = "packages", params(("id" = String, Path, description = "the package")), responses((status = 200, body = Page<PackageVersion>)))]
pub(super) async fn versions(
    State(services): State<Services>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Json<Page<PackageVersion>>> {
    Ok(Json(Page::whole(
        services.package_versions(&caller, &id).await?,
    )))
}

/// One version of a package.
#[utoipa::path(get, path = "/packages/{id}/versions/{version}", tag = "packages", params(("id" = String, Path, description = "the package"), ("version" = String, Path, description = "the version")), responses((status = 200, body = PackageVersion)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> ApiResult<Json<PackageVersion>> {
    Ok(Json(services.package_show(&caller, &id, &version).await?))
}

/// Deletes a version that no release and no running task needs.
#[utoipa::path(delete, path = "/packages/{id}/versions/{version}", tag = "packages", params(("id" = String, Path, description = "the package"), ("version" = String, Path, description = "the version")), responses((status = 200, body = PackageVersion)))]
pub(super) async fn delete(
    State(services): State<Services>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> ApiResult<Json<PackageVersion>> {
    Ok(Json(services.package_delete(&caller, &id, &version).await?))
}

/// Reads a version's bytes again, and puts back what is lost if that is asked for.
#[utoipa::path(post, path = "/packages/{id}/versions/{version}/verify", tag = "packages", params(("id" = String, Path, description = "the package"), ("version" = String, Path, description = "the version")), request_body = PackageVerify, responses((status = 200, body = PackageVerified)))]
pub(super) async fn verify(
    State(services): State<Services>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
    Json(body): Json<PackageVerify>,
) -> ApiResult<Json<PackageVerified>> {
    Ok(Json(
        services
            .package_verify(&caller, &id, &version, body)
            .await?,
    ))
}

/// A version's archive, byte for byte as it was pushed.
#[utoipa::path(get, path = "/packages/{id}/versions/{version}/archive", tag = "packages", params(("id" = String, Path, description = "the package"), ("version" = String, Path, description = "the version")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(super) async fn download(
    State(services): State<Services>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> ApiResult<Response> {
    let (name, archive) = services.package_open(&caller, &id, &version).await?;
    Ok(attachment(&name, archive))
}

/// Removes what no package and no release names, or says what that would be.
#[utoipa::path(post, path = "/packages/collect", tag = "packages", request_body = PackageCollect, responses((status = 200, body = PackageCollected)))]
pub(super) async fn collect(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<PackageCollect>,
) -> ApiResult<Json<PackageCollected>> {
    let now = SystemTime::now();
    Ok(Json(services.package_collect(&caller, body, now).await?))
}

/// Begins an upload, or finds the one of the same bytes to go on with.
#[utoipa::path(post, path = "/uploads", tag = "packages", request_body = UploadCreate, responses((status = 201, body = Upload)))]
pub(super) async fn upload_create(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<UploadCreate>,
) -> ApiResult<(StatusCode, Json<Upload>)> {
    Ok((
        StatusCode::CREATED,
        Json(services.upload_create(&caller, &body).await?),
    ))
}

/// How far an upload is.
#[utoipa::path(get, path = "/uploads/{upload}", tag = "packages", params(("upload" = String, Path, description = "its id")), responses((status = 200, body = Upload)))]
pub(super) async fn upload_show(
    State(services): State<Services>,
    caller: Caller,
    Path(upload): Path<String>,
) -> ApiResult<Json<Upload>> {
    Ok(Json(services.upload_show(&caller, &upload).await?))
}

/// Takes a complete upload apart and makes it a version of its package.
#[utoipa::path(post, path = "/uploads/{upload}/finish", tag = "packages", params(("upload" = String, Path, description = "its id"), FinishQuery), responses((status = 201, body = PackageVersion)))]
pub(super) async fn upload_finish(
    State(services): State<Services>,
    caller: Caller,
    Path(upload): Path<String>,
    Query(query): Query<FinishQuery>,
) -> ApiResult<(StatusCode, Json<PackageVersion>)> {
    let version = services
        .upload_finish(&caller, &upload, query.platform)
        .await?;
    Ok((StatusCode::CREATED, Json(version)))
}

/// Appends bytes. What the answer says is on disk; what was sent of a piece that broke off is not
/// lost either.
#[utoipa::path(patch, path = "/uploads/{upload}", tag = "packages",
    params(("upload" = String, Path, description = "its id"), PieceQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Upload)))]
pub(super) async fn upload_append(
    State(services): State<Services>,
    caller: Caller,
    Path(upload): Path<String>,
    Query(query): Query<PieceQuery>,
    body: Body,
) -> ApiResult<Json<Upload>> {
    let mut piece = services
        .upload_append(&caller, &upload, query.offset)
        .await?;
    let mut stream = body.into_data_stream();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| broken(&error))?;
        piece.write(bytes).await?;
    }
    Ok(Json(services.upload_appended(piece).await?))
}

fn broken(error: &axum::Error) -> ApiError {
    Error::invalid(
        "broken-body",
        format!("the body broke off: {error}"),
        "ask where the upload is and go on from there",
    )
    .into()
}
