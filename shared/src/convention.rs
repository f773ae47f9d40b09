//! The scripts that a package may bring along: when each runs, and how its file is called.
//!
//! The server looks into them for the names of secrets when a release is created, the agent runs
//! them: both must mean the same files.

/// When a script of an installation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before anything is written from variables.
    PreDeploy,
    /// Before the version is in use.
    Deploy,
    /// Once it is in use.
    PostDeploy,
    /// When any of it failed.
    DeployFailed,
}

impl Stage {
    /// Every stage, in the order in which they come.
    pub const ALL: [Self; 4] = [
        Self::PreDeploy,
        Self::Deploy,
        Self::PostDeploy,
        Self::DeployFailed,
    ];

    /// The script's file name in a package's root, without its extension.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::PreDeploy => "PreDeploy",
            Self::Deploy => "Deploy",
            Self::PostDeploy => "PostDeploy",
            Self::DeployFailed => "DeployFailed",
        }
    }

    /// The same in files of projects.
    pub const fn key(self) -> &'static str {
        match self {
            Self::PreDeploy => "pre_deploy",
            Self::Deploy => "deploy",
            Self::PostDeploy => "post_deploy",
            Self::DeployFailed => "deploy_failed",
        }
    }
}

/// The extensions of scripts that some platform runs.
pub const EXTENSIONS: &[&str] = &["sh", "bash", "py", "ps1", "cmd", "bat"];

/// A glob for each stage's scripts of every platform.
pub fn globs() -> Vec<String> {
    let extensions = EXTENSIONS.join(",");
    let glob = |stage: Stage| format!("{}.{{{extensions}}}", stage.file_name());
    Stage::ALL.into_iter().map(glob).collect()
}
