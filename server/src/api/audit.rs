//! The audit trail.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{AuditEntry, AuditVerified, Page};
use super::error::ApiResult;
use super::extract::{Json, Query};
use crate::services::{Caller, Services};

/// The most entries of one page.
const MOST: u32 = 1000;

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only entries with a lower number.
    before: Option<u64>,
    /// How many, at most 1000.
    limit: Option<u32>,
}

impl AuditQuery {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(100).clamp(1, MOST)
    }
}

/// Entries, the newest first.
#[utoipa::path(get, path = "/audit", tag = "access", params(AuditQuery), responses((status = 200, body = Page<AuditEntry>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> ApiResult<Json<Page<AuditEntry>>> {
    Ok(Json(
        services
            .audit_list(&caller, query.before, query.limit())
            .await?,
    ))
}

/// Checks that no entry was changed, removed or put in between.
#[utoipa::path(get, path = "/audit/verify", tag = "access", responses((status = 200, body = AuditVerified)))]
pub(super) async fn verify(
    State(services): State<Services>,
    caller: Caller,
) -> ApiResult<Json<AuditVerified>> {
    Ok(Json(services.audit_verify(&caller).await?))
}
