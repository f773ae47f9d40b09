//! Reads a package in the store again, every byte, and says what of it is lost or damaged.

use std::collections::HashSet;

use mantle_shared::Digest;

use super::objects::{ObjectError, Objects};
use super::transfer::visit;

/// So many problems are told one by one.
const PROBLEMS_MAX: usize = 100;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Objects that were read, each once.
    pub objects: u64,
    /// Their plain size.
    pub bytes: u64,
    /// What is wrong; at most a hundred.
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub problem_count: u64,
}

/// An object that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is in the package; empty for the root.
    pub path: String,
    /// The object.
    pub digest: Digest,
    /// What is wrong with it, for people.
    pub what: String,
}

impl VerifyReport {
    /// Whether all is well.
    pub fn is_intact(&self) -> bool {
        self.problem_count == 0
    }

    pub(super) fn problem(&mut self, path: &str, digest: Digest, what: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                path: path.to_owned(),
                digest,
                what,
            });
        }
    }
}

/// When a verification has found enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// When everything was read.
    All,
    /// Once something is lost or damaged.
    One,
}

/// Reads what these roots lead to. Blocks. Damage is told of; an error is a store that cannot be read
/// at all.
pub fn verify(
    objects: &Objects,
    roots: &[Digest],
    enough: Enough,
) -> Result<VerifyReport, ObjectError> {
    let mut report = VerifyReport::default();
    let mut seen: HashSet<(Digest, bool)> = HashSet::new();
    for root in roots {
        visit(objects, root, &mut |object| {
            let found = enough == Enough::One && !report.is_intact();
            if found || !seen.insert((object.digest, object.is_node)) {
                return Ok(false);
            }
            let read = if object.is_node {
                // As a node it must also decode, or what is below it could not be walked.
                objects.tree(&object.digest).map(|tree| tree.encode().len())
            } else {
                objects.get(&object.digest).map(|plain| plain.len())
            };
            match read {
                Ok(length) => {
                    report.objects += 1;
                    report.bytes += length as u64;
                    if object
                        .size_bytes
                        .is_some_and(|stated| stated != length as u64)
                    {
                        let what = "it has not the size that the manifest states".to_owned();
                        report.problem(object.path, object.digest, what);
                    }
                    Ok(object.is_node)
                }
                Err(error @ (ObjectError::Missing { .. } | ObjectError::Damaged { .. })) => {
                    report.problem(object.path, object.digest, error.to_string());
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })?;
    }
    Ok(report)
}
