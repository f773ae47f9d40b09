//! The service on a machine that systemd runs: files in their places, and `systemctl` for the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use super::unit::{self, BadPath, CONFINED_USER, MARK, Profile, UnitOptions};
use crate::durable::{self, Privacy};
use crate::identity::Identity;
use crate::rights::{self, Weak, Wrong};
use crate::settings::{self, SettingsError};
use crate::state_dir::{StateDir, StateDirError};

/// Where units of the machine's own are.
const UNITS: &str = "/etc/systemd/system";
/// Where polkit looks for rules.
const RULES: &str = "/etc/polkit-1/rules.d";
/// There exactly when systemd is process 1.
const RUNNING: &str = "/run/systemd/system";
/// Longer than what the unit gives the agent to start and to stop.
const LIMIT: Duration = Duration::from_secs(150);
/// How much of the journal says why a start failed.
const LAST_LINES: &str = "10";

/// How to install.
#[derive(Debug, Clone)]
pub struct Install {
    /// The unit's name, with `.service`.
    pub unit: String,
    /// How much the agent may.
    pub profile: Profile,
    /// Further folders that the confined profile may write.
    pub writable: Vec<PathBuf>,
    /// Units that the confined profile may manage, with `.service`.
    pub manages: Vec<String>,
}

/// Why the service could not be installed, asked or removed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Something else starts this machine's services.
    #[error(
        "systemd does not run this machine, so no service was touched; let what starts services here run 'tentacle run', and start it again whenever it ends"
    )]
    NoSystemd,
    /// The user may not.
    #[error("only root may change services; type the same command with sudo")]
    NotRoot,
    /// Another user could put another program in the agent's place.
    #[error("root would run {}, which others can replace: {why}; type 'install -o root -g root -m 755 {} /usr/local/bin/tentacle' and then '/usr/local/bin/tentacle service install'", .program.display(), rights::shell_word(.program))]
    Replaceable {
        /// The program.
        program: PathBuf,
        /// By what.
        why: String,
    },
    /// A path that no unit can hold.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// The options do not go together.
    #[error("{0} is for the profile 'confined'; the full one may do everything anyway")]
    OnlyConfined(&'static str),
    /// The service is not there.
    #[error("there is no service {unit}; type 'tentacle service install'")]
    NotInstalled {
        /// Its unit.
        unit: String,
    },
    /// The machine has not joined.
    #[error(
        "the service {unit} is installed, but this machine has not joined a server yet, so it does not start; type 'tentacle join --server HOST:PORT --token TOKEN', then 'tentacle service start'"
    )]
    NotJoined {
        /// Its unit.
        unit: String,
    },
    /// The unit is another agent's.
    #[error("the service {unit} runs an agent with another data directory than {}; give this one a service of its own with 'tentacle service install --unit NAME', or name the other with --data", .data.display())]
    Anothers {
        /// The unit.
        unit: String,
        /// This agent's data directory.
        data: PathBuf,
    },
    /// A program said no.
    #[error("'{command}' failed{}", said(.text))]
    Command {
        /// What was typed.
        command: String,
        /// What it said.
        text: String,
    },
    /// A file could not be written, moved or removed.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// `write`, ...
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Where installed versions go cannot be settled.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data directory cannot be made.
    #[error(transparent)]
    Data(#[from] StateDirError),
}

fn said(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(":\n{text}")
    }
}

/// Says what was done.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// How the service stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// Its unit.
    pub unit: String,
    /// The unit's file.
    pub file: String,
    /// `full` or `confined`.
    pub profile: String,
    /// `active`, `inactive`, `failed`, ...
    pub active: String,
    /// `running`, `dead`, `auto-restart`, ...
    pub sub: String,
    /// Whether it starts with the machine: `enabled`, `disabled`, ...
    pub at_boot: String,
    /// The agent's process, 0 if there is none.
    pub pid: u32,
    /// How often systemd has started it anew.
    pub restarts: u32,
    /// What the agent says of itself.
    pub says: String,
}

/// Refuses what cannot be installed, before anything is changed.
pub fn check(options: &Install, state_dir: &StateDir) -> Result<UnitOptions, ServiceError> {
    if !Path::new(RUNNING).is_dir() {
        return Err(ServiceError::NoSystemd);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(ServiceError::NotRoot);
    }
    let unit = fs::read_to_string(unit_file(&options.unit)).unwrap_or_default();
    if unit.starts_with(MARK) && !unit::serves(&unit, state_dir.root()) {
        return Err(ServiceError::Anothers {
            unit: options.unit.clone(),
            data: state_dir.root().to_owned(),
        });
    }
    plan(options, state_dir)
}

/// Whether this service runs the agent with this data directory.
pub fn serves(name: &str, state_dir: &StateDir) -> bool {
    fs::read_to_string(unit_file(name)).is_ok_and(|unit| unit::serves(&unit, state_dir.root()))
}

/// What the unit will say.
pub fn plan(options: &Install, state_dir: &StateDir) -> Result<UnitOptions, ServiceError> {
    if options.profile == Profile::Full {
        if !options.writable.is_empty() {
            return Err(ServiceError::OnlyConfined("--writable"));
        }
        if !options.manages.is_empty() {
            return Err(ServiceError::OnlyConfined("--manages"));
        }
    }
    let program = std::env::current_exe().map_err(|source| ServiceError::Io {
        doing: "find the program of",
        path: "/proc/self/exe".into(),
        source,
    })?;
    if let Some(Weak { path, wrong }) = rights::replaceable(&program) {
        let path = path.display();
        let why = match wrong {
            Wrong::Mode { is, .. } => format!("{path} has the mode {is:04o}"),
            Wrong::Owner { is, .. } => format!("{path} belongs to user {is}"),
        };
        return Err(ServiceError::Replaceable { program, why });
    }
    let found = UnitOptions {
        program,
        data: state_dir.root().to_owned(),
        apps: settings::apps(state_dir)?.path,
        profile: options.profile,
        writable: options.writable.clone(),
    };
    unit::unit(&found)?;
    Ok(found)
}

/// Installs the service, so that it starts with the machine. It does not start it now.
pub fn install(options: &Install, state_dir: &StateDir, say: Say<'_>) -> Result<(), ServiceError> {
    let found = check(options, state_dir)?;
    state_dir.create()?;
    let apps = settings::settle(state_dir, None)?;
    settings::create(&apps.path)?;
    give_folders(options.profile, state_dir, &apps.path, say)?;
    let rules = rules_file(&options.unit);
    if options.manages.is_empty() {
        if remove(&rules)? {
            say(&format!("removed {}", rules.display()));
        }
    } else if put(&rules, &unit::polkit_rule(&options.manages))? {
        let units = options.manages.join(", ");
        say(&format!(
            "wrote {}: the agent may manage {units}",
            rules.display()
        ));
    }
    let file = unit_file(&options.unit);
    keep_anothers(&file, say)?;
    let text = unit::unit(&found)?;
    if put(&file, &text)? {
        say(&format!("wrote {}", file.display()));
        systemctl(&["daemon-reload"])?;
    } else {
        say(&format!("{} is there already and the same", file.display()));
    }
    systemctl(&["enable", "--quiet", &options.unit])?;
    say(&format!("{} starts with the machine", options.unit));
    Ok(())
}

/// Starts it, or starts it anew so that a new identity or unit is used; waits until the agent works.
pub fn start(name: &str, state_dir: &StateDir, anew: bool) -> Result<(), ServiceError> {
    may_change(name)?;
    if !Identity::exists(state_dir.root()) {
        return Err(ServiceError::NotJoined {
            unit: name.to_owned(),
        });
    }
    // One that has failed often is started all the same: a person says so.
    systemctl(&["reset-failed", name]).or_else(|error| match error {
        ServiceError::Command { .. } => Ok(String::new()),
        other => Err(other),
    })?;
    let verb = if anew { "restart" } else { "start" };
    systemctl(&[verb, name])
        .map(drop)
        .map_err(|error| with_journal(error, name))
}

/// Stops it. Running steps go on.
pub fn stop(name: &str) -> Result<(), ServiceError> {
    may_change(name)?;
    systemctl(&["stop", name]).map(drop)
}

/// Stops and removes it. The data directory stays. Gives whether there was something to remove.
pub fn uninstall(name: &str, say: Say<'_>) -> Result<bool, ServiceError> {
    if !Path::new(RUNNING).is_dir() {
        return Err(ServiceError::NoSystemd);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(ServiceError::NotRoot);
    }
    let there = standing(name)?.is_some();
    if there {
        systemctl(&["disable", "--now", "--quiet", name])?;
        say(&format!("stopped {name}; running steps go on to their end"));
    }
    let mut removed = there;
    for file in [unit_file(name), rules_file(name)] {
        if remove(&file)? {
            removed = true;
            say(&format!("removed {}", file.display()));
        }
    }
    systemctl(&["daemon-reload"])?;
    Ok(removed)
}

/// How it stands, if it is there.
pub fn standing(name: &str) -> Result<Option<Standing>, ServiceError> {
    if !Path::new(RUNNING).is_dir() {
        return Err(ServiceError::NoSystemd);
    }
    let properties = "LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts,StatusText,User,FragmentPath";
    let text = systemctl(&["show", "--property", properties, name])?;
    Ok(read_standing(name, &text))
}

pub(super) fn read_standing(name: &str, text: &str) -> Option<Standing> {
    let value = |wanted: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == wanted)
            .map_or("", |(_, value)| value)
    };
    if value("LoadState") != "loaded" {
        return None;
    }
    let number = |name| value(name).parse().unwrap_or(0);
    Some(Standing {
        unit: name.to_owned(),
        file: value("FragmentPath").to_owned(),
        profile: match value("User") {
            CONFINED_USER => "confined".to_owned(),
            "" | "root" => "full".to_owned(),
            user => format!("user {user}"),
        },
        active: value("ActiveState").to_owned(),
        sub: value("SubState").to_owned(),
        at_boot: value("UnitFileState").to_owned(),
        pid: number("MainPID"),
        restarts: number("NRestarts"),
        says: value("StatusText").to_owned(),
    })
}

fn may_change(name: &str) -> Result<(), ServiceError> {
    if standing(name)?.is_none() {
        return Err(ServiceError::NotInstalled {
            unit: name.to_owned(),
        });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(ServiceError::NotRoot);
    }
    Ok(())
}

fn unit_file(name: &str) -> PathBuf {
    Path::new(UNITS).join(name)
}

fn rules_file(name: &str) -> PathBuf {
    let name = name.trim_end_matches(".service");
    Path::new(RULES).join(format!("60-{name}.rules"))
}

/// A unit that somebody wrote by hand is kept under a name that systemd does not read.
fn keep_anothers(file: &Path, say: Say<'_>) -> Result<(), ServiceError> {
    let Ok(text) = fs::read_to_string(file) else {
        return Ok(());
    };
    if text.starts_with(MARK) {
        return Ok(());
    }
    let kept = file.with_extension("service.before");
    durable::write(&kept, text.as_bytes(), Privacy::Folder)
        .map_err(|source| failed("write", &kept, source))?;
    say(&format!(
        "{} was not written by this command; what it said is kept in {}",
        file.display(),
        kept.display()
    ));
    Ok(())
}

/// Writes a file unless it says that already.
fn put(file: &Path, text: &str) -> Result<bool, ServiceError> {
    if fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    durable::create_readable_folder(folder).map_err(|source| failed("make", folder, source))?;
    durable::write(file, text.as_bytes(), Privacy::Folder)
        .map_err(|source| failed("write", file, source))?;
    Ok(true)
}

fn remove(file: &Path) -> Result<bool, ServiceError> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed("remove", file, source)),
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> ServiceError {
    ServiceError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// The data directory belongs to the user that the agent runs as; the root of installed versions may be
/// written by it.
fn give_folders(
    profile: Profile,
    state_dir: &StateDir,
    apps: &Path,
    say: Say<'_>,
) -> Result<(), ServiceError> {
    let root = state_dir.root();
    let (user, group) = match profile {
        Profile::Full => (0, 0),
        Profile::Confined => confined_user(root, say)?,
    };
    let own = [state_dir.identity(), root.join("settings.json")];
    let moves = owner(root).map_err(|source| failed("look at", root, source))? != (user, group);
    // Only with the profile does all of it change hands. At other times what a join has written, as root,
    // is the agent's, and whatever steps gave to others stays theirs.
    let trees = if moves {
        vec![root.to_owned()]
    } else {
        own.to_vec()
    };
    for tree in trees {
        give_tree(&tree, &root.join("apps"), (user, group))
            .map_err(|source| failed("give away", &tree, source))?;
    }
    if moves {
        say(&format!("{} belongs to user {user} now", root.display()));
    }
    if profile == Profile::Confined {
        give(apps, user, group).map_err(|source| failed("give away", apps, source))?;
    }
    Ok(())
}

fn confined_user(home: &Path, say: Say<'_>) -> Result<(u32, u32), ServiceError> {
    let number = |option: &str| -> Option<u32> {
        call("id", &[option, CONFINED_USER])
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    if number("-u").is_none() {
        let home = home.to_string_lossy();
        let words = [
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            &home,
            "--shell",
            "/usr/sbin/nologin",
            CONFINED_USER,
        ];
        call("useradd", &words)?;
        say(&format!("made the user {CONFINED_USER}"));
    }
    number("-u")
        .zip(number("-g"))
        .ok_or_else(|| ServiceError::Command {
            command: format!("id -u {CONFINED_USER}"),
            text: "the user was made, but is not found".to_owned(),
        })
}

/// Gives a tree to a user, but for installed versions. A link is given, never what it leads to.
fn give_tree(root: &Path, installed: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = match fs::symlink_metadata(&path) {
            Ok(_) if path == installed => continue,
            Ok(meta) => meta,
            // What a running agent has removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        give(&path, user, group)?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    if owner(path)? == (user, group) {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(user), Some(group))
}

fn owner(path: &Path) -> io::Result<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.uid(), meta.gid()))
}

fn systemctl(words: &[&str]) -> Result<String, ServiceError> {
    call("systemctl", &[&["--no-ask-password"], words].concat())
}

/// Adds what the agent wrote before its start failed.
fn with_journal(error: ServiceError, name: &str) -> ServiceError {
    let ServiceError::Command { command, text } = error else {
        return error;
    };
    let words = [
        "--unit",
        name,
        "--lines",
        LAST_LINES,
        "--output",
        "cat",
        "--no-pager",
        "--quiet",
    ];
    let lines = call("journalctl", &words).unwrap_or_default();
    let text = format!("{text}\n{lines}\nhelp: 'journalctl -u {name}' shows more");
    ServiceError::Command { command, text }
}

/// Runs a program of the system and gives what it printed.
fn call(program: &str, words: &[&str]) -> Result<String, ServiceError> {
    let failed = |text: String| ServiceError::Command {
        command: format!("{program} {}", words.join(" ")),
        text,
    };
    let output = run(program, words).map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(failed(text.trim().to_owned()))
}

fn run(program: &str, words: &[&str]) -> io::Result<Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let output = tokio::process::Command::new(program)
            .args(words)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(LIMIT, output)
            .await
            .unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {} s", LIMIT.as_secs()),
                ))
            })
    })
}
