//! `iis.site`, `iis.application`, `iis.virtual_directory`, `iis.app_pool` and `iis.feature`: IIS
//! through the programs that Windows has for it.
//!
//! Each looks at what is there, changes only what differs, and looks again at the end, so that it may
//! be repeated. The way back of a change is on disk before the change is made ([`undo`]); when one
//! fails, those before it are taken back, and the site leads to its old folder again.

mod binding;
mod change;
mod feature;
mod server;
#[cfg(test)]
mod standin;
mod state;
#[cfg(test)]
mod tests;
mod undo;
mod wanted;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Action, ActionContext, ActionError, ActionReport, read_inputs};
use change::Change;
pub(super) use feature::Feature;
use server::{Iis, Installed};
use state::Site as SiteState;
use undo::Log;
use wanted::{
    ApplicationInputs, Authentication, DirectoryInputs, PoolChoice, PoolSettings, PoolState,
    SiteInputs,
};

/// `iis.site`.
pub(super) struct Site;
/// `iis.application`.
pub(super) struct Application;
/// `iis.virtual_directory`.
pub(super) struct VirtualDirectory;
/// `iis.app_pool`.
pub(super) struct AppPool;
/// `iis.restore`: takes back what one of the others did. Servers order it to roll back; no file
/// names it.
pub(super) struct Restore;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreInputs {
    /// The action of the task whose changes are taken back.
    action: String,
}

fn log(context: &ActionContext<'_>, action: &str) -> Log {
    Log::of(&context.state_dir.undo(), context.names, action)
}

fn input(why: String) -> ActionError {
    ActionError::input(why)
}

impl Action for Site {
    fn name(&self) -> &'static str {
        "iis.site"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<SiteInputs>(with)?.sound().map_err(input)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: SiteInputs = context.inputs()?;
        make_site(&Installed::find(context.stop)?, context, &inputs)
    }
}

fn make_site(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    inputs: &SiteInputs,
) -> Result<ActionReport, ActionError> {
    wanted::name("site", &inputs.site).map_err(input)?;
    let path = wanted::physical_path(&inputs.path).map_err(input)?;
    let asked = inputs.bindings().map_err(input)?;
    let logins = inputs.authentication.sections().map_err(input)?;
    let name = inputs.site.as_str();
    let now = iis.site(name)?;
    if now.is_none() && asked.is_none() {
        return Err(input(format!(
            "bindings: the site '{name}' is not there, and nothing says where it is to listen; write 'bindings: [\"http/*:80:\"]'"
        )));
    }
    let mut changes = Vec::new();
    if let Some(pool) = &inputs.pool {
        changes.extend(of_pool(iis, pool)?);
    }
    for one in asked.iter().flatten() {
        if let Some(place) =
            change::certificate_place(&one.binding).filter(|_| one.certificate.is_some())
        {
            changes.extend(change::certificate(
                one,
                iis.certificate(&place)?.as_deref(),
            ));
        }
    }
    let bindings: Option<Vec<_>> =
        asked.map(|all| all.into_iter().map(|one| one.binding).collect());
    let pool = inputs.pool.as_ref().map(PoolChoice::name);
    match &now {
        None => {
            let bindings = bindings.unwrap_or_default();
            changes.extend(change::new_site(name, &path, pool, &bindings));
            // What a new site has by itself is only known when it is there.
            let log = log(context, &context.names.action);
            let since = undo::length(&log)?;
            undo::carry_out(iis, context, &log, &changes)?;
            let rest = of_logins(iis, name, &logins).and_then(|changes| {
                undo::carry_out(iis, context, &log, &changes)?;
                let there = iis.site(name)?.unwrap_or_default();
                let run = (there.is_started != inputs.start)
                    .then(|| change::site_run(name, inputs.start));
                undo::carry_out(iis, context, &log, run.as_slice())?;
                verify(iis, name, &path, inputs.start)
            });
            backed_out(iis, context, (&log, since), rest)?;
        }
        Some(there) => {
            let kept = bindings.and_then(|bindings| {
                change::bindings(name, &there.bindings, &bindings, inputs.keep_bindings)
            });
            changes.extend(kept);
            changes.extend(of_application(there, name, "/", pool));
            changes.extend(of_logins(iis, name, &logins)?);
            let leads_to = there
                .application("/")
                .and_then(|application| application.directory("/"));
            changes.extend(change::folder(
                &format!("{name}/"),
                &path,
                leads_to.unwrap_or_default(),
            ));
            if there.is_started != inputs.start {
                changes.push(change::site_run(name, inputs.start));
            }
            if changes.is_empty() {
                context.info(format!("the site {name} is as it should be"));
            }
            let log = log(context, &context.names.action);
            let since = undo::length(&log)?;
            undo::carry_out(iis, context, &log, &changes)?;
            let verified = verify(iis, name, &path, inputs.start);
            backed_out(iis, context, (&log, since), verified)?;
            if let Some(before) = leads_to {
                context
                    .output
                    .set_variable("Iis.PreviousPath", before, false);
            }
        }
    }
    context.output.set_variable("Iis.Path", &path, false);
    Ok(ActionReport::default())
}

/// Takes everything back where what came after the changes failed.
fn backed_out(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    (log, since): (&Log, usize),
    outcome: Result<(), ActionError>,
) -> Result<(), ActionError> {
    if outcome.is_err() {
        undo::back_out(iis, context, log, since)?;
    }
    outcome
}

fn verify(iis: &impl Iis, name: &str, path: &str, start: bool) -> Result<(), ActionError> {
    let why = match iis.site(name)? {
        None => Some("it is not there".to_owned()),
        Some(there) => change::objection(&there, path, start),
    };
    why.map_or(Ok(()), |why| {
        Err(ActionError::failed(format!("the site {name}: {why}")))
    })
}

fn of_pool(iis: &impl Iis, pool: &PoolChoice) -> Result<Vec<Change>, ActionError> {
    let settings = pool.settings().map_err(input)?;
    Ok(change::pool(
        pool.name(),
        iis.pool(pool.name())?.as_ref(),
        &settings,
    ))
}

fn of_logins(
    iis: &impl Iis,
    place: &str,
    logins: &[(&'static str, bool)],
) -> Result<Vec<Change>, ActionError> {
    let mut changes = Vec::new();
    for (section, on) in logins {
        changes.extend(change::login(
            place,
            section,
            *on,
            iis.is_enabled(place, section)?,
        ));
    }
    Ok(changes)
}

/// The pool of an application that is there.
fn of_application(there: &SiteState, site: &str, path: &str, pool: Option<&str>) -> Option<Change> {
    let now = there
        .application(path)
        .map(|application| application.pool.as_str());
    let pool = pool.filter(|pool| !now.is_some_and(|now| now.eq_ignore_ascii_case(pool)))?;
    Some(change::application_pool(site, path, pool, now))
}

fn site_that_is_there(iis: &impl Iis, name: &str) -> Result<SiteState, ActionError> {
    wanted::name("site", name).map_err(input)?;
    iis.site(name)?.ok_or_else(|| {
        ActionError::failed(format!(
            "there is no site '{name}'; 'appcmd list site' shows those that there are, and an action 'iis.site' before this one makes it"
        ))
    })
}

impl Action for Application {
    fn name(&self) -> &'static str {
        "iis.application"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        let inputs = read_inputs::<ApplicationInputs>(with)?;
        let pool = inputs
            .pool
            .as_ref()
            .map_or(Ok(()), |pool| pool.settings().map(drop));
        let logins = inputs.authentication.sections().map(drop);
        pool.and(logins).map_err(input)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: ApplicationInputs = context.inputs()?;
        make_application(&Installed::find(context.stop)?, context, &inputs)
    }
}

fn make_application(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    inputs: &ApplicationInputs,
) -> Result<ActionReport, ActionError> {
    let application = wanted::virtual_path("application", &inputs.application).map_err(input)?;
    let leads_to = wanted::physical_path(&inputs.path).map_err(input)?;
    let site = inputs.site.as_str();
    let there = site_that_is_there(iis, site)?;
    let whole = format!("{site}{application}");
    let mut changes = Vec::new();
    if let Some(pool) = &inputs.pool {
        changes.extend(of_pool(iis, pool)?);
    }
    let pool = inputs.pool.as_ref().map(PoolChoice::name);
    match there.application(&application) {
        None => {
            changes.push(change::new_application(site, &application, &leads_to));
            changes
                .extend(pool.map(|pool| change::application_pool(site, &application, pool, None)));
        }
        Some(own) => {
            changes.extend(of_application(&there, site, &application, pool));
            let now = own.directory("/").unwrap_or_default();
            changes.extend(change::folder(&format!("{whole}/"), &leads_to, now));
        }
    }
    let logins = logins_of(&inputs.authentication)?;
    let log = log(context, &context.names.action);
    let since = undo::length(&log)?;
    undo::carry_out(iis, context, &log, &changes)?;
    let rest = of_logins(iis, &whole, &logins).and_then(|changes| {
        undo::carry_out(iis, context, &log, &changes)?;
        let there = site_that_is_there(iis, site)?;
        let now = there
            .application(&application)
            .and_then(|own| own.directory("/"));
        leads(&whole, now, &leads_to)
    });
    backed_out(iis, context, (&log, since), rest)?;
    context.output.set_variable("Iis.Path", &leads_to, false);
    Ok(ActionReport::default())
}

fn logins_of(authentication: &Authentication) -> Result<Vec<(&'static str, bool)>, ActionError> {
    authentication.sections().map_err(input)
}

fn leads(whole: &str, now: Option<&str>, path: &str) -> Result<(), ActionError> {
    match now {
        Some(now) if now.eq_ignore_ascii_case(path) => Ok(()),
        other => Err(ActionError::failed(format!(
            "{whole} leads to {} instead of {path}",
            other.unwrap_or("nowhere")
        ))),
    }
}

impl Action for VirtualDirectory {
    fn name(&self) -> &'static str {
        "iis.virtual_directory"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<DirectoryInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: DirectoryInputs = context.inputs()?;
        make_directory(&Installed::find(context.stop)?, context, &inputs)
    }
}

fn make_directory(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    inputs: &DirectoryInputs,
) -> Result<ActionReport, ActionError> {
    let directory = wanted::virtual_path("directory", &inputs.directory).map_err(input)?;
    let leads_to = wanted::physical_path(&inputs.path).map_err(input)?;
    let application = match inputs.application.as_deref().map(str::trim) {
        None | Some("" | "/") => "/".to_owned(),
        Some(own) => wanted::virtual_path("application", own).map_err(input)?,
    };
    let site = inputs.site.as_str();
    let find = |there: &SiteState| {
        let own = there.application(&application)?;
        Some(own.directory(&directory).map(str::to_owned))
    };
    let there = site_that_is_there(iis, site)?;
    let now = find(&there).ok_or_else(|| {
        ActionError::failed(format!(
            "the site '{site}' has no application {application}; an action 'iis.application' before this one makes it"
        ))
    })?;
    let whole = format!("{site}{}{directory}", application.trim_end_matches('/'));
    let change = match &now {
        None => Some(change::new_directory(
            &format!("{site}{application}"),
            &whole,
            &directory,
            &leads_to,
        )),
        Some(now) => change::folder(&whole, &leads_to, now),
    };
    let log = log(context, &context.names.action);
    let since = undo::length(&log)?;
    undo::carry_out(iis, context, &log, change.as_slice())?;
    let verified = site_that_is_there(iis, site)
        .and_then(|there| leads(&whole, find(&there).flatten().as_deref(), &leads_to));
    backed_out(iis, context, (&log, since), verified)?;
    context.output.set_variable("Iis.Path", &leads_to, false);
    Ok(ActionReport::default())
}

impl Action for AppPool {
    fn name(&self) -> &'static str {
        "iis.app_pool"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<PoolSettings>(with)?
            .read()
            .map(drop)
            .map_err(input)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: PoolSettings = context.inputs()?;
        make_pool(&Installed::find(context.stop)?, context, &inputs)
    }
}

fn make_pool(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    inputs: &PoolSettings,
) -> Result<ActionReport, ActionError> {
    let settings = inputs.read().map_err(input)?;
    let name = inputs.name.as_str();
    let log = log(context, &context.names.action);
    let since = undo::length(&log)?;
    let changes = change::pool(name, iis.pool(name)?.as_ref(), &settings);
    undo::carry_out(iis, context, &log, &changes)?;
    let rest = (|| {
        let started = iis.pool(name)?.is_some_and(|pool| pool.is_started);
        let run = match (inputs.state, started) {
            (Some(PoolState::Started | PoolState::Recycled), false) => {
                Some(change::pool_run(name, "start", Some("stop")))
            }
            (Some(PoolState::Stopped), true) => Some(change::pool_run(name, "stop", Some("start"))),
            (Some(PoolState::Recycled), true) => Some(change::pool_run(name, "recycle", None)),
            _ => None,
        };
        if changes.is_empty() && run.is_none() {
            context.info(format!("the pool {name} is as it should be"));
        }
        undo::carry_out(iis, context, &log, run.as_slice())
    })();
    backed_out(iis, context, (&log, since), rest)?;
    Ok(ActionReport::default())
}

impl Action for Restore {
    fn name(&self) -> &'static str {
        "iis.restore"
    }

    fn here(&self) -> bool {
        cfg!(windows)
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<RestoreInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: RestoreInputs = context.inputs()?;
        let iis = Installed::find(context.stop)?;
        undo::restore(&iis, context, &log(context, &inputs.action))?;
        Ok(ActionReport::default())
    }
}
