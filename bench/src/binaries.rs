//! The programs that are measured: built here as they are shipped, or taken from a folder and looked at.
//!
//! What holds here: nothing but what is shipped is measured without saying so. A debug build is several
//! times slower and larger, and a build with points of failure is another program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::report::{Row, ToReach, Unit};

/// The agent travels to every target.
const AGENT_MIB: f64 = 12.0;
/// A name that stands in a program only if its points of failure are compiled in.
const FAULT_POINTS: [&[u8]; 2] = [b"server.after_log_commit", b"agent.accepted_before_spawn"];
/// The type of a section with symbols, which are stripped from what is shipped.
const SHT_SYMTAB: u32 = 2;

/// The two programs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The server and its command line.
    pub(crate) mantle: PathBuf,
    /// The agent.
    pub(crate) tentacle: PathBuf,
    /// Many agents in one process; not shipped.
    pub(crate) swarm: PathBuf,
}

impl Programs {
    /// Those in this folder.
    pub(crate) fn within(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).context("the folder of the programs")?;
        let program = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                bail!(
                    "{} is not there; build it, or leave --bin away to have it built",
                    path.display()
                )
            }
        };
        Ok(Self {
            mantle: program("mantle")?,
            tentacle: program("tentacle")?,
            swarm: program("mantle-swarm")?,
        })
    }

    /// Builds them as they are shipped; cargo says where they are.
    pub(crate) fn built() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let output = Command::new(cargo)
            .args(["build", "--release", "-p", "mantle", "-p", "tentacle"])
            .args([
                "-p",
                "mantle-swarm",
                "--bins",
                "--message-format",
                "json-render-diagnostics",
            ])
            .arg("--manifest-path")
            .arg(manifest)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo could not be started")?;
        if !output.status.success() {
            bail!("the programs could not be built; cargo says why above");
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let program = |name: &str| {
            executable(&said, name)
                .with_context(|| format!("cargo did not say where it put '{name}'"))
        };
        Ok(Self {
            mantle: program("mantle")?,
            tentacle: program("tentacle")?,
            swarm: program("mantle-swarm")?,
        })
    }

    fn both(&self) -> [(&'static str, &Path); 2] {
        [("mantle", &self.mantle), ("tentacle", &self.tentacle)]
    }

    /// What makes them others than those that are shipped.
    pub(crate) fn oddities(&self) -> Result<Vec<String>> {
        let mut oddities = Vec::new();
        for (name, path) in self.both() {
            let bytes =
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            oddities.extend(oddities_of(name, &bytes));
        }
        Ok(oddities)
    }

    /// How large they are.
    pub(crate) fn size_rows(&self) -> Result<Vec<Row>> {
        let size = |path: &Path| -> Result<f64> {
            let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
            Ok(crate::memory::mib(meta.len()))
        };
        Ok(vec![
            Row::single("size of the agent", size(&self.tentacle)?, Unit::MiB)
                .reaching(ToReach::Limit(AGENT_MIB)),
            Row::single("size of the server", size(&self.mantle)?, Unit::MiB),
        ])
    }
}

/// The path of a program in what cargo printed, a line of JSON for each thing it built.
fn executable(said: &str, name: &str) -> Option<PathBuf> {
    said.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message.get("reason")? == "compiler-artifact"
            && message.pointer("/target/name")? == name;
        let path = message.get("executable")?.as_str()?;
        is_it.then(|| PathBuf::from(path))
    })
}

fn oddities_of(name: &str, program: &[u8]) -> Vec<String> {
    let mut oddities = Vec::new();
    if has_symbols(program) {
        oddities.push(format!("{name} has symbols: a debug build"));
    }
    let has = |point: &[u8]| program.windows(point.len()).any(|window| window == point);
    if FAULT_POINTS.iter().any(|point| has(point)) {
        oddities.push(format!("{name} was built with the feature 'faults'"));
    }
    oddities
}

/// Whether a 64-bit little-endian ELF file has a table of symbols.
fn has_symbols(elf: &[u8]) -> bool {
    let bytes = |at: usize, count: usize| elf.get(at..at.checked_add(count)?);
    let number = |at: usize, count: usize| {
        bytes(at, count).map(|bytes| {
            bytes
                .iter()
                .rev()
                .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte))
        })
    };
    if bytes(0, 6) != Some(b"\x7fELF\x02\x01") {
        return false;
    }
    // e_shoff, e_shentsize, e_shnum; sh_type is the second word of a section's header.
    let (Some(table), Some(entry), Some(count)) =
        (number(0x28, 8), number(0x3a, 2), number(0x3c, 2))
    else {
        return false;
    };
    (0..count).any(|index| {
        let at = entry
            .checked_mul(index)
            .and_then(|offset| table.checked_add(offset)?.checked_add(4));
        at.and_then(|at| number(at, 4))
            .is_some_and(|kind| u32::try_from(kind) == Ok(SHT_SYMTAB))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of nothing but headers of sections of these types.
    fn elf(sections: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x28] = 64;
        file[0x3a] = 64;
        file[0x3c] = u8::try_from(sections.len()).unwrap_or(u8::MAX);
        for kind in sections {
            let mut header = vec![0; 64];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            file.extend(header);
        }
        file
    }

    #[test]
    fn a_debug_build_is_told_by_its_symbols() {
        assert!(oddities_of("x", &elf(&[0, 1, 3])).is_empty());
        assert_eq!(
            oddities_of("x", &elf(&[0, 1, SHT_SYMTAB])),
            ["x has symbols: a debug build"]
        );
    }

    #[test]
    fn this_very_test_has_symbols() {
        let own = std::env::current_exe().and_then(std::fs::read);
        assert!(own.is_ok_and(|own| has_symbols(&own)));
    }

    #[test]
    fn a_torn_header_is_no_program() {
        for length in 0..64 {
            let mut torn = elf(&[SHT_SYMTAB]);
            torn.truncate(length);
            assert!(!has_symbols(&torn), "{length}");
        }
        let mut far = elf(&[SHT_SYMTAB]);
        far[0x28..0x30].fill(0xff);
        assert!(!has_symbols(&far));
    }

    #[test]
    fn points_of_failure_are_found() {
        let mut program = elf(&[1]);
        program.extend(FAULT_POINTS[1]);
        assert_eq!(
            oddities_of("x", &program),
            ["x was built with the feature 'faults'"]
        );
    }

    #[test]
    fn cargo_says_where_a_program_is() {
        let said = r#"{"reason":"compiler-artifact","target":{"name":"mantle"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"tentacle"},"executable":"/t/tentacle"}
{"reason":"compiler-artifact","target":{"name":"mantle"},"executable":"/t/mantle"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(said, "mantle"), Some("/t/mantle".into()));
        assert_eq!(executable(said, "other"), None);
    }
}
