//! The command line: one file a noun. Nothing here touches the database; commands speak with the
//! server through the typed client.

pub mod args;
mod ask;
mod choices;
pub mod connect;
pub mod exit;
pub mod output;

mod agent;
mod answers;
mod apikey;
mod apply;
mod artifact;
mod audit;
mod deploy;
mod deployment;
mod environment;
mod export;
mod health_check;
mod init;
mod interruption;
mod lifecycle;
mod live;
mod lock;
mod login;
mod manifest;
#[cfg(test)]
mod manual_tests;
mod misc;
mod package;
mod plan;
mod project;
mod release;
mod release_compare;
mod release_variables;
mod retention;
mod schedule;
mod secret;
mod server;
mod server_care;
mod server_doctor;
mod status;
mod target;
mod task;
mod team;
mod template;
#[cfg(test)]
mod tests;
mod validate;
mod variable;
mod variable_set;
mod version;
mod whole;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::args::Global;
use self::connect::connect;
use self::exit::{CliResult, Exit, Failure};
use self::output::Output;
use self::version::VersionArgs;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "mantle",
    version,
    about = "Deploys software: the server and its command line",
    after_help = "Exit codes: 0 success, 1 internal error, 2 usage, 3 the deployment failed, \
                  4 not logged in or not allowed, 5 not found, 6 refused by a rule, \
                  7 invalid files or values, 8 waiting timed out and the task still runs, \
                  9 the server cannot be reached, 20 cancelled, 130 Ctrl-C: the task goes on",
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run, back up and restore the server
    #[command(subcommand)]
    Server(server::Command),
    /// Log in to a server: pins its certificate authority and keeps an API key
    Login(login::LoginArgs),
    /// Forget the stored login
    Logout,
    /// Apply project and infrastructure files, showing the difference first
    Apply(apply::ApplyArgs),
    /// Check project and infrastructure files without a server
    Validate(validate::ValidateArgs),
    /// Write a commented project file to start from
    Init(init::InitArgs),
    /// Write what is applied as files that 'apply' reads
    Export(export::ExportArgs),
    /// Show projects
    #[command(subcommand)]
    Project(project::Command),
    /// List, explain, compare and change a project's variables
    #[command(subcommand)]
    Variable(variable::Command),
    /// Show variable sets, which projects include
    #[command(subcommand)]
    VariableSet(variable_set::Command),
    /// Show environments
    #[command(subcommand)]
    Environment(environment::Command),
    /// Show lifecycles
    #[command(subcommand)]
    Lifecycle(lifecycle::Command),
    /// Create, show, compare, block and change releases
    #[command(subcommand)]
    Release(release::Command),
    /// Deploy a release into an environment and watch it
    Deploy(deploy::DeployArgs),
    /// Deploy the release of one environment into the next
    Promote(deploy::PromoteArgs),
    /// Go back to the release that ran in an environment before
    Rollback(deploy::RollbackArgs),
    /// Show what a deployment would do, changing nothing
    Plan(plan::PlanArgs),
    /// Show and compare what deployments used
    #[command(subcommand)]
    Deployment(deployment::Command),
    /// Remove what the rules of lifecycles no longer keep
    #[command(subcommand)]
    Retention(retention::Command),
    /// Show what runs where
    Status(status::StatusArgs),
    /// Locks that steps hold on targets
    #[command(subcommand)]
    Lock(lock::Command),
    /// Show, follow and cancel tasks
    #[command(subcommand)]
    Task(task::Command),
    /// List and fetch the files that a task's steps left behind
    #[command(subcommand)]
    Artifact(artifact::Command),
    /// Show and answer what deployments ask people
    #[command(subcommand)]
    Interruption(interruption::Command),
    /// Say who is in which team
    #[command(subcommand)]
    Team(team::Command),
    /// Make, push, show, check and delete packages
    #[command(subcommand)]
    Package(package::Command),
    /// Show and change targets
    #[command(subcommand)]
    Target(target::Command),
    /// Show health checks and what they found; 'target check' runs them
    #[command(subcommand)]
    HealthCheck(health_check::Command),
    /// Show and revoke agents, and let new ones join
    #[command(subcommand)]
    Agent(agent::Command),
    /// Make, show and revoke API keys
    #[command(subcommand)]
    Apikey(apikey::Command),
    /// Set, show and delete secrets; values are never printed
    #[command(subcommand)]
    Secret(secret::Command),
    /// Show and check the audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print the completion script of a shell
    Completion(misc::CompletionArgs),
    /// Render templates as a target would, without a server
    #[command(subcommand)]
    Template(template::Command),
    /// Print the versions of this program and of the server, or sort and match versions
    Version(VersionArgs),
    /// Print the JSON schema of project and infrastructure files
    Schema,
}

/// The command line as it is declared: what the documents show is held to it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line and does it.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.output);
    let exit = match run(cli, output) {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            failure.exit
        }
    };
    exit.into()
}

fn run(cli: Cli, output: Output) -> CliResult {
    let Cli { global, command } = cli;
    // What runs or holds the server's data is beside the client's runtime.
    let command = match command {
        Command::Server(command) => match server::local(command, &global, output) {
            Ok(result) => return result,
            Err(command) => Command::Server(*command),
        },
        other => other,
    };
    // These wait for nothing and nobody.
    if let Command::Template(command) = command {
        return template::run(command, output);
    }
    if let Command::Version(VersionArgs {
        command: Some(command),
    }) = command
    {
        return version::run(command, output);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = dispatch(command, &global, output) => result,
            // Commands that watch a task handle Ctrl-C before this does, to say what goes on.
            () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        }
    });
    // A read of standard input may still hang in a thread; nothing is left to wait for.
    runtime.shutdown_background();
    result
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    // Whoever handles Ctrl-C itself is given the moment to say so.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
}

async fn dispatch(command: Command, global: &Global, out: Output) -> CliResult {
    match command {
        Command::Server(command) => server::remote(command, global, out).await,
        Command::Login(args) => login::login(args, out).await,
        Command::Logout => login::logout(out),
        Command::Completion(args) => misc::completion(&args),
        Command::Schema => misc::schema(),
        Command::Template(command) => template::run(command, out),
        Command::Version(VersionArgs {
            command: Some(command),
        }) => version::run(command, out),
        Command::Version(VersionArgs { command: None }) => misc::version(global, out).await,
        Command::Validate(args) => validate::run(&args, out),
        Command::Init(args) => init::run(&args, out),
        Command::Apply(args) => apply::run(args, &connect(global)?, out).await,
        Command::Export(args) => export::run(args, &connect(global)?, out).await,
        Command::Project(command) => project::run(command, &connect(global)?, out).await,
        Command::Variable(command) => variable::run(command, &connect(global)?, out).await,
        Command::VariableSet(command) => variable_set::run(command, &connect(global)?, out).await,
        Command::Environment(command) => environment::run(command, &connect(global)?, out).await,
        Command::Lifecycle(command) => lifecycle::run(command, &connect(global)?, out).await,
        Command::Release(command) => release::run(command, &connect(global)?, out).await,
        Command::Deploy(args) => deploy::deploy(args, &connect(global)?, out).await,
        Command::Promote(args) => deploy::promote(args, &connect(global)?, out).await,
        Command::Rollback(args) => deploy::rollback(args, &connect(global)?, out).await,
        Command::Plan(args) => plan::run(args, &connect(global)?, out).await,
        Command::Deployment(command) => deployment::run(command, &connect(global)?, out).await,
        Command::Retention(command) => retention::run(command, &connect(global)?, out).await,
        Command::Status(args) => status::run(args, &connect(global)?, out).await,
        Command::Lock(command) => lock::run(command, &connect(global)?, out).await,
        Command::Task(command) => task::run(command, &connect(global)?, out).await,
        Command::Artifact(command) => artifact::run(command, &connect(global)?, out).await,
        Command::Interruption(command) => interruption::run(command, &connect(global)?, out).await,
        Command::Team(command) => team::run(command, &connect(global)?, out).await,
        Command::Package(command) => package::run(command, global, out).await,
        Command::Target(command) => target::run(command, &connect(global)?, out).await,
        Command::HealthCheck(command) => health_check::run(command, &connect(global)?, out).await,
        Command::Agent(command) => agent::run(command, &connect(global)?, out).await,
        Command::Apikey(command) => apikey::run(command, &connect(global)?, out).await,
        Command::Secret(command) => secret::run(command, &connect(global)?, out).await,
        Command::Audit(command) => audit::run(command, &connect(global)?, out).await,
    }
}
