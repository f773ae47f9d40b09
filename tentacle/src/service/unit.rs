//! The texts of the service, from its options: pure, so that a table can hold them.
//!
//! What holds here: nothing in a path can begin another setting, and nothing of the sandbox may be
//! undone or renewed by a restart of the agent while steps go on. So there is no `PrivateTmp` and no
//! `RuntimeDirectory`: systemd empties both when the agent stops, under the feet of the steps.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How much of the machine the agent, and so its steps, may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Profile {
    /// root, and all of the machine: steps install software, restart services and write anywhere.
    #[default]
    Full,
    /// A user of its own that writes its data and installed versions only.
    Confined,
}

/// The user of the confined profile.
pub const CONFINED_USER: &str = "tentacle";
/// By this line an installation knows a unit for one of its own.
pub const MARK: &str = "# Written by 'tentacle service install'";
/// The end of the agent's life that a restart does not mend: a wrong option, no identity, weak rights.
const HOPELESS: &str = "2 5 7";

/// What the unit says.
#[derive(Debug, Clone)]
pub struct UnitOptions {
    /// The agent's program.
    pub program: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// The root of installed versions.
    pub apps: PathBuf,
    /// How much it may.
    pub profile: Profile,
    /// Further folders that the confined profile may write.
    pub writable: Vec<PathBuf>,
}

/// Why a path cannot stand in a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} cannot stand in a unit of systemd ({why}); choose another")]
pub struct BadPath {
    /// The path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The unit of the agent.
pub fn unit(options: &UnitOptions) -> Result<String, BadPath> {
    let (program, data) = (quoted(&options.program)?, quoted(&options.data)?);
    // A condition takes the rest of its line for the path, quotation marks too.
    let identity = checked(&options.data.join("identity/identity.json"))?.replace('%', "%%");
    // A folder that is not there must not keep the agent from starting: it makes its own.
    let mut writable = Vec::new();
    for path in [&options.data, &options.apps]
        .into_iter()
        .chain(&options.writable)
    {
        writable.push(optional(path)?);
    }
    let mut text = format!(
        "{MARK}, which writes it anew each time. What is to differ goes into
# a file of its own: 'systemctl edit', or settings of 'tentacle run' in /etc/tentacle/tentacle.env.
[Unit]
Description=Mantle agent
Wants=network-online.target
After=network-online.target
# It never gives up: the machine may be repaired while nobody looks.
StartLimitIntervalSec=0
# Before the machine has joined there is nothing to run.
ConditionPathExists={identity}

[Service]
Type=notify
NotifyAccess=main
EnvironmentFile=-/etc/tentacle/tentacle.env
ExecStart={program} --data {data} run
Restart=always
RestartSec=2
# No identity, weak rights: a person is needed, and not every two seconds.
RestartPreventExitStatus={HOPELESS}
# The agent's loop says that it goes round. One that hangs is killed and started again; it is made for that.
WatchdogSec=60
WatchdogSignal=SIGKILL
TimeoutStopSec=30
# Running steps belong to their supervisors and outlive a restart or an upgrade of the agent.
KillMode=process
# Supervisors put each step into a control group of its own below this one.
Delegate=yes
TasksMax=infinity
# A step that uses up the memory ends alone, and the agent is there to tell what happened.
OOMPolicy=continue
OOMScoreAdjust=-500
LimitNOFILE=65536
UMask=0022
"
    );
    text.push_str(&match options.profile {
        Profile::Full => FULL.to_owned(),
        Profile::Confined => confined(&writable.join(" ")),
    });
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

const FULL: &str = "
# Everything is allowed, on purpose: a sandbox of the agent is one of its steps, and with a view of the
# file system of its own a step could mount nothing and install no kernel. 'tentacle service install
# --profile confined' is the other way.
LockPersonality=yes
";

fn confined(writable: &str) -> String {
    format!(
        "
User={CONFINED_USER}
Group={CONFINED_USER}
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths={writable}
# Steps need a place for what is passing. It is the machine's own: a private one is emptied when the
# agent is restarted, and steps outlive that.
ReadWritePaths=/tmp /var/tmp
ProtectHome=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=no
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"
    )
}

/// The rule by which polkit lets the confined agent manage these units and no others.
pub fn polkit_rule(units: &[String]) -> String {
    let mut list = String::new();
    for unit in units {
        // Names were checked; writing to a string cannot fail.
        let _ = write!(
            list,
            "{}\"{unit}\"",
            if list.is_empty() { "" } else { ", " }
        );
    }
    format!(
        "// Written by 'tentacle service install': the agent may manage these services.
polkit.addRule(function(action, subject) {{
  var units = [{list}];
  var verbs = [\"start\", \"stop\", \"restart\", \"reload\", \"try-restart\", \"reload-or-restart\"];
  if (action.id == \"org.freedesktop.systemd1.manage-units\" &&
      subject.user == \"{CONFINED_USER}\" &&
      units.indexOf(action.lookup(\"unit\")) >= 0 &&
      verbs.indexOf(action.lookup(\"verb\")) >= 0) {{
    return polkit.Result.YES;
  }}
}});
"
    )
}

/// Reads the name of a unit, with `.service` where nothing is said.
pub fn unit_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    let starts = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if !starts || !text.chars().all(plain) || text.len() > 200 {
        return Err(
            "the name of a unit has letters, digits and -_.@: and begins with a letter or digit"
                .to_owned(),
        );
    }
    if text.ends_with(".service") {
        Ok(text.to_owned())
    } else {
        Ok(format!("{text}.service"))
    }
}

/// Whether the unit runs an agent with this data directory.
pub fn serves(unit: &str, data: &Path) -> bool {
    let Ok(data) = quoted(data) else {
        return false;
    };
    let run = format!(" --data {data} run");
    unit.lines()
        .any(|line| line.starts_with("ExecStart=") && line.ends_with(&run))
}

/// A path as one word of a unit, taken for what it is.
fn quoted(path: &Path) -> Result<String, BadPath> {
    let text = checked(path)?;
    if text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    {
        return Ok(text.to_owned());
    }
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                word.push('\\');
                word.push(c);
            }
            // Specifiers, and variables where a command stands.
            '%' => word.push_str("%%"),
            _ => word.push(c),
        }
    }
    word.push('"');
    Ok(word)
}

/// The same for a folder that may be missing.
fn optional(path: &Path) -> Result<String, BadPath> {
    let word = quoted(path)?;
    Ok(match word.strip_prefix('"') {
        Some(rest) => format!("\"-{rest}"),
        None => format!("-{word}"),
    })
}

/// The text of a path in which nothing means anything to systemd but `%`, `"` and `\\`.
fn checked(path: &Path) -> Result<&str, BadPath> {
    let bad = |why| BadPath {
        path: path.to_owned(),
        why,
    };
    if !path.is_absolute() {
        return Err(bad("it is not absolute"));
    }
    let text = path.to_str().ok_or_else(|| bad("it is no UTF-8"))?;
    // A variable in a command is put in by systemd itself, and not everywhere alike.
    if text.chars().any(|c| c.is_control() || c == '$') {
        return Err(bad("it has a control character or a '$'"));
    }
    Ok(text)
}
