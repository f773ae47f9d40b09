//! `tests/chaos`: real processes under random faults; see [`mantle_tests::chaos`].
//!
//! Ends with `N passed, N failed` and exit code 0 only if nothing failed. What a failed run left is
//! kept, and its name printed; `--check FILE` judges a kept history again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for tests"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mantle_tests::chaos::{self, Options};
use mantle_tests::checker;

/// Deploys over real agents, breaks everything at random, and checks what is left
#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// How long faults happen
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Decides what is broken when; without it one is drawn and printed
    #[arg(long)]
    seed: Option<u64>,
    /// How many agents
    #[arg(long, default_value_t = 10)]
    agents: usize,
    /// Break a rule of the product on purpose; the names are in tests/sabotage.txt
    #[arg(long)]
    sabotage: Option<String>,
    /// Where to keep the histories of a run that failed
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Print the schedule of this seed and end
    #[arg(long)]
    schedule: bool,
    /// Only check a history that was kept
    #[arg(long)]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.check {
        return check(path);
    }
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::random_range(1..1_000_000));
    let length = Duration::from_secs_f64(arguments.minutes * 60.0);
    println!(
        "seed {seed}: tests/chaos --minutes {} --seed {seed} --agents {}",
        arguments.minutes, arguments.agents
    );
    if arguments.schedule {
        let small = chaos::SMALL_DISKS.min(arguments.agents);
        for fault in chaos::schedule(seed, length, arguments.agents, small) {
            println!("{fault}");
        }
        return ExitCode::SUCCESS;
    }
    let options = Options {
        length,
        seed,
        agents: arguments.agents,
        sabotage: arguments.sabotage,
        faults: None,
        keep: arguments.keep,
        say: |text| println!("{text}"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(chaos::run(&options));
    println!("{report}");
    if report.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    let bytes = std::fs::read(path).expect("the history");
    let history = serde_json::from_slice(&bytes).expect("a history");
    let violations = checker::check(&history);
    for violation in &violations {
        println!("{violation}");
    }
    println!("{} violations", violations.len());
    if violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
