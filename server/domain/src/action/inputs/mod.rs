//! What each checked action type takes under `with:`.
//!
//! Texts are templates and are evaluated on the target, so a number or a choice may also be given
//! as a text that holds a `#{...}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use mantle_shared::inputs::{self, StatusRange};

use super::notify::Notify;
use super::transform_line::Transform;
use super::{MANUAL, PACKAGE_TRANSFER, iis};
use crate::file::duration;
use crate::name;

/// `script`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The script's text.
    #[serde(default)]
    pub run: Option<String>,
    /// The script that undoes it when its step rolls back; without one it is not undone.
    #[serde(default)]
    pub rollback: Option<String>,
    /// The package that holds the script.
    #[serde(default)]
    pub package: Option<String>,
    /// The script's path in the package.
    #[serde(default)]
    pub file: Option<String>,
    /// What runs it. By default it follows from the file's extension, or from the platform.
    #[serde(default)]
    pub shell: Option<Shell>,
    /// Arguments: a list, or one text that is split at spaces.
    #[serde(default)]
    pub arguments: Option<OneOrMany<String>>,
    /// Evaluate the templates in the script's text before it runs. Values are inserted as they
    /// are, so only where they can be trusted.
    #[serde(default)]
    pub substitute: Option<Switch>,
    /// Whether lines of its output such as `##octopus[setVariable ...]` are obeyed, as they are
    /// unless this says no. With `false` only the helper functions can say such things.
    #[serde(default)]
    pub service_messages: Option<Switch>,
}

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// The POSIX shell.
    Sh,
    /// Bash.
    Bash,
    /// Python 3.
    Python,
    /// The Windows command processor.
    Cmd,
    /// Windows PowerShell.
    PowerShell,
    /// PowerShell 7.
    Pwsh,
}

/// `package`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's id.
    pub package: String,
    /// Files, as globs, in which `#{...}` is replaced.
    #[serde(default)]
    pub substitute: Option<OneOrMany<String>>,
    /// XDT transforms of .NET configuration files: `automatic`, or `TRANSFORM => TARGET`.
    #[serde(default)]
    pub transforms: Option<OneOrMany<Transform>>,
    /// Whether what a transform warns of is told only, rather than a failure.
    #[serde(default)]
    pub ignore_transform_warnings: Option<Switch>,
    /// .NET configuration files whose settings take the values of the variables with their names.
    #[serde(default)]
    pub dotnet_config: Option<OneOrMany<String>>,
    /// Configuration files (JSON, YAML, XML, properties) whose values are replaced by the variables
    /// named as their paths.
    #[serde(default)]
    pub structured: Option<OneOrMany<String>>,
    /// Scripts that run while it is installed.
    #[serde(default)]
    pub scripts: Option<PackageScripts>,
    /// Whether the scripts `PreDeploy`, `Deploy`, `PostDeploy` and `DeployFailed` in the package's root run.
    #[serde(default)]
    pub packaged_scripts: Option<Switch>,
    /// A folder into which the version is copied as well, for what must find it at a path of its own.
    #[serde(default)]
    pub custom_directory: Option<CustomDirectory>,
    /// Whether nothing is done if exactly this version is in use already, with the same configuration.
    #[serde(default)]
    pub skip_if_installed: Option<Switch>,
    /// How many earlier versions stay on the target.
    #[serde(default)]
    pub keep: Option<Count>,
}

/// Where a `package` action copies the version to.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomDirectory {
    /// The folder, as an absolute path of the target.
    pub path: String,
    /// Whether what is in it and is not the version's is removed.
    #[serde(default)]
    pub purge: Option<Switch>,
    /// What stays all the same, as globs relative to the folder.
    #[serde(default)]
    pub exclude: Option<OneOrMany<String>>,
}

/// Scripts of a `package` action. Their texts are taken as they are: no templates.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageScripts {
    /// What runs them; by default it follows from the platform.
    #[serde(default)]
    pub shell: Option<Shell>,
    /// Whether lines of their output such as `##octopus[setVariable ...]` are obeyed, as they are
    /// unless this says no.
    #[serde(default)]
    pub service_messages: Option<Switch>,
    /// Runs when the files are unpacked, before anything is written into them.
    #[serde(default)]
    pub pre_deploy: Option<String>,
    /// Runs when the files are as they will be, before the version is in use.
    #[serde(default)]
    pub deploy: Option<String>,
    /// Runs when the version is in use.
    #[serde(default)]
    pub post_deploy: Option<String>,
    /// Runs when any of it failed.
    #[serde(default)]
    pub deploy_failed: Option<String>,
}

/// `package.transfer`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageTransfer {
    /// The package's id.
    pub package: String,
    /// The folder into which its archive is put, as an absolute path of the target.
    pub to: String,
    /// The archive's name there; `ID.VERSION.FORMAT` by default.
    #[serde(default)]
    pub file: Option<String>,
}

/// `http.check`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// The address to ask.
    pub url: String,
    /// The statuses that count as good: 200, 2xx, 200-299 or a list of such; 200 by default.
    #[serde(default)]
    pub expect: Option<OneOrMany<Status>>,
    /// Texts that the answer must hold.
    #[serde(default)]
    pub contains: Option<OneOrMany<String>>,
    /// Headers of the request.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// Whether any certificate will do.
    #[serde(default)]
    pub insecure: Option<Switch>,
    /// How long to go on trying.
    #[serde(default)]
    pub within: Option<Span>,
    /// How many good answers in a row it takes; 1 by default.
    #[serde(default)]
    pub consecutive: Option<Count>,
    /// The pause between two tries.
    #[serde(default)]
    pub interval: Option<Span>,
    /// How long one answer may take.
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// `haproxy.drain`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxyDrain {
    /// The backend.
    pub backend: String,
    /// The server's name in it.
    pub server: String,
    /// The runtime API: a Unix socket's path, or `HOST:PORT`.
    #[serde(default)]
    pub socket: Option<String>,
    /// How long to wait for sessions to end.
    #[serde(default)]
    pub wait: Option<Span>,
    /// Whether sessions that are left after the wait are shut, rather than the action failing.
    #[serde(default)]
    pub force_after: Option<Switch>,
}

/// `haproxy.enable`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxyEnable {
    /// The backend.
    pub backend: String,
    /// The server's name in it.
    pub server: String,
    /// The runtime API: a Unix socket's path, or `HOST:PORT`.
    #[serde(default)]
    pub socket: Option<String>,
    /// How long to wait until it is up.
    #[serde(default)]
    pub wait_up: Option<Span>,
}

/// The most people that one manual action may ask for.
pub const MOST_APPROVALS: u32 = 20;

/// `manual`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// What to look at before it goes on; a template.
    pub instructions: String,
    /// The teams whose members may answer. Without any it is whoever may answer anything.
    #[serde(default)]
    pub teams: Option<OneOrMany<String>>,
    /// How many people must let it go on; 1 by default.
    #[serde(default)]
    pub approvals: Option<u32>,
    /// Whether the one who deployed does not count.
    #[serde(default)]
    pub four_eyes: Option<bool>,
}

/// Reads the inputs of an action type strictly; what they say is left to the agent.
pub(crate) fn check<'de, D: Deserializer<'de>>(uses: &str, with: D) -> Result<(), D::Error> {
    match uses {
        "script" => Script::deserialize(with).and_then(|script| sound_script(&script)),
        "package" => Package::deserialize(with).and_then(|package| sound_package(&package)),
        PACKAGE_TRANSFER => {
            PackageTransfer::deserialize(with).and_then(|transfer| absolute("to", &transfer.to))
        }
        "http.check" => HttpCheck::deserialize(with).and_then(|check| sound_check(&check)),
        "haproxy.drain" => HaproxyDrain::deserialize(with).map(drop),
        "haproxy.enable" => HaproxyEnable::deserialize(with).map(drop),
        "iis.site" => iis::Site::deserialize(with).and_then(|site| site.sound()),
        "iis.application" => iis::Application::deserialize(with).and_then(|own| own.sound()),
        "iis.virtual_directory" => iis::VirtualDirectory::deserialize(with).map(drop),
        "iis.app_pool" => iis::AppPool::deserialize(with).and_then(|pool| pool.sound()),
        "iis.feature" => iis::Feature::deserialize(with).map(drop),
        "notify" => Notify::deserialize(with).and_then(|notify| notify.sound()),
        MANUAL => Manual::deserialize(with).and_then(|manual| sound_manual(&manual)),
        _ => de::IgnoredAny::deserialize(with).map(drop),
    }
}

fn sound_script<E: de::Error>(script: &Script) -> Result<(), E> {
    match (&script.run, &script.file, &script.package) {
        (Some(_), Some(_), _) | (Some(_), None, Some(_)) => Err(E::custom(
            "a script is either its text under 'run' or a 'file' of a package, not both",
        )),
        (None, None, _) => Err(E::custom(
            "a script needs its text under 'run', or 'package' and 'file'",
        )),
        (None, Some(_), None) => Err(E::custom(
            "'file' is a path in a package: name the package under 'package'",
        )),
        (None, Some(_), Some(_)) | (Some(_), None, None) => Ok(()),
    }
}

fn sound_package<E: de::Error>(package: &Package) -> Result<(), E> {
    let Some(directory) = &package.custom_directory else {
        return Ok(());
    };
    absolute("custom_directory", &directory.path)
}

/// A path that is known must be absolute somewhere: which platform it is for is not known here.
fn absolute<E: de::Error>(key: &str, path: &str) -> Result<(), E> {
    let path = path.trim();
    let absolute = path.starts_with(['/', '\\'])
        || path
            .get(1..3)
            .is_some_and(|two| [":\\", ":/"].contains(&two));
    if absolute || path.contains("#{") {
        return Ok(());
    }
    Err(E::custom(format!(
        "'{key}' is to be in '{path}', which is no absolute path; write one such as /var/www/shop or D:\\Sites\\Shop"
    )))
}

fn sound_manual<E: de::Error>(manual: &Manual) -> Result<(), E> {
    if manual.instructions.trim().is_empty() {
        return Err(E::custom(
            "'instructions' is empty: say what to look at before it goes on",
        ));
    }
    if let Some(count) = manual.approvals
        && !(1..=MOST_APPROVALS).contains(&count)
    {
        return Err(E::custom(format!(
            "'approvals' is {count}: from 1 to {MOST_APPROVALS} people can be asked for"
        )));
    }
    let teams = manual.teams.iter().flat_map(|teams| &teams.0);
    match teams.into_iter().find(|team| !name::is_word(team)) {
        Some(team) => Err(E::custom(format!("'{team}' cannot be the name of a team"))),
        None => Ok(()),
    }
}

/// An empty list says that no status is right, which nobody means.
fn sound_check<E: de::Error>(check: &HttpCheck) -> Result<(), E> {
    match &check.expect {
        Some(OneOrMany(statuses)) if statuses.is_empty() => Err(E::custom(
            "'expect' names no status; write 200, 2xx, 200-299 or a list of such",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Yes or no, or a template that becomes one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// Yes or no.
    Plain(bool),
    /// A template.
    Template(String),
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Switch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false, or a template such as \"#{Name}\"")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Switch, E> {
                Ok(Switch::Plain(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Switch, E> {
                if text.contains("#{") {
                    return Ok(Switch::Template(text.to_owned()));
                }
                inputs::switch(text)
                    .map(Switch::Plain)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Switch {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "boolean"},
            {"type": "string", "pattern": "#\\{|^ *([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])? *$"}
        ]})
    }
}

/// A whole number, or a template that becomes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// A number.
    Number(u32),
    /// A template.
    Template(String),
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or a template such as \"#{Name}\"")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
                u32::try_from(number)
                    .map(Count::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                u32::try_from(number)
                    .map(Count::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                if text.contains("#{") {
                    return Ok(Count::Template(text.to_owned()));
                }
                inputs::count(text)
                    .map(Count::Number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "#\\{|^[0-9]+$"}
        ]})
    }
}

/// HTTP statuses, or a template that becomes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Statuses.
    Ranges(Vec<StatusRange>),
    /// A template.
    Template(String),
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Status;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an HTTP status such as 200, 2xx or 200-299, or a template")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Status, E> {
                StatusRange::parse(&number.to_string())
                    .map(|range| Status::Ranges(vec![range]))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Status, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
                if text.contains("#{") {
                    return Ok(Status::Template(text.to_owned()));
                }
                StatusRange::parse_list(text)
                    .map(Status::Ranges)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Status {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "#\\{|^ *[1-5]([0-9][0-9]|xx)"}
        ]})
    }
}

/// A length of time such as `30s` or `1h30m`, or a template that becomes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span(pub String);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = duration::text(deserializer)?;
        if !text.contains("#{") {
            duration::parse(&text).map_err(de::Error::custom)?;
        }
        Ok(Self(text))
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "#\\{|^([0-9]+(ms|s|m|h|d))+$",
            "description": "a length of time such as 30s, 10m or 1h30m"
        })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(de::value::StrDeserializer::new(text))
                    .map(|one| OneOrMany(vec![one]))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                T::deserialize(de::value::U64Deserializer::new(number))
                    .map(|one| OneOrMany(vec![one]))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(de::value::I64Deserializer::new(number))
                    .map(|one| OneOrMany(vec![one]))
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
