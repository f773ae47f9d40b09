//! The Windows agent under Wine, on a Linux machine.
//!
//! Each world has a Wine of its own: a prefix of a few links and the registry's files, taken from a
//! template that is made once. So tests run beside each other, and the end of a world ends what it
//! started, Wine's own server too.
//!
//! `MANTLE_WINDOWS_AGENT` names the agent's executable (with the stand-in DLL beside it), and
//! `WINEPREFIX` the template: `packaging/windows/test.sh` sets both. Without them a test that needs
//! them fails and says so; it is never skipped.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::World;

/// The variable that names the agent's executable.
pub const AGENT: &str = "MANTLE_WINDOWS_AGENT";
/// The variable that names the template, as Wine calls it.
const TEMPLATE: &str = "WINEPREFIX";
/// What a prefix holds beside its drives.
const FILES: [&str; 4] = ["system.reg", "user.reg", "userdef.reg", ".update-timestamp"];

/// A program that runs the Windows agent with its arguments, as the process that was started.
///
/// # Panics
/// When the agent or Wine's template is not there: the message says what to run.
pub fn agent_program(world: &World) -> PathBuf {
    script(
        world,
        "windows-tentacle",
        &variable(AGENT).display().to_string(),
    )
}

/// A program that runs a program of this world's Windows, by its name or path there.
///
/// # Panics
/// When Wine's template is not there: the message says what to run.
pub fn program(world: &World, name: &str) -> PathBuf {
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    script(world, &format!("windows-program-{short}"), name)
}

fn script(world: &World, name: &str, program: &str) -> PathBuf {
    let script = world.path(name);
    if !script.exists() {
        let prefix = prefix(world, &variable(TEMPLATE));
        // Wine's server keeps its socket in a temporary folder that it does not always remove. Its
        // `mklink` makes no junctions, which the agent's test build takes for a warning then.
        let text = format!(
            "#!/bin/sh\nexport WINEPREFIX='{}' WINEARCH=win64 WINEDEBUG=-all MANTLE_WITHOUT_JUNCTIONS=1 TMPDIR='{}'\nexec wine '{program}' \"$@\"\n",
            prefix.display(),
            world.root().display(),
        );
        std::fs::write(&script, text).expect("a script of the test's world");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
            .expect("a script that can be run");
    }
    script
}

/// Gives this world program and data folders of its own, where the others have the template's.
///
/// # Panics
/// When they cannot be made.
pub fn own_files(world: &World) {
    let template = variable(TEMPLATE).join("drive_c");
    let drive = prefix(world, &variable(TEMPLATE)).join("drive_c");
    std::fs::remove_file(&drive).expect("the link to the template's drive");
    std::fs::create_dir(&drive).expect("a drive of the test's own");
    for entry in std::fs::read_dir(&template).expect("the template's drive") {
        let name = entry.expect("an entry of the template's drive").file_name();
        let own = ["Program Files", "ProgramData"]
            .iter()
            .any(|own| name == *own);
        let place = drive.join(&name);
        if own {
            std::fs::create_dir(place).expect("a folder of the test's own");
        } else {
            symlink(template.join(&name), place).expect("a link to the template");
        }
    }
}

/// A file that was built beside the agent's executable.
///
/// # Panics
/// When it is not there.
pub fn beside_the_agent(name: &str) -> PathBuf {
    let path = variable(AGENT).with_file_name(name);
    assert!(
        path.exists(),
        "there is no {}; run ./test.sh windows",
        path.display()
    );
    path
}

/// What the stand-in for IIS of this world keeps; nothing before it was first called.
///
/// # Panics
/// When it is no JSON.
pub fn iis_state(world: &World) -> Value {
    match std::fs::read(world.path("iis/iis.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("JSON"),
        Err(_) => Value::Null,
    }
}

/// Lets it have this instead.
pub fn set_iis_state(world: &World, state: &Value) {
    world.file("iis/iis.json", state.to_string());
}

/// A path of this machine as Windows programs see it.
pub fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display().to_string().replace('/', "\\"))
}

fn variable(name: &str) -> PathBuf {
    let path = PathBuf::from(std::env::var_os(name).unwrap_or_default());
    assert!(
        path.is_absolute() && path.exists(),
        "{name} is '{}', where nothing is: this test runs the Windows agent under Wine; run it by ./test.sh windows",
        path.display()
    );
    path
}

fn prefix(world: &World, template: &Path) -> PathBuf {
    let prefix = world.path("wine");
    if prefix.exists() {
        return prefix;
    }
    world.dir("wine");
    for file in FILES {
        std::fs::copy(template.join(file), prefix.join(file))
            .unwrap_or_else(|error| panic!("{file} of Wine's template: {error}"));
    }
    let drives = world.dir("wine/dosdevices");
    for (target, link) in [
        (template.join("drive_c"), prefix.join("drive_c")),
        (PathBuf::from("../drive_c"), drives.join("c:")),
        (PathBuf::from("/"), drives.join("z:")),
        // Where the stand-in for IIS keeps what it has.
        (world.dir("iis"), drives.join("y:")),
    ] {
        symlink(target, link).expect("a drive of the test's Wine");
    }
    prefix
}
