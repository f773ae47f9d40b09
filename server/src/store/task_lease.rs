//! Leases: which server node drives a task.
//!
//! Each taking of a lease gets the next epoch of the one counter, so that whoever lost it is told
//! apart from whoever has it, here by the guards of every write and on the agents by the highest
//! epoch they saw. A lease is judged by the database's clock alone.

use std::time::Duration;

use mantle_domain::ids::TaskId;

use super::error::{Result, StoreError};
use super::ids::NodeId;
use super::server_meta::{epoch_next, now_us};
use super::task::Lease;
use super::tx::Tx;
use super::value::params;

/// Takes a task that is not over and that nobody else holds. The same node may take it again: its
/// earlier epoch is then void.
pub async fn task_lease_take(
    tx: &mut Tx,
    id: TaskId,
    node: NodeId,
    lasts: Duration,
) -> Result<Lease> {
    let now = now_us(tx).await?;
    let epoch = epoch_next(tx).await?;
    let lease = Lease {
        node,
        epoch,
        until_us: end(now, lasts),
    };
    tx.exec_one(
        "UPDATE task SET lease_node = $2, lease_epoch = $3, lease_until_us = $4
         WHERE id = $1 AND state <> 'done'
           AND (lease_node IS NULL OR lease_node = $2 OR lease_until_us <= $5)",
        params![id, node, epoch, lease.until_us, now],
        StoreError::conflict("task"),
    )
    .await?;
    Ok(lease)
}

/// Keeps every lease of a node for longer; says how many it has. One that ran out but was not
/// taken by another is still its own.
pub async fn task_lease_renew(tx: &mut Tx, node: NodeId, lasts: Duration) -> Result<u64> {
    let now = now_us(tx).await?;
    tx.exec(
        "UPDATE task SET lease_until_us = $2 WHERE lease_node = $1 AND state <> 'done'",
        params![node, end(now, lasts)],
    )
    .await
}

/// Gives a lease back.
pub async fn task_lease_release(tx: &mut Tx, id: TaskId, epoch: u64) -> Result<()> {
    tx.exec_one(
        "UPDATE task SET lease_node = NULL, lease_until_us = NULL
         WHERE id = $1 AND lease_epoch = $2 AND lease_node IS NOT NULL",
        params![id, epoch],
        StoreError::conflict("task"),
    )
    .await
}

/// Gives all leases of a node back, when it goes down in good order.
pub async fn task_lease_release_all(tx: &mut Tx, node: NodeId) -> Result<u64> {
    tx.exec(
        "UPDATE task SET lease_node = NULL, lease_until_us = NULL WHERE lease_node = $1",
        params![node],
    )
    .await
}

/// Takes the leases of all other nodes away. With SQLite there is one server, so whoever holds a
/// lease at its start is a process that is gone.
pub async fn task_lease_clear(tx: &mut Tx) -> Result<u64> {
    tx.exec(
        "UPDATE task SET lease_node = NULL, lease_until_us = NULL WHERE lease_node IS NOT NULL",
        params![],
    )
    .await
}

fn end(now_us: i64, lasts: Duration) -> i64 {
    now_us.saturating_add(i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX))
}
