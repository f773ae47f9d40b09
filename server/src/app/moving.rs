//! The machinery's long-lived tasks, with when and how each of them stops.

use std::time::Duration;

use super::machinery::Machinery;
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
