//! What the server knows about itself: its identity, its keys for the wire, its counters.

use std::collections::{BTreeMap, BTreeSet};

use mantle_shared::ids::AgentId;
use uuid::Uuid;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::params;

/// Who this installation is; 16 bytes.
pub const META_INSTANCE_ID: &str = "instance_id";
/// quinn's key for stateless resets; 64 bytes. Persisted, so that a restarted server can tell its
/// agents at once that their connections are gone.
pub const META_RESET_KEY: &str = "reset_key";
/// The key under which connection ids are made; 32 bytes.
pub const META_CONNECTION_ID_KEY: &str = "connection_id_key";
/// Proves that the master key on disk is the one that this database was written with.
pub const META_MASTER_KEY_CHECK: &str = "master_key_check";
/// The fingerprint of the certificate authority.
pub const META_AUTHORITY: &str = "authority";

/// That the database comes from a backup, until it was recovered; JSON.
pub const META_RESTORED: &str = "restored";

/// When it was last noted which agents are connected: 8 bytes. Earlier versions put all agents behind it,
/// 16 bytes each.
const META_CONNECTED: &str = "connected";
/// Which agents are connected, in lots by the last byte of their ids: 16 bytes an agent. A lot is written
/// when it changes, so that what is written all the time is as small for ten thousand as for one.
const META_CONNECTED_LOT: &str = "connected/";

/// How many tasks run at once, as the server was last started; digits.
const META_MAX_RUNNING: &str = "max_running";

/// How many tasks run at once unless the server is told otherwise. A running deployment costs the
/// server little; what it bounds is how much of the fleet and of the network is in motion at once.
pub const MAX_RUNNING: u32 = 20;

/// Keeps how many tasks run at once, for all who look at the queue.
pub async fn max_running_keep(tx: &mut Tx, limit: u32) -> Result<()> {
    server_meta_put(tx, META_MAX_RUNNING, limit.to_string().into_bytes()).await
}

/// How many tasks run at once.
pub async fn max_running(tx: &mut Tx) -> Result<u32> {
    let Some(value) = server_meta_find(tx, META_MAX_RUNNING).await? else {
        return Ok(MAX_RUNNING);
    };
    std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| StoreError::corrupt("how many tasks run at once".to_owned()))
}

/// The value of this name.
pub async fn server_meta_find(tx: &mut Tx, name: &str) -> Result<Option<Vec<u8>>> {
    tx.row(
        "SELECT value FROM server_meta WHERE name = $1",
        params![name],
    )
    .await?
    .map(|row| row.get("value"))
    .transpose()
}

/// Notes which agents are connected: what a server that is killed leaves behind. `noted` are those that the
/// note names so far; what did not change since is not written again. Gives how many bytes were written.
pub async fn connected_keep(
    tx: &mut Tx,
    noted: &BTreeSet<AgentId>,
    agents: &BTreeSet<AgentId>,
    at_us: i64,
) -> Result<usize> {
    let mut written = 0;
    let mut changed: BTreeMap<u8, Vec<u8>> = noted
        .symmetric_difference(agents)
        .map(|agent| (lot_of(*agent), Vec::new()))
        .collect();
    for agent in agents {
        if let Some(lot) = changed.get_mut(&lot_of(*agent)) {
            lot.extend_from_slice(agent.as_uuid().as_bytes());
        }
    }
    for (lot, ids) in changed {
        let name = format!("{META_CONNECTED_LOT}{lot:02x}");
        written += ids.len();
        if ids.is_empty() {
            server_meta_remove(tx, &name).await?;
        } else {
            server_meta_put(tx, &name, ids).await?;
        }
    }
    let at = at_us.to_be_bytes().to_vec();
    written += at.len();
    server_meta_put(tx, META_CONNECTED, at).await?;
    Ok(written)
}

/// The last byte is random in a `UUIDv7`.
fn lot_of(agent: AgentId) -> u8 {
    let [.., last] = *agent.as_uuid().as_bytes();
    last
}

/// The agents that were connected when that was last noted, and when that was. What cannot be read is
/// as if it were not there.
pub async fn connected_find(tx: &mut Tx) -> Result<Option<(BTreeSet<AgentId>, i64)>> {
    let Some(value) = server_meta_find(tx, META_CONNECTED).await? else {
        return Ok(None);
    };
    let Some((at, older)) = value.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let mut agents: BTreeSet<AgentId> = agents_in(older).collect();
    let lots = tx
        .rows(
            "SELECT value FROM server_meta WHERE name LIKE 'connected/%'",
            params![],
        )
        .await?;
    for lot in &lots {
        let ids: Vec<u8> = lot.get("value")?;
        agents.extend(agents_in(&ids));
    }
    Ok(Some((agents, i64::from_be_bytes(*at))))
}

fn agents_in(bytes: &[u8]) -> impl Iterator<Item = AgentId> {
    let ids = bytes.chunks_exact(16);
    ids.filter_map(|id| Uuid::from_slice(id).ok().map(AgentId::from_uuid))
}

/// Sets the value, whatever holds now.
async fn server_meta_put(tx: &mut Tx, name: &str, value: Vec<u8>) -> Result<()> {
    tx.exec(
        "INSERT INTO server_meta (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, value],
    )
    .await
    .map(|_| ())
}

/// Sets the value if there is none yet, and says which one holds now.
pub async fn server_meta_keep(tx: &mut Tx, name: &str, value: &[u8]) -> Result<Vec<u8>> {
    tx.exec(
        "INSERT INTO server_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        params![name, value],
    )
    .await?;
    server_meta_find(tx, name)
        .await?
        .ok_or(StoreError::not_found("server setting"))
}

/// Replaces a value.
pub async fn server_meta_replace(tx: &mut Tx, name: &str, value: &[u8]) -> Result<()> {
    tx.exec_one(
        "UPDATE server_meta SET value = $2 WHERE name = $1",
        params![name, value],
        StoreError::not_found("server setting"),
    )
    .await
}

/// Removes a value; it need not be there.
pub async fn server_meta_remove(tx: &mut Tx, name: &str) -> Result<()> {
    tx.exec("DELETE FROM server_meta WHERE name = $1", params![name])
        .await?;
    Ok(())
}

/// The highest epoch that was given out; what `Welcome` says.
pub async fn epoch_current(tx: &mut Tx) -> Result<u64> {
    counter_read(tx, "epoch").await
}

/// Takes the next epoch.
pub async fn epoch_next(tx: &mut Tx) -> Result<u64> {
    counter_next(tx, "epoch").await
}

/// Raises the epoch counter above what agents have seen, after a restored backup.
pub async fn epoch_raise(tx: &mut Tx, above: u64) -> Result<u64> {
    tx.exec(
        "UPDATE counter SET value = $1 + 1 WHERE name = 'epoch' AND value <= $1",
        params![above],
    )
    .await?;
    epoch_current(tx).await
}

pub(super) async fn counter_next(tx: &mut Tx, name: &str) -> Result<u64> {
    tx.row(
        "UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value",
        params![name],
    )
    .await?
    .ok_or(StoreError::not_found("counter"))?
    .get("value")
}

async fn counter_read(tx: &mut Tx, name: &str) -> Result<u64> {
    tx.row("SELECT value FROM counter WHERE name = $1", params![name])
        .await?
        .ok_or(StoreError::not_found("counter"))?
        .get("value")
}

/// The time by which leases are judged, in microseconds since 1970: PostgreSQL's own where several
/// nodes share it, since their clocks differ; the machine's with SQLite.
pub async fn now_us(tx: &mut Tx) -> Result<i64> {
    let sql = if tx.is_postgres() {
        "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT AS now_us"
    } else {
        "SELECT CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) AS now_us"
    };
    tx.row(sql, params![])
        .await?
        .ok_or(StoreError::not_found("clock"))?
        .get("now_us")
}
