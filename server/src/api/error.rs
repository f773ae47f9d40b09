//! Turns every refusal into its HTTP answer, in this one place, and logs faults with their cause.

use std::error::Error as StdError;

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};

use super::problem::{PROBLEM_JSON, Problem};
use crate::services;

/// The code of what collided with another transaction each time that it was tried.
const COLLISION: &str = "collision";

/// Whether an answer says that its transaction collided with another.
pub(super) fn is_collision(response: &Response) -> bool {
    let problem = response.extensions().get::<Problem>();
    problem.is_some_and(|problem| problem.code == COLLISION)
}

/// A refusal on its way out.
#[derive(Debug)]
pub struct ApiError(pub Problem);

/// What a handler answers.
pub(super) type ApiResult<T> = Result<T, ApiError>;

impl From<services::Error> for ApiError {
    fn from(error: services::Error) -> Self {
        use services::Error;
        let detail = error.to_string();
        Self(match error {
            Error::Unauthenticated { .. } => {
                Problem::new(401, "unauthenticated", "not logged in", detail).with_help(
                    "send a valid API key as 'Authorization: Bearer mtl_...'; 'mantle login URL' \
                     stores one",
                )
            }
            Error::Forbidden { help, .. } => {
                Problem::new(403, "forbidden", "not allowed", detail).with_help(help)
            }
            Error::NotFound { help, .. } => {
                Problem::new(404, "not-found", "no such thing", detail).with_help(help)
            }
            Error::Missing { reasons, help, .. } => {
                Problem::new(404, "not-found", "no such thing", detail)
                    .with_reasons(reasons)
                    .with_help(help)
            }
            Error::Exists { code, help, .. } => {
                Problem::new(409, code, "it exists already", detail).with_help(help)
            }
            Error::Refused {
                code,
                reasons,
                help,
                ..
            } => Problem::new(409, code, "refused as things stand", detail)
                .with_reasons(reasons)
                .with_help(help),
            Error::Invalid {
                code,
                reasons,
                help,
                ..
            } => Problem::new(422, code, "this cannot be meant", detail)
                .with_reasons(reasons)
                .with_help(help),
            Error::TooLarge { help, .. } => {
                Problem::new(413, "too-large", "too large", detail).with_help(help)
            }
            Error::StorageFull { .. } => {
                Problem::new(507, "storage-full", "the server's disk is full", detail)
                    .with_help("free disk space on the server, then run the command again")
            }
            Error::Unavailable { .. } => Problem::new(503, "unavailable", "not just now", detail)
                .with_help("run the command again in a moment"),
            Error::Collision { .. } => Problem::new(503, COLLISION, "not just now", detail)
                .with_help("run the command again in a moment"),
            Error::Internal { operation, source } => {
                tracing::error!(operation, error = chain(&*source), "a request failed");
                Problem::new(500, "internal", "an internal error", detail)
                    .with_help("the server's log says more under the request's id")
            }
        })
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let (status, code) = match &rejection {
            JsonRejection::JsonDataError(_) => (422, "invalid-body"),
            JsonRejection::MissingJsonContentType(_) => (415, "not-json"),
            other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => (413, "too-large"),
            _ => (400, "not-json"),
        };
        // The cause names the field and the place; the outer text only says that it failed.
        let detail = rejection
            .source()
            .map_or_else(|| rejection.body_text(), chain);
        Self(
            Problem::new(status, code, "the body cannot be read", detail)
                .with_help("/api/v1/openapi.json describes every body"),
        )
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        let (status, code) = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => (413, "too-large"),
            _ => (400, "invalid-body"),
        };
        let detail = rejection.body_text();
        Self(Problem::new(
            status,
            code,
            "the body cannot be read",
            detail,
        ))
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self(Problem::new(
            400,
            "invalid-query",
            "the query cannot be read",
            rejection.body_text(),
        ))
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self(Problem::new(
            400,
            "invalid-path",
            "the path cannot be read",
            rejection.body_text(),
        ))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        // The outermost layer adds the request's id to the document.
        response.extensions_mut().insert(self.0);
        response
    }
}

/// The answer for a path that is none.
pub(super) async fn no_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError(
        Problem::new(
            404,
            "no-route",
            "no such path",
            format!("nothing is at {path}"),
        )
        .with_help("/api/v1/openapi.json lists every path"),
    )
}

/// The answer for a method that a path does not have.
pub(super) async fn no_method(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError(
        Problem::new(
            405,
            "no-method",
            "no such method",
            format!("{path} does not have that method"),
        )
        .with_help("/api/v1/openapi.json lists every path with its methods"),
    )
}

/// The texts of an error and its causes.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
