//! `UriPart`: takes an absolute URI apart.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Answer, Call, truth};

pub(super) fn part(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    let Some(wanted) = call.args.first() else {
        return Ok("[UriPart error: no argument given]".to_owned());
    };
    let known = [
        "absolutepath",
        "absoluteuri",
        "authority",
        "dnssafehost",
        "fragment",
        "host",
        "hostandport",
        "hostnametype",
        "isabsoluteuri",
        "isdefaultport",
        "isfile",
        "isloopback",
        "isunc",
        "path",
        "pathandquery",
        "port",
        "query",
        "scheme",
        "schemeandserver",
        "userinfo",
    ];
    let name = wanted.to_ascii_lowercase();
    if !known.contains(&name.as_str()) {
        return Ok(format!(
            "[UriPart {wanted} error: argument '{wanted}' not supported]"
        ));
    }
    let Some(uri) = Uri::parse(text.trim()) else {
        if name == "isabsoluteuri" {
            return Ok(truth(false));
        }
        return Ok(format!(
            "[UriPart {wanted} error: This operation is not supported for a relative URI.]"
        ));
    };
    Ok(uri.part(&name))
}

struct Uri<'u> {
    scheme: String,
    /// Whether `//` follows the scheme.
    hierarchical: bool,
    user: &'u str,
    host: String,
    port: Option<u16>,
    path: String,
    query: String,
    fragment: String,
}

impl<'u> Uri<'u> {
    fn parse(text: &'u str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        // One letter is a drive.
        if scheme.len() < 2
            || !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.chars().all(name)
        {
            return None;
        }
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let hierarchical = rest.starts_with("//");
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = match server
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'))
        {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
            None => (server, None),
        };
        let path = if hierarchical && path.is_empty() {
            "/".to_owned()
        } else {
            escaped(path)
        };
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            hierarchical,
            user,
            host: host.to_ascii_lowercase(),
            port,
            path,
            query: escaped(query),
            fragment: escaped(fragment),
        })
    }

    fn default_port(&self) -> Option<u16> {
        Some(match self.scheme.as_str() {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            "ftp" => 21,
            "ssh" | "sftp" => 22,
            "telnet" => 23,
            "mailto" => 25,
            "gopher" => 70,
            "nntp" => 119,
            "ldap" => 389,
            "net.tcp" => 808,
            _ => return None,
        })
    }

    fn own_port(&self) -> String {
        match self.port.filter(|port| Some(*port) != self.default_port()) {
            Some(port) => format!(":{port}"),
            None => String::new(),
        }
    }

    fn authority(&self) -> String {
        self.host.clone() + &self.own_port()
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn part(&self, name: &str) -> String {
        match name {
            "absolutepath" => self.path.clone(),
            "absoluteuri" => self.absolute(),
            "authority" => self.authority(),
            "dnssafehost" => self.bare_host().to_owned(),
            "fragment" => self.fragment.clone(),
            "host" => self.host.clone(),
            "hostandport" => match self.port.or(self.default_port()) {
                Some(port) => format!("{}:{port}", self.host),
                None => self.host.clone(),
            },
            "hostnametype" => self.host_kind().to_owned(),
            "isabsoluteuri" => truth(true),
            "isdefaultport" => truth(self.port.is_none() || self.port == self.default_port()),
            "isfile" => truth(self.scheme == "file"),
            "isloopback" => truth(self.is_loopback()),
            "isunc" => truth(self.scheme == "file" && !self.host.is_empty()),
            "path" => unescaped(&self.path),
            "pathandquery" => format!("{}{}", self.path, self.query),
            "port" => self
                .port
                .or(self.default_port())
                .map_or_else(|| "-1".to_owned(), |port| port.to_string()),
            "query" => self.query.clone(),
            "scheme" => self.scheme.clone(),
            "schemeandserver" => format!("{}://{}", self.scheme, self.authority()),
            _ => self.user.to_owned(),
        }
    }

    fn absolute(&self) -> String {
        let user = if self.user.is_empty() {
            String::new()
        } else {
            format!("{}@", self.user)
        };
        let slashes = if self.hierarchical { "//" } else { "" };
        let (scheme, authority) = (&self.scheme, self.authority());
        format!(
            "{scheme}:{slashes}{user}{authority}{}{}{}",
            self.path, self.query, self.fragment
        )
    }

    fn host_kind(&self) -> &'static str {
        if self.host.is_empty() {
            if self.scheme == "file" {
                "Basic"
            } else {
                "Unknown"
            }
        } else if self.host.parse::<Ipv4Addr>().is_ok() {
            "IPv4"
        } else if self.bare_host().parse::<Ipv6Addr>().is_ok() {
            "IPv6"
        } else {
            "Dns"
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host == "loopback"
            || (self.host.is_empty() && self.scheme == "file")
            || self
                .host
                .parse::<Ipv4Addr>()
                .is_ok_and(|ip| ip.is_loopback())
            || self
                .bare_host()
                .parse::<Ipv6Addr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

/// Cuts at the first `mark`, which stays with the second half.
fn cut(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

/// What may not stand in a URI as it is, percent-encoded.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic()
            && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
        {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = code {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
