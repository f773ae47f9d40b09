//! The command line.

mod config;
mod doctor;
mod exec_attempt;
pub mod join;
mod joined_service;
mod leave;
mod run;
#[cfg(windows)]
mod run_service;
mod service;
#[cfg(windows)]
mod service_windows;
mod set_variable;
mod status;
mod try_action;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::state_dir::StateDir;

/// Something that nobody foresaw.
pub const EXIT_INTERNAL: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// The action failed.
pub const EXIT_FAILED: u8 = 3;
/// What was named does not exist.
pub const EXIT_NOT_FOUND: u8 = 5;
/// A rule forbids it, as things stand.
pub const EXIT_REFUSED: u8 = 6;
/// A file's content is wrong.
pub const EXIT_INVALID: u8 = 7;
/// The server cannot be reached.
pub const EXIT_UNREACHABLE: u8 = 9;
/// It was cancelled.
pub const EXIT_CANCELLED: u8 = 20;

/// The agent: carries out on this machine what the server orders.
#[derive(Debug, Parser)]
#[command(name = "tentacle", version, propagate_version = true)]
struct Cli {
    /// Where the agent keeps its identity, journal and cache.
    #[arg(long, global = true, env = "TENTACLE_DATA", default_value_os_t = StateDir::default_root())]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes this machine an agent of a server, and proves it.
    Join(join::JoinArgs),
    /// Leaves the server: this machine is no target any more.
    Leave(leave::LeaveArgs),
    /// Runs the agent, in the foreground, until it is told to stop.
    Run(run::RunArgs),
    /// Installs the agent as a service of this machine, starts and stops it.
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Says whether the agent runs, whether its server is there, and what it is doing.
    Status(status::StatusArgs),
    /// Checks this machine: shells, disk, rights, clock.
    Doctor(doctor::DoctorArgs),
    /// Shows how the agent is configured, and puts variables into the files of others.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Carries one action out, here and without a server, to see what it does.
    Try(try_action::TryArgs),
    /// Carries one attempt out. For the agent itself.
    #[command(hide = true)]
    ExecAttempt(exec_attempt::ExecAttemptArgs),
    /// Sets an output variable from a script that has no functions, such as cmd.
    #[command(hide = true)]
    SetVariable(set_variable::SetVariableArgs),
}

/// An error for a person, and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What, where, why, and what to type next.
    pub message: String,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Appends what helps: what was found beside, what to type next.
    pub fn add(&mut self, text: impl std::fmt::Display) {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(self.message, "{text}");
    }

    /// A failure from an error and all that caused it.
    pub fn from_error(code: u8, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { code, message }
    }
}

/// The command line as it is declared: what the documents show is held to it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command line and gives the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let state_dir = StateDir::at(absolute(cli.data));
    match run(cli.command, &state_dir) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, state_dir: &StateDir) -> Result<ExitCode, Failure> {
    match command {
        Command::Join(args) => join::run(&args, state_dir),
        Command::Leave(args) => leave::run(&args, state_dir),
        Command::Run(args) => run::run(&args, state_dir),
        Command::Service(command) => service::run(&command, state_dir),
        Command::Status(args) => status::run(&args, state_dir),
        Command::Doctor(args) => doctor::run(&args, state_dir),
        Command::Config(command) => config::run(&command, state_dir),
        Command::Try(args) => try_action::run(&args),
        Command::ExecAttempt(args) => return Ok(exec_attempt::run(&args, state_dir)),
        Command::SetVariable(args) => set_variable::run(&args),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Supervisors work in other folders, so a relative path would mean another one there.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Prints a line of data.
fn print(line: &str) {
    use std::io::Write;
    // A reader that has seen enough is no error.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints data as JSON.
fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}"));
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Says on standard error what did not go as it was asked.
fn warn(message: &str) {
    use std::io::Write;
    // Nothing is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "warning: {message}");
}

/// Says on standard error why the command failed.
fn complain(message: &str) {
    use std::io::Write;
    // Nothing is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {message}");
}
