//! The sentences themselves.

use super::remedied::{looked_at, remedied};
use super::{NamedRelease, Part, Refusal, about, listed};
use crate::action::{self, Support};
use crate::plan::basis::PlanKind;
use crate::process::WORKER_TAG;

/// `; did you mean 'x'` belongs to what to do next, so both are made here.
fn meant(suggestion: Option<&String>, otherwise: &str) -> String {
    match suggestion {
        Some(name) => format!("did you mean '{name}'?"),
        None => otherwise.to_owned(),
    }
}

pub(super) fn message(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownEnvironment { environment, .. } => {
            format!("there is no environment '{environment}'")
        }
        Refusal::UnknownProject { project, .. } => format!("there is no project '{project}'"),
        Refusal::UnknownRelease {
            project, version, ..
        } => {
            format!("project '{project}' has no release {version}")
        }
        Refusal::NotInLifecycle {
            environment,
            lifecycle,
            environments,
        } => format!(
            "environment '{environment}' is not part of lifecycle '{lifecycle}', which goes through {}",
            listed(environments)
        ),
        Refusal::PhaseNotReached {
            release,
            environment,
            lifecycle,
            phase,
            missing,
            needed,
        } => format!(
            "{} {} may not go to '{environment}' yet: phase '{phase}' of lifecycle '{lifecycle}' comes first and still needs a successful deployment to {}",
            release.project,
            release.version,
            if *needed < missing.len() {
                format!("{needed} of {}", listed(missing))
            } else {
                listed(missing)
            }
        ),
        Refusal::ReleaseBlocked {
            project,
            version,
            environment,
            reason,
            by,
        } => format!(
            "{project} {version} is blocked and may not enter '{environment}': {reason} ({by})"
        ),
        Refusal::NoSuchVariable {
            project, variable, ..
        } => format!("neither the release nor project '{project}' has a variable '{variable}'"),
        Refusal::NoSuchSnapshot {
            project,
            version,
            number: 0,
            ..
        } => format!(
            "the variables of {project} {version} were never refreshed: there is nothing to go back to"
        ),
        Refusal::NoSuchSnapshot {
            project,
            version,
            number,
            known,
        } => format!(
            "{project} {version} has no variable snapshot {number} to go back to; it has had {known}"
        ),
        Refusal::ChannelAmbiguous { project, channels } => format!(
            "the packages satisfy the rules of several channels of project '{project}': {}",
            listed(channels)
        ),
        Refusal::PlanChanged { plan, changes, .. } => {
            format!("plan {plan} does not hold any more: {}", changes.join("; "))
        }
        Refusal::BadField { why } => why.clone(),
        Refusal::TooMuchWork { action, .. } => format!(
            "to evaluate the inputs of action '{action}' takes more work than a deployment may: its variables refer to one another again and again, or are very large"
        ),
        Refusal::Unjudgeable {
            place,
            template,
            why,
            targets,
            ..
        } => {
            let on = about(targets);
            format!("the condition of {place}, '{template}', cannot be judged{on}: {why}")
        }
        Refusal::BadComment { most } => {
            format!("the comment is longer than {most} characters")
        }
        Refusal::BadSchedule { detail } => format!("the deployment cannot be scheduled: {detail}"),
        Refusal::NoTargetInEnvironment { environment, .. } => {
            format!(
                "environment '{environment}' has no target to work on: none that is enabled and has joined"
            )
        }
        Refusal::NoTargetForStep {
            step,
            tag,
            environment,
            reasons,
            ..
        } => {
            let mut text = format!(
                "step '{step}' is about targets with tag '{tag}', and environment '{environment}' has none to work on"
            );
            if !reasons.is_empty() {
                text = format!("{text} ({})", reasons.join("; "));
            }
            text
        }
        Refusal::UnknownTag { place, tag, .. } => {
            format!("{place} names tag '{tag}', which no target has")
        }
        Refusal::NoExecutor {
            action,
            tag,
            environment,
            ..
        } => format!(
            "action '{action}' runs on targets with tag '{tag}', and environment '{environment}' has none to run it"
        ),
        Refusal::NotJoined { target } => {
            format!("target '{target}' is expected but no agent has joined under that name")
        }
        Refusal::TargetDisabled { target } => {
            format!("target '{target}' is chosen and disabled: nothing is deployed to it")
        }
        Refusal::TargetInMaintenance { target, reason } => {
            format!(
                "target '{target}' is chosen and in maintenance ({reason}): nothing is deployed to it"
            )
        }
        Refusal::TargetUnhealthy { target, why } => {
            format!("target '{target}' is unhealthy: {why}")
        }
        Refusal::AgentOffline { target, .. } => {
            format!("target '{target}' is offline: its agent is not connected")
        }
        Refusal::ActionUnsupported {
            action,
            uses,
            targets,
            agent_version,
        } => format!(
            "action '{action}' is of type '{uses}', which the agent of {} (version {agent_version}) cannot run",
            listed(targets)
        ),
        Refusal::ArchiveNotInRelease { action, package } => format!(
            "action '{action}' needs the archive of '{package}', and the release does not name how to bring it"
        ),
        Refusal::InputUnsupported {
            action,
            input,
            targets,
            agent_version,
            ..
        } => format!(
            "action '{action}' has the input '{input}', which the agent of {} (version {agent_version}) does not know",
            listed(targets)
        ),
        Refusal::ShellMissing {
            action,
            shell,
            targets,
        } => format!(
            "action '{action}' runs {shell}, which is not on {}",
            listed(targets)
        ),
        Refusal::PackageForLinux {
            action,
            package,
            version,
            targets,
        } => format!(
            "action '{action}' would unpack package '{package}' {version} on Windows ({}), but it was pushed for Linux: it may hold names that Windows refuses or mixes up",
            listed(targets)
        ),
        Refusal::NeedsServerWorker { step, uses } => format!(
            "step '{step}' ('{uses}') has no targets, so a worker runs it once, and no target that takes part has the tag '{WORKER_TAG}'"
        ),
        Refusal::Tie(tie) => tie.to_string(),
        Refusal::UnknownTarget {
            target, elsewhere, ..
        } if !elsewhere.is_empty() => {
            let elsewhere = listed(elsewhere);
            format!("target '{target}' is not in this environment: it is in {elsewhere}")
        }
        Refusal::UnknownTarget { target, .. } => {
            format!("there is no target '{target}' that takes part")
        }
        Refusal::UnknownStep { step, .. } => format!("the release has no step '{step}'"),
        Refusal::RequiredStep { step, .. } => {
            format!("step '{step}' is required, so that no deployment may leave it out")
        }
        Refusal::NothingToDo { environment, .. } => {
            format!(
                "with the targets and steps that were chosen there is nothing to do in {environment}"
            )
        }
        Refusal::PackageNotInRelease { action, package } => {
            format!("action '{action}' uses package '{package}', which the release does not hold")
        }
        Refusal::UnknownChannel {
            project, channel, ..
        } => {
            format!("project '{project}' has no channel '{channel}'")
        }
        Refusal::UnknownPackage {
            project, package, ..
        } => {
            format!("project '{project}' does not use a package '{package}'")
        }
        Refusal::PackageMissing { package } => {
            format!("no version of package '{package}' has been pushed")
        }
        Refusal::PackageVersionMissing {
            package,
            version,
            newest,
        } => format!("package '{package}' has no version {version}; the newest pushed is {newest}"),
        Refusal::NoPackageForChannel {
            package,
            channel,
            rule,
            newest,
            ..
        } => format!(
            "no pushed version of package '{package}' satisfies channel '{channel}' ({rule}); the newest pushed is {newest}"
        ),
        Refusal::ChannelRuleBroken {
            package,
            version,
            channel,
            rule,
            ..
        } => format!("package '{package}' {version} breaks a rule of channel '{channel}' ({rule})"),
        Refusal::VersionExists { project, version } => {
            format!(
                "project '{project}' already has release {version}, and a release never changes"
            )
        }
        Refusal::BadVersion { place, why, .. } => format!("{place}: {why}"),
        Refusal::BadRule { channel, why } => {
            format!("a rule of channel '{channel}' cannot be used: {why}")
        }
        Refusal::BadTemplate { place, why } => {
            format!("the template of {place} cannot be evaluated: {why}")
        }
        Refusal::UnknownSecret { path, place, .. } => {
            format!("{place} names the secret '{path}', which does not exist")
        }
        Refusal::UnknownVariableSet { project, set, .. } => {
            format!("project '{project}' includes the variable set '{set}', which does not exist")
        }
        Refusal::UnknownVariable {
            project, variable, ..
        } => {
            format!("project '{project}' has no variable '{variable}'")
        }
        Refusal::PromptsUnanswered { variables, .. } => {
            format!(
                "this deployment asks for {}, which no value was given for",
                listed(variables)
            )
        }
        Refusal::BadAnswer { variable, why } => {
            format!("the value given for variable '{variable}' cannot be taken: {why}")
        }
        Refusal::NotPrompted {
            variable,
            fixed: true,
            ..
        } => {
            format!(
                "this deployment does not ask for variable '{variable}': its value is the release's"
            )
        }
        Refusal::NotPrompted { variable, .. } => {
            format!("this deployment does not ask for a variable '{variable}'")
        }
        Refusal::CannotAnswer(why) => why.message(),
        Refusal::Forbidden { actor, what } => format!("'{actor}' may not {what}"),
    }
}

pub(super) fn next(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::UnknownEnvironment { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "declare it under 'environments:' and run 'mantle apply'",
        )),
        Refusal::UnknownProject { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "'mantle apply -f FILE' creates it",
        )),
        Refusal::UnknownRelease {
            project,
            suggestion,
            ..
        } => Some(meant(
            suggestion.as_ref(),
            &format!("'mantle release list {project}' shows those that exist"),
        )),
        Refusal::NotInLifecycle {
            lifecycle,
            environment,
            ..
        } => Some(format!(
            "add '{environment}' to a phase of '{lifecycle}' and run 'mantle apply', or deploy elsewhere"
        )),
        Refusal::PhaseNotReached {
            release, missing, ..
        } => missing.first().map(|environment| {
            let NamedRelease { project, version } = release.as_ref();
            format!(
                "deploy it to '{environment}' first: mantle deploy {project} {version} -e {environment}"
            )
        }),
        Refusal::ReleaseBlocked {
            project, version, ..
        } => Some(format!(
            "deploy another release, or lift the block: mantle release unblock {project} {version} --reason WHY"
        )),
        Refusal::NoSuchVariable { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "declare it under 'variables:' and run 'mantle apply'",
        )),
        Refusal::NoSuchSnapshot {
            project, version, ..
        } => Some(format!(
            "'mantle release show {project} {version}' lists them"
        )),
        Refusal::ChannelAmbiguous { project, channels } => channels.first().map(|channel| {
            format!("name one, such as: mantle release create {project} --channel {channel}")
        }),
        Refusal::PlanChanged {
            release,
            environment,
            kind,
            ..
        } => {
            let NamedRelease { project, version } = release.as_ref();
            Some(match kind {
                PlanKind::Deployment => format!(
                    "look at it again, then deploy with its new id: mantle plan {project} {version} -e {environment}"
                ),
                PlanKind::Rollback => format!(
                    "look at it again, then go back with its new id: mantle rollback {project} -e {environment} --to {version} --dry-run"
                ),
            })
        }
        Refusal::BadSchedule { .. } => Some(
            "give a start within 30 days with --at, such as --at 22:00 or --at 'in 2h', and an end after it with --expires; without --at it starts at once"
                .to_owned(),
        ),
        Refusal::BadField { .. } => {
            Some("give at most 10, such as --field ticket:OPS-12".to_owned())
        }
        Refusal::TooMuchWork { project, .. } => Some(format!(
            "look at how they refer to one another: mantle variable list -p {project}"
        )),
        Refusal::Unjudgeable { release, .. } => Some(format!(
            "correct the condition and create a new release, or define what it lacks in the project's file, run 'mantle apply' and then: mantle release refresh-variables {} {}",
            release.project, release.version
        )),
        Refusal::BadComment { .. } => {
            Some("say it in fewer words, or in a place that a --field names".to_owned())
        }
        Refusal::NoTargetInEnvironment {
            environment,
            remedy,
        } => Some(remedied(remedy.as_deref(), None, environment)),
        Refusal::NoTargetForStep {
            tag,
            environment,
            remedy,
            ..
        }
        | Refusal::NoExecutor {
            tag,
            environment,
            remedy,
            ..
        } => Some(remedied(remedy.as_deref(), Some(tag), environment)),
        Refusal::UnknownTag {
            suggestion: Some(suggestion),
            ..
        } => Some(format!(
            "did you mean '{suggestion}'? correct it in the project's file, run 'mantle apply' and create a new release"
        )),
        Refusal::UnknownTag {
            suggestion: None,
            tag,
            target,
            ..
        } => Some(match target {
            Some(target) => {
                format!("tag a target, such as '{target}': mantle target tag {target} {tag}")
            }
            None => format!("let a target join with it: mantle agent token create --tag {tag}"),
        }),
        Refusal::NotJoined { target } => Some(format!(
            "run 'tentacle join' on it with --name {target}, or leave it out with --exclude {target}, or for good: mantle target disable {target}"
        )),
        Refusal::TargetDisabled { target } => Some(format!(
            "let it take part: mantle target enable {target}; or leave it out with --exclude {target}"
        )),
        Refusal::TargetInMaintenance { target, .. } => Some(format!(
            "end it: mantle target maintenance {target} off; or leave it out with --exclude {target}"
        )),
        Refusal::TargetUnhealthy { target, .. } => Some(format!(
            "look at it with 'mantle target show {target}'; once it is cured, check it with 'mantle target check {target}'; or deploy with --unhealthy skip or --unhealthy deploy"
        )),
        Refusal::AgentOffline { target, part } => {
            let look = looked_at(target);
            Some(match part {
                Part::OneOfSeveral => {
                    format!("{look}; or deploy without what is away: --unavailable skip")
                }
                Part::Alone => format!("{look}; nothing else that is connected is deployed to"),
                Part::ForOthers => format!("{look}; others need it, so that it is never left out"),
            })
        }
        Refusal::ActionUnsupported { uses, .. } => Some(
            match action::find(uses).map(|known| known.support) {
                Some(Support::NameOnly) => format!(
                    "no agent of this version can run '{uses}': exclude the action with 'when:' and create a new release"
                ),
                Some(Support::Checked | Support::Person) | None => {
                    "upgrade the agent, or exclude the action with 'when:' and create a new release"
                        .to_owned()
                }
            },
        ),
        Refusal::ArchiveNotInRelease { .. } => {
            Some("create a new release with the same version of the package".to_owned())
        }
        Refusal::InputUnsupported { .. } => Some(
            "upgrade the agent, or exclude the action with 'when:' and create a new release"
                .to_owned(),
        ),
        Refusal::ShellMissing { shell, .. } => Some(format!(
            "install {shell} there and start the agent again, which looks at its start ('tentacle doctor' shows what it finds); or name another under 'shell' and create a new release"
        )),
        Refusal::PackageForLinux { .. } => Some(
            "keep the action to Linux with 'when: { platform: linux }', or push a version without --platform, then create a new release"
                .to_owned(),
        ),
        Refusal::NeedsServerWorker { .. } => Some(format!(
            "start the server with 'mantle server run --worker', or give a machine that 'mantle target list' shows the tag '{WORKER_TAG}'"
        )),
        Refusal::Tie(_) => Some(
            "give one of them a further scope, run 'mantle apply' and create a new release"
                .to_owned(),
        ),
        Refusal::UnknownTarget {
            target, elsewhere, ..
        } if !elsewhere.is_empty() => Some(format!(
            "'mantle target show {target}' shows it; deploy where it is, or leave it out"
        )),
        Refusal::UnknownTarget { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "'mantle target list' shows those that exist",
        )),
        Refusal::UnknownStep {
            project,
            version,
            suggestion,
            steps,
            ..
        } => Some(match &**steps {
            [] => meant(
                suggestion.as_ref(),
                &format!("'mantle release show {project} {version}' lists its steps"),
            ),
            steps => meant(
                suggestion.as_ref(),
                &format!("its steps are {}", listed(steps)),
            ),
        }),
        Refusal::RequiredStep { .. } => Some(
            "deploy with it, or take 'required' from it in the project's file (from a manual action 'teams', 'four_eyes' and 'approvals' too), run 'mantle apply' and create a new release"
                .to_owned(),
        ),
        Refusal::NothingToDo {
            project,
            version,
            environment,
        } => Some(format!(
            "'mantle plan {project} {version} -e {environment}' shows which step is about which targets"
        )),
        Refusal::PackageNotInRelease { package, .. } => Some(format!(
            "add '{package}' to the project's 'packages:', run 'mantle apply' and create a new release"
        )),
        Refusal::UnknownChannel { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "declare it under 'channels:' and run 'mantle apply'",
        )),
        Refusal::UnknownPackage { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "add it to the project's 'packages:' and run 'mantle apply'",
        )),
        Refusal::PackageMissing { package } => {
            Some(format!("push one: mantle package push {package}.1.0.0.zip"))
        }
        Refusal::PackageVersionMissing {
            package, version, ..
        } => Some(format!(
            "push it: mantle package push {package}.{version}.zip"
        )),
        Refusal::NoPackageForChannel { package, .. } => Some(format!(
            "push one that does, or choose another channel with --channel; 'mantle package versions {package}' shows what there is"
        )),
        Refusal::ChannelRuleBroken { package, .. } => Some(format!(
            "choose another version with --package ('mantle package versions {package}' shows them), or another channel with --channel"
        )),
        Refusal::VersionExists { project, .. } => Some(format!(
            "give the new one a version of its own: mantle release create {project} VERSION"
        )),
        Refusal::BadVersion {
            project,
            package: None,
            ..
        } => Some(format!(
            "give one yourself, such as 1.2.3: mantle release create {project} 1.2.3"
        )),
        Refusal::BadVersion {
            package: Some(package),
            ..
        } => Some(format!(
            "'mantle package versions {package}' shows those that there are"
        )),
        Refusal::BadRule { .. } => {
            Some("correct it in the project's file and run 'mantle apply'".to_owned())
        }
        Refusal::BadTemplate { .. } => Some(
            "correct what --notes or --notes-file says, or write '##{' where '#{' is no template"
                .to_owned(),
        ),
        Refusal::UnknownSecret {
            path, suggestion, ..
        } => Some(meant(
            suggestion.as_ref(),
            &format!("set it: mantle secret set {path}"),
        )),
        Refusal::UnknownVariableSet { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "declare it with 'variable_set:' in a file and run 'mantle apply'",
        )),
        Refusal::UnknownVariable {
            project,
            suggestion,
            ..
        } => Some(meant(
            suggestion.as_ref(),
            &format!("'mantle variable list -p {project}' shows those that exist"),
        )),
        Refusal::PromptsUnanswered { first, .. } => {
            Some(format!("give it: --variable '{first}=VALUE'"))
        }
        Refusal::BadAnswer { .. } => Some("give another: --variable NAME=VALUE".to_owned()),
        Refusal::NotPrompted {
            fixed: true,
            suggestion: None,
            ..
        } => {
            Some("change it in the project, run 'mantle apply' and create a new release".to_owned())
        }
        Refusal::NotPrompted { suggestion, .. } => Some(meant(
            suggestion.as_ref(),
            "leave it out; a plan lists what is asked for",
        )),
        Refusal::CannotAnswer(why) => Some(why.next()),
        Refusal::Forbidden { .. } => Some("ask an administrator for a key that may".to_owned()),
    }
}
