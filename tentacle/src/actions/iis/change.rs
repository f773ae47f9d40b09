//! What to order so that IIS has what is asked for, and how each order is taken back. Pure: it
//! compares, and touches nothing.
//!
//! What disturbs those who are served comes last: pools and bindings first, then the folder of the
//! new version, then the start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::binding::{Binding, Certificate, Wanted};
use super::state::{Pool, Site};

/// The id that `netsh` wants to know by whom a certificate was bound.
const APP_ID: &str = "{6b0c2ea1-6a4e-4ae5-9c0f-0b6f52b4a6d1}";

/// Which program of Windows takes an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Program {
    /// IIS's own.
    Appcmd,
    /// For certificates.
    Netsh,
}

/// One call of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: Program,
    pub(super) arguments: Vec<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// For people.
    pub(super) says: String,
    pub(super) order: Order,
    /// What takes it back; nothing, where there is nothing to take back.
    pub(super) back: Option<Order>,
}

/// A setting that is never written down.
const PASSWORD: &str = "processModel.password";

fn appcmd<const N: usize>(arguments: [&str; N]) -> Order {
    Order {
        program: Program::Appcmd,
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
    }
}

/// The pool, made or changed.
pub(super) fn pool(
    name: &str,
    now: Option<&Pool>,
    wanted: &BTreeMap<String, String>,
) -> Vec<Change> {
    let set = |key: &String, value: &String| format!("/{key}:{value}");
    let Some(now) = now else {
        let mut order = appcmd(["add", "apppool", &format!("/name:{name}")]);
        order
            .arguments
            .extend(wanted.iter().map(|(key, value)| set(key, value)));
        return vec![Change {
            says: format!("make the pool {name}"),
            order,
            back: Some(appcmd([
                "delete",
                "apppool",
                &format!("/apppool.name:{name}"),
            ])),
        }];
    };
    let differs = |(key, value): &(&String, &String)| {
        // Numbers, switches and names of settings: case does not matter; of a password it does.
        let own = now.settings.get(*key).map_or("", String::as_str);
        if key.as_str() == PASSWORD {
            own != value.as_str()
        } else {
            !own.eq_ignore_ascii_case(value)
        }
    };
    let changed: Vec<_> = wanted.iter().filter(differs).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let named = format!("/apppool.name:{name}");
    let mut order = appcmd(["set", "apppool", &named]);
    order
        .arguments
        .extend(changed.iter().map(|(key, value)| set(key, value)));
    let mut back = appcmd(["set", "apppool", &named]);
    let before = changed.iter().filter(|(key, _)| key.as_str() != PASSWORD);
    back.arguments.extend(before.filter_map(|(key, _)| {
        let own = now.settings.get(*key)?;
        Some(set(key, own))
    }));
    let keys: Vec<&str> = changed.iter().map(|(key, _)| key.as_str()).collect();
    vec![Change {
        says: format!("set {} of the pool {name}", keys.join(", ")),
        order,
        back: (back.arguments.len() > 3).then_some(back),
    }]
}

/// The pool started, stopped or recycled.
pub(super) fn pool_run(name: &str, verb: &str, undo: Option<&str>) -> Change {
    let named = format!("/apppool.name:{name}");
    Change {
        says: format!("{verb} the pool {name}"),
        order: appcmd([verb, "apppool", &named]),
        back: undo.map(|undo| appcmd([undo, "apppool", &named])),
    }
}

/// A site that is not there, with all that it is made with.
pub(super) fn new_site(
    name: &str,
    path: &str,
    pool: Option<&str>,
    bindings: &[Binding],
) -> Vec<Change> {
    let list: Vec<String> = bindings.iter().map(Binding::to_string).collect();
    let mut order = appcmd(["add", "site", &format!("/name:{name}")]);
    order
        .arguments
        .push(format!("/bindings:{}", list.join(",")));
    order.arguments.push(format!("/physicalPath:{path}"));
    let mut all = vec![Change {
        says: format!("make the site {name} at {path}"),
        order,
        back: Some(appcmd(["delete", "site", &format!("/site.name:{name}")])),
    }];
    let named: Vec<String> = bindings
        .iter()
        .filter(|binding| binding.sni)
        .map(|binding| {
            format!(
                "/bindings.[protocol='{}',bindingInformation='{}'].sslFlags:1",
                binding.protocol, binding.information
            )
        })
        .collect();
    if !named.is_empty() {
        let mut order = appcmd(["set", "site", &format!("/site.name:{name}")]);
        order.arguments.extend(named);
        all.push(Change {
            says: format!("let the site {name} choose certificates by host"),
            order,
            back: None,
        });
    }
    all.extend(pool.map(|pool| application_pool(name, "/", pool, None)));
    all
}

/// The bindings of a site that is there, so that they are those that are asked for; others stay if
/// they are to be kept.
pub(super) fn bindings(
    name: &str,
    now: &[Binding],
    wanted: &[Binding],
    keep: bool,
) -> Option<Change> {
    let same = |a: &Binding, b: &Binding| {
        a.protocol.eq_ignore_ascii_case(&b.protocol)
            && a.information.eq_ignore_ascii_case(&b.information)
    };
    let has = |list: &[Binding], one: &Binding| {
        list.iter()
            .any(|other| same(other, one) && other.sni == one.sni)
    };
    let fresh: Vec<&Binding> = wanted.iter().filter(|one| !has(now, one)).collect();
    // One that differs by its flag alone goes and comes.
    let gone: Vec<&Binding> = now
        .iter()
        .filter(|one| !has(wanted, one) && (!keep || wanted.iter().any(|other| same(other, one))))
        .collect();
    if fresh.is_empty() && gone.is_empty() {
        return None;
    }
    let named = format!("/site.name:{name}");
    let argument = |sign: char, binding: &Binding| {
        let flags = if sign == '+' && binding.sni {
            ",sslFlags='1'"
        } else {
            ""
        };
        format!(
            "/{sign}bindings.[protocol='{}',bindingInformation='{}'{flags}]",
            binding.protocol, binding.information
        )
    };
    let order = |take: &[&Binding], put: &[&Binding]| {
        let mut order = appcmd(["set", "site", &named]);
        let take = take.iter().map(|binding| argument('-', binding));
        let put = put.iter().map(|binding| argument('+', binding));
        order.arguments.extend(take.chain(put));
        order
    };
    let list = |list: &[&Binding]| {
        let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
        texts.join(", ")
    };
    let says = match (fresh.is_empty(), gone.is_empty()) {
        (false, false) => format!(
            "bind {name} to {}, no longer to {}",
            list(&fresh),
            list(&gone)
        ),
        (false, true) => format!("bind {name} to {}", list(&fresh)),
        (true, _) => format!("bind {name} no longer to {}", list(&gone)),
    };
    Some(Change {
        says,
        order: order(&gone, &fresh),
        back: Some(order(&fresh, &gone)),
    })
}

/// The pool of an application that is there.
pub(super) fn application_pool(
    site: &str,
    application: &str,
    pool: &str,
    now: Option<&str>,
) -> Change {
    let named = format!("/app.name:{site}{application}");
    let set = |pool: &str| appcmd(["set", "app", &named, &format!("/applicationPool:{pool}")]);
    Change {
        says: format!("run {site}{application} in the pool {pool}"),
        order: set(pool),
        back: now.map(set),
    }
}

/// Where the folder of an application or virtual directory leads.
pub(super) fn folder(directory: &str, path: &str, now: &str) -> Option<Change> {
    if now.eq_ignore_ascii_case(path) {
        return None;
    }
    let named = format!("/vdir.name:{directory}");
    let set = |path: &str| appcmd(["set", "vdir", &named, &format!("/physicalPath:{path}")]);
    Some(Change {
        says: format!("let {directory} lead to {path}, no longer to {now}"),
        order: set(path),
        back: Some(set(now)),
    })
}

/// An application that is not there.
pub(super) fn new_application(site: &str, path: &str, leads_to: &str) -> Change {
    Change {
        says: format!("make the application {site}{path} at {leads_to}"),
        order: appcmd([
            "add",
            "app",
            &format!("/site.name:{site}"),
            &format!("/path:{path}"),
            &format!("/physicalPath:{leads_to}"),
        ]),
        back: Some(appcmd([
            "delete",
            "app",
            &format!("/app.name:{site}{path}"),
        ])),
    }
}

/// A virtual directory that is not there, of the application with this whole name.
pub(super) fn new_directory(application: &str, whole: &str, path: &str, leads_to: &str) -> Change {
    Change {
        says: format!("make the virtual directory {whole} at {leads_to}"),
        order: appcmd([
            "add",
            "vdir",
            &format!("/app.name:{application}"),
            &format!("/path:{path}"),
            &format!("/physicalPath:{leads_to}"),
        ]),
        back: Some(appcmd(["delete", "vdir", &format!("/vdir.name:{whole}")])),
    }
}

/// A way to log in, opened or shut at a place.
pub(super) fn login(place: &str, section: &str, on: bool, now: bool) -> Option<Change> {
    let set = |on: bool| {
        appcmd([
            "set",
            "config",
            place,
            &format!("/section:{section}"),
            &format!("/enabled:{on}"),
            "/commit:apphost",
        ])
    };
    (on != now).then(|| Change {
        says: format!(
            "turn {section} of {place} {}",
            if on { "on" } else { "off" }
        ),
        order: set(on),
        back: Some(set(now)),
    })
}

/// The site started or stopped.
pub(super) fn site_run(name: &str, start: bool) -> Change {
    let named = format!("/site.name:{name}");
    let (verb, undo) = if start {
        ("start", "stop")
    } else {
        ("stop", "start")
    };
    Change {
        says: format!("{verb} the site {name}"),
        order: appcmd([verb, "site", &named]),
        back: Some(appcmd([undo, "site", &named])),
    }
}

/// How `netsh` names the place of a certificate.
pub(super) fn certificate_place(binding: &Binding) -> Option<String> {
    let (address, port, host) = binding.parts()?;
    Some(if binding.sni {
        format!("hostnameport={host}:{port}")
    } else {
        let address = if address == "*" { "0.0.0.0" } else { address };
        format!("ipport={address}:{port}")
    })
}

/// The certificate of a binding: the one that is there goes first, `netsh` replaces none.
pub(super) fn certificate(wanted: &Wanted, now: Option<&str>) -> Vec<Change> {
    let Some((place, certificate)) =
        certificate_place(&wanted.binding).zip(wanted.certificate.as_ref())
    else {
        return Vec::new();
    };
    if now == Some(certificate.thumbprint.as_str()) {
        return Vec::new();
    }
    let add = |certificate: &Certificate| Order {
        program: Program::Netsh,
        arguments: vec![
            "http".to_owned(),
            "add".to_owned(),
            "sslcert".to_owned(),
            place.clone(),
            format!("certhash={}", certificate.thumbprint),
            format!("appid={APP_ID}"),
            format!("certstorename={}", certificate.store),
        ],
    };
    let delete = Order {
        program: Program::Netsh,
        arguments: ["http", "delete", "sslcert", &place]
            .map(str::to_owned)
            .to_vec(),
    };
    let mut all = Vec::new();
    if let Some(now) = now {
        let before = Certificate {
            thumbprint: now.to_owned(),
            store: certificate.store.clone(),
        };
        all.push(Change {
            says: format!("take the certificate {now} from {}", wanted.binding),
            order: delete.clone(),
            back: Some(add(&before)),
        });
    }
    all.push(Change {
        says: format!(
            "give {} the certificate {}",
            wanted.binding, certificate.thumbprint
        ),
        order: add(certificate),
        back: Some(delete),
    });
    all
}

/// What is not as it should be when all is done; `None` if it is.
pub(super) fn objection(site: &Site, path: &str, start: bool) -> Option<String> {
    let leads_to = site
        .application("/")
        .and_then(|application| application.directory("/"))
        .unwrap_or("nowhere");
    if !leads_to.eq_ignore_ascii_case(path) {
        return Some(format!("it leads to {leads_to} instead of {path}"));
    }
    match (start, site.is_started) {
        (true, false) => Some(
            "it does not run: most likely another site has one of its bindings; 'appcmd list site' shows them"
                .to_owned(),
        ),
        (false, true) => Some("it still runs".to_owned()),
        _ => None,
    }
}
