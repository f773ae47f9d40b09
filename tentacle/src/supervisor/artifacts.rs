//! Collects the files that a step named, once its action is over.
//!
//! What holds here: nothing that goes wrong with a file changes how the step ended; each file that is
//! not kept is named in the log with the reason; a record says that a file is there only once its
//! copy is on the disk.

use std::path::Path;

use mantle_shared::AttemptId;
use mantle_shared::artifacts::{ArtifactTally, artifact_name};
use mantle_shared::fault;
use mantle_shared::protocol::Level;

use super::child::Sink;
use crate::actions::OutputSink as _;
use crate::artifacts::{Artifacts, PutAside, PutAsideError};
use crate::output::recorder::ArtifactRequest;

/// Puts everything aside that was asked for. A step that is being stopped keeps nobody waiting: its
/// files are left where they are.
pub(super) fn collect(sink: &Sink, artifacts: &Artifacts, attempt: AttemptId, work_dir: &Path) {
    let wanted = sink.recorder().take_artifacts();
    if wanted.is_empty() {
        return;
    }
    if sink.stop.token().is_stopped() {
        let text = format!(
            "{} files that the step wanted kept are left where they are: it was stopped",
            wanted.len()
        );
        return sink.line(Level::Warning, &text);
    }
    let mut tally = ArtifactTally::default();
    for request in wanted {
        let said = match request.name.trim() {
            "" => &request.path,
            _ => &request.name,
        };
        let name = artifact_name(said);
        match one(sink, artifacts, attempt, work_dir, &request, &mut tally) {
            Ok(aside) => {
                fault::point("supervisor.artifact_aside");
                let mut recorder = sink.recorder();
                recorder.artifact(&name, aside.size_bytes, aside.digest);
            }
            Err(error) => {
                let path: String = request.path.chars().take(300).collect();
                let text = format!("the file '{path}' is not kept as '{name}': {error}");
                sink.line(Level::Warning, &text);
            }
        }
    }
}

fn one(
    sink: &Sink,
    artifacts: &Artifacts,
    attempt: AttemptId,
    work_dir: &Path,
    request: &ArtifactRequest,
    tally: &mut ArtifactTally,
) -> Result<PutAside, PutAsideError> {
    let room = tally.room()?;
    let path = work_dir.join(&request.path);
    let aside = artifacts.put_aside(attempt, &path, room, sink.stop.token())?;
    tally.take(aside.size_bytes)?;
    Ok(aside)
}
