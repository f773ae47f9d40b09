//! Agents and join tokens.

use axum::extract::State;
use http::StatusCode;

use super::body::{
    Agent, InstallCommandCreate, JoinToken, JoinTokenCreate, JoinTokenCreated, Page,
};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

/// All agents, active ones first.
#[utoipa::path(get, path = "/agents", tag = "targets", responses((status = 200, body = Page<Agent>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Agent>>> {
    Ok(Json(Page::whole(services.agent_list(&caller).await?)))
}

/// Revokes an agent, by its target or its id: it is out within a second.
#[utoipa::path(post, path = "/agents/{agent}/revoke", tag = "targets", params(("agent" = String, Path, description = "its target or id")), responses((status = 200, body = Agent)))]
pub(super) async fn revoke(
    State(services): State<Services>,
    caller: Caller,
    Path(agent): Path<String>,
) -> ApiResult<Json<Agent>> {
    Ok(Json(services.agent_revoke(&caller, &agent).await?))
}

/// All join tokens, the newest first.
#[utoipa::path(get, path = "/join-tokens", tag = "targets", responses((status = 200, body = Page<JoinToken>)))]
pub(super) async fn token_list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<JoinToken>>> {
    Ok(Json(Page::whole(services.join_token_list(&caller).await?)))
}

/// Makes a join token, which is in this answer and never again.
#[utoipa::path(post, path = "/join-tokens", tag = "targets", request_body = JoinTokenCreate, responses((status = 201, body = JoinTokenCreated)))]
pub(super) async fn token_create(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<JoinTokenCreate>,
) -> ApiResult<(StatusCode, Json<JoinTokenCreated>)> {
    Ok((
        StatusCode::CREATED,
        Json(services.join_token_create(&caller, &body).await?),
    ))
}

/// Makes a join token and the line that installs an agent with it, which are in this answer and never
/// again.
#[utoipa::path(post, path = "/install-commands", tag = "targets", request_body = InstallCommandCreate, responses((status = 201, body = JoinTokenCreated)))]
pub(super) async fn install_command(
    State(services): State<Services>,
    caller: Caller,
    Json(body): Json<InstallCommandCreate>,
) -> ApiResult<(StatusCode, Json<JoinTokenCreated>)> {
    let created = services.install_command(&caller, &body.token, body.os);
    Ok((StatusCode::CREATED, Json(created.await?)))
}

/// Revokes a join token.
#[utoipa::path(delete, path = "/join-tokens/{id}", tag = "targets", params(("id" = String, Path, description = "its id")), responses((status = 200, body = JoinToken)))]
pub(super) async fn token_revoke(
    State(services): State<Services>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Json<JoinToken>> {
    Ok(Json(services.join_token_revoke(&caller, &id).await?))
}
