//! Every refusal of the rules, read aloud: it names what it is about, and says what to type next in
//! commands that exist, with the names filled in that are known.

use std::collections::BTreeSet;

use mantle_domain::action::{Support, TYPES};
use mantle_domain::explain::{NamedRelease, Part, Refusal, Remedy};
use mantle_domain::interruption::CannotAnswer;
use mantle_domain::plan::basis::PlanKind;
use mantle_domain::variable::Tie;

use crate::document::commands;

fn text(text: &str) -> String {
    text.to_owned()
}

/// One of each. A new one does not compile in [`name`] before it is here.
fn samples() -> Vec<Refusal> {
    let (project, version, environment) = (|| text("shop"), || text("1.2"), || text("live"));
    let (step, action, tag, target) = (
        || text("Servers"),
        || text("Install"),
        || text("web"),
        || text("web01"),
    );
    let (package, channel, place) = (
        || text("Shop.Web"),
        || text("stable"),
        || text("step 'Servers'"),
    );
    let mut all = vec![
        Refusal::UnknownEnvironment {
            environment: environment(),
            suggestion: None,
        },
        Refusal::UnknownProject {
            project: project(),
            suggestion: None,
        },
        Refusal::UnknownRelease {
            project: project(),
            version: version(),
            suggestion: None,
        },
        Refusal::NotInLifecycle {
            environment: environment(),
            lifecycle: text("standard"),
            environments: vec![text("test")],
        },
        Refusal::PhaseNotReached {
            release: Box::new(NamedRelease {
                project: project(),
                version: version(),
            }),
            environment: environment(),
            lifecycle: text("standard"),
            phase: text("Test"),
            missing: vec![text("test")],
            needed: 1,
        },
        Refusal::ReleaseBlocked {
            project: project(),
            version: version(),
            environment: environment(),
            reason: text("loses orders"),
            by: text("ada"),
        },
        Refusal::NoSuchVariable {
            project: project(),
            variable: text("Port"),
            suggestion: None,
        },
        Refusal::NoSuchSnapshot {
            project: project(),
            version: version(),
            number: 9,
            known: 2,
        },
        Refusal::ChannelAmbiguous {
            project: project(),
            channels: vec![channel(), text("hotfix")],
        },
        Refusal::PlanChanged {
            plan: text("plan-4c0f2f0d9a1be07c55d1"),
            release: Box::new(NamedRelease {
                project: project(),
                version: version(),
            }),
            environment: environment(),
            kind: PlanKind::Deployment,
            changes: vec![text("target 'web02' takes part now")],
        },
        Refusal::BadSchedule {
            detail: text("it expires at 2026-11-26T12:00:00Z, which is over"),
        },
        Refusal::BadField {
            why: text("a field of a release needs a name"),
        },
        Refusal::BadComment { most: 2000 },
        Refusal::TooMuchWork {
            project: "shop".to_owned(),
            action: "Install".to_owned(),
        },
        Refusal::Unjudgeable {
            release: Box::new(NamedRelease {
                project: project(),
                version: version(),
            }),
            place: place(),
            template: text("#{Go}"),
            why: text("line 1, column 1: '#{Go}' has no value"),
            targets: Vec::new(),
        },
        Refusal::UnknownTag {
            place: place(),
            tag: tag(),
            suggestion: None,
            target: Some(target()),
        },
        Refusal::UnknownTag {
            place: place(),
            tag: tag(),
            suggestion: None,
            target: None,
        },
        Refusal::UnknownTag {
            place: place(),
            tag: tag(),
            suggestion: Some(text("webs")),
            target: None,
        },
        Refusal::NotJoined { target: target() },
        Refusal::TargetDisabled { target: target() },
        Refusal::TargetInMaintenance {
            target: target(),
            reason: "new disks".to_owned(),
        },
        Refusal::AgentOffline {
            target: target(),
            part: Part::OneOfSeveral,
        },
        Refusal::AgentOffline {
            target: target(),
            part: Part::Alone,
        },
        Refusal::AgentOffline {
            target: target(),
            part: Part::ForOthers,
        },
        Refusal::TargetUnhealthy {
            target: target(),
            why: text("disk: / is full"),
        },
        Refusal::NeedsServerWorker {
            step: step(),
            uses: text("deploy.release"),
        },
        Refusal::Tie(Tie {
            variable: text("Port"),
            first: text("tag a"),
            second: text("tag b"),
            situation: text("target web01"),
        }),
        Refusal::UnknownTarget {
            target: target(),
            suggestion: None,
            elsewhere: vec![text("test")],
        },
        Refusal::UnknownStep {
            project: project(),
            version: version(),
            step: step(),
            suggestion: None,
            steps: vec![step()].into(),
        },
        Refusal::RequiredStep { step: step() },
        Refusal::NothingToDo {
            project: project(),
            version: version(),
            environment: environment(),
        },
        Refusal::PackageNotInRelease {
            action: action(),
            package: package(),
        },
        Refusal::UnknownChannel {
            project: project(),
            channel: channel(),
            suggestion: None,
        },
        Refusal::UnknownPackage {
            project: project(),
            package: package(),
            suggestion: None,
        },
        Refusal::PackageMissing { package: package() },
        Refusal::PackageVersionMissing {
            package: package(),
            version: version(),
            newest: text("1.1"),
        },
        Refusal::NoPackageForChannel {
            package: package(),
            channel: channel(),
            rule: text("range [1.0,2.0)"),
            newest: text("2.1"),
        },
        Refusal::ChannelRuleBroken {
            package: package(),
            version: version(),
            channel: channel(),
            rule: text("range [2.0,)"),
        },
        Refusal::VersionExists {
            project: project(),
            version: version(),
        },
        Refusal::BadVersion {
            project: project(),
            package: None,
            place: text("the release's version"),
            why: text("'x' is no version"),
        },
        Refusal::BadVersion {
            project: project(),
            package: Some(package()),
            place: text("package 'Shop.Web'"),
            why: text("'x' is no version"),
        },
        Refusal::BadRule {
            channel: channel(),
            why: text("'[1' is no range"),
        },
        Refusal::BadTemplate {
            place: place(),
            why: text("'#{' is not closed"),
        },
        Refusal::UnknownSecret {
            path: text("shop/password"),
            place: text("variable 'Password'"),
            suggestion: None,
        },
        Refusal::UnknownVariableSet {
            project: project(),
            set: text("mail"),
            suggestion: None,
        },
        Refusal::UnknownVariable {
            project: project(),
            variable: text("Port"),
            suggestion: None,
        },
        Refusal::PromptsUnanswered {
            first: text("Ticket"),
            variables: vec![text("Ticket (Change ticket)")],
        },
        Refusal::BadAnswer {
            variable: text("Mode"),
            why: text("it is none of fast, slow"),
        },
        Refusal::NotPrompted {
            variable: text("Port"),
            fixed: true,
            suggestion: None,
        },
        Refusal::NotPrompted {
            variable: text("Prot"),
            fixed: false,
            suggestion: None,
        },
        Refusal::Forbidden {
            actor: text("ada"),
            what: text("deploy"),
        },
    ];
    let remedies = [
        None,
        Some(Box::new(Remedy::Enable(target()))),
        Some(Box::new(Remedy::Connect(target()))),
        Some(Box::new(Remedy::Cure(target()))),
        Some(Box::new(Remedy::Join(target()))),
        Some(Box::new(Remedy::Tag(target()))),
    ];
    for remedy in remedies {
        all.push(Refusal::NoTargetInEnvironment {
            environment: environment(),
            remedy: remedy.clone(),
        });
        all.push(Refusal::NoTargetForStep {
            step: step(),
            tag: tag(),
            environment: environment(),
            reasons: Vec::new(),
            remedy: remedy.clone(),
        });
        all.push(Refusal::NoExecutor {
            action: action(),
            tag: tag(),
            environment: environment(),
            remedy,
        });
    }
    for known in TYPES.iter().filter(|known| !known.on_server) {
        assert!(matches!(
            known.support,
            Support::Checked | Support::NameOnly
        ));
        all.push(Refusal::ActionUnsupported {
            action: action(),
            uses: known.name.to_owned(),
            targets: vec![target()],
            agent_version: text("0.1.0"),
        });
    }
    all.extend(cannot_answer().into_iter().map(Refusal::CannotAnswer));
    all.push(Refusal::ArchiveNotInRelease {
        action: action(),
        package: text("Web"),
    });
    all.push(Refusal::InputUnsupported {
        action: action(),
        input: text("scripts"),
        targets: vec![target()],
        agent_version: text("0.1.0"),
    });
    all.push(Refusal::ShellMissing {
        action: action(),
        shell: text("bash"),
        targets: vec![target()],
    });
    all.push(Refusal::PackageForLinux {
        action: action(),
        package: text("Shop.Web"),
        version: text("1.0.0"),
        targets: vec![target()],
    });
    all
}

/// Every reason why an answer is not taken.
fn cannot_answer() -> Vec<CannotAnswer> {
    let interruption = || text("T-12.1");
    let all = vec![
        CannotAnswer::NotInTeam {
            interruption: interruption(),
            actor: text("ann"),
            teams: vec![text("release-managers"), text("operators")],
        },
        CannotAnswer::AnswerNotOffered {
            interruption: interruption(),
            answer: text("proceed"),
            offered: vec![text("retry"), text("fail")],
        },
        CannotAnswer::NotesTooLong { most: 2000 },
        CannotAnswer::FourEyes {
            interruption: interruption(),
            actor: text("ann"),
        },
        CannotAnswer::AnsweredBefore {
            interruption: interruption(),
            actor: text("ann"),
            missing: 1,
        },
        CannotAnswer::TakenByAnother {
            interruption: interruption(),
            by: text("bob"),
        },
        CannotAnswer::Closed {
            interruption: interruption(),
            how: text("bob answered 'retry'"),
            task: text("T-12"),
        },
    ];
    // A new one is missing above until it stands here.
    for one in &all {
        match one {
            CannotAnswer::NotInTeam { .. }
            | CannotAnswer::AnswerNotOffered { .. }
            | CannotAnswer::NotesTooLong { .. }
            | CannotAnswer::FourEyes { .. }
            | CannotAnswer::AnsweredBefore { .. }
            | CannotAnswer::TakenByAnother { .. }
            | CannotAnswer::Closed { .. } => {}
        }
    }
    all
}

fn name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownEnvironment { .. } => "UnknownEnvironment",
        Refusal::UnknownProject { .. } => "UnknownProject",
        Refusal::UnknownRelease { .. } => "UnknownRelease",
        Refusal::NotInLifecycle { .. } => "NotInLifecycle",
        Refusal::PhaseNotReached { .. } => "PhaseNotReached",
        Refusal::ReleaseBlocked { .. } => "ReleaseBlocked",
        Refusal::NoSuchVariable { .. } => "NoSuchVariable",
        Refusal::NoSuchSnapshot { .. } => "NoSuchSnapshot",
        Refusal::ChannelAmbiguous { .. } => "ChannelAmbiguous",
        Refusal::PlanChanged { .. } => "PlanChanged",
        Refusal::BadField { .. } => "BadField",
        Refusal::BadComment { .. } => "BadComment",
        Refusal::BadSchedule { .. } => "BadSchedule",
        Refusal::TooMuchWork { .. } => "TooMuchWork",
        Refusal::Unjudgeable { .. } => "Unjudgeable",
        Refusal::NoTargetInEnvironment { .. } => "NoTargetInEnvironment",
        Refusal::NoTargetForStep { .. } => "NoTargetForStep",
        Refusal::UnknownTag { .. } => "UnknownTag",
        Refusal::NoExecutor { .. } => "NoExecutor",
        Refusal::NotJoined { .. } => "NotJoined",
        Refusal::TargetDisabled { .. } => "TargetDisabled",
        Refusal::TargetInMaintenance { .. } => "TargetInMaintenance",
        Refusal::AgentOffline { .. } => "AgentOffline",
        Refusal::TargetUnhealthy { .. } => "TargetUnhealthy",
        Refusal::ActionUnsupported { .. } => "ActionUnsupported",
        Refusal::ArchiveNotInRelease { .. } => "ArchiveNotInRelease",
        Refusal::InputUnsupported { .. } => "InputUnsupported",
        Refusal::ShellMissing { .. } => "ShellMissing",
        Refusal::PackageForLinux { .. } => "PackageForLinux",
        Refusal::NeedsServerWorker { .. } => "NeedsServerWorker",
        Refusal::Tie(_) => "Tie",
        Refusal::UnknownTarget { .. } => "UnknownTarget",
        Refusal::UnknownStep { .. } => "UnknownStep",
        Refusal::RequiredStep { .. } => "RequiredStep",
        Refusal::NothingToDo { .. } => "NothingToDo",
        Refusal::PackageNotInRelease { .. } => "PackageNotInRelease",
        Refusal::UnknownChannel { .. } => "UnknownChannel",
        Refusal::UnknownPackage { .. } => "UnknownPackage",
        Refusal::PackageMissing { .. } => "PackageMissing",
        Refusal::PackageVersionMissing { .. } => "PackageVersionMissing",
        Refusal::NoPackageForChannel { .. } => "NoPackageForChannel",
        Refusal::ChannelRuleBroken { .. } => "ChannelRuleBroken",
        Refusal::VersionExists { .. } => "VersionExists",
        Refusal::BadVersion { .. } => "BadVersion",
        Refusal::BadRule { .. } => "BadRule",
        Refusal::BadTemplate { .. } => "BadTemplate",
        Refusal::UnknownSecret { .. } => "UnknownSecret",
        Refusal::UnknownVariableSet { .. } => "UnknownVariableSet",
        Refusal::UnknownVariable { .. } => "UnknownVariable",
        Refusal::PromptsUnanswered { .. } => "PromptsUnanswered",
        Refusal::BadAnswer { .. } => "BadAnswer",
        Refusal::NotPrompted { .. } => "NotPrompted",
        Refusal::CannotAnswer(_) => "CannotAnswer",
        Refusal::Forbidden { .. } => "Forbidden",
    }
}
/// As many as [`name`] has arms.
const KINDS: usize = 54;

/// The command lines in a sentence: they end at punctuation or where prose goes on.
fn typed(sentence: &str) -> Vec<Vec<String>> {
    let starts = sentence.match_indices("mantle ").map(|(at, _)| at);
    starts
        .map(|at| {
            let rest = &sentence[at..];
            let end = rest.find(['\'', ';', ',', ')', '?']).unwrap_or(rest.len());
            commands(&rest[..end]).remove(0).words
        })
        .collect()
}

/// What only the reader can choose, so that a word stands for it.
const CHOICES: [&str; 3] = ["VERSION", "FILE", "WHY"];

#[test]
fn every_refusal_says_what_to_type_next() {
    let all = samples();
    let kinds: BTreeSet<&str> = all.iter().map(name).collect();
    assert_eq!(kinds.len(), KINDS, "{kinds:?}");
    for refusal in &all {
        let (message, next) = (refusal.message(), refusal.next());
        let next = next.unwrap_or_else(|| panic!("nothing to do next: {message}"));
        assert!(
            !message.ends_with('.') && !message.starts_with(char::is_uppercase),
            "{message}"
        );
        for words in typed(&next) {
            // 'mantle apply' is named, not typed out: its file is where the mistake was read.
            let whole = words != ["mantle", "apply"];
            let parsed = mantle::cli::command().try_get_matches_from(&words);
            assert!(parsed.is_ok() || !whole, "{message}: {words:?}: {parsed:?}");
            let left_open =
                |word: &&String| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
            for word in words.iter().filter(left_open) {
                assert!(
                    CHOICES.contains(&word.as_str()),
                    "{word} could be filled in: {next}"
                );
            }
        }
    }
}

#[test]
fn a_command_that_is_none_would_be_found() {
    let found = typed("deploy it first: mantle deploy shop 1.2 -e test; or 'mantle status'");
    assert_eq!(
        found,
        [
            vec!["mantle", "deploy", "shop", "1.2", "-e", "test"],
            vec!["mantle", "status"]
        ]
    );
    assert!(
        mantle::cli::command()
            .try_get_matches_from(["mantle", "deploi"])
            .is_err()
    );
}
