//! The inputs of the actions of IIS.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::inputs::{Count, OneOrMany, Span, Switch};

/// `iis.site`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its name.
    pub site: String,
    /// The folder that it serves: an absolute path of Windows.
    pub path: String,
    /// The pool that it runs in.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// Where it listens. A site that is there keeps its own where this is not given.
    #[serde(default)]
    pub bindings: Option<Bindings>,
    /// Whether bindings that are not named here stay.
    #[serde(default)]
    pub keep_bindings: Option<Switch>,
    /// Which ways to log in are open.
    #[serde(default)]
    pub authentication: Option<Authentication>,
    /// Whether it runs in the end; true by default.
    #[serde(default)]
    pub start: Option<Switch>,
}

/// `iis.application`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The site that it is in.
    pub site: String,
    /// Its path below the site, such as `/api`.
    pub application: String,
    /// The folder that it serves: an absolute path of Windows.
    pub path: String,
    /// The pool that it runs in.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// Which ways to log in are open.
    #[serde(default)]
    pub authentication: Option<Authentication>,
}

/// `iis.virtual_directory`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualDirectory {
    /// The site that it is in.
    pub site: String,
    /// The application of the site that it is in; the site's own by default.
    #[serde(default)]
    pub application: Option<String>,
    /// Its path below the application, such as `/images`.
    pub directory: String,
    /// The folder that it leads to: an absolute path of Windows.
    pub path: String,
}

/// `iis.feature`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The names of the features, as DISM has them, such as `IIS-WebServerRole`.
    pub features: OneOrMany<String>,
    /// Where the files of features are, for machines without them.
    #[serde(default)]
    pub source: Option<String>,
}

/// `iis.app_pool`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppPool {
    /// Its name.
    pub name: String,
    /// The version of .NET: `v4.0`, `v2.0` or `none`.
    #[serde(default)]
    pub clr: Option<String>,
    /// How requests go through it: `integrated` or `classic`.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// Who its processes run as: `application_pool`, `local_service`, `local_system`, `network_service` or
    /// `user`.
    #[serde(default)]
    pub identity: Option<String>,
    /// The user, where it is one.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password: `{ secret: PATH }`.
    #[serde(default)]
    pub password: Option<String>,
    /// Whether it runs programs of 32 bits.
    #[serde(default)]
    pub enable_32bit: Option<Switch>,
    /// Whether its process runs before the first request comes.
    #[serde(default)]
    pub always_running: Option<Switch>,
    /// How long it runs without a request.
    #[serde(default)]
    pub idle_timeout: Option<Span>,
    /// After how long its process is replaced; `0s` for never.
    #[serde(default)]
    pub recycle_every: Option<Span>,
    /// Further settings, as `appcmd set apppool` names them.
    #[serde(default)]
    pub settings: Option<BTreeMap<String, Value>>,
    /// What it is to be in the end: `started`, `stopped` or `recycled`; as it is by default.
    #[serde(default)]
    pub state: Option<String>,
}

/// A pool by its name, or with settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Pool {
    /// By its name; made where it is not there.
    Name(String),
    /// With settings.
    Settings(Box<AppPool>),
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self::Name(name)),
            other => {
                let pool = AppPool::deserialize(other).map_err(de::Error::custom)?;
                if pool.state.is_some() {
                    return Err(de::Error::custom(
                        "unknown field `state`: an action 'iis.app_pool' starts and stops pools",
                    ));
                }
                Ok(Self::Settings(Box::new(pool)))
            }
        }
    }
}

impl JsonSchema for Pool {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "PoolChoice".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<AppPool>();
        json_schema!({"anyOf": [{"type": "string"}, settings]})
    }
}

/// Where a site listens.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// `http` by default.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The address; all by default.
    #[serde(default)]
    pub address: Option<String>,
    /// The port; 80 by default, 443 for https.
    #[serde(default)]
    pub port: Option<Count>,
    /// The name by which the site is called.
    #[serde(default)]
    pub host: Option<String>,
    /// The thumbprint of the certificate.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The store of the machine that the certificate is in; `MY` by default.
    #[serde(default)]
    pub store: Option<String>,
    /// Whether the host chooses the certificate.
    #[serde(default)]
    pub sni: Option<Switch>,
}

/// One binding or several; each a text such as `http/*:80:`, or a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Bindings(pub Vec<BindingItem>);

/// A binding.
#[derive(Debug, Clone, PartialEq)]
pub enum BindingItem {
    /// `PROTOCOL/ADDRESS:PORT:HOST`.
    Text(String),
    /// Its parts.
    Parts(Box<Binding>),
}

impl<'de> Deserialize<'de> for Bindings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = |value: Value| match value {
            Value::String(text) => Ok(BindingItem::Text(text)),
            other => Binding::deserialize(other)
                .map(|parts| BindingItem::Parts(Box::new(parts)))
                .map_err(de::Error::custom),
        };
        match Value::deserialize(deserializer)? {
            Value::Array(list) => list
                .into_iter()
                .map(item)
                .collect::<Result<_, _>>()
                .map(Self),
            one => item(one).map(|one| Self(vec![one])),
        }
    }
}

impl JsonSchema for Bindings {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Bindings".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let parts = generator.subschema_for::<Binding>();
        json_schema!({"anyOf": [
            {"type": "string"},
            parts,
            {"type": "array", "items": {"anyOf": [{"type": "string"}, parts]}}
        ]})
    }
}

/// Which ways to log in are open; what is not said stays as it is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// Anyone.
    #[serde(default)]
    pub anonymous: Option<Switch>,
    /// Windows's own.
    #[serde(default)]
    pub windows: Option<Switch>,
    /// User and password in a header.
    #[serde(default)]
    pub basic: Option<Switch>,
}

/// Refuses a word that is none of these; a template may become one.
fn one_of<E: de::Error>(key: &str, value: Option<&String>, words: &[&str]) -> Result<(), E> {
    match value {
        Some(word) if !word.contains("#{") && !words.contains(&word.as_str()) => Err(E::custom(
            format!("{key}: '{word}' is none of {}", words.join(", ")),
        )),
        _ => Ok(()),
    }
}

impl AppPool {
    /// Refuses words that IIS does not know.
    pub(super) fn sound<E: de::Error>(&self) -> Result<(), E> {
        one_of("clr", self.clr.as_ref(), &["v4.0", "v2.0", "none"])?;
        one_of(
            "pipeline",
            self.pipeline.as_ref(),
            &["integrated", "classic"],
        )?;
        one_of(
            "identity",
            self.identity.as_ref(),
            &[
                "application_pool",
                "local_service",
                "local_system",
                "network_service",
                "user",
            ],
        )?;
        one_of(
            "state",
            self.state.as_ref(),
            &["started", "stopped", "recycled"],
        )
    }
}

impl Pool {
    fn sound<E: de::Error>(&self) -> Result<(), E> {
        match self {
            Self::Name(_) => Ok(()),
            Self::Settings(settings) => settings.sound(),
        }
    }
}

impl Site {
    /// Refuses what makes no sense whatever the templates become.
    pub(super) fn sound<E: de::Error>(&self) -> Result<(), E> {
        if self.bindings.as_ref().is_some_and(|all| all.0.is_empty()) {
            return Err(E::custom("bindings: a site without any answers nobody"));
        }
        self.pool.as_ref().map_or(Ok(()), Pool::sound)
    }
}

impl Application {
    /// Refuses what makes no sense whatever the templates become.
    pub(super) fn sound<E: de::Error>(&self) -> Result<(), E> {
        self.pool.as_ref().map_or(Ok(()), Pool::sound)
    }
}
