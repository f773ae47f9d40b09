//! `mantle package verify` and `download`: what is in the repository, read again.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use mantle_shared::Digest;

use crate::api::body::{PackageVerified, PackageVersion};
use crate::cli::exit::{CliResult, Exit, Failure};
use crate::cli::output::{Output, size};
use crate::cli::whole;
use crate::client::Client;

/// What to read again.
#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// The package's id; all packages without it
    id: Option<String>,
    /// The version; all of the package's without it
    version: Option<String>,
    /// Put back what is lost or damaged, as far as the stored archive still has it, and say which
    /// archives have to be pushed again
    #[arg(long)]
    repair: bool,
}

/// What to fetch, and where to.
#[derive(Debug, Args)]
pub(in crate::cli) struct DownloadArgs {
    /// The package's id
    id: String,
    /// The version
    version: String,
    /// Where to write it, - for standard output; by default ID.VERSION.FORMAT in the current folder
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// The columns of what was verified.
const COLUMNS: [&str; 5] = ["package", "version", "read", "it", "repaired"];

/// Reads them again, one after the other.
pub(super) async fn verify(args: &VerifyArgs, client: &Client, out: Output) -> CliResult {
    let mut verified = Vec::new();
    for (id, version) in asked(args, client).await? {
        let one = client.package_verify(&id, &version, args.repair).await?;
        verified.push(one);
    }
    out.list(&verified, &COLUMNS, row)?;
    let broken: Vec<&PackageVerified> = verified
        .iter()
        .filter(|one| one.problem_count > 0)
        .collect();
    if broken.is_empty() {
        return Ok(Exit::Success);
    }
    let what = match broken.as_slice() {
        [one] => format!("{} {} is not whole in the repository", one.id, one.version),
        several => format!("{} versions are not whole in the repository", several.len()),
    };
    let help = if args.repair {
        "push these archives again: 'mantle package push FILE' puts back what they have"
    } else {
        "'mantle package verify --repair' puts back what the stored archives have; else push the archives again"
    };
    Err(Failure {
        reasons: broken.into_iter().flat_map(reasons).collect(),
        ..Failure::new(Exit::Invalid, what).with_help(help)
    })
}

/// The versions that are meant.
async fn asked(args: &VerifyArgs, client: &Client) -> Result<Vec<(String, String)>, Failure> {
    let ids = match (&args.id, &args.version) {
        (Some(id), Some(version)) => return Ok(vec![(id.clone(), version.clone())]),
        (Some(id), None) => vec![id.clone()],
        (None, _) => {
            let all = client.packages().await?.items;
            all.into_iter().map(|package| package.id).collect()
        }
    };
    let mut asked = Vec::new();
    for id in ids {
        let versions = client.package_versions(&id).await?.items;
        asked.extend(versions.into_iter().map(|one| (one.id, one.version)));
    }
    Ok(asked)
}

fn row(one: &PackageVerified) -> Vec<String> {
    vec![
        one.id.clone(),
        one.version.clone(),
        size(one.bytes),
        match one.problem_count {
            0 => "is whole".to_owned(),
            1 => "has lost a piece".to_owned(),
            many => format!("has lost {many} pieces"),
        },
        one.repaired.to_string(),
    ]
}

/// What is wrong with one, and which file puts it right.
fn reasons(one: &PackageVerified) -> Vec<String> {
    let name = format!("{} {}", one.id, one.version);
    let mut reasons: Vec<String> = one
        .problems
        .iter()
        .map(|problem| {
            let path = if problem.path.is_empty() {
                "its list of files"
            } else {
                &problem.path
            };
            format!("{name}, {path}: {}", problem.what)
        })
        .collect();
    let shown = reasons.len() as u64;
    if shown < one.problem_count {
        reasons.push(format!("{name}: and {} more", one.problem_count - shown));
    }
    reasons.push(format!(
        "{name}: its archive is the {} file with sha256 {}",
        one.format, one.archive_sha256
    ));
    reasons
}

/// Fetches an archive, and holds it against what was pushed.
pub(super) async fn download(args: &DownloadArgs, client: &Client, out: Output) -> CliResult {
    let version = client.package_version(&args.id, &args.version).await?;
    let own_name = format!("{}.{}.{}", version.id, version.version, version.format);
    let own_name = PathBuf::from(own_name);
    let to = args.to.as_deref().unwrap_or(&own_name);
    if to == Path::new("-") {
        let found = client
            .package_download(&version.id, &version.version, &mut io::stdout().lock())
            .await?;
        same(&version, found)?;
        return Ok(Exit::Success);
    }
    whole::must_be_free(to, args.force)?;
    whole::write(to, async |file| {
        let found = client
            .package_download(&version.id, &version.version, file)
            .await?;
        same(&version, found)
    })
    .await?;
    out.object(&version, |version| {
        vec![format!(
            "wrote {} {} ({}) to {}",
            version.id,
            version.version,
            size(version.size_bytes),
            to.display()
        )]
    })
}

fn same(version: &PackageVersion, found: Digest) -> Result<(), Failure> {
    if found.to_string() == version.archive_digest {
        return Ok(());
    }
    let what = format!(
        "what came is not the archive of {} {} that was pushed",
        version.id, version.version
    );
    Err(Failure::new(Exit::Internal, what).with_help(format!(
        "mantle package verify {} {}",
        version.id, version.version
    )))
}
