//! Watches one supervisor that this agent started: hands it the rest of its order, passes its wakes
//! on, notices its end.

use std::io;
use std::time::Duration;

use mantle_shared::AttemptId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
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
    let mut wakes = child.stdout.take();
    let mut buffer = [0; 64];
    // The end counts, not the channel's: a process that the step left running may hold that open.
    let ended = loop {
        tokio::select! {
            biased;
            read = next_wake(&mut wakes, &mut buffer) => match read {
                Ok(1..) => if local.send(Local::Woke(attempt)).await.is_err() { return },
                Ok(0) | Err(_) => wakes = None,
            },
            ended = child.wait() => break ended,
        }
    };
    if let Err(error) = ended {
        tracing::warn!(attempt.id = %attempt, %error, "a supervisor's end was not seen");
    }
    // Nobody to tell once the loop is over.
    let _ = local.send(Local::Gone(attempt)).await;
}

/// Waits for a wake; for ever once there is no channel.
async fn next_wake(wakes: &mut Option<ChildStdout>, buffer: &mut [u8]) -> io::Result<usize> {
    match wakes {
        Some(wakes) => wakes.read(buffer).await,
        None => std::future::pending().await,
    }
}
