//! A service goes from what it is to what it should be, and back: by a service control manager in memory.
//! What the real one does with it is seen under Wine (`tests/tests/integration/windows/services.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::actions::test_context::{Bench, message};
use crate::scm::testing::{InMemory, setup};
use crate::scm::{Services as _, State};

const SHOP: &str = "shop";

/// Runs the action with these inputs beside the name and the program.
fn run(bench: &Bench, services: &InMemory, program: &str, with: &Value) -> Result<(), ActionError> {
    let mut all = json!({"name": SHOP, "executable": program, "settle": "0s"});
    let more = with.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    bench.with_inputs(all, |context| {
        let inputs = context.inputs::<Inputs>()?.sound()?;
        Changing::of(context, services, &inputs.name)?.run(&inputs)
    })
}

fn back(bench: &Bench, services: &InMemory) -> Result<(), ActionError> {
    bench.with_context(|context| back::go_back(&Changing::of(context, services, SHOP)?, context))
}

/// Version 1 runs; what was done for it is forgotten.
fn with_version_1(bench: &mut Bench) -> InMemory {
    let services = InMemory::default();
    run(bench, &services, r"C:\1\shop.exe", &json!({})).unwrap();
    assert_eq!(services.take_done(), ["make", "start"]);
    bench.task += 1;
    services
}

fn program(services: &InMemory) -> String {
    services.get(SHOP).unwrap().setup.program
}

#[test]
fn it_is_made_once_changed_where_it_differs_and_otherwise_left_alone() {
    let mut bench = Bench::new();
    let services = with_version_1(&mut bench);
    run(&bench, &services, r"C:\1\shop.exe", &json!({})).unwrap();
    assert_eq!(services.take_done(), Vec::<String>::new());
    assert!(bench.said.text().contains("nothing to do"));
    let always = json!({"restart": "always"});
    run(&bench, &services, r"C:\1\shop.exe", &always).unwrap();
    assert_eq!(services.take_done(), ["stop", "start"]);
    run(
        &bench,
        &services,
        r"C:\2\shop.exe",
        &json!({"arguments": "--port 80"}),
    )
    .unwrap();
    assert_eq!(services.take_done(), ["stop", "change", "start"]);
    let known = services.get(SHOP).unwrap();
    assert_eq!(known.setup.program, r"C:\2\shop.exe");
    assert_eq!(known.setup.arguments, ["--port 80"]);
    assert_eq!(known.state, State::Running);
}

#[test]
fn a_program_that_does_not_come_up_leaves_the_service_as_it_was() {
    let mut bench = Bench::new();
    let mut services = with_version_1(&mut bench);
    services.broken = Some("broken");
    let error = run(&bench, &services, r"C:\broken\shop.exe", &json!({}))
        .unwrap_err()
        .to_string();
    assert!(error.contains("own error 42"), "{error}");
    assert!(error.contains("as before again, and runs"), "{error}");
    assert_eq!(
        services.take_done(),
        ["stop", "change", "start", "change", "start"]
    );
    assert_eq!(program(&services), r"C:\1\shop.exe");
    // One that was stopped by somebody is stopped again afterwards; Wine tells of the failure in another way.
    services.waits_for_starts = true;
    services.stop(SHOP).unwrap();
    bench.task += 1;
    let error = run(&bench, &services, r"C:\broken\shop.exe", &json!({})).unwrap_err();
    assert!(error.to_string().contains("stopped as it was"), "{error}");
    assert!(error.to_string().contains("own error 42"), "{error}");
    assert_eq!(services.get(SHOP).unwrap().state, State::Stopped);
}

#[test]
fn a_service_that_was_not_there_is_not_there_when_it_fails() {
    let bench = Bench::new();
    let services = InMemory {
        broken: Some("broken"),
        ..InMemory::default()
    };
    let error = run(&bench, &services, r"C:\broken\shop.exe", &json!({})).unwrap_err();
    assert!(error.to_string().contains("there is none now"), "{error}");
    assert!(services.get(SHOP).is_none());
    assert_eq!(services.take_done(), ["make", "start", "remove"]);
}

#[test]
fn what_windows_refuses_is_told_and_put_back() {
    let mut bench = Bench::new();
    let services = with_version_1(&mut bench);
    services.refuse.borrow_mut().insert("change", 1057);
    let with = json!({"account": r".\gulls", "password": "wrong"});
    let error = run(&bench, &services, r"C:\1\shop.exe", &with)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Windows refuses to change the service shop"),
        "{error}"
    );
    assert!(error.contains("its password is right"), "{error}");
    assert!(!error.contains("wrong;"), "{error}");
    let known = services.get(SHOP).unwrap();
    assert_eq!(
        (known.setup.account.as_str(), known.state),
        ("LocalSystem", State::Running)
    );
}

#[test]
fn a_rollback_puts_back_what_this_task_found_and_nothing_of_another() {
    let mut bench = Bench::new();
    let services = with_version_1(&mut bench);
    let task = bench.task;
    run(&bench, &services, r"C:\2\shop.exe", &json!({})).unwrap();
    // Twice in one task: what is gone back to is what the task found.
    run(&bench, &services, r"C:\3\shop.exe", &json!({})).unwrap();
    bench.task += 1;
    back(&bench, &services).unwrap();
    assert_eq!(program(&services), r"C:\3\shop.exe");
    bench.task = task;
    back(&bench, &services).unwrap();
    assert_eq!(program(&services), r"C:\1\shop.exe");
    assert_eq!(services.get(SHOP).unwrap().state, State::Running);
    // Again changes nothing.
    services.take_done();
    back(&bench, &services).unwrap();
    assert_eq!(services.take_done(), Vec::<String>::new());
}

#[test]
fn a_rollback_of_the_first_deployment_removes_the_service() {
    let bench = Bench::new();
    let services = InMemory::default();
    run(&bench, &services, r"C:\1\shop.exe", &json!({})).unwrap();
    back(&bench, &services).unwrap();
    assert!(services.get(SHOP).is_none());
}

#[test]
fn a_setup_that_a_kill_left_untried_is_never_what_is_gone_back_to() {
    let mut bench = Bench::new();
    let mut services = with_version_1(&mut bench);
    // Killed right after the change: the record says that it was not seen to work.
    bench.with_context(|context| {
        let changing = Changing::of(context, &services, SHOP).unwrap();
        let mut record = changing.store().read().unwrap().unwrap();
        record.task = context.names.task;
        record.pending = true;
        record.running = true;
        record.before = Some(setup(r"C:\1\shop.exe"));
        changing.store().write(&record).unwrap();
    });
    services
        .change(SHOP, &setup(r"C:\2\shop.exe"), None)
        .unwrap();
    services.broken = Some(r"C:\3");
    bench.task += 1;
    run(&bench, &services, r"C:\3\shop.exe", &json!({})).unwrap_err();
    assert_eq!(program(&services), r"C:\1\shop.exe");
}

#[test]
fn an_account_without_its_password_is_refused_before_anything_is_touched() {
    let mut bench = Bench::new();
    let services = with_version_1(&mut bench);
    let account = |account: &str| json!({"account": account});
    let error = run(&bench, &services, r"C:\1\shop.exe", &account(r"SHOP\gulls")).unwrap_err();
    assert!(matches!(error, ActionError::Input { .. }), "{error}");
    assert!(error.to_string().contains(r"NT SERVICE\shop"), "{error}");
    assert_eq!(services.take_done(), Vec::<String>::new());
    for free in [r"NT SERVICE\shop", r"SHOP\gulls$"] {
        run(&bench, &services, r"C:\1\shop.exe", &account(free)).unwrap();
    }
    // The account of before had a password, which nobody here knows: it stays with the new one, and says so.
    let with = json!({"account": r"SHOP\gulls", "password": "s"});
    run(&bench, &services, r"C:\1\shop.exe", &with).unwrap();
    bench.task += 1;
    run(&bench, &services, r"C:\1\shop.exe", &account("LocalSystem")).unwrap();
    back(&bench, &services).unwrap();
    assert_eq!(services.get(SHOP).unwrap().setup.account, "LocalSystem");
    assert!(
        bench
            .said
            .warnings()
            .concat()
            .contains(r"the password of SHOP\gulls")
    );
    assert_eq!(services.get(SHOP).unwrap().password.as_deref(), Some("s"));
}

#[test]
fn a_disabled_service_is_stopped_and_cannot_be_wanted_started() {
    let mut bench = Bench::new();
    let services = with_version_1(&mut bench);
    let disabled = json!({"start": "disabled"});
    run(&bench, &services, r"C:\1\shop.exe", &disabled).unwrap();
    assert_eq!(services.get(SHOP).unwrap().state, State::Stopped);
    let both = json!({"start": "disabled", "state": "started"});
    let error = run(&bench, &services, r"C:\1\shop.exe", &both).unwrap_err();
    assert!(matches!(error, ActionError::Input { .. }), "{error}");
    let manual = json!({"start": "manual", "state": "stopped", "recovery": []});
    run(&bench, &services, r"C:\1\shop.exe", &manual).unwrap();
    let known = services.get(SHOP).unwrap();
    assert_eq!(
        (known.setup.start, known.state),
        (Start::Manual, State::Stopped)
    );
    assert_eq!(known.setup.recovery, Some(Recovery::restarts(&[], RESET_S)));
}

#[test]
fn an_action_that_is_stopped_puts_the_service_back() {
    let mut bench = Bench::new();
    let services = with_version_1(&mut bench);
    bench.stop.stop();
    let error = run(&bench, &services, r"C:\2\shop.exe", &json!({})).unwrap_err();
    assert_eq!(error, ActionError::Stopped);
    assert_eq!(program(&services), r"C:\1\shop.exe");
    assert_eq!(services.get(SHOP).unwrap().state, State::Running);
}

#[cfg(not(windows))]
#[test]
fn a_machine_without_windows_is_told_of_at_once() {
    let bench = Bench::new();
    let with = json!({"name": "shop", "executable": "/bin/true"});
    let error = message(bench.run(&WindowsService, with));
    assert!(error.contains("platform: windows"), "{error}");
    let error = message(bench.run(&back::Back, json!({"name": "shop"})));
    assert!(error.contains("platform: windows"), "{error}");
}
