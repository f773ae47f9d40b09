//! `mantle server backup`, `restore`, `recover` and `status`: a server's data, kept and put back.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Global;
use super::connect::{connect, default_data_dir};
use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, ago, size};
use crate::api::body::{ServerRoom, ServerStatus};
use crate::api::error_chain;
use crate::backup::{self, ArtifactEntry, BackupError, Manifest, PackageEntry};
use crate::packages::objects::{ObjectError, Objects};
use crate::security::Secret;

/// Longer ones are no passphrases.
const MAX_PASSPHRASE_BYTES: u64 = 4096;
/// So many missing packages are named.
const NAMED: usize = 20;

/// Where the passphrase is.
#[derive(Debug, Args)]
pub(super) struct PassphraseArgs {
    /// A file with the passphrase, or - for standard input; otherwise it is taken from the
    /// environment's `MANTLE_BACKUP_PASSPHRASE`
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// What to write.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; it must not be there
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// What to read.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Whether one is sure.
#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Writes a backup.
pub(super) fn backup(args: &BackupArgs, global: &Global, out: Output) -> CliResult {
    let data = global.data.clone().unwrap_or_else(default_data_dir);
    let passphrase = args.passphrase.read()?;
    let manifest = runtime()?
        .block_on(backup::create(&data, &args.file, &passphrase))
        .map_err(failed)?;
    out.object(&manifest, |manifest| {
        let bytes: u64 = manifest.files.iter().map(|file| file.size_bytes).sum();
        vec![
            format!(
                "backed up {} ({} KiB before compression) to {}",
                data.display(),
                bytes / 1024,
                args.file.display()
            ),
            format!(
                "  the objects of its {} packages and {} collected files are not in it: copy {} as well",
                manifest.packages.len(),
                manifest.artifacts.len(),
                data.join("objects").display()
            ),
        ]
    })
}

/// Makes a data directory from a backup.
pub(super) fn restore(args: &RestoreArgs, global: &Global, out: Output) -> CliResult {
    let Some(data) = global.data.clone() else {
        return Err(Failure::new(
            Exit::Usage,
            "where to is not said: a restore makes a data directory",
        )
        .with_help("name one that is not there yet with --data DIR"));
    };
    let passphrase = args.passphrase.read()?;
    let manifest = runtime()?
        .block_on(backup::restore(&args.file, &data, &passphrase))
        .map_err(failed)?;
    let missing = missing(&manifest, &data);
    out.object(&manifest, |manifest| restored(manifest, &data, &missing))
}

/// What a backup names and the new data directory has not.
struct Missing {
    packages: Vec<PackageEntry>,
    artifacts: Vec<ArtifactEntry>,
}

fn restored(manifest: &Manifest, data: &Path, missing: &Missing) -> Vec<String> {
    let mut lines = vec![format!(
        "restored the backup of {} ({}) into {}",
        manifest.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        ago(manifest.taken_at),
        data.display()
    )];
    let Missing {
        packages,
        artifacts,
    } = missing;
    if !packages.is_empty() {
        lines.push(format!(
            "  {} packages are not in its repository; copy them into {}, or push them again:",
            packages.len(),
            data.join("objects").display()
        ));
        let named = packages.iter().take(NAMED);
        lines.extend(named.map(|package| format!("    {} {}", package.id, package.version)));
        if packages.len() > NAMED {
            lines.push(format!("    and {} more", packages.len() - NAMED));
        }
    }
    if !artifacts.is_empty() {
        lines.push(format!(
            "  {} collected files are not in its repository; copy them into {}, there is nowhere else to have them from:",
            artifacts.len(),
            data.join("objects").display()
        ));
        let named = artifacts.iter().take(NAMED);
        lines.extend(named.map(|artifact| format!("    T-{} {}", artifact.task, artifact.name)));
        if artifacts.len() > NAMED {
            lines.push(format!("    and {} more", artifacts.len() - NAMED));
        }
    }
    lines.push(format!(
        "  start it: mantle server run --data {}",
        data.display()
    ));
    lines.push(
        "  it orders nothing until you have looked at it and typed: mantle server recover"
            .to_owned(),
    );
    lines
}

/// Of what a new data directory lacks the objects: nearly always of all.
fn missing(manifest: &Manifest, data: &Path) -> Missing {
    let folder = data.join("objects");
    let objects = folder
        .is_dir()
        .then(|| Objects::local(&folder).ok())
        .flatten();
    let has = |root: &mantle_shared::Digest| {
        objects
            .as_ref()
            .is_some_and(|objects| !matches!(objects.wire(root), Err(ObjectError::Missing { .. })))
    };
    let has_archive = |digest: &mantle_shared::Digest| {
        objects.as_ref().is_some_and(|objects| {
            !matches!(
                objects.archive_root(digest),
                Err(ObjectError::Missing { .. })
            )
        })
    };
    let packages = backup::missing(manifest, has).into_iter();
    let artifacts = backup::missing_artifacts(manifest, has_archive).into_iter();
    Missing {
        packages: packages.cloned().collect(),
        artifacts: artifacts.cloned().collect(),
    }
}

/// Takes a restored server into use.
pub(super) async fn recover(args: RecoverArgs, global: &Global, out: Output) -> CliResult {
    let client = connect(global)?;
    if !args.yes {
        return Err(Failure::new(
            Exit::Refused,
            "this takes a restored server into use: deployments that were queued or running in the \
             backup go on, and what was revoked since (agents, API keys, join tokens) is not revoked \
             here",
        )
        .with_help(
            "look at 'mantle task list', 'mantle agent list' and 'mantle apikey list', cancel and \
             revoke what must not be, then type 'mantle server recover --yes'",
        ));
    }
    let recovered = client.server_recover().await?;
    out.object(&recovered, |recovered| {
        vec![format!(
            "recovered: the epoch counter is {} (it was {}); agents obey this server from now on",
            recovered.epoch, recovered.epoch_before
        )]
    })
}

/// Shows how the server stands.
pub(super) async fn status(global: &Global, out: Output) -> CliResult {
    let status = connect(global)?.server_status().await?;
    out.object(&status, lines)
}

fn lines(status: &ServerStatus) -> Vec<String> {
    let mut lines = vec![
        format!("version   {}", status.version),
        format!("started   {}", ago(status.started_at)),
        format!("epoch     {}", status.epoch),
    ];
    if let Some(restored) = &status.restored {
        lines.push(format!(
            "restored  from a backup of {} ({}): it orders nothing until 'mantle server recover'",
            restored.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            ago(restored.taken_at)
        ));
    }
    lines.extend(room(&status.room));
    for agent in &status.ahead {
        lines.push(format!(
            "ahead     the agent of {} has seen epoch {}: this server runs on older data than it \
             has served; if that is so, 'mantle server recover'",
            agent.target, agent.epoch
        ));
    }
    if status.missing_count > 0 {
        lines.push(format!(
            "missing   {} packages are not in the repository; push them again:",
            status.missing_count
        ));
        let named = status.missing_packages.iter().take(NAMED);
        lines
            .extend(named.map(|package| format!("            {} {}", package.id, package.version)));
    }
    lines
}

/// How much room there is; and if there is none, who waits for some and what to do.
fn room(room: &ServerRoom) -> Vec<String> {
    let left = room.free_bytes.map_or("no room".to_owned(), size);
    let place = room.file_system.as_ref().zip(room.folder.as_ref());
    let Some(since) = room.full_since else {
        let shown = place.map(|(file_system, folder)| {
            format!("disk      {left} left on {file_system} for {folder}")
        });
        return shown
            .filter(|_| room.free_bytes.is_some())
            .into_iter()
            .collect();
    };
    let (what, todo) = match place {
        Some((file_system, folder)) => (
            format!("{left} left on {file_system} for {folder}"),
            format!(
                "free some room on {file_system} ('du -xh --max-depth=3 {file_system} | sort -h' shows what takes it), or enlarge it"
            ),
        ),
        None => (
            "the database server has no room left".to_owned(),
            "free some on its disk".to_owned(),
        ),
    };
    let waits = match room.waiting.len() as u64 {
        0 => "no task".to_owned(),
        shown if shown < room.waiting_count => format!(
            "{} and {} more tasks",
            room.waiting.join(", "),
            room.waiting_count - shown
        ),
        _ => room.waiting.join(", "),
    };
    vec![
        format!("disk      full since {}: {what}", ago(since)),
        format!(
            "            waiting for room: {waits}; agents keep what steps print, and changes are refused"
        ),
        format!("            {todo}; all of it goes on by itself then"),
    ]
}

impl PassphraseArgs {
    fn read(&self) -> Result<Secret, Failure> {
        let text = match &self.passphrase_file {
            Some(path) if path == Path::new("-") => {
                let mut text = String::new();
                if std::io::stdin().is_terminal() {
                    return Err(Failure::new(
                        Exit::Usage,
                        "the passphrase would be shown as it is typed",
                    )
                    .with_help("put it into a file, or pipe it in"));
                }
                let read = std::io::stdin()
                    .take(MAX_PASSPHRASE_BYTES)
                    .read_to_string(&mut text);
                read.map_err(|error| Failure::io("cannot read the passphrase", &error))?;
                text
            }
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?
            }
            None => std::env::var("MANTLE_BACKUP_PASSPHRASE").map_err(|_| {
                Failure::new(Exit::Usage, "there is no passphrase")
                    .with_help("put it into a file and name that with --passphrase-file FILE")
            })?,
        };
        Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

fn failed(error: BackupError) -> Failure {
    let exit = match &error {
        BackupError::NoServer { .. } => Exit::NotFound,
        BackupError::Exists { .. } | BackupError::NotEmpty { .. } => Exit::Refused,
        BackupError::Short { .. } => Exit::Usage,
        BackupError::Seal { .. } | BackupError::Damaged { .. } | BackupError::Authority(_) => {
            Exit::Invalid
        }
        BackupError::Io { .. } | BackupError::Store(_) | BackupError::Key(_) => Exit::Internal,
    };
    Failure::new(exit, error_chain(&error))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))
}
