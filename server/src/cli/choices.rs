//! Options by which an operator chooses what takes part in a deployment.

use clap::{Args, ValueEnum};

use crate::api::body::{DeploymentChoices, UnavailableTargets, UnhealthyTargets};

/// What takes part.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What takes part")]
pub(super) struct ChoiceArgs {
    /// Only this target; may be given several times
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Only targets with this tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Not this target, neither as what it is about nor to run something on behalf of others; may
    /// be given several times
    #[arg(long = "exclude", value_name = "NAME")]
    exclude: Vec<String>,
    /// Not this step; may be given several times
    #[arg(long = "skip", value_name = "STEP")]
    skip: Vec<String>,
    /// Only this step; may be given several times
    #[arg(long = "only", value_name = "STEP")]
    only: Vec<String>,
    /// What becomes of targets that are away, in place of what project and steps say
    #[arg(long, value_enum, value_name = "POLICY")]
    unavailable: Option<Policy>,
    /// What becomes of targets that are unhealthy by a check, in place of what project and steps say
    #[arg(long, value_enum, value_name = "POLICY")]
    unhealthy: Option<Ill>,
    /// Stop it if it has not ended after this long
    #[arg(long, value_name = "TIME")]
    time_limit: Option<String>,
    /// A failure asks a person what becomes of it, whatever project and environment say
    #[arg(long, overrides_with = "no_guided_failure")]
    guided_failure: bool,
    /// A failure asks nobody, whatever project and environment say
    #[arg(long, overrides_with = "guided_failure")]
    no_guided_failure: bool,
}

/// What becomes of targets that are away.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// There is no deployment while one is
    Fail,
    /// They are left out
    Skip,
}

/// What becomes of targets that are unhealthy.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ill {
    /// They take part as any other
    Deploy,
    /// They are left out
    Skip,
    /// There is no deployment while one is
    Fail,
}

impl ChoiceArgs {
    /// The same for the server.
    pub(super) fn choices(self, failed_only_of: Option<String>) -> DeploymentChoices {
        DeploymentChoices {
            targets: self.targets,
            tags: self.tags,
            exclude: self.exclude,
            failed_only_of,
            skip: self.skip,
            only: self.only,
            unavailable: self.unavailable.map(|policy| match policy {
                Policy::Fail => UnavailableTargets::Fail,
                Policy::Skip => UnavailableTargets::Skip,
            }),
            unhealthy: self.unhealthy.map(|policy| match policy {
                Ill::Deploy => UnhealthyTargets::Deploy,
                Ill::Skip => UnhealthyTargets::Skip,
                Ill::Fail => UnhealthyTargets::Fail,
            }),
            time_limit: self.time_limit,
            guided_failure: match (self.guided_failure, self.no_guided_failure) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            },
        }
    }
}
