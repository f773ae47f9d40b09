//! The machinery's long-lived tasks, with when and how each of them stops.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::machinery::Machinery;
use crate::api::body::{PackageCollect, RetentionItem};
use crate::api::error_chain;
use crate::gateway::Epochs;
use crate::services::{
    COLLECT_EVERY, COLLECT_FIRST, Caller, RESERVE_EVERY, RETAIN_EVERY, Services, TIDY_EVERY,
};
use crate::supervise::{Stage, Supervisor};

/// Agents come back after this long: a restart is over by then more often than not.
const COME_BACK_MS: u32 = 1000;
/// What the agents had said before they were sent away is stored within this. The rest is not
/// acknowledged, so they say it again.
const FINISH: Duration = Duration::from_secs(5);

/// Starts everything that moves.
pub(super) fn start(machinery: Machinery, supervisor: &mut Supervisor) {
    let Machinery {
        gateway,
        ingest,
        orchestrator,
        collector,
        ..
    } = machinery;
    let stop = supervisor.stop_token(Stage::Intake);
    supervisor.spawn(Stage::Intake, "gateway", async move {
        tokio::select! {
            () = gateway.run() => {}
            () = stop.cancelled() => gateway.close("the server restarts", COME_BACK_MS).await,
        }
        Ok(())
    });
    let stop = supervisor.stop_token(Stage::Work);
    supervisor.spawn(Stage::Work, "ingest", async move {
        until(stop, ingest.run()).await;
        Ok(())
    });
    let stop = supervisor.stop_token(Stage::Work);
    supervisor.spawn(Stage::Work, "orchestrator", async move {
        until(stop, orchestrator.run()).await;
        Ok(())
    });
    let stop = supervisor.stop_token(Stage::Work);
    supervisor.spawn(Stage::Work, "artifacts", async move {
        // What is under way goes on from where it was after the next start.
        tokio::select! {
            () = collector.run() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    });
}

/// Starts what tidies up now and then. It may fail: the next time it finds the same again. A server
/// that was restored and not yet recovered removes nothing.
pub(super) fn start_janitor(services: Services, epochs: Arc<Epochs>, supervisor: &mut Supervisor) {
    let stop = supervisor.stop_token(Stage::Work);
    supervisor.spawn(Stage::Work, "janitor", async move {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = epochs.released() => {}
        }
        let mut due = tokio::time::interval(TIDY_EVERY);
        let mut reserve = tokio::time::interval(RESERVE_EVERY);
        // Not at the start: a server that is restarted again and again has better things to do.
        let first = tokio::time::Instant::now() + RETAIN_EVERY;
        let mut retain = tokio::time::interval_at(first, RETAIN_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = retain.tick() => retain_now(&services).await,
                _ = reserve.tick() => services.keep_reserve().await,
                _ = due.tick() => tidy_now(&services).await,
            }
        }
    });
}

async fn tidy_now(services: &Services) {
    let (uploads, checks) = (services.tidy().await, services.health_check_tidy().await);
    for (done, what) in [
        (uploads, "idle uploads were given up"),
        (checks, "tasks of health checks were removed"),
    ] {
        match done {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "{what}"),
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "tidying up failed and is tried again later");
            }
        }
    }
}

async fn retain_now(services: &Services) {
    match services.retention_run(&Caller::server(), false).await {
        Ok(result) => {
            let held =
                |item: &&RetentionItem| item.goes && matches!(&*item.kind, "release" | "package");
            let named = result.items.iter().filter(held).count() as u64;
            let removed = named + result.counts.iter().map(|kind| kind.goes).sum::<u64>();
            if removed > 0 {
                tracing::info!(removed, "what the rules no longer keep was removed");
            }
        }
        Err(error) => {
            let error = error_chain(&error);
            tracing::warn!(error, "retention failed and is tried again later");
        }
    }
}

/// Starts what collects packages that nothing names, off every request's way. Like the janitor it
/// may fail; a stop does not wait for it.
pub(super) fn start_collector(
    services: Services,
    epochs: Arc<Epochs>,
    supervisor: &mut Supervisor,
) {
    let stop = supervisor.stop_token(Stage::Work);
    supervisor.spawn(Stage::Work, "collector", async move {
        let work = async {
            epochs.released().await;
            every(COLLECT_FIRST, COLLECT_EVERY, || collect(services.clone())).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
        Ok(())
    });
}

async fn collect(services: Services) {
    let caller = Caller::server();
    let request = PackageCollect { dry_run: false };
    let collected = services.package_collect(&caller, request, SystemTime::now());
    match collected.await {
        Ok(done) if !done.broken.is_empty() => tracing::warn!(
            packages = ?done.broken,
            "packages are damaged or missing in the repository, so nothing is collected; push \
             them again"
        ),
        Ok(done) if done.removed_objects == 0 => {}
        Ok(done) => tracing::info!(
            objects = done.removed_objects,
            size_bytes = done.removed_bytes,
            "what no package names was collected"
        ),
        Err(error) => {
            let error = error_chain(&error);
            tracing::warn!(error, "collecting packages failed and is tried again later");
        }
    }
}

/// Does something after a while and from then on regularly. A turn that took longer moves those
/// that follow, so that two never run at once.
async fn every<F: Future<Output = ()>>(
    first: Duration,
    then: Duration,
    mut turn: impl FnMut() -> F,
) {
    tokio::time::sleep(first).await;
    loop {
        turn().await;
        tokio::time::sleep(then).await;
    }
}

/// Runs work to its own end, which follows from that of what feeds it; for no longer than
/// [`FINISH`] after it was asked to stop.
async fn until(stop: tokio_util::sync::CancellationToken, work: impl Future<Output = ()>) {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(FINISH).await;
    };
    tokio::select! {
        () = work => {}
        () = late => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn turns_go_on_until_they_are_dropped() {
        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let work = every(Duration::ZERO, Duration::from_millis(1), async || {
            sender.send(()).unwrap();
        });
        let three = async {
            for _ in 0..3 {
                done.recv().await.unwrap();
            }
        };
        tokio::select! {
            () = work => panic!("it never ends by itself"),
            () = three => {}
        }
        assert!(
            COLLECT_FIRST < COLLECT_EVERY,
            "a server that restarts daily collects too"
        );
    }
}
