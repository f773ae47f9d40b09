//! Places where a test may kill the process, and rules that a test may break.
//!
//! Compiled to nothing unless the cargo feature `faults` is on. Then `MANTLE_FAULT=name` aborts the
//! process the first time that the named point is reached, `MANTLE_FAULT=name:3` the third time;
//! several are separated by commas. An abort runs no destructor and flushes nothing, as a kill -9.
//!
//! `MANTLE_SABOTAGE=name` breaks the rule of that name, so that `xtask sabotage` can show that a
//! test would notice. The names are in `tests/sabotage.txt`.

/// A point where a test may want this process dead.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_name: &str) {}

/// A point where a test may want this process dead.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    static HITS: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);
    let mut guard = HITS.lock().unwrap_or_else(PoisonError::into_inner);
    let left =
        guard.get_or_insert_with(|| parse(&std::env::var("MANTLE_FAULT").unwrap_or_default()));
    if let Some(hits) = left.get_mut(name) {
        *hits = hits.saturating_sub(1);
        if *hits == 0 {
            std::process::abort();
        }
    }
}

/// Whether this rule is broken on purpose.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn sabotaged(_name: &str) -> bool {
    false
}

/// Whether this rule is broken on purpose.
#[cfg(feature = "faults")]
pub fn sabotaged(name: &str) -> bool {
    static ON: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    let on = ON.get_or_init(|| std::env::var_os("MANTLE_SABOTAGE"));
    on.as_deref().is_some_and(|on| on == name)
}

#[cfg(feature = "faults")]
fn parse(text: &str) -> std::collections::HashMap<String, u64> {
    text.split(',')
        .filter(|entry| !entry.is_empty())
        .map(|entry| match entry.rsplit_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
            None => (entry.to_owned(), 1),
        })
        .collect()
}
