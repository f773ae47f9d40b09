//! Output variables, reference section 1.4.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::variable::SituationTarget;

const PLAIN: &str = "Octopus.Action[Build it].Output.Url";

fn output(subject: &str, name: &str, value: &str) -> OutputVariable {
    OutputVariable {
        action: "Build it".to_owned(),
        subject: subject.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
        sealed_by: None,
    }
}

/// They are indexed by step, and by step and target; without a target it is the own one, and for
/// whom there is none the last by name, where Octopus has the one that was written last.
#[test]
fn outputs_are_found_by_step_and_by_target() {
    let outputs = [
        output("web02", "Url", "two"),
        output("web01", "Url", "one"),
        output("web01", "Only.Here", "here"),
    ];

    for (subject, name, expected) in [
        (Some("web01"), PLAIN, Some("one")),
        (Some("web02"), PLAIN, Some("two")),
        (Some("db01"), PLAIN, Some("two")),
        (None, PLAIN, Some("two")),
        (
            Some("web02"),
            "Octopus.Action[Build it].Output[web01].Url",
            Some("one"),
        ),
        (
            Some("web01"),
            "octopus.action[build it].output[WEB02].url",
            Some("two"),
        ),
        (
            Some("web02"),
            "Octopus.Action[Build it].Output.Only.Here",
            Some("here"),
        ),
        (
            Some("web02"),
            "Octopus.Action[Build it].Output[web02].Only.Here",
            None,
        ),
        (
            Some("web01"),
            "Octopus.Action[Build it].Output[db01].Url",
            None,
        ),
        (Some("web01"), "Octopus.Action[Other].Output.Url", None),
    ] {
        let tags = Vec::new();
        let situation = Situation {
            target: subject.map(|name| SituationTarget { name, tags: &tags }),
            ..Situation::default()
        };
        let set = EffectiveSet::new(&[], &situation, &outputs, None).unwrap();
        let found = set.get(name).map(|one| &one.value);
        let expected = expected.map(|text| EffectiveValue::Text(text.into()));
        assert_eq!(found, expected.as_ref(), "{subject:?} {name}");
    }
}
