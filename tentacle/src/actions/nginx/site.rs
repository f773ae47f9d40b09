//! `nginx.site`: the file of one site, which counts only once nginx takes it.
//!
//! What must hold: a file that nginx does not take, read or reload with is not left behind: what was
//! there before is back, and nginx has it. A kill between the change and the reload leaves both to be
//! done again, which is why nginx is told to reload even if the file is as it should be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::files::absolute;
use super::super::files::keeper::{Content, Keeper, Put};
use super::super::files::rights::Rights;
use super::super::{
    Action, ActionContext, ActionError, ActionReport, StopToken, read_inputs, values,
};
use super::control::Nginx;

/// Where the file of a site is unless the inputs name it: nginx's own packages and those of the
/// distributions include it.
const FOLDER: &str = "/etc/nginx/conf.d";

/// `nginx.site`.
pub(in super::super) struct Site;
/// `nginx.site.back`: servers order it to undo an `nginx.site`; no file names it.
pub(in super::super) struct SiteBack;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    site: String,
    #[serde(default, deserialize_with = "values::texts")]
    listen: Vec<String>,
    #[serde(default, deserialize_with = "values::texts")]
    server_name: Vec<String>,
    root: Option<String>,
    proxy_pass: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    content: Option<String>,
    file: Option<String>,
    config: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackInputs {
    action: String,
    config: Option<String>,
}

impl Inputs {
    fn read(with: &Map<String, Value>) -> Result<Self, ActionError> {
        let inputs: Self = read_inputs(with)?;
        let own = !inputs.listen.is_empty()
            || !inputs.server_name.is_empty()
            || !inputs.settings.is_empty()
            || [
                &inputs.root,
                &inputs.proxy_pass,
                &inputs.certificate,
                &inputs.key,
            ]
            .iter()
            .any(|one| one.is_some());
        let refused = |why: &str| Err(ActionError::input(why));
        match (&inputs.content, &inputs.root, &inputs.proxy_pass) {
            (Some(_), _, _) if own => refused(
                "a site is either its text under 'content' or made from 'listen', 'root' and so on, not both",
            ),
            (None, Some(_), Some(_)) => {
                refused("a site has files under 'root' or is passed on to 'proxy_pass', not both")
            }
            (None, None, None) => {
                refused("a site needs 'root', 'proxy_pass' or its text under 'content'")
            }
            (None, _, _) if inputs.certificate.is_some() != inputs.key.is_some() => {
                refused("'certificate' and 'key' go together")
            }
            _ => Ok(inputs),
        }
    }

    fn path(&self) -> Result<PathBuf, ActionError> {
        let name = &self.site;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            return Err(ActionError::input(format!(
                "with.site: '{name}' is no name of a site; it has only letters, digits and _ - . in it"
            )));
        }
        match &self.file {
            Some(file) => absolute("file", file),
            None => Ok(Path::new(FOLDER).join(format!("{name}.conf"))),
        }
    }

    /// The file's text.
    fn text(&self, context: &ActionContext<'_>) -> Result<String, ActionError> {
        if let Some(content) = &self.content {
            return Ok(content.clone());
        }
        let mut text = format!(
            "# Made by Mantle for {} in {}; what is changed here by hand is overwritten.\nserver {{\n",
            context.names.project, context.names.environment
        );
        let mut say = |key: &str, directive: &str, value: &str| -> Result<(), ActionError> {
            let value = checked(key, value)?;
            // Writing to a text cannot fail.
            let _ = writeln!(text, "    {directive} {value};");
            Ok(())
        };
        let usual = [if self.certificate.is_some() {
            "443 ssl"
        } else {
            "80"
        }
        .to_owned()];
        let listen: &[String] = if self.listen.is_empty() {
            &usual
        } else {
            &self.listen
        };
        for one in listen {
            say("listen", "listen", one)?;
        }
        if !self.server_name.is_empty() {
            say("server_name", "server_name", &self.server_name.join(" "))?;
        }
        for (key, directive, value) in [
            ("certificate", "ssl_certificate", &self.certificate),
            ("key", "ssl_certificate_key", &self.key),
            ("root", "root", &self.root),
        ] {
            if let Some(value) = value {
                say(key, directive, one_word(key, value)?)?;
            }
        }
        for (directive, value) in &self.settings {
            if directive.is_empty()
                || !directive
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            {
                return Err(ActionError::input(format!(
                    "with.settings: '{directive}' is no directive of nginx"
                )));
            }
            say("settings", directive, value)?;
        }
        if let Some(upstream) = &self.proxy_pass {
            let upstream = checked("proxy_pass", one_word("proxy_pass", upstream)?)?;
            let _ = write!(
                text,
                "    location / {{
        proxy_pass {upstream};
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
"
            );
        }
        text.push_str("}\n");
        Ok(text)
    }
}

/// A value that cannot end its directive.
fn checked<'a>(key: &str, value: &'a str) -> Result<&'a str, ActionError> {
    let value = value.trim();
    if value.is_empty() || value.contains([';', '{', '}', '#', '\'', '"', '\n', '\r', '\0']) {
        return Err(ActionError::input(format!(
            "with.{key}: '{value}' cannot stand in a directive of nginx; what needs ; {{ }} # or quotes is written under 'content'"
        )));
    }
    Ok(value)
}

fn one_word<'a>(key: &str, value: &'a str) -> Result<&'a str, ActionError> {
    let value = value.trim();
    if value.contains(char::is_whitespace) {
        return Err(ActionError::input(format!(
            "with.{key}: '{value}' has a space in it, which nginx takes for the end"
        )));
    }
    Ok(value)
}

impl Action for Site {
    fn name(&self) -> &'static str {
        "nginx.site"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        Inputs::read(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs = Inputs::read(context.with)?;
        let (path, text) = (inputs.path()?, inputs.text(context)?);
        let nginx = Nginx::of(inputs.config.as_deref(), context.stop);
        let mut keeper = Keeper::of(context, &context.names.action)?;
        let tried = keeper
            .put(&path, Content::Bytes(text.as_bytes()), &Rights::default())
            .and_then(|put| {
                let dump = nginx.test()?;
                must_be_read(&dump, &path)?;
                nginx.reload(&dump)?;
                Ok(put)
            });
        let (site, shown) = (&inputs.site, path.display());
        match tried {
            Ok(Put::Written) => context.info(format!("nginx has the site {site} ({shown})")),
            Ok(Put::Unchanged) => context.info(format!(
                "{shown} is as it should be, and nginx has reloaded"
            )),
            Err(error) if keeper.is_empty() => return Err(error),
            Err(error) => return Err(give_back(context, &mut keeper, &nginx, error)),
        }
        Ok(ActionReport::default())
    }
}

/// Puts back what was there, of all tries of this task, and has nginx read that.
fn give_back(
    context: &ActionContext<'_>,
    keeper: &mut Keeper<'_>,
    nginx: &Nginx<'_>,
    error: ActionError,
) -> ActionError {
    // What was given up must not be given up as well.
    let stop = StopToken::new();
    let nginx = nginx.with(&stop);
    let back = keeper.take_back_all(|| nginx.reload(&nginx.test()?).map(drop));
    match (error, back) {
        (ActionError::Stopped, Ok(())) => ActionError::Stopped,
        (ActionError::Stopped, Err(why)) => {
            context.warning(format!("nginx has not what it had before: {why}"));
            ActionError::Stopped
        }
        (error, Ok(())) => ActionError::failed(format!(
            "{error}; the site is as it was before, and nginx has reloaded"
        )),
        (error, Err(why)) => ActionError::failed(format!(
            "{error}; the site's file is as it was before, but nginx does not reload with it either: {why}"
        )),
    }
}

/// Without an `include` the file would say something that nginx never reads.
fn must_be_read(dump: &str, path: &Path) -> Result<(), ActionError> {
    let shown = path.display();
    let heading = format!("# configuration file {shown}:");
    if dump.lines().any(|line| line.trim() == heading) {
        return Ok(());
    }
    Err(ActionError::failed(format!(
        "nginx does not read {shown}; put 'include {shown};' into 'http' of its configuration, or name a place that it includes under 'file'"
    )))
}

impl Action for SiteBack {
    fn name(&self) -> &'static str {
        "nginx.site.back"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<BackInputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: BackInputs = context.inputs()?;
        let nginx = Nginx::of(inputs.config.as_deref(), context.stop);
        Keeper::of(context, &inputs.action)?
            .take_back_all(|| nginx.reload(&nginx.test()?).map(drop))?;
        Ok(ActionReport::default())
    }
}
