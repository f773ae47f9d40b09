//! Collects what no package names any more.
//!
//! Mark: walk the roots and archives that rows name. Sweep: remove what was not marked and was not
//! touched lately. A push that is under way is safe: whatever it writes or finds is young, and
//! nothing touched since the oldest push began is removed (see `objects::lease`). Several servers
//! on one store must let only one of them collect, with a grace longer than the longest push.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use mantle_shared::Digest;

use super::ingest::StopFlag;
use super::objects::{Key, ObjectError, Objects, Stored};
use super::transfer::visit;

/// What must stay: everything that a row names, of every package and every release.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The roots of manifests.
    pub roots: Vec<Digest>,
    /// The digests of archives.
    pub archives: Vec<Digest>,
    /// The digests of collected files. One that is not there, as after a restore without the objects,
    /// cannot be had again and so holds up nothing.
    pub artifacts: Vec<Digest>,
}

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcOptions {
    /// What was touched within this time stays.
    pub grace: Duration,
    /// Only tell what would go.
    pub dry_run: bool,
}

impl Default for GcOptions {
    /// A day: longer than any push takes from its first object to its row.
    fn default() -> Self {
        Self {
            grace: Duration::from_hours(24),
            dry_run: false,
        }
    }
}

/// What was collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Objects that are named.
    pub live_objects: u64,
    /// What they take.
    pub live_bytes: u64,
    /// Objects that were removed, or would be.
    pub removed_objects: u64,
    /// What they took.
    pub removed_bytes: u64,
    /// Objects that nothing names but that are too young.
    pub young_objects: u64,
    /// Roots and archives that rows name and the store has not, or not whole. What else could not
    /// be walked because of them was kept.
    pub broken: Vec<Digest>,
}

/// Collects. Blocks, until it is done or asked to stop. An error leaves everything that is named in
/// place.
pub fn collect(
    objects: &Objects,
    live: &Live,
    options: GcOptions,
    now: SystemTime,
    stop: &StopFlag,
) -> Result<GcReport, ObjectError> {
    let mut report = GcReport::default();
    let mut marked: HashSet<Key> = HashSet::new();
    for root in &live.roots {
        mark(objects, root, root, &mut marked, &mut report, stop)?;
    }
    for archive in &live.archives {
        marked.insert(Key::Archive(*archive));
        match objects.archive_root(archive) {
            Ok(root) => mark(objects, &root, archive, &mut marked, &mut report, stop)?,
            Err(ObjectError::Missing { .. } | ObjectError::Damaged { .. }) => {
                report.broken.push(*archive);
            }
            Err(other) => return Err(other),
        }
    }
    for artifact in &live.artifacts {
        marked.insert(Key::Archive(*artifact));
        match objects.archive_root(artifact) {
            // What is broken of it stays unmarked, and goes: it cannot be read any more.
            Ok(root) => mark(
                objects,
                &root,
                artifact,
                &mut marked,
                &mut GcReport::default(),
                stop,
            )?,
            Err(ObjectError::Missing { .. } | ObjectError::Damaged { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    // What hangs below a node that cannot be read is not known, so nothing may be removed.
    let sweep = report.broken.is_empty() && !options.dry_run;
    let cutoff = objects.cutoff(now, options.grace);
    let mut dead: Vec<Stored> = Vec::new();
    objects.list(&mut |stored| {
        go_on(stop)?;
        if marked.contains(&stored.key) {
            report.live_objects += 1;
            report.live_bytes += stored.size_bytes;
        } else if stored.touched >= cutoff {
            report.young_objects += 1;
        } else {
            dead.push(stored);
        }
        Ok(())
    })?;
    for stored in dead {
        go_on(stop)?;
        if !sweep || objects.remove(stored.key, now, options.grace)? {
            report.removed_objects += u64::from(sweep || options.dry_run);
            report.removed_bytes += if sweep || options.dry_run {
                stored.size_bytes
            } else {
                0
            };
        } else {
            report.young_objects += 1;
        }
    }
    Ok(report)
}

fn go_on(stop: &StopFlag) -> Result<(), ObjectError> {
    if stop.is_set() {
        Err(ObjectError::Stopped)
    } else {
        Ok(())
    }
}

fn mark(
    objects: &Objects,
    root: &Digest,
    named: &Digest,
    marked: &mut HashSet<Key>,
    report: &mut GcReport,
    stop: &StopFlag,
) -> Result<(), ObjectError> {
    let walked = visit(objects, root, &mut |object| {
        go_on(stop)?;
        let is_new = marked.insert(Key::Object(object.digest));
        // A node that was marked has been walked; a chunk has nothing below it.
        Ok(object.is_node && is_new)
    });
    match walked {
        Ok(()) => Ok(()),
        Err(ObjectError::Missing { .. } | ObjectError::Damaged { .. }) => {
            report.broken.push(*named);
            Ok(())
        }
        Err(other) => Err(other),
    }
}
