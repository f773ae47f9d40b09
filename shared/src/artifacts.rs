//! How large and how many the files may be that an attempt leaves behind, and what they are called.
//!
//! The agent keeps to it as it puts them aside, and the server once more as it takes them in, since
//! what an agent says is not trusted.

/// The largest file. A memory dump of a service fits; what is larger is a package.
pub const ARTIFACT_BYTES: u64 = 1024 * 1024 * 1024;
/// The most files of one attempt. A step with more makes an archive of them.
pub const MOST_ARTIFACTS: usize = 100;
/// The most bytes of one attempt's files together.
pub const ARTIFACTS_BYTES: u64 = 4 * ARTIFACT_BYTES;
/// The longest name.
pub const ARTIFACT_NAME_BYTES: usize = 200;

/// Why a file is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactRefused {
    /// It is too large.
    #[error("a file may have {ARTIFACT_BYTES} bytes; push what is larger as a package")]
    TooLarge,
    /// There are too many.
    #[error("a step may keep {MOST_ARTIFACTS} files; put more of them into an archive")]
    TooMany,
    /// They are too large together.
    #[error("the files of a step may have {ARTIFACTS_BYTES} bytes together")]
    TooMuch,
}

/// The files that an attempt has left behind so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArtifactTally {
    files: usize,
    bytes: u64,
}

impl ArtifactTally {
    /// How many bytes the next file may have at most; why it is refused if none may follow.
    pub fn room(&self) -> Result<u64, ArtifactRefused> {
        if self.files >= MOST_ARTIFACTS {
            return Err(ArtifactRefused::TooMany);
        }
        Ok(ARTIFACT_BYTES.min(ARTIFACTS_BYTES.saturating_sub(self.bytes)))
    }

    /// Counts a file. One that is refused changes nothing.
    pub fn take(&mut self, size_bytes: u64) -> Result<(), ArtifactRefused> {
        if size_bytes > ARTIFACT_BYTES {
            return Err(ArtifactRefused::TooLarge);
        }
        if size_bytes > self.room()? {
            return Err(ArtifactRefused::TooMuch);
        }
        self.files += 1;
        self.bytes += size_bytes;
        Ok(())
    }
}

/// A name as it is kept: the last part of a path, without what no file of any system is called.
pub fn artifact_name(said: &str) -> String {
    let last = said
        .rsplit(['/', '\\'])
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default();
    let harmless: String = last
        .trim()
        .chars()
        .map(|c| {
            let refused = c.is_control() || matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|');
            if refused { '_' } else { c }
        })
        .collect();
    let cut = harmless.floor_char_boundary(ARTIFACT_NAME_BYTES);
    match harmless.get(..cut).unwrap_or_default() {
        "" | "." | ".." => "artifact".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn files_are_bounded_in_size_in_number_and_together() {
        let mut tally = ArtifactTally::default();
        assert_eq!(
            tally.take(ARTIFACT_BYTES + 1),
            Err(ArtifactRefused::TooLarge)
        );
        for _ in 0..4 {
            assert_eq!(tally.take(ARTIFACT_BYTES), Ok(()));
        }
        assert_eq!(tally.take(1), Err(ArtifactRefused::TooMuch));
        assert_eq!(tally.room(), Ok(0));
        for _ in 4..MOST_ARTIFACTS {
            tally.take(0).unwrap();
        }
        assert_eq!(tally.take(0), Err(ArtifactRefused::TooMany));
        assert_eq!(tally.room(), Err(ArtifactRefused::TooMany));
    }

    #[test]
    fn a_name_is_one_that_every_system_takes() {
        for (said, kept) in [
            ("report.xml", "report.xml"),
            ("/var/log/shop/out.log", "out.log"),
            (r"C:\logs\a b.txt", "a b.txt"),
            ("a/../..", "artifact"),
            ("dir/", "dir"),
            ("", "artifact"),
            ("what?\n*.txt", "what___.txt"),
        ] {
            assert_eq!(artifact_name(said), kept, "{said:?}");
        }
        let long = artifact_name(&"\u{e4}".repeat(500));
        assert_eq!(long.len(), ARTIFACT_NAME_BYTES);
    }
}
