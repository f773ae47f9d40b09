//! Asking web servers: one request over HTTP/1.1, its address, its TLS.

mod client;
#[cfg(test)]
pub(super) mod testing;
mod tls;
mod url;

pub(super) use client::{Answer, Body, Request, check_headers};
pub(super) use tls::config as tls_config;
pub(super) use url::Url;

/// The beginning of a body on one line, without what would move a terminal's cursor.
pub(super) fn snippet(body: &[u8], most_chars: usize) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(most_chars)
        .collect()
}
