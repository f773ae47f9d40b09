//! `mantle login` and `mantle logout`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use mantle_shared::tls::Fingerprint;
use serde::Serialize;

use super::connect::{Login, encode_authority, login_file, write_login};
use super::exit::{CliResult, Exit, Failure};
use super::output::Output;
use crate::client::{Client, ClientError, Endpoint, Identity, identify};

/// Where to log in.
#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// The server's URL, such as `https://mantle.example:7443`
    url: String,
    /// The fingerprint of the server's certificate authority, sha256:...; 'mantle server run'
    /// prints it
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
}

#[derive(Serialize)]
struct LoggedIn {
    url: String,
    key: String,
    team: String,
    fingerprint: String,
    file: String,
}

/// Logs in: whom to believe first, the key only then.
pub(super) async fn login(args: LoginArgs, out: Output) -> CliResult {
    let identity = identify(&args.url).await?;
    believe(&identity, args.fingerprint.as_deref(), out)?;
    let token = read_key(&identity.url)?;
    let trust = identity.trust();
    let authority = encode_authority(&trust);
    let client = Client::new(&Endpoint {
        url: identity.url.clone(),
        trust,
        token: Some(token.clone()),
    })?;
    let info = client.server_info().await.map_err(|error| match error {
        ClientError::Refused(problem) if problem.status == 401 => {
            Failure::new(Exit::Forbidden, problem.detail)
                .with_help("'mantle apikey create NAME' on the server makes a key")
        }
        other => other.into(),
    })?;
    let path = write_login(&Login {
        url: identity.url.clone(),
        authority,
        token,
    })?;
    let result = LoggedIn {
        url: identity.url,
        key: info.key,
        team: info.team,
        fingerprint: identity.fingerprint.to_string(),
        file: path.display().to_string(),
    };
    out.object(&result, |result| {
        vec![format!(
            "logged in to {} as '{}' ({})",
            result.url, result.key, result.team
        )]
    })
}

fn believe(identity: &Identity, pinned: Option<&str>, out: Output) -> Result<(), Failure> {
    let shown = identity.fingerprint;
    if let Some(text) = pinned {
        let expected: Fingerprint = text
            .parse()
            .map_err(|error| Failure::new(Exit::Usage, format!("--fingerprint: {error}")))?;
        if expected == shown {
            return Ok(());
        }
        return Err(Failure::new(
            Exit::Forbidden,
            format!(
                "the server at {} is not the one that is expected: its fingerprint is {shown}, \
                 expected was {expected}",
                identity.url
            ),
        )
        .with_help(
            "compare with what 'mantle server run' printed on the server; if neither matches, \
             something stands between you and it",
        ));
    }
    if identity.known_to_system {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !out.live {
        return Err(Failure::new(
            Exit::Forbidden,
            format!(
                "the server at {} has a certificate authority of its own, which is not known here",
                identity.url
            ),
        )
        .with_help(format!(
            "if the server's administrator confirms it, add --fingerprint {shown}"
        )));
    }
    out.note(&format!(
        "The server at {} has a certificate authority of its own:\n  {shown}\n\
         'mantle server run' prints the same on the server.",
        identity.url
    ));
    if confirm("trust it?")? {
        Ok(())
    } else {
        Err(Failure::new(Exit::Cancelled, "not logged in"))
    }
}

fn read_key(url: &str) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        let _ = write!(anstream::stderr(), "API key for {url}: ");
    }
    let mut line = String::new();
    let mut input = std::io::stdin().lock();
    input
        .read_line(&mut line)
        .map_err(|error| Failure::io("cannot read the key", &error))?;
    let key = line.trim();
    if key.is_empty() {
        return Err(Failure::new(Exit::Usage, "no key was given")
            .with_help("type it, or pipe it in: 'mantle login URL < key-file'"));
    }
    Ok(key.to_owned())
}

/// Asks yes or no on the terminal; anything but yes is no.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    let _ = write!(anstream::stderr(), "{question} [y/N] ");
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::io("cannot read the answer", &error))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

#[derive(Serialize)]
struct LoggedOut {
    removed: Option<String>,
}

/// Forgets the stored login.
pub(super) fn logout(out: Output) -> CliResult {
    let path = login_file()?;
    let removed = match std::fs::remove_file(&path) {
        Ok(()) => Some(path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::io(
                &format!("cannot remove {}", path.display()),
                &error,
            ));
        }
    };
    out.object(&LoggedOut { removed }, |result| {
        vec![match &result.removed {
            Some(_) => "logged out".to_owned(),
            None => "nobody was logged in".to_owned(),
        }]
    })
}
