//! Plans that were printed: what each rests on, under its id, so that a deployment that is bound to
//! one can say what changed since.

use super::error::Result;
use super::tx::Tx;
use super::value::params;

/// Keeps what a plan rests on, or notes that the same plan was shown again.
pub async fn plan_keep(tx: &mut Tx, id: &str, body: &str, at_us: i64) -> Result<()> {
    tx.exec(
        "INSERT INTO plan (id, body, shown_at_us) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO UPDATE SET shown_at_us = excluded.shown_at_us",
        params![id, body, at_us],
    )
    .await?;
    Ok(())
}

/// What the plan of this id rests on, if it is still known.
pub async fn plan_find(tx: &mut Tx, id: &str) -> Result<Option<String>> {
    let row = tx
        .row("SELECT body FROM plan WHERE id = $1", params![id])
        .await?;
    row.map(|row| row.get("body")).transpose()
}

/// Forgets plans that were last shown before this; says how many.
pub async fn plan_prune(tx: &mut Tx, before_us: i64) -> Result<u64> {
    tx.exec(
        "DELETE FROM plan WHERE shown_at_us < $1",
        params![before_us],
    )
    .await
}
