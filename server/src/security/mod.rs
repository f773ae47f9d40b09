//! Who may do what with what key: the certificate authority, secrets at rest, API keys, join
//! tokens.
//!
//! What is secret has a type without `Debug` and without `Serialize` and is wiped when it is
//! dropped. What is compared with a secret is compared in constant time. Key files are private
//! (0600), written whole or not at all, and never overwritten by a first start.

mod api_keys;
mod authority;
mod files;
mod join_tokens;
mod master_key;
mod rotation;
mod secret;

#[cfg(test)]
mod tests;

pub use api_keys::{
    API_KEY_PREFIX, ApiKeyError, NewApiKey, api_key_authenticate, api_key_mint, api_key_save,
};
pub use authority::{
    AGENT_LASTS, AgentCertificate, Authority, AuthorityError, CsrError, ServerIdentity,
    authority_open,
};
pub use files::{FileError, read_private};
pub use join_tokens::{NewJoinToken, join_token_mint, join_token_verify};
pub use master_key::{MasterKey, MasterKeyError, SealError, master_key_fits, master_key_open};
pub use rotation::{RotationError, SECRET_VERSION_TABLE, master_key_rotate};
pub use secret::Secret;
