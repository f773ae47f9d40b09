//! Artifacts: the files that a task's steps left behind.

use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};

use super::body::{Artifact, Page};
use super::error::ApiResult;
use super::extract::{Json, Path};
use crate::services::{Caller, Services};

/// The files that a task's steps left behind.
#[utoipa::path(get, path = "/tasks/{task}/artifacts", tag = "tasks", params(("task" = String, Path, description = "its number")), responses((status = 200, body = Page<Artifact>)))]
pub(super) async fn list(
    State(services): State<Services>,
    caller: Caller,
    Path(task): Path<String>,
) -> ApiResult<Json<Page<Artifact>>> {
    Ok(Json(Page::whole(
        services.artifact_list(&caller, &task).await?,
    )))
}

/// The bytes of one of them, as the step left it behind.
#[utoipa::path(get, path = "/tasks/{task}/artifacts/{artifact}", tag = "tasks",
    params(("task" = String, Path, description = "the task's number"), ("artifact" = u64, Path, description = "the file's number in the task")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(super) async fn download(
    State(services): State<Services>,
    caller: Caller,
    Path((task, artifact)): Path<(String, u64)>,
) -> ApiResult<Response> {
    let (name, archive) = services.artifact_open(&caller, &task, artifact).await?;
    let length = archive.size_bytes();
    let mut response = Body::from_stream(archive.stream(0)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    // Never shown by a browser as a page of ours: a step wrote it.
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, octets);
    if let Ok(value) = HeaderValue::from_str(&disposition(&name)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// The file's name as HTTP says it: every byte that is not plain is escaped (RFC 8187).
fn disposition(name: &str) -> String {
    let mut value = "attachment; filename*=UTF-8''".to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            value.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn a_name_cannot_end_the_header() {
        assert_eq!(
            disposition("a\"b\r\n;\u{e4}.log"),
            "attachment; filename*=UTF-8''a%22b%0D%0A%3B%C3%A4.log"
        );
    }
}
