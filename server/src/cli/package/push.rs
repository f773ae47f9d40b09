//! `mantle package push`: resumes where it was cut off.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::body::{PackagePlatform, PackageVersion, Upload, UploadCreate};
use crate::cli::exit::{CliResult, Exit, Failure};
use crate::cli::output::{Output, line_out, size};
use crate::client::{Client, ClientError};

/// What is sent at once: small enough to resume without much loss, large enough to be fast.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// How often in a row a broken connection is resumed before the push gives up.
const TRIES: u32 = 8;

/// What to push.
#[derive(Debug, Args)]
pub(in crate::cli) struct PushArgs {
    /// The files; id and version are read from names like Acme.Web.1.2.3.zip
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The package's id, instead of the one in the name
    #[arg(long)]
    id: Option<String>,
    /// The version, instead of the one in the name
    #[arg(long)]
    version: Option<String>,
    /// The only platform that the packages are for: names that Windows refuses or mixes up are then
    /// taken, and no Windows target gets them
    #[arg(long)]
    platform: Option<PackagePlatform>,
}

/// Does it.
pub(super) async fn push_all(args: PushArgs, client: &Client, out: Output) -> CliResult {
    if args.files.len() > 1 && args.version.is_some() && args.id.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "--id and --version together name one package, but several files were given",
        )
        .with_help("push them one by one, or name them like Acme.Web.1.2.3.zip"));
    }
    let mut pushed = Vec::new();
    for (index, file) in args.files.iter().enumerate() {
        let version = match push(file, &args, client, out).await {
            Ok(version) => version,
            Err(failure) => {
                let left = args.files.get(index + 1..).unwrap_or_default();
                tell_untried(left, out);
                return Err(failure);
            }
        };
        if !out.is_json() {
            line_out(&format!("{} {}", version.id, version.version))?;
        }
        pushed.push(version);
    }
    if out.is_json() {
        return out.list(&pushed, &[], |_| Vec::new());
    }
    Ok(Exit::Success)
}

/// After a failure the files behind it are not tried; whoever repeats the command has to know.
fn tell_untried(left: &[PathBuf], out: Output) {
    if !left.is_empty() {
        let names: Vec<String> = left.iter().map(|file| file.display().to_string()).collect();
        out.note(&format!("not tried: {}", names.join(", ")));
    }
}

async fn push(
    path: &Path,
    args: &PushArgs,
    client: &Client,
    out: Output,
) -> Result<PackageVersion, Failure> {
    let (size_bytes, digest) = measure(path).await?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let request = UploadCreate {
        file_name: name.into_owned(),
        size_bytes,
        digest,
        id: args.id.clone(),
        version: args.version.clone(),
    };
    let upload = client.upload_create(&request).await?;
    if upload.present {
        out.note(&format!(
            "{} {} is there already",
            upload.id, upload.version
        ));
        return Ok(client.package_version(&upload.id, &upload.version).await?);
    }
    let mut bar = Bar::new(&format!("{} {}", upload.id, upload.version), out);
    let sent = send(path, &upload, client, &mut bar).await;
    bar.clear();
    sent?;
    finish(&upload, args.platform, client).await
}

async fn send(path: &Path, upload: &Upload, client: &Client, bar: &mut Bar) -> Result<(), Failure> {
    let mut file = open(path)?;
    let (mut offset, mut tries) = (upload.offset, 0);
    while offset < upload.size_bytes {
        bar.draw(offset, upload.size_bytes);
        let piece = read_piece(&mut file, path, offset)?;
        match client.upload_append(&upload.upload, offset, piece).await {
            Ok(state) => {
                tries = 0;
                offset = state.offset;
            }
            Err(error) if may_resume(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(200) * (1 << tries)).await;
                if let Ok(state) = client.upload(&upload.upload).await {
                    offset = state.offset;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The server took over the work once the finish was asked for; asking again gives the same.
async fn finish(
    upload: &Upload,
    platform: Option<PackagePlatform>,
    client: &Client,
) -> Result<PackageVersion, Failure> {
    match client.upload_finish(&upload.upload, platform).await {
        Err(error) if error.is_passing() => {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            match client.package_version(&upload.id, &upload.version).await {
                Ok(version) => Ok(version),
                Err(_) => Ok(client.upload_finish(&upload.upload, platform).await?),
            }
        }
        other => Ok(other?),
    }
}

fn may_resume(error: &ClientError) -> bool {
    // 409 here means that the server is at another offset than we believed.
    error.is_passing()
        || matches!(error, ClientError::Refused(problem) if problem.code == "wrong-offset")
}

fn open(path: &Path) -> Result<std::fs::File, Failure> {
    std::fs::File::open(path).map_err(|error| Failure::unreadable(path, &error))
}

fn read_piece(file: &mut std::fs::File, path: &Path, offset: u64) -> Result<Vec<u8>, Failure> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(PIECE_BYTES as u64).read_to_end(&mut piece))
        .map_err(|error| Failure::unreadable(path, &error))?;
    if piece.is_empty() {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{} became shorter while it was sent", path.display()),
        ));
    }
    Ok(piece)
}

async fn measure(path: &Path) -> Result<(u64, String), Failure> {
    let path = path.to_owned();
    let measured = tokio::task::spawn_blocking(move || {
        let mut file = open(&path)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0_u8; 256 * 1024];
        let mut total = 0_u64;
        loop {
            let count = file
                .read(&mut buffer)
                .map_err(|error| Failure::unreadable(&path, &error))?;
            if count == 0 {
                return Ok((total, hasher.finalize().to_hex().to_string()));
            }
            total += count as u64;
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
    });
    measured
        .await
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?
}

/// A progress bar on a terminal; nothing elsewhere.
struct Bar {
    title: String,
    live: bool,
    drawn: bool,
}

impl Bar {
    fn new(title: &str, out: Output) -> Self {
        Self {
            title: title.to_owned(),
            live: out.live,
            drawn: false,
        }
    }

    fn draw(&mut self, done: u64, all: u64) {
        const CELLS: u64 = 24;
        if !self.live {
            return;
        }
        let filled = done * CELLS / all.max(1);
        let bar: String = (0..CELLS)
            .map(|cell| if cell < filled { '█' } else { '░' })
            .collect();
        let text = format!(
            "\r{} {bar} {} of {}\x1b[K",
            self.title,
            size(done),
            size(all)
        );
        let mut err = anstream::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        self.drawn = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let mut err = anstream::stderr().lock();
            let _ = err.write_all(b"\r\x1b[K").and_then(|()| err.flush());
        }
    }
}
