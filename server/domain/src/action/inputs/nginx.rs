//! What the actions about nginx take.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, de};

use super::{OneOrMany, Span, absolute};

/// `nginx.drain`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxDrain {
    /// The upstream's name.
    pub upstream: String,
    /// The server, as its line in the upstream names it.
    pub server: String,
    /// The file with the servers of the upstream, which nginx includes; by default
    /// `/etc/nginx/mantle/UPSTREAM.conf`.
    #[serde(default)]
    pub file: Option<String>,
    /// The configuration of nginx; by default the distribution's.
    #[serde(default)]
    pub config: Option<String>,
    /// How long connections may take to end; 30 seconds by default.
    #[serde(default)]
    pub wait: Option<Span>,
}

/// `nginx.enable`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxEnable {
    /// The upstream's name.
    pub upstream: String,
    /// The server, as its line in the upstream names it; it is added if there is none.
    pub server: String,
    /// The file with the servers of the upstream, which nginx includes; by default
    /// `/etc/nginx/mantle/UPSTREAM.conf`.
    #[serde(default)]
    pub file: Option<String>,
    /// The configuration of nginx; by default the distribution's.
    #[serde(default)]
    pub config: Option<String>,
}

/// `nginx.site`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxSite {
    /// The site's name.
    pub site: String,
    /// Where it listens, as nginx takes it: `"80"`, `443 ssl`, `unix:/PATH`. By default 80, and `443 ssl` with a
    /// certificate.
    #[serde(default)]
    pub listen: Option<OneOrMany<String>>,
    /// The names that it answers to.
    #[serde(default)]
    pub server_name: Option<OneOrMany<String>>,
    /// The folder with its files.
    #[serde(default)]
    pub root: Option<String>,
    /// Whom requests are passed on to, such as `http://localhost:8080`.
    #[serde(default)]
    pub proxy_pass: Option<String>,
    /// The file with its certificate chain.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The file with the certificate's private key.
    #[serde(default)]
    pub key: Option<String>,
    /// Further directives of the server, by their names.
    #[serde(default)]
    pub settings: Option<BTreeMap<String, String>>,
    /// In place of all of these: the file's text, a template.
    #[serde(default)]
    pub content: Option<String>,
    /// The site's file, which nginx includes; by default `/etc/nginx/conf.d/SITE.conf`.
    #[serde(default)]
    pub file: Option<String>,
    /// The configuration of nginx; by default the distribution's.
    #[serde(default)]
    pub config: Option<String>,
}

/// What is one site, and only one way to say it.
pub(super) fn sound_site<E: de::Error>(site: &NginxSite) -> Result<(), E> {
    let empty =
        |list: &Option<OneOrMany<String>>| list.as_ref().is_none_or(|list| list.0.is_empty());
    let own = !empty(&site.listen)
        || !empty(&site.server_name)
        || site.settings.as_ref().is_some_and(|all| !all.is_empty())
        || site.root.is_some()
        || site.proxy_pass.is_some()
        || site.certificate.is_some()
        || site.key.is_some();
    let why = match (&site.content, &site.root, &site.proxy_pass) {
        (Some(_), _, _) if own => {
            "a site is either its text under 'content' or made from 'listen', 'root' and so on, not both"
        }
        (None, Some(_), Some(_)) => {
            "a site has files under 'root' or is passed on to 'proxy_pass', not both"
        }
        (None, None, None) => "a site needs 'root', 'proxy_pass' or its text under 'content'",
        (None, _, _) if site.certificate.is_some() != site.key.is_some() => {
            "'certificate' and 'key' go together"
        }
        _ => {
            return site
                .file
                .as_ref()
                .map_or(Ok(()), |file| absolute("file", file));
        }
    };
    Err(E::custom(why))
}
