//! Why a server does not start: what, where, why, and what to do.

use super::bind::BindError;
use super::data_dir::DataDirError;
use super::machinery::MachineryError;
use crate::packages;
use crate::security::{AuthorityError, FileError, MasterKeyError};
use crate::services;
use crate::store::{OpenError, StoreError};

/// Why a server does not start. Nothing listens and nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// A port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] FileError),
    /// The package repository.
    #[error(transparent)]
    Packages(#[from] packages::OpenError),
    /// The gateway or the orchestrator.
    #[error(transparent)]
    Machinery(#[from] MachineryError),
    /// The first use case.
    #[error(transparent)]
    Service(#[from] services::Error),
    /// An operator's certificate.
    #[error("the certificate for HTTPS cannot be used: {path}: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// A socket or thread that the system does not give.
    #[error("{why}")]
    Socket {
        /// Why.
        why: String,
    },
}

impl StartError {
    /// What to type next, where the message does not say.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Data(error) => Some(error.help()),
            Self::Bind(error) => Some(error.help()),
            Self::Certificate { .. } => Some(
                "--tls-cert takes a PEM chain with the server's certificate first, --tls-key its \
                 key in PEM"
                    .to_owned(),
            ),
            Self::Open(_)
            | Self::Store(_)
            | Self::Authority(_)
            | Self::MasterKey(_)
            | Self::KeyFile(_)
            | Self::Packages(_)
            | Self::Service(_)
            | Self::Machinery(_)
            | Self::Socket { .. } => None,
        }
    }
}
