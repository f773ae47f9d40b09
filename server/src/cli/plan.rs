//! `mantle plan`.

use clap::Args;

use super::answers::{AboutArgs, AnswerArgs};
use super::choices::ChoiceArgs;
use super::deploy::WhatArgs;
use super::exit::{CliResult, Exit, Failure};
use super::live::harmless;
use super::output::{DIM, Output, names};
use crate::api::body::{
    DeploymentCreate, LeftOutTarget, PlanBody, PlanNode, PlanPrompt, PlanRollBack, PlanStep,
};
use crate::client::Client;

/// What to plan.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Show inputs of several lines whole, such as scripts
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    choices: ChoiceArgs,
    #[command(flatten)]
    answers: AnswerArgs,
    #[command(flatten)]
    about: AboutArgs,
}

/// Does it.
pub(super) async fn run(args: PlanArgs, client: &Client, out: Output) -> CliResult {
    let (comment, fields) = args.about.read()?;
    let request = DeploymentCreate {
        variables: args.answers.read()?,
        comment,
        fields,
        ..args.what.request(args.choices, client).await?
    };
    show(&client.plan(&request).await?, args.full, out)
}

/// Prints a plan.
pub(super) fn show(plan: &PlanBody, full: bool, out: Output) -> CliResult {
    for warning in &plan.warnings {
        out.warn(warning);
    }
    let shown = out.object(plan, |plan| lines(plan, full))?;
    match plan.refused.as_slice() {
        [] => Ok(shown),
        [only] => Err(Failure::new(Exit::Refused, only.clone())),
        refused => {
            let mut failure = Failure::new(Exit::Refused, "this would be refused");
            failure.reasons = refused.to_vec();
            Err(failure)
        }
    }
}

fn lines(plan: &PlanBody, full: bool) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} ({}) -> {} · {}",
        plan.project,
        plan.version,
        plan.channel,
        plan.environment,
        match plan.targets.len() {
            1 => "1 target".to_owned(),
            count => format!("{count} targets"),
        }
    )];
    for target in &plan.targets {
        lines.push(format!(
            "  {}  {}  {}",
            target.name,
            target.platform,
            names(&target.tags)
        ));
    }
    if let Some(from) = &plan.back_from {
        lines.push(format!("  goes back from {from}"));
    }
    if !plan.left_out.is_empty() {
        lines.push(format!("  left out: {}", left_out(&plan.left_out)));
    }
    if let Some(limit) = &plan.time_limit {
        lines.push(format!("  stopped if it has not ended after {limit}"));
    }
    if plan.guided_failure {
        lines.push("  a failure asks a person what becomes of it".to_owned());
    }
    lines.extend(plan.prompts.iter().map(prompt));
    for step in &plan.steps {
        lines.extend(step_lines(step, full));
    }
    if !plan.id.is_empty() {
        lines.push(format!("plan id: {}", plan.id));
    }
    lines
}

/// Who takes no part, and why.
pub(super) fn left_out(targets: &[LeftOutTarget]) -> String {
    let targets = targets.iter();
    let shown: Vec<String> = targets
        .map(|target| format!("{} ({})", target.name, target.why))
        .collect();
    shown.join(", ")
}

fn prompt(prompt: &PlanPrompt) -> String {
    let label = prompt.label.as_ref().map(|label| format!(" ({label})"));
    let options = match prompt.options.as_slice() {
        [] => String::new(),
        options => format!(": {}", names(options)),
    };
    let answer = match (&prompt.default, prompt.answered) {
        (_, true) => "answered".to_owned(),
        (Some(default), false) => format!("not answered, so '{default}'"),
        (None, false) => "not answered".to_owned(),
    };
    format!(
        "  asks for {}{}, {}{options}  {DIM}{answer}{DIM:#}",
        prompt.variable,
        label.unwrap_or_default(),
        prompt.control,
    )
}

/// What an action does about a target, and below it the inputs of several lines if they are to be shown whole.
fn node(node: &PlanNode, full: bool) -> (String, Vec<String>) {
    let on = if node.executor == node.target {
        String::new()
    } else {
        format!(" on {}", node.executor)
    };
    let mut with = Vec::new();
    let mut below = Vec::new();
    for (name, value) in &node.with {
        match value {
            serde_json::Value::String(text) if !text.contains('\n') => {
                with.push(format!("{name}={text}"));
            }
            serde_json::Value::String(text) if full => {
                below.push(format!("       {DIM}{name}:{DIM:#}"));
                below.extend(
                    text.lines()
                        .map(|line| format!("         {}", harmless(line))),
                );
            }
            serde_json::Value::String(text) => with.push(match text.lines().count() {
                1 => format!(
                    "{name}=({} characters, --full shows them)",
                    text.chars().count()
                ),
                lines => format!("{name}=({lines} lines, --full shows them)"),
            }),
            other => with.push(format!("{name}={other}")),
        }
    }
    let with = match with.as_slice() {
        [] => String::new(),
        with => format!("  {DIM}{}{DIM:#}", with.join(" ")),
    };
    (format!("     {}{on}{with}", node.target), below)
}

/// How a step goes through its targets.
fn how(step: &PlanStep) -> String {
    let mut how = Vec::new();
    if step.start.is_some() {
        how.push("with the step before".to_owned());
    }
    if step.required {
        how.push("required".to_owned());
    }
    if step.rolling {
        how.push("rolling".to_owned());
    }
    how.push(format!("{} at once", step.parallel));
    if step.max_failed > 0 {
        how.push(format!("{} may fail", step.max_failed));
    }
    match step.on_failure.as_deref() {
        Some("continue") => how.push("goes on after failures".to_owned()),
        Some("rollback") => how.push("rolls back if it fails".to_owned()),
        _ => {}
    }
    if step.pause_after_first {
        how.push("pauses after the first".to_owned());
    }
    if let Some(timeout) = &step.timeout {
        how.push(format!("stopped after {timeout}"));
    }
    how.join(", ")
}

/// What each target would be put back to, and what would stay as it is by then.
fn roll_back(back: &PlanRollBack) -> Vec<String> {
    let targets = back.targets.iter().map(|target| {
        let to = match &target.version {
            None => "nothing of the project runs there now".to_owned(),
            Some(version) if target.in_part => format!("to {version}, which had failed there"),
            Some(version) => format!("to {version}"),
        };
        format!("   {}  {to}", target.name)
    });
    let left = back.not_undone.iter().map(|left| {
        let on = match left.targets.as_slice() {
            [] => String::new(),
            targets => format!(" on {}", names(targets)),
        };
        format!("   not undone: {}{on}: {}", left.action, left.why)
    });
    targets.chain(left).collect()
}

fn step_lines(step: &PlanStep, full: bool) -> Vec<String> {
    if let Some(why) = &step.skipped {
        let mut lines = vec![format!(
            "{DIM}{}. {}  skipped: {why}{DIM:#}",
            step.number, step.name
        )];
        lines.extend(step.rolls_back.iter().flat_map(roll_back));
        return lines;
    }
    let how = how(step);
    let when = match (&step.rolls_back, step.condition.as_str()) {
        (Some(back), _) => format!("  runs only if '{}' fails", back.step),
        (None, "") => String::new(),
        (None, condition) => format!("  runs {condition}"),
    };
    let mut lines = vec![format!(
        "{}. {}  {how}: {}{when}",
        step.number,
        step.name,
        names(&step.targets)
    )];
    lines.extend(step.rolls_back.iter().flat_map(roll_back));
    for action in &step.actions {
        if let Some(why) = &action.skipped {
            lines.push(format!("{DIM}   {}  skipped: {why}{DIM:#}", action.name));
            continue;
        }
        let packages = match action.packages.as_slice() {
            [] => String::new(),
            packages => format!("  {}", packages.join(", ")),
        };
        let when = match action.condition.as_str() {
            "" => String::new(),
            condition => format!("  runs {condition}"),
        };
        lines.push(format!(
            "   {} ({}){packages}{when}",
            action.name, action.uses
        ));
        let mut before = Vec::new();
        for one in &action.nodes {
            let (first, below) = node(one, full);
            lines.push(first);
            // In a farm mostly all are.
            if !below.is_empty() && below == before {
                lines.push(format!("       {DIM}the same{DIM:#}"));
            } else {
                lines.extend(below.iter().cloned());
            }
            before = below;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_step() -> PlanStep {
        PlanStep {
            number: 2,
            name: "Restore".to_owned(),
            start: None,
            required: false,
            rolling: false,
            parallel: 4,
            max_failed: 0,
            on_failure: None,
            pause_after_first: false,
            timeout: None,
            condition: String::new(),
            targets: vec!["web01".to_owned()],
            actions: Vec::new(),
            skipped: None,
            rolls_back: None,
        }
    }

    #[test]
    fn a_step_says_how_it_goes_through_its_targets() {
        let step = PlanStep {
            start: Some("with_previous".to_owned()),
            required: true,
            rolling: true,
            max_failed: 2,
            on_failure: Some("continue".to_owned()),
            pause_after_first: true,
            timeout: Some("2h".to_owned()),
            ..a_step()
        };
        assert_eq!(
            how(&step),
            "with the step before, required, rolling, 4 at once, 2 may fail, \
             goes on after failures, pauses after the first, stopped after 2h"
        );
        let stops = PlanStep {
            rolling: true,
            on_failure: Some("stop".to_owned()),
            ..a_step()
        };
        assert_eq!(how(&stops), "rolling, 4 at once");
    }

    #[test]
    fn an_input_of_several_lines_is_shown_whole_if_that_is_asked_for() {
        let with = serde_json::json!({"run": "echo a\n  echo b\n", "shell": "sh"});
        let one = PlanNode {
            target: "web01".to_owned(),
            executor: "web01".to_owned(),
            with: serde_json::from_value(with).unwrap_or_default(),
        };
        let bare = |(first, below): (String, Vec<String>)| {
            let lines = [vec![first], below].concat().join("\n");
            anstream::adapter::strip_str(&lines).to_string()
        };
        assert_eq!(
            bare(node(&one, false)),
            "     web01  run=(2 lines, --full shows them) shell=sh"
        );
        assert_eq!(
            bare(node(&one, true)),
            "     web01  shell=sh\n       run:\n         echo a\n           echo b"
        );
    }

    #[test]
    fn a_step_says_when_it_runs() {
        let step = |condition: &str| PlanStep {
            condition: condition.to_owned(),
            ..a_step()
        };
        let shown = |condition| step_lines(&step(condition), false).join("\n");
        assert_eq!(shown(""), "2. Restore  4 at once: web01");
        assert_eq!(
            shown("only after a failure"),
            "2. Restore  4 at once: web01  runs only after a failure"
        );
        assert_eq!(shown("always"), "2. Restore  4 at once: web01  runs always");
        assert_eq!(
            shown("if #{Notify}"),
            "2. Restore  4 at once: web01  runs if #{Notify}"
        );
    }
}
