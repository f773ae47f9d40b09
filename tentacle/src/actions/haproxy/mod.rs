//! `haproxy.drain` and `haproxy.enable`: a server out of the balancer and back into it.
//!
//! Both speak HAProxy's runtime API over a Unix socket or TCP, look before and after they act, and
//! change nothing that is as it should be already, so that either may be repeated. A drain that is
//! not done in time, or is stopped, puts the server back unless it was out before: a failed step
//! must not cost capacity. With `force_after: true` it shuts the remaining sessions instead.

mod client;
#[cfg(all(test, unix))]
mod real_tests;
mod stat;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::values;
use super::{Action, ActionContext, ActionError, ActionReport};
use client::{Client, ClientError};
use stat::{Row, Status};

/// How often the balancer is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Readings without a session that make a drain: between HAProxy's choice of a server and its
/// counting of the session lies an instant in which the count is still 0.
const QUIET_READINGS: u32 = 2;
/// How long HAProxy may take to shut sessions.
const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(5);

/// `haproxy.drain`.
pub(super) struct Drain;
/// `haproxy.enable`.
pub(super) struct Enable;

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainInputs {
    #[serde(default)]
    socket: Option<String>,
    backend: String,
    server: String,
    #[serde(default = "half_a_minute", deserialize_with = "values::duration")]
    wait: Duration,
    #[serde(default, deserialize_with = "values::switch")]
    force_after: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnableInputs {
    #[serde(default)]
    socket: Option<String>,
    backend: String,
    server: String,
    #[serde(default = "half_a_minute", deserialize_with = "values::duration")]
    wait_up: Duration,
}

impl Action for Drain {
    fn name(&self) -> &'static str {
        "haproxy.drain"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<DrainInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: DrainInputs = context.inputs()?;
        let server = Server::find(
            context,
            inputs.socket.as_deref(),
            &inputs.backend,
            &inputs.server,
        )?;
        let before = server.row()?;
        match before.status {
            Status::Maintenance => {
                context.info(format!(
                    "{server} is in maintenance already; nothing is sent to it"
                ));
                return server.wait_until_quiet(context, &inputs).map(|()| report());
            }
            Status::Drain => context.info(format!("{server} is draining already")),
            Status::Up | Status::Down | Status::Failing | Status::NoCheck | Status::Other => {
                server.set_state("drain")?;
                context.info(format!(
                    "{server} gets no new sessions; it has {}",
                    sessions(&before)
                ));
            }
        }
        let ours = !matches!(before.status, Status::Drain);
        match server.wait_until_quiet(context, &inputs) {
            Ok(()) => Ok(report()),
            Err(error) => {
                if ours && !inputs.force_after {
                    server.put_back(context);
                }
                Err(error)
            }
        }
    }
}

impl Action for Enable {
    fn name(&self) -> &'static str {
        "haproxy.enable"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<EnableInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: EnableInputs = context.inputs()?;
        let server = Server::find(
            context,
            inputs.socket.as_deref(),
            &inputs.backend,
            &inputs.server,
        )?;
        let before = server.row()?;
        if matches!(before.status, Status::Up) {
            context.info(format!("{server} is UP already"));
            return Ok(report());
        }
        server.set_state("ready")?;
        context.verbose(format!(
            "{server} may be used again; it was {}",
            before.status_text
        ));
        let deadline = Instant::now() + inputs.wait_up;
        let mut told = String::new();
        loop {
            let row = server.row()?;
            match row.status {
                Status::Up => {
                    context.info(format!("{server} is UP"));
                    return Ok(report());
                }
                Status::NoCheck => {
                    context.info(format!(
                        "{server} is in use; HAProxy has no health check for it, so nothing was waited for"
                    ));
                    return Ok(report());
                }
                Status::Down
                | Status::Failing
                | Status::Drain
                | Status::Maintenance
                | Status::Other => {
                    let now = row.health();
                    if now != told {
                        context.verbose(format!("{server} is {now}"));
                        told = now;
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(ActionError::failed(format!(
                    "{server} did not come UP within {}: it is {}; look at the health check of backend {} and at the server itself",
                    values::show_duration(inputs.wait_up),
                    row.health(),
                    inputs.backend
                )));
            }
            context.stop.sleep(POLL_INTERVAL)?;
        }
    }
}

fn report() -> ActionReport {
    ActionReport::default()
}

fn sessions(row: &Row) -> String {
    let waiting = match row.queued {
        0 => String::new(),
        queued => format!(" and {queued} waiting"),
    };
    match row.sessions {
        1 => format!("1 session{waiting}"),
        count => format!("{count} sessions{waiting}"),
    }
}

/// One server of one backend.
struct Server {
    client: Client,
    backend: String,
    name: String,
    ids: (u32, u32),
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.backend, self.name)
    }
}

impl Server {
    /// Finds it by its names; if there is none, the error lists those that there are.
    fn find(
        context: &ActionContext<'_>,
        socket: Option<&str>,
        backend: &str,
        name: &str,
    ) -> Result<Self, ActionError> {
        for (key, value) in [("backend", backend), ("server", name)] {
            // A line break or a semicolon would be a second command.
            if value.is_empty() || value.contains(|c: char| c.is_control() || " ;/\\#".contains(c))
            {
                return Err(ActionError::input(format!(
                    "{key}: {value:?} cannot be the name of a HAProxy {key}"
                )));
            }
        }
        let client = Client::open(socket).map_err(failed)?;
        context.verbose(format!("HAProxy's runtime API at {client}"));
        let rows = stat::parse(&client.ask("show stat -1 6 -1").map_err(failed)?);
        let row = stat::find(&rows, backend, name)
            .map_err(|message| ActionError::failed(format!("{message} (HAProxy at {client})")))?;
        Ok(Self {
            ids: (row.backend_id, row.server_id),
            client,
            backend: backend.to_owned(),
            name: name.to_owned(),
        })
    }

    /// How it stands now.
    fn row(&self) -> Result<Row, ActionError> {
        let (backend, server) = self.ids;
        let answer = self
            .client
            .ask(&format!("show stat {backend} 4 {server}"))
            .map_err(failed)?;
        stat::find(&stat::parse(&answer), &self.backend, &self.name)
            .cloned()
            .map_err(ActionError::failed)
    }

    fn set_state(&self, state: &str) -> Result<(), ActionError> {
        let command = format!("set server {self} state {state}");
        self.client.order(&command).map_err(failed)
    }

    fn wait_until_quiet(
        &self,
        context: &ActionContext<'_>,
        inputs: &DrainInputs,
    ) -> Result<(), ActionError> {
        let deadline = Instant::now() + inputs.wait;
        let mut quiet = 0;
        let mut told = None;
        loop {
            let row = self.row()?;
            // A drained server that is not healthy shows as DOWN.
            if matches!(row.status, Status::Up | Status::Failing | Status::NoCheck) {
                return Err(ActionError::failed(format!(
                    "{self} does not stay out: it is {} again; something else sets its state",
                    row.status_text
                )));
            }
            if row.sessions == 0 && row.queued == 0 {
                quiet += 1;
                if quiet >= QUIET_READINGS {
                    context.info(format!("{self} is out: no sessions left"));
                    return Ok(());
                }
            } else {
                quiet = 0;
                if told != Some(row.sessions) {
                    context.verbose(format!("{self} has {}", sessions(&row)));
                    told = Some(row.sessions);
                }
            }
            if Instant::now() >= deadline {
                return self.time_is_over(context, inputs, &row);
            }
            context.stop.sleep(POLL_INTERVAL)?;
        }
    }

    fn time_is_over(
        &self,
        context: &ActionContext<'_>,
        inputs: &DrainInputs,
        row: &Row,
    ) -> Result<(), ActionError> {
        let waited = values::show_duration(inputs.wait);
        if !inputs.force_after {
            return Err(ActionError::failed(format!(
                "{self} still has {} after {waited}; give it more time with 'wait', or cut them off with 'force_after: true'",
                sessions(row)
            )));
        }
        // In maintenance not even a session that belongs to this server by its cookie reaches it.
        self.set_state("maint")?;
        self.client
            .order(&format!("shutdown sessions server {self}"))
            .map_err(failed)?;
        let deadline = Instant::now() + CUT_OFF_TIMEOUT;
        while self.row()?.sessions > 0 {
            if Instant::now() >= deadline {
                return Err(ActionError::failed(format!(
                    "{self} still has sessions although HAProxy was told to shut them; it is in maintenance"
                )));
            }
            context.stop.sleep(POLL_INTERVAL)?;
        }
        context.warning(format!(
            "{self} still had {} after {waited}; they were cut off, as 'force_after' says",
            sessions(row)
        ));
        Ok(())
    }

    /// Undoes a drain that did not work. The error that led here is the one to report.
    fn put_back(&self, context: &ActionContext<'_>) {
        match self.set_state("ready") {
            Ok(()) => context.warning(format!("{self} was put back into the balancer")),
            Err(error) => context.warning(format!(
                "{self} could not be put back into the balancer: {error}"
            )),
        }
    }
}

fn failed(error: ClientError) -> ActionError {
    use std::error::Error as _;
    let mut message = error.to_string();
    if let Some(source) = error.source() {
        message = format!("{message}: {source}");
    }
    ActionError::failed(message)
}
