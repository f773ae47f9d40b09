//! What a step hands over beside its lines: output variables, and files that are to be kept.
//!
//! Both are bounded: what is beyond is left out with a warning that names it, and the step goes on.

use std::collections::BTreeMap;

use mantle_shared::Digest;
use mantle_shared::artifacts::MOST_ARTIFACTS;
use mantle_shared::outputs::{OUTPUT_NAME_BYTES, OUTPUT_VALUE_BYTES, OUTPUTS_TOLD};
use mantle_shared::protocol::{Level, RecordBody};
use zeroize::Zeroizing;

use super::Recorder;

/// A file that a step wants kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRequest {
    /// Where it is; relative to the step's working folder.
    pub path: String,
    /// What it is to be called; its own name if that is empty.
    pub name: String,
}

/// An output variable as it was set last.
pub struct SetVariable {
    /// Its value, in clear: it is in memory only.
    pub value: Zeroizing<String>,
    /// It is a secret.
    pub sensitive: bool,
}

impl Recorder {
    /// An output variable. One that holds a known secret is sealed whether the script says so or
    /// not: a secret is never stored in clear.
    pub fn set_variable(&mut self, name: &str, value: &str, sensitive: bool) {
        let name = self.masks.mask(name);
        if name.len() > OUTPUT_NAME_BYTES || value.len() > OUTPUT_VALUE_BYTES {
            if sensitive {
                self.learn(value);
            }
            self.leave_out(
                &name,
                value.len(),
                &format!("a name may have {OUTPUT_NAME_BYTES} bytes, a value {OUTPUT_VALUE_BYTES}"),
            );
            return;
        }
        let leaks = !sensitive && self.masks.finds(value);
        if leaks {
            self.say(
                Level::Verbose,
                &format!("output variable {name} holds a secret and is kept as sensitive"),
            );
        }
        let sensitive = sensitive || leaks;
        let set = SetVariable {
            value: Zeroizing::new(value.to_owned()),
            sensitive,
        };
        let value = if sensitive {
            self.learn(value);
            match self.options.sealer.seal(&name, value) {
                Ok(sealed) => sealed,
                Err(error) => {
                    self.say(
                        Level::Error,
                        &format!("output variable {name} is lost: {error}"),
                    );
                    return;
                }
            }
        } else {
            value.to_owned()
        };
        if let Err(refused) = self.outputs.take(&name, value.len()) {
            self.leave_out(&name, value.len(), &refused.to_string());
            return;
        }
        self.set.insert(name.clone(), set);
        self.append(RecordBody::Variable {
            name,
            value,
            sensitive,
        });
        self.flush();
    }

    /// The output variables that were set so far, by name: what comes later in the attempt sees them.
    pub fn variables_set(&self) -> &BTreeMap<String, SetVariable> {
        &self.set
    }

    /// Says that an output variable is not kept, for the first of them by name. The step goes on: what
    /// it did is done, and whoever needs the variable fails for want of it.
    fn leave_out(&mut self, name: &str, bytes: usize, why: &str) {
        self.outputs_left_out += 1;
        if self.outputs_left_out > OUTPUTS_TOLD {
            return;
        }
        let name: String = name.chars().take(80).collect();
        self.say(
            Level::Warning,
            &format!(
                "the output variable '{name}' of {bytes} bytes is left out: {why}; \
                 hand large results over in a file or a package"
            ),
        );
    }

    /// Says how many more were left out than were named.
    pub(super) fn tell_left_out(&mut self) {
        let more = self.not_obeyed.saturating_sub(OUTPUTS_TOLD);
        if more > 0 {
            self.say(
                Level::Warning,
                &format!("{more} more service messages are damaged and did nothing"),
            );
        }
        let more = self.outputs_left_out.saturating_sub(OUTPUTS_TOLD);
        if more > 0 {
            self.say(
                Level::Warning,
                &format!(
                    "{more} more settings of output variables were left out, for the same reasons"
                ),
            );
        }
    }

    /// Notes a file that is to be kept, if it is not noted yet. Those beyond what a step may keep are
    /// told when they are put aside; notes beyond any use are told here and forgotten.
    pub(super) fn want_artifact(&mut self, request: ArtifactRequest) {
        if self.artifacts.contains(&request) {
            return;
        }
        if self.artifacts.len() < MOST_ARTIFACTS * 2 {
            self.artifacts.push(request);
            return;
        }
        self.artifacts_beyond += 1;
        if self.artifacts_beyond == 1 {
            let text = format!(
                "a step may keep {MOST_ARTIFACTS} files; those named from here on are not kept"
            );
            self.say(Level::Warning, &text);
        }
    }

    /// The files that are to be kept, each once.
    pub fn take_artifacts(&mut self) -> Vec<ArtifactRequest> {
        std::mem::take(&mut self.artifacts)
    }

    /// Records that a file was put aside.
    pub fn artifact(&mut self, name: &str, size_bytes: u64, digest: Digest) {
        let name = self.masks.mask(name);
        self.append(RecordBody::Artifact {
            name,
            size_bytes,
            digest,
        });
        self.flush();
    }
}
