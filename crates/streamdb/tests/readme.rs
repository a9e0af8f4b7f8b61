//! The README's walk through the demo is what the program prints: each command of its console blocks is run, with the port and
//! the folder of this test, and what comes out is compared, but for milliseconds and what `...` leaves out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Data, Server, testdata};

/// Commands and what they print, of the console blocks of one section.
fn transcript(readme: &str, section: &str) -> Vec<(String, Vec<String>)> {
    let section = readme.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push((command.to_owned(), Vec::new())),
                None => found.last_mut().unwrap().1.push(line.to_owned()),
            }
        }
    }
    found
}

/// Without the time that it took.
fn comparable(line: &str) -> String {
    match line.rsplit_once(" (") {
        Some((before, after)) if after.ends_with(" ms)") => before.to_owned(),
        _ => line.to_owned(),
    }
}

#[test]
fn the_walk_is_what_the_program_prints() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: curl is not installed");
        return;
    }
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let commands = transcript(&readme, "What you see then");
    assert!(commands.len() >= 4, "{commands:?}");
    let data = Data::with("readme", &[&testdata("imagedump", "capture.pcap")]);
    let server = Server::start(&data);
    let program = Path::new(env!("CARGO_BIN_EXE_streamdb")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for (command, wanted) in commands {
        let run = command
            .replace("127.0.0.1:8080", &server.address.to_string())
            .replace("target/demo-data", &data.path().display().to_string());
        let output = Command::new("sh").args(["-c", &run]).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let mut printed = printed.lines();
        for line in wanted {
            if line == "..." {
                break;
            }
            assert_eq!(printed.next().map(comparable), Some(comparable(&line)), "{command}");
        }
    }
}
