//! Why something is refused, in sentences for people.
//!
//! Every refusal says what happened, to which named thing, why, and what to type next. The command
//! line, the API and the pages all show these words, so that they say the same.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::interruption::CannotAnswer;
use crate::plan::basis::PlanKind;
use crate::variable::Tie;

mod remedied;
mod sentences;

/// A reason why something is not done. Nothing has been changed when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// No environment has this name.
    UnknownEnvironment {
        /// What was asked for.
        environment: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// No project has this slug.
    UnknownProject {
        /// What was asked for.
        project: String,
        /// The nearest slug that exists.
        suggestion: Option<String>,
    },
    /// The project has no release of this version.
    UnknownRelease {
        /// The project.
        project: String,
        /// What was asked for.
        version: String,
        /// The nearest or newest version that exists.
        suggestion: Option<String>,
    },
    /// The release's lifecycle does not name the environment.
    NotInLifecycle {
        /// The environment.
        environment: String,
        /// The lifecycle.
        lifecycle: String,
        /// The environments that it does name.
        environments: Vec<String>,
    },
    /// An earlier phase is not passed.
    PhaseNotReached {
        /// The release.
        release: Box<NamedRelease>,
        /// The environment asked for.
        environment: String,
        /// The lifecycle.
        lifecycle: String,
        /// The phase to be passed first.
        phase: String,
        /// Its environments without a success of this release.
        missing: Vec<String>,
        /// How many more successes it takes.
        needed: usize,
    },
    /// The release is blocked and has not been there.
    ReleaseBlocked {
        /// The project.
        project: String,
        /// The release's version.
        version: String,
        /// The environment asked for.
        environment: String,
        /// Why it is blocked.
        reason: String,
        /// By whom.
        by: String,
    },
    /// Neither the release nor the project has a variable of this name.
    NoSuchVariable {
        /// The project.
        project: String,
        /// What was asked for.
        variable: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// The release has had no variable snapshot of this number.
    NoSuchSnapshot {
        /// The project.
        project: String,
        /// The release's version.
        version: String,
        /// What was asked for.
        number: u64,
        /// How many it has had.
        known: u64,
    },
    /// No channel was named, and more than one would do.
    ChannelAmbiguous {
        /// The project.
        project: String,
        /// The channels whose rules all packages satisfy.
        channels: Vec<String>,
    },
    /// What was planned is not what would happen now.
    PlanChanged {
        /// The plan's id.
        plan: String,
        /// What would be deployed.
        release: Box<NamedRelease>,
        /// The environment.
        environment: String,
        /// What would be planned anew.
        #[serde(default)]
        kind: PlanKind,
        /// What changed since.
        changes: Vec<String>,
    },
    /// A release's own field is too long, or there are too many.
    BadField {
        /// What is wrong.
        why: String,
    },
    /// What is said about a deployment is too long.
    BadComment {
        /// The longest, in characters.
        most: usize,
    },
    /// An action's inputs cannot be evaluated within what is allowed.
    TooMuchWork {
        /// The project.
        project: String,
        /// The action.
        action: String,
    },
    /// A run condition is neither true nor false, which can be told beforehand.
    Unjudgeable {
        /// What would be deployed.
        release: Box<NamedRelease>,
        /// The step or action whose it is.
        place: String,
        /// The condition.
        template: String,
        /// What is wrong with it, and where in it.
        why: String,
        /// The targets about which the action would be; none if it is the step's condition.
        targets: Vec<String>,
    },
    /// No target of the environment can take part.
    NoTargetInEnvironment {
        /// The environment.
        environment: String,
        /// What would let one of its targets take part.
        remedy: Option<Box<Remedy>>,
    },
    /// A step's tag is on no target of the environment, though on others.
    NoTargetForStep {
        /// The step.
        step: String,
        /// The tag.
        tag: String,
        /// The environment.
        environment: String,
        /// Targets with the tag and why each does not count, such as "web01 is disabled".
        reasons: Vec<String>,
        /// What would let a target take part.
        remedy: Option<Box<Remedy>>,
    },
    /// A tag is on no target at all.
    UnknownTag {
        /// The step or action that names it.
        place: String,
        /// The tag.
        tag: String,
        /// The nearest tag that exists.
        suggestion: Option<String>,
        /// A target of the environment that could get it.
        target: Option<String>,
    },
    /// An action's `run_on` finds no agent.
    NoExecutor {
        /// The action.
        action: String,
        /// The tag.
        tag: String,
        /// The environment.
        environment: String,
        /// What would let a target run it.
        remedy: Option<Box<Remedy>>,
    },
    /// A target that takes part has no agent yet.
    NotJoined {
        /// The target.
        target: String,
    },
    /// A target that was chosen by its name is disabled.
    TargetDisabled {
        /// The target.
        target: String,
    },
    /// A target that was chosen by its name is in maintenance.
    TargetInMaintenance {
        /// The target.
        target: String,
        /// Why it is.
        reason: String,
    },
    /// A target that takes part is not connected.
    AgentOffline {
        /// The target.
        target: String,
        /// What it is there for.
        #[serde(default)]
        part: Part,
    },
    /// A target that takes part is unhealthy, and there is no deployment while one is.
    TargetUnhealthy {
        /// The target.
        target: String,
        /// Which check says so, and why.
        why: String,
    },
    /// A target's agent does not know an action type.
    ActionUnsupported {
        /// The action.
        action: String,
        /// Its type.
        uses: String,
        /// The targets whose agents lack it.
        targets: Vec<String>,
        /// The version of the first one's agent.
        agent_version: String,
    },
    /// The release was made before archives themselves could be asked for.
    ArchiveNotInRelease {
        /// The action.
        action: String,
        /// The package.
        package: String,
    },
    /// A target's agent does not know an input of an action.
    InputUnsupported {
        /// The action.
        action: String,
        /// The input.
        input: String,
        /// The targets whose agents lack it.
        targets: Vec<String>,
        /// The version of the first one's agent.
        agent_version: String,
    },
    /// A target has not the shell that an action runs.
    ShellMissing {
        /// The action.
        action: String,
        /// The shell.
        shell: String,
        /// The targets without it.
        targets: Vec<String>,
    },
    /// A package that was pushed for Linux would be unpacked on Windows.
    PackageForLinux {
        /// The action.
        action: String,
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The Windows targets.
        targets: Vec<String>,
    },
    /// A step without targets, and no target with the workers' tag.
    NeedsServerWorker {
        /// The step.
        step: String,
        /// The type of its first action.
        uses: String,
    },
    /// Several values are equally specific.
    Tie(Tie),
    /// An option names a target that does not exist or does not take part.
    UnknownTarget {
        /// What was asked for.
        target: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
        /// Where there is a target of that name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        elsewhere: Vec<String>,
    },
    /// An option names a step that does not exist.
    UnknownStep {
        /// The project.
        project: String,
        /// The release's version.
        version: String,
        /// What was asked for.
        step: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
        /// The steps that there are.
        #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
        steps: Box<[String]>,
    },
    /// A step is to be left out that is required.
    RequiredStep {
        /// The step.
        step: String,
    },
    /// Of what was chosen no step has anything to do.
    NothingToDo {
        /// The project.
        project: String,
        /// The release's version.
        version: String,
        /// The environment.
        environment: String,
    },
    /// The release does not hold a package that an action uses.
    PackageNotInRelease {
        /// The action.
        action: String,
        /// The package.
        package: String,
    },
    /// No channel of the project has this name.
    UnknownChannel {
        /// The project.
        project: String,
        /// What was asked for.
        channel: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// The project does not use this package.
    UnknownPackage {
        /// The project.
        project: String,
        /// What was asked for.
        package: String,
        /// The nearest id that it does use.
        suggestion: Option<String>,
    },
    /// Nothing was ever pushed under a package's id.
    PackageMissing {
        /// The package.
        package: String,
    },
    /// A package has no such version.
    PackageVersionMissing {
        /// The package.
        package: String,
        /// What was asked for.
        version: String,
        /// The newest that exists.
        newest: String,
    },
    /// No pushed version satisfies the channel.
    NoPackageForChannel {
        /// The package.
        package: String,
        /// The channel.
        channel: String,
        /// The channel's rules for it, for people.
        rule: String,
        /// The newest that exists.
        newest: String,
    },
    /// A version that was asked for breaks a rule of the channel.
    ChannelRuleBroken {
        /// The package.
        package: String,
        /// The version.
        version: String,
        /// The channel.
        channel: String,
        /// The rule, for people.
        rule: String,
    },
    /// The project has a release of this version already.
    VersionExists {
        /// The project.
        project: String,
        /// The version that exists.
        version: String,
    },
    /// A text is no version.
    BadVersion {
        /// The project whose release it is for.
        project: String,
        /// The package that it is a version of; none for the release's own.
        package: Option<String>,
        /// Where it stands.
        place: String,
        /// What is wrong, with the text.
        why: String,
    },
    /// A channel's rule cannot be read.
    BadRule {
        /// The channel.
        channel: String,
        /// What is wrong.
        why: String,
    },
    /// A template cannot be evaluated.
    BadTemplate {
        /// Where it stands.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A secret that a variable names does not exist.
    UnknownSecret {
        /// Its path.
        path: String,
        /// The variable or action that names it.
        place: String,
        /// The nearest path that exists.
        suggestion: Option<String>,
    },
    /// A variable set that a project includes does not exist.
    UnknownVariableSet {
        /// The project.
        project: String,
        /// The set.
        set: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// Neither the project, nor its sets, nor the server has this variable.
    UnknownVariable {
        /// The project.
        project: String,
        /// What was asked for.
        variable: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// A deployment asks for values that were not given.
    PromptsUnanswered {
        /// The first variable's name, for what to type.
        first: String,
        /// The variables, with their labels.
        variables: Vec<String>,
    },
    /// A value was given that the prompt does not take.
    BadAnswer {
        /// The variable, with its label.
        variable: String,
        /// What is wrong; never the value.
        why: String,
    },
    /// A value was given for what the deployment does not ask.
    NotPrompted {
        /// What was given.
        variable: String,
        /// There is such a variable, whose value the release holds.
        fixed: bool,
        /// The nearest that is asked for.
        suggestion: Option<String>,
    },
    /// The times between which a deployment may start cannot be meant.
    BadSchedule {
        /// What is wrong.
        detail: String,
    },
    /// Somebody cannot answer what a deployment asks.
    CannotAnswer(CannotAnswer),
    /// The actor may not do this.
    Forbidden {
        /// Who.
        actor: String,
        /// What, in words.
        what: String,
    },
}

/// A release as people name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRelease {
    /// The project.
    pub project: String,
    /// Its version.
    pub version: String,
}

/// What would let a target of the environment take part where none can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// This one only has to be enabled.
    Enable(String),
    /// This one only has to come out of maintenance.
    EndMaintenance(String),
    /// This one is left out while it is away.
    Connect(String),
    /// This one is left out while it is unhealthy.
    Cure(String),
    /// This one is expected: an agent has to join under its name.
    Join(String),
    /// This one takes part but has not the tag.
    Tag(String),
}

/// What a target is in a deployment for: whether the deployment can do without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Steps are about it, and about others that are there.
    #[default]
    OneOfSeveral,
    /// Steps are about it, and about nothing else that is there.
    Alone,
    /// It runs actions for others, by `run_on`, or steps without targets.
    ForOthers,
}

impl Refusal {
    /// What, where and why.
    pub fn message(&self) -> String {
        sentences::message(self)
    }

    /// What to type next, if there is something.
    pub fn next(&self) -> Option<String> {
        sentences::next(self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match self.next() {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// `a`, `a and b`, `a, b and c`; at most five are named.
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    if names.len() > SHOWN {
        let first: Vec<String> = names.iter().take(SHOWN).cloned().collect();
        return format!("{} and {} more", first.join(", "), names.len() - SHOWN);
    }
    match names {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// About which targets something holds, at the end of a sentence; empty for none.
pub(crate) fn about(targets: &[String]) -> String {
    match targets {
        [] => String::new(),
        [one] => format!(" for {one}"),
        several => format!(" for {} targets ({})", several.len(), listed(several)),
    }
}

/// The name that somebody who typed `wrong` may have meant.
pub fn nearest<'a, I>(wrong: &str, names: I) -> Option<String>
where
    I: IntoIterator<Item = &'a str>,
{
    // Beyond a third of its letters a word is another word.
    const LEAST_SIMILAR: f64 = 0.6;
    let lower = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&lower, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(similarity, _)| *similarity >= LEAST_SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        for (wrong, expected) in [
            ("prodction", Some("production")),
            ("Production", Some("production")),
            ("tset", Some("test")),
            ("testt", Some("test")),
            ("banana", None),
        ] {
            let found = nearest(wrong, ["test", "production"]);
            assert_eq!(found.as_deref(), expected, "{wrong}");
        }
    }

    #[test]
    fn lists_read_as_sentences() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|n| format!("w{n}")).collect() };
        assert_eq!(listed(&names(0)), "none");
        assert_eq!(listed(&names(1)), "w0");
        assert_eq!(listed(&names(3)), "w0, w1 and w2");
        assert_eq!(listed(&names(9)), "w0, w1, w2, w3, w4 and 4 more");
    }

    #[test]
    fn a_phase_that_is_not_reached_says_what_to_do_first() {
        let refusal = Refusal::PhaseNotReached {
            release: Box::new(NamedRelease {
                project: "shop".to_owned(),
                version: "1.2".to_owned(),
            }),
            environment: "live".to_owned(),
            lifecycle: "standard".to_owned(),
            phase: "Test".to_owned(),
            missing: vec!["test-a".to_owned(), "test-b".to_owned()],
            needed: 1,
        };
        assert_eq!(
            refusal.to_string(),
            "shop 1.2 may not go to 'live' yet: phase 'Test' of lifecycle 'standard' comes first and still needs a successful deployment to 1 of test-a and test-b; deploy it to 'test-a' first: mantle deploy shop 1.2 -e test-a"
        );
        let json = serde_json::to_value(&refusal).unwrap();
        assert_eq!(json["code"], "phase_not_reached");
        assert_eq!(serde_json::from_value::<Refusal>(json).unwrap(), refusal);
    }
}
