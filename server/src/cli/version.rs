//! `mantle version`: of the programs; and orders and judges the versions of releases and packages,
//! without a server.

use std::io::{self, BufRead};

use clap::{Args, Subcommand};
use mantle_domain::version::{PrereleasePattern, Range, Version};
use serde::Serialize;

use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, line_out};

/// Without a command: the versions of this program and of the server.
#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do with versions.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sort the versions on standard input, one a line, the lowest first
    Sort,
    /// Say whether a version satisfies a channel's rule: exit code 0 if it does, 1 if not
    Match(MatchArgs),
}

/// A rule and a version.
#[derive(Debug, Args)]
pub(super) struct MatchArgs {
    /// A `NuGet` range, such as `1.0`, `[1.0,2.0)`, `(,2.0]` or `1.*`
    #[arg(long, value_name = "RANGE", required_unless_present = "prerelease")]
    range: Option<String>,
    /// An expression that must match the pre-release text together with `+metadata`, such as `^$`
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    prerelease: Option<String>,
    /// The version
    #[arg(value_name = "VERSION")]
    version: String,
}

/// Does it.
pub(super) fn run(command: Command, out: Output) -> CliResult {
    match command {
        Command::Sort => {
            let versions = sorted(io::stdin().lock())?;
            let lines: Vec<&str> = versions.iter().map(Version::as_str).collect();
            if out.is_json() {
                return out.list(&lines, &[], |_| Vec::new());
            }
            if !lines.is_empty() {
                line_out(&lines.join("\n"))?;
            }
            Ok(Exit::Success)
        }
        Command::Match(args) => {
            let judged = judge(&args)?;
            out.object(&judged, |judged| vec![judged.why.clone()])?;
            Ok(if judged.matches {
                Exit::Success
            } else {
                Exit::NO
            })
        }
    }
}

/// The versions as they were written; of equal ones, those with less metadata and then the earlier come first.
fn sorted(mut input: impl BufRead) -> Result<Vec<Version>, Failure> {
    let mut versions = Vec::new();
    let mut line = String::new();
    for number in 1_usize.. {
        line.clear();
        let read = input.read_line(&mut line).map_err(|error| Failure {
            exit: Exit::Invalid,
            ..Failure::io("cannot read standard input", &error)
        })?;
        if read == 0 {
            break;
        }
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        versions.push(
            Version::parse(text)
                .map_err(|error| Failure::new(Exit::Invalid, format!("line {number}: {error}")))?,
        );
    }
    versions.sort_by(|a, b| {
        let metadata = |version: &Version| version.metadata().to_ascii_lowercase();
        a.cmp(b).then_with(|| metadata(a).cmp(&metadata(b)))
    });
    Ok(versions)
}

#[derive(Debug, Serialize)]
struct Judged {
    version: String,
    matches: bool,
    why: String,
}

fn judge(args: &MatchArgs) -> Result<Judged, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::new(Exit::Invalid, error.to_string());
    let version = Version::parse(args.version.trim()).map_err(|error| invalid(&error))?;
    let range = args.range.as_deref().map(Range::parse).transpose();
    let range = range.map_err(|error| invalid(&format!("--range: {error}")))?;
    let pattern = args.prerelease.as_deref().map(PrereleasePattern::parse);
    let pattern = pattern.transpose().map_err(|error| invalid(&error))?;
    let in_range = range.as_ref().is_none_or(|range| range.contains(&version));
    let accepted = match &pattern {
        Some(pattern) => pattern.accepts(&version).map_err(|error| invalid(&error))?,
        None => true,
    };
    let why = if !in_range {
        let range = args.range.as_deref().unwrap_or_default();
        format!("{version} is not in the range {range}")
    } else if accepted {
        format!("{version} matches")
    } else {
        let pattern = args.prerelease.as_deref().unwrap_or_default();
        let subject = PrereleasePattern::subject(&version);
        format!("{version} does not match: '{subject}' is not matched by {pattern}")
    };
    Ok(Judged {
        version: version.to_string(),
        matches: in_range && accepted,
        why,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_sorted_as_they_were_written() {
        let input = "1.10\n\n1.0.0+b\r\n 1.0 \n1.0.0-rc.2\n1.0+a\n01.2\n1.0.0-RC.10\n";
        let texts: Vec<String> = sorted(input.as_bytes())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                "1.0.0-rc.2",
                "1.0.0-RC.10",
                "1.0",
                "1.0+a",
                "1.0.0+b",
                "01.2",
                "1.10"
            ]
        );
        let failure = sorted("1.0\nlatest\n".as_bytes()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(
            failure.message.starts_with("line 2: 'latest'"),
            "{failure:?}"
        );
    }

    #[test]
    fn a_rule_is_judged() {
        for (range, prerelease, version, answer) in [
            (Some("[1.0,2.0)"), None, "1.5", Some(true)),
            (Some("[1.0,2.0)"), None, "2.0", Some(false)),
            (Some("[1.0,2.0)"), Some("^$"), "1.5-rc", Some(false)),
            (None, Some("^(?!beta).+"), "1.5-rc", Some(true)),
            (None, Some("^(|\\+.*)$"), "1.5+sha.1", Some(true)),
            (Some("1.*"), None, "1.5", Some(true)),
            (Some("1.*"), None, "1.5-rc", Some(false)),
            (Some("1.*-*"), Some("^rc"), "1.5-rc", Some(true)),
            (Some("[1.0"), None, "1.5", None),
            (Some("1.*.2"), None, "1.5", None),
            (Some("1.0"), None, "v1.5", None),
            (Some("1.0"), Some("("), "1.5", None),
            (Some("1.0"), None, "one", None),
        ] {
            let args = MatchArgs {
                range: range.map(str::to_owned),
                prerelease: prerelease.map(str::to_owned),
                version: version.to_owned(),
            };
            let judged = judge(&args);
            assert_eq!(
                judged.as_ref().ok().map(|judged| judged.matches),
                answer,
                "{args:?}"
            );
            if let Err(failure) = judged {
                assert_eq!(failure.exit, Exit::Invalid, "{args:?}");
            }
        }
    }
}
