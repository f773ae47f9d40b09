//! Inputs of `windows.service`.

use serde_json::{Value, json};

pub(super) fn cases() -> Vec<(Value, bool)> {
    vec![
        (json!({}), true),
        (
            json!({
                "display_name": "The web", "description": "Serves", "arguments": ["--port", "80"],
                "start": "delayed", "account": "SHOP\\web", "password": "s", "dependencies": "Tcpip",
                "recovery": ["5s", "1m"], "restart": "always", "state": "stopped",
                "within": "30s", "settle": "0s"
            }),
            true,
        ),
        (json!({"arguments": "--console", "recovery": "5s"}), true),
        (
            json!({"recovery": [], "dependencies": [], "arguments": []}),
            true,
        ),
        (
            json!({"recovery": null, "password": null, "state": null}),
            true,
        ),
        (json!({"start": "disabled"}), true),
        (json!({"start": "disabled", "state": "started"}), false),
        (json!({"start": "automatic"}), false),
        (json!({"state": "running"}), false),
        (json!({"restart": "never"}), false),
        (json!({"recovery": [5]}), false),
        (json!({"recovery": "soon"}), false),
        (json!({"name": "a b"}), false),
        (json!({"name": "web.service"}), false),
        (json!({"executable": " "}), false),
        (json!({"executable": null}), false),
        (json!({"within": 30}), false),
    ]
}
