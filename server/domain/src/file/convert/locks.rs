//! `locks:` of an action.

use mantle_shared::lock::{Lock, LockMode};

use super::super::grammar::{LockItem, LockModeWord};
use super::super::node::{Kind, Node, Problem};
use super::super::report::Report;
use super::super::typed::{At, Each};

/// The longest name. It stands in the log of whoever waits.
const LONGEST: usize = 100;

/// Reads what an action holds. An empty list says that it holds nothing.
pub(super) fn read(node: &Node, report: &mut Report) -> Vec<Lock> {
    let items = match node.read::<Each<Node>>() {
        Ok(Each(items)) => items,
        Err(problem) => {
            report.error(problem.next("write locks: [name, ...], or locks: [] for none"));
            return Vec::new();
        }
    };
    let mut locks: Vec<Lock> = Vec::new();
    for item in items {
        match item.and_then(|item| lock(&item.value)) {
            Ok(At { at, value }) => {
                if let Some(problem) = unfit(&value, &locks) {
                    report.error(Problem::new(at, problem));
                }
                locks.push(value);
            }
            Err(problem) => report.error(problem),
        }
    }
    locks
}

fn lock(node: &Node) -> Result<At<Lock>, Problem> {
    if let Kind::Plain(name) | Kind::Text(name) = &node.kind {
        let value = Lock::exclusive(name.clone());
        return Ok(At { at: node.at, value });
    }
    let item: LockItem = node.read()?;
    let mode = match item.mode {
        LockModeWord::Exclusive => LockMode::Exclusive,
        LockModeWord::Shared => LockMode::Shared,
    };
    let value = Lock {
        name: item.name.value,
        mode,
    };
    Ok(At {
        at: item.name.at,
        value,
    })
}

fn unfit(lock: &Lock, others: &[Lock]) -> Option<String> {
    let name = &lock.name;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(fits) {
        return Some(format!(
            "'{name}' is no name of a lock: letters, digits and . _ - / : only, at most {LONGEST}"
        ));
    }
    others
        .iter()
        .any(|other| other.name == *name)
        .then(|| format!("the lock '{name}' is named twice"))
}
