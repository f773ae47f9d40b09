//! The unit file of a service, from the action's inputs. Nothing is done here.
//!
//! What must hold: an input stays one value of one line. Line breaks and a backslash at the end,
//! which joins lines, are refused, and what stands between quotes is escaped. `exec` and `reload`
//! are systemd's own command lines, so `%` and `$` mean there what they mean to systemd.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::ActionError;
use super::Inputs;

/// The first line of every unit that is made here: what does not begin with it is somebody else's.
pub(super) const MARK: &str = "# Made by Mantle; a deployment writes it anew.";

/// What a service seldom needs. Each can be given back under `settings`, whose lines stand last.
const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
UMask=0027
";

/// The text of the unit. `credentials` says where the file of each is.
pub(super) fn text(
    inputs: &Inputs,
    description: &str,
    credentials: &[(String, PathBuf)],
) -> Result<String, ActionError> {
    let mut text = format!("{MARK}\n[Unit]\n");
    let mut put = |key: &str, value: &str, input: &str| -> Result<(), ActionError> {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{key}={}", line(value, input)?);
        Ok(())
    };
    let description = inputs.description.as_deref().unwrap_or(description);
    put("Description", &no_specifiers(description), "description")?;
    put("Wants", "network-online.target", "after")?;
    let mut after = vec!["network-online.target"];
    after.extend(inputs.after.iter().map(String::as_str));
    put("After", &after.join(" "), "after")?;
    text.push_str("\n[Service]\n");
    let mut put = |key: &str, value: &str, input: &str| -> Result<(), ActionError> {
        let _ = writeln!(text, "{key}={}", line(value, input)?);
        Ok(())
    };
    put("Type", inputs.start.word(), "start")?;
    put("ExecStart", &inputs.exec, "exec")?;
    if let Some(reload) = &inputs.reload {
        put("ExecReload", reload, "reload")?;
    }
    put("Restart", "on-failure", "restart")?;
    put("RestartSec", "2", "restart")?;
    for (key, value, input) in [
        ("User", &inputs.user, "user"),
        ("Group", &inputs.group, "group"),
        ("WorkingDirectory", &inputs.directory, "directory"),
    ] {
        if let Some(value) = value {
            put(key, &no_specifiers(value), input)?;
        }
    }
    for (name, value) in &inputs.environment {
        put("Environment", &variable(name, value)?, "environment")?;
    }
    for (name, path) in credentials {
        let path = no_specifiers(&path.display().to_string());
        put("LoadCredential", &format!("{name}:{path}"), "credentials")?;
    }
    if inputs.harden {
        text.push_str(HARDENING);
        // A place of its own to write to, which stays from one version to the next.
        let _ = writeln!(text, "StateDirectory={}", inputs.name);
    }
    for folder in &inputs.writes {
        if !Path::new(folder).is_absolute() {
            return Err(ActionError::input(format!(
                "with.writes: '{folder}' is no absolute path"
            )));
        }
        let _ = writeln!(text, "ReadWritePaths={}", quoted(line(folder, "writes")?));
    }
    for (key, value) in &inputs.settings {
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(ActionError::input(format!(
                "with.settings: '{key}' is no name of a setting, such as LimitNOFILE"
            )));
        }
        let _ = writeln!(text, "{key}={}", line(value, "settings")?);
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

/// A value that stays on its line.
fn line<'a>(value: &'a str, input: &str) -> Result<&'a str, ActionError> {
    if value.chars().any(char::is_control) || value.ends_with('\\') {
        return Err(ActionError::input(format!(
            "with.{input}: a line of a unit has no line breaks and does not end with a backslash"
        )));
    }
    Ok(value)
}

fn no_specifiers(value: &str) -> String {
    value.replace('%', "%%")
}

fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '%' => text.push_str("%%"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn variable(name: &str, value: &str) -> Result<String, ActionError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(ActionError::input(format!(
            "with.environment: '{name}' cannot be the name of an environment variable"
        )));
    }
    Ok(quoted(&format!("{name}={value}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(more: Value) -> Result<String, ActionError> {
        let mut with = json!({"name": "web", "exec": "/opt/web --port 80"});
        let all = with.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        let inputs: Inputs = super::super::read_inputs(all).unwrap();
        text(
            &inputs,
            "shop in test",
            &[("key".to_owned(), "/var/a%b".into())],
        )
    }

    #[test]
    fn every_input_has_its_line() {
        let unit = made(json!({
            "start": "notify", "user": "web", "group": "www", "directory": "/opt/100%",
            "environment": {"A": "x \"y\" \\ 5%\nz"}, "reload": "/bin/kill -HUP $MAINPID",
            "after": "db.service", "writes": ["/srv/my web"], "settings": {"LimitNOFILE": "4096"}
        }))
        .unwrap();
        for line in [
            MARK,
            "Description=shop in test",
            "After=network-online.target db.service",
            "Type=notify",
            "ExecStart=/opt/web --port 80",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "User=web",
            "Group=www",
            "WorkingDirectory=/opt/100%%",
            r#"Environment="A=x \"y\" \\ 5%%\nz""#,
            "LoadCredential=key:/var/a%%b",
            "ProtectSystem=strict",
            "StateDirectory=web",
            r#"ReadWritePaths="/srv/my web""#,
            "LimitNOFILE=4096",
        ] {
            assert!(unit.lines().any(|own| own == line), "{line}\n{unit}");
        }
        let plain = made(json!({"harden": "false"})).unwrap();
        assert!(
            !plain.contains("Protect") && plain.contains("Type=exec"),
            "{plain}"
        );
    }

    #[test]
    fn no_input_becomes_a_second_line() {
        for more in [
            json!({"exec": "/bin/a\nUser=root"}),
            json!({"exec": "/bin/a \\"}),
            json!({"description": "a\n[Service]"}),
            json!({"user": "a\r"}),
            json!({"writes": "/a\n"}),
            json!({"writes": "relative"}),
            json!({"settings": {"A=b\nC": "d"}}),
            json!({"settings": {"A": "b\nC=d"}}),
            json!({"environment": {"A B": "c"}}),
            json!({"after": "a\nb"}),
        ] {
            let made = made(more.clone());
            assert!(
                matches!(made, Err(ActionError::Input { .. })),
                "{more}: {made:?}"
            );
        }
    }
}
