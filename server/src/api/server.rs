//! The server itself.

use axum::extract::State;
use mantle_domain::permission::Permission;

use super::body::{ServerInfo, ServerRecovered, ServerStatus};
use super::error::ApiResult;
use super::extract::Json;
use crate::services::{Caller, Services};

/// Who answers, and as whom the caller is known.
#[utoipa::path(get, path = "/server", tag = "server", responses((status = 200, body = ServerInfo)))]
pub(super) async fn show(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<ServerInfo>> {
    caller.may(Permission::Read)?;
    let server = &services.server;
    Ok(Json(ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
        advertise: server.advertise.clone(),
        ca_fingerprint: server.authority.to_string(),
        started_at: server.started_at,
        key: caller.actor.name,
        team: caller.actor.team,
    }))
}

/// How the server stands: whether it was restored, which agents are ahead of it, what is missing.
#[utoipa::path(get, path = "/server/status", tag = "server", responses((status = 200, body = ServerStatus)))]
pub(super) async fn status(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<ServerStatus>> {
    Ok(Json(services.server_status(&caller).await?))
}

/// Takes a restored server into use: its agents obey it from then on.
#[utoipa::path(post, path = "/server/recover", tag = "server", responses((status = 200, body = ServerRecovered)))]
pub(super) async fn recover(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<ServerRecovered>> {
    Ok(Json(services.server_recover(&caller).await?))
}
