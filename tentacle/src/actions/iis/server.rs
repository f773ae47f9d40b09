//! The IIS of this machine, by the programs that it comes with.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::super::tool::{self, Said};
use super::super::{ActionError, StopToken};
use super::change::{Order, Program};
use super::state::{self, Pool, Site};

/// How long one call may take. Stopping a pool waits for its requests, 90 seconds as IIS has it.
const CALL_TIMEOUT: Duration = Duration::from_mins(3);
/// How long one call may take that takes something back: who cancelled waits for it.
const BACK_TIMEOUT: Duration = Duration::from_secs(30);

/// What changes IIS and tells of it.
pub(super) trait Iis {
    /// Carries out one order; its output if it succeeded.
    fn order(&self, order: &Order) -> Result<String, ActionError>;

    /// The same for an order that takes something back: a stop does not keep it from that.
    fn take_back(&self, order: &Order) -> Result<String, ActionError>;

    /// What `appcmd list` says, also when it found nothing.
    fn list(&self, arguments: &[&str]) -> Result<String, ActionError>;

    /// The thumbprint of the certificate at a place of `netsh`.
    fn certificate(&self, place: &str) -> Result<Option<String>, ActionError>;

    /// The site of this name.
    fn site(&self, name: &str) -> Result<Option<Site>, ActionError> {
        let named = format!("/site.name:{name}");
        let said = self.list(&["list", "site", &named, "/config:*", "/xml"])?;
        state::site(&said).map_err(ActionError::failed)
    }

    /// The pool of this name.
    fn pool(&self, name: &str) -> Result<Option<Pool>, ActionError> {
        let named = format!("/apppool.name:{name}");
        let said = self.list(&["list", "apppool", &named, "/config:*", "/xml"])?;
        state::pool(&said).map_err(ActionError::failed)
    }

    /// Whether a way to log in is open at a place.
    fn is_enabled(&self, place: &str, section: &str) -> Result<bool, ActionError> {
        let section_is = format!("/section:{section}");
        let said = self.list(&["list", "config", place, &section_is, "/config:*"])?;
        state::is_enabled(&said, section).map_err(ActionError::failed)
    }
}

/// The one that is installed.
pub(super) struct Installed<'a> {
    system: PathBuf,
    stop: &'a StopToken,
}

impl<'a> Installed<'a> {
    /// Looks for it.
    pub(super) fn find(stop: &'a StopToken) -> Result<Self, ActionError> {
        if !cfg!(windows) {
            return Err(ActionError::failed(
                "IIS is on Windows only, and this machine is not one; write 'when: { platform: windows }' at the action",
            ));
        }
        let windows = std::env::var_os("SystemRoot").unwrap_or_else(|| "C:\\Windows".into());
        let system = PathBuf::from(windows).join("System32");
        let found = Self { system, stop };
        let appcmd = found.program(Program::Appcmd);
        if !appcmd.is_file() {
            return Err(ActionError::failed(format!(
                "IIS is not installed: {} is not there; put an action 'iis.feature' with 'features: [IIS-WebServerRole, IIS-ManagementScriptingTools]' before this one",
                appcmd.display()
            )));
        }
        Ok(found)
    }

    fn program(&self, program: Program) -> PathBuf {
        match program {
            Program::Appcmd => self.system.join("inetsrv").join("appcmd.exe"),
            Program::Netsh => self.system.join("netsh.exe"),
        }
    }

    fn call<A: AsRef<std::ffi::OsStr>>(
        &self,
        program: Program,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Said, ActionError> {
        let mut command = Command::new(self.program(program));
        command.args(arguments);
        tool::run(command, CALL_TIMEOUT, self.stop)
    }
}

fn outcome(said: Said) -> Result<String, ActionError> {
    if said.is_ok() {
        Ok(said.out)
    } else {
        Err(ActionError::Failed {
            message: said.complaint(),
            exit_code: said.code,
        })
    }
}

impl Iis for Installed<'_> {
    fn order(&self, order: &Order) -> Result<String, ActionError> {
        outcome(self.call(order.program, &order.arguments)?)
    }

    fn take_back(&self, order: &Order) -> Result<String, ActionError> {
        let mut command = Command::new(self.program(order.program));
        command.args(&order.arguments);
        outcome(tool::run(command, BACK_TIMEOUT, &StopToken::new())?)
    }

    fn list(&self, arguments: &[&str]) -> Result<String, ActionError> {
        let said = self.call(Program::Appcmd, arguments)?;
        // Where nothing is found it ends with 1 and says nothing, or an empty list.
        let empty = said.out.trim().is_empty() || said.out.contains("<appcmd");
        if said.is_ok() || (empty && said.err.trim().is_empty()) {
            Ok(said.out)
        } else if said.out.contains("Cannot find") {
            Ok(String::new())
        } else {
            Err(ActionError::failed(said.complaint()))
        }
    }

    fn certificate(&self, place: &str) -> Result<Option<String>, ActionError> {
        let said = self.call(Program::Netsh, ["http", "show", "sslcert", place])?;
        Ok(said.is_ok().then(|| thumbprint(&said.out)).flatten())
    }
}

/// The first 40 hexadecimal digits that stand alone: what is around them depends on the language of
/// the machine.
fn thumbprint(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == 40 && word.chars().all(|c| c.is_ascii_hexdigit()))
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_found_in_any_language() {
        let text = "SSL-Zertifikatbindungen:\r\n  IP:Port : 0.0.0.0:443\r\n  Zertifikathash : A1B2C3D4E5F60718293A4B5C6D7E8F9011223344\r\n  Anwendungs-ID : {6b0c2ea1-6a4e-4ae5-9c0f-0b6f52b4a6d1}\r\n";
        assert_eq!(
            thumbprint(text).as_deref(),
            Some("a1b2c3d4e5f60718293a4b5c6d7e8f9011223344")
        );
        assert_eq!(
            thumbprint("Das System kann die Datei nicht finden.\r\n"),
            None
        );
    }
}
