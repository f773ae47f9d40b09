//! The documents are held to the programs: every command line that they show is one, every YAML
//! block is read as `mantle apply` would read it. The README's walkthrough is really walked, by
//! `documents` of the integration tests; what is named nowhere is found by `mantle`'s own tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use mantle_domain::file::{Definitions, Known, Source, parse};

use crate::document::{Block, Typed, blocks, commands, inline_code};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every document for people, with its path.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
    ]
    .iter()
    .map(PathBuf::from)
    .collect();
    let manual = std::fs::read_dir(root().join("docs/src")).unwrap();
    paths.extend(manual.map(|entry| Path::new("docs/src").join(entry.unwrap().file_name())));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            (path.display().to_string(), text)
        })
        .collect()
}

fn program(name: &str) -> Option<clap::Command> {
    match name {
        "mantle" => Some(mantle::cli::command()),
        "tentacle" => Some(tentacle::cli::command()),
        _ => None,
    }
}

/// Why a command line is none, if it is for one of our programs.
fn misspelt(words: &[String]) -> Option<String> {
    let error = program(words.first()?)?.try_get_matches_from(words).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        _ => Some(format!("{}\n{error}", words.join(" "))),
    }
}

/// The same for a command that is only named, so that arguments may be missing or stand for others.
fn misnamed(words: &[String]) -> Option<String> {
    let error = program(words.first()?)?.try_get_matches_from(words).err()?;
    match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            Some(format!("{}\n{error}", words.join(" ")))
        }
        _ => None,
    }
}

fn is_shell(block: &Block) -> bool {
    ["sh", "console"].contains(&block.language.as_str())
}

#[test]
fn every_command_line_of_the_documents_is_one() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|block| is_shell(block)) {
            let script = block.text.replace("\n$ ", "\n");
            let script = script.strip_prefix("$ ").unwrap_or(&script);
            for Typed { line, words } in commands(script) {
                seen += usize::from(program(&words[0]).is_some());
                let what = misspelt(&words);
                wrong.extend(what.map(|what| format!("{path}:{}: {what}", block.line + line)));
            }
        }
    }
    assert!(seen > 60, "the command lines were found: {seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_that_the_documents_name_exists() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for (line, code) in inline_code(&text) {
            for Typed { mut words, .. } in commands(&code) {
                // `mantle COMMAND --help` and `tentacle join ... --name NAME` leave something out.
                words.retain(|word| word != "...");
                if words.len() < 2 || words[1].starts_with(|c: char| c.is_ascii_uppercase()) {
                    continue;
                }
                seen += usize::from(program(&words[0]).is_some());
                wrong.extend(misnamed(&words).map(|what| format!("{path}:{line}: {what}")));
            }
        }
    }
    assert!(seen > 20, "the commands were found: {seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The commands that a source quotes, `'mantle ...'`, in what it says to people.
fn quoted(source: &str) -> Vec<String> {
    let mut text = String::new();
    for line in source.lines().map(str::trim_start) {
        if !line.starts_with("//") {
            // A text goes on in the next line after a backslash.
            text.push_str(line.strip_suffix('\\').unwrap_or(line));
            if !line.ends_with('\\') {
                text.push('\n');
            }
        }
    }
    let starts = ["'mantle ", "'tentacle "];
    let mut found = Vec::new();
    for start in starts {
        for (at, _) in text.match_indices(start) {
            let rest = &text[at + 1..];
            let end = rest.find(['\'', '\n', '"']).unwrap_or(rest.len());
            if rest[end..].starts_with('\'') {
                found.push(rest[..end].to_owned());
            }
        }
    }
    found
}

#[test]
fn every_command_that_the_programs_tell_people_to_type_exists() {
    let mut files = Vec::new();
    for folder in ["server/src", "server/domain/src", "tentacle/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in files {
        for command in quoted(&std::fs::read_to_string(&file).unwrap()) {
            seen += 1;
            let mut words = commands(&command).remove(0).words;
            words.retain(|word| word != "...");
            let what = misnamed(&words);
            wrong.extend(what.map(|what| format!("{}: {what}", file.display())));
        }
    }
    assert!(seen > 40, "the commands were found: {seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let stale = "    help(\"run 'mantle sever \\\n        run' there\")";
    assert_eq!(quoted(stale), ["mantle sever run"]);
    assert!(misnamed(&["mantle".to_owned(), "sever".to_owned()]).is_some());
}

#[test]
fn a_command_line_that_is_none_would_be_found() {
    let words = |line: &str| commands(line).remove(0).words;
    for line in [
        "mantle release make shop",
        "tentacle join --sever a:1",
        "mantle deploy shop -x",
    ] {
        assert!(misspelt(&words(line)).is_some(), "{line}");
        assert!(misnamed(&words(line)).is_some(), "{line}");
    }
    assert!(
        misspelt(&words("mantle deploy shop")).is_some(),
        "a version is missing"
    );
    assert!(
        misnamed(&words("mantle deploy shop")).is_none(),
        "it is only named"
    );
    assert!(misspelt(&words("mantle deploy shop 1.0 -e test")).is_none());
    assert!(misspelt(&words("ls --what")).is_none(), "not ours to judge");
}

/// A block as a file that can be applied: parts of one are put where they belong.
fn whole(block: &str) -> Vec<String> {
    const HEAD: &str = "mantle: v1\nproject: sample\n";
    let inside = |prefix: &str, indent: &str| {
        let lines = block.lines().map(|line| format!("{indent}{line}\n"));
        format!("{HEAD}{prefix}{}", lines.collect::<String>())
    };
    let step = "process:\n  - step: Sample\n    targets: { tag: web }\n    actions:\n";
    let process =
        format!("{step}      - {{ action: Nothing, uses: script, with: {{ run: 'true' }} }}\n");
    match block.split([' ', ':']).next().unwrap_or_default() {
        "mantle" => vec![block.to_owned()],
        "variables" => vec![format!("{HEAD}{block}{process}")],
        "-" if block.starts_with("- step") => vec![inside("process:\n", "  ")],
        "-" if block.starts_with("- action") => vec![inside(step, "      ")],
        // Lines that each stand for themselves.
        _ => block
            .lines()
            .map(|line| format!("{HEAD}{process}variables:\n  {line}\n"))
            .collect(),
    }
}

/// What the sample needs beside the block: the packages and the secrets that it names.
fn declaring(text: &str) -> String {
    let named = |key: &str, ends: &[char]| -> BTreeSet<String> {
        let rest = text.split(key).skip(1);
        let names = rest.flat_map(|rest| rest.split(ends).next().unwrap_or_default().split(", "));
        names.map(str::to_owned).collect()
    };
    let mut whole = text.to_owned();
    let packages = named(" package: ", &[',', ' ', '\n', '}']);
    if !packages.is_empty() && !text.contains("\npackages:") {
        let ids = packages.iter().map(|id| format!("{{ id: {id} }}"));
        let ids: Vec<String> = ids.collect();
        whole = format!("{whole}packages: [{}]\n", ids.join(", "));
    }
    let secrets = named(" secrets: [", &[']']);
    if !secrets.is_empty() && !text.contains("\nvariables:") {
        let values = secrets
            .iter()
            .map(|name| format!("  {name}: {{ secret: sample/{name} }}\n"));
        whole = format!("{whole}variables:\n{}", values.collect::<String>());
    }
    whole
}

fn read(name: &str, text: &str) -> Result<Definitions, String> {
    parse(&[Source { name, text }], &Known::default()).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("{}\n{text}", lines.join("\n"))
    })
}

#[test]
fn every_yaml_block_of_the_documents_is_read_as_apply_reads_it() {
    let mut seen = 0;
    for (path, text) in documents() {
        for block in blocks(&text)
            .iter()
            .filter(|block| block.language == "yaml")
        {
            for file in whole(&block.text) {
                seen += 1;
                let place = format!("{path}:{}", block.line);
                let read = read(&place, &declaring(&file));
                let is_wrong_on_purpose = file.contains("# refused");
                assert_eq!(read.is_err(), is_wrong_on_purpose, "{place}: {read:?}");
            }
        }
    }
    assert!(seen > 10, "the blocks were found: {seen}");
}

#[test]
fn a_yaml_block_that_apply_would_refuse_is_found() {
    let block = "- action: Look\n  uses: http.check\n  with: { url: 'http://localhost/' }\n";
    let of = |block: &str| read("block", &declaring(&whole(block)[0]));
    of(block).unwrap();
    for (right, wrong) in [
        ("url:", "uri:"),
        ("http.check", "http.chekc"),
        ("uses:", "uzes:"),
    ] {
        of(&block.replace(right, wrong)).unwrap_err();
    }
}

#[test]
fn the_first_deployment_of_the_manual_fits_together() {
    let text = std::fs::read_to_string(root().join("docs/src/first-deployment.md")).unwrap();
    let all = blocks(&text);
    let files: Vec<&Block> = all
        .iter()
        .filter(|block| block.language == "yaml")
        .collect();
    let sources: Vec<Source<'_>> = files
        .iter()
        .map(|block| Source {
            name: &block.heading,
            text: &block.text,
        })
        .collect();
    let known = Known {
        complete: true,
        ..Known::default()
    };
    let applied = parse(&sources, &known).unwrap();
    assert_eq!(applied.warnings, []);
    let project = &applied.projects[0].slug;
    let environments: Vec<&str> = applied
        .environments
        .iter()
        .map(|e| e.name.as_str())
        .collect();
    let targets: Vec<&str> = applied.targets.iter().map(|t| t.name.as_str()).collect();
    // What is typed afterwards names what the files declare.
    for block in all.iter().filter(|block| is_shell(block)) {
        for Typed { words, .. } in commands(&block.text) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["mantle", "plan" | "deploy" | "promote", named, ..]
                | ["mantle", "release", "create", named, ..] => assert_eq!(named, project),
                _ => {}
            }
            for pair in words.windows(2) {
                match pair {
                    ["--environment" | "-e" | "--from", name] => {
                        assert!(environments.contains(name), "{words:?}");
                    }
                    ["--name", name] => assert!(targets.contains(name), "{words:?}"),
                    _ => {}
                }
            }
        }
    }
}
