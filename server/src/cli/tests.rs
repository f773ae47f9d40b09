//! The grammar of the command line, walked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

fn walk(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&clap::Command, &str)) {
    visit(command, path);
    for inner in command.get_subcommands() {
        walk(inner, &format!("{path} {}", inner.get_name()), visit);
    }
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_prints_json_and_every_argument_is_explained() {
    let mut command = Cli::command();
    command.build();
    let mut faults = Vec::new();
    let mut leaves = 0;
    walk(&command, "mantle", &mut |command, path| {
        if command.get_about().is_none() {
            faults.push(format!("{path} says nothing about itself"));
        }
        for argument in command.get_arguments() {
            let built_in = ["help", "version"].contains(&argument.get_id().as_str());
            if argument.get_help().is_none() && !built_in {
                faults.push(format!("{path} {} has no help", argument.get_id()));
            }
        }
        if command.has_subcommands() {
            return;
        }
        leaves += 1;
        let output = command.get_arguments().find(|a| a.get_id() == "output");
        if output.is_none_or(|output| output.get_short() != Some('o')) {
            faults.push(format!("{path} has no -o"));
        }
    });
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(leaves > 40, "only {leaves} commands were found");
}

#[test]
fn the_daily_commands_are_read() {
    for line in [
        "mantle server run --data /d --listen-https 127.0.0.1:0 --listen-quic 127.0.0.1:0 -o json",
        "mantle login https://mantle.example:7443 --fingerprint sha256:00",
        "mantle apply -f a.yaml b.yaml --dry-run",
        "mantle apply -f a.yaml -f b.yaml --yes -o json",
        "mantle package push a.zip b.zip",
        "mantle release create octofx 1.2.3 --package OctoFX.Web:1.2.3",
        "mantle deploy octofx 1.2.3 -e test --detach",
        "mantle deploy octofx 1.2.3 -e test --timeout 10m -o json",
        "mantle promote octofx --from test -e production",
        "mantle promote octofx 1.2.3 --from test -e production",
        "mantle plan octofx 1.2.3 -e test",
        "mantle deploy octofx 1.2.3 -e test --variable Ticket=CR-1 --variable-file Pin=-",
        "mantle plan octofx 1.2.3 -e test --variable Ticket=CR-1",
        "mantle apply -f folder --prune --yes",
        "mantle validate a.yaml folder",
        "mantle init shop --template script --to -",
        "mantle variable list -p octofx -e test -e production",
        "mantle variable explain SiteUrl -p octofx -e test --target web01 --step Install --release 1.0",
        "mantle variable set SitePort=9090 -p octofx -e test --tag web",
        "mantle variable set Password -p octofx --secret octofx/password",
        "mantle variable unset SitePort -p octofx -e test",
        "mantle variable diff -p octofx -e test -e production",
        "mantle variable-set show mail",
        "mantle status",
        "mantle task logs T-1 --follow",
        "mantle task wait T-1 --timeout 1h",
        "mantle agent token create --tag web -e test --ttl 30m",
        "mantle agent token create --tag web --environment test --uses 4",
        "mantle target tag web01 web blue",
        "mantle apikey create ci --team readers --expires 90d",
        "mantle secret set octofx/database-password",
        "mantle audit verify",
        "mantle template render --variables v.json --template t.txt --strict",
        "mantle template render --template - -o json",
        "mantle template render --batch cases.jsonl --strict",
        "mantle version",
        "mantle version sort",
        "mantle version match --range [1.0,2.0) --prerelease ^$ 1.5",
        "mantle version match --prerelease -x$ 1.5-a-x",
        "mantle completion bash",
    ] {
        let parsed = Cli::try_parse_from(line.split(' '));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
    for line in [
        "mantle deploy octofx",
        "mantle deploy octofx 1.0",
        "mantle apply",
        "mantle template render --variables v.json",
        "mantle template render --batch cases.jsonl --template t.txt",
        "mantle version match 1.5",
        "mantle version match --range 1.0",
        "mantle deploy octofx 1.0 -e test --timeout soon",
        "mantle status -o yaml",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}
