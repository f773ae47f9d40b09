//! What a step's processes print, line by line, and the messages in it.

use std::sync::Arc;

use mantle_shared::mask::MaskSet;
use mantle_shared::outputs::OUTPUTS_TOLD;
use mantle_shared::protocol::{Level, Stream};

use super::Recorder;
use super::outputs::ArtifactRequest;
use crate::output::capture::{CaptureSink, NotObeyed};
use crate::output::lines::Ends;
use crate::output::service_message::ServiceMessage;

impl CaptureSink for Recorder {
    fn masks(&self) -> Arc<MaskSet> {
        Arc::clone(&self.masks)
    }

    fn line(&mut self, stream: Stream, ends: Ends, text: String) {
        let level = match stream {
            Stream::Stdout => self.stdout_level,
            Stream::Stderr => self.stderr_level,
            Stream::Agent => Some(Level::Info),
        };
        if let Some(level) = level {
            self.append_line(stream, level, ends, text);
        }
    }

    fn not_obeyed(&mut self, why: NotObeyed) {
        match why {
            NotObeyed::Forbidden => {
                if !std::mem::replace(&mut self.forbidden_told, true) {
                    self.say(
                        Level::Warning,
                        "the step printed a service message and did not allow it: it stays in the output \
                         and did nothing. Helper functions such as mantle_set may always be used; \
                         'service_messages: true' under 'with' allows messages in the output",
                    );
                }
            }
            NotObeyed::Malformed(why) => {
                self.not_obeyed += 1;
                if self.not_obeyed <= OUTPUTS_TOLD {
                    self.say(
                        Level::Warning,
                        &format!("a service message is damaged and did nothing: {why}"),
                    );
                }
            }
        }
    }

    fn message(&mut self, message: ServiceMessage) {
        match message {
            ServiceMessage::SetVariable {
                name,
                value,
                sensitive,
            } => {
                self.set_variable(&name, &value, sensitive);
            }
            ServiceMessage::Progress { percent, message } => self.progress(percent, &message),
            ServiceMessage::SetLevel { stream, level } => match stream {
                Stream::Stdout => self.stdout_level = level,
                Stream::Stderr => self.stderr_level = level,
                Stream::Agent => {}
            },
            ServiceMessage::Mask { value } => self.learn(&value),
            ServiceMessage::CreateArtifact { path, name } => {
                self.want_artifact(ArtifactRequest { path, name });
            }
            ServiceMessage::ResultMessage { .. } if self.result.settled => {}
            ServiceMessage::ResultMessage { message } => {
                self.result.message = Some(self.masks.mask(&message));
            }
            ServiceMessage::NotSupported { name } => self.say(
                Level::Warning,
                &format!("the service message '{name}' is not known to this agent and did nothing"),
            ),
        }
    }
}
