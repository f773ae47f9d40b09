//! Variables of projects and releases, and variable sets.

use axum::extract::State;

use super::body::{
    ApplyResult, Page, VariableExplanation, VariablePlace, VariablePut, VariableRemove,
    VariableSet, VariableSetDetail, VariableView,
};
use super::error::ApiResult;
use super::extract::{Json, Path, Query};
use crate::services::{Caller, Services};

/// The variables of a project: what holds in a place, or every value of all of them.
#[utoipa::path(get, path = "/projects/{name}/variables", tag = "variables", params(("name" = String, Path, description = "the project"), VariablePlace), responses((status = 200, body = Page<VariableView>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
    Query(place): Query<VariablePlace>,
) -> ApiResult<Json<Page<VariableView>>> {
    let items = services.variable_list(&caller, &name, &place).await?;
    Ok(Json(Page::whole(items)))
}

/// Why a variable has its value in a place.
#[utoipa::path(get, path = "/projects/{name}/variables/{variable}", tag = "variables", params(("name" = String, Path, description = "the project"), ("variable" = String, Path, description = "its name"), VariablePlace), responses((status = 200, body = VariableExplanation)))]
pub(super) async fn explain(
    State(services): State<Services>,
    caller: Caller,
    Path((name, variable)): Path<(String, String)>,
    Query(place): Query<VariablePlace>,
) -> ApiResult<Json<VariableExplanation>> {
    let found = services.variable_explain(&caller, &name, &variable, &place);
    Ok(Json(found.await?))
}

/// Gives a project's variable a value, in place of the one of the same scope.
#[utoipa::path(put, path = "/projects/{name}/variables/{variable}", tag = "variables", params(("name" = String, Path, description = "the project"), ("variable" = String, Path, description = "its name")), request_body = VariablePut, responses((status = 200, body = ApplyResult)))]
pub(super) async fn put(
    State(services): State<Services>,
    caller: Caller,
    Path((name, variable)): Path<(String, String)>,
    Json(body): Json<VariablePut>,
) -> ApiResult<Json<ApplyResult>> {
    let done = services.variable_put(&caller, &name, &variable, &body);
    Ok(Json(done.await?))
}

/// Takes a value of a project's variable away, or all of them.
#[utoipa::path(delete, path = "/projects/{name}/variables/{variable}", tag = "variables", params(("name" = String, Path, description = "the project"), ("variable" = String, Path, description = "its name")), request_body = VariableRemove, responses((status = 200, body = ApplyResult)))]
pub(super) async fn remove(
    State(services): State<Services>,
    caller: Caller,
    Path((name, variable)): Path<(String, String)>,
    Json(body): Json<VariableRemove>,
) -> ApiResult<Json<ApplyResult>> {
    let done = services.variable_remove(&caller, &name, &variable, &body);
    Ok(Json(done.await?))
}

/// All variable sets.
#[utoipa::path(get, path = "/variable-sets", tag = "variables", responses((status = 200, body = Page<VariableSet>)))]
pub(super) async fn sets(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<Page<VariableSet>>> {
    let items = services.variable_set_list(&caller).await?;
    Ok(Json(Page::whole(items)))
}

/// One variable set and its variables.
#[utoipa::path(get, path = "/variable-sets/{name}", tag = "variables", params(("name" = String, Path, description = "its name")), responses((status = 200, body = VariableSetDetail)))]
pub(super) async fn set(
    State(services): State<Services>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<VariableSetDetail>> {
    Ok(Json(services.variable_set_show(&caller, &name).await?))
}
