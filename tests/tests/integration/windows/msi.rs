//! The package of the Windows Installer (`packaging/windows/msi.sh`): its files come and go, and its removal
//! takes the agent's service with it. As far as Wine's installer goes.

use std::path::PathBuf;

use mantle_tests::World;
use mantle_tests::cli::{Cli, Output};
use mantle_tests::wine::{beside_the_agent, own_files, program, windows_path};

struct Machine {
    world: World,
    msi: PathBuf,
}

impl Machine {
    /// A machine of its own, since what is installed is otherwise the other tests' as well.
    fn new() -> Self {
        let world = World::new();
        own_files(&world);
        let name = format!("tentacle-{}-x64.msi", env!("CARGO_PKG_VERSION"));
        Self {
            msi: beside_the_agent(&name),
            world,
        }
    }

    async fn wine(&self, words: &[&str]) -> Output {
        let (first, rest) = words.split_first().expect("a program");
        Cli::new(&self.world, &program(&self.world, first))
            .run(rest)
            .await
    }

    async fn msiexec(&self, verb: &str) -> Output {
        let msi = windows_path(&self.msi);
        self.wine(&["msiexec", verb, &msi, "/qn"]).await
    }

    fn installed(&self) -> PathBuf {
        self.world
            .path("wine/drive_c/Program Files/Mantle/tentacle.exe")
    }
}

#[tokio::test]
async fn the_msi_brings_the_agent_and_its_removal_takes_the_service_with_it() {
    let machine = Machine::new();
    machine.msiexec("/i").await.ok();
    let installed = machine.installed();
    let same = std::fs::read(&installed).unwrap()
        == std::fs::read(beside_the_agent("tentacle.exe")).unwrap();
    assert!(same, "the program is the one that was packed");
    // Windows has the one thing that Wine lacks.
    let beside = installed.with_file_name("bcryptprimitives.dll");
    std::fs::copy(beside_the_agent("bcryptprimitives.dll"), &beside).unwrap();
    let agent = r"C:\Program Files\Mantle\tentacle.exe";
    let version = machine.wine(&[agent, "--version"]).await.ok().stdout;
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    machine.wine(&[agent, "service", "install"]).await.ok();
    let shown = machine
        .wine(&[agent, "service", "status", "-o", "json"])
        .await
        .exit(1);
    assert_eq!(shown.json()["service"]["program"], agent, "{shown}");

    machine.msiexec("/x").await.ok();
    assert!(!installed.exists(), "the program is gone");
    // Asked by another copy of the program, since this one is gone.
    let copy = windows_path(&beside_the_agent("tentacle.exe"));
    machine
        .wine(&[&copy, "service", "status"])
        .await
        .exit(5)
        .complains(&["there is no service tentacle"]);
}
