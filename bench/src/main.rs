//! `cargo run --release -p mantle-bench`: builds what is shipped, measures it, and prints each figure
//! beside a limit of this machine that was measured in the same run.
//!
//! What holds here: a figure is a ratio, or a size; seconds alone say nothing of another machine. The
//! product runs as its own processes, through its own command line; nothing of it is linked in.

mod api;
mod binaries;
mod cancel;
mod floor;
mod machine;
mod memory;
mod noop;
mod output;
mod payload;
mod peers;
mod projects;
mod push;
mod quinn_limit;
mod report;
mod rig;
mod statistics;
mod swarm;
mod template;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};

use api::Pages;
use binaries::Programs;
use cancel::Cancels;
use output::Printed;
use peers::Work;
use projects::Crowd;
use report::Report;
use rig::Rig;

/// What was measured is over a limit that holds for what is shipped.
const EXIT_LIMIT_MISSED: u8 = 3;

/// Measures Mantle beside the limits of this machine.
#[derive(Debug, Parser)]
#[command(name = "mantle-bench")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// Few agents, a small package, few repetitions: proves that it works
    #[arg(long)]
    quick: bool,
    /// Measure the programs in this folder and build nothing
    #[arg(long, value_name = "DIR")]
    bin: Option<PathBuf>,
    /// Measure programs that are not as they are shipped (debug builds, points of failure)
    #[arg(long)]
    any_build: bool,
    /// Only these parts; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Keep the other tools in this folder for the next run; a temporary one by default
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What runs in a process of its own: the other end of a limit, or what a step runs.
#[derive(Debug, Subcommand)]
enum Role {
    /// Sends bytes over a bare QUIC connection
    #[command(hide = true)]
    QuinnSend {
        /// How many, for each connection
        #[arg(long)]
        bytes: usize,
        /// Where the certificate is left
        #[arg(long)]
        certificate: PathBuf,
    },
    /// Prints numbered lines
    #[command(hide = true)]
    Print {
        /// How many
        #[arg(long)]
        lines: u64,
        /// Between two of them
        #[arg(long)]
        pause_ms: u64,
    },
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Sizes of the programs
    Size,
    /// Large templates on the command line
    Template,
    /// Memory of idle agents and of the server
    Memory,
    /// Steps that do nothing
    Noop,
    /// A package to one agent
    Push,
    /// Lines of steps, on their way to a follower
    Output,
    /// From a cancel to no process left
    Cancel,
    /// Many projects, variables and releases
    Projects,
    /// Steps that do nothing, beside ssh, clush, Ansible, pyinfra and Salt
    Fanout,
    /// A large file, beside scp, rsync, nginx and Salt
    Files,
    /// A new version of a site, beside rsync, casync, rdiff, xdelta3 and zstd
    Update,
    /// Lines of a step, beside ssh, clush and Ansible
    Lines,
    /// Many agents: memory, coming back, steps that do nothing
    Swarm,
    /// Pages of the API: the dashboard, lists, a long log
    Pages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// How much is measured.
struct Extent {
    /// On how many agents, ascending.
    agents: Vec<usize>,
    /// How often a no-op is deployed.
    noops: usize,
    /// The size of a package.
    package_bytes: usize,
    /// How many packages are pushed.
    pushes: usize,
    /// How much steps print.
    output: Printed,
    /// How often a step is cancelled.
    cancels: Cancels,
    /// How many projects there are.
    crowd: Crowd,
    /// How much is measured beside other tools.
    peers: peers::Beside,
    /// How many agents of a swarm.
    swarm: swarm::Extent,
    /// How much the API's pages show.
    pages: Pages,
}

impl Extent {
    fn of(quick: bool) -> Self {
        if quick {
            return Self {
                agents: vec![1, 5],
                noops: 3,
                package_bytes: 8 << 20,
                pushes: 1,
                output: Printed {
                    agents: 3,
                    lines_each: 50,
                    flood: 5_000,
                },
                cancels: Cancels {
                    alone: 2,
                    pushing: 1,
                    package_bytes: 16 << 20,
                    server: &["--push-rate-per-agent", "2MiB"],
                },
                crowd: Crowd {
                    projects: 8,
                    variables: 10,
                    releases: 3,
                    samples: 3,
                },
                peers: peers::Beside {
                    targets: vec![2],
                    times: 2,
                    file_bytes: 8 << 20,
                    receivers: 2,
                    lines: 5_000,
                },
                swarm: swarm::Extent {
                    agents: 20,
                    groups: &[5, 20],
                    times: 2,
                },
                pages: Pages {
                    projects: 4,
                    environments: 3,
                    lines: 5_000,
                },
            };
        }
        Self {
            agents: vec![1, 20, 50],
            noops: 15,
            package_bytes: 100 << 20,
            pushes: 5,
            output: Printed {
                agents: 20,
                lines_each: 1_000,
                flood: 1_000_000,
            },
            cancels: Cancels {
                alone: 100,
                pushing: 10,
                package_bytes: 500 << 20,
                server: &[],
            },
            crowd: Crowd {
                projects: 500,
                variables: 50,
                releases: 20,
                samples: 40,
            },
            peers: peers::Beside {
                targets: vec![20, 50],
                times: 5,
                file_bytes: 100 << 20,
                receivers: 20,
                lines: 1_000_000,
            },
            swarm: swarm::Extent {
                agents: 10_000,
                groups: &[10, 100, 1_000],
                times: 9,
            },
            pages: Pages {
                projects: 500,
                environments: 20,
                lines: 1_000_000,
            },
        }
    }
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    match &cli.role {
        Some(Role::QuinnSend { bytes, certificate }) => {
            quinn_limit::send(*bytes, certificate)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Role::Print { lines, pause_ms }) => {
            output::print(*lines, Duration::from_millis(*pause_ms))?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let programs = match &cli.bin {
        Some(folder) => Programs::within(folder)?,
        None => Programs::built()?,
    };
    let oddities = programs.oddities()?;
    if !oddities.is_empty() && !cli.any_build {
        anyhow::bail!(
            "these are not programs as they are shipped, so their figures would mean nothing:\n  {}\nleave --bin away to have them built, or say --any-build to see only that it works",
            oddities.join("\n  ")
        );
    }
    let report = measure(&cli, &programs, oddities)?;
    let text = match cli.output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report).context("the report as JSON")?,
    };
    writeln!(std::io::stdout(), "{text}").context("standard output")?;
    // A debug build is over every limit, and nobody is to be alarmed by it.
    if report.limit_missed() && report.oddities.is_empty() {
        return Ok(ExitCode::from(EXIT_LIMIT_MISSED));
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(cli: &Cli, programs: &Programs, oddities: Vec<String>) -> Result<Report> {
    let extent = Extent::of(cli.quick);
    let wanted = |part| cli.only.is_empty() || cli.only.contains(&part);
    let mut report = Report::new(machine::describe(programs)?, oddities);
    if wanted(Part::Size) {
        say("sizes");
        report.add(programs.size_rows()?);
    }
    if wanted(Part::Template) {
        say("templates");
        report.add(template::rows(programs)?);
    }
    if wanted(Part::Memory) || wanted(Part::Noop) || wanted(Part::Push) {
        say("a server");
        let mut rig = Rig::start(programs)?;
        // Memory first: what works later leaves traces in it.
        let mut idle = memory::Idle::begin(&mut rig)?;
        for agents in &extent.agents {
            say(&format!("{agents} agents join"));
            rig.join_up_to(*agents, &extent.agents)?;
            idle.look(&mut rig)?;
        }
        if wanted(Part::Memory) {
            report.add(idle.rows());
        }
        if wanted(Part::Noop) {
            for agents in &extent.agents {
                say(&format!("no-op on {agents} agents"));
                report.add(noop::rows(&mut rig, *agents, extent.noops)?);
            }
        }
        if wanted(Part::Push) {
            say("a package to one agent");
            report.add(push::rows(&mut rig, extent.package_bytes, extent.pushes)?);
        }
        if wanted(Part::Memory) && (wanted(Part::Noop) || wanted(Part::Push)) {
            report.add(memory::after_work(&rig)?);
        }
        rig.stop()?;
    }
    if wanted(Part::Output) {
        let Printed { agents, flood, .. } = extent.output;
        say(&format!("lines of {agents} agents, then {flood} of one"));
        report.add(output::rows(programs, extent.output)?);
    }
    if wanted(Part::Cancel) {
        say("cancels");
        let mut rig = Rig::start_with(programs, extent.cancels.server)?;
        rig.join_up_to(1, &[1])?;
        report.add(cancel::rows(&rig, extent.cancels)?);
        rig.stop()?;
    }
    if wanted(Part::Projects) {
        // A server of its own: what the others left behind would count.
        let Crowd {
            projects, releases, ..
        } = extent.crowd;
        say(&format!(
            "{projects} projects with {releases} releases each"
        ));
        let rig = Rig::start(programs)?;
        report.add(projects::rows(&rig, extent.crowd)?);
        rig.stop()?;
    }
    let works: Vec<Work> = [
        (Part::Fanout, Work::Fanout),
        (Part::Files, Work::Files),
        (Part::Lines, Work::Lines),
        (Part::Update, Work::Update),
    ]
    .into_iter()
    // Other tools are fetched, so a quick run does without them unless it is asked for them.
    .filter(|(part, _)| wanted(*part) && (!cli.quick || cli.only.contains(part)))
    .map(|(_, work)| work)
    .collect();
    if !works.is_empty() {
        let kept = cli.peers.as_deref();
        peers::measure(programs, kept, &extent.peers, &works, &mut report)?;
    }
    if wanted(Part::Swarm) {
        say(&format!("a swarm of {} agents", extent.swarm.agents));
        let mut rig = Rig::start(programs)?;
        report.add(swarm::rows(&mut rig, &extent.swarm)?);
        rig.stop()?;
    }
    if wanted(Part::Pages) {
        let Pages {
            projects,
            environments,
            ..
        } = extent.pages;
        say(&format!(
            "pages of {projects} projects by {environments} environments"
        ));
        let rig = Rig::start(programs)?;
        report.add(api::rows(&rig, extent.pages)?);
        rig.stop()?;
    }
    Ok(report)
}

/// Says on standard error what is being measured: it takes a while.
fn say(what: &str) {
    // Nobody need listen.
    let _ = writeln!(std::io::stderr(), "mantle-bench: {what}");
}
