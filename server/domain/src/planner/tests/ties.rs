//! Ties: each pair of values once, with all that it concerns.

use super::*;

const TIED: &str = concat!(
    "variables:\n",
    "  Port: [{ value: 1, tag: web }, { value: 2, tag: old }]\n",
    "  Name: [{ value: a, tag: web }, { value: b, tag: old }, { value: c, step: Out }]\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: farm }\n",
    "    actions: [{ action: Out, uses: script, with: { run: x } }, { action: In, uses: script, with: { run: x } }]\n",
    "  - step: Rest\n",
    "    targets: { tag: farm }\n",
    "    actions: [{ action: Look, uses: script, with: { run: x } }]\n",
);

fn both(count: u32) -> Vec<TargetFacts> {
    let tied = (1..=count).map(|n| {
        let name = format!("web{n:04}");
        a_target(&name, &["farm", "old", "web"], &["test"])
    });
    let other = a_target("app01", &["farm", "web"], &["test"]);
    tied.chain([other]).collect()
}

#[test]
fn every_tie_is_named_once_with_the_count_of_what_it_concerns() {
    let next = "the one for tag old and the one for tag web; give one of them a further scope, run 'mantle apply' and create a new release";
    let targets =
        "in 3 targets (web0001, web0002 and web0003) in environment 'test' in channel 'default'";
    assert_eq!(
        refusals(TIED, &both(3)),
        [
            format!(
                "variable 'Name' has two equally specific values for 2 actions (In and Look) {targets}: {next}"
            ),
            format!(
                "variable 'Port' has two equally specific values for 3 actions (In, Out and Look) {targets}: {next}"
            ),
        ]
    );
}

#[test]
fn a_tie_of_a_thousand_targets_is_one_sentence() {
    let shown = refusals(TIED, &both(1000));
    assert_eq!(shown.len(), 2);
    let some = "1000 targets (web0001, web0002, web0003, web0004, web0005 and 995 more)";
    assert!(shown[0].contains(some), "{shown:?}");
    assert!(shown.iter().all(|one| one.len() < 400), "{shown:?}");
}
