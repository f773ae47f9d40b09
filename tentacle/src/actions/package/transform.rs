//! What is written from variables into a package's files, as bytes, before anything is touched.

use std::collections::BTreeMap;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use mantle_shared::text_file::{self, MAX_TEXT_FILE_BYTES, decode, encode};
use mantle_template::{Options, Template, Variables};

use super::super::{ActionContext, ActionError, withheld};
use super::structured;
use crate::cache::{Cache, PackageFile};

/// How many unresolved tokens of one file are named.
const MAX_WARNINGS: usize = 20;

/// The files that differ from the package's, by path. A pattern that matches nothing is a warning,
/// a file that is named and not there is an error.
pub(super) fn written(
    context: &ActionContext<'_>,
    cache: &Cache,
    files: &[PackageFile],
    substitute: &[String],
    structured: &[String],
) -> Result<BTreeMap<String, Vec<u8>>, ActionError> {
    let mut written = BTreeMap::new();
    let variables = withheld::template_variables(context.variables);
    for file in matching(context, "substitute", substitute, files)? {
        context.stop.check()?;
        let bytes = load(cache, file)?;
        let (text, encoding) = decode(&bytes).ok_or_else(|| {
            ActionError::failed(format!(
                "substitute: {} is not UTF-8 or UTF-16 text; name only text files",
                file.path
            ))
        })?;
        if let Some(name) = withheld::needed(&text, context.variables) {
            return Err(withheld::refused("substitute", &file.path, name));
        }
        let rendered = render(context, &file.path, &text, &variables)?;
        context.verbose(format!("substituted variables in {}", file.path));
        written.insert(file.path.clone(), encode(&rendered, encoding));
    }
    for file in matching(context, "structured", structured, files)? {
        context.stop.check()?;
        let bytes = match written.get(&file.path) {
            Some(bytes) => bytes.clone(),
            None => load(cache, file)?,
        };
        let Some((text, encoding)) = decode(&bytes) else {
            return Err(ActionError::failed(format!(
                "structured: {} is not UTF-8 or UTF-16 text",
                file.path
            )));
        };
        let held_back = structured::withheld(&file.path, &text, context.variables)
            .map_err(|error| ActionError::failed(format!("structured: {error}")))?;
        if let Some(name) = held_back {
            return Err(withheld::refused("structured", &file.path, name));
        }
        let replaced = structured::replace(&file.path, &text, context.variables)
            .map_err(|error| ActionError::failed(format!("structured: {error}")))?;
        match replaced {
            Some((text, names)) => {
                context.verbose(format!("{}: set {}", file.path, names.join(", ")));
                written.insert(file.path.clone(), encode(&text, encoding));
            }
            None => context.verbose(format!(
                "{}: no variable is named as a path in it",
                file.path
            )),
        }
    }
    Ok(written)
}

fn render(
    context: &ActionContext<'_>,
    path: &str,
    text: &str,
    variables: &Variables,
) -> Result<String, ActionError> {
    let options = Options::new(jiff::Timestamp::now());
    let rendered = Template::parse(text)
        .render(variables, &options)
        .map_err(|error| ActionError::failed(format!("substitute: {path}: {error}")))?;
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
    files: &'a [PackageFile],
) -> Result<Vec<&'a PackageFile>, ActionError> {
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

fn load(cache: &Cache, file: &PackageFile) -> Result<Vec<u8>, ActionError> {
    if file.size_bytes > MAX_TEXT_FILE_BYTES {
        return Err(ActionError::failed(format!(
            "{} has {} bytes; only files of up to {MAX_TEXT_FILE_BYTES} bytes are written from variables",
            file.path, file.size_bytes
        )));
    }
    cache
        .package_file(file)
        .map_err(|error| ActionError::failed(format!("{}: {error}; deploy again", file.path)))
}
