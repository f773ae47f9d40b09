//! A context for tests of actions: what they say is kept, packages come from a real cache.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::Level;
use mantle_shared::uuid::Uuid;
use mantle_shared::{AttemptId, TaskId};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::{
    Action, ActionContext, ActionError, ActionReport, ChildEnd, Names, OutputSink, PackageFiles,
    StopToken, Variable, Variables,
};
use crate::cache::{Cache, MaterialiseError};
use crate::state_dir::StateDir;

/// What an action said and set.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) lines: Mutex<Vec<(Level, String)>>,
    pub(crate) variables: Mutex<Vec<(String, String)>>,
}

impl Said {
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        texts.join("\n")
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let warnings = lines.iter().filter(|(level, _)| *level == Level::Warning);
        warnings.map(|(_, text)| text.clone()).collect()
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let variables = self
            .variables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = variables.iter().rev().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone())
    }
}

impl OutputSink for Said {
    fn line(&self, level: Level, text: &str) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((level, text.to_owned()));
    }

    fn progress(&self, _percent: u8, _message: &str) {}

    fn set_variable(&self, name: &str, value: &str, _sensitive: bool) {
        let mut variables = self
            .variables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        variables.push((name.to_owned(), value.to_owned()));
    }

    fn variables_set(&self) -> Vec<Variable> {
        Vec::new()
    }

    fn settle_failure(&self) {}

    fn run_child(
        &self,
        _command: std::process::Command,
        _rules: &crate::output::service_message::MessageRules,
    ) -> Result<ChildEnd, ActionError> {
        Err(ActionError::failed("no children here"))
    }
}

/// Packages out of a cache.
struct Cached(Cache, StopToken);

impl PackageFiles for Cached {
    fn materialise(&self, package: &OrderPackage, into: &Path) -> Result<(), ActionError> {
        let go_on = || !self.1.is_stopped();
        match self.0.materialise(package.root, into, &go_on) {
            Ok(_) => Ok(()),
            Err(MaterialiseError::Stopped) => Err(ActionError::Stopped),
            Err(error) => Err(ActionError::failed(error.to_string())),
        }
    }
}

/// A machine on which actions are run.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) state_dir: StateDir,
    pub(crate) said: Said,
    pub(crate) stop: StopToken,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) withheld: Vec<String>,
    pub(crate) packages: Vec<OrderPackage>,
    /// The task that the actions belong to.
    pub(crate) task: u128,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = StateDir::at(dir.path().join("state"));
        state_dir.create().unwrap();
        Cache::at(state_dir.cache()).prepare().unwrap();
        Self {
            dir,
            state_dir,
            said: Said::default(),
            stop: StopToken::new(),
            variables: Vec::new(),
            withheld: Vec::new(),
            packages: Vec::new(),
            task: 1,
        }
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::at(self.state_dir.cache())
    }

    pub(crate) fn run(
        &self,
        action: &dyn Action,
        with: Value,
    ) -> Result<ActionReport, ActionError> {
        self.with_inputs(with, |context| action.run(context))
    }

    /// Something that needs a context and no inputs.
    pub(crate) fn with_context<T>(&self, work: impl FnOnce(&ActionContext<'_>) -> T) -> T {
        self.with_inputs(Value::Object(Map::new()), work)
    }

    /// Something that needs a context with these inputs.
    pub(crate) fn with_inputs<T>(
        &self,
        with: Value,
        work: impl FnOnce(&ActionContext<'_>) -> T,
    ) -> T {
        let with: Map<String, Value> = serde_json::from_value(with).unwrap();
        let variables = Variables::new(
            self.variables
                .iter()
                .map(|(name, value)| Variable {
                    name: name.clone(),
                    value: value.clone(),
                    sensitive: false,
                    exported: true,
                })
                .collect(),
        )
        .withholding(self.withheld.clone());
        let names = Names {
            attempt: AttemptId::from_uuid(Uuid::now_v7()),
            task: TaskId::from_uuid(Uuid::from_u128(self.task)),
            task_number: "T-1".to_owned(),
            project: "octofx".to_owned(),
            environment: "production".to_owned(),
            release: "1.0".to_owned(),
            step: "Web farm".to_owned(),
            action: "Install".to_owned(),
            subject: "web01".to_owned(),
            executor: "web01".to_owned(),
            grace: Duration::from_secs(1),
        };
        let package_files = Cached(self.cache(), self.stop.clone());
        let context = ActionContext {
            names: &names,
            with: &with,
            variables: &variables,
            packages: &self.packages,
            package_files: &package_files,
            work_dir: self.dir.path(),
            private_dir: self.dir.path(),
            render: &|text| Ok(text.to_owned()),
            state_dir: &self.state_dir,
            output: &self.said,
            stop: &self.stop,
            deadline: Instant::now() + Duration::from_mins(1),
        };
        work(&context)
    }
}

/// The message of a failure.
pub(crate) fn message(result: Result<ActionReport, ActionError>) -> String {
    result.unwrap_err().to_string()
}
