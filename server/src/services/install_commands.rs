//! The line that installs the agent on a machine and joins it: a join token, and where the rest comes
//! from.

use super::error::{Error, Result};
use super::{Caller, Services};
use crate::api::body::{InstallOs, JoinTokenCreate, JoinTokenCreated};
use crate::installers::line::{self, Joining};
use crate::installers::{Platform, Program};

/// Use cases of installing agents.
impl Services {
    /// Makes a token, and the line in which it stands. Where the server has no program to hand out,
    /// nothing is made.
    pub async fn install_command(
        &self,
        caller: &Caller,
        request: &JoinTokenCreate,
        os: InstallOs,
    ) -> Result<JoinTokenCreated> {
        // Who may not make tokens learns nothing of the server's folders.
        caller.may(mantle_domain::permission::Permission::ManageTargets)?;
        let program = self.program_for(os).await?;
        let mut created = self.join_token_create(caller, request).await?;
        let joining = Joining {
            token: &created.token,
            name: created.join_token.name.as_deref(),
        };
        let at = &self.installers.at;
        created.command = match os {
            InstallOs::Linux => line::linux(at, joining),
            InstallOs::Windows => line::windows(at, joining, &program.sha256),
        };
        Ok(created)
    }

    async fn program_for(&self, os: InstallOs) -> Result<Program> {
        let (platforms, how): (&[Platform], _) = match os {
            InstallOs::Linux => (
                &[Platform::LinuxX8664, Platform::LinuxAarch64],
                "'cargo build --release -p tentacle' builds it",
            ),
            InstallOs::Windows => (
                &[Platform::WindowsX8664],
                "'packaging/windows/build.sh' builds it",
            ),
        };
        let programs = &self.installers.programs;
        for platform in platforms {
            let found = programs.find(*platform).await;
            if let Some(program) = found.map_err(|error| unusable(os, &error))? {
                return Ok(program);
            }
        }
        let places = platforms
            .iter()
            .flat_map(|platform| programs.places(*platform));
        let places: Vec<_> = places.map(|place| place.display().to_string()).collect();
        Err(Error::Refused {
            code: "no-agent-program",
            detail: format!("this server has no agent for {} to hand out", os.name()),
            reasons: places
                .iter()
                .map(|place| format!("there is no {place}"))
                .collect(),
            help: format!(
                "put the agent's program to one of these places on the server, readable for it ({how}); the server need not be restarted"
            ),
        })
    }
}

fn unusable(os: InstallOs, error: &std::io::Error) -> Error {
    Error::refused(
        "agent-program-unusable",
        format!(
            "the agent for {} on this server cannot be handed out: {error}",
            os.name()
        ),
        "mend that on the server; it need not be restarted",
    )
}
