//! The order of an installation (reference section 3.7):
//!
//! 1. the files are unpacked;
//! 2. `PreDeploy`: the step's script, then the package's;
//! 3. templates, transforms, settings and structured values are written into files;
//! 4. `Deploy`: the package's script, then the step's;
//! 5. `current` is switched; a version that is copied into a folder of its own is in use from then
//!    on, so there both come before `Deploy`, and the scripts from then on begin in that folder;
//! 6. `PostDeploy`: the package's script, then the step's;
//! 7. earlier versions are removed.
//!
//! If any of it fails, `DeployFailed` runs, the package's script first, and what failed stays what the
//! action failed with. Each of these happens at most once in an attempt: a supervisor is never started
//! again, and whoever tries again begins with a fresh folder.

use std::fs;
use std::path::PathBuf;

use mantle_shared::convention::Stage;

use super::super::{ActionContext, ActionError, ActionReport, Variable, Variables};
use super::making::Making;
use super::scripts::{Script, Scripts};
use super::{KEEP, custom, files, place, report, source, switch};
use crate::cache::{CustomDirectory, InstallRecord, Replaced};

/// Set by a script or from the start, it ends the conventions with success (reference section 1.4).
const SKIP_REMAINING: &str = "Octopus.Action.SkipRemainingConventions";
/// Set to `False`, the scripts of a package stay in its folder (reference section 1.4).
const DELETE_SCRIPTS: &str = "OctopusDeleteScriptsOnCleanup";
/// Octopus's name for the folder that the version is copied to (reference section 1.4).
const CUSTOM: &str = "Octopus.Action.Package.CustomInstallationDirectory";
/// Octopus's name for why it failed, for `DeployFailed`.
const LAST_ERROR: &str = "OctopusLastErrorMessage";

/// One installation.
pub(super) struct Installation<'a> {
    making: Making<'a>,
    scripts: Scripts<'a>,
    /// Where it is to be copied.
    custom: Option<CustomDirectory>,
    /// The action's, and what its scripts have set.
    variables: Variables,
    /// The folder, once there is one.
    record: Option<InstallRecord>,
    /// It is in use.
    switched: bool,
}

/// Why the next convention is not come to.
enum Halt {
    /// A script said that the rest is to be left out.
    Skipped,
    Failed(ActionError),
}

impl From<ActionError> for Halt {
    fn from(error: ActionError) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Installation<'a> {
    /// Looks at what will be needed; nothing is done yet.
    pub(super) fn of(making: Making<'a>) -> Result<Self, ActionError> {
        let inputs = making.inputs;
        let scripts = Scripts::of(
            making.context,
            &inputs.scripts,
            inputs.packaged_scripts,
            making.files,
        )?;
        let custom = inputs.custom_directory.as_ref();
        let custom = custom.map(|custom| custom.checked(making.context));
        Ok(Self {
            making,
            scripts,
            custom: custom.transpose()?,
            variables: making.context.variables.clone(),
            record: None,
            switched: false,
        })
    }

    /// Carries it out.
    pub(super) fn run(mut self) -> Result<ActionReport, ActionError> {
        let ended = match self.conventions() {
            Ok(()) | Err(Halt::Skipped) => Ok(()),
            Err(Halt::Failed(error)) => Err(error),
        };
        if let Err(error) = &ended {
            self.failed(error);
        }
        self.remove_scripts();
        ended?;
        if let Some(record) = &self.record {
            report(self.making.context, self.making.place, record);
        }
        Ok(ActionReport::default())
    }

    fn conventions(&mut self) -> Result<(), Halt> {
        self.heed_skip()?;
        if self.is_installed() {
            return Ok(());
        }
        if self.works_on_folder() {
            self.making.place.remove_failed(self.making.context);
            let record = self.making.unpack()?;
            self.take(record.clone());
            self.stage(Stage::PreDeploy)?;
            let context = self.context();
            let making = self.making_with(&context);
            making.configure(&record)?;
        } else {
            let record = self.making.install(&self.scripts.marks())?;
            self.making.put_back(&record, self.scripts.files())?;
            self.take(record);
        }
        if self.custom.is_some() {
            self.switch()?;
            self.copy()?;
            self.stage(Stage::Deploy)?;
        } else {
            self.stage(Stage::Deploy)?;
            self.switch()?;
        }
        self.stage(Stage::PostDeploy)?;
        self.prove()?;
        Ok(())
    }

    /// Scripts work on the version before it is in use.
    fn works_on_folder(&self) -> bool {
        self.scripts.any(&[Stage::PreDeploy, Stage::Deploy])
    }

    /// What is in use is exactly this, and that is to be enough.
    fn is_installed(&mut self) -> bool {
        if !self.making.inputs.skip_if_installed {
            return false;
        }
        let found = self.making.in_use(&self.scripts.marks());
        let Some(record) = found.filter(|record| record.custom == self.custom) else {
            return false;
        };
        self.making.context.info(format!(
            "{} {} is in use already, with the same configuration, in {}; nothing is done",
            record.package,
            record.version,
            self.making.place.folder(&record).display()
        ));
        self.record = Some(record);
        true
    }

    /// Copies the version to where it is served from.
    fn copy(&mut self) -> Result<(), ActionError> {
        let (Some(custom), Some(record)) = (&self.custom, &self.record) else {
            return Ok(());
        };
        let scripts = self.scripts.files().iter();
        let scripts: Vec<&str> = scripts.map(|file| file.path.as_str()).collect();
        let folder = self.making.place.folder(record);
        custom::copy(self.making.context, &folder, custom, &scripts)?;
        let path = custom.path.clone();
        self.tell(files::FOLDER, path);
        Ok(())
    }

    /// Gives scripts and files to know.
    fn tell(&mut self, name: &str, value: String) {
        self.variables.set(Variable {
            name: name.to_owned(),
            value,
            sensitive: false,
            exported: true,
        });
    }

    /// There is a folder now: scripts and files may name it.
    fn take(&mut self, record: InstallRecord) {
        let folder = self.making.place.folder(&record).display().to_string();
        self.tell(files::FOLDER, folder);
        if let Some(custom) = &self.custom {
            let path = custom.path.clone();
            self.tell(CUSTOM, path);
        }
        self.record = Some(record);
    }

    /// The action's context with the variables of this moment.
    fn context(&self) -> ActionContext<'_> {
        ActionContext {
            variables: &self.variables,
            ..*self.making.context
        }
    }

    fn making_with<'b>(&'b self, context: &'b ActionContext<'b>) -> Making<'b> {
        Making {
            context,
            ..self.making
        }
    }

    fn stage(&mut self, stage: Stage) -> Result<(), Halt> {
        for script in self.scripts.at(stage) {
            self.script(stage, script)?;
            self.heed_skip()?;
        }
        Ok(())
    }

    /// Runs a script, and sees what it has set.
    fn script(&mut self, stage: Stage, script: Script<'_>) -> Result<(), ActionError> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        let folder = self.making.place.folder(record);
        if let Script::Packaged(path) = script
            && !folder.join(path).is_file()
        {
            self.making
                .context
                .info(format!("{path} of the package is not there any more"));
            return Ok(());
        }
        let served = self.custom.as_ref().filter(|_| self.switched);
        let begin = served.map_or_else(|| folder.clone(), |custom| PathBuf::from(&custom.path));
        let context = self.context();
        let ran = self.scripts.run(&context, (stage, script), &folder, &begin);
        self.see_variables();
        mantle_shared::fault::point("package.script_ran");
        ran
    }

    /// What scripts set, later ones and files see: under its own name, and under those by which later
    /// actions read it.
    fn see_variables(&mut self) {
        let names = self.making.context.names;
        let prefix = format!("Octopus.Action[{}].Output", names.action);
        for set in self.making.context.output.variables_set() {
            for name in [
                format!("{prefix}.{}", set.name),
                format!("{prefix}[{}].{}", names.subject, set.name),
            ] {
                self.variables.set(Variable {
                    name,
                    ..set.clone()
                });
            }
            self.variables.set(set);
        }
    }

    fn heed_skip(&self) -> Result<(), Halt> {
        if !self.context().is_on(SKIP_REMAINING) {
            return Ok(());
        }
        let what = match (&self.record, self.switched) {
            (None, _) => "nothing is installed".to_owned(),
            (Some(record), true) => format!("{} is in use", record.folder),
            (Some(record), false) => format!("{} is not in use", record.folder),
        };
        self.making.context.info(format!(
            "{SKIP_REMAINING} says that the rest is left out; {what}"
        ));
        Err(Halt::Skipped)
    }

    fn switch(&mut self) -> Result<(), ActionError> {
        let Making { context, place, .. } = self.making;
        context.stop.check()?;
        let works_on_folder = self.works_on_folder();
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        if works_on_folder {
            self.making.complete(record, &self.scripts.marks())?;
        }
        // A version that has been good before stays one.
        let more = self.custom.is_some() || self.scripts.any(&[Stage::PostDeploy]);
        record.unproven |= record.activated_at_us == 0 && more;
        record.custom.clone_from(&self.custom);
        note_replaced(&self.making, record)?;
        *record = switch::to(context, place, record)?;
        self.switched = true;
        Ok(())
    }

    /// All went well: it is a version to go back to, and earlier ones may go.
    fn prove(&mut self) -> Result<(), ActionError> {
        let Making { context, place, .. } = self.making;
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        if record.unproven {
            record.unproven = false;
            place
                .write_record(record)
                .map_err(place::failed(&place.folder(record)))?;
        }
        place.retain(context, self.making.inputs.keep.unwrap_or(KEEP), record);
        Ok(())
    }

    /// Lets the scripts for this case see to it. What they say or set does not change why the action
    /// failed. Who is being stopped starts nothing more.
    fn failed(&mut self, error: &ActionError) {
        let context = self.making.context;
        if context.stop.is_stopped() {
            return;
        }
        context.output.settle_failure();
        self.tell(LAST_ERROR, error.to_string());
        for script in self.scripts.at(Stage::DeployFailed) {
            if let Err(error) = self.script(Stage::DeployFailed, script) {
                context.error(error.to_string());
            }
        }
        if let (Some(record), true) = (&self.record, self.switched) {
            context.info(format!(
                "{} stays in use; what was in use before comes back by 'on_failure: rollback' of the step, or by 'mantle rollback'",
                record.folder
            ));
        }
    }

    /// The scripts of the package have done their work: what serves the folder need not serve them.
    fn remove_scripts(&self) {
        let context = self.context();
        let Some(record) = &self.record else {
            return;
        };
        if context.is_off(DELETE_SCRIPTS) {
            return;
        }
        let folder = self.making.place.folder(record);
        for file in self.scripts.files() {
            let path = source::below(&folder, &file.path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    context.warning(format!("{} could not be removed: {error}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Before the switch, what is in use and will not be: a rollback goes back to it. An action that has
/// switched before, at an earlier try, goes back to what was there before that.
fn note_replaced(making: &Making<'_>, record: &mut InstallRecord) -> Result<(), ActionError> {
    let Making { context, place, .. } = making;
    let before = switch::current_folder(place);
    if before.as_deref() == Some(record.folder.as_str()) {
        return Ok(());
    }
    let own = |replaced: &Replaced| {
        replaced.task == context.names.task && replaced.action == context.names.action
    };
    let earlier = place
        .records()
        .into_iter()
        .find(|one| Some(one.folder.as_str()) == before.as_deref())
        .and_then(|one| one.replaced.filter(own));
    // The way back must not lead to the version that is left just now for the second time.
    let folder = match earlier {
        Some(earlier) if earlier.folder.as_deref() != Some(record.folder.as_str()) => {
            earlier.folder
        }
        Some(_) | None => before,
    };
    record.replaced = Some(Replaced {
        task: context.names.task,
        action: context.names.action.clone(),
        folder,
    });
    place
        .write_record(record)
        .map_err(place::failed(&place.folder(record)))
}
