//! House rules as a program: `cargo run -p xtask -- tidy | scenarios | scenario-table | file-format |
//! sabotage`.
//!
//! `tidy` reads the tree and names every line that breaks a rule of the house; `scenarios` reads a
//! test run's report and names every required scenario that no test proved; `sabotage` breaks the
//! product on purpose and expects the matching test to notice.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod file_format;
mod sabotage;
mod scenarios;
mod source;
mod table;
mod tidy;
mod tree;

#[derive(Parser)]
#[command(name = "xtask", about = "The rules of the house, checked")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the rules that no compiler checks
    Tidy,
    /// Check that each required scenario has a test that ran and passed
    Scenarios {
        /// Reports of test runs: `JUnit` XML, or JSON lines as nextest's `libtest-json` prints
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// The list of required scenarios
        #[arg(long, default_value = "tests/scenarios.txt")]
        list: PathBuf,
    },
    /// Write the manual's page of scenarios
    ScenarioTable,
    /// Write the manual's page of every key of the files
    FileFormat,
    /// Break something by name and see that its test turns red
    Sabotage {
        /// Only these; all without
        names: Vec<String>,
        /// Run every scenario's test with each, also those with real processes (hours)
        #[arg(long)]
        exact: bool,
        /// Write the table into this file, too
        #[arg(long, value_name = "FILE")]
        markdown: Option<PathBuf>,
        /// The list of sabotages
        #[arg(long, default_value = "tests/sabotage.txt")]
        list: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Tidy => tidy::run(),
        Command::ScenarioTable => table::write(),
        Command::FileFormat => file_format::write(),
        Command::Scenarios { reports, list } => scenarios::run(&reports, &list),
        Command::Sabotage {
            names,
            exact,
            markdown,
            list,
        } => sabotage::run(&sabotage::Options {
            names,
            list,
            exact,
            markdown,
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
