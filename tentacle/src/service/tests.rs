//! The unit's text by a table, and by systemd's own judgement.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use super::unit::{BadPath, Profile, UnitOptions, polkit_rule, serves, unit, unit_name};

fn options() -> UnitOptions {
    UnitOptions {
        program: "/usr/local/bin/tentacle".into(),
        data: "/var/lib/tentacle".into(),
        apps: "/var/lib/tentacle-apps".into(),
        profile: Profile::Full,
        writable: Vec::new(),
    }
}

fn confined() -> UnitOptions {
    UnitOptions {
        profile: Profile::Confined,
        writable: vec!["/srv/sites".into()],
        ..options()
    }
}

/// What settings with this name say, in order.
fn settings<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_unit_that_is_packaged_is_the_one_that_is_installed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/tentacle.service");
    let packaged = std::fs::read_to_string(path).unwrap();
    assert_eq!(packaged, unit(&options()).unwrap());
}

#[test]
fn what_each_option_says_in_the_unit() {
    let odd = |path: &str| UnitOptions {
        data: path.into(),
        ..options()
    };
    let table = [
        (options(), "Type", vec!["notify"]),
        (options(), "KillMode", vec!["process"]),
        (options(), "Delegate", vec!["yes"]),
        (options(), "User", vec![]),
        (options(), "ProtectSystem", vec![]),
        (confined(), "KillMode", vec!["process"]),
        (confined(), "User", vec!["tentacle"]),
        (confined(), "NoNewPrivileges", vec!["yes"]),
        (confined(), "ProtectSystem", vec!["strict"]),
        (
            confined(),
            "ReadWritePaths",
            vec![
                "-/var/lib/tentacle -/var/lib/tentacle-apps -/srv/sites",
                "/tmp /var/tmp",
            ],
        ),
        // Emptied when the agent stops, which steps outlive.
        (confined(), "PrivateTmp", vec![]),
        (confined(), "RuntimeDirectory", vec![]),
        (
            odd("/srv/my \"data\" 100%"),
            "ExecStart",
            vec![r#"/usr/local/bin/tentacle --data "/srv/my \"data\" 100%%" run"#],
        ),
        (
            odd("/srv/my data 100%"),
            "ConditionPathExists",
            vec!["/srv/my data 100%%/identity/identity.json"],
        ),
    ];
    for (options, name, expected) in table {
        let text = unit(&options).unwrap();
        assert_eq!(settings(&text, name), expected, "{name} of\n{text}");
    }
}

#[test]
fn no_path_can_say_anything_else() {
    for path in ["relative", "/a\nExecStartPre=/bin/sh", "/a$HOME", "/a\tb"] {
        for options in [
            UnitOptions {
                data: path.into(),
                ..options()
            },
            UnitOptions {
                program: path.into(),
                ..options()
            },
            UnitOptions {
                writable: vec![path.into()],
                ..confined()
            },
        ] {
            let refusal: BadPath = unit(&options).unwrap_err();
            assert!(refusal.path.starts_with(path), "{refusal}");
        }
    }
}

#[test]
fn a_unit_is_known_by_the_data_that_it_runs_with() {
    for data in ["/var/lib/tentacle", "/srv/my data"] {
        let text = unit(&UnitOptions {
            data: data.into(),
            ..options()
        });
        let text = text.unwrap();
        assert!(serves(&text, Path::new(data)));
        for other in ["/var/lib", "/srv/tentacle", "/srv/my data 2"] {
            assert!(!serves(&text, Path::new(other)), "{other}");
        }
    }
}

#[test]
fn names_of_units_are_told_from_what_is_none() {
    assert_eq!(unit_name("tentacle").unwrap(), "tentacle.service");
    assert_eq!(unit_name("shop@1.service").unwrap(), "shop@1.service");
    for text in ["", "-x", "a b", "../a", "a\"", "a/b", &"a".repeat(201)] {
        assert!(unit_name(text).is_err(), "{text}");
    }
}

#[test]
fn the_confined_agent_manages_the_named_units_and_no_others() {
    let rule = polkit_rule(&["shop.service".to_owned(), "site.service".to_owned()]);
    assert!(rule.contains(r#"var units = ["shop.service", "site.service"];"#));
    assert!(rule.contains(r#"subject.user == "tentacle""#));
}

#[cfg(target_os = "linux")]
#[test]
fn what_systemd_says_of_a_service_is_read() {
    let text = "MainPID=42\nNRestarts=3\nStatusText=connected; 1 step running\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nFragmentPath=/etc/systemd/system/tentacle.service\nUser=tentacle\n";
    let standing = super::systemd::read_standing("tentacle.service", text).unwrap();
    assert_eq!((standing.pid, standing.restarts), (42, 3));
    assert_eq!(standing.profile, "confined");
    assert_eq!(standing.says, "connected; 1 step running");
    let missing = "LoadState=not-found\nActiveState=inactive\n";
    assert_eq!(super::systemd::read_standing("x.service", missing), None);
}

/// Writes the unit, with a program that is there, and gives what `systemd-analyze` says of it.
#[cfg(target_os = "linux")]
fn analyzed(options: UnitOptions, words: &[&str]) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("tentacle.service");
    let options = UnitOptions {
        program: "/bin/true".into(),
        ..options
    };
    std::fs::write(&path, unit(&options).unwrap()).unwrap();
    let output = std::process::Command::new("systemd-analyze")
        .args(words)
        .arg(&path)
        .output()
        .expect("systemd-analyze of Debian's systemd");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_understands_every_line_of_it() {
    let odd = UnitOptions {
        data: "/srv/my \"data\" 100%".into(),
        writable: vec!["/srv/100% sites".into()],
        ..confined()
    };
    for options in [options(), confined(), odd] {
        // Only of this unit: what is wrong with the machine's own is not ours.
        let (_, text) = analyzed(options, &["verify", "--man=no"]);
        let ours: Vec<_> = text
            .lines()
            .filter(|line| line.contains("tentacle"))
            .collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_confined_profile_is_what_it_says() {
    // systemd's own measure, in tenths: 100 is everything allowed. What is left of it is what steps need:
    // a network, a view of all processes, memory that may be written and run.
    let offline = ["security", "--offline=true", "--threshold=40"];
    let (confines, text) = analyzed(confined(), &offline);
    assert!(confines, "{text}");
    let (confines, _) = analyzed(options(), &offline);
    assert!(!confines, "the full profile is no sandbox");
}
