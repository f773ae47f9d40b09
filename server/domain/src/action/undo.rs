//! How what an action did is undone when its step rolls back.
//!
//! An undo is an action like any other: what stands under `with:` is a template that is evaluated
//! with the variables of the action that it undoes, and its attempts are ordinary attempts.

use serde_json::{Map, Value};

use super::MANUAL;
use crate::process::{Action, Step};

/// The type that puts back the version of a package that was in use before: agents know it, and no
/// file names it.
pub const PACKAGE_BACK: &str = "package.back";
/// The type that takes back what an action changed in IIS: agents know it, and no file names it.
pub const IIS_RESTORE: &str = "iis.restore";
/// The type that puts back the unit that a service had before: agents know it, and no file names it.
pub const SYSTEMD_BACK: &str = "systemd.service.back";
/// The type that makes a service of Windows again what it was before: agents know it, and no file names it.
pub const WINDOWS_SERVICE_BACK: &str = "windows.service.back";
/// The type that puts back the files that an action changed: agents know it, and no file names it.
pub const FILE_BACK: &str = "file.back";
/// The type that puts back the file of a site: agents know it, and no file names it.
pub const NGINX_SITE_BACK: &str = "nginx.site.back";
/// The input that is a script's own undo.
pub const ROLLBACK: &str = "rollback";

/// What undoes an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Undo {
    /// It changes nothing that would have to be undone.
    Nothing,
    /// This one, under the name of the one that it undoes.
    By(Box<Action>),
    /// Nothing does, for this reason.
    Impossible(String),
}

/// What undoes an action of a step.
pub fn undo(action: &Action, step: &Step) -> Undo {
    match action.uses.as_str() {
        MANUAL | "notify" | "wait" | "http.check" | "tcp.check" | "process.check" => Undo::Nothing,
        "script" => match action.with.get(ROLLBACK) {
            Some(Value::String(text)) => by(action, "script", of_script(action, text)),
            _ => Undo::Impossible("it has no 'rollback' script".to_owned()),
        },
        "package" => by(
            action,
            PACKAGE_BACK,
            [
                ("package", action.with.get("package").cloned()),
                ("action", Some(Value::from(action.name.clone()))),
            ]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
        ),
        "iis.site" | "iis.application" | "iis.virtual_directory" | "iis.app_pool" => {
            by(action, IIS_RESTORE, named(action))
        }
        "file.template" | "file.copy" => by(action, FILE_BACK, named(action)),
        "nginx.site" => {
            let mut with = only(action, &["config"]);
            with.extend(named(action));
            by(action, NGINX_SITE_BACK, with)
        }
        "iis.feature" => Undo::Impossible("parts of Windows stay where they are".to_owned()),
        "systemd.service" => by(action, SYSTEMD_BACK, only(action, &["name", "within"])),
        "windows.service" => by(
            action,
            WINDOWS_SERVICE_BACK,
            only(action, &["name", "within"]),
        ),
        "service" => of_service(action),
        "haproxy.drain" => by(action, "haproxy.enable", balanced(action, step)),
        "haproxy.enable" => by(action, "haproxy.drain", balanced(action, step)),
        "nginx.drain" => by(action, "nginx.enable", upstream(action, step)),
        "nginx.enable" => by(action, "nginx.drain", upstream(action, step)),
        uses => Undo::Impossible(format!("'{uses}' cannot be undone")),
    }
}

/// The inputs of an action as its agent takes them: how it would be undone is the server's affair,
/// and agents of before do not know the word.
pub fn without_undo(action: &Action) -> Map<String, Value> {
    let mut with = action.with.clone();
    if action.uses == "script" {
        with.remove(ROLLBACK);
    }
    with
}

fn by(action: &Action, uses: &str, with: Map<String, Value>) -> Undo {
    Undo::By(Box::new(Action {
        uses: uses.to_owned(),
        with,
        ..action.clone()
    }))
}

/// The text in place of the script's own, in the same shell and read in the same way.
fn of_script(action: &Action, text: &str) -> Map<String, Value> {
    let mut with = without_undo(action);
    for own in ["package", "file", "arguments"] {
        with.remove(own);
    }
    with.insert("run".to_owned(), Value::from(text));
    with
}

/// A service that was started is stopped again, and the other way round.
fn of_service(action: &Action) -> Undo {
    let opposite = match action.with.get("state").and_then(Value::as_str) {
        Some("restarted") => return Undo::Nothing,
        Some("started") => "stopped",
        Some("stopped") => "started",
        Some(_) | None => return Undo::Impossible("its 'state' is not known before".to_owned()),
    };
    let mut with = action.with.clone();
    with.insert("state".to_owned(), Value::from(opposite));
    by(action, "service", with)
}

/// Its name alone: its agent knows the rest.
fn named(action: &Action) -> Map<String, Value> {
    [("action".to_owned(), Value::from(action.name.clone()))]
        .into_iter()
        .collect()
}

/// These of its inputs alone.
fn only(action: &Action, keys: &[&str]) -> Map<String, Value> {
    let kept = |(key, _): &(&String, &Value)| keys.contains(&key.as_str());
    let inputs = action.with.iter().filter(kept);
    inputs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The other way at the same server of the same balancer: as the step itself does it where it
/// does, with the times that its author found right.
fn balanced(action: &Action, step: &Step) -> Map<String, Value> {
    opposite(action, step, &["socket", "backend", "server"])
}

/// The same for nginx.
fn upstream(action: &Action, step: &Step) -> Map<String, Value> {
    opposite(action, step, &["upstream", "server", "file", "config"])
}

fn opposite(action: &Action, step: &Step, server: &[&str]) -> Map<String, Value> {
    let same = |other: &&Action| {
        let opposite = matches!(
            (action.uses.as_str(), other.uses.as_str()),
            ("haproxy.drain", "haproxy.enable")
                | ("haproxy.enable", "haproxy.drain")
                | ("nginx.drain", "nginx.enable")
                | ("nginx.enable", "nginx.drain")
        );
        opposite
            && !other.disabled
            && server
                .iter()
                .all(|key| action.with.get(*key) == other.with.get(*key))
    };
    if let Some(other) = step.actions.iter().find(same) {
        return other.with.clone();
    }
    only(action, server)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::*;
    use crate::testing::a_project;

    const STEP: &str = concat!(
        "packages: [{ id: Web }]\n",
        "process:\n",
        "  - step: Farm\n",
        "    targets: { tag: web }\n",
        "    actions:\n",
        "      - { action: Out, uses: haproxy.drain, with: { backend: b, server: \"#{S}\", wait: 5m } }\n",
        "      - { action: Other, uses: haproxy.drain, with: { backend: c, server: x, socket: \"h:1\", wait: 5m } }\n",
        "      - { action: Stop, uses: script, with: { run: stop, shell: bash, arguments: [x], rollback: start } }\n",
        "      - { action: Install, uses: package, with: { package: Web, keep: 2 } }\n",
        "      - { action: Warm, uses: script, with: { run: warm } }\n",
        "      - { action: File, uses: script, with: { package: Web, file: a.sh, rollback: undo, substitute: true } }\n",
        "      - { action: Check, uses: http.check, with: { url: \"http://localhost/\" } }\n",
        "      - { action: Iis, uses: iis.site, with: { site: S, path: \"C:\\\\S\" } }\n",
        "      - { action: Run, uses: systemd.service, with: { name: web, exec: /bin/web, within: 5s } }\n",
        "      - { action: Win, uses: windows.service, with: { name: web, executable: \"C:\\\\web.exe\", within: 5s } }\n",
        "      - { action: Stop it, uses: service, with: { name: cron, state: stopped } }\n",
        "      - { action: Again, uses: service, with: { name: cron, state: restarted } }\n",
        "      - { action: Off, uses: nginx.drain, with: { upstream: u, server: \"#{S}\", wait: 5m } }\n",
        "      - { action: Copy, uses: file.copy, with: { package: Web, to: /srv/x } }\n",
        "      - { action: In, uses: haproxy.enable, with: { backend: b, server: \"#{S}\", wait_up: 2m } }\n",
    );

    #[test]
    fn every_type_says_how_it_is_undone() {
        let project = a_project(STEP);
        let step = &project.process.steps[0];
        let found: Vec<Value> = step
            .actions
            .iter()
            .map(|action| match undo(action, step) {
                Undo::Nothing => json!(null),
                Undo::Impossible(why) => json!(why),
                Undo::By(by) => {
                    assert_eq!(by.name, action.name);
                    json!({ by.uses: by.with })
                }
            })
            .collect();
        assert_eq!(
            found,
            [
                json!({"haproxy.enable": {"backend": "b", "server": "#{S}", "wait_up": "2m"}}),
                json!({"haproxy.enable": {"backend": "c", "server": "x", "socket": "h:1"}}),
                json!({"script": {"run": "start", "shell": "bash"}}),
                json!({"package.back": {"package": "Web", "action": "Install"}}),
                json!("it has no 'rollback' script"),
                json!({"script": {"run": "undo", "substitute": true}}),
                json!(null),
                json!({"iis.restore": {"action": "Iis"}}),
                json!({"systemd.service.back": {"name": "web", "within": "5s"}}),
                json!({"windows.service.back": {"name": "web", "within": "5s"}}),
                json!({"service": {"name": "cron", "state": "started"}}),
                json!(null),
                json!({"nginx.enable": {"upstream": "u", "server": "#{S}"}}),
                json!({"file.back": {"action": "Copy"}}),
                json!({"haproxy.drain": {"backend": "b", "server": "#{S}", "wait": "5m"}}),
            ]
        );
        assert!(!without_undo(&step.actions[2]).contains_key(ROLLBACK));
    }
}
