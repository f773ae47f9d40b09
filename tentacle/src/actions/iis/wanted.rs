//! What is asked of IIS: the inputs of the actions, read and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::values;
use super::binding::{self, Wanted};

/// `iis.site`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteInputs {
    pub(super) site: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) pool: Option<PoolChoice>,
    #[serde(default)]
    pub(super) bindings: Option<Value>,
    #[serde(default, deserialize_with = "values::switch")]
    pub(super) keep_bindings: bool,
    #[serde(default)]
    pub(super) authentication: Authentication,
    #[serde(default = "yes", deserialize_with = "values::switch")]
    pub(super) start: bool,
}

/// `iis.application`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplicationInputs {
    pub(super) site: String,
    pub(super) application: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) pool: Option<PoolChoice>,
    #[serde(default)]
    pub(super) authentication: Authentication,
}

/// `iis.virtual_directory`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryInputs {
    pub(super) site: String,
    #[serde(default)]
    pub(super) application: Option<String>,
    pub(super) directory: String,
    pub(super) path: String,
}

/// What a pool is to be in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PoolState {
    /// It runs.
    Started,
    /// It does not.
    Stopped,
    /// It runs, its processes anew.
    Recycled,
}

/// A pool by its name, or with settings.
#[derive(Debug)]
pub(super) enum PoolChoice {
    /// As it is, made with IIS's own settings where it is not there.
    Name(String),
    /// With these.
    Settings(Box<PoolSettings>),
}

impl<'de> Deserialize<'de> for PoolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self::Name(name)),
            other => {
                let settings: PoolSettings =
                    serde_json::from_value(other).map_err(D::Error::custom)?;
                if settings.state.is_some() {
                    return Err(D::Error::custom(
                        "unknown field `state`: an action 'iis.app_pool' starts and stops pools",
                    ));
                }
                Ok(Self::Settings(Box::new(settings)))
            }
        }
    }
}

/// `iis.app_pool`: a pool and what is set of it; the rest stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolSettings {
    pub(super) name: String,
    #[serde(default)]
    clr: Option<String>,
    #[serde(default)]
    pipeline: Option<String>,
    #[serde(default)]
    identity: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    enable_32bit: Option<Value>,
    #[serde(default)]
    always_running: Option<Value>,
    #[serde(default)]
    idle_timeout: Option<String>,
    #[serde(default)]
    recycle_every: Option<String>,
    #[serde(default)]
    settings: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub(super) state: Option<PoolState>,
}

/// Which ways to log in are open; what is not said stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authentication {
    #[serde(default)]
    anonymous: Option<Value>,
    #[serde(default)]
    windows: Option<Value>,
    #[serde(default)]
    basic: Option<Value>,
}

fn yes() -> bool {
    true
}

/// A switch where none is given means that nothing is asked.
fn switch(key: &str, value: Option<&Value>) -> Result<Option<bool>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(*on)),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => mantle_shared::inputs::switch(text)
            .map(Some)
            .ok_or_else(|| format!("{key}: {text:?} is neither true nor false")),
        Some(other) => Err(format!("{key}: {other} is neither true nor false")),
    }
}

/// A time as IIS has it: `1.05:00:00` is a day and five hours.
fn time_span(key: &str, text: &str) -> Result<String, String> {
    let ms = mantle_shared::inputs::duration_ms(text).ok_or_else(|| {
        format!("{key}: {text:?} is no length of time; write one like 20m or 29h")
    })?;
    let seconds = Duration::from_millis(ms).as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        rest / 3_600,
        rest % 3_600 / 60,
        rest % 60
    );
    Ok(if days == 0 {
        clock
    } else {
        format!("{days}.{clock}")
    })
}

/// Refuses a name that IIS does not take, or that would be read as something else.
pub(super) fn name(key: &str, text: &str) -> Result<(), String> {
    let bad = |c: char| c.is_control() || "/\\?;:@&=+$,|\"<>'".contains(c);
    if text.trim().is_empty() || text.trim() != text || text.chars().any(bad) {
        return Err(format!(
            "{key}: {text:?} is no name for IIS; it may not be empty or hold / \\ ? ; : @ & = + $ , | \" < > or '"
        ));
    }
    Ok(())
}

/// A path below a site, such as `/api`, without a slash at its end.
pub(super) fn virtual_path(key: &str, text: &str) -> Result<String, String> {
    let bad = |c: char| c.is_control() || "\\?;:@&=+$,|\"<>*'".contains(c);
    let inner = text.trim().trim_matches('/');
    let parts_are_sound = inner
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..");
    if !text.trim().starts_with('/') || !parts_are_sound || inner.chars().any(bad) {
        return Err(format!(
            "{key}: {text:?} is no path below a site; write one like /api or /shop/images"
        ));
    }
    Ok(format!("/{inner}"))
}

/// A folder of the disk: absolute, as Windows writes it.
pub(super) fn physical_path(text: &str) -> Result<String, String> {
    let mut chars = text.chars();
    let drive = matches!(
        (chars.next(), chars.next(), chars.next()),
        (Some(letter), Some(':'), Some('\\' | '/')) if letter.is_ascii_alphabetic()
    );
    let absolute = drive || text.starts_with(r"\\") || text.starts_with('%');
    if !absolute || text.chars().any(|c| c.is_control() || "\"<>|*".contains(c)) {
        return Err(format!(
            "path: {text:?} is no absolute path of Windows; write one like C:\\Sites\\shop"
        ));
    }
    Ok(text.replace('/', "\\"))
}

impl SiteInputs {
    /// Refuses what IIS would not take.
    pub(super) fn sound(&self) -> Result<(), String> {
        self.bindings()?;
        self.authentication.sections()?;
        self.pool
            .as_ref()
            .map_or(Ok(()), |pool| pool.settings().map(drop))
    }

    /// The bindings that are asked for; `None` where nothing is said of them.
    pub(super) fn bindings(&self) -> Result<Option<Vec<Wanted>>, String> {
        let list = match &self.bindings {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(list)) if list.is_empty() => {
                return Err("bindings: a site without any answers nobody".to_owned());
            }
            Some(Value::Array(list)) => list.clone(),
            Some(one) => vec![one.clone()],
        };
        let mut all: Vec<Wanted> = Vec::new();
        for item in &list {
            let wanted = binding::read(item)?;
            let twice = |other: &Wanted| {
                other.binding.protocol == wanted.binding.protocol
                    && other.binding.information == wanted.binding.information
            };
            if all.iter().any(twice) {
                return Err(format!("bindings: {} stands there twice", wanted.binding));
            }
            all.push(wanted);
        }
        Ok(Some(all))
    }
}

impl PoolChoice {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Settings(settings) => &settings.name,
        }
    }

    /// What is set, as `appcmd set apppool` names it.
    pub(super) fn settings(&self) -> Result<BTreeMap<String, String>, String> {
        match self {
            Self::Name(text) => name("pool", text).map(|()| BTreeMap::new()),
            Self::Settings(settings) => settings.read(),
        }
    }
}

impl PoolSettings {
    /// What is set, as `appcmd set apppool` names it.
    pub(super) fn read(&self) -> Result<BTreeMap<String, String>, String> {
        name("pool", &self.name)?;
        let mut all = BTreeMap::new();
        let mut put = |key: &str, value: &str| {
            all.insert(key.to_owned(), value.to_owned());
        };
        if let Some(clr) = &self.clr {
            match clr.as_str() {
                "none" => put("managedRuntimeVersion", ""),
                "v2.0" | "v4.0" => put("managedRuntimeVersion", clr),
                other => {
                    return Err(format!(
                        "pool: clr: {other:?} is none of v4.0, v2.0 and none"
                    ));
                }
            }
        }
        if let Some(pipeline) = &self.pipeline {
            match pipeline.as_str() {
                "integrated" => put("managedPipelineMode", "Integrated"),
                "classic" => put("managedPipelineMode", "Classic"),
                other => {
                    return Err(format!(
                        "pool: pipeline: {other:?} is neither integrated nor classic"
                    ));
                }
            }
        }
        match (self.identity.as_deref(), &self.user, &self.password) {
            (None, None, None) => {}
            (None | Some("user"), Some(user), Some(password)) => {
                put("processModel.identityType", "SpecificUser");
                put("processModel.userName", user);
                put("processModel.password", password);
            }
            (None | Some("user"), _, _) => {
                return Err("pool: 'user' and 'password' go together".to_owned());
            }
            (Some(own), None, None) => {
                let kind = match own {
                    "application_pool" => "ApplicationPoolIdentity",
                    "local_service" => "LocalService",
                    "local_system" => "LocalSystem",
                    "network_service" => "NetworkService",
                    other => {
                        return Err(format!(
                            "pool: identity: {other:?} is none of application_pool, local_service, local_system, network_service and user"
                        ));
                    }
                };
                put("processModel.identityType", kind);
            }
            (Some(own), _, _) => {
                return Err(format!(
                    "pool: '{own}' has no user and password; take them away, or say 'identity: user'"
                ));
            }
        }
        if let Some(on) = switch("pool: enable_32bit", self.enable_32bit.as_ref())? {
            put("enable32BitAppOnWin64", if on { "true" } else { "false" });
        }
        if let Some(on) = switch("pool: always_running", self.always_running.as_ref())? {
            put("startMode", if on { "AlwaysRunning" } else { "OnDemand" });
        }
        if let Some(time) = &self.idle_timeout {
            put(
                "processModel.idleTimeout",
                &time_span("pool: idle_timeout", time)?,
            );
        }
        if let Some(time) = &self.recycle_every {
            put(
                "recycling.periodicRestart.time",
                &time_span("pool: recycle_every", time)?,
            );
        }
        for (key, value) in self.settings.iter().flatten() {
            let is_path = |c: char| c.is_ascii_alphanumeric() || c == '.';
            if key.is_empty() || !key.chars().all(is_path) {
                return Err(format!(
                    "pool: settings: {key:?} is no setting; write one like processModel.maxProcesses"
                ));
            }
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                other => return Err(format!("pool: settings: {key}: {other} is no value")),
            };
            put(key, &text);
        }
        Ok(all)
    }
}

impl Authentication {
    /// The sections of IIS's configuration, and whether each is to be open.
    pub(super) fn sections(&self) -> Result<Vec<(&'static str, bool)>, String> {
        let mut all = Vec::new();
        for (key, section, value) in [
            ("anonymous", "anonymousAuthentication", &self.anonymous),
            ("windows", "windowsAuthentication", &self.windows),
            ("basic", "basicAuthentication", &self.basic),
        ] {
            if let Some(on) = switch(&format!("authentication: {key}"), value.as_ref())? {
                all.push((section, on));
            }
        }
        Ok(all)
    }
}
