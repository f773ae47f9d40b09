//! Twice as many targets take twice as much work: while a plan is made, shown, kept, compared and
//! written into the manifest, each step looks at each target so often, however many there are.

use mantle_shared::Digest;
use mantle_shared::ids::TargetId;
use mantle_shared::uuid::Uuid;

use super::*;
use crate::fleet::looked_at;
use crate::manifest::manifest;
use crate::order::OrderContext;
use crate::plan::basis::{PlanBasis, ReleaseDigests};
use crate::planner::preview::preview;

const WIDE: &str = concat!(
    "packages: [{ id: Web }]\n",
    "variables:\n",
    "  Port: [{ value: 80 }, { value: 81, tag: t1 }]\n",
    "  Url: \"http://#{Octopus.Machine.Name}:#{Port}/\"\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: web }\n",
    "    rolling: { window: 50% }\n",
    "    actions:\n",
    "      - { action: Out, uses: haproxy.drain, run_on: { tag: lb }, with: { backend: b, server: \"#{Octopus.Machine.Name}\" } }\n",
    "      - { action: Install, uses: package, with: { package: Web } }\n",
    "      - { action: Check, uses: http.check, with: { url: \"#{Url}\" } }\n",
    "  - { step: After, targets: { tag: web }, uses: script, with: { run: x } }\n",
);

/// So many web servers, each with a tag of its own, behind one balancer.
fn wide(web_servers: u16) -> Vec<TargetFacts> {
    let mut targets = vec![a_target("lb", &["lb"], &["test"])];
    for number in 0..web_servers {
        let tag = format!("t{number}");
        let mut target = a_target(&format!("web{number:05}"), &["web", &tag], &["test"]);
        target.id = TargetId::from_uuid(Uuid::from_u128(u128::from(number) + 1));
        targets.push(target);
    }
    targets
}

/// How many looks at a target it takes.
fn looks(process: &str, web_servers: u16) -> usize {
    let release = release(process);
    let targets = wide(web_servers);
    let options = PlanOptions::default();
    let question = request(&release, "test", &targets, &options);
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    looked_at::take();
    let planned = plan(&release, "test", &targets, &options).unwrap();
    assert_eq!(planned.targets.len(), usize::from(web_servers) + 1);
    let shown = preview(&question, &planned, now);
    assert_eq!(shown.steps[0].subjects.len(), usize::from(web_servers));
    let digest = Digest::of(b"x");
    let digests = ReleaseDigests {
        process: digest,
        variables: digest,
        packages: digest,
    };
    let basis = PlanBasis::new(&planned, digests, &BTreeMap::new());
    assert_eq!(basis.changes(&basis), Vec::<String>::new());
    let context = OrderContext {
        plan: &planned,
        process: question.process,
        variables: question.variables,
        task_number: "",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let written = manifest(&context, question.packages, digests, now);
    assert_eq!(written.actions.len(), 4);
    looked_at::take()
}

#[test]
fn twice_as_many_targets_take_twice_as_much_work() {
    let (some, twice) = (looks(WIDE, 100), looks(WIDE, 200));
    assert!(some > 100, "the looks are counted: {some}");
    assert!(twice <= 2 * some, "{some} looks at 100, {twice} at 200");
    // Who asks for the targets of a tag gets the lists of all tags: here as many as targets.
    let asking = WIDE.replace("#{Url}", "#{Url}#{octopus.environment.machinesinrole[t1]}");
    let (some, twice) = (looks(&asking, 20), looks(&asking, 40));
    assert!(twice > 3 * some, "{some} looks at 20, {twice} at 40");
}

#[test]
fn a_text_that_names_the_targets_of_a_tag_sees_them_wherever_it_stands() {
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    let by_notes = PlanFacts {
        project: "p-1".to_owned(),
        release_notes: "to #{octopus.Environment.machinesInRole[web]}".to_owned(),
        ..PlanFacts::default()
    };
    for (url, variable, facts) in [
        (
            "#{Octopus.Environment.MachinesInRole[web]}",
            "x",
            PlanFacts::default(),
        ),
        (
            "#{V}",
            "#{each m in Octopus.Environment.MACHINESINROLE[web]}#{m},#{/each}",
            PlanFacts::default(),
        ),
        ("#{Octopus.Release.Notes}", "x", by_notes),
    ] {
        let process = WIDE
            .replace("#{Url}", url)
            .replace("  Url:", &format!("  V: \"{variable}\"\n  Url:"));
        let (release, targets) = (release(&process), wide(2));
        let options = PlanOptions::default();
        let question = PlanRequest {
            facts: &facts,
            ..request(&release, "test", &targets, &options)
        };
        let planned = super::super::plan(&question).unwrap();
        let shown = preview(&question, &planned, now);
        let url = shown.steps[0].actions[2].nodes[0].with["url"].to_string();
        assert!(url.contains("web00000,web00001"), "{url}");
    }
}
