//! What a machine fetches before it has any right here: the script, and the agent's programs. Nothing
//! else is answered without a login, and nothing here is secret.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio_util::io::ReaderStream;

use super::error::ApiResult;
use super::extract::Path;
use crate::installers::Platform;
use crate::services::{Error, Services};

/// How long one download may take, however slow the line is: it takes a place of a few.
const DOWNLOAD: Duration = Duration::from_mins(15);
const PIECE_BYTES: usize = 64 * 1024;

/// The script of Linux.
pub(super) async fn script(State(services): State<Services>) -> ApiResult<Response> {
    let script = services.installers.script().await;
    let script = script.map_err(|error| Error::internal("the installation script", error))?;
    let kind = HeaderValue::from_static("text/x-shellscript; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], script).into_response())
}

/// The agent's program for a platform.
pub(super) async fn program(
    State(services): State<Services>,
    Path(name): Path<String>,
) -> ApiResult<Response> {
    let installers = &services.installers;
    let platform = Platform::of_file(&name).ok_or_else(|| {
        let names = Platform::ALL.map(Platform::file_name);
        Error::not_found(
            "file to install",
            &name,
            names,
            "the script names the right one",
        )
    })?;
    let found = installers.programs.find(platform).await;
    let found = found.map_err(|error| Error::internal("the agent's program", error))?;
    let program = found.ok_or_else(|| {
        let help = "'mantle agent install-command' says where the server looks for it";
        Error::not_found("agent program", &name, [], help)
    })?;
    let permit = installers.download().ok_or_else(|| Error::Unavailable {
        detail: "too many downloads at once; try again in a moment".to_owned(),
    })?;
    let file = tokio::fs::File::open(&program.path).await;
    let file = file.map_err(|error| Error::internal("the agent's program", error))?;
    let stream = ReaderStream::with_capacity(file, PIECE_BYTES)
        .take_until(tokio::time::sleep(DOWNLOAD))
        .inspect(move |_| {
            // Given back when the stream ends, however it does.
            let _ = &permit;
        });
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(program.size_bytes));
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, octets);
    Ok(response)
}
