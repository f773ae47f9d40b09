//! Samples of the inputs of actions about files, processes and sites.

use serde_json::{Value, json};

pub(super) fn file_template() -> Vec<(Value, bool)> {
    vec![
        (json!({"content": "x"}), true),
        (json!({"package": "Web", "from": "conf/shop.conf"}), true),
        (
            json!({"content": "x", "mode": "0640", "owner": "web:www-data", "encoding": "utf-8-bom",
                   "line_ends": "crlf", "diff": "false"}),
            true,
        ),
        (
            json!({"content": "x", "mode": null, "owner": null, "encoding": null, "line_ends": null, "diff": null}),
            true,
        ),
        (json!({}), false),
        (json!({"from": "x"}), false),
        (json!({"package": "Web"}), false),
        (
            json!({"content": "x", "package": "Web", "from": "x"}),
            false,
        ),
        (json!({"content": "x", "to": null}), false),
        (json!({"content": "x", "mode": "rw"}), false),
        (json!({"content": "x", "mode": 640}), false),
        (json!({"content": "x", "owner": "a b"}), false),
        (json!({"content": "x", "encoding": "utf8"}), false),
        (json!({"content": "x", "line_ends": "cr"}), false),
        (json!({"content": "x", "diff": "some"}), false),
        (json!({"content": 1}), false),
    ]
}

pub(super) fn file_copy() -> Vec<(Value, bool)> {
    vec![
        (json!({"package": "Web"}), true),
        (
            json!({"package": "Web", "from": "conf", "mode": "644", "owner": ":33", "purge": "True", "exclude": "logs/**"}),
            true,
        ),
        (
            json!({"from": "/srv/a", "purge": true, "exclude": ["a", "b"]}),
            true,
        ),
        (
            json!({"from": "/srv/a", "mode": null, "owner": null, "purge": null, "exclude": null}),
            true,
        ),
        (json!({}), false),
        (json!({"package": "Web", "to": null}), false),
        (json!({"package": "Web", "mode": "9"}), false),
        (json!({"package": "Web", "owner": ""}), false),
        (json!({"package": "Web", "purge": 1}), false),
        (json!({"package": "Web", "exclude": [1]}), false),
        (json!({"package": "Web", "keep": 1}), false),
    ]
}

pub(super) fn nginx_site() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"listen": "8080", "server_name": ["a", "b"], "certificate": "/c", "key": "/k",
                       "settings": {"client_max_body_size": "2m"}, "file": "/etc/x.conf", "config": "/etc/n.conf"}),
            true,
        ),
        (json!({"root": null, "proxy_pass": "http://a"}), true),
        (json!({"root": null, "content": "server {}"}), true),
        (json!({"listen": [], "settings": {}, "file": null}), true),
        (json!({"root": null}), false),
        (json!({"content": "server {}"}), false),
        (json!({"proxy_pass": "http://a"}), false),
        (json!({"key": "/k"}), false),
        (json!({"listen": [80]}), false),
        (json!({"settings": {"a": 1}}), false),
        (json!({"site": null}), false),
        (json!({"upstream": "a"}), false),
    ]
}

pub(super) fn process_check() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({"name": null, "command": "--shop", "user": "web", "at_least": "2", "at_most": 3,
                       "within": "5s", "interval": "100ms"}),
            true,
        ),
        (json!({"at_most": 0}), true),
        (json!({"at_least": null, "at_most": null}), true),
        (json!({"name": null}), false),
        (json!({"at_least": 2, "at_most": 1}), false),
        (json!({"at_least": -1}), false),
        (json!({"within": 5}), false),
        (json!({"pid": 1}), false),
    ]
}
