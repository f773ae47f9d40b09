//! Who receives what deployments say: a webhook, and a real mail server.

mod mail;
mod webhook;

pub use mail::{Line, MailServer};
pub use webhook::{Received, Webhook};
