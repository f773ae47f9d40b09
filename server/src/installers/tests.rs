//! The script is sound by shellcheck and by a real shell, the lines hold what they must, a program is
//! known by what it is now.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::line::{Joining, linux, sh_word, windows};
use super::{Platform, Programs, Reached, script};

fn at() -> Reached {
    Reached {
        url: "https://deploy.example:7443".to_owned(),
        server: "deploy.example:7443".to_owned(),
        pin: "cGlu".to_owned(),
        key_digest: "AB12".to_owned(),
    }
}

/// The script as a server hands it out.
fn shown() -> String {
    script(&at(), &"1".repeat(64), &"a".repeat(64))
}

/// Runs a script from a pipe, as the line does.
fn piped(script: &str, words: &[&str]) -> Output {
    let mut shell = Command::new("sh")
        .args(["-s", "--"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    // A script that ends early does not read its rest.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    shell.wait_with_output().unwrap()
}

#[test]
fn the_script_is_clean_by_shellcheck() {
    let mut shellcheck = Command::new("shellcheck")
        .args(["--shell=sh", "--severity=style", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("shellcheck of Debian's package of this name");
    let mut input = shellcheck.stdin.take().unwrap();
    input.write_all(shown().as_bytes()).unwrap();
    drop(input);
    let output = shellcheck.wait_with_output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{found}");
    assert!(!shown().contains("=@"), "something was not put in");
}

#[test]
fn a_script_that_was_cut_short_does_nothing() {
    let whole = shown();
    let call = "install_agent \"$@\"";
    assert!(
        whole.ends_with(&format!("{call}\n")),
        "one call, at the end"
    );
    // By lines, and at each place within the call.
    let lines = whole.match_indices('\n').map(|(at, _)| at + 1);
    let inside = whole.len() - call.len() - 1..whole.len() - 2;
    let cuts = lines.filter(|at| *at < whole.len()).chain(inside);
    for cut in cuts.step_by(3) {
        let output = piped(&whole[..cut], &["--no-such-option"]);
        // The whole would complain of the option.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !said.contains("is no option of this script"),
            "{cut}: {said}"
        );
        assert!(output.stdout.is_empty(), "{cut}");
    }
    let said = piped(&whole, &["--no-such-option"]);
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("--no-such-option is no option"), "{said}");
}

#[test]
fn nothing_in_a_name_or_an_address_is_another_command() {
    let dir = tempfile::tempdir().unwrap();
    let trap = dir.path().join("trapped").display().to_string();
    let nasty = [
        format!("x'; touch {trap}; '"),
        format!("$(touch {trap})`touch {trap}`"),
        format!("\" ; touch {trap} #\n touch {trap}"),
    ];
    for text in nasty {
        let output = Command::new("sh")
            .args(["-c", &format!("printf %s {}", sh_word(&text))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        let at = Reached {
            url: text.clone(),
            server: text.clone(),
            ..at()
        };
        piped(&script(&at, &text, &text), &["--dry-run"]);
        let joining = Joining {
            token: &text,
            name: Some(&text),
        };
        // It cannot fetch anything, and that is where it ends.
        let line = Command::new("sh")
            .args(["-c", &linux(&at, joining)])
            .output();
        assert!(!line.unwrap().status.success());
        assert!(!Path::new(&trap).exists(), "{text}");
    }
}

#[test]
fn the_line_of_linux_pins_the_key_and_ends_where_curl_does() {
    let joining = Joining {
        token: "mj1.a.b.c",
        name: Some("web01"),
    };
    let line = linux(&at(), joining);
    assert_eq!(
        line,
        "s=\"$(curl -fsSk --pinnedpubkey sha256//cGlu 'https://deploy.example:7443/install/agent.sh')\" && printf '%s\\n' \"$s\" | $(command -v sudo) sh -s -- --token 'mj1.a.b.c' --name 'web01'"
    );
    assert!(!line.contains('\n'));
    let (before, _) = line.split_once("&&").unwrap();
    assert!(!before.contains("mj1."), "the token is in no address");
}

#[test]
fn the_line_of_windows_is_short_and_checks_both_digests() {
    let joining = Joining {
        token: "mj1.a.b.c",
        name: Some("web\u{2019}01"),
    };
    let line = windows(&at(), joining, "0f");
    assert!(!line.contains('\n'));
    assert!(line.split("; ").count() <= 15, "{line}");
    for part in [
        "-eq 'AB12'",
        "'https://deploy.example:7443/install/tentacle-windows-x86_64.exe'",
        "(Get-FileHash $n).Hash -ne '0f'",
        "$env:TENTACLE_TOKEN='mj1.a.b.c'",
        "join --install --server 'deploy.example:7443'",
        "Move-Item $n \"$d\\tentacle.exe\"",
        // PowerShell ends a text at this quotation mark too.
        "--name 'web\u{2019}\u{2019}01'",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn a_key_is_pinned_as_curl_does_it() {
    let key = rcgen::generate_simple_self_signed(vec!["deploy.example".to_owned()]).unwrap();
    let at = Reached::by(key.cert.der(), String::new(), String::new()).unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key.signing_key);
    assert_eq!(at.pin, STANDARD.encode(Sha256::digest(spki)));
    let bits = rcgen::PublicKeyData::der_bytes(&key.signing_key);
    let bits = hex::encode_upper(Sha256::digest(bits));
    assert_eq!(at.key_digest, bits);
    assert_eq!(Reached::by(b"none", String::new(), String::new()), None);
}

#[tokio::test]
async fn a_program_is_known_by_what_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("agents");
    let programs = Programs::in_folders(vec![folder.clone()]);
    let platform = Platform::LinuxAarch64;
    assert_eq!(programs.find(platform).await.unwrap(), None);
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("tentacle-linux-aarch64");
    assert!(programs.places(platform).contains(&path));
    for content in ["first", "another one"] {
        std::fs::write(&path, content).unwrap();
        for _ in 0..2 {
            let program = programs.find(platform).await.unwrap().unwrap();
            assert_eq!(program.sha256, hex::encode(Sha256::digest(content)));
            assert_eq!(program.size_bytes, content.len() as u64);
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_anybody_may_write_is_not_handed_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let programs = Programs::in_folders(vec![dir.path().to_owned()]);
    let path = dir.path().join(Platform::WindowsX8664.file_name());
    std::fs::write(&path, "program").unwrap();
    for (of, mode, good) in [
        (path.as_path(), 0o755, true),
        (path.as_path(), 0o757, false),
        (path.as_path(), 0o755, true),
        (dir.path(), 0o777, false),
    ] {
        std::fs::set_permissions(of, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = programs.find(Platform::WindowsX8664).await;
        assert_eq!(found.is_ok(), good, "{} {mode:o}", of.display());
        if let Err(error) = found {
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(text.contains("chmod o-w"), "{text}");
        }
    }
}
