//! What is asked and ordered of systemd, through `systemctl` and `journalctl`.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::tool::{Said, ask};
use super::super::values::show_duration;
use super::super::{ActionContext, ActionError, StopToken};

/// Where systemd says that it runs (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";
/// Answers of systemd come at once; a machine under load may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a service is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How many lines of a service's journal are told when it does not come up.
const TAIL_LINES: &str = "40";

/// Fails if no systemd runs here.
pub(in super::super) fn require() -> Result<(), ActionError> {
    if Path::new(BOOTED).is_dir() {
        return Ok(());
    }
    Err(ActionError::failed(format!(
        "systemd does not run on this machine ({BOOTED} is not there); leave the machine out with 'when: {{ platform: linux }}' or 'targets', or start the program by a 'script'"
    )))
}

/// A service as systemd sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct State {
    /// `loaded`, `not-found`, `bad-setting` ...
    pub(in super::super) load: String,
    /// `active`, `inactive`, `failed`, `activating` ...
    pub(in super::super) active: String,
    /// More of the same, such as `auto-restart`.
    pub(in super::super) sub: String,
    /// Why it is not active: `exit-code`, `timeout`, `signal` ...
    pub(in super::super) result: String,
    /// The exit code or the signal of its main process.
    pub(in super::super) status: String,
    /// The id of its main process.
    pub(in super::super) main_pid: String,
    /// Whether it starts with the machine.
    pub(in super::super) unit_file: String,
    /// Its unit file, if there is one.
    pub(in super::super) path: String,
}

impl State {
    pub(in super::super) fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.unit_file == "enabled"
    }

    /// What it is, for a message.
    pub(in super::super) fn show(&self) -> String {
        let why = match (self.result.as_str(), self.status.as_str()) {
            ("success" | "", _) => String::new(),
            ("exit-code", status) => format!(": its program ended with exit code {status}"),
            ("signal" | "core-dump", status) => format!(": signal {status} ended its program"),
            ("timeout", _) => ": it did not say in time that it is ready".to_owned(),
            (result, _) => format!(": {result}"),
        };
        format!("{} ({}){why}", self.active, self.sub)
    }
}

/// Orders something of systemd and waits for it, `within` at most.
pub(in super::super) fn order(
    arguments: &[&str],
    within: Duration,
    stop: &StopToken,
) -> Result<(), ActionError> {
    let answer = systemctl(arguments, within, stop)?;
    if answer.is_ok() {
        return Ok(());
    }
    Err(ActionError::failed(format!(
        "'systemctl {}' failed: {}",
        arguments.join(" "),
        answer.complaint()
    )))
}

fn systemctl(arguments: &[&str], within: Duration, stop: &StopToken) -> Result<Said, ActionError> {
    let words = [&["--no-pager", "--no-ask-password"], arguments].concat();
    ask("systemctl", &words, within, stop)
}

/// Like [`order`], for what is answered at once.
pub(in super::super) fn quickly(arguments: &[&str], stop: &StopToken) -> Result<(), ActionError> {
    order(arguments, ANSWER_TIMEOUT, stop)
}

/// Asks what a unit is.
pub(in super::super) fn state(unit: &str, stop: &StopToken) -> Result<State, ActionError> {
    let properties =
        "LoadState,ActiveState,SubState,Result,ExecMainStatus,MainPID,UnitFileState,FragmentPath";
    let answer = systemctl(&["show", "-p", properties, unit], ANSWER_TIMEOUT, stop)?;
    if !answer.is_ok() {
        return Err(ActionError::failed(format!(
            "systemd does not say what {unit} is: {}",
            answer.complaint()
        )));
    }
    Ok(parse(&answer.out))
}

fn parse(text: &str) -> State {
    let mut state = State::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let field = match key {
            "LoadState" => &mut state.load,
            "ActiveState" => &mut state.active,
            "SubState" => &mut state.sub,
            "Result" => &mut state.result,
            "ExecMainStatus" => &mut state.status,
            "MainPID" => &mut state.main_pid,
            "UnitFileState" => &mut state.unit_file,
            "FragmentPath" => &mut state.path,
            _ => continue,
        };
        value.clone_into(field);
    }
    state
}

/// Waits until it has been up for so long with the same main process.
pub(in super::super) fn stays_up(
    unit: &str,
    (within, settle): (Duration, Duration),
    stop: &StopToken,
) -> Result<(), ActionError> {
    let deadline = Instant::now() + within;
    let mut up: Option<(String, Instant)> = None;
    loop {
        let state = state(unit, stop)?;
        let fails =
            |how: &str| ActionError::failed(format!("{unit} {how}: it is {}", state.show()));
        match state.active.as_str() {
            "active" => match &up {
                Some((pid, _)) if *pid != state.main_pid => {
                    return Err(fails("was started again by systemd"));
                }
                Some((_, since)) if since.elapsed() >= settle => return Ok(()),
                Some(_) => {}
                None if settle.is_zero() => return Ok(()),
                None => up = Some((state.main_pid.clone(), Instant::now())),
            },
            "failed" | "inactive" | "deactivating" => return Err(fails("did not stay up")),
            _ if state.sub == "auto-restart" => return Err(fails("did not stay up")),
            _ => {
                up = None;
                if Instant::now() >= deadline {
                    let time = show_duration(within);
                    return Err(fails(&format!("is not up after {time}")));
                }
            }
        }
        stop.sleep(POLL_INTERVAL)?;
    }
}

/// Puts the end of a unit's journal since then into the log.
pub(super) fn tell_journal(context: &ActionContext<'_>, unit: &str, since: u64) {
    let stop = StopToken::new();
    let since = format!("@{since}");
    // What it wrote last may be on its way still; that this fails on an old systemd costs nothing.
    let _ = ask("journalctl", &["--sync"], ANSWER_TIMEOUT, &stop);
    let words = [
        "--no-pager",
        "--quiet",
        "-o",
        "cat",
        "-n",
        TAIL_LINES,
        "--since",
        &since,
        "-u",
        unit,
    ];
    match ask("journalctl", &words, ANSWER_TIMEOUT, &stop) {
        Ok(answer) if answer.is_ok() && !answer.out.trim().is_empty() => {
            context.error(format!("the journal of {unit}:"));
            context.error(answer.out.trim_end());
        }
        Ok(answer) if answer.is_ok() => {
            context.info(format!("{unit} wrote nothing to the journal"));
        }
        Ok(answer) => context.warning(format!("no journal of {unit}: {}", answer.complaint())),
        Err(error) => context.warning(format!("no journal of {unit}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_of_a_unit() {
        let state = parse(
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nExecMainStatus=3\nMainPID=0\nUnitFileState=enabled\nFragmentPath=/etc/x=y\nOther=1\n",
        );
        assert!(state.is_enabled() && !state.is_active());
        assert_eq!(state.path, "/etc/x=y");
        assert_eq!(
            state.show(),
            "activating (auto-restart): its program ended with exit code 3"
        );
    }
}
