//! `iis.feature`: parts of Windows that IIS is made of, turned on by DISM.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Action, ActionContext, ActionError, ActionReport, read_inputs, tool, values};

/// How long DISM may take; the step's own time limit mostly comes first.
const CALL_TIMEOUT: Duration = Duration::from_hours(2);
/// DISM's exit code for: done when the machine is started anew.
const RESTART_NEEDED: i32 = 3010;

/// `iis.feature`.
pub(in super::super) struct Feature;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    #[serde(deserialize_with = "values::texts")]
    features: Vec<String>,
    #[serde(default)]
    source: Option<String>,
}

impl Inputs {
    /// What DISM is called with.
    fn arguments(&self) -> Result<Vec<String>, ActionError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.features.is_empty() {
            return Err(ActionError::input(
                "features: there are none; name some, such as IIS-WebServerRole",
            ));
        }
        let mut all: Vec<String> = ["/online", "/enable-feature", "/all", "/norestart", "/quiet"]
            .map(str::to_owned)
            .to_vec();
        for feature in &self.features {
            if feature.is_empty() || !feature.chars().all(is_name) {
                return Err(ActionError::input(format!(
                    "features: {feature:?} is no name of a feature; 'dism /online /get-features' lists them"
                )));
            }
            all.push(format!("/featurename:{feature}"));
        }
        if let Some(source) = self.source.as_deref().filter(|source| !source.is_empty()) {
            all.push(format!("/source:{source}"));
            all.push("/limitaccess".to_owned());
        }
        Ok(all)
    }
}

impl Action for Feature {
    fn name(&self) -> &'static str {
        "iis.feature"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let arguments = inputs.arguments()?;
        if !cfg!(windows) {
            return Err(ActionError::failed(
                "features of Windows are on Windows only; write 'when: { platform: windows }' at the action",
            ));
        }
        let windows = std::env::var_os("SystemRoot").unwrap_or_else(|| "C:\\Windows".into());
        let mut dism = Command::new(PathBuf::from(windows).join("System32").join("dism.exe"));
        dism.args(arguments);
        context.info(format!("turning on {}", inputs.features.join(", ")));
        let said = tool::run(dism, CALL_TIMEOUT, context.stop)?;
        match said.code {
            Some(0) => Ok(ActionReport::default()),
            Some(RESTART_NEEDED) => {
                context.warning("they are there when this machine was started anew");
                Ok(ActionReport::default())
            }
            code => Err(ActionError::Failed {
                message: format!(
                    "DISM did not turn on {}: {}; it needs the rights of an administrator, and where the files are not on the machine a 'source'",
                    inputs.features.join(", "),
                    said.complaint()
                ),
                exit_code: code,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dism_is_called_with_every_feature_and_nothing_else() {
        let inputs = |features: &[&str], source: Option<&str>| Inputs {
            features: features.iter().map(|text| (*text).to_owned()).collect(),
            source: source.map(str::to_owned),
        };
        assert_eq!(
            inputs(&["IIS-WebServerRole", "IIS-ASPNET45"], Some("D:\\sxs"))
                .arguments()
                .unwrap()
                .join(" "),
            "/online /enable-feature /all /norestart /quiet /featurename:IIS-WebServerRole /featurename:IIS-ASPNET45 /source:D:\\sxs /limitaccess"
        );
        for features in [&[][..], &["a b"], &["x/y"], &[""]] {
            assert!(inputs(features, None).arguments().is_err(), "{features:?}");
        }
    }
}
