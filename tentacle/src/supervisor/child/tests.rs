//! A child whose output is held back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;

use base64::Engine as _;
use mantle_shared::AttemptId;
use mantle_shared::order::OutputLimits;
use mantle_shared::protocol::{RecordBody, RecordHasher};
use mantle_shared::uuid::Uuid;

use super::*;
use crate::actions::StopToken;
use crate::output::recorder::RecorderOptions;
use crate::output::seal::Sealer;
use crate::output::spool::{self, Held, SpoolStore};

/// A disk that is full for so long from the first write on.
struct FullAtFirst {
    full_for: Duration,
    since: Option<Instant>,
    stored: Arc<Mutex<Vec<u8>>>,
}

impl SpoolStore for FullAtFirst {
    fn append(&mut self, _: &RecordHasher, bytes: &[u8]) -> io::Result<()> {
        if self.since.get_or_insert_with(Instant::now).elapsed() < self.full_for {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.stored.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn release(&mut self) -> bool {
        false
    }

    fn note_held(&mut self, _: Held) {}
}

#[test]
fn who_is_held_back_by_a_full_disk_is_not_taken_for_a_stranger_with_the_output() {
    let stored = Arc::default();
    let store = FullAtFirst {
        full_for: LINGER + Duration::from_secs(1),
        since: None,
        stored: Arc::clone(&stored),
    };
    let attempt = AttemptId::from_uuid(Uuid::from_u128(1));
    let key = base64::engine::general_purpose::STANDARD.encode([1_u8; 32]);
    let stop = StopState::new(StopToken::new());
    let options = RecorderOptions {
        attempt,
        limits: OutputLimits::default(),
        secrets: Vec::new(),
        sealer: Sealer::new(&key, attempt).unwrap(),
        stop: stop.token().clone(),
        wake: Box::new(|| {}),
    };
    let recorder = Recorder::new(Box::new(store), options).unwrap();
    let sink = Sink {
        recorder: Arc::new(Mutex::new(recorder)),
        tree: Arc::new(Tree::new("held-back").unwrap()),
        stop,
    };
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 4"]);
    let rules = MessageRules {
        key: "key".to_owned(),
        from_anybody: true,
    };
    let end = sink.run_child(command, &rules).unwrap();
    assert_eq!(end.exit_code, 4);
    sink.tree.release();
    sink.recorder().finish();
    let stored = stored.lock().unwrap();
    let records = stored.split(|byte| *byte == b'\n');
    let mut texts: Vec<String> = records
        .filter(|line| !line.is_empty())
        .map(|line| match spool::decode(line).unwrap().body {
            RecordBody::Line { text, .. } => text,
            other => panic!("{other:?}"),
        })
        .collect();
    texts.sort();
    assert_eq!(texts, ["err", "out"]);
}
