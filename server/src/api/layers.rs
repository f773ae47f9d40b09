//! What surrounds every request: identity, limits, headers, the log.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use uuid::Uuid;

use super::error::{self, ApiError};
use super::problem::Problem;
use crate::services::{self, Caller, Services};

/// The id of a request, in the answer and in the log.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How often a request is tried whose transaction collides with others.
const MOST_TRIES: u32 = 5;
/// The longest pause before it is tried a second time; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long a request that is no stream may take. Taking a large package apart takes minutes.
const DEADLINE: Duration = Duration::from_mins(15);

/// The outermost layer: names the request, logs it, and puts the name into problem documents.
pub(super) async fn name_and_log(mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().simple().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    let began = Instant::now();
    let response = next.run(request).await;
    let response = name_problem(response, &id);
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(request.id = %id, %method, path, status, duration_ms, "request answered");
    secure(response, &id)
}

fn name_problem(mut response: Response, id: &str) -> Response {
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    problem.request = Some(id.to_owned());
    let Ok(body) = serde_json::to_vec(&problem) else {
        return response;
    };
    response.headers_mut().remove(CONTENT_LENGTH);
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Body::from(body))
}

fn secure(mut response: Response, id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("strict-transport-security"),
        HeaderValue::from_static("max-age=31536000"),
    );
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Deny by default: a request without a valid key goes no further.
pub(super) async fn authenticate(
    State(services): State<Services>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = request.extensions().get::<RequestId>();
    let request_id = request_id.map(|id| id.0.clone());
    let token = bearer(&request);
    match services.authenticate(token.as_deref()).await {
        Ok(actor) => {
            request.extensions_mut().insert(Caller {
                actor,
                request: request_id,
            });
            next.run(request).await
        }
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn bearer(request: &Request) -> Option<String> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// A request whose transaction collided with another is done again. That is harmless: nothing of that
/// transaction was kept, and who writes in several, as retention does in portions, goes on where it was.
pub(super) async fn try_again(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let body = match Bytes::from_request(whole, &()).await {
        Ok(body) => body,
        Err(rejection) => return ApiError::from(rejection).into_response(),
    };
    let again = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    let mut pause = FIRST_PAUSE;
    let mut response = next.clone().run(again()).await;
    for _ in 1..MOST_TRIES {
        if !error::is_collision(&response) {
            break;
        }
        tracing::debug!(
            path = parts.uri.path(),
            "a request collided with another; again"
        );
        // Those that collided must not come back at the same moment.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause *= 2;
        response = next.clone().run(again()).await;
    }
    response
}

/// No request waits for ever. A stream's headers come at once; its body is not limited by this.
pub(super) async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::from(services::Error::Unavailable {
            detail: "the request took longer than 15 minutes".to_owned(),
        })
        .into_response(),
    }
}

/// A handler that panicked: the connection and the server live on.
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let why = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    ApiError::from(services::Error::internal(
        "a handler",
        format!("it panicked: {why}"),
    ))
    .into_response()
}
