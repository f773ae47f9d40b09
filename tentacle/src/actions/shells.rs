//! The shells: how each is found and called, and the helper functions that each gives to a script.
//!
//! The bootstrap defines the helpers, with every variable's value inside, and then runs the script
//! in the same process, so that exit codes and arguments are the script's own. It is written into the
//! private folder.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{ActionError, Variables};

/// A script language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// The system's POSIX shell.
    Sh,
    /// GNU Bash.
    Bash,
    /// Python 3.
    Python,
    /// The Windows command processor.
    Cmd,
    /// Windows PowerShell.
    Powershell,
    /// PowerShell 7 and later.
    Pwsh,
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
            Self::Python => "python",
            Self::Cmd => "cmd",
            Self::Powershell => "powershell",
            Self::Pwsh => "pwsh",
        })
    }
}

impl Shell {
    /// What runs a script that does not say.
    pub const DEFAULT: Self = if cfg!(windows) {
        Self::Powershell
    } else {
        Self::Sh
    };
    /// Every shell, for `tentacle doctor`.
    pub const ALL: [Self; 6] = [
        Self::Sh,
        Self::Bash,
        Self::Python,
        Self::Cmd,
        Self::Powershell,
        Self::Pwsh,
    ];

    /// The shell for a file of this name.
    pub fn of_file(path: &Path) -> Option<Self> {
        match Self::of_name(path)? {
            Self::Sh if first_line(path).contains("bash") => Some(Self::Bash),
            shell => Some(shell),
        }
    }

    /// The same from its name alone.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "sh" => Some(Self::Sh),
            "bash" => Some(Self::Bash),
            "py" => Some(Self::Python),
            "cmd" | "bat" => Some(Self::Cmd),
            "ps1" if cfg!(windows) => Some(Self::Powershell),
            "ps1" => Some(Self::Pwsh),
            _ => None,
        }
    }

    /// The program, looked for on the search path.
    pub fn find(self) -> Option<PathBuf> {
        let names: &[&str] = match self {
            Self::Sh => &["sh"],
            Self::Bash => &["bash"],
            Self::Python if cfg!(windows) => &["python", "python3", "py"],
            Self::Python => &["python3", "python"],
            Self::Cmd => &["cmd"],
            Self::Powershell => &["powershell"],
            Self::Pwsh => &["pwsh"],
        };
        names.iter().find_map(|name| search(name))
    }

    /// The same; that it is not there is a failure.
    pub(super) fn program(self) -> Result<PathBuf, ActionError> {
        self.find().ok_or_else(|| {
            ActionError::failed(format!(
                "there is no {self} on this machine; install it, or name another with 'shell:'"
            ))
        })
    }

    /// The file extension that the program expects.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Sh | Self::Bash => "sh",
            Self::Python => "py",
            Self::Cmd => "cmd",
            Self::Powershell | Self::Pwsh => "ps1",
        }
    }

    /// The arguments that make the program run this file.
    pub fn arguments(self, file: &Path) -> Vec<std::ffi::OsString> {
        let options: &[&str] = match self {
            Self::Sh | Self::Bash | Self::Cmd => &[],
            Self::Python => &["-u"],
            Self::Powershell => &[
                "-NoLogo",
                "-NoProfile",
                "-NonInteractive",
                "-ExecutionPolicy",
                "Bypass",
                "-File",
            ],
            Self::Pwsh => &["-NoLogo", "-NoProfile", "-NonInteractive", "-File"],
        };
        options
            .iter()
            .map(Into::into)
            .chain([file.into()])
            .collect()
    }

    /// The script's text as the program wants it in a file: Windows' own want carriage returns, and
    /// its PowerShell takes a file for UTF-8 only with a byte order mark.
    pub fn file_text(self, text: &str) -> String {
        match self {
            Self::Cmd => text.replace("\r\n", "\n").replace('\n', "\r\n"),
            Self::Powershell => format!("\u{feff}{text}"),
            Self::Sh | Self::Bash | Self::Python | Self::Pwsh => text.to_owned(),
        }
    }
}

fn first_line(path: &Path) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // Without its first line the file is taken for plain sh.
        let _ = file.take(256).read_to_end(&mut bytes);
    }
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

fn search(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|dir| dir.join(&file))
        .find(|candidate| is_program(candidate))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// The text that defines the helpers and then runs the script.
pub(super) struct Bootstrap {
    shell: Shell,
    text: String,
}

impl Bootstrap {
    /// The bootstrap of a script.
    pub(super) fn new(shell: Shell, variables: &Variables, script: &Path, key: &str) -> Self {
        let text = match shell {
            Shell::Sh | Shell::Bash => posix(variables, script, key),
            Shell::Python => filled_in(PYTHON, variables, script, key),
            Shell::Powershell | Shell::Pwsh => filled_in(POWERSHELL, variables, script, key),
            Shell::Cmd => String::new(),
        };
        Self { shell, text }
    }

    /// Its file's text; none where the program has no functions.
    pub(super) fn text(&self) -> Option<String> {
        (self.shell != Shell::Cmd).then(|| self.shell.file_text(&self.text))
    }
}

fn exported(variables: &Variables) -> impl Iterator<Item = (&str, &str)> {
    variables
        .iter()
        .filter(|variable| variable.exported)
        .map(|variable| (variable.name.as_str(), variable.value.as_str()))
}

/// A text in single quotes, as sh reads it.
fn posix_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn posix_case(name: &str, quoted: &str) -> String {
    format!("{}) printf '%s' {quoted};;\n", posix_quote(name))
}

fn posix(variables: &Variables, script: &Path, key: &str) -> String {
    let mut exact = String::new();
    let mut folded = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in exported(variables) {
        let value = posix_quote(value);
        exact.push_str(&posix_case(name, &value));
        let lower = name.to_ascii_lowercase();
        if seen.insert(lower.clone()) {
            folded.push_str(&posix_case(&lower, &value));
        }
    }
    for name in variables.withheld() {
        let lower = name.to_ascii_lowercase();
        if seen.insert(lower.clone()) {
            let (pattern, name) = (posix_quote(&lower), posix_quote(name));
            let _ = writeln!(folded, "{pattern}) __mantle_withheld {name};;");
        }
    }
    // Values stand between fixed pieces and are never searched for places to fill in.
    [
        "__mantle_key=",
        &posix_quote(key),
        "\n",
        POSIX_HELPERS,
        "get_octopusvariable() {\ncase \"$1\" in\n",
        &exact,
        "*) case \"$(printf '%s' \"$1\" | tr 'A-Z' 'a-z')\" in\n",
        &folded,
        "*) return 0;;\nesac;;\nesac\n}\nmantle_get() { get_octopusvariable \"$@\"; }\n. ",
        &posix_quote(&script.to_string_lossy()),
        "\n",
    ]
    .concat()
}

const POSIX_HELPERS: &str = include_str!("helpers/helpers.sh");

/// Name and value in base64, one pair a line: no quoting to get wrong.
fn pairs(variables: &Variables) -> String {
    let mut text = String::new();
    for (name, value) in exported(variables) {
        STANDARD.encode_string(name, &mut text);
        text.push(' ');
        STANDARD.encode_string(value, &mut text);
        text.push('\n');
    }
    text
}

/// The names that must not be looked up, as [`pairs`] writes names.
fn withheld(variables: &Variables) -> String {
    let names: Vec<_> = variables
        .withheld()
        .map(|name| STANDARD.encode(name))
        .collect();
    names.join("\n")
}

/// A bootstrap with its places filled in. Base64 has no `@`, so that nothing is filled in twice.
fn filled_in(text: &str, variables: &Variables, script: &Path, key: &str) -> String {
    let script = STANDARD.encode(script.to_string_lossy().as_bytes());
    text.replace("@KEY@", key)
        .replace("@PAIRS@", &pairs(variables))
        .replace("@WITHHELD@", &withheld(variables))
        .replace("@SCRIPT@", &script)
}

const PYTHON: &str = include_str!("helpers/helpers.py");

const POWERSHELL: &str = include_str!("helpers/helpers.ps1");
