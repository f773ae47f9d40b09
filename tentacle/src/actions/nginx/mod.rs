//! `nginx.drain` and `nginx.enable`: a server out of an upstream and back into it.
//!
//! An nginx without its paid API takes such orders only by its configuration, so the servers of the
//! upstream are in an include file of their own, and only the line of one server is changed in it.
//! What must hold: a change that nginx does not take is not left behind, neither by a failure nor
//! by a stop. A kill between the change and the reload leaves both to be done again, which is why
//! nginx is told to reload even if the line is as it should be.

mod control;
#[cfg(all(test, target_os = "linux"))]
mod real_tests;
mod servers;
pub(super) mod site;
#[cfg(all(test, target_os = "linux"))]
mod site_tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Action, ActionContext, ActionError, ActionReport, StopToken, read_inputs, values};
use crate::durable::{self, Privacy};
use control::Nginx;
use servers::{Use, change, checked_server};

/// Where the file of an upstream is unless the inputs name it.
const FOLDER: &str = "/etc/nginx/mantle";

/// `nginx.drain`.
pub(super) struct Drain;
/// `nginx.enable`.
pub(super) struct Enable;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainInputs {
    upstream: String,
    server: String,
    file: Option<String>,
    config: Option<String>,
    #[serde(default = "half_a_minute", deserialize_with = "values::duration")]
    wait: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnableInputs {
    upstream: String,
    server: String,
    file: Option<String>,
    config: Option<String>,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl Action for Drain {
    fn name(&self) -> &'static str {
        "nginx.drain"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<DrainInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: DrainInputs = context.inputs()?;
        let upstream = Upstream::of(&inputs.upstream, &inputs.server, inputs.file.as_deref())?;
        let nginx = Nginx::of(inputs.config.as_deref(), context.stop);
        upstream.set(&nginx, Use::Out, |dump, old| {
            context.info(format!("{upstream} gets no new requests"));
            nginx.wait_until_gone(dump, old, inputs.wait)
        })?;
        context.info(format!("{upstream} has no connections left from before"));
        Ok(ActionReport::default())
    }
}

impl Action for Enable {
    fn name(&self) -> &'static str {
        "nginx.enable"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<EnableInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: EnableInputs = context.inputs()?;
        let upstream = Upstream::of(&inputs.upstream, &inputs.server, inputs.file.as_deref())?;
        let nginx = Nginx::of(inputs.config.as_deref(), context.stop);
        upstream.set(&nginx, Use::In, |_, _| Ok(()))?;
        context.info(format!("{upstream} gets requests"));
        Ok(ActionReport::default())
    }
}

/// One server of one upstream, and the file that says so.
struct Upstream<'a> {
    name: &'a str,
    server: &'a str,
    file: PathBuf,
}

impl std::fmt::Display for Upstream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.server)
    }
}

impl<'a> Upstream<'a> {
    fn of(name: &'a str, server: &'a str, file: Option<&str>) -> Result<Self, ActionError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            return Err(ActionError::input(format!(
                "with.upstream: '{name}' is no name of an upstream"
            )));
        }
        checked_server(server)?;
        let usual = || Path::new(FOLDER).join(format!("{name}.conf"));
        let file = file.map_or_else(usual, PathBuf::from);
        if !file.is_absolute() {
            return Err(ActionError::input(format!(
                "with.file: '{}' is no absolute path",
                file.display()
            )));
        }
        Ok(Self { name, server, file })
    }

    /// Changes the line, reloads, and does what is to be done then; puts everything back if one of
    /// these fails.
    fn set(
        &self,
        nginx: &Nginx<'_>,
        wanted: Use,
        then: impl FnOnce(&str, &std::collections::BTreeSet<u32>) -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        let before = self.read()?;
        // One that is broken already is not ours to mend, and must not be blamed on the change;
        // without the file that it includes it is broken.
        if before.is_some() {
            nginx.test()?;
        }
        let text = change(
            before.as_deref().unwrap_or_default(),
            (self.name, self.server),
            wanted,
        )?;
        let changed = before.as_deref() != Some(text.as_str());
        if changed {
            self.write(Some(&text))?;
        }
        let done = nginx.test().and_then(|dump| {
            self.must_be_read(&dump)?;
            let old = nginx.reload(&dump)?;
            then(&dump, &old)
        });
        let Err(error) = done else {
            return Ok(());
        };
        if !changed {
            return Err(error);
        }
        match (self.put_back(nginx, before.as_deref()), error) {
            (_, ActionError::Stopped) => Err(ActionError::Stopped),
            (Ok(()), error) => Err(ActionError::failed(format!(
                "{error}; {self} is as it was before"
            ))),
            (Err(why), error) => Err(ActionError::failed(format!(
                "{error}; and {} could not be put back: {why}",
                self.file.display()
            ))),
        }
    }

    fn put_back(&self, nginx: &Nginx<'_>, before: Option<&str>) -> Result<(), ActionError> {
        self.write(before)?;
        // What was given up must not be given up as well.
        let stop = StopToken::new();
        let nginx = nginx.with(&stop);
        nginx.reload(&nginx.test()?).map(drop)
    }

    /// Without the `include` the file would say something that nginx never reads.
    fn must_be_read(&self, dump: &str) -> Result<(), ActionError> {
        let heading = format!("# configuration file {}:", self.file.display());
        if dump.lines().any(|line| line.trim() == heading) {
            return Ok(());
        }
        let file = self.file.display();
        Err(ActionError::failed(format!(
            "nginx does not read {file}; put 'include {file};' into 'upstream {}' of its configuration, in place of the servers",
            self.name
        )))
    }

    fn read(&self) -> Result<Option<String>, ActionError> {
        match std::fs::read_to_string(&self.file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    fn write(&self, text: Option<&str>) -> Result<(), ActionError> {
        let written = match text {
            Some(text) => self
                .file
                .parent()
                .map_or(Ok(()), durable::create_readable_folder)
                .and_then(|()| durable::write(&self.file, text.as_bytes(), Privacy::Folder)),
            None => std::fs::remove_file(&self.file),
        };
        written.map_err(|error| self.failed("written", &error))
    }

    fn failed(&self, done: &str, error: &std::io::Error) -> ActionError {
        let file = self.file.display();
        ActionError::failed(format!("{file} cannot be {done}: {error}"))
    }
}
