//! `mantle init`: a commented project file to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mantle_domain::file::{Known, Source, parse};

use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, line_out};

/// Stands for the project's name in templates.
const PLACEHOLDER: &str = "PROJECT";

/// What to begin.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The project's name: lower-case letters, digits and '-'
    #[arg(default_value = "shop")]
    project: String,
    /// What to begin with
    #[arg(long, value_enum, default_value = "script")]
    template: Template,
    /// The file to write, or - for standard output; by default PROJECT.yaml
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// A project to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Template {
    /// A script on every target with a tag
    Script,
    /// A website behind HAProxy, one server at a time
    WebsiteRolling,
    /// A website on IIS, one server at a time
    WindowsIis,
    /// A program on Linux servers
    ServiceLinux,
}

impl Template {
    fn text(self) -> &'static str {
        match self {
            Self::Script => include_str!("templates/script.yaml"),
            Self::WebsiteRolling => include_str!("templates/website-rolling.yaml"),
            Self::WindowsIis => include_str!("templates/windows-iis.yaml"),
            Self::ServiceLinux => include_str!("templates/service-linux.yaml"),
        }
    }

    fn of(self, project: &str) -> String {
        self.text().replace(PLACEHOLDER, project)
    }
}

/// Does it.
pub(super) fn run(args: &InitArgs, out: Output) -> CliResult {
    let text = args.template.of(&args.project);
    check(&args.project, &text)?;
    let path = match &args.to {
        Some(path) if path == Path::new("-") => {
            line_out(text.trim_end())?;
            return Ok(Exit::Success);
        }
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}.yaml", args.project)),
    };
    let shown = path.display().to_string();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            out.note(&format!("wrote {shown}"));
            out.note(&format!(
                "'mantle validate {shown}' checks it, 'mantle apply -f {shown}' applies it"
            ));
            out.object(&serde_json::json!({ "file": shown }), |_| {
                vec![shown.clone()]
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::new(
            Exit::Refused,
            format!("{shown} is there already and is left as it is"),
        )
        .with_help("name another file with --to, or - to print it")),
        Err(error) => Err(Failure::io(&format!("cannot write {shown}"), &error)),
    }
}

/// A name that no project can have is refused here rather than written down.
fn check(project: &str, text: &str) -> Result<(), Failure> {
    let source = Source {
        name: project,
        text,
    };
    let Err(errors) = parse(&[source], &Known::default()) else {
        return Ok(());
    };
    let what = errors.first().map(|error| error.what.clone());
    let next = errors.into_iter().next().and_then(|error| error.next);
    Err(Failure {
        exit: Exit::Invalid,
        message: what.unwrap_or_default(),
        reasons: Vec::new(),
        help: next,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_template_is_a_valid_project_with_comments() {
        for template in Template::value_variants() {
            let text = template.of("web-shop");
            let source = Source {
                name: "web-shop.yaml",
                text: &text,
            };
            let found = parse(&[source], &Known::default()).unwrap_or_else(|errors| {
                panic!("{template:?}: {}", errors.first().unwrap());
            });
            assert_eq!(found.projects[0].slug, "web-shop", "{template:?}");
            assert!(!found.projects[0].process.steps.is_empty());
            assert!(text.matches('#').count() > 5, "{template:?} says little");
            assert!(!text.contains(PLACEHOLDER), "{template:?}");
        }
    }

    #[test]
    fn a_name_that_no_project_can_have_is_refused() {
        for name in ["My Shop", "a\"b", ""] {
            let text = Template::Script.of(name);
            assert_eq!(
                check(name, &text).unwrap_err().exit,
                Exit::Invalid,
                "{name}"
            );
        }
    }
}
