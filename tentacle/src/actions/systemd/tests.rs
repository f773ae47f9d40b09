//! Without a systemd: what is refused before anything is done.

use mantle_shared::uuid::Uuid;
use serde_json::json;

use super::super::test_context::{Bench, message};
use super::*;

#[test]
fn a_machine_without_systemd_is_told_of_at_once() {
    if std::path::Path::new("/run/systemd/system").exists() {
        // Here it would be carried out, on the machine of whoever runs the tests.
        return;
    }
    let bench = Bench::new();
    let error = message(bench.run(&SystemdService, json!({"name": "web", "exec": "/bin/true"})));
    assert!(
        error.contains("systemd does not run on this machine"),
        "{error}"
    );
    assert!(error.contains("platform: linux"), "{error}");
    let error = message(bench.run(&back::Back, json!({"name": "web"})));
    assert!(
        error.contains("systemd does not run on this machine"),
        "{error}"
    );
}

#[test]
fn a_name_that_would_be_a_path_or_an_option_is_refused() {
    let bench = Bench::new();
    for name in ["../x", "-x", "", "a b", "x.service"] {
        let result = bench.run(&SystemdService, json!({"name": name, "exec": "/bin/true"}));
        assert!(
            matches!(result, Err(ActionError::Input { .. })),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn what_is_gone_back_to_is_the_last_that_was_seen_to_work() {
    let task = |number: u128| TaskId::from_uuid(Uuid::from_u128(number));
    let record = |by: u128, pending: bool| Record {
        task: task(by),
        unit: Some("old".to_owned()),
        active: true,
        enabled: true,
        pending,
    };
    // (the record that is there, whether its unit is what a new change goes back to)
    for (known, goes_back_to_it) in [
        (None, false),
        (Some(record(2, false)), false),
        (Some(record(2, true)), true),
        (Some(record(1, false)), true),
        (Some(record(1, true)), true),
    ] {
        let next = next_record(
            task(1),
            known.clone(),
            Some("found".to_owned()),
            &State::default(),
        );
        let expected = if goes_back_to_it { "old" } else { "found" };
        assert_eq!(next.unit.as_deref(), Some(expected), "{known:?}");
        assert!(next.pending && next.task == task(1));
    }
}
