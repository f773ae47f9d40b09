//! A stand-in for `appcmd.exe` and `netsh.exe`: keeps sites, pools, bindings and certificates, takes the
//! documented grammar, and refuses what the real ones refuse. It is no IIS: it serves nothing.
//!
//! The tests of the actions call it in place; `tentacle/examples/appcmd.rs` makes a program of it,
//! for the tests under Wine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// All that it keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StandIn {
    pub(crate) sites: BTreeMap<String, Site>,
    pub(crate) pools: BTreeMap<String, Pool>,
    /// Certificates by the place that `netsh` has for them.
    pub(crate) certificates: BTreeMap<String, String>,
    /// `PLACE SECTION` and whether it is on; sections are off at first, but for the anonymous.
    pub(crate) logins: BTreeMap<String, bool>,
    /// The next calls whose arguments hold one of these texts fail, once each.
    pub(crate) failing: Vec<String>,
    /// All calls that changed something.
    pub(crate) calls: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Site {
    /// Protocol, information, flags.
    pub(crate) bindings: Vec<(String, String, u32)>,
    pub(crate) started: bool,
    pub(crate) applications: BTreeMap<String, Application>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Application {
    pub(crate) pool: String,
    pub(crate) directories: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) started: bool,
    pub(crate) settings: BTreeMap<String, String>,
}

type Answer = Result<String, (i32, String)>;

/// What a pool has when nothing is said.
const POOL: [(&str, &str); 9] = [
    ("managedRuntimeVersion", "v4.0"),
    ("managedPipelineMode", "Integrated"),
    ("enable32BitAppOnWin64", "false"),
    ("startMode", "OnDemand"),
    ("processModel.identityType", "ApplicationPoolIdentity"),
    ("processModel.userName", ""),
    ("processModel.password", ""),
    ("processModel.idleTimeout", "00:20:00"),
    ("recycling.periodicRestart.time", "1.05:00:00"),
];

fn error<T>(code: i32, message: &str) -> Result<T, (i32, String)> {
    Err((code, format!("ERROR ( message:{message} )\r\n")))
}

fn missing<T>(kind: &str, name: &str) -> Result<T, (i32, String)> {
    error(
        50,
        &format!("Cannot find {kind} object with identifier \"{name}\"."),
    )
}

impl StandIn {
    /// One call; its exit code and output.
    pub(crate) fn appcmd(&mut self, arguments: &[String]) -> (i32, String) {
        let before = self.clone();
        if let Some(at) = self.fails(arguments) {
            self.failing.remove(at);
            return (1, "ERROR ( message:Told to fail. )\r\n".to_owned());
        }
        let verb = arguments.first().map_or("", String::as_str);
        let kind = arguments.get(1).map_or("", String::as_str);
        let rest = arguments.get(2..).unwrap_or_default();
        let answer = self.obey(verb, kind, rest);
        if verb != "list" && answer.is_ok() {
            self.calls.push(arguments.join(" "));
        }
        match answer {
            Ok(text) => (0, text),
            Err((code, text)) => {
                // A call does all that it says or nothing.
                let failing = std::mem::take(&mut self.failing);
                *self = before;
                self.failing = failing;
                (code, text)
            }
        }
    }

    fn fails(&self, arguments: &[String]) -> Option<usize> {
        let line = arguments.join(" ");
        self.failing.iter().position(|text| line.contains(text))
    }

    fn obey(&mut self, verb: &str, kind: &str, rest: &[String]) -> Answer {
        let given = Given::read(rest);
        match (verb, kind) {
            ("list", "site") => Ok(self.list_site(given.named("site.name")?)),
            ("list", "apppool") => Ok(self.list_pool(given.named("apppool.name")?)),
            ("list", "config") => self.list_login(&given),
            ("set", "config") => self.set_login(&given),
            ("add", "apppool") => self.add_pool(&given),
            ("set", "apppool") => self.set_pool(&given),
            ("delete", "apppool") => {
                let name = given.named("apppool.name")?;
                let gone = self.pools.remove(name);
                gone.map_or_else(|| missing("APPPOOL", name), |_| done("deleted", name))
            }
            ("start" | "stop" | "recycle", "apppool") => {
                let name = given.named("apppool.name")?;
                let Some(pool) = self.pools.get_mut(name) else {
                    return missing("APPPOOL", name);
                };
                if verb == "recycle" && !pool.started {
                    return error(1062, "The service has not been started.");
                }
                pool.started = verb != "stop";
                done(verb, name)
            }
            ("add", "site") => self.add_site(&given),
            ("set", "site") => self.set_site(&given),
            ("delete", "site") => {
                let name = given.named("site.name")?;
                let gone = self.sites.remove(name);
                gone.map_or_else(|| missing("SITE", name), |_| done("deleted", name))
            }
            ("start", "site") => self.start_site(given.named("site.name")?),
            ("stop", "site") => {
                let name = given.named("site.name")?;
                let Some(site) = self.sites.get_mut(name) else {
                    return missing("SITE", name);
                };
                site.started = false;
                done("stopped", name)
            }
            ("add", "app") => {
                let (site, path) = (given.named("site.name")?, given.named("path")?);
                let Some(own) = self.sites.get_mut(site) else {
                    return missing("SITE", site);
                };
                if own.applications.contains_key(path) {
                    return error(183, "Failed to add duplicate collection element");
                }
                let root = ("/".to_owned(), given.named("physicalPath")?.to_owned());
                let application = Application {
                    pool: "DefaultAppPool".to_owned(),
                    directories: [root].into(),
                };
                own.applications.insert(path.to_owned(), application);
                done("added", path)
            }
            ("set", "app") => {
                let name = given.named("app.name")?;
                let pool = given.named("applicationPool")?.to_owned();
                let Some(application) = self.application(name) else {
                    return missing("APP", name);
                };
                application.pool = pool;
                done("changed", name)
            }
            ("delete", "app") => {
                let name = given.named("app.name")?;
                let Some((site, path)) = split(name) else {
                    return missing("APP", name);
                };
                let gone = self
                    .sites
                    .get_mut(site)
                    .and_then(|site| site.applications.remove(path));
                gone.map_or_else(|| missing("APP", name), |_| done("deleted", name))
            }
            ("add", "vdir") => {
                let (name, path) = (given.named("app.name")?, given.named("path")?.to_owned());
                let leads_to = given.named("physicalPath")?.to_owned();
                let Some(application) = self.application(name) else {
                    return missing("APP", name);
                };
                if application
                    .directories
                    .insert(path.clone(), leads_to)
                    .is_some()
                {
                    return error(183, "Failed to add duplicate collection element");
                }
                done("added", &path)
            }
            ("set", "vdir") => {
                let name = given.named("vdir.name")?;
                let leads_to = given.named("physicalPath")?.to_owned();
                let Some(directory) = self.directory(name) else {
                    return missing("VDIR", name);
                };
                *directory = leads_to;
                done("changed", name)
            }
            ("delete", "vdir") => {
                let name = given.named("vdir.name")?;
                if self.directory(name).is_none() {
                    return missing("VDIR", name);
                }
                for (site, own) in &mut self.sites {
                    for (path, application) in &mut own.applications {
                        let base = format!("{site}{}", path.trim_end_matches('/'));
                        application
                            .directories
                            .retain(|path, _| format!("{base}{path}") != name);
                    }
                }
                done("deleted", name)
            }
            _ => error(87, &format!("Unknown verb or object \"{verb} {kind}\".")),
        }
    }

    /// An application by its whole name, such as `Shop/api`.
    fn application(&mut self, name: &str) -> Option<&mut Application> {
        let (site, path) = split(name)?;
        self.sites.get_mut(site)?.applications.get_mut(path)
    }

    /// A virtual directory by its whole name: `Shop/` is the site's own, `Shop/api/` that of an
    /// application.
    fn directory(&mut self, name: &str) -> Option<&mut String> {
        for (site, own) in &mut self.sites {
            for (path, application) in &mut own.applications {
                let base = format!("{site}{}", path.trim_end_matches('/'));
                for (path, leads_to) in &mut application.directories {
                    if format!("{base}{path}") == name {
                        return Some(leads_to);
                    }
                }
            }
        }
        None
    }

    fn add_pool(&mut self, given: &Given<'_>) -> Answer {
        let name = given.named("name")?;
        if self.pools.contains_key(name) {
            return error(183, "Failed to add duplicate collection element");
        }
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let pool = Pool {
            started: true,
            settings: POOL.iter().map(own).collect(),
        };
        self.pools.insert(name.to_owned(), pool);
        self.settings(name, given, "name")
    }

    fn set_pool(&mut self, given: &Given<'_>) -> Answer {
        let name = given.named("apppool.name")?;
        if !self.pools.contains_key(name) {
            return missing("APPPOOL", name);
        }
        self.settings(name, given, "apppool.name")
    }

    fn settings(&mut self, name: &str, given: &Given<'_>, but: &str) -> Answer {
        if let Some(pool) = self.pools.get_mut(name) {
            for (key, value) in given.values.iter().filter(|(key, _)| *key != but) {
                let Some(own) = pool.settings.get_mut(*key) else {
                    return error(87, &format!("Unknown attribute \"{key}\"."));
                };
                (*value).clone_into(own);
            }
        }
        done("changed", name)
    }

    fn add_site(&mut self, given: &Given<'_>) -> Answer {
        let name = given.named("name")?;
        if self.sites.contains_key(name) {
            return error(183, "Failed to add duplicate collection element");
        }
        let bindings = given
            .named("bindings")?
            .split(',')
            .filter_map(|one| {
                let (protocol, information) = one.split_once('/')?;
                Some((protocol.to_owned(), information.to_owned(), 0))
            })
            .collect();
        let root = ("/".to_owned(), given.named("physicalPath")?.to_owned());
        let application = Application {
            pool: "DefaultAppPool".to_owned(),
            directories: [root].into(),
        };
        let site = Site {
            bindings,
            started: false,
            applications: [("/".to_owned(), application)].into(),
        };
        self.sites.insert(name.to_owned(), site);
        // It starts by itself where it can, and says nothing where it cannot.
        let _ = self.start_site(name);
        done("added", name)
    }

    fn set_site(&mut self, given: &Given<'_>) -> Answer {
        let name = given.named("site.name")?;
        let Some(site) = self.sites.get_mut(name) else {
            return missing("SITE", name);
        };
        for (sign, element) in &given.elements {
            let field = |key: &str| {
                let (_, rest) = element.split_once(&format!("{key}='"))?;
                rest.split_once('\'').map(|(value, _)| value.to_owned())
            };
            let (Some(protocol), Some(information)) =
                (field("protocol"), field("bindingInformation"))
            else {
                return error(87, "A binding has a protocol and a bindingInformation.");
            };
            let at = site
                .bindings
                .iter()
                .position(|(own, at, _)| *own == protocol && *at == information);
            match (sign, at) {
                ('-', Some(at)) => {
                    site.bindings.remove(at);
                }
                ('+', None) => {
                    let flags = field("sslFlags").and_then(|flags| flags.parse().ok());
                    site.bindings
                        .push((protocol, information, flags.unwrap_or(0)));
                }
                ('=', Some(at)) if element.ends_with(".sslFlags:1") => {
                    if let Some(binding) = site.bindings.get_mut(at) {
                        binding.2 = 1;
                    }
                }
                ('+', Some(_)) => return error(183, "Failed to add duplicate collection element"),
                _ => return error(4312, "Cannot find requested collection element."),
            }
        }
        done("changed", name)
    }

    fn start_site(&mut self, name: &str) -> Answer {
        let Some(site) = self.sites.get(name) else {
            return missing("SITE", name);
        };
        let taken = self.sites.iter().any(|(other, own)| {
            other != name
                && own.started
                && own.bindings.iter().any(|binding| {
                    let same = |mine: &(String, String, u32)| mine.1 == binding.1;
                    site.bindings.iter().any(same)
                })
        });
        if taken {
            return error(183, "Cannot create a file when that file already exists.");
        }
        if let Some(site) = self.sites.get_mut(name) {
            site.started = true;
        }
        done("started", name)
    }

    fn login<'a>(given: &'a Given<'_>) -> Result<(String, &'a str, bool), (i32, String)> {
        let place = given.plain.first().copied().unwrap_or_default();
        let section = given.named("section")?;
        let known = [
            "anonymousAuthentication",
            "windowsAuthentication",
            "basicAuthentication",
        ];
        if !known.contains(&section) {
            return error(50, &format!("Unknown config section \"{section}\"."));
        }
        Ok((format!("{place} {section}"), section, section == known[0]))
    }

    fn list_login(&self, given: &Given<'_>) -> Answer {
        let (key, section, usual) = Self::login(given)?;
        let on = self.logins.get(&key).copied().unwrap_or(usual);
        Ok(format!(
            "<system.webServer>\r\n  <security>\r\n    <authentication>\r\n      <{section} enabled=\"{on}\" />\r\n    </authentication>\r\n  </security>\r\n</system.webServer>\r\n"
        ))
    }

    fn set_login(&mut self, given: &Given<'_>) -> Answer {
        let (key, section, _) = Self::login(given)?;
        if given.named("commit")? != "apphost" {
            return error(
                33,
                "This configuration section cannot be used at this path; it is locked.",
            );
        }
        let on = given.named("enabled")? == "true";
        self.logins.insert(key, on);
        done("changed", section)
    }

    fn list_site(&self, name: &str) -> String {
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n".to_owned();
        if let Some(site) = self.sites.get(name) {
            let state = if site.started { "Started" } else { "Stopped" };
            // Writing to a text cannot fail.
            let _ = write!(
                xml,
                "  <SITE SITE.NAME=\"{0}\" SITE.ID=\"2\" state=\"{state}\">\r\n    <site name=\"{0}\" id=\"2\" serverAutoStart=\"true\">\r\n      <bindings>\r\n",
                escaped(name)
            );
            for (protocol, information, flags) in &site.bindings {
                let _ = writeln!(
                    xml,
                    "        <binding protocol=\"{protocol}\" bindingInformation=\"{information}\" sslFlags=\"{flags}\" />\r"
                );
            }
            xml.push_str("      </bindings>\r\n      <limits maxBandwidth=\"4294967295\" />\r\n");
            for (path, application) in &site.applications {
                let _ = writeln!(
                    xml,
                    "      <application path=\"{path}\" applicationPool=\"{}\">\r",
                    escaped(&application.pool)
                );
                for (path, leads_to) in &application.directories {
                    let _ = writeln!(
                        xml,
                        "        <virtualDirectory path=\"{path}\" physicalPath=\"{}\" />\r",
                        escaped(leads_to)
                    );
                }
                xml.push_str("      </application>\r\n");
            }
            xml.push_str("    </site>\r\n  </SITE>\r\n");
        }
        xml.push_str("</appcmd>\r\n");
        xml
    }

    fn list_pool(&self, name: &str) -> String {
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n".to_owned();
        if let Some(pool) = self.pools.get(name) {
            let state = if pool.started { "Started" } else { "Stopped" };
            let value = |key: &str| escaped(pool.settings.get(key).map_or("", String::as_str));
            let under = |prefix: &str| {
                let own = pool.settings.keys().filter_map(|key| {
                    let name = key.strip_prefix(prefix)?;
                    (!name.contains('.')).then(|| format!(" {name}=\"{}\"", value(key)))
                });
                own.collect::<String>()
            };
            let _ = write!(
                xml,
                "  <APPPOOL APPPOOL.NAME=\"{0}\" state=\"{state}\">\r\n    <add name=\"{0}\"{1}>\r\n      <processModel{2} />\r\n      <recycling>\r\n        <periodicRestart{3}>\r\n        </periodicRestart>\r\n      </recycling>\r\n    </add>\r\n  </APPPOOL>\r\n",
                escaped(name),
                under(""),
                under("processModel."),
                under("recycling.periodicRestart.")
            );
        }
        xml.push_str("</appcmd>\r\n");
        xml
    }

    /// One call of `netsh http ... sslcert PLACE`.
    pub(crate) fn netsh(&mut self, arguments: &[String]) -> (i32, String) {
        if let Some(at) = self.fails(arguments) {
            self.failing.remove(at);
            return (1, "Told to fail.\r\n".to_owned());
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let not_found = || {
            (
                1,
                "The system cannot find the file specified.\r\n".to_owned(),
            )
        };
        match words.as_slice() {
            ["http", "show", "sslcert", place] => self
                .certificates
                .get(*place)
                .map_or_else(not_found, |hash| {
                    (0, format!("    Certificate Hash             : {hash}\r\n"))
                }),
            ["http", "add", "sslcert", place, rest @ ..] => {
                let hash = rest.iter().find_map(|word| word.strip_prefix("certhash="));
                let place_is_free = !self.certificates.contains_key(*place);
                match hash.filter(|_| place_is_free) {
                    Some(hash) => {
                        self.certificates
                            .insert((*place).to_owned(), hash.to_owned());
                        self.calls.push(arguments.join(" "));
                        (0, "SSL Certificate successfully added\r\n".to_owned())
                    }
                    None => (1, "SSL Certificate add failed, Error: 183\r\n".to_owned()),
                }
            }
            ["http", "delete", "sslcert", place] => match self.certificates.remove(*place) {
                Some(_) => {
                    self.calls.push(arguments.join(" "));
                    (0, "SSL Certificate successfully deleted\r\n".to_owned())
                }
                None => not_found(),
            },
            _ => (1, "The following command was not found.\r\n".to_owned()),
        }
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "it ends what may fail, as every other answer"
)]
fn done(what: &str, name: &str) -> Answer {
    Ok(format!("\"{name}\" {what}\r\n"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// `SITE/PATH` apart, the path with its slash.
fn split(name: &str) -> Option<(&str, &str)> {
    name.find('/').map(|at| name.split_at(at))
}

/// The arguments behind verb and object.
#[derive(Default)]
struct Given<'a> {
    plain: Vec<&'a str>,
    values: Vec<(&'a str, &'a str)>,
    /// `+`, `-` or `=`, and an element of a list.
    elements: Vec<(char, &'a str)>,
}

impl<'a> Given<'a> {
    fn read(arguments: &'a [String]) -> Self {
        let mut given = Self::default();
        for argument in arguments {
            let Some(rest) = argument.strip_prefix('/') else {
                given.plain.push(argument);
                continue;
            };
            if let Some(element) = rest.strip_prefix('+') {
                given.elements.push(('+', element));
            } else if let Some(element) = rest.strip_prefix('-') {
                given.elements.push(('-', element));
            } else if rest.starts_with("bindings.[") {
                given.elements.push(('=', rest));
            } else if let Some((key, value)) = rest.split_once(':') {
                given.values.push((key, value));
            }
        }
        given
    }

    fn named(&self, key: &str) -> Result<&'a str, (i32, String)> {
        let found = self.values.iter().find(|(own, _)| *own == key);
        match found {
            Some((_, value)) => Ok(value),
            None => error(87, &format!("Missing required attribute \"{key}\".")),
        }
    }
}
