//! The stand-in for IIS as a program: laid as `appcmd.exe` where Windows has that, it lets the tests run
//! the actions of IIS under Wine. What it keeps is in `Y:\iis.json`, on a drive of the test's own.

#![allow(
    dead_code,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for tests, which use more of the stand-in than it does"
)]

#[path = "../src/actions/iis/standin.rs"]
mod standin;

use std::process::ExitCode;

const STATE: &str = "Y:\\iis.json";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kept = std::fs::read(STATE).unwrap_or_default();
    let mut iis: standin::StandIn = serde_json::from_slice(&kept).unwrap_or_default();
    let (code, said) = iis.appcmd(&arguments);
    let written = serde_json::to_vec_pretty(&iis)
        .map_err(std::io::Error::other)
        .and_then(|bytes| std::fs::write(STATE, bytes));
    print!("{said}");
    match written {
        Ok(()) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("{STATE}: {error}");
            ExitCode::from(2)
        }
    }
}
