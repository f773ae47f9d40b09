//! `tentacle set-variable`: an output variable, for shells without functions.

use clap::Args;

use super::{Failure, print};
use crate::output::service_message::{MESSAGE_KEY_VARIABLE, render};

/// The variable.
#[derive(Debug, Args)]
pub(super) struct SetVariableArgs {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
    /// It is a secret.
    #[arg(long)]
    sensitive: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "every command has the same form")]
pub(super) fn run(args: &SetVariableArgs) -> Result<(), Failure> {
    let mut fields = vec![("name", args.name.as_str()), ("value", args.value.as_str())];
    if args.sensitive {
        fields.push(("sensitive", "True"));
    }
    let key = std::env::var(MESSAGE_KEY_VARIABLE).ok();
    print(&render(key.as_deref(), "setVariable", &fields));
    Ok(())
}
