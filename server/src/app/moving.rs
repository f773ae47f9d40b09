//! The machinery's long-lived tasks, with when and how each of them stops.

use std::time::Duration;

use super::machinery::Machinery;
use crate::api::error_chain;
use crate::services::{Services, TIDY_EVERY};
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
}

/// Starts what tidies up now and then. It may fail: the next time it finds the same again.
pub(super) fn start_janitor(services: Services, supervisor: &mut Supervisor) {
    let stop = supervisor.stop_token(Stage::Work);
    supervisor.spawn(Stage::Work, "janitor", async move {
        let mut due = tokio::time::interval(TIDY_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = due.tick() => match services.tidy().await {
                    Ok(0) => {}
                    Ok(uploads) => tracing::info!(uploads, "idle uploads were given up"),
                    Err(error) => {
                        let error = error_chain(&error);
                        tracing::warn!(error, "tidying up failed and is tried again later");
                    }
                },
            }
        }
    });
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
