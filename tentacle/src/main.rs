//! The agent's program.

fn main() -> std::process::ExitCode {
    tentacle::cli::main()
}
