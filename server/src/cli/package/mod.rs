//! `mantle package`.

mod create;
mod push;
mod stored;

use clap::Subcommand;

use self::create::CreateArgs;
use self::push::PushArgs;
use self::stored::{DownloadArgs, VerifyArgs};
use super::args::Global;
use super::connect::connect;
use super::exit::{CliResult, Exit, Failure};
use super::output::{Output, ago, size};
use crate::api::body::{PackageCollect, PackageCollected, PackagePlatform, PackageVersion};

/// What to do with packages.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an archive of a folder, without a server: the same folder gives the same bytes
    #[command(visible_alias = "pack")]
    Create(CreateArgs),
    /// Push package files: zip, nupkg, jar, war, tar, tar.gz, tar.bz2, tar.xz or tar.zst; goes on where it was cut off
    Push(PushArgs),
    /// List the packages
    List,
    /// List a package's versions
    Versions {
        /// The package's id
        id: String,
    },
    /// Read stored packages again, every byte, and say what is lost or damaged
    Verify(VerifyArgs),
    /// Fetch a package's archive as it was pushed
    Download(DownloadArgs),
    /// Delete a version that no release and no running task needs
    Delete {
        /// The package's id
        id: String,
        /// The version
        version: String,
    },
    /// Remove from the repository what no package and no release names; the server also does so daily
    Gc {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Show one version of a package
    Show {
        /// The package's id
        id: String,
        /// The version
        version: String,
    },
}

/// Does it.
pub(super) async fn run(command: Command, global: &Global, out: Output) -> CliResult {
    let server = || connect(global);
    match command {
        Command::Create(args) => create::run(args, out).await,
        Command::Push(args) => push::push_all(args, &server()?, out).await,
        Command::Verify(args) => stored::verify(&args, &server()?, out).await,
        Command::Download(args) => stored::download(&args, &server()?, out).await,
        Command::Delete { id, version } => {
            let gone = server()?.package_delete(&id, &version).await?;
            out.object(&gone, |gone| {
                vec![format!("deleted {} {}", gone.id, gone.version)]
            })?;
            out.note("its bytes go when packages are collected: daily, or by 'mantle package gc'");
            Ok(Exit::Success)
        }
        Command::List => {
            let page = server()?.packages().await?;
            out.list(&page.items, &["package", "latest", "versions"], |package| {
                vec![
                    package.id.clone(),
                    package.latest.clone(),
                    package.versions.to_string(),
                ]
            })
        }
        Command::Versions { id } => {
            let page = server()?.package_versions(&id).await?;
            let headers = ["version", "format", "size", "files", "pushed"];
            out.list(&page.items, &headers, |version| {
                vec![
                    version.version.clone(),
                    version.format.clone(),
                    size(version.size_bytes),
                    version.files.to_string(),
                    ago(version.pushed_at),
                ]
            })
        }
        Command::Gc { dry_run } => {
            let done = server()?
                .package_collect(PackageCollect { dry_run })
                .await?;
            collected(&done, out)
        }
        Command::Show { id, version } => {
            let version = server()?.package_version(&id, &version).await?;
            out.object(&version, lines)
        }
    }
}

fn collected(done: &PackageCollected, out: Output) -> CliResult {
    out.object(done, |done| {
        let verb = if done.dry_run { "would go" } else { "removed" };
        vec![
            format!(
                "{verb:<9} {} objects, {}",
                done.removed_objects,
                size(done.removed_bytes)
            ),
            format!(
                "{:<9} {} objects, {}",
                "named",
                done.live_objects,
                size(done.live_bytes)
            ),
            format!("{:<9} {} objects", "too young", done.young_objects),
        ]
    })?;
    if done.broken.is_empty() {
        return Ok(Exit::Success);
    }
    Err(Failure {
        reasons: done.broken.clone(),
        ..Failure::new(
            Exit::Invalid,
            "packages are damaged or missing in the repository, so nothing was removed",
        )
        .with_help("'mantle package verify --repair' says which and puts back what it can")
    })
}

fn lines(version: &PackageVersion) -> Vec<String> {
    [
        format!("{} {}", version.id, version.version),
        format!(
            "archive  {}, {}, blake3 {}",
            version.format,
            size(version.size_bytes),
            version.archive_digest
        ),
        format!("         sha256 {}", version.archive_sha256),
        format!(
            "content  {} files, {}, root {}",
            version.files,
            size(version.unpacked_bytes),
            version.root_digest
        ),
        format!("pushed   {}", version.pushed_at),
    ]
    .into_iter()
    .chain(
        version
            .platform
            .map(|PackagePlatform::Linux| "platform linux only".to_owned()),
    )
    .chain(
        version
            .needed_by
            .iter()
            .map(|who| format!("needed   {who}")),
    )
    .collect()
}
