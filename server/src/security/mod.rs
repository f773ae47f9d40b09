//! The certificate authority, secrets at rest, API keys and join tokens.
