//! Files of the object store as answers: whole, and never shown by a browser as a page of ours.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};

use crate::packages::read::Archive;

/// The file under this name. Somebody else wrote it: it is bytes to a browser, whatever it holds.
pub(super) fn attachment(name: &str, archive: Archive) -> Response {
    let length = archive.size_bytes();
    let mut response = Body::from_stream(archive.stream(0)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, octets);
    if let Ok(value) = HeaderValue::from_str(&disposition(name)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
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
