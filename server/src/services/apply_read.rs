//! Reading files against what there is. It takes time that hangs on who wrote them, so it is done
//! without the writer's turn; in the turn it is asked whether that is still what there is.

use mantle_domain::file::{self, Definitions, FileError, Known, OldNames, Source};
use mantle_domain::project::ProjectDefinition;
use mantle_domain::variable_set::VariableSets;

use super::declared::{environment_order, project_definition, variable_sets};
use super::error::{Error, Result};
use super::names::environment_names;
use super::{Services, facts};
use crate::api::body::ApplyFile;
use crate::store::{
    Extent, Tx, health_check_list, lifecycle_list, project_list, secret_list, target_list,
};

/// How often files are read anew because somebody else changed what they refer to.
pub(super) const READINGS: usize = 8;

/// Files that were read, and by what they were judged.
pub(super) struct Reading {
    /// What they define.
    pub(super) definitions: Definitions,
    known: Known,
    projects: Projects,
}

/// Which projects what is read can put in the wrong. To read them all takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Projects {
    /// None but those that are in the files.
    None,
    /// Those that include sets: a set changes.
    WithSets,
    /// Every one: targets get other tags, or values tie by those that they have. Seldom.
    All,
}

impl Projects {
    fn count(self, project: &ProjectDefinition) -> bool {
        match self {
            Self::None => false,
            Self::WithSets => !project.include.is_empty(),
            Self::All => true,
        }
    }
}

impl Reading {
    /// What they were judged by is as it was, so that they would be judged the same.
    pub(super) async fn hold(&self, tx: &mut Tx) -> Result<bool> {
        Ok(known(tx, self.projects).await? == self.known)
    }
}

impl Services {
    /// Reads files.
    pub(super) async fn read_files(&self, files: &[ApplyFile]) -> Result<Reading> {
        let sets = files.iter().any(|file| file.text.contains("variable_set"));
        let projects = if sets {
            Projects::WithSets
        } else {
            Projects::None
        };
        let (known, parsed) = self.read_against(files, projects).await?;
        let tagged = match &parsed {
            // Tags that targets get can put any project in the wrong.
            Ok(definitions) => !definitions.retagged(&known).is_empty(),
            // It may have been so before.
            Err(errors) => errors.iter().any(FileError::is_about_tags),
        };
        let (known, parsed, projects) = if tagged {
            let (known, parsed) = self.read_against(files, Projects::All).await?;
            (known, parsed, Projects::All)
        } else {
            (known, parsed, projects)
        };
        Ok(Reading {
            definitions: parsed.map_err(|errors| invalid(&errors))?,
            known,
            projects,
        })
    }

    async fn read_against(
        &self,
        files: &[ApplyFile],
        projects: Projects,
    ) -> Result<(Known, Parsed)> {
        let known = {
            let mut tx = self.store.read().await?;
            known(&mut tx, projects).await?
        };
        let mut parsed = parse(files, &known).await?;
        if let Err(errors) = &parsed
            && errors.iter().any(FileError::is_about_a_name)
        {
            // It may be one that projects have used since before there was a rule. Seldom, and to
            // read them all takes a while.
            let mut wider = known.clone();
            let mut tx = self.store.read().await?;
            all_old_names(&mut tx, &known.variable_sets, &mut wider.old_names).await?;
            drop(tx);
            parsed = parse(files, &wider).await?;
        }
        Ok((known, parsed))
    }
}

type Parsed = std::result::Result<Definitions, Vec<FileError>>;

/// Whoever else changes things does not let a reading stand.
pub(super) fn never_still() -> Error {
    Error::refused(
        "changed-meanwhile",
        format!(
            "what the files refer to was changed by others {READINGS} times while they were read"
        ),
        "apply them again",
    )
}

/// On a thread of its own: a file of 8 MiB takes a while, and others wait for those that serve.
async fn parse(files: &[ApplyFile], known: &Known) -> Result<Parsed> {
    let (files, known) = (files.to_vec(), known.clone());
    let work = move || {
        let sources: Vec<Source<'_>> = files
            .iter()
            .map(|file| Source {
                name: &file.name,
                text: &file.text,
            })
            .collect();
        file::parse(&sources, &known)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("reading files", error))
}

fn invalid(errors: &[FileError]) -> Error {
    match errors {
        [one] => Error::Invalid {
            code: "invalid-files",
            detail: format!("{}:{}:{}: {}", one.file, one.line, one.column, one.what),
            reasons: Vec::new(),
            help: one.next.clone().unwrap_or_default(),
        },
        many => Error::Invalid {
            code: "invalid-files",
            detail: format!(
                "{} things in the files are wrong; nothing was applied",
                many.len()
            ),
            reasons: many.iter().map(ToString::to_string).collect(),
            help: "correct them and apply again".to_owned(),
        },
    }
}

async fn all_old_names(tx: &mut Tx, sets: &VariableSets, names: &mut OldNames) -> Result<()> {
    for row in project_list(tx, "", Extent::All).await? {
        names.project(&project_definition(&row)?);
    }
    for set in sets.values() {
        names.variable_set(set);
    }
    Ok(())
}

async fn known(tx: &mut Tx, wanted: Projects) -> Result<Known> {
    let mut projects = Vec::new();
    if wanted != Projects::None {
        for row in project_list(tx, "", Extent::All).await? {
            let definition = project_definition(&row)?;
            if wanted.count(&definition) {
                projects.push(definition);
            }
        }
    }
    let targets = target_list(tx, None).await?;
    let names = environment_names(tx).await?;
    let secrets = secret_list(tx, "", Extent::All).await?;
    let lifecycles = lifecycle_list(tx).await?;
    let health_checks = health_check_list(tx).await?;
    let environments = environment_order(tx).await?;
    let mut old_names = OldNames::default();
    for name in &environments {
        old_names.environment(name);
    }
    for target in &targets {
        old_names.target(&target.name);
        target.tags.iter().for_each(|tag| old_names.tag(tag));
    }
    let target_environments = targets
        .iter()
        .map(|row| {
            let environments = facts::named(&row.environments, &names);
            (row.name.clone(), environments.into_iter().collect())
        })
        .collect();
    Ok(Known {
        complete: true,
        target_environments,
        environments: environments.into_iter().collect(),
        lifecycles: lifecycles.into_iter().map(|row| row.name).collect(),
        targets: targets
            .into_iter()
            .map(|row| (row.name, row.tags))
            .collect(),
        health_checks: health_checks.into_iter().map(|row| row.name).collect(),
        secrets: secrets.into_iter().map(|row| row.path).collect(),
        variable_sets: variable_sets(tx).await?,
        projects,
        old_names,
    })
}
