//! A site's bindings: where it listens, and with which certificate.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// Where a site listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Binding {
    /// `http`, `https`, `net.tcp` and such.
    pub(super) protocol: String,
    /// As IIS has it: `ADDRESS:PORT:HOST` for web protocols.
    pub(super) information: String,
    /// The client names the host before the certificate is chosen.
    pub(super) sni: bool,
}

/// A binding that is asked for, with its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) binding: Binding,
    pub(super) certificate: Option<Certificate>,
}

/// A certificate of the machine's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Its SHA-1 thumbprint: 40 hexadecimal digits, lower case.
    pub(super) thumbprint: String,
    /// The store that it is in, such as `MY`.
    pub(super) store: String,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.information)
    }
}

impl Binding {
    /// Address, port and host of a web binding.
    pub(super) fn parts(&self) -> Option<(&str, u16, &str)> {
        let (rest, host) = self.information.rsplit_once(':')?;
        let (address, port) = rest.rsplit_once(':')?;
        Some((address, port.parse().ok().filter(|port| *port > 0)?, host))
    }
}

/// The long form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    port: Option<Value>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    certificate: Option<String>,
    #[serde(default)]
    store: Option<String>,
    #[serde(default)]
    sni: Option<Value>,
}

/// Reads one binding: `http/*:80:HOST`, or a map.
pub(super) fn read(value: &Value) -> Result<Wanted, String> {
    if let Value::String(text) = value {
        return short(text);
    }
    let long: Long = serde_json::from_value(value.clone())
        .map_err(|error| format!("bindings: {value}: {error}"))?;
    let protocol = long.protocol.unwrap_or_else(|| "http".to_owned());
    let port = match &long.port {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(format!("bindings: port: {other} is no port")),
        None if protocol.eq_ignore_ascii_case("https") => "443".to_owned(),
        None => "80".to_owned(),
    };
    let address = long.address.unwrap_or_else(|| "*".to_owned());
    let host = long.host.unwrap_or_default();
    let mut wanted = short(&format!("{protocol}/{address}:{port}:{host}"))?;
    wanted.binding.sni = match &long.sni {
        None | Some(Value::Null) => false,
        Some(Value::Bool(sni)) => *sni,
        Some(Value::String(text)) => mantle_shared::inputs::switch(text)
            .ok_or_else(|| format!("bindings: sni: {text:?} is neither true nor false"))?,
        Some(other) => return Err(format!("bindings: sni: {other} is neither true nor false")),
    };
    if wanted.binding.sni && host.is_empty() {
        return Err(format!(
            "bindings: {}: 'sni' chooses by the host, and there is none; give 'host'",
            wanted.binding
        ));
    }
    wanted.certificate = match long.certificate.filter(|text| !text.trim().is_empty()) {
        None => None,
        Some(text) => Some(Certificate {
            thumbprint: thumbprint(&text)?,
            store: long.store.unwrap_or_else(|| "MY".to_owned()),
        }),
    };
    if wanted.certificate.is_some() && wanted.binding.protocol != "https" {
        return Err(format!(
            "bindings: {}: only https has a certificate",
            wanted.binding
        ));
    }
    Ok(wanted)
}

fn short(text: &str) -> Result<Wanted, String> {
    let bad = || {
        format!(
            "bindings: {text:?} is no binding; write PROTOCOL/ADDRESS:PORT:HOST, such as http/*:80: or https/*:443:www.example.com"
        )
    };
    let (protocol, information) = text.trim().split_once('/').ok_or_else(bad)?;
    let protocol = protocol.to_ascii_lowercase();
    let sound = |text: &str| {
        !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "'\"[],".contains(c))
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.';
    if protocol.is_empty() || !protocol.chars().all(is_name) || information.is_empty() {
        return Err(bad());
    }
    // Of addresses of version 6 IIS wants the brackets, which are sound where they stand alone.
    if !sound(&information.replace(['[', ']'], "")) {
        return Err(bad());
    }
    let binding = Binding {
        protocol,
        information: information.to_owned(),
        sni: false,
    };
    let web = matches!(binding.protocol.as_str(), "http" | "https");
    if web && binding.parts().is_none() {
        return Err(bad());
    }
    Ok(Wanted {
        binding,
        certificate: None,
    })
}

/// As people copy it out of Windows: with blanks, colons, any case, and an invisible mark in front.
fn thumbprint(text: &str) -> Result<String, String> {
    let digits: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':' && !('\u{200e}'..='\u{200f}').contains(c))
        .collect();
    if digits.len() == 40 && digits.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(digits.to_ascii_lowercase())
    } else {
        Err(format!(
            "bindings: certificate: {text:?} is no thumbprint; give its 40 hexadecimal digits, as 'certutil -store MY' shows them"
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn bindings_as_people_write_them() {
        let print = "A1:B2 c3d4e5f60718293a4b5c6d7e8f9011223344";
        for (value, shown, sni, certificate) in [
            (json!("http/*:80:"), "http/*:80:", false, false),
            (
                json!("HTTPS/10.0.0.1:443:a.b"),
                "https/10.0.0.1:443:a.b",
                false,
                false,
            ),
            (json!("http/[::1]:8080:"), "http/[::1]:8080:", false, false),
            (json!("net.tcp/808:*"), "net.tcp/808:*", false, false),
            (json!({"port": 8080}), "http/*:8080:", false, false),
            (
                json!({"port": "8080", "host": "a"}),
                "http/*:8080:a",
                false,
                false,
            ),
            (
                json!({"protocol": "https", "host": "a", "sni": "true", "certificate": print}),
                "https/*:443:a",
                true,
                true,
            ),
        ] {
            let wanted = read(&value).unwrap();
            assert_eq!(wanted.binding.to_string(), shown, "{value}");
            assert_eq!(
                (wanted.binding.sni, wanted.certificate.is_some()),
                (sni, certificate)
            );
        }
        for value in [
            json!("80"),
            json!("http/80"),
            json!("http/*:0:"),
            json!("http/*:x:"),
            json!("http/*:80:a b"),
            json!("http/*:80:a',x='"),
            json!("h ttp/*:80:"),
            json!({"port": true}),
            json!({"sni": true}),
            json!({"certificate": print}),
            json!({"protocol": "https", "certificate": "abc"}),
            json!({"prot": "https"}),
            json!(80),
        ] {
            let error = read(&value).unwrap_err();
            assert!(error.starts_with("bindings: "), "{value}: {error}");
        }
    }
}
