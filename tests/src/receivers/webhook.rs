//! A web server that keeps what is posted to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::wait::wait_for;

/// One request.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
}

#[derive(Default)]
struct Kept {
    received: Vec<Received>,
    /// How many requests are yet to be told that it is busy.
    busy: u32,
}

/// The server; it ends with this.
pub struct Webhook {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

impl Webhook {
    /// Starts one that tells the first few that it is busy.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(busy: u32) -> Self {
        let kept = Arc::new(Mutex::new(Kept {
            busy,
            ..Kept::default()
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let app = Router::new().fallback(keep).with_state(Arc::clone(&kept));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            kept,
            task,
        }
    }

    /// The address of one of its paths.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that came to this path and was taken.
    ///
    /// # Panics
    /// When an earlier reader panicked.
    pub fn at(&self, path: &str) -> Vec<Received> {
        let kept = self.kept.lock().expect("not poisoned");
        let here = kept.received.iter().filter(|one| one.path == path);
        here.cloned().collect()
    }

    /// Waits for the first that comes to this path.
    pub async fn first_at(&self, path: &str, within: Duration) -> Received {
        wait_for(&format!("a request to {path}"), within, || async {
            self.at(path).first().cloned().ok_or("none came".to_owned())
        })
        .await
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    State(kept): State<Arc<Mutex<Kept>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut kept = kept.lock().expect("not poisoned");
    if kept.busy > 0 {
        kept.busy -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    kept.received.push(Received {
        path: uri.path().to_owned(),
        headers: headers.collect(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    });
    StatusCode::OK
}
