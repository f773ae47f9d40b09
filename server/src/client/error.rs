//! What can go wrong between the command line and the server, in words that help.

use std::error::Error as StdError;

use crate::api::problem::Problem;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server did not answer at all.
    #[error("cannot reach the server at {url}: {why}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// The most precise reason known.
        why: String,
        /// What to type next.
        help: String,
    },
    /// Somebody answered, but not the server that was expected.
    #[error("the server at {url} is not the one that is trusted: {why}")]
    WrongServer {
        /// Where.
        url: String,
        /// What its certificate lacks.
        why: String,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to {url} broke: {why}")]
    Broken {
        /// Where.
        url: String,
        /// How.
        why: String,
    },
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Something answered that does not speak this API.
    #[error("the server at {url} answered in a way that this client does not understand: {why}")]
    Strange {
        /// Where.
        url: String,
        /// What was strange.
        why: String,
    },
    /// The client itself could not be set up.
    #[error("the client cannot be set up: {why}")]
    Setup {
        /// Why.
        why: String,
    },
}

impl ClientError {
    /// Trying the same again later can help: nothing was decided.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::WrongServer { .. } | Self::Strange { .. } | Self::Setup { .. } => false,
        }
    }

    /// What to type next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unreachable { help, .. } => Some(help.clone()),
            Self::WrongServer { url, .. } => Some(format!(
                "if the server was really set up anew, compare its fingerprint with its \
                 administrator and run 'mantle login {url}'"
            )),
            Self::Broken { .. } => Some("run the command again".to_owned()),
            Self::Refused(problem) => problem.help.clone(),
            Self::Strange { url, .. } => Some(format!(
                "check that {url} is a mantle server and not a proxy in front of it"
            )),
            Self::Setup { .. } => None,
        }
    }
}

/// Sorts a transport error by what it means to a person.
pub(super) fn from_transport(url: &str, error: &reqwest::Error) -> ClientError {
    let chain = chain(error);
    let url = url.to_owned();
    if chain.iter().any(|text| is_about_certificates(text)) {
        let why = chain.last().cloned().unwrap_or_default();
        return ClientError::WrongServer { url, why };
    }
    if error.is_connect() || (error.is_timeout() && error.is_request()) {
        let (why, help) = explain_connect(&url, &chain, error.is_timeout());
        return ClientError::Unreachable { url, why, help };
    }
    let why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        chain.last().cloned().unwrap_or_default()
    };
    ClientError::Broken { url, why }
}

fn explain_connect(url: &str, chain: &[String], timeout: bool) -> (String, String) {
    let all = chain.join(": ").to_lowercase();
    if all.contains("dns") || all.contains("lookup") || all.contains("name or service") {
        return (
            "its name cannot be resolved".to_owned(),
            format!("check the name in {url}, or the name server of this machine"),
        );
    }
    if all.contains("refused") {
        return (
            "nothing listens there (connection refused)".to_owned(),
            "check that 'mantle server run' is running there and that the port is right".to_owned(),
        );
    }
    if timeout || all.contains("timed out") {
        return (
            "no answer in time".to_owned(),
            "check the address, and that a firewall lets TCP through to that port".to_owned(),
        );
    }
    (
        chain.last().cloned().unwrap_or_default(),
        "check that the server is running and that the address is right".to_owned(),
    )
}

fn is_about_certificates(text: &str) -> bool {
    text.contains("invalid peer certificate") || text.contains("certificate not valid")
}

fn chain(error: &dyn StdError) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        texts.push(inner.to_string());
        source = inner.source();
    }
    texts
}
