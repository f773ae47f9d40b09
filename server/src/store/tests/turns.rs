//! Transactions that write the state come one after the other, on either database: what one has
//! looked at is still so when it writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store::testing::{self, on_both};
use crate::store::{
    Store, StoreConfig, StoreError, server_meta_find, server_meta_keep, server_meta_replace,
};

on_both!(
    what_was_read_is_still_so_when_it_is_written,
    one_writes_at_a_time,
    a_writer_that_is_given_up_leaves_its_turn,
);

const COUNTER: &str = "counter";

/// Reads, lets others run, and writes one more.
async fn count(store: &Store) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let read = server_meta_find(&mut tx, COUNTER).await?.unwrap();
    let number: u32 = String::from_utf8(read).unwrap().parse().unwrap();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let next = (number + 1).to_string();
    server_meta_replace(&mut tx, COUNTER, next.as_bytes()).await?;
    tx.commit().await
}

async fn counted(stores: &[Store]) -> u32 {
    let start = async |tx: &mut _| server_meta_keep(tx, COUNTER, b"0").await;
    stores[0].write(start).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for turn in 0..40 {
        let store = stores[turn % stores.len()].clone();
        tasks.spawn(async move { count(&store).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let mut tx = stores[0].read().await.unwrap();
    let read = server_meta_find(&mut tx, COUNTER).await.unwrap().unwrap();
    String::from_utf8(read).unwrap().parse().unwrap()
}

async fn what_was_read_is_still_so_when_it_is_written(store: &Store) {
    assert_eq!(counted(std::slice::from_ref(store)).await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_take_turns() {
    let url = testing::postgres_url().await;
    let mut stores = Vec::new();
    for _ in 0..2 {
        let config = StoreConfig::Postgres { url: url.clone() };
        stores.push(Store::open(config).await.unwrap());
    }
    assert_eq!(counted(&stores).await, 40);
}

async fn one_writes_at_a_time(store: &Store) {
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (store, inside) = (store.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            let tx = store.begin().await.unwrap();
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            tx.commit().await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn a_writer_that_is_given_up_leaves_its_turn(store: &Store) {
    let first = store.begin().await.unwrap();
    // Those that wait and are given up leave the turn to those that still do.
    for _ in 0..20 {
        let soon = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, store.begin()).await.is_err());
    }
    let readers = store.read().await;
    assert!(
        readers.is_ok(),
        "who waits to write keeps nobody from reading"
    );
    drop(first);
    store.begin().await.unwrap().commit().await.unwrap();
}
