//! Who a certificate says its holder is.

use mantle_shared::ids::AgentId;
use mantle_shared::tls::{Fingerprint, agent_from_uri};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What an agent's certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    /// Whose it is.
    pub(super) agent: AgentId,
    /// The fingerprint of its key.
    pub(super) key: Fingerprint,
    /// When it ends, in seconds since 1970.
    pub(super) not_after_s: i64,
}

/// Who is named in a certificate; `None` if it is not an agent's certificate.
pub(super) fn agent_of(der: &[u8]) -> Option<Holder> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let key = Fingerprint::of_der(certificate.public_key().raw);
    let names = certificate.subject_alternative_name().ok()??;
    let mut agents = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => agent_from_uri(uri),
            _ => None,
        });
    let agent = agents.next()?;
    // A certificate that speaks for two speaks for none.
    agents.next().is_none().then_some(Holder {
        agent,
        key,
        not_after_s: certificate.validity().not_after.timestamp(),
    })
}
