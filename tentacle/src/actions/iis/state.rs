//! What IIS has, as `appcmd.exe` tells it.

use std::collections::BTreeMap;

use super::binding::Binding;
use crate::config::{Document, NodeId};

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Site {
    pub(super) bindings: Vec<Binding>,
    pub(super) is_started: bool,
    pub(super) applications: Vec<Application>,
}

/// An application of a site; that of the path `/` is the site's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Application {
    pub(super) path: String,
    pub(super) pool: String,
    /// Virtual directories: their paths, and where on the disk they lead.
    pub(super) directories: Vec<(String, String)>,
}

/// An application pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pool {
    pub(super) is_started: bool,
    /// Its settings by the path that `appcmd set apppool` has for them, such as
    /// `processModel.identityType`.
    pub(super) settings: BTreeMap<String, String>,
}

impl Site {
    /// The application of this path; case does not matter to IIS.
    pub(super) fn application(&self, path: &str) -> Option<&Application> {
        self.applications
            .iter()
            .find(|application| application.path.eq_ignore_ascii_case(path))
    }
}

impl Application {
    /// Where a virtual directory leads.
    pub(super) fn directory(&self, path: &str) -> Option<&str> {
        self.directories
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(path))
            .map(|(_, leads_to)| leads_to.as_str())
    }
}

/// The one site of `appcmd list site NAME /config:* /xml`; `None` if there is none.
pub(super) fn site(xml: &str) -> Result<Option<Site>, String> {
    let Some(document) = parse(xml)? else {
        return Ok(None);
    };
    let Some(outer) = find(&document, Document::ROOT, "SITE") else {
        return Ok(None);
    };
    let inner = find(&document, outer, "site")
        .ok_or_else(|| "appcmd.exe tells of a site without its configuration".to_owned())?;
    let bindings = children(&document, inner, "bindings")
        .flat_map(|bindings| children(&document, bindings, "binding"))
        .map(|binding| Binding {
            protocol: value(&document, binding, "protocol").to_ascii_lowercase(),
            information: value(&document, binding, "bindingInformation"),
            // Bit 0; IIS before version 8 has no such flags.
            sni: value(&document, binding, "sslFlags")
                .parse::<u32>()
                .is_ok_and(|flags| flags & 1 == 1),
        });
    let applications = children(&document, inner, "application").map(|application| Application {
        path: value(&document, application, "path"),
        pool: value(&document, application, "applicationPool"),
        directories: children(&document, application, "virtualDirectory")
            .map(|directory| {
                (
                    value(&document, directory, "path"),
                    value(&document, directory, "physicalPath"),
                )
            })
            .collect(),
    });
    Ok(Some(Site {
        bindings: bindings.collect(),
        is_started: value(&document, outer, "state").eq_ignore_ascii_case("Started"),
        applications: applications.collect(),
    }))
}

/// The one pool of `appcmd list apppool NAME /config:* /xml`; `None` if there is none.
pub(super) fn pool(xml: &str) -> Result<Option<Pool>, String> {
    let Some(document) = parse(xml)? else {
        return Ok(None);
    };
    let Some(outer) = find(&document, Document::ROOT, "APPPOOL") else {
        return Ok(None);
    };
    let inner = find(&document, outer, "add")
        .ok_or_else(|| "appcmd.exe tells of a pool without its configuration".to_owned())?;
    let mut settings = BTreeMap::new();
    collect(&document, inner, "", &mut settings);
    Ok(Some(Pool {
        is_started: value(&document, outer, "state").eq_ignore_ascii_case("Started"),
        settings,
    }))
}

/// Whether a way to log in is open, from `appcmd list config NAME /section:...`.
pub(super) fn is_enabled(xml: &str, section: &str) -> Result<bool, String> {
    let document = parse(xml)?;
    let enabled = document.and_then(|document| {
        let section = find(&document, Document::ROOT, section)?;
        Some(value(&document, section, "enabled").eq_ignore_ascii_case("true"))
    });
    enabled.ok_or_else(|| format!("appcmd.exe does not tell of {section}; is it installed?"))
}

fn parse(xml: &str) -> Result<Option<Document>, String> {
    if xml.trim().is_empty() {
        return Ok(None);
    }
    Document::parse(xml.trim_start_matches('\u{feff}').trim_start())
        .map(Some)
        .map_err(|error| format!("what appcmd.exe says is no XML: {error}"))
}

/// The first element of this name under a node, at any depth. Names differ by case: `SITE` is not
/// `site`.
fn find(document: &Document, under: NodeId, name: &str) -> Option<NodeId> {
    document
        .descendants(under)
        .into_iter()
        .find(|id| *id != under && document.element(*id).is_some_and(|own| own.name == name))
}

fn children<'a>(
    document: &'a Document,
    of: NodeId,
    name: &'a str,
) -> impl Iterator<Item = NodeId> + 'a {
    let all = document.children(of).iter().copied();
    all.filter(move |id| document.element(*id).is_some_and(|own| own.name == name))
}

fn value(document: &Document, of: NodeId, name: &str) -> String {
    let attribute = document
        .element(of)
        .and_then(|element| element.attribute(name));
    attribute
        .map(crate::config::Attribute::value)
        .unwrap_or_default()
}

fn collect(document: &Document, of: NodeId, prefix: &str, into: &mut BTreeMap<String, String>) {
    let Some(element) = document.element(of) else {
        return;
    };
    for attribute in &element.attributes {
        into.insert(format!("{prefix}{}", attribute.name), attribute.value());
    }
    for child in document.children(of) {
        if let Some(element) = document.element(*child) {
            let prefix = format!("{prefix}{}.", element.name);
            collect(document, *child, &prefix, into);
        }
    }
}
