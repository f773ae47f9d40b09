//! What is written from variables and transforms into a package's files, as bytes, before anything
//! is touched: templates first, then transforms, then .NET settings, then structured variables.

use std::collections::BTreeMap;
use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use mantle_shared::text_file::{self, MAX_TEXT_FILE_BYTES, decode, encode};
use mantle_shared::transform_rule::TransformRule;
use mantle_template::{Options, Template, Variables as TemplateVariables};

use super::super::{ActionContext, ActionError, Variable, Variables, withheld};
use super::Inputs;
use super::source::{Files, FoundFile};
use super::transforms;
use crate::config::{self, Format, OnWarning, Setting, Settings};

/// How many unresolved tokens of one file are named.
const MAX_WARNINGS: usize = 20;
/// Stands for a secret that the action was not given, to see whether a file has a place for it. As a
/// text in quotes it is a value of every format.
const STAND_IN: &str = "\"withheld\"";

/// Octopus's name for the folder of the version that is being installed (reference section 1.4).
pub(super) const FOLDER: &str = "Octopus.Action.Package.InstallationDirectoryPath";

/// Octopus's names for what becomes of a token without a value in a file (reference section 1.4):
/// by default it stays as it is, with a warning; the first makes it a failure, the second does not.
const FAIL_ON_UNRESOLVED: &str = "OctopusShouldFailDeploymentOnSubstitutionFails";
const IGNORE_UNRESOLVED: &str = "Octopus.Action.Package.IgnoreVariableReplacementErrors";

/// The files that differ from the package's, by path. A pattern that matches nothing is a warning,
/// a file that is named and not there is an error. `folder` is where they will be; whether they may
/// name it is told, too.
pub(super) fn written(
    context: &ActionContext<'_>,
    files: &dyn Files,
    inputs: &Inputs,
    folder: &Path,
) -> Result<(BTreeMap<String, Vec<u8>>, bool), ActionError> {
    let list = files.list();
    let mut variables = withheld::template_variables(context.variables);
    variables.set(FOLDER, folder.display().to_string());
    let of_variables = |variable: &Variable| names_folder(&variable.value);
    let mut package = Package {
        context,
        source: files,
        files: &list,
        written: BTreeMap::new(),
        names_folder: context.variables.iter().any(of_variables),
        variables,
    };
    package.substitute(&inputs.substitute)?;
    package.transform(&inputs.transforms, inputs.ignore_transform_warnings)?;
    package.set("dotnet_config", Format::DotnetConfig, &inputs.dotnet_config)?;
    package.set("structured", Format::Auto, &inputs.structured)?;
    Ok((package.written, package.names_folder))
}

/// A package's files and what becomes of them.
struct Package<'a> {
    context: &'a ActionContext<'a>,
    source: &'a dyn Files,
    files: &'a [FoundFile],
    written: BTreeMap<String, Vec<u8>>,
    /// The variables, and the folder that the files will be in.
    variables: TemplateVariables,
    /// Some of what is written may name that folder.
    names_folder: bool,
}

impl Package<'_> {
    /// A file as it is so far.
    fn bytes(&self, file: &FoundFile) -> Result<Vec<u8>, ActionError> {
        self.context.stop.check()?;
        match self.written.get(&file.path) {
            Some(bytes) => Ok(bytes.clone()),
            None => load(self.source, file),
        }
    }

    fn write(&mut self, file: &FoundFile, bytes: Option<Vec<u8>>) {
        if let Some(bytes) = bytes {
            self.written.insert(file.path.clone(), bytes);
        }
    }

    /// Templates in texts.
    fn substitute(&mut self, patterns: &[String]) -> Result<(), ActionError> {
        let context = self.context;
        for file in matching(context, "substitute", patterns, self.files)? {
            let bytes = self.bytes(file)?;
            let (text, encoding) = decode(&bytes).ok_or_else(|| {
                ActionError::failed(format!(
                    "substitute: {} is not UTF-8 or UTF-16 text; name only text files",
                    file.path
                ))
            })?;
            if let Some(name) = withheld::needed(&text, context.variables) {
                return Err(withheld::refused("substitute", &file.path, name));
            }
            self.names_folder |= names_folder(&text);
            let rendered = render(context, &file.path, &text, &self.variables)?;
            context.verbose(format!("substituted variables in {}", file.path));
            self.write(file, Some(encode(&rendered, encoding)));
        }
        Ok(())
    }

    /// XDT transforms.
    fn transform(
        &mut self,
        rules: &[(String, TransformRule)],
        ignore_warnings: bool,
    ) -> Result<(), ActionError> {
        let context = self.context;
        let paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        let environment = &context.names.environment;
        let choice = transforms::choose(rules, environment, &paths).map_err(|missing| {
            ActionError::failed(format!(
                "transforms: '{}' names a file that is not in the package",
                missing.0
            ))
        })?;
        for line in choice.idle {
            context.warning(format!("transforms: '{line}' finds nothing in the package"));
        }
        let on_warning = if ignore_warnings {
            OnWarning::Tell
        } else {
            OnWarning::Fail
        };
        for (transform, target) in choice.pairs {
            let (Some(transform), Some(target)) =
                (self.files.get(transform), self.files.get(target))
            else {
                continue;
            };
            let (rules, bytes) = (self.bytes(transform)?, self.bytes(target)?);
            let applied = config::transform(&bytes, &transform.path, &rules, on_warning)
                .map_err(|error| failed("transforms", &target.path, &error))?;
            for warning in &applied.warnings {
                context.warning(format!("transforms: {}: {warning}", target.path));
            }
            context.verbose(format!(
                "{}: transformed by {}",
                target.path, transform.path
            ));
            self.write(target, applied.bytes);
        }
        Ok(())
    }

    /// Variables that have a place in a file.
    fn set(&mut self, key: &str, format: Format, patterns: &[String]) -> Result<(), ActionError> {
        let context = self.context;
        let settings = settings(context.variables, &self.variables);
        for file in matching(context, key, patterns, self.files)? {
            let bytes = self.bytes(file)?;
            let applied = config::apply(format, &file.path, &bytes, &settings)
                .map_err(|error| failed(key, &file.path, &error))?;
            if let Some(name) = held_back(format, &file.path, &bytes, context.variables) {
                return Err(withheld::refused(key, &file.path, &name));
            }
            // The value that stands there is not the one that the author meant.
            if let Some(refused) = applied.refused.first() {
                return Err(ActionError::failed(format!(
                    "{key}: {}: {refused}",
                    file.path
                )));
            }
            for warning in &applied.warnings {
                context.warning(format!("{key}: {}: {warning}", file.path));
            }
            context.verbose(match applied.set.as_slice() {
                [] => format!("{}: no variable has a place in it", file.path),
                names => format!(
                    "{}: set {} in {}",
                    file.path,
                    names.join(", "),
                    applied.format
                ),
            });
            self.write(file, applied.bytes);
        }
        Ok(())
    }
}

fn failed(key: &str, path: &str, error: &config::ConfigError) -> ActionError {
    ActionError::failed(format!("{key}: {}", error.in_file(path)))
}

/// The variables that the action was given. One that names the folder was evaluated before there was
/// one.
fn settings(variables: &Variables, with_folder: &TemplateVariables) -> Settings {
    let options = Options::new(jiff::Timestamp::now());
    let value = |given: &str| {
        let rendered = names_folder(given).then(|| template(given, with_folder, &options));
        rendered.flatten().unwrap_or_else(|| given.to_owned())
    };
    Settings::new(variables.iter().map(|variable| Setting {
        name: variable.name.clone(),
        value: Some(value(&variable.value)),
    }))
}

fn template(text: &str, variables: &TemplateVariables, options: &Options) -> Option<String> {
    let rendered = Template::parse(text).render(variables, options).ok()?;
    Some(rendered.text.into_owned())
}

/// A text may ask for the folder. Too often is only slower.
fn names_folder(text: &str) -> bool {
    text.contains("#{") && text.to_lowercase().contains("installationdirectorypath")
}

/// The first of the withheld names that has a place in a file: the value there is not the one that
/// the author meant, and would stay so.
fn held_back(format: Format, path: &str, bytes: &[u8], variables: &Variables) -> Option<String> {
    let names = variables.withheld().map(|name| Setting {
        name: name.to_owned(),
        value: Some(STAND_IN.to_owned()),
    });
    let names = Settings::new(names);
    let first = names.iter().next()?.name.clone();
    match config::apply(format, path, bytes, &names) {
        Ok(tried) => {
            let refused = tried.refused.into_iter().map(|refused| refused.name);
            tried.set.into_iter().chain(refused).next()
        }
        // It was readable with the values that were given, so it is one of these.
        Err(_) => Some(first),
    }
}

fn render(
    context: &ActionContext<'_>,
    path: &str,
    text: &str,
    variables: &TemplateVariables,
) -> Result<String, ActionError> {
    let options = Options::new(jiff::Timestamp::now());
    let rendered = Template::parse(text)
        .render(variables, &options)
        .map_err(|error| ActionError::failed(format!("substitute: {path}: {error}")))?;
    if let Some(problem) = rendered.problems.first()
        && context.is_on(FAIL_ON_UNRESOLVED)
        && !context.is_on(IGNORE_UNRESOLVED)
    {
        return Err(ActionError::failed(format!(
            "substitute: {path}, {problem}; '{FAIL_ON_UNRESOLVED}' makes that a failure"
        )));
    }
    for problem in rendered.problems.iter().take(MAX_WARNINGS) {
        context.warning(format!("substitute: {path}, {problem}"));
    }
    let more = rendered.more_problems + rendered.problems.len().saturating_sub(MAX_WARNINGS);
    if more > 0 {
        context.warning(format!("substitute: {path}: and {more} more"));
    }
    Ok(rendered.text.into_owned())
}

/// The files that a list of patterns means, each once, in the package's order.
fn matching<'a>(
    context: &ActionContext<'_>,
    key: &str,
    patterns: &[String],
    files: &'a [FoundFile],
) -> Result<Vec<&'a FoundFile>, ActionError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = glob(key, pattern)?;
        let one = glob.compile_matcher();
        if !files.iter().any(|file| one.is_match(&file.path)) {
            let named = !pattern.contains(['*', '?', '[', '{']);
            let message = format!("{key}: '{pattern}' matches no file of the package");
            if named {
                return Err(ActionError::failed(message));
            }
            context.warning(message);
        }
        set.add(glob);
    }
    let set: GlobSet = set
        .build()
        .map_err(|error| ActionError::input(format!("{key}: {error}")))?;
    Ok(files
        .iter()
        .filter(|file| set.is_match(&file.path))
        .collect())
}

fn glob(key: &str, pattern: &str) -> Result<Glob, ActionError> {
    GlobBuilder::new(&text_file::pattern(pattern))
        .literal_separator(true)
        .case_insensitive(cfg!(windows))
        .build()
        .map_err(|error| {
            ActionError::input(format!(
                "{key}: '{pattern}' is no pattern: {}",
                error.kind()
            ))
        })
}

fn load(source: &dyn Files, file: &FoundFile) -> Result<Vec<u8>, ActionError> {
    if file.size_bytes > MAX_TEXT_FILE_BYTES {
        return Err(ActionError::failed(format!(
            "{} has {} bytes; only files of up to {MAX_TEXT_FILE_BYTES} bytes are written from variables",
            file.path, file.size_bytes
        )));
    }
    source.load(file)
}
