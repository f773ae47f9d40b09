//! Builders for tests: a farm of targets, a project read from its text, a release of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use mantle_shared::Digest;
use mantle_shared::ids::{AgentId, TargetId, TaskId};
use mantle_shared::order::OrderPackage;
use mantle_shared::uuid::Uuid;

use crate::explain::Refusal;
use crate::file::{self, Definitions, Known, Source};
use crate::ids::SecretVersionId;
use crate::plan::{Plan, PlanFacts};
use crate::planner::{self, PlanOptions, PlanRequest};
use crate::project::ProjectDefinition;
use crate::release::{ReleaseDraft, ReleaseOptions, ScannedFiles, SecretFacts, assemble, select};
use crate::target::{AgentFacts, Platform, TargetFacts};

/// The reference example.
pub(crate) fn octofx() -> Definitions {
    let sources = [
        Source {
            name: "octofx.yaml",
            text: include_str!("../tests/octofx/octofx.yaml"),
        },
        Source {
            name: "infrastructure.yaml",
            text: include_str!("../tests/octofx/infrastructure.yaml"),
        },
    ];
    read(&sources)
}

/// A project from the rest of its file.
pub(crate) fn a_project(rest: &str) -> ProjectDefinition {
    let text = format!("mantle: v1\nproject: shop\n{rest}");
    let mut definitions = read(&[Source {
        name: "shop.yaml",
        text: &text,
    }]);
    definitions.projects.remove(0)
}

fn read(sources: &[Source<'_>]) -> Definitions {
    file::parse(sources, &Known::default()).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// A package version.
pub(crate) fn a_package(id: &str, version: &str) -> OrderPackage {
    OrderPackage {
        id: id.to_owned(),
        version: version.to_owned(),
        format: "zip".to_owned(),
        size_bytes: 1000,
        archive: Digest::of(format!("archive {id} {version}").as_bytes()),
        root: Digest::of(format!("root {id} {version}").as_bytes()),
        linux_only: false,
        as_pushed: None,
    }
}

/// What the repository holds.
pub(crate) fn packages(all: &[(&str, &str)]) -> BTreeMap<String, Vec<OrderPackage>> {
    let mut held: BTreeMap<String, Vec<OrderPackage>> = BTreeMap::new();
    for (id, version) in all {
        held.entry((*id).to_owned())
            .or_default()
            .push(a_package(id, version));
    }
    held
}

/// Secrets by path.
pub(crate) fn secrets(paths: &[&str]) -> BTreeMap<String, SecretFacts> {
    (1..)
        .zip(paths)
        .map(|(number, path)| {
            let facts = SecretFacts {
                version: SecretVersionId::from_uuid(Uuid::from_u128(number)),
                mark: format!("mark of {path}"),
            };
            ((*path).to_owned(), facts)
        })
        .collect()
}

/// A release of a project with one version of each package and every secret that it names.
pub(crate) fn a_release(project: &ProjectDefinition, files: &ScannedFiles) -> ReleaseDraft {
    let held: Vec<(&str, &str)> = project
        .packages
        .iter()
        .map(|p| (p.id.as_str(), "1.2.3"))
        .collect();
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    let options = ReleaseOptions::default();
    let selection = select(project, &options, &packages(&held), &[], now).unwrap();
    let known = secrets(&[
        "octofx/database-password",
        "octofx/database-password-live",
        "octofx/chat-webhook",
        "shop/password",
        "shop/key",
    ]);
    assemble(project, selection, &known, files).unwrap()
}

/// A target with an agent that is online and can do everything that is checked.
pub(crate) fn a_target(name: &str, tags: &[&str], environments: &[&str]) -> TargetFacts {
    let number = name
        .bytes()
        .fold(7_u128, |sum, byte| sum * 31 + u128::from(byte));
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    TargetFacts {
        id: TargetId::from_uuid(Uuid::from_u128(number)),
        name: name.to_owned(),
        tags: text(tags),
        environments: text(environments),
        disabled: false,
        maintenance: None,
        unhealthy: None,
        agent: Some(AgentFacts {
            id: AgentId::from_uuid(Uuid::from_u128(number)),
            online: true,
            version: "0.1.0".to_owned(),
            platform: Platform::Linux,
            arch: "x86_64".to_owned(),
            host_name: format!("{name}.example"),
            features: crate::action::TYPES
                .iter()
                .filter(|known| !known.on_server)
                .map(|known| known.name)
                .chain([crate::action::undo::PACKAGE_BACK])
                .map(|name| format!("action:{name}"))
                .chain(["inputs:package.scripts".to_owned()])
                .collect(),
        }),
    }
}

/// The plan of a release.
pub(crate) fn plan(
    release: &ReleaseDraft,
    environment: &str,
    targets: &[TargetFacts],
    options: &PlanOptions,
) -> Result<Plan, Vec<Refusal>> {
    planner::plan(&request(release, environment, targets, options))
}

/// No facts.
pub(crate) static NOTHING_KNOWN: std::sync::LazyLock<PlanFacts> =
    std::sync::LazyLock::new(PlanFacts::default);

/// What is asked of the planner.
pub(crate) fn request<'a>(
    release: &'a ReleaseDraft,
    environment: &'a str,
    targets: &'a [TargetFacts],
    options: &'a PlanOptions,
) -> PlanRequest<'a> {
    PlanRequest {
        task: TaskId::from_uuid(Uuid::from_u128(1)),
        environment,
        release: &release.version,
        channel: &release.channel,
        process: &release.process,
        variables: &release.variables,
        packages: &release.packages,
        targets,
        options,
        keep_on_target: None,
        time_limit_ms: None,
        guided_failure: false,
        facts: &NOTHING_KNOWN,
        before: &[],
    }
}
