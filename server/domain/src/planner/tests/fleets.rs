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

/// So many web servers, with ten tags among them, behind one balancer.
fn wide(web_servers: u16) -> Vec<TargetFacts> {
    let mut targets = vec![a_target("lb", &["lb"], &["test"])];
    for number in 0..web_servers {
        let tag = format!("t{}", number % 10);
        let mut target = a_target(&format!("web{number:05}"), &["web", &tag], &["test"]);
        target.id = TargetId::from_uuid(Uuid::from_u128(u128::from(number) + 1));
        targets.push(target);
    }
    targets
}

/// How many looks at a target it takes.
fn looks(web_servers: u16) -> usize {
    let release = release(WIDE);
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
        failed: false,
    };
    let written = manifest(&context, question.packages, digests, now);
    assert_eq!(written.actions.len(), 4);
    looked_at::take()
}

#[test]
fn twice_as_many_targets_take_twice_as_much_work() {
    let (some, twice) = (looks(100), looks(200));
    assert!(some > 100, "the looks are counted: {some}");
    assert!(twice <= 2 * some, "{some} looks at 100, {twice} at 200");
}
