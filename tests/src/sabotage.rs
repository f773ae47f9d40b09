//! Switches that break something on purpose, to show that a test can fail.
//!
//! `xtask sabotage` sets one and expects red. All names are in `sabotage.txt`.

/// Whether the sabotage of this name is switched on.
///
/// # Panics
/// When the list does not have this name: a switch that nobody can find proves nothing.
pub fn is_on(name: &str) -> bool {
    let listed = include_str!("../sabotage.txt")
        .lines()
        .any(|line| line.split(' ').next() == Some(name));
    assert!(listed, "no sabotage is called {name}");
    std::env::var_os("MANTLE_SABOTAGE").is_some_and(|on| on == name)
}
