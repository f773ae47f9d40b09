//! The locks that each action holds on its executors.
//!
//! What its type must hold it holds in any case: a package its application's folder, a balancer's
//! action the server that it moves. Beside that an action shares the target with others, and a
//! script (also one of a package) has it alone, unless `locks:` names others in its place.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mantle_shared::ids::TargetId;
use mantle_shared::lock::{Lock, TARGET};
use mantle_template::{Options, Variables, render};
use serde_json::Value;

use super::PlanRequest;
use crate::action::undo::{FILE_BACK, PACKAGE_BACK, SYSTEMD_BACK, WINDOWS_SERVICE_BACK};
use crate::action::{PACKAGE_TRANSFER, runs_scripts};
use crate::fleet::Fleet;
use crate::order::{Done, OrderContext, effective_among};
use crate::plan::{Plan, PlanAction, PlanLock};
use crate::process::Action;

/// What the lock of a folder begins with.
const FOLDER: &str = "folder:";
/// What the lock of a file begins with.
const FILE: &str = "file:";
/// What the lock of a service begins with.
const SERVICE: &str = "service:";

/// Works out the locks of every action of a plan. A name that is only known later (an output, a
/// secret) stands as its template, which is the same for whoever writes it so.
pub(super) fn assign(request: &PlanRequest<'_>, plan: &mut Plan) {
    let mut locks: BTreeMap<(usize, usize), Vec<PlanLock>> = BTreeMap::new();
    let fleet = Fleet::of_texts(plan, request.process, request.variables);
    for (step_index, step) in plan.steps.iter().enumerate() {
        for (action_index, planned) in step.actions.iter().enumerate() {
            if let Some(done) = Done::find(&context(request, plan), step, planned) {
                let found = of_action((request, plan, &fleet), &done, planned);
                locks.insert((step_index, action_index), found);
            }
        }
    }
    for ((step, action), found) in locks {
        let slot = plan.steps.get_mut(step);
        if let Some(slot) = slot.and_then(|step| step.actions.get_mut(action)) {
            slot.locks = found;
        }
    }
}

fn of_action(
    (request, plan, fleet): (&PlanRequest<'_>, &Plan, &Fleet<'_>),
    done: &Done<'_>,
    planned: &PlanAction,
) -> Vec<PlanLock> {
    let action = &*done.action;
    // Who waits for a person holds nothing.
    if planned.nodes.is_empty() || planned.ask.is_some() {
        return Vec::new();
    }
    let everywhere = |lock: Lock| PlanLock {
        lock,
        subject: None,
    };
    let mut locks: Vec<PlanLock> = chosen(action).into_iter().map(everywhere).collect();
    for name in of_type(request, action) {
        if !name.contains("#{") {
            locks.push(everywhere(Lock::exclusive(spelt(name))));
            continue;
        }
        let subjects: BTreeSet<TargetId> = planned.nodes.iter().map(|node| node.subject).collect();
        for subject in subjects {
            let variables = variables((request, plan, fleet), done, subject);
            locks.push(PlanLock {
                lock: Lock::exclusive(spelt(evaluated(&name, variables.as_ref()))),
                subject: Some(subject),
            });
        }
    }
    locks
}

/// What the file says, or what holds where it says nothing.
fn chosen(action: &Action) -> Vec<Lock> {
    match &action.locks {
        Some(locks) => locks
            .iter()
            .map(|lock| Lock {
                name: spelt(lock.name.clone()),
                mode: lock.mode,
            })
            .collect(),
        None if runs_scripts(action) => vec![Lock::exclusive(TARGET)],
        // A message touches nothing of its machine, and waits for nobody there.
        None if action.uses == "notify" => Vec::new(),
        None => vec![Lock::shared(TARGET)],
    }
}

/// The names of what an action of this type touches, as templates.
fn of_type(request: &PlanRequest<'_>, action: &Action) -> Vec<String> {
    let text = |key: &str| action.with.get(key).and_then(Value::as_str);
    let name = match action.uses.as_str() {
        "package" | PACKAGE_BACK => text("package").map(|package| {
            let (environment, project) = (request.environment, &request.process.project);
            format!("app:{environment}/{project}/{package}")
        }),
        "haproxy.drain" | "haproxy.enable" => text("backend")
            .zip(text("server"))
            .map(|(backend, server)| format!("haproxy:{backend}/{server}")),
        "windows.service" | "service" | "systemd.service" | SYSTEMD_BACK | WINDOWS_SERVICE_BACK => {
            text("name").map(|name| format!("{SERVICE}{name}"))
        }
        uses if uses.starts_with("iis.") => Some("iis".to_owned()),
        uses if uses.starts_with("nginx.") => Some("nginx".to_owned()),
        _ => None,
    };
    let transfer = text("to").filter(|_| action.uses == PACKAGE_TRANSFER);
    let directory = transfer
        .or(custom_directory(request, action))
        .map(|path| format!("{FOLDER}{path}"));
    name.into_iter()
        .chain(directory)
        .chain(written(request, action))
        .collect()
}

/// What an action about files writes, also by what takes it back.
fn written(request: &PlanRequest<'_>, action: &Action) -> Option<String> {
    let writes = if action.uses == FILE_BACK {
        undone(request, action)?
    } else {
        action
    };
    let to = writes.with.get("to").and_then(Value::as_str)?;
    match writes.uses.as_str() {
        "file.template" => Some(format!("{FILE}{to}")),
        "file.copy" => Some(format!("{FOLDER}{to}")),
        _ => None,
    }
}

/// The action that this one takes back, by the name that it has from it.
fn undone<'a>(request: &PlanRequest<'a>, back: &Action) -> Option<&'a Action> {
    let name = back.with.get("action")?;
    let steps = request.process.process.steps.iter();
    steps
        .flat_map(|step| &step.actions)
        .find(|other| name == other.name.as_str())
}

/// One thing has one name, whoever writes it: of Windows' spellings too, which knows no case.
fn spelt(name: String) -> String {
    if name.starts_with(SERVICE) {
        return name.to_lowercase();
    }
    let prefix = if name.starts_with(FILE) { FILE } else { FOLDER };
    let Some(path) = name.strip_prefix(prefix) else {
        return name;
    };
    let path = path.trim().replace('\\', "/");
    let root = match path.len() - path.trim_start_matches('/').len() {
        0 => "",
        1 => "/",
        _ => "//",
    };
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    let path = format!("{root}{}", parts.collect::<Vec<_>>().join("/"));
    let windows = path.starts_with("//") || path.get(1..2) == Some(":");
    let path = if windows { path.to_lowercase() } else { path };
    format!("{prefix}{path}")
}

/// The folder that a package is copied to, also by what takes it back there.
fn custom_directory<'a>(request: &PlanRequest<'a>, action: &'a Action) -> Option<&'a str> {
    let installs = if action.uses == PACKAGE_BACK {
        undone(request, action)?
    } else {
        action
    };
    let directory = installs.with.get("custom_directory")?;
    directory.get("path")?.as_str()
}

fn variables(
    (request, plan, fleet): (&PlanRequest<'_>, &Plan, &Fleet<'_>),
    done: &Done<'_>,
    subject: TargetId,
) -> Option<Variables> {
    let context = context(request, plan);
    let place = (done.step, Some(done.planned));
    let set = effective_among(&context, fleet.lists(), place, fleet.target(subject)).ok()?;
    // A secret is no name for a lock: the template stands for it.
    Some(set.to_template_variables(|_| None))
}

fn context<'a>(request: &PlanRequest<'a>, plan: &'a Plan) -> OrderContext<'a> {
    OrderContext {
        plan,
        process: request.process,
        variables: request.variables,
        task_number: "",
        outputs: &[],
        failed: None,
        lists: None,
    }
}

fn evaluated(name: &str, variables: Option<&Variables>) -> String {
    // No name of a lock hangs on the time.
    let options = Options::new(Timestamp::UNIX_EPOCH);
    variables
        .and_then(|variables| render(name, variables, &options).ok())
        .map_or_else(|| name.to_owned(), |rendered| rendered.text.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use crate::plan::{NodeRef, Plan};
    use crate::planner::PlanOptions;
    use crate::release::ScannedFiles;
    use crate::testing::{a_project, a_release, a_target, plan};

    const PROJECT: &str = "packages: [{ id: Shop.Web }]
process:
  - step: farm
    targets: { tag: web }
    actions:
      - { action: drain, uses: haproxy.drain, run_on: { tag: lb }, with: { backend: web, server: \"#{Octopus.Machine.Name}\" } }
      - { action: install, uses: package, with: { package: Shop.Web } }
      - { action: warm, uses: script, with: { run: curl localhost } }
      - { action: note, uses: script, locks: [], with: { run: date } }
      - { action: migrate, uses: script, locks: [db, { name: disk, mode: shared }], with: { run: date } }
      - { action: check, uses: http.check, with: { url: \"http://localhost/\" } }
      - { action: scripted, uses: package, with: { package: Shop.Web, scripts: { deploy: date } } }
      - { action: copied, uses: package, with: { package: Shop.Web, custom_directory: { path: \"/srv/#{Octopus.Machine.Name}\" } } }
      - { action: settings, uses: file.template, with: { content: x, to: \"/etc/#{Octopus.Machine.Name}.conf\" } }
      - { action: pages, uses: file.copy, with: { package: Shop.Web, to: /srv/pages/ } }
";

    fn planned() -> Plan {
        let release = a_release(&a_project(PROJECT), &ScannedFiles::default());
        let targets = [
            a_target("web01", &["web"], &["test"]),
            a_target("web02", &["web"], &["test"]),
            a_target("lb01", &["lb"], &["test"]),
        ];
        plan(&release, "test", &targets, &PlanOptions::default()).unwrap()
    }

    fn locks(plan: &Plan, action: u32, node: u32) -> Vec<String> {
        let at = NodeRef {
            step: 0,
            action,
            node,
        };
        let subject = plan.node(at).unwrap().subject;
        let locks = plan.action(at).unwrap().locks_of(subject);
        locks
            .iter()
            .map(|lock| format!("{} {}", lock.mode.word(), lock.name))
            .collect()
    }

    #[test]
    fn a_folder_has_one_lock_however_it_is_written() {
        for (written, lock) in [
            ("folder:/srv/Shop/ ", "folder:/srv/Shop"),
            ("folder:/srv//./Shop/.", "folder:/srv/Shop"),
            ("folder:\\\\nas\\Share\\\\a", "folder://nas/share/a"),
            ("folder:D:\\Sites\\Shop\\", "folder:d:/sites/shop"),
            ("file:D:\\Sites\\a.Config", "file:d:/sites/a.config"),
            ("app:test/A\\b", "app:test/A\\b"),
            ("service:Shop.Web", "service:shop.web"),
        ] {
            assert_eq!(super::spelt(written.to_owned()), lock);
        }
    }

    #[test]
    fn every_type_holds_what_it_touches_and_files_say_the_rest() {
        let plan = planned();
        let table: [(u32, &[&str]); 10] = [
            (0, &["exclusive haproxy:web/web01", "shared target"]),
            (1, &["exclusive app:test/shop/Shop.Web", "shared target"]),
            (2, &["exclusive target"]),
            (3, &[]),
            (4, &["exclusive db", "shared disk"]),
            (5, &["shared target"]),
            (6, &["exclusive app:test/shop/Shop.Web", "exclusive target"]),
            (
                7,
                &[
                    "exclusive app:test/shop/Shop.Web",
                    "exclusive folder:/srv/web01",
                    "shared target",
                ],
            ),
            (8, &["exclusive file:/etc/web01.conf", "shared target"]),
            (9, &["exclusive folder:/srv/pages", "shared target"]),
        ];
        for (action, expected) in table {
            assert_eq!(locks(&plan, action, 0), expected, "{action}");
        }
        assert_eq!(
            locks(&plan, 0, 1),
            ["exclusive haproxy:web/web02", "shared target"],
            "of another subject it is another server"
        );
    }
}
