//! `process.check`: waits until so many processes of a kind run, or none does.

mod list;

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::files::rights::user_id;
use super::systemd::a_minute;
use super::{Action, ActionContext, ActionError, ActionReport, read_inputs, values};
use list::Running;

/// How many processes are told by their ids.
const MOST_TOLD: usize = 10;

/// `process.check`.
pub(super) struct ProcessCheck;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    name: Option<String>,
    command: Option<String>,
    user: Option<String>,
    #[serde(default, deserialize_with = "values::optional_number")]
    at_least: Option<u32>,
    #[serde(default, deserialize_with = "values::optional_number")]
    at_most: Option<u32>,
    #[serde(default = "a_minute", deserialize_with = "values::duration")]
    within: Duration,
    #[serde(default = "a_second", deserialize_with = "values::duration")]
    interval: Duration,
}

fn a_second() -> Duration {
    Duration::from_secs(1)
}

/// How many are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    least: u32,
    most: Option<u32>,
}

impl Wanted {
    fn fits(self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        count >= self.least && self.most.is_none_or(|most| count <= most)
    }

    fn show(self) -> String {
        match (self.least, self.most) {
            (_, Some(0)) => "none".to_owned(),
            (0, Some(most)) => format!("at most {most}"),
            (least, None) => format!("at least {least}"),
            (least, Some(most)) if least == most => format!("exactly {least}"),
            (least, Some(most)) => format!("{least} to {most}"),
        }
    }
}

impl Inputs {
    fn read(with: &Map<String, Value>) -> Result<(Self, Wanted), ActionError> {
        let inputs: Self = read_inputs(with)?;
        let empty = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().is_empty());
        if empty(&inputs.name) && empty(&inputs.command) {
            return Err(ActionError::input(
                "which process? give its 'name', or a 'command' that its command line holds",
            ));
        }
        let wanted = Wanted {
            least: inputs
                .at_least
                .unwrap_or(u32::from(inputs.at_most.is_none())),
            most: inputs.at_most,
        };
        if let Some(most) = wanted.most
            && most < wanted.least
        {
            return Err(ActionError::input(format!(
                "'at_least' is {} and 'at_most' is {most}, which no number is",
                wanted.least
            )));
        }
        Ok((inputs, wanted))
    }

    fn show(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("'{name}'"));
        let command = self.command.as_ref();
        let command = command.map(|text| format!("with '{text}' in the command line"));
        let user = self.user.as_ref().map(|user| format!("of {user}"));
        let parts: Vec<String> = [name, command, user].into_iter().flatten().collect();
        format!("processes {}", parts.join(" "))
    }
}

impl Action for ProcessCheck {
    fn name(&self) -> &'static str {
        "process.check"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        Inputs::read(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let (inputs, wanted) = Inputs::read(context.with)?;
        if cfg!(windows) && (inputs.command.is_some() || inputs.user.is_some()) {
            return Err(ActionError::input(
                "with.command and with.user are of Linux; on Windows name the program under 'name', such as w3wp.exe",
            ));
        }
        let user = inputs.user.as_deref();
        let user = user.map(|user| user_id(user, context.stop)).transpose()?;
        let (what, deadline) = (inputs.show(), Instant::now() + inputs.within);
        loop {
            let all = list::all(context.stop)?;
            let found: Vec<&Running> = all
                .iter()
                .filter(|one| one.pid != std::process::id() && is_meant(one, &inputs, user))
                .collect();
            let now = tell(&found);
            if wanted.fits(found.len()) {
                context.info(format!("{what}: {now}, as wanted ({})", wanted.show()));
                let count = found.len().to_string();
                context.output.set_variable("Process.Count", &count, false);
                return Ok(ActionReport::default());
            }
            context.verbose(format!("{what}: {now}, wanted are {}", wanted.show()));
            if Instant::now() + inputs.interval >= deadline {
                let hint = if cfg!(windows) {
                    "'tasklist' on the machine shows what runs"
                } else {
                    "'ps -ef' on the machine shows what runs"
                };
                return Err(ActionError::failed(format!(
                    "{what}: wanted are {}, and after {} it is {now}; {hint}",
                    wanted.show(),
                    values::show_duration(inputs.within)
                )));
            }
            context.stop.sleep(inputs.interval)?;
        }
    }
}

fn is_meant(process: &Running, inputs: &Inputs, user: Option<u32>) -> bool {
    let named = |name: &String| {
        let name = name.trim();
        process.names.iter().any(|own| {
            own == name
                || cfg!(windows) && {
                    let (own, name) = (own.to_lowercase(), name.to_lowercase());
                    own == name || own.strip_suffix(".exe") == Some(name.as_str())
                }
        })
    };
    inputs.name.as_ref().is_none_or(named)
        && inputs
            .command
            .as_ref()
            .is_none_or(|text| process.command.contains(text.as_str()))
        && user.is_none_or(|user| process.user == Some(user))
}

fn tell(found: &[&Running]) -> String {
    let pids: Vec<String> = found
        .iter()
        .take(MOST_TOLD)
        .map(|one| one.pid.to_string())
        .collect();
    match found.len() {
        0 => "none runs".to_owned(),
        1 => format!("1 runs ({})", pids.join(", ")),
        count if count > MOST_TOLD => format!("{count} run ({}, ...)", pids.join(", ")),
        count => format!("{count} run ({})", pids.join(", ")),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Child, Command};

    use serde_json::json;

    use super::super::test_context::{Bench, message};
    use super::*;

    /// A process with a number in its command line that no other has.
    struct Sleeper(Child, String);

    impl Sleeper {
        fn start() -> Self {
            let unlike = 1_000_000_000 + u128::from(std::process::id());
            let text = format!(
                "{unlike}.{}",
                uuid::Uuid::now_v7().as_u128() % 1_000_000_000
            );
            Self(Command::new("sleep").arg(&text).spawn().unwrap(), text)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn processes_are_found_by_name_command_line_and_user() {
        let (bench, sleeper) = (Bench::new(), Sleeper::start());
        let with = |more: Value| {
            let mut with = json!({"command": sleeper.1, "within": "0s"});
            with.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            with
        };
        let user = rustix::process::getuid().as_raw().to_string();
        // The program is there once it has taken the place of the one that started it.
        let waits = json!({"within": "20s", "interval": "10ms", "name": "sleep"});
        bench.run(&ProcessCheck, with(waits)).unwrap();
        assert_eq!(bench.said.variable("Process.Count").unwrap(), "1");
        for fits in [
            json!({}),
            json!({"user": user, "at_least": 1, "at_most": "1"}),
            json!({"name": "nobody-is-called-so", "at_most": 0}),
        ] {
            bench.run(&ProcessCheck, with(fits)).unwrap();
        }
        for (more, why) in [
            (
                json!({"at_least": 2}),
                "at least 2, and after 0ms it is 1 runs",
            ),
            (json!({"at_most": 0}), "wanted are none"),
            (json!({"name": "slee"}), "none runs"),
            (json!({"user": "4294967294"}), "none runs"),
            (json!({"user": "no-such-user-here"}), "there is no user"),
        ] {
            let error = message(bench.run(&ProcessCheck, with(more)));
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn it_waits_until_the_last_one_has_ended_and_stops_when_told() {
        let (bench, sleeper) = (Bench::new(), Sleeper::start());
        let text = sleeper.1.clone();
        std::thread::scope(|scope| {
            let waits = json!({"command": text, "at_most": 0, "within": "20s", "interval": "20ms"});
            let waiting = scope.spawn(|| bench.run(&ProcessCheck, waits));
            let deadline = Instant::now() + Duration::from_secs(20);
            while !bench.said.text().contains("1 runs") {
                assert!(Instant::now() < deadline, "{}", bench.said.text());
                std::thread::yield_now();
            }
            drop(sleeper);
            waiting.join().unwrap().unwrap();
        });
        bench.stop.stop();
        let never = json!({"command": text, "within": "1h"});
        assert_eq!(bench.run(&ProcessCheck, never), Err(ActionError::Stopped));
    }

    #[test]
    fn what_no_number_is_is_refused() {
        let bench = Bench::new();
        for with in [
            json!({}),
            json!({"name": " "}),
            json!({"name": "a", "at_least": 2, "at_most": 1}),
        ] {
            assert!(matches!(
                bench.run(&ProcessCheck, with),
                Err(ActionError::Input { .. })
            ));
        }
    }
}
