//! Asks a server who it claims to be, before it is trusted.

use mantle_shared::tls::Fingerprint;

use super::trust::{self, Seen, Trust};
use super::{ANSWER, ClientError, build, builder, error, parse_url, shown};

/// Who a server claims to be.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its URL, in full.
    pub url: String,
    /// Its certificate is good by the roots of this machine.
    pub known_to_system: bool,
    /// The authority of the chain that it shows (DER).
    pub authority: Vec<u8>,
    /// The authority's fingerprint.
    pub fingerprint: Fingerprint,
}

impl Identity {
    /// How to trust this server from now on.
    pub fn trust(&self) -> Trust {
        if self.known_to_system {
            Trust::System
        } else {
            Trust::Authority(self.authority.clone())
        }
    }
}

/// Asks. Nothing but a request for `/healthz` is sent.
pub async fn identify(url: &str) -> Result<Identity, ClientError> {
    let base = parse_url(url)?;
    let url = shown(&base);
    let mut health = base;
    health.set_path("/healthz");
    let seen = Seen::default();
    let curious = build(builder().tls_backend_preconfigured(trust::curious(&seen)?))?;
    curious
        .get(health.clone())
        .timeout(ANSWER)
        .send()
        .await
        .map_err(|failure| error::from_transport(&url, &failure))?;
    let (authority, fingerprint) = seen.authority().ok_or_else(|| ClientError::Strange {
        url: url.clone(),
        why: "it showed no certificate".to_owned(),
    })?;
    let strict = build(builder().tls_backend_preconfigured(trust::system()?))?;
    let known_to_system = strict.get(health).timeout(ANSWER).send().await.is_ok();
    Ok(Identity {
        url,
        known_to_system,
        authority,
        fingerprint,
    })
}
