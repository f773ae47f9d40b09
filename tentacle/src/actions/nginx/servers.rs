//! The include file with the servers of one upstream. Nothing is done here.
//!
//! It holds `server ADDRESS PARAMETERS;` lines and comments, each on a line of its own. Only the
//! line of the server in question is changed, so weights and the like stay as somebody wrote them.

use super::super::ActionError;

/// Whether a server gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It does.
    In,
    /// It is marked as `down`.
    Out,
}

/// The text with the server in use or out of it; an error if it is not there and should go out.
pub(super) fn change(
    text: &str,
    (upstream, server): (&str, &str),
    wanted: Use,
) -> Result<String, ActionError> {
    let mut lines: Vec<String> = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    let mut found = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            lines.push(line.to_owned());
            continue;
        }
        let words = words(trimmed).ok_or_else(|| {
            ActionError::failed(format!(
                "the file of the upstream {upstream} holds more than servers ('{trimmed}'); it should have lines such as 'server 10.0.0.1:80;' alone"
            ))
        })?;
        known.push(words[0]);
        if words[0] == server {
            found = true;
            let kept = words.iter().filter(|word| **word != "down");
            let mut new: Vec<&str> = kept.copied().collect();
            if wanted == Use::Out {
                new.push("down");
            }
            lines.push(format!("server {};", new.join(" ")));
        } else {
            lines.push(line.to_owned());
        }
    }
    match (found, wanted) {
        (true, _) => {}
        (false, Use::In) => lines.push(format!("server {server};")),
        (false, Use::Out) => {
            return Err(ActionError::failed(format!(
                "the upstream {upstream} has no server {server}; it has {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            )));
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// Address and parameters of a `server` line.
fn words(line: &str) -> Option<Vec<&str>> {
    let rest = line.strip_prefix("server")?.strip_suffix(';')?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let plain = rest.starts_with(char::is_whitespace) && !rest.contains([';', '{', '}', '#']);
    (plain && !words.is_empty()).then_some(words)
}

/// An address that can stand on such a line.
pub(super) fn checked_server(server: &str) -> Result<(), ActionError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:-_[]/".contains(c);
    if server.is_empty() || !server.chars().all(fits) {
        return Err(ActionError::input(format!(
            "with.server: '{server}' is no server; write HOST, HOST:PORT or unix:/PATH as nginx takes it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ours\nserver a:1 weight=2;\n  server b:1 down max_fails=3;\n";

    #[test]
    fn one_line_is_changed_and_the_rest_stays() {
        let out = change(TEXT, ("shop", "a:1"), Use::Out).unwrap();
        assert_eq!(
            out,
            "# ours\nserver a:1 weight=2 down;\n  server b:1 down max_fails=3;\n"
        );
        assert_eq!(change(&out, ("shop", "a:1"), Use::Out).unwrap(), out);
        assert_eq!(change(&out, ("shop", "a:1"), Use::In).unwrap(), TEXT);
        let both = change(TEXT, ("shop", "b:1"), Use::In).unwrap();
        assert!(both.ends_with("server b:1 max_fails=3;\n"), "{both}");
        assert_eq!(change("", ("shop", "c"), Use::In).unwrap(), "server c;\n");
    }

    #[test]
    fn what_is_not_there_or_no_list_is_refused() {
        let none = change(TEXT, ("shop", "c:1"), Use::Out)
            .unwrap_err()
            .to_string();
        assert!(
            none.contains("has no server c:1; it has a:1, b:1"),
            "{none}"
        );
        for text in [
            "upstream x {",
            "server a; server b;",
            "servers a;",
            "server ;",
            "ip_hash;",
        ] {
            let error = change(text, ("shop", "a"), Use::Out)
                .unwrap_err()
                .to_string();
            assert!(error.contains("more than servers"), "{text}: {error}");
        }
        for server in ["", "a b", "a;", "a\nb", "a{"] {
            assert!(checked_server(server).is_err(), "{server}");
        }
    }
}
