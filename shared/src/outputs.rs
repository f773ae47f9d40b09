//! How many output variables an attempt may set, and how large they may be together.
//!
//! The agent keeps to it as a script sets them, and the server once more as it takes them in, since
//! what an agent says is not trusted. Both count what is stored: a sensitive value in its sealed form.

use std::collections::HashMap;

/// The most output variables of one attempt. A step that lists what it made sets some dozens.
pub const MOST_OUTPUTS: usize = 1000;
/// The most bytes of their names and values together. Later steps get all of them in one order, which
/// may have 4 MiB; and the server keeps them in memory for as long as the deployment runs.
pub const OUTPUTS_BYTES: usize = 1024 * 1024;
/// The longest value: sealed and in base64 it still fits into a message of an event stream.
pub const OUTPUT_VALUE_BYTES: usize = 128 * 1024;
/// The longest name.
pub const OUTPUT_NAME_BYTES: usize = 1024;
/// The most bytes of values that one attempt may set, those that were replaced later included: all of
/// them are recorded.
pub const OUTPUTS_SET_BYTES: usize = 16 * OUTPUTS_BYTES;
/// How many names of what was left out are told; the rest are counted.
pub const OUTPUTS_TOLD: u64 = 20;

/// Why an output variable is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutputRefused {
    /// Too many names.
    #[error("a step may set {MOST_OUTPUTS} output variables")]
    TooMany,
    /// Too much together.
    #[error("the output variables of a step may have {OUTPUTS_BYTES} bytes together")]
    TooLarge,
    /// One value was replaced by the next for too long.
    #[error("a step may set {OUTPUTS_SET_BYTES} bytes of values, those that it replaces included")]
    TooMuchSet,
}

/// The output variables that an attempt has set so far.
#[derive(Debug, Default)]
pub struct OutputTally {
    kept: HashMap<String, usize>,
    bytes: usize,
    set_bytes: usize,
}

impl OutputTally {
    /// Counts one that is set; the later value of a name takes the place of the earlier. One that is
    /// refused changes nothing, so that what was set before stays.
    pub fn take(&mut self, name: &str, value_bytes: usize) -> Result<(), OutputRefused> {
        let size = name.len() + value_bytes;
        let known = self.kept.get(name).copied();
        if known.is_none() && self.kept.len() >= MOST_OUTPUTS {
            return Err(OutputRefused::TooMany);
        }
        let bytes = self.bytes - known.unwrap_or(0) + size;
        if bytes > OUTPUTS_BYTES {
            return Err(OutputRefused::TooLarge);
        }
        if self.set_bytes + size > OUTPUTS_SET_BYTES {
            return Err(OutputRefused::TooMuchSet);
        }
        self.bytes = bytes;
        self.set_bytes += size;
        self.kept.insert(name.to_owned(), size);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_are_bounded_and_a_later_value_takes_the_earlier_ones_place() {
        let mut tally = OutputTally::default();
        for index in 0..MOST_OUTPUTS {
            assert_eq!(tally.take(&format!("n{index}"), 10), Ok(()));
        }
        assert_eq!(tally.take("more", 1), Err(OutputRefused::TooMany));
        assert_eq!(tally.take("n7", 1000), Ok(()));
        assert_eq!(
            tally.take("n8", OUTPUTS_BYTES),
            Err(OutputRefused::TooLarge)
        );
        assert_eq!(tally.take("n8", 11), Ok(()));
    }

    #[test]
    fn replacing_a_value_takes_no_room_but_does_not_go_on_for_ever() {
        let mut tally = OutputTally::default();
        let value = OUTPUTS_BYTES / 2;
        let taken = (0..1000)
            .take_while(|_| tally.take("again", value).is_ok())
            .count();
        assert_eq!(taken, 31);
        assert_eq!(tally.take("again", value), Err(OutputRefused::TooMuchSet));
    }
}
