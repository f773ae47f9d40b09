//! What handlers take in and give out, with refusals as problem documents.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::Serialize;

use super::error::ApiError;
use crate::services::{self, Caller};

/// A JSON body.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(super) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The parts of a path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(super) struct Path<T>(pub T);

/// The query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(super) struct Query<T>(pub T);

/// Who asks. The authentication layer put it there; without it nothing is answered.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            services::Error::Unauthenticated {
                detail: "the request carries no API key".to_owned(),
            }
            .into()
        })
    }
}

/// The sequence after which a stream goes on, from `Last-Event-ID`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastEventId(pub u64);

impl<S: Send + Sync> OptionalFromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, ApiError> {
        let header = parts.headers.get("last-event-id");
        let text = header.and_then(|value| value.to_str().ok());
        Ok(text.and_then(|text| text.trim().parse().ok()).map(Self))
    }
}
