//! Just enough of a URL: scheme, host, port, path and query.

/// A URL that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Url {
    pub(in crate::actions) is_https: bool,
    /// Without brackets.
    pub(in crate::actions) host: String,
    pub(in crate::actions) port: u16,
    /// Path and query, percent-encoded where they must be.
    pub(in crate::actions) target: String,
}

impl Url {
    pub(in crate::actions) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("url: '{text}' {why}");
        let text = text.trim();
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| bad("has no scheme; write http://HOST/ or https://HOST/"))?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(bad("has a scheme other than http and https")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(bad(
                "holds a user name; send an Authorization header instead",
            ));
        }
        let (host, port) =
            host_and_port(authority).ok_or_else(|| bad("has no valid host and port"))?;
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        Ok(Self {
            is_https,
            host: host.to_owned(),
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
            target: encode(&target),
        })
    }

    /// What goes into the `Host` header.
    pub(in crate::actions) fn host_header(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(inner) = authority.strip_prefix('[') {
        let (host, after) = inner.split_once(']')?;
        match after {
            "" => (host, None),
            after => (host, Some(after.strip_prefix(':')?)),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || !host.chars().all(allowed) {
        return None;
    }
    let port = match port {
        None => None,
        Some(digits) => Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    Some((host, port))
}

/// Encodes what may not stand in a request line; what is encoded already stays.
fn encode(target: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        for (text, host, port, target, header) in [
            ("http://a/", "a", 80, "/", "a"),
            ("http://a", "a", 80, "/", "a"),
            (
                "https://a.b:8443/x?y=z#f",
                "a.b",
                8443,
                "/x?y=z",
                "a.b:8443",
            ),
            (
                "http://[::1]:8080/ü a",
                "::1",
                8080,
                "/%C3%BC%20a",
                "[::1]:8080",
            ),
            ("HTTP://a?q", "a", 80, "/?q", "a"),
            ("http://a/%20", "a", 80, "/%20", "a"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.target, target);
            assert_eq!(url.host_header(), header);
        }
        for text in [
            "a",
            "ftp://a",
            "http://",
            "http://:1",
            "http://a:0",
            "http://a:x",
            "http://u:p@a/",
            "http://a b/",
            "http://a\r\nX: y/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }
}
