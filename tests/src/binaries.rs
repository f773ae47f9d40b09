//! Where the real binaries are. Nothing is ever built during a test.

use std::path::PathBuf;

/// The path of a binary of this workspace, such as `mantle`.
///
/// It lies beside the test's own executable; `MANTLE_BIN_DIR` names another folder, for testing
/// binaries that were built elsewhere.
///
/// # Panics
/// When it is not there: the message says how to build it.
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("MANTLE_BIN_DIR").map_or_else(beside_the_test, PathBuf::from);
    let path = dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is not there; build it first: cargo build --workspace --bins",
        path.display()
    );
    path
}

fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.parent().expect("a test lies in a folder");
    // target/debug/deps/<test>: binaries are one folder up, and so is a harness that is one itself.
    if folder.file_name().is_some_and(|name| name == "deps") {
        return folder.parent().expect("which lies in target/").to_owned();
    }
    folder.to_owned()
}
