//! A store for a test, on either database.
//!
//! SQLite gets a temporary folder. PostgreSQL is started once for the test process, on a socket in
//! a temporary folder, with a database for each test; it ends with the process, however that ends,
//! because it is kept by a shell that waits for the end of a pipe which the process holds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use super::{Store, StoreConfig};

/// A store and what it lies on.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    /// The data folder; with PostgreSQL an empty one.
    pub(crate) folder: tempfile::TempDir,
}

/// Runs each named scenario, an `async fn(&Store)`, on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let test = $crate::store::testing::sqlite().await;
                super::$name(&test.store).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let test = $crate::store::testing::postgres().await;
                super::$name(&test.store).await;
            }
        }
    )*};
}
pub(crate) use on_both;

/// A store in a folder of its own.
pub(crate) async fn sqlite() -> TestStore {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::Sqlite {
        folder: folder.path().to_owned(),
    };
    let store = Store::open(config).await.unwrap();
    TestStore { store, folder }
}

/// A store in a database of its own.
pub(crate) async fn postgres() -> TestStore {
    let url = postgres_url().await;
    let store = Store::open(StoreConfig::Postgres { url }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    TestStore { store, folder }
}

/// The URL of a new, empty database.
pub(crate) async fn postgres_url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Server::start))
        .await
        .unwrap();
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = sqlx::PgConnection::connect(&server.url("postgres"))
        .await
        .unwrap();
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .unwrap();
    connection.close().await.unwrap();
    server.url(&name)
}

/// Makes the next insertions of API keys fail as PostgreSQL makes one of two transactions that wait
/// for each other fail. A sequence counts them, since it is not rolled back.
pub(crate) async fn collide(url: &str, times: u32, code: &str) {
    let sql = format!(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('tries') <= {times} THEN
                 RAISE EXCEPTION USING ERRCODE = '{code}';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER collide AFTER INSERT ON api_key FOR EACH ROW EXECUTE FUNCTION collide()"
    );
    let mut outside = sqlx::PgConnection::connect(url).await.unwrap();
    outside.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// How often [`collide`] was met.
pub(crate) async fn collisions(url: &str) -> i64 {
    let mut outside = sqlx::PgConnection::connect(url).await.unwrap();
    let row = outside.fetch_one("SELECT last_value FROM tries").await;
    row.unwrap().get(0)
}

/// Later ones of what there is, more than is ever shown: releases like `9.0.0`, old versions of its
/// package, secrets whose paths come first. SQLite alone.
pub(crate) async fn crowd(store: &Store) {
    const SQL: &str = "
        CREATE TEMPORARY TABLE nth (n INTEGER);
        WITH RECURSIVE counted (n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 10001)
            INSERT INTO nth SELECT n FROM counted;
        INSERT INTO release (id, project_id, version, channel, process, packages, variables,
                variables_number, notes, fields, created_at_us, created_by)
            SELECT randomblob(16), project_id, '9.0.' || n, channel, process, packages, variables,
                variables_number, notes, fields, created_at_us + n, created_by
            FROM release, nth WHERE version = '9.0.0';
        INSERT INTO package_version (id, package_id, version, format, archive_bytes, archive, sha256,
                root, size_bytes, files, platform, created_at_us, created_by)
            SELECT randomblob(16), package_id, '0.0.' || n, format, archive_bytes, archive, sha256,
                root, size_bytes, files, platform, created_at_us + n, created_by
            FROM package_version, nth WHERE version = '2.0';
        INSERT INTO secret (path, number, current_version, created_at_us, changed_at_us, changed_by)
            SELECT 'a/' || n, number, current_version, created_at_us, changed_at_us, changed_by
            FROM secret, nth;
        DROP TABLE nth";
    store.write(async |tx| tx.script(SQL).await).await.unwrap();
}

/// Makes every statement on attempts fail, until [`show_attempts`].
pub(crate) async fn hide_attempts(store: &Store) {
    rename(store, "ALTER TABLE attempt RENAME TO hidden").await;
}

/// Undoes [`hide_attempts`].
pub(crate) async fn show_attempts(store: &Store) {
    rename(store, "ALTER TABLE hidden RENAME TO attempt").await;
}

async fn rename(store: &Store, sql: &'static str) {
    store.write(async |tx| tx.script(sql).await).await.unwrap();
}

struct Server {
    sockets: PathBuf,
    /// Its standard input is the pipe that keeps the server alive.
    _keeper: Child,
}

/// Starts its arguments, waits until nobody holds its input any more, and cleans up.
const KEEPER: &str = r#"
folder=$1; shift
"$@" & server=$!
cat >/dev/null
kill -INT "$server"; wait "$server"
rm -rf "$folder"
"#;

impl Server {
    fn start() -> Self {
        let bin = find_binaries();
        let folder = tempfile::Builder::new()
            .prefix("mantle-pg-")
            .tempdir_in("/tmp")
            .unwrap()
            .keep();
        let (data, sockets) = (folder.join("data"), folder.join("run"));
        std::fs::create_dir(&sockets).unwrap();
        let as_user = become_ordinary(&[&folder, &sockets]);
        // An ICU collation that sorts unlike bytes do: what relies on byte order must say so.
        let initdb = format!(
            "{} -D {} -U postgres -A trust -E UTF8 --no-sync --locale=C.UTF-8 \
             --locale-provider=icu --icu-locale=en",
            bin.join("initdb").display(),
            data.display()
        );
        let output = command(&as_user, &initdb).output().unwrap();
        assert!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let server = format!(
            "{} -D {} -k {} -c listen_addresses= -c fsync=off -c max_connections=300 \
             -c shared_buffers=32MB",
            bin.join("postgres").display(),
            data.display(),
            sockets.display()
        );
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .args(as_user.iter())
            .args(server.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self {
            sockets,
            _keeper: keeper,
        };
        server.wait_ready(&bin, &folder);
        server
    }

    fn wait_ready(&self, bin: &Path, folder: &Path) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let ready = Command::new(bin.join("pg_isready"))
                .args(["-q", "-t", "1", "-h"])
                .arg(&self.sockets)
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "PostgreSQL did not start: {}",
                std::fs::read_to_string(folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.sockets.display()
        )
    }
}

/// Where `initdb` and `postgres` are.
fn find_binaries() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect("the store's tests need PostgreSQL; run: apt-get install postgresql")
}

/// PostgreSQL refuses to run as root: what to put before a command, so that it does not.
fn become_ordinary(folders: &[&Path]) -> Vec<String> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Vec::new();
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| {
            let line = users
                .lines()
                .find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(|id| id.parse::<u32>().ok());
            Some((ids.next()??, ids.next()??))
        })
        .expect("PostgreSQL does not run as root, and there is no user postgres or nobody");
    for folder in folders {
        std::os::unix::fs::chown(folder, Some(user.0), Some(user.1)).unwrap();
    }
    vec![
        "setpriv".to_owned(),
        format!("--reuid={}", user.0),
        format!("--regid={}", user.1),
        "--clear-groups".to_owned(),
    ]
}

fn command(prefix: &[String], line: &str) -> Command {
    let mut words = prefix
        .iter()
        .map(String::as_str)
        .chain(line.split_whitespace());
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null()).current_dir("/");
    command
}
