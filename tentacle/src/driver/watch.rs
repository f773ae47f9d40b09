//! Watches one supervisor that this agent started: hands it the rest of its order, passes its wakes
//! on, notices its end.

use std::time::Duration;

use mantle_shared::AttemptId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;

use super::Local;

/// A supervisor reads its order first of all.
const HANDOVER: Duration = Duration::from_secs(30);

/// Watches until the supervisor is gone or the loop is.
pub(super) async fn watch(
    attempt: AttemptId,
    mut child: Child,
    stdin: Option<ChildStdin>,
    rest: Vec<u8>,
    local: mpsc::Sender<Local>,
) {
    if let Some(mut stdin) = stdin {
        // A supervisor without its whole order ends by itself, and that is seen below.
        let _ = tokio::time::timeout(HANDOVER, async {
            stdin.write_all(&rest).await?;
            stdin.shutdown().await
        })
        .await;
    }
    if let Some(mut wakes) = child.stdout.take() {
        let mut buffer = [0; 64];
        while let Ok(1..) = wakes.read(&mut buffer).await {
            if local.send(Local::Woke(attempt)).await.is_err() {
                return;
            }
        }
    }
    // The channel is closed by the process's end; waiting only takes the exit code away.
    if let Err(error) = child.wait().await {
        tracing::warn!(attempt.id = %attempt, %error, "a supervisor's end was not seen");
    }
    // Nobody to tell once the loop is over.
    let _ = local.send(Local::Gone(attempt)).await;
}
