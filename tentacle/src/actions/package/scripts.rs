//! The scripts of an installation: those that stand in the step, and those that lie in the package's
//! root, each at its stage (reference section 3.7).
//!
//! Of a package the first script counts for which the platform's order has an extension. That its
//! shell is there is looked at before anything is done.

use std::collections::BTreeMap;
use std::path::Path;

use mantle_shared::convention::{EXTENSIONS, Stage};
use serde::Deserialize;

use super::super::run_script::{self, Run};
use super::super::shells::Shell;
use super::super::{ActionContext, ActionError, values};
use crate::cache::PackageFile;

/// Set to `False`, the scripts of packages do not run (reference section 1.4).
const RUN_SCRIPTS: &str = "Octopus.Action.Package.RunScripts";

/// `scripts:`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineScripts {
    shell: Option<Shell>,
    #[serde(default, deserialize_with = "values::optional_switch")]
    service_messages: Option<bool>,
    pre_deploy: Option<String>,
    deploy: Option<String>,
    post_deploy: Option<String>,
    deploy_failed: Option<String>,
}

impl InlineScripts {
    fn text(&self, stage: Stage) -> Option<&str> {
        let text = match stage {
            Stage::PreDeploy => &self.pre_deploy,
            Stage::Deploy => &self.deploy,
            Stage::PostDeploy => &self.post_deploy,
            Stage::DeployFailed => &self.deploy_failed,
        };
        text.as_deref().filter(|text| !text.trim().is_empty())
    }

    fn shell(&self) -> Shell {
        self.shell.unwrap_or(Shell::DEFAULT)
    }

    fn obeys_messages(&self) -> bool {
        self.service_messages.unwrap_or(true)
    }
}

/// One script of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script<'a> {
    /// The text of the step.
    Inline(&'a str),
    /// A file in the package's root.
    Packaged(&'a str),
}

/// All scripts of an installation.
#[derive(Debug)]
pub(super) struct Scripts<'a> {
    inline: &'a InlineScripts,
    /// What runs of the package.
    packaged: BTreeMap<Stage, &'a str>,
    /// Every file of the package that could be run, also those of another platform.
    files: Vec<&'a PackageFile>,
}

impl<'a> Scripts<'a> {
    /// Those of an installation; `packaged` says whether those of the package run.
    pub(super) fn of(
        context: &ActionContext<'_>,
        inline: &'a InlineScripts,
        packaged: bool,
        files: &'a [PackageFile],
    ) -> Result<Self, ActionError> {
        let found: Vec<&PackageFile> = files.iter().filter(|file| is_script(&file.path)).collect();
        let off = context.is_off(RUN_SCRIPTS);
        if let (Some(first), false) = (found.first(), packaged) {
            context.info(format!(
                "{} of the package does not run: that takes 'packaged_scripts: true'",
                first.path
            ));
        } else if let (Some(first), true) = (found.first(), off) {
            context.info(format!(
                "{} of the package does not run: {RUN_SCRIPTS} says so",
                first.path
            ));
        }
        let runs = packaged && !off;
        let files = if runs { found } else { Vec::new() };
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let packaged = Stage::ALL
            .into_iter()
            .filter_map(|stage| Some((stage, chosen(stage, &paths)?)))
            .collect();
        let scripts = Self {
            inline,
            packaged,
            files,
        };
        for stage in Stage::ALL {
            for script in scripts.at(stage) {
                scripts.shell(script, None).program()?;
            }
        }
        Ok(scripts)
    }

    /// The scripts of a stage in the order in which they run: the step's own is the outer one.
    pub(super) fn at(&self, stage: Stage) -> Vec<Script<'a>> {
        let inline = self.inline.text(stage).map(Script::Inline);
        let packaged = self.packaged.get(&stage);
        let packaged = packaged.map(|path| Script::Packaged(path));
        let order = match stage {
            Stage::PreDeploy => [inline, packaged],
            Stage::Deploy | Stage::PostDeploy | Stage::DeployFailed => [packaged, inline],
        };
        order.into_iter().flatten().collect()
    }

    /// Some script runs at one of these stages.
    pub(super) fn any(&self, stages: &[Stage]) -> bool {
        stages.iter().any(|stage| !self.at(*stage).is_empty())
    }

    /// The files of the package that are scripts of a stage.
    pub(super) fn files(&self) -> &[&'a PackageFile] {
        &self.files
    }

    /// What tells a folder that was made with these scripts from others; empty without any that run
    /// before it is in use.
    pub(super) fn marks(&self) -> Vec<String> {
        let mut marks = Vec::new();
        for stage in [Stage::PreDeploy, Stage::Deploy] {
            for script in self.at(stage) {
                marks.push(match script {
                    Script::Packaged(path) => format!("runs {path}"),
                    Script::Inline(text) => format!(
                        "runs {} {} as {}",
                        stage.file_name(),
                        self.inline.shell(),
                        mantle_shared::Digest::of(text.as_bytes())
                    ),
                });
            }
        }
        marks
    }

    /// Without the folder that it lies in, what its name alone says.
    fn shell(&self, script: Script<'_>, root: Option<&Path>) -> Shell {
        let found = match (script, root) {
            (Script::Inline(_), _) => Some(self.inline.shell()),
            (Script::Packaged(path), Some(root)) => Shell::of_file(&root.join(path)),
            (Script::Packaged(path), None) => Shell::of_name(Path::new(path)),
        };
        found.unwrap_or(Shell::DEFAULT)
    }

    /// Runs one of them. The package's lies in `root`; both begin in `folder`.
    pub(super) fn run(
        &self,
        context: &ActionContext<'_>,
        (stage, script): (Stage, Script<'_>),
        root: &Path,
        folder: &Path,
    ) -> Result<(), ActionError> {
        let shell = self.shell(script, Some(root));
        let (said, name, path) = match script {
            Script::Inline(text) => {
                let name = format!("{}-step", stage.key());
                let path = run_script::write(context, shell, &name, text)?;
                (format!("{} of the step", stage.file_name()), name, path)
            }
            Script::Packaged(file) => (
                format!("{file} of the package"),
                format!("{}-package", stage.key()),
                root.join(file),
            ),
        };
        context.verbose(format!("running {said}"));
        let run = Run {
            name: &name,
            shell,
            script: &path,
            arguments: &[],
            folder,
            service_messages: match script {
                Script::Inline(_) => self.inline.obeys_messages(),
                Script::Packaged(_) => true,
            },
        };
        run_script::run(context, &run).map_err(|error| match error {
            ActionError::Failed { message, exit_code } => ActionError::Failed {
                message: format!("{said}: {message}"),
                exit_code,
            },
            other @ (ActionError::Input { .. } | ActionError::Stopped) => other,
        })
    }
}

/// A file in the root with the name of a stage and the extension of a script.
fn is_script(path: &str) -> bool {
    stage_and_rank(path).is_some()
}

fn stage_and_rank(path: &str) -> Option<(Stage, usize)> {
    let (stem, extension) = path.rsplit_once('.')?;
    let stage = Stage::ALL
        .into_iter()
        .find(|stage| stem.eq_ignore_ascii_case(stage.file_name()))?;
    let rank = EXTENSIONS
        .iter()
        .position(|known| extension.eq_ignore_ascii_case(known))?;
    Some((stage, rank))
}

/// What runs at a stage: the first in the platform's order. Of names that differ by case alone, the
/// documented one.
fn chosen<'a>(stage: Stage, paths: &[&'a str]) -> Option<&'a str> {
    let rank = |path: &str| {
        let (of, _) = stage_and_rank(path)?;
        let (_, extension) = path.rsplit_once('.')?;
        let rank = order()
            .iter()
            .position(|known| extension.eq_ignore_ascii_case(known))?;
        (of == stage).then(|| (rank, !path.starts_with(stage.file_name())))
    };
    let ranked = paths.iter().filter_map(|path| Some((rank(path)?, *path)));
    ranked.min().map(|(_, path)| path)
}

/// The extensions that this platform runs, the preferred one first (reference section 3.7, without
/// the languages that no shell of ours runs).
const fn order() -> &'static [&'static str] {
    if cfg!(windows) {
        &["ps1", "py", "cmd", "bat", "sh"]
    } else {
        &["sh", "bash", "py", "ps1"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_script_of_the_platforms_order_runs_and_only_from_the_root() {
        let names = [
            "Deploy.PY",
            "PostDeploy.sh",
            "deploy.sh",
            "Deploy.sh",
            "Deploy.ps1",
            "PostDeploy.txt",
            "PreDeploy",
            "sub/PreDeploy.sh",
            "DeployFailed.csx",
        ];
        let files: Vec<&str> = names.into_iter().filter(|path| is_script(path)).collect();
        assert_eq!(files.len(), 5, "{files:?}");
        let chosen = |stage| chosen(stage, &files);
        let deploy = if cfg!(windows) {
            "Deploy.ps1"
        } else {
            "Deploy.sh"
        };
        assert_eq!(chosen(Stage::Deploy), Some(deploy));
        assert_eq!(chosen(Stage::PostDeploy), Some("PostDeploy.sh"));
        assert_eq!(chosen(Stage::PreDeploy), None);
        assert_eq!(chosen(Stage::DeployFailed), None);
    }
}
