//! The typed HTTP client that the command line and the tests use.
//!
//! Every call has a deadline, believes one certificate authority (see [`Trust`]), and answers with
//! the body's type or with a [`ClientError`] that says what to do next.

mod calls;
mod error;
mod health;
mod identify;
mod release_edit;
pub mod sse;
mod trust;

use std::time::Duration;

use mantle_shared::Digest;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::ClientError;
pub use self::identify::{Identity, identify};
pub use self::trust::Trust;
use crate::api::problem::{PROBLEM_JSON, Problem};

const CONNECT: Duration = Duration::from_secs(10);
/// Applying many files or taking a large package apart takes the server a while.
const ANSWER: Duration = Duration::from_mins(1);
/// The longest answer that is not a stream.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Where the server is and how to speak with it.
#[derive(Clone)]
pub struct Endpoint {
    /// `https://host:port`.
    pub url: String,
    /// Whom to believe.
    pub trust: Trust,
    /// The API key.
    pub token: Option<String>,
}

/// A client of one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    shown: String,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.shown)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at an endpoint. Nothing is sent yet.
    pub fn new(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let base = parse_url(&endpoint.url)?;
        let builder = builder();
        let builder = match &endpoint.trust {
            Trust::System => builder.tls_backend_preconfigured(trust::system()?),
            Trust::Authority(der) => builder.tls_backend_preconfigured(trust::pinned(der)?),
        };
        Ok(Self {
            http: build(builder)?,
            shown: shown(&base),
            base,
            token: endpoint.token.clone(),
        })
    }

    /// The server's address, for messages.
    pub fn url(&self) -> &str {
        &self.shown
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path, query)?;
        self.answer(request.timeout(ANSWER)).await
    }

    async fn send<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &B,
    ) -> Result<T, ClientError> {
        let request = self.request(method, path, &[])?.json(body);
        self.answer(request.timeout(ANSWER)).await
    }

    async fn act<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
    ) -> Result<T, ClientError> {
        self.act_with(method, path, &[]).await
    }

    async fn act_with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let request = self.request(method, path, query)?;
        self.answer(request.timeout(ANSWER)).await
    }

    /// Writes an answer's bytes somewhere as they come; gives their digest. Each piece has a deadline
    /// of its own, so that a slow line may take as long as it takes.
    async fn download(
        &self,
        path: &[&str],
        to: &mut dyn std::io::Write,
    ) -> Result<Digest, ClientError> {
        let request = self.request(Method::GET, path, &[])?;
        let mut response = match tokio::time::timeout(ANSWER, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(self.broken("no answer in time")),
        };
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        let mut hasher = blake3::Hasher::new();
        loop {
            match tokio::time::timeout(ANSWER, response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    hasher.update(&bytes);
                    to.write_all(&bytes).map_err(|error| ClientError::Setup {
                        why: format!("what came cannot be written: {error}"),
                    })?;
                }
                Ok(Ok(None)) => return Ok(Digest::from(hasher.finalize())),
                Ok(Err(_)) => return Err(self.broken("the answer was cut off")),
                Err(_) => return Err(self.broken("nothing came for a minute")),
            }
        }
    }

    /// Opens an event stream after a sequence.
    pub(crate) async fn open_stream(
        &self,
        path: &[&str],
        after: Option<u64>,
    ) -> Result<Response, ClientError> {
        let after = after.map(|after| after.to_string());
        let query: Vec<(&str, &str)> = after.iter().map(|a| ("after", a.as_str())).collect();
        let request = self
            .request(Method::GET, path, &query)?
            .header("accept", "text/event-stream");
        let sent = tokio::time::timeout(ANSWER, request.send()).await;
        let response = match sent {
            Ok(sent) => sent.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(self.broken("no answer in time")),
        };
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.problem(response).await)
        }
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, ClientError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ClientError::Setup {
                why: format!("'{}' cannot have a path", self.shown),
            })?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if !response.status().is_success() {
            return Err(self.problem(response).await);
        }
        let body = self.body(response).await?;
        // An answer without a body is JSON's null.
        let bytes: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(bytes).map_err(|error| ClientError::Strange {
            url: self.shown.clone(),
            why: error.to_string(),
        })
    }

    async fn problem(&self, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let is_problem = response
            .headers()
            .get("content-type")
            .is_some_and(|value| value.as_bytes().starts_with(PROBLEM_JSON.as_bytes()));
        let body = match self.body(response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_problem => ClientError::Refused(Box::new(problem)),
            _ => ClientError::Strange {
                url: self.shown.clone(),
                why: format!("status {status} without a problem document"),
            },
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY_BYTES => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    return Err(ClientError::Strange {
                        url: self.shown.clone(),
                        why: "its answer is larger than 64 MiB".to_owned(),
                    });
                }
                Ok(None) => return Ok(body),
                Err(_) => return Err(self.broken("the answer was cut off")),
            }
        }
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        error::from_transport(&self.shown, error)
    }

    fn broken(&self, why: &str) -> ClientError {
        ClientError::Broken {
            url: self.shown.clone(),
            why: why.to_owned(),
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("mantle/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .https_only(true)
        // A key must never follow a redirect to somebody else.
        .redirect(reqwest::redirect::Policy::none())
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ClientError> {
    builder.build().map_err(|error| ClientError::Setup {
        why: error.to_string(),
    })
}

/// Reads a server's URL as people type it: the scheme may be left out.
pub fn parse_url(text: &str) -> Result<Url, ClientError> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let bad = |why: &str| ClientError::Setup {
        why: format!("'{text}' is not a server's URL ({why}); write https://host:port"),
    };
    let mut url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
    if url.scheme() != "https" {
        return Err(bad("only https is spoken"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    if !text
        .trim_end_matches('/')
        .contains(&format!("{}:", host(&url)))
        && url.port().is_none()
    {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| bad("port"))?;
    }
    url.set_fragment(None);
    url.set_query(None);
    Ok(url)
}

/// The port that a server listens on unless it is told otherwise.
pub const DEFAULT_PORT: u16 = 7443;

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// A URL as messages show it: without a slash at the end.
pub(crate) fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn urls_are_read_as_people_type_them() {
        for (typed, expected) in [
            ("mantle.example", "https://mantle.example:7443"),
            ("mantle.example:8443", "https://mantle.example:8443"),
            ("https://mantle.example:443/", "https://mantle.example"),
            ("https://10.0.0.1:7443", "https://10.0.0.1:7443"),
        ] {
            assert_eq!(shown(&parse_url(typed).unwrap()), expected, "{typed}");
        }
        for typed in ["http://mantle.example", "https://", "a b"] {
            assert!(parse_url(typed).is_err(), "{typed}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_what_to_check() {
        let client = Client::new(&Endpoint {
            url: "https://127.0.0.1:1".to_owned(),
            trust: Trust::System,
            token: None,
        })
        .unwrap();
        let error = client.server_info().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Unreachable { .. }),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            "cannot reach the server at https://127.0.0.1:1: nothing listens there \
             (connection refused)"
        );
        assert!(error.help().unwrap().contains("mantle server run"));
    }
}
