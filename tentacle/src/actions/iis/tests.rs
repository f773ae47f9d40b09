//! The actions against the stand-in, in place: what they order, what is there afterwards, and what
//! is left when something fails in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;

use serde_json::json;

use super::change::{Order, Program};
use super::standin::StandIn;
use super::*;
use crate::actions::StopToken;
use crate::actions::test_context::Bench;

/// The stand-in as IIS.
#[derive(Default)]
struct Fake {
    at: RefCell<StandIn>,
    stop: StopToken,
    /// Trips the stop token when this many changes were made.
    stop_after: Option<usize>,
}

impl Fake {
    fn call(&self, order: &Order) -> Result<String, ActionError> {
        let mut at = self.at.borrow_mut();
        let (code, said) = match order.program {
            Program::Appcmd => at.appcmd(&order.arguments),
            Program::Netsh => at.netsh(&order.arguments),
        };
        if self.stop_after.is_some_and(|most| at.calls.len() >= most) {
            self.stop.stop();
        }
        if code == 0 {
            Ok(said)
        } else {
            Err(ActionError::Failed {
                message: said.trim().to_owned(),
                exit_code: Some(code),
            })
        }
    }

    /// What is there, without what was called.
    fn there(&self) -> StandIn {
        let mut there = self.at.borrow().clone();
        there.calls.clear();
        // What is as it is by itself is as if nobody had said it, and the order is nothing to anybody.
        there
            .logins
            .retain(|key, on| *on != key.ends_with("anonymousAuthentication"));
        for site in there.sites.values_mut() {
            site.bindings.sort();
        }
        there
    }

    fn calls(&self) -> usize {
        self.at.borrow().calls.len()
    }
}

impl Iis for Fake {
    fn order(&self, order: &Order) -> Result<String, ActionError> {
        self.stop.check()?;
        self.call(order)
    }

    fn take_back(&self, order: &Order) -> Result<String, ActionError> {
        self.call(order)
    }

    fn list(&self, arguments: &[&str]) -> Result<String, ActionError> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        Ok(self.at.borrow_mut().appcmd(&arguments).1)
    }

    fn certificate(&self, place: &str) -> Result<Option<String>, ActionError> {
        Ok(self.at.borrow().certificates.get(place).cloned())
    }
}

fn site(bench: &Bench, iis: &Fake, with: Value) -> Result<ActionReport, ActionError> {
    bench.with_inputs(with, |context| {
        let inputs: SiteInputs = context.inputs()?;
        make_site(iis, context, &inputs)
    })
}

fn application(bench: &Bench, iis: &Fake, with: Value) -> Result<ActionReport, ActionError> {
    bench.with_inputs(with, |context| {
        let inputs: ApplicationInputs = context.inputs()?;
        make_application(iis, context, &inputs)
    })
}

fn directory(bench: &Bench, iis: &Fake, with: Value) -> Result<ActionReport, ActionError> {
    bench.with_inputs(with, |context| {
        let inputs: DirectoryInputs = context.inputs()?;
        make_directory(iis, context, &inputs)
    })
}

fn pool(bench: &Bench, iis: &Fake, with: Value) -> Result<ActionReport, ActionError> {
    bench.with_inputs(with, |context| {
        let inputs: PoolSettings = context.inputs()?;
        make_pool(iis, context, &inputs)
    })
}

fn roll_back(bench: &Bench, iis: &Fake) {
    bench.with_inputs(json!({"action": "Install"}), |context| {
        undo::restore(iis, context, &log(context, "Install")).unwrap();
    });
}

const PRINT: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9011223344";
const OTHER: &str = "b1b2c3d4e5f60718293a4b5c6d7e8f9011223344";

/// A site with all that can be said of one.
fn whole(path: &str, port: u16, certificate: &str) -> Value {
    json!({
        "site": "The Shop",
        "path": path,
        "pool": {"name": "Shop", "clr": "none", "identity": "network_service", "idle_timeout": "1h30m"},
        "bindings": [
            format!("http/*:{port}:"),
            {"protocol": "https", "host": "shop.example.com", "certificate": certificate, "sni": true},
        ],
        "authentication": {"anonymous": false, "windows": "True"},
    })
}

#[test]
fn a_site_is_made_whole_and_is_not_touched_again() {
    let (bench, iis) = (Bench::new(), Fake::default());
    site(&bench, &iis, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    let there = iis.there();
    let made = &there.sites["The Shop"];
    assert!(made.started);
    assert_eq!(
        made.bindings,
        [
            ("http".to_owned(), "*:8080:".to_owned(), 0),
            ("https".to_owned(), "*:443:shop.example.com".to_owned(), 1)
        ]
    );
    assert_eq!(made.applications["/"].pool, "Shop");
    assert_eq!(made.applications["/"].directories["/"], "C:\\Sites\\1");
    let pool = &there.pools["Shop"].settings;
    assert_eq!(pool["managedRuntimeVersion"], "");
    assert_eq!(pool["processModel.identityType"], "NetworkService");
    assert_eq!(pool["processModel.idleTimeout"], "01:30:00");
    assert_eq!(
        there.certificates["hostnameport=shop.example.com:443"],
        PRINT
    );
    assert!(!there.logins["The Shop anonymousAuthentication"]);
    assert!(there.logins["The Shop windowsAuthentication"]);
    assert_eq!(
        bench.said.variable("Iis.Path").as_deref(),
        Some("C:\\Sites\\1")
    );
    let calls = iis.calls();
    site(&bench, &iis, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    assert_eq!(iis.calls(), calls, "it is as it should be");
    assert!(bench.said.text().contains("is as it should be"));
}

#[test]
fn a_new_version_changes_what_differs_and_the_folder_last() {
    let (bench, iis) = (Bench::new(), Fake::default());
    site(&bench, &iis, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    let before = iis.calls();
    site(&bench, &iis, whole("C:/Sites/2", 8081, OTHER)).unwrap();
    let calls = iis.at.borrow().calls[before..].to_vec();
    assert_eq!(
        calls,
        [
            "http delete sslcert hostnameport=shop.example.com:443",
            &format!(
                "http add sslcert hostnameport=shop.example.com:443 certhash={OTHER} appid={{6b0c2ea1-6a4e-4ae5-9c0f-0b6f52b4a6d1}} certstorename=MY"
            ),
            "set site /site.name:The Shop /-bindings.[protocol='http',bindingInformation='*:8080:'] /+bindings.[protocol='http',bindingInformation='*:8081:']",
            "set vdir /vdir.name:The Shop/ /physicalPath:C:\\Sites\\2",
        ]
    );
    assert_eq!(
        bench.said.variable("Iis.PreviousPath").as_deref(),
        Some("C:\\Sites\\1")
    );
}

#[test]
fn whatever_fails_leaves_the_site_as_it_was() {
    let (bench, iis) = (Bench::new(), Fake::default());
    site(&bench, &iis, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    let before = iis.there();
    let mut other = whole("C:\\Sites\\2", 8081, OTHER);
    other["pool"]["clr"] = json!("v2.0");
    other["authentication"]["basic"] = json!(true);
    for failing in [
        "set apppool",
        "delete sslcert",
        "add sslcert",
        "set site",
        "basicAuthentication /enabled",
        "set vdir",
    ] {
        iis.at.borrow_mut().failing = vec![failing.to_owned()];
        let error = site(&bench, &iis, other.clone()).unwrap_err().to_string();
        assert!(
            error.to_lowercase().contains("told to fail"),
            "{failing}: {error}"
        );
        assert!(iis.at.borrow().failing.is_empty(), "{failing} was met");
        assert_eq!(iis.there(), before, "{failing}");
    }
    site(&bench, &iis, other).unwrap();
    assert_ne!(iis.there(), before);
}

#[test]
fn a_way_back_that_fails_is_told_and_gone_when_the_step_rolls_back() {
    let (bench, iis) = (Bench::new(), Fake::default());
    site(&bench, &iis, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    let before = iis.there();
    let mut bench = bench;
    bench.task = 2;
    // The folder cannot be changed, and then the bindings not be put back.
    let set_site_back = "/-bindings.[protocol='http',bindingInformation='*:8081:']";
    iis.at.borrow_mut().failing = vec!["set vdir".to_owned(), set_site_back.to_owned()];
    site(&bench, &iis, whole("C:\\Sites\\2", 8081, OTHER)).unwrap_err();
    assert!(iis.at.borrow().failing.is_empty(), "both were met");
    assert!(bench.said.text().contains("not taken back: set site"));
    assert_ne!(iis.there(), before);
    roll_back(&bench, &iis);
    assert_eq!(iis.there(), before);
}

#[test]
fn a_site_that_cannot_run_is_taken_away_again_and_the_reason_is_said() {
    let (bench, iis) = (Bench::new(), Fake::default());
    let first = json!({"site": "One", "path": "C:\\1", "bindings": "http/*:80:"});
    site(&bench, &iis, first).unwrap();
    let before = iis.there();
    let second = json!({"site": "Two", "path": "C:\\2", "bindings": "http/*:80:", "pool": "Two"});
    let error = site(&bench, &iis, second).unwrap_err().to_string();
    assert!(error.contains("start the site Two"), "{error}");
    assert!(error.contains("already exists"), "{error}");
    assert_eq!(iis.there(), before);
}

#[test]
fn a_stop_in_the_middle_takes_back_what_was_done() {
    let (bench, first) = (Bench::new(), Fake::default());
    site(&bench, &first, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    let before = first.there();
    for stop_after in 1..=3 {
        let iis = Fake {
            at: RefCell::new(before.clone()),
            stop_after: Some(stop_after),
            ..Fake::default()
        };
        let stopped = site(&bench, &iis, whole("C:\\Sites\\2", 8081, OTHER));
        assert_eq!(stopped, Err(ActionError::Stopped), "{stop_after}");
        assert_eq!(iis.there(), before, "{stop_after}");
    }
}

#[test]
fn a_step_that_rolls_back_restores_what_a_success_had_changed() {
    let (bench, iis) = (Bench::new(), Fake::default());
    site(&bench, &iis, whole("C:\\Sites\\1", 8080, PRINT)).unwrap();
    // Another deployment: another task.
    let before = iis.there();
    let mut bench = Bench::new();
    bench.task = 2;
    site(&bench, &iis, whole("C:\\Sites\\2", 8081, OTHER)).unwrap();
    assert_ne!(iis.there(), before);
    roll_back(&bench, &iis);
    assert_eq!(iis.there(), before);
    // Once more there is nothing to take back.
    let calls = iis.calls();
    roll_back(&bench, &iis);
    assert_eq!(iis.calls(), calls);
}

#[test]
fn bindings_of_others_stay_where_that_is_asked_for() {
    let (bench, iis) = (Bench::new(), Fake::default());
    let with = |bindings: Value, keep: bool| json!({"site": "S", "path": "C:\\1", "bindings": bindings, "keep_bindings": keep});
    site(
        &bench,
        &iis,
        with(json!(["http/*:80:", "http/*:81:"]), false),
    )
    .unwrap();
    site(&bench, &iis, with(json!("http/*:82:"), true)).unwrap();
    assert_eq!(iis.there().sites["S"].bindings.len(), 3);
    site(&bench, &iis, with(json!("http/*:82:"), false)).unwrap();
    assert_eq!(
        iis.there().sites["S"].bindings,
        [("http".to_owned(), "*:82:".to_owned(), 0)]
    );
}

#[test]
fn applications_and_virtual_directories_need_what_they_stand_in() {
    let (bench, iis) = (Bench::new(), Fake::default());
    let api = json!({"site": "S", "application": "/api", "path": "C:\\Api\\1", "pool": "Api"});
    let error = application(&bench, &iis, api.clone())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("there is no site 'S'") && error.contains("iis.site"),
        "{error}"
    );
    site(
        &bench,
        &iis,
        json!({"site": "S", "path": "C:\\1", "bindings": "http/*:80:"}),
    )
    .unwrap();
    let images =
        json!({"site": "S", "application": "/api", "directory": "/img", "path": "D:\\img"});
    let error = directory(&bench, &iis, images.clone())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no application /api"), "{error}");
    let empty = iis.there();
    let mut bench = bench;
    bench.task = 2;
    application(&bench, &iis, api.clone()).unwrap();
    directory(&bench, &iis, images.clone()).unwrap();
    let there = iis.there();
    let made = &there.sites["S"].applications["/api"];
    assert_eq!(made.pool, "Api");
    assert_eq!(made.directories["/"], "C:\\Api\\1");
    assert_eq!(made.directories["/img"], "D:\\img");
    // New folders, and back again.
    bench.task = 3;
    let (mut api, mut images) = (api, images);
    api["path"] = json!("C:\\Api\\2");
    images["path"] = json!("D:\\img2");
    application(&bench, &iis, api).unwrap();
    directory(&bench, &iis, images).unwrap();
    assert_eq!(
        iis.there().sites["S"].applications["/api"].directories["/img"],
        "D:\\img2"
    );
    roll_back(&bench, &iis);
    assert_eq!(iis.there(), there);
    bench.task = 2;
    roll_back(&bench, &iis);
    assert_eq!(iis.there(), empty);
}

#[test]
fn a_pool_is_made_changed_and_run_as_it_is_asked() {
    let (bench, iis) = (Bench::new(), Fake::default());
    pool(&bench, &iis, json!({"name": "P", "state": "stopped"})).unwrap();
    assert!(!iis.there().pools["P"].started);
    let with = json!({"name": "P", "user": "corp\\svc", "password": "s3cret", "enable_32bit": true, "state": "recycled",
        "settings": {"managedPipelineMode": "Classic"}});
    pool(&bench, &iis, with.clone()).unwrap();
    let own = iis.there().pools["P"].clone();
    assert!(own.started);
    assert_eq!(own.settings["processModel.identityType"], "SpecificUser");
    assert_eq!(own.settings["managedPipelineMode"], "Classic");
    assert_eq!(own.settings["enable32BitAppOnWin64"], "true");
    let calls = iis.calls();
    pool(&bench, &iis, with).unwrap();
    assert_eq!(
        iis.at.borrow().calls[calls..],
        ["recycle apppool /apppool.name:P"]
    );
    // The way back never holds the password.
    let folder = bench.state_dir.undo();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
    }
    let unknown = json!({"name": "P", "settings": {"processModel.nonsense": 1}});
    let error = pool(&bench, &iis, unknown).unwrap_err().to_string();
    assert!(error.contains("Unknown attribute"), "{error}");
}

#[test]
fn wrong_inputs_name_the_key_before_anything_is_done() {
    let (bench, iis) = (Bench::new(), Fake::default());
    let with = |key: &str, value: Value| {
        let mut with = json!({"site": "S", "path": "C:\\1", "bindings": "http/*:80:"});
        with[key] = value;
        with
    };
    for (with, word) in [
        (with("site", json!("a/b")), "site: "),
        (with("site", json!(" ")), "site: "),
        (with("path", json!("Sites")), "path: "),
        (with("path", json!("/srv/www")), "path: "),
        (with("bindings", json!([])), "bindings: "),
        (
            with("bindings", json!(["http/*:80:", "http/*:80:"])),
            "twice",
        ),
        (with("bindings", Value::Null), "where it is to listen"),
        (with("pool", json!({"name": "P", "clr": "v3"})), "clr"),
        (
            with("pool", json!({"name": "P", "user": "u"})),
            "go together",
        ),
        (
            with(
                "pool",
                json!({"name": "P", "identity": "local_system", "user": "u", "password": "p"}),
            ),
            "has no user",
        ),
        (
            with("pool", json!({"name": "P", "idle_timeout": "soon"})),
            "idle_timeout",
        ),
        (
            with("pool", json!({"name": "P", "settings": {"a b": 1}})),
            "settings",
        ),
        (with("pool", json!({"name": "P", "clrs": 1})), "clrs"),
        (with("authentication", json!({"basic": "maybe"})), "basic"),
        (with("port", json!(80)), "port"),
    ] {
        let error = site(&bench, &iis, with.clone()).unwrap_err();
        assert!(
            matches!(error, ActionError::Input { .. }),
            "{with}: {error}"
        );
        assert!(error.to_string().contains(word), "{with}: {error}");
    }
    assert_eq!(iis.calls(), 0);
}

#[test]
fn a_machine_that_is_no_windows_says_so() {
    if !cfg!(windows) {
        let bench = Bench::new();
        let with = json!({"site": "S", "path": "C:\\1", "bindings": "http/*:80:"});
        let error = bench.run(&Site, with).unwrap_err().to_string();
        assert!(error.contains("platform: windows"), "{error}");
        assert!(
            !crate::actions::features()
                .iter()
                .any(|one| one.starts_with("action:iis."))
        );
    }
}
