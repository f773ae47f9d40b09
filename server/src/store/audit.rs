//! The audit trail: one row for each change, written in the same transaction, chained by hash.
//!
//! The chain's rule is `domain::audit`'s. The head, kept apart, shows a tail that was cut off;
//! whoever can write the whole database can forge both, so [`audit_head`] is there to be anchored
//! outside, in a log or a file.

use futures_util::StreamExt as _;
use mantle_domain::audit::{AuditRow, BrokenChain, GENESIS, hash, verify};
use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::upkeep::audit_cut_find;
use super::value::{Row, params};

/// What is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// Who, such as `apikey:admin`, `agent:web-01` or `server`.
    pub actor: String,
    /// What was done, such as `release.create`.
    pub action: String,
    /// To what, such as `octofx 1.2.3`.
    pub subject: String,
    /// The particulars, as JSON: ids, the request. Never a secret's value.
    pub detail: String,
}

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// The last row's number; 0 if there is none.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
}

/// What checking the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row is as it was written.
    Intact(AuditHead),
    /// This row is the first that is not as it was written.
    Broken {
        /// Its number.
        sequence: u64,
        /// What is wrong with it.
        fault: AuditFault,
    },
}

/// How a chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFault {
    /// The row is not there, but later ones are.
    Missing,
    /// The row's content, or that of the one before it, does not have its hash.
    Changed,
    /// This row and those after it were cut off the end.
    Truncated,
    /// The row stands behind the recorded end.
    Beyond,
    /// What came before this row was removed, and no row of the trail says so.
    Unvouched,
}

/// Notes a change and says which number the row got. Call it in the transaction that makes the
/// change.
pub async fn audit_append(tx: &mut Tx, entry: &AuditEntry) -> Result<u64> {
    // The update comes first: it locks the head, so that writers on PostgreSQL chain in turn.
    let head = tx
        .row(
            "UPDATE audit_head SET seq = seq + 1 WHERE id = 1 RETURNING seq, hash",
            params![],
        )
        .await?
        .ok_or(StoreError::corrupt("the head of the audit trail"))?;
    let row = AuditRow {
        sequence: head.get("seq")?,
        at_us: entry.at_us,
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        subject: entry.subject.clone(),
        detail: entry.detail.clone(),
    };
    let hash = hash(&head.get("hash")?, &row);
    tx.exec(
        "INSERT INTO audit (seq, at_us, actor, action, subject, detail, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            row.sequence,
            row.at_us,
            row.actor,
            row.action,
            row.subject,
            row.detail,
            hash,
        ],
    )
    .await?;
    tx.exec_one(
        "UPDATE audit_head SET hash = $1 WHERE id = 1 AND seq = $2",
        params![hash, row.sequence],
        StoreError::conflict("head of the audit trail"),
    )
    .await?;
    Ok(row.sequence)
}

/// The end of the chain, to be anchored elsewhere.
pub async fn audit_head(tx: &mut Tx) -> Result<AuditHead> {
    let row = tx
        .row("SELECT seq, hash FROM audit_head WHERE id = 1", params![])
        .await?
        .ok_or(StoreError::corrupt("the head of the audit trail"))?;
    Ok(AuditHead {
        sequence: row.get("seq")?,
        hash: row.get("hash")?,
    })
}

/// Rows before this number, the newest first; only about one subject if so asked.
pub async fn audit_list(
    tx: &mut Tx,
    before: Option<u64>,
    subject: Option<&str>,
    limit: u32,
) -> Result<Vec<AuditRow>> {
    tx.rows(
        "SELECT * FROM audit
         WHERE seq < $1 AND ($2 IS NULL OR subject = $2)
         ORDER BY seq DESC LIMIT $3",
        params![before.unwrap_or(u64::MAX), subject, limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Checks the whole chain, row by row, and names the first bad one. It begins where the trail was cut.
pub async fn audit_verify(tx: &mut Tx) -> Result<AuditVerdict> {
    let recorded = audit_head(tx).await?;
    let cut = audit_cut_find(tx).await?;
    let mut head = AuditHead {
        sequence: cut.through,
        hash: cut.hash,
    };
    let mut is_vouched = cut.through == 0 && cut.hash == GENESIS;
    let mut rows = tx.stream("SELECT * FROM audit ORDER BY seq", params![]);
    while let Some(row) = rows.next().await {
        let row = row?;
        let next = head.sequence + 1;
        let Some((content, stored)) = legible(&row)? else {
            return Ok(broken(next, AuditFault::Changed));
        };
        match verify((head.sequence, &head.hash), &content, &stored) {
            Ok(()) if next > recorded.sequence => return Ok(broken(next, AuditFault::Beyond)),
            Ok(()) => {}
            Err(BrokenChain::Gap { expected, .. }) => {
                return Ok(broken(expected, AuditFault::Missing));
            }
            Err(BrokenChain::Changed { sequence }) => {
                return Ok(broken(sequence, AuditFault::Changed));
            }
        }
        is_vouched |= cut.is_vouched_by(&content);
        head = AuditHead {
            sequence: next,
            hash: stored,
        };
    }
    if head.sequence < recorded.sequence {
        return Ok(broken(head.sequence + 1, AuditFault::Truncated));
    }
    if head.hash != recorded.hash {
        return Ok(broken(head.sequence, AuditFault::Changed));
    }
    if !is_vouched {
        return Ok(broken(cut.through + 1, AuditFault::Unvouched));
    }
    Ok(AuditVerdict::Intact(head))
}

fn broken(sequence: u64, fault: AuditFault) -> AuditVerdict {
    AuditVerdict::Broken { sequence, fault }
}

/// `None` for values that could never have been written by us.
fn legible(row: &Row) -> Result<Option<(AuditRow, Digest)>> {
    let both = || Ok((read(row)?, row.get("hash")?));
    match both() {
        Ok(both) => Ok(Some(both)),
        Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(row: &Row) -> Result<AuditRow> {
    Ok(AuditRow {
        sequence: row.get("seq")?,
        at_us: row.get("at_us")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        detail: row.get("detail")?,
    })
}
