//! Join tokens: what an operator pastes on a machine so that it may enrol.
//!
//! `mj1.<id>.<secret>.<pin>`: the token's id (32 hex digits), 256 random bits (URL-safe base64
//! without padding) and the SHA-256 fingerprint of the server's certificate authority (64 hex
//! digits). The server stores a hash of the secret; the pin lets the agent know the server before
//! it says a word.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::tls::Fingerprint;

/// A join token, taken apart. It has no `Debug` that would show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Which token it is; the server looks it up by this.
    pub id: Uuid,
    /// The secret that proves the holder was given it.
    pub secret: [u8; 32],
    /// The certificate authority that the server must prove.
    pub pin: Fingerprint,
}

/// Why a text is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It does not begin with `mj1.`.
    #[error("a join token begins with 'mj1.'")]
    Prefix,
    /// It does not have four parts, or one of them cannot be read.
    #[error("the join token is damaged: its {part} cannot be read; copy the whole line again")]
    Part {
        /// Which part is bad: `id`, `secret` or `pin`.
        part: &'static str,
    },
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mj1.{}.{}.{}",
            self.id.simple(),
            URL_SAFE_NO_PAD.encode(self.secret),
            hex::encode(self.pin.as_bytes())
        )
    }
}

impl FromStr for JoinToken {
    type Err = BadToken;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.trim().strip_prefix("mj1.").ok_or(BadToken::Prefix)?;
        let mut parts = rest.split('.');
        let mut part = |name| parts.next().ok_or(BadToken::Part { part: name });
        let (id, secret, pin) = (part("id")?, part("secret")?, part("pin")?);
        let id = Uuid::try_parse(id).map_err(|_| BadToken::Part { part: "id" })?;
        let secret = URL_SAFE_NO_PAD
            .decode(secret)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(BadToken::Part { part: "secret" })?;
        let pin = pin.parse().map_err(|_| BadToken::Part { part: "pin" })?;
        if parts.next().is_some() {
            return Err(BadToken::Part { part: "pin" });
        }
        Ok(Self { id, secret, pin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            id: Uuid::from_u128(7),
            secret: [9; 32],
            pin: Fingerprint::from_bytes([3; 32]),
        }
    }

    #[test]
    fn text_round_trips_and_debug_hides_the_secret() {
        let token = token();
        assert_eq!(token.to_string().parse::<JoinToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains(&URL_SAFE_NO_PAD.encode(token.secret)));
    }

    #[test]
    fn damage_is_named() {
        let text = token().to_string();
        assert_eq!("x".parse::<JoinToken>(), Err(BadToken::Prefix));
        assert_eq!(
            text[..text.len() - 3].parse::<JoinToken>(),
            Err(BadToken::Part { part: "pin" })
        );
        assert_eq!(
            "mj1.zz".parse::<JoinToken>(),
            Err(BadToken::Part { part: "secret" })
        );
    }
}
