//! Variables by which Octopus is told how to work (reference section 1.4, "knobs you set"), and
//! which tell this server nothing: what is set in vain is said when a file is applied.

/// The knobs without effect, and what to do in their place. Names in lower case are compared.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "Octopus.Acquire.MaxParallelism",
        "packages go to all targets at once, at the pace of 'server run --push-rate'",
    ),
    (
        "Octopus.Acquire.DeltaCompressionEnabled",
        "packages always go in parts, and only those that a target lacks",
    ),
    (
        "Octopus.Action.MaxParallelism",
        "write 'max_parallel' or 'rolling: { window: N }' at the step",
    ),
    (
        "OctopusBypassDeploymentMutex",
        "write 'locks: []' at the action, or name what it touches",
    ),
    (
        "Octopus.Task.ConcurrencyTag",
        "write 'locks: [NAME]' at the actions that must not run at once",
    ),
    (
        "OctopusPrintVariables",
        "'mantle variable list' and 'mantle deployment show' show the values",
    ),
    (
        "OctopusPrintEvaluatedVariables",
        "'mantle variable list -e ENV' and 'variable explain' show what comes of templates",
    ),
    (
        "OctopusSkipFreeDiskSpaceCheck",
        "free room is always looked at; remove the variable",
    ),
    (
        "OctopusFreeDiskSpaceOverrideInMegaBytes",
        "free room is always looked at; remove the variable",
    ),
    (
        "Octopus.Action.Package.IgnoreConfigTransformationErrors",
        "write 'ignore_transform_warnings: true' at the action",
    ),
    (
        "Octopus.Action.Package.CustomInstallationDirectory",
        "write 'custom_directory: { path: ... }' under 'with' of the action",
    ),
    (
        "Octopus.Action.Package.CustomInstallationDirectoryShouldBePurgedBeforeDeployment",
        "write 'custom_directory: { path: ..., purge: true }' under 'with' of the action",
    ),
    (
        "Octopus.Action.Package.SkipIfAlreadyInstalled",
        "write 'skip_if_installed: true' under 'with' of the action",
    ),
    (
        "Octopus.Action.Package.DownloadOnTentacle",
        "agents always have packages from the server; remove the variable",
    ),
    (
        "Octopus.Action.Script.SuppressEnvironmentLogging",
        "the environment is never written to the log; remove the variable",
    ),
    (
        "Octopus.Action.PowerShell.CustomPowerShellVersion",
        "write 'shell: powershell' or 'shell: pwsh' under 'with' of the action",
    ),
    (
        "Octopus.Action.PowerShell.ExecuteWithoutProfile",
        "profiles are never loaded; remove the variable",
    ),
    (
        "Octopus.Action.AutoRetry.MaximumCount",
        "write 'retries: { count: N }' at the action",
    ),
    (
        "Octopus.Action.AutoRetry.MinimumBackoff",
        "write 'retries: { count: N, backoff: 5s }' at the action",
    ),
    (
        "Octopus.Action.ExecutionTimeout.Minutes",
        "write 'timeout: 10m' at the action",
    ),
];

/// What to do in place of setting this variable, if nothing heeds it.
pub fn in_place_of(name: &str) -> Option<&'static str> {
    let mut knobs = WITHOUT_EFFECT.iter();
    knobs
        .find(|(knob, _)| knob.eq_ignore_ascii_case(name))
        .map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_without_effect_is_listed_in_the_manual_and_no_other() {
        let limits = include_str!("../../../../docs/src/limits.md");
        let of_manual = limits.lines().filter_map(|line| {
            let (name, instead) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, instead.strip_suffix(" |")?))
        });
        let of_manual: Vec<(&str, &str)> = of_manual.collect();
        for (name, instead) in WITHOUT_EFFECT {
            let row = (*name, instead.replace('\'', "`"));
            let mut rows = of_manual.iter();
            assert!(
                rows.any(|(name, instead)| (*name, (*instead).to_owned()) == row),
                "docs/src/limits.md lacks the row | `{}` | {} |",
                row.0,
                row.1
            );
        }
        assert_eq!(of_manual.len(), WITHOUT_EFFECT.len());
    }

    #[test]
    fn a_knob_is_known_in_any_case_and_no_other_name_is_one() {
        assert!(in_place_of("octopusPRINTvariables").is_some());
        assert_eq!(in_place_of("OctopusPrint"), None);
        assert_eq!(
            in_place_of("OctopusShouldFailDeploymentOnSubstitutionFails"),
            None
        );
    }
}
