//! A disk that never answers: whoever looks at a file there sleeps where no signal reaches it.
//!
//! A file system (FUSE, spoken raw) that answers nothing but the kernel's first greeting, mounted over the
//! folder that is given. A process that waits for an answer to what the file system has read cannot be
//! killed, as one that waits for a disk or a file server that is gone. When this process ends the kernel
//! gives every request up. To be run in mounts of its own: `unshare --mount stuck_disk FOLDER`.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// The first request of the kernel: which version it speaks.
const INIT: u32 = 26;
const HEADER_IN_BYTES: usize = 40;
const HEADER_OUT_BYTES: u32 = 16;
const INIT_OUT_BYTES: usize = 64;
const VERSION: [u32; 2] = [7, 31];
/// More than any request has.
const REQUEST_BYTES: usize = 1024 * 1024;

fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let mut device = device.expect("/dev/fuse");
    let status = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o"])
        .args([
            "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other",
            "stuck",
        ])
        .arg(folder)
        .stdin(Stdio::from(device.try_clone().expect("a handle")))
        .status();
    assert!(status.expect("mount").success(), "the disk is mounted");
    say("mounted");
    let mut buffer = vec![0; REQUEST_BYTES];
    while let Ok(length) = device.read(&mut buffer) {
        let Some(request) = buffer
            .get(..length)
            .filter(|it| it.len() >= HEADER_IN_BYTES)
        else {
            continue;
        };
        if word(request, 4) == INIT {
            greet(&mut device, request.get(8..16).unwrap_or_default());
        } else {
            // It is read, and never answered.
            say("waiting");
        }
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    u32::from_ne_bytes(word.unwrap_or_default())
}

/// Answers the first request, which has this number.
fn greet(device: &mut File, number: &[u8]) {
    let length = HEADER_OUT_BYTES + u32::try_from(INIT_OUT_BYTES).unwrap_or_default();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(0_i32.to_ne_bytes());
    bytes.extend(number);
    bytes.extend(VERSION.iter().flat_map(|part| part.to_ne_bytes()));
    bytes.resize(length as usize, 0);
    device.write_all(&bytes).expect("the kernel is greeted");
}
