//! Whoever writes into the audit trail past the server is found out (A66).

use crate::store::testing::{self, on_both};
use crate::store::{
    AuditEntry, AuditFault, AuditVerdict, Store, StoreError, audit_append, audit_head, audit_list,
    audit_verify,
};

on_both!(
    the_trail_is_numbered_and_listed_newest_first,
    tampering_is_found_at_its_first_row,
    a_change_that_is_rolled_back_is_not_noted,
    writers_at_once_make_one_chain,
);

fn entry(subject: &str) -> AuditEntry {
    AuditEntry {
        at_us: 7,
        actor: "apikey:ada".to_owned(),
        action: "release.create".to_owned(),
        subject: subject.to_owned(),
        detail: "{}".to_owned(),
    }
}

async fn fill(store: &Store, rows: u64) {
    let mut tx = store.begin().await.unwrap();
    for row in 1..=rows {
        let subject = format!("octofx {row}");
        assert_eq!(audit_append(&mut tx, &entry(&subject)).await.unwrap(), row);
    }
    tx.commit().await.unwrap();
}

async fn the_trail_is_numbered_and_listed_newest_first(store: &Store) {
    fill(store, 5).await;
    let mut tx = store.read().await.unwrap();
    let numbers = |rows: Vec<crate::store::AuditRow>| -> Vec<u64> {
        rows.iter().map(|row| row.sequence).collect()
    };
    let page = audit_list(&mut tx, None, None, 2).await.unwrap();
    assert_eq!(numbers(page), [5, 4]);
    let page = audit_list(&mut tx, Some(4), None, 10).await.unwrap();
    assert_eq!(numbers(page), [3, 2, 1]);
    let page = audit_list(&mut tx, None, Some("octofx 2"), 10)
        .await
        .unwrap();
    assert_eq!(numbers(page), [2]);
    let head = audit_head(&mut tx).await.unwrap();
    assert_eq!(
        audit_verify(&mut tx).await.unwrap(),
        AuditVerdict::Intact(head)
    );
    assert_eq!(head.sequence, 5);
}

async fn tampering_is_found_at_its_first_row(store: &Store) {
    use AuditFault::{Beyond, Changed, Missing, Truncated};
    fill(store, 6).await;
    let cases: &[(&'static str, u64, AuditFault)] = &[
        ("UPDATE audit SET at_us = 8 WHERE seq = 3", 3, Changed),
        (
            "UPDATE audit SET actor = 'apikey:eve' WHERE seq = 1",
            1,
            Changed,
        ),
        ("UPDATE audit SET action = 'x' WHERE seq = 6", 6, Changed),
        (
            "UPDATE audit SET subject = subject || ' ' WHERE seq = 2",
            2,
            Changed,
        ),
        (
            "UPDATE audit SET detail = '{\"a\":1}' WHERE seq >= 4",
            4,
            Changed,
        ),
        (
            "UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 4",
            4,
            Changed,
        ),
        ("DELETE FROM audit WHERE seq = 1", 1, Missing),
        ("DELETE FROM audit WHERE seq = 4", 4, Missing),
        ("DELETE FROM audit WHERE seq > 4", 5, Truncated),
        ("DELETE FROM audit", 1, Truncated),
        (
            "UPDATE audit SET seq = 100 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3;
             UPDATE audit SET seq = 3 WHERE seq = 100",
            2,
            Changed,
        ),
        (
            "DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3",
            3,
            Changed,
        ),
        (
            "UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)",
            6,
            Beyond,
        ),
        (
            "UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE seq = 5)",
            6,
            Changed,
        ),
    ];
    for (tamper, sequence, fault) in cases {
        // In a transaction that is rolled back, so that each case starts from the whole trail.
        let mut tx = store.begin().await.unwrap();
        tx.script(tamper).await.unwrap();
        assert_eq!(
            audit_verify(&mut tx).await.unwrap(),
            AuditVerdict::Broken {
                sequence: *sequence,
                fault: *fault
            },
            "{tamper}"
        );
    }
    let mut tx = store.read().await.unwrap();
    assert!(matches!(
        audit_verify(&mut tx).await.unwrap(),
        AuditVerdict::Intact(_)
    ));
}

#[tokio::test]
async fn a_hash_that_is_none_is_a_change() {
    let test = testing::sqlite().await;
    fill(&test.store, 2).await;
    let mut tx = test.store.begin().await.unwrap();
    tx.script("UPDATE audit SET hash = x'00' WHERE seq = 2")
        .await
        .unwrap();
    assert_eq!(
        audit_verify(&mut tx).await.unwrap(),
        AuditVerdict::Broken {
            sequence: 2,
            fault: AuditFault::Changed
        }
    );
}

async fn a_change_that_is_rolled_back_is_not_noted(store: &Store) {
    fill(store, 1).await;
    let failed: Result<(), StoreError> = store
        .write(async |tx| {
            audit_append(tx, &entry("x")).await?;
            Err(StoreError::conflict("x"))
        })
        .await;
    assert!(failed.is_err());
    let mut tx = store.read().await.unwrap();
    assert_eq!(audit_head(&mut tx).await.unwrap().sequence, 1);
    assert_eq!(audit_list(&mut tx, None, None, 9).await.unwrap().len(), 1);
}

async fn writers_at_once_make_one_chain(store: &Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..5 {
                let subject = format!("writer {writer}");
                store
                    .write(async |tx| audit_append(tx, &entry(&subject)).await)
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut tx = store.read().await.unwrap();
    let AuditVerdict::Intact(head) = audit_verify(&mut tx).await.unwrap() else {
        panic!("the chain is broken");
    };
    assert_eq!(head.sequence, 40);
}
