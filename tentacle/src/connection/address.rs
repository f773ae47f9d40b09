//! Where the server is: `host:port`, resolved anew at each dial.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// The port that a server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 7443;
/// How long a name server may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// A server's address as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name or an IP address (without brackets).
    pub host: String,
    /// The UDP port.
    pub port: u16,
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a server address: write HOST:PORT, such as mantle.example:7443")]
pub struct BadAddress {
    /// What was given.
    pub text: String,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver says so.
    #[error("the name '{host}' cannot be resolved")]
    Failed {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
    /// The resolver gave an empty list.
    #[error("the name '{host}' has no address")]
    Empty {
        /// The name.
        host: String,
    },
    /// The resolver did not answer.
    #[error("the name server did not answer for '{host}' within {} s", RESOLVE_TIMEOUT.as_secs())]
    Timeout {
        /// The name.
        host: String,
    },
}

impl ServerAddress {
    /// Asks the resolver, every time: a server may have moved since.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        let host = || self.host.clone();
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, lookup)
            .await
            .map_err(|_| ResolveError::Timeout { host: host() })?
            .map_err(|source| ResolveError::Failed {
                host: host(),
                source,
            })?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(ResolveError::Empty { host: host() });
        }
        Ok(addresses)
    }
}

impl FromStr for ServerAddress {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadAddress {
            text: text.chars().take(200).collect(),
        };
        let trimmed = text.trim();
        // People paste what their browser shows.
        let rest = trimmed.strip_prefix("https://").unwrap_or(trimmed);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            let (host, after) = inner.split_once(']').ok_or_else(bad)?;
            (
                host,
                after.strip_prefix(':').or((after.is_empty()).then_some("")),
            )
        } else if rest.matches(':').count() > 1 {
            (rest, Some(""))
        } else {
            match rest.split_once(':') {
                Some((host, port)) if !port.is_empty() => (host, Some(port)),
                Some(_) => return Err(bad()),
                None => (rest, Some("")),
            }
        };
        let port = match port.ok_or_else(bad)? {
            "" => DEFAULT_PORT,
            digits => digits.parse().map_err(|_| bad())?,
        };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c);
        if host.is_empty() || host.contains(strange) || port == 0 {
            return Err(bad());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, shown) in [
            ("mantle.example:7443", "mantle.example:7443"),
            ("mantle.example", "mantle.example:7443"),
            (" https://mantle.example:8443/ ", "mantle.example:8443"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[::1]:9", "[::1]:9"),
            ("[::1]", "[::1]:7443"),
            ("::1", "[::1]:7443"),
        ] {
            assert_eq!(
                text.parse::<ServerAddress>().unwrap().to_string(),
                shown,
                "{text}"
            );
        }
        for text in [
            "", ":7443", "a:", "a:b", "a:0", "a:70000", "a b:1", "[::1", "[::1]x", "u@h:1",
        ] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
