//! The server's grammar and the agents take the same inputs: what `mantle apply` accepts must not
//! fail on the target for its form, and what agents can do must not be out of reach.

mod windows_service;

use std::collections::{BTreeMap, BTreeSet};

use mantle_domain::action::{self, Support, TYPES};
use serde_json::{Value, json};

use samples::{file_copy, file_template, nginx_site, process_check};

mod samples;

/// Action types, their inputs, and whether they are to be taken. Templates are left out: agents
/// get what they evaluate to.
fn samples() -> Vec<(&'static str, Value, bool)> {
    let mut all = Vec::new();
    let mut of = |uses: &'static str, base: Value, cases: Vec<(Value, bool)>| {
        for (change, taken) in cases {
            let mut with = base.clone();
            let changes = change.as_object().unwrap().clone();
            with.as_object_mut().unwrap().extend(changes);
            all.push((uses, with, taken));
        }
    };
    of("script", json!({}), script());
    of("package", json!({"package": "Web"}), package());
    of(
        "package.transfer",
        json!({"package": "Web", "to": "/srv/drop"}),
        vec![
            (json!({}), true),
            (json!({"file": "web.zip"}), true),
            (json!({"file": null, "to": "D:\\Drop"}), true),
            (json!({"to": null}), false),
            (json!({"file": 1}), false),
        ],
    );
    of(
        "http.check",
        json!({"url": "http://localhost/"}),
        http_check(),
    );
    of(
        "haproxy.drain",
        json!({"backend": "web", "server": "a"}),
        drain(),
    );
    of(
        "haproxy.enable",
        json!({"backend": "web", "server": "a"}),
        enable(),
    );
    of("notify", json!({"text": "done"}), notify());
    of(
        "iis.site",
        json!({"site": "S", "path": "C:\\S"}),
        iis_site(),
    );
    of(
        "iis.application",
        json!({"site": "S", "application": "/a", "path": "C:\\S"}),
        vec![
            (json!({}), true),
            (
                json!({"pool": "P", "authentication": {"basic": true}}),
                true,
            ),
            (json!({"application": null}), false),
            (json!({"bindings": "http/*:80:"}), false),
        ],
    );
    of(
        "iis.virtual_directory",
        json!({"site": "S", "directory": "/a", "path": "C:\\S"}),
        vec![
            (json!({}), true),
            (json!({"application": "/b"}), true),
            (json!({"application": null}), true),
            (json!({"pool": "P"}), false),
        ],
    );
    of("iis.app_pool", json!({"name": "P"}), iis_pool());
    of(
        "iis.feature",
        json!({"features": "IIS-WebServerRole"}),
        vec![
            (json!({}), true),
            (json!({"features": ["A", "B"], "source": "D:\\sxs"}), true),
            (json!({"features": {}}), false),
            (json!({"feature": "A"}), false),
        ],
    );
    of(
        "systemd.service",
        json!({"name": "web", "exec": "/opt/web/bin/web --port 80"}),
        systemd_service(),
    );
    of(
        "windows.service",
        json!({"name": "web", "executable": "C:\\Web\\web.exe"}),
        windows_service::cases(),
    );
    of(
        "service",
        json!({"name": "cron", "state": "started"}),
        service(),
    );
    let nginx = json!({"upstream": "web", "server": "a:80"});
    of("nginx.drain", nginx.clone(), nginx_drain());
    of("nginx.enable", nginx, nginx_enable());
    of(
        "nginx.site",
        json!({"site": "shop", "root": "/srv/shop"}),
        nginx_site(),
    );
    let to = json!({"to": "/etc/shop.conf"});
    of("file.template", to.clone(), file_template());
    of("file.copy", to, file_copy());
    of("process.check", json!({"name": "nginx"}), process_check());
    of("tcp.check", json!({"port": 80}), tcp_check());
    of("wait", json!({"for": "30s"}), wait());
    all
}

fn iis_site() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"pool": "P", "bindings": "http/*:80:", "keep_bindings": "true", "start": false}),
            true,
        ),
        (
            json!({"pool": {"name": "P", "clr": "none"}, "bindings": ["http/*:80:", {"protocol": "https", "address": "*", "port": 443,
                   "host": "a", "certificate": "a1b2c3d4e5f60718293a4b5c6d7e8f9011223344", "store": "MY", "sni": true}],
                   "authentication": {"anonymous": true, "windows": "False", "basic": null}}),
            true,
        ),
        (json!({"bindings": {"port": "8080"}}), true),
        (json!({"bindings": []}), false),
        (json!({"bindings": [{"prot": "http"}]}), false),
        (json!({"pool": {"name": "P", "state": "started"}}), false),
        (json!({"pool": {"clr": "none"}}), false),
        (json!({"pool": {"name": "P", "clr": "v3"}}), false),
        (json!({"authentication": {"digest": true}}), false),
        (json!({"start": "perhaps"}), false),
        (json!({"name": "S"}), false),
    ]
}

fn iis_pool() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"clr": "v4.0", "pipeline": "classic", "identity": "user", "user": "u", "password": "p", "enable_32bit": "true",
                   "always_running": false, "idle_timeout": "20m", "recycle_every": "0s", "settings": {"queueLength": 10}, "state": "recycled"}),
            true,
        ),
        (json!({"state": "running"}), false),
        (json!({"pipeline": "fast"}), false),
        (json!({"identity": "me"}), false),
        (json!({"idle_timeout": "soon"}), false),
        (json!({"enable_32bit": "perhaps"}), false),
        (json!({"site": "S"}), false),
    ]
}

fn notify() -> Vec<(Value, bool)> {
    let mail = json!({"server": "mail:587", "from": "a@example.com", "to": "b@example.com"});
    let mail_with = |more: Value| {
        let mut mail = mail.clone();
        let more = more.as_object().unwrap().clone();
        mail.as_object_mut().unwrap().extend(more);
        json!({"email": mail})
    };
    vec![
        (json!({}), false),
        (json!({"webhook": "https://example.com/x"}), true),
        (
            json!({"slack": "https://example.com/x", "teams": "https://example.com/y", "title": "T"}),
            true,
        ),
        (
            json!({"webhook": "http://x/", "body": {"a": [1, null]}, "headers": {"X-A": "b"}, "sign": "key",
                   "within": "10s", "timeout": "1s", "ignore_failure": true}),
            true,
        ),
        (json!({"webhook": "http://x/", "body": "text"}), true),
        (json!({"slack": "http://x/", "sign": "key"}), false),
        (json!({"slack": "http://x/", "body": {}}), false),
        (json!({"slack": "http://x/", "headers": {"A": "b"}}), false),
        (json!({"slack": "http://x/", "headers": {}}), true),
        (json!({"webhook": "http://x/", "text": null}), false),
        (json!({"webhook": "http://x/", "retries": 2}), false),
        (json!({"webhook": "http://x/", "within": "10"}), false),
        (mail_with(json!({})), true),
        (
            mail_with(
                json!({"to": ["a@x.y", "b@x.y"], "cc": "c@x.y", "bcc": ["d@x.y"], "html": "<p>",
                             "priority": "high", "user": "u", "password": "p", "security": "tls", "insecure": "true"}),
            ),
            true,
        ),
        (
            mail_with(json!({"cc": null, "insecure": null, "html": null})),
            true,
        ),
        (mail_with(json!({"priority": "urgent"})), false),
        (mail_with(json!({"security": "ssl"})), false),
        (mail_with(json!({"user": "u"})), false),
        (
            mail_with(json!({"user": "u", "password": "p", "security": "none"})),
            false,
        ),
        (mail_with(json!({"subject": "x"})), false),
        (mail_with(json!({"from": null})), false),
    ]
}

fn script() -> Vec<(Value, bool)> {
    vec![
        (json!({"run": "true"}), true),
        (
            json!({"run": "true", "shell": "sh", "arguments": "a 'b c'"}),
            true,
        ),
        (
            json!({"run": "true", "shell": "powershell", "arguments": ["a", "b"]}),
            true,
        ),
        (
            json!({"package": "Web", "file": "a.sh", "substitute": true}),
            true,
        ),
        (json!({"run": "true", "substitute": "True"}), true),
        (
            json!({"run": "true", "substitute": null, "arguments": null}),
            true,
        ),
        (json!({"run": "true", "service_messages": false}), true),
        (json!({"run": "true", "rollback": "false"}), true),
        (json!({"run": "true", "rollback": ["false"]}), false),
        (json!({"rollback": "false"}), false),
        (json!({"run": "true", "service_messages": "no"}), false),
        (json!({"run": "true", "substitute": "maybe"}), false),
        (json!({"run": "true", "substitute": 1}), false),
        (json!({"run": "true", "shell": "python3"}), false),
        (json!({"run": "true", "shell": "zsh"}), false),
        (json!({"run": "true", "arguments": [1]}), false),
        (json!({"run": 5}), false),
        (json!({}), false),
        (json!({"run": "true", "file": "a.sh"}), false),
        (json!({"run": "true", "package": "Web"}), false),
        (json!({"package": "Web"}), false),
        (json!({"file": "a.sh"}), false),
    ]
}

fn package() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"substitute": "**/*.html", "structured": ["a.json", "b.json"]}),
            true,
        ),
        (json!({"substitute": [], "structured": null}), true),
        (
            json!({"transforms": "Automatic", "dotnet_config": "*.config"}),
            true,
        ),
        (
            json!({
                "transforms": ["automatic", "a => b", "*.Blue.config => *.config"],
                "ignore_transform_warnings": "True",
                "dotnet_config": ["Web.config"]
            }),
            true,
        ),
        (
            json!({"transforms": null, "ignore_transform_warnings": null}),
            true,
        ),
        (
            json!({"scripts": {"shell": "sh", "pre_deploy": "a", "deploy": "#{no template}",
                "post_deploy": "c", "deploy_failed": null, "service_messages": false}}),
            true,
        ),
        (json!({"scripts": null, "packaged_scripts": "True"}), true),
        (json!({"scripts": {}}), true),
        (json!({"scripts": "true"}), false),
        (json!({"scripts": {"predeploy": "a"}}), false),
        (json!({"scripts": {"deploy": ["a"]}}), false),
        (json!({"scripts": {"shell": "zsh"}}), false),
        (json!({"packaged_scripts": "yes"}), false),
        (
            json!({"custom_directory": {"path": "/srv/www", "purge": "True", "exclude": "logs/**"}}),
            true,
        ),
        (
            json!({"custom_directory": {"path": "D:\\Sites", "exclude": ["a", "b"]}, "skip_if_installed": true}),
            true,
        ),
        (
            json!({"custom_directory": null, "skip_if_installed": null}),
            true,
        ),
        (json!({"custom_directory": "/srv/www"}), false),
        (json!({"custom_directory": {"purge": true}}), false),
        (
            json!({"custom_directory": {"path": "/srv", "keep": 1}}),
            false,
        ),
        (json!({"skip_if_installed": 1}), false),
        (json!({"transforms": "Web.Blue.config"}), false),
        (json!({"transforms": ["../a => b"]}), false),
        (json!({"transforms": true}), false),
        (json!({"ignore_transform_warnings": "maybe"}), false),
        (json!({"dotnet_config": 1}), false),
        (json!({"keep": 0}), true),
        (json!({"keep": "3"}), true),
        (json!({"keep": null}), true),
        (json!({"keep": -1}), false),
        (json!({"keep": 1.5}), false),
        (json!({"keep": 4_294_967_296_u64}), false),
        (json!({"keep": ""}), false),
        (json!({"keep": true}), false),
        (json!({"substitute": true}), false),
        (json!({"structured": [1]}), false),
        (json!({"package": null}), false),
        (json!({"package": 7}), false),
    ]
}

fn http_check() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (json!({"expect": 204}), true),
        (json!({"expect": "204"}), true),
        (json!({"expect": "2xx"}), true),
        (json!({"expect": "200-299"}), true),
        (json!({"expect": "200, 3xx"}), true),
        (json!({"expect": [200, "3xx", "401,403"]}), true),
        (
            json!({"expect": null, "contains": null, "headers": null, "insecure": null}),
            true,
        ),
        (json!({"expect": []}), false),
        (json!({"expect": 99}), false),
        (json!({"expect": 600}), false),
        (json!({"expect": "6xx"}), false),
        (json!({"expect": "ok"}), false),
        (json!({"expect": ""}), false),
        (json!({"expect": true}), false),
        (json!({"expect": [200, "ok"]}), false),
        (json!({"contains": "up"}), true),
        (json!({"contains": ["up", "1.0"]}), true),
        (json!({"contains": []}), true),
        (json!({"contains": 1}), false),
        (json!({"contains": [1]}), false),
        (json!({"headers": {"X-Token": "a"}}), true),
        (json!({"headers": {}}), true),
        (json!({"headers": {"X-Token": 1}}), false),
        (json!({"headers": ["X-Token"]}), false),
        (json!({"insecure": true}), true),
        (json!({"insecure": "FALSE"}), true),
        (json!({"insecure": ""}), true),
        (json!({"insecure": "yes"}), false),
        (json!({"insecure": 1}), false),
        (
            json!({"within": "1m30s", "interval": "500ms", "timeout": "2s", "consecutive": "3"}),
            true,
        ),
        (
            json!({"within": null, "interval": null, "timeout": null, "consecutive": null}),
            true,
        ),
        (json!({"within": 30}), false),
        (json!({"within": "30"}), false),
        (json!({"within": "1m 30s"}), false),
        (json!({"within": "1.5s"}), false),
        (json!({"within": "soon"}), false),
        (json!({"consecutive": "some"}), false),
        (json!({"url": null}), false),
        (json!({"url": 80}), false),
    ]
}

fn drain() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"socket": "/run/haproxy/admin.sock", "wait": "30s", "force_after": true}),
            true,
        ),
        (
            json!({"socket": "localhost:9999", "force_after": "false"}),
            true,
        ),
        (
            json!({"socket": null, "wait": null, "force_after": null}),
            true,
        ),
        (json!({"force_after": "30s"}), false),
        (json!({"wait": 30}), false),
        (json!({"socket": 9999}), false),
        (json!({"wait_up": "30s"}), false),
        (json!({"backend": null}), false),
    ]
}

fn enable() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"socket": "/run/haproxy/admin.sock", "wait_up": "30s"}),
            true,
        ),
        (json!({"wait_up": "0s"}), true),
        (json!({"wait_up": "later"}), false),
        (json!({"wait": "30s"}), false),
        (json!({"server": null}), false),
    ]
}

fn systemd_service() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({
                "description": "The web", "start": "notify", "user": "web", "group": "web",
                "directory": "/opt/web", "environment": {"PORT": "80"}, "credentials": {"key": "s"},
                "reload": "/bin/kill -HUP $MAINPID", "after": ["db.service"], "harden": "false",
                "writes": "/srv/web", "settings": {"LimitNOFILE": "4096"}, "enable": false,
                "restart": "always", "within": "30s", "settle": "0s", "replace": true
            }),
            true,
        ),
        (json!({"restart": "reload", "start": "forking"}), true),
        (
            json!({"restart": null, "writes": null, "settings": null}),
            true,
        ),
        (json!({"restart": "never"}), false),
        (json!({"start": "simple"}), false),
        (json!({"name": "web.service"}), false),
        (json!({"name": "../web"}), false),
        (json!({"name": "-web"}), false),
        (json!({"name": ""}), false),
        (json!({"exec": null}), false),
        (json!({"environment": {"PORT": 80}}), false),
        (json!({"within": 30}), false),
        (json!({"harden": "strictly"}), false),
    ]
}

fn service() -> Vec<(Value, bool)> {
    vec![
        (json!({"within": "30s"}), true),
        (json!({"state": "stopped"}), true),
        (json!({"state": "restarted", "within": null}), true),
        (json!({"state": "running"}), false),
        (json!({"state": null}), false),
        (json!({"name": "a b"}), false),
        (json!({"within": "soon"}), false),
    ]
}

fn nginx_drain() -> Vec<(Value, bool)> {
    vec![
        (
            json!({"wait": "5s", "file": "/etc/x.conf", "config": "/etc/n.conf"}),
            true,
        ),
        (json!({"wait": null, "file": null, "config": null}), true),
        (json!({"wait": 5}), false),
        (json!({"upstream": null}), false),
        (json!({"server": 80}), false),
    ]
}

fn nginx_enable() -> Vec<(Value, bool)> {
    vec![
        (
            json!({"file": "/etc/x.conf", "config": "/etc/n.conf"}),
            true,
        ),
        (json!({"wait": "5s"}), false),
        (json!({"server": null}), false),
    ]
}

fn tcp_check() -> Vec<(Value, bool)> {
    vec![
        (json!({"host": "db01", "within": "5s"}), true),
        (json!({"port": "5432", "host": null}), true),
        (json!({"port": 0}), false),
        (json!({"port": 65_536}), false),
        (json!({"port": null}), false),
        (json!({"port": "http"}), false),
        (json!({"host": 1}), false),
    ]
}

fn wait() -> Vec<(Value, bool)> {
    vec![
        (json!({"reason": "caches"}), true),
        (json!({"for": "1m30s", "reason": null}), true),
        (json!({"for": 30}), false),
        (json!({"for": null}), false),
        (json!({"reason": 1}), false),
    ]
}

fn agent(uses: &str, with: &Value) -> Result<(), String> {
    let action = tentacle::actions::find(uses).unwrap_or_else(|| panic!("no agent runs {uses}"));
    let with = with.as_object().unwrap();
    action.check(with).map_err(|error| error.to_string())
}

#[test]
fn the_grammar_and_the_agents_take_the_same_inputs() {
    let mut wrong = Vec::new();
    for (uses, with, taken) in samples() {
        let (server, agent) = (action::check(uses, &with), agent(uses, &with));
        if server.is_ok() != taken || agent.is_ok() != taken {
            wrong.push(format!(
                "{uses} {with}: grammar {server:?}, agent {agent:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The keys of an action type, as its refusal of another one lists them.
fn keys(refusal: Result<(), String>) -> BTreeSet<String> {
    let refusal = refusal.unwrap_err();
    let (_, list) = refusal
        .split_once("expected")
        .unwrap_or_else(|| panic!("{refusal}"));
    let names = list.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn the_grammar_and_the_agents_know_the_same_keys_and_each_is_sampled() {
    let mut sampled: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (uses, with, taken) in samples() {
        if taken {
            let given = with.as_object().unwrap().iter();
            let given = given.filter(|(_, value)| !value.is_null());
            let keys = given.map(|(key, _)| key.clone());
            sampled.entry(uses).or_default().extend(keys);
        }
    }
    let checked = TYPES
        .iter()
        .filter(|known| known.support == Support::Checked);
    let checked: BTreeSet<&str> = checked.map(|known| known.name).collect();
    let run: BTreeSet<&str> = tentacle::actions::REGISTRY
        .iter()
        .map(|a| a.name())
        .collect();
    assert_eq!(
        checked, run,
        "types that are checked, types that agents run"
    );
    for uses in checked {
        let wrong = json!({"no such key": 1});
        let known = keys(action::check(uses, &wrong));
        assert!(known.len() > 1, "{uses}: {known:?}");
        assert_eq!(known, keys(agent(uses, &wrong)), "{uses}");
        assert_eq!(
            Some(&known),
            sampled.get(uses),
            "{uses}: a key without a sample"
        );
    }
}

#[test]
fn templates_are_taken_where_the_agent_gets_a_text() {
    for (uses, with) in [
        ("script", json!({"run": "true", "substitute": "#{Yes}"})),
        (
            "package",
            json!({"package": "Web", "keep": "#{Keep}", "substitute": ["#{Glob}"]}),
        ),
        (
            "http.check",
            json!({"url": "#{Url}", "expect": "#{Status}", "within": "#{Time}", "insecure": "#{Yes}", "headers": {"A": "#{B}"}}),
        ),
        (
            "haproxy.drain",
            json!({"backend": "#{B}", "server": "#{S}", "wait": "#{Time}s", "force_after": "#{Yes}"}),
        ),
        (
            "haproxy.enable",
            json!({"backend": "#{B}", "server": "#{S}", "wait_up": "#{Time}"}),
        ),
        (
            "notify",
            json!({"text": "#{T}", "webhook": "#{Url}", "ignore_failure": "#{Yes}", "within": "#{Time}",
                   "email": {"server": "#{M}", "from": "#{F}", "to": "#{To}", "insecure": "#{Yes}"}}),
        ),
        (
            "iis.site",
            json!({"site": "#{S}", "path": "#{P}", "pool": {"name": "#{N}", "clr": "#{C}", "idle_timeout": "#{T}"},
                   "bindings": ["#{B}", {"port": "#{Port}", "sni": "#{Yes}"}], "start": "#{Yes}"}),
        ),
    ] {
        assert_eq!(action::check(uses, &with), Ok(()), "{uses} {with}");
    }
}
