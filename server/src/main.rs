//! Parses the command line and starts the right thing.

use std::process::ExitCode;

fn main() -> ExitCode {
    mantle::cli::main()
}
