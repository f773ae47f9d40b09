//! Teams: who is in which.

use axum::extract::State;

use super::body::{Page, Team, TeamAdd};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

/// All teams that have a member.
#[utoipa::path(get, path = "/teams", tag = "teams", responses((status = 200, body = Page<Team>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<Team>>> {
    Ok(Json(services.team_list(&caller).await?))
}

/// Puts a key into a team.
#[utoipa::path(post, path = "/teams/{team}/members", tag = "teams", params(("team" = String, Path, description = "its name")), request_body = TeamAdd, responses((status = 200, body = Team)))]
pub(super) async fn add(
    State(services): State<Services>,
    caller: Caller,
    Path(team): Path<String>,
    Json(body): Json<TeamAdd>,
) -> ApiResult<Json<Team>> {
    Ok(Json(services.team_add(&caller, &team, &body.key).await?))
}

/// Takes a key out of a team.
#[utoipa::path(delete, path = "/teams/{team}/members/{key}", tag = "teams", params(("team" = String, Path, description = "its name"), ("key" = String, Path, description = "the key's name")), responses((status = 200, body = Team)))]
pub(super) async fn remove(
    State(services): State<Services>,
    caller: Caller,
    Path((team, key)): Path<(String, String)>,
) -> ApiResult<Json<Team>> {
    Ok(Json(services.team_remove(&caller, &team, &key).await?))
}
