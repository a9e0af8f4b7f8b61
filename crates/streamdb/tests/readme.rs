//! The investigation that README.md shows: its commands are run over a fresh store, and print what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Data, Server, testdata};

/// A command, and the lines that must come of it.
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands in the console blocks of a section.
fn steps(page: &str, section: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let lines = page.lines().skip_while(|line| *line != section).skip(1).take_while(|line| !line.starts_with("## "));
    let mut inside = false;
    for line in lines {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            steps.push(Step { command: command.to_owned(), shown: Vec::new() });
        } else if inside {
            steps.last_mut().expect("a command comes first").shown.push(line.to_owned());
        }
    }
    steps
}

/// What a shell prints, with this on standard input and this program at hand.
fn shell(data: &Data, script: &str, input: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_streamdb")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(data.beside("")).env("PATH", path);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It may not want all of it, as `head` does not.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command as the page has it, but for where the store and its server are. `curl` is done here.
fn run(data: &Data, server: &Server, command: &str) -> String {
    let Some(rest) = command.strip_prefix("curl -s 'http://127.0.0.1:8080") else {
        return shell(data, &command.replace("target/demo-data", "data"), b"");
    };
    let (path, rest) = rest.split_once('\'').expect("the URL ends");
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{command}");
    let script = match rest.trim().strip_prefix("-o ") {
        Some(file) => format!("cat > {file}"),
        None => format!("cat {rest}"),
    };
    shell(data, &script, &answer.body)
}

/// How long the answer took is no promise.
fn timeless(line: &str) -> String {
    match line.rsplit_once(" (") {
        Some((before, after)) if line.starts_with("Returning ") && after.ends_with(" ms)") => before.to_owned(),
        _ => line.to_owned(),
    }
}

/// Whether these lines are shown, where `...` stands for any lines or none.
fn matches(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| timeless(first) == timeless(line) && matches(rest, lines))
        }
    }
}

#[test]
fn the_investigation_is_as_the_readme_shows_it() {
    let capture = testdata("imagedump", "capture.pcap");
    let data = Data::with("readme", &[&capture]);
    let server = Server::start(&data);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    std::os::unix::fs::symlink(root.join("testdata"), data.beside("testdata")).unwrap();
    let page = std::fs::read_to_string(root.join("README.md")).unwrap();
    let steps = steps(&page, "## What you see then");
    assert!(steps.len() >= 6, "the page shows {} commands", steps.len());
    for Step { command, shown } in &steps {
        let said = run(&data, &server, command);
        let lines: Vec<&str> = said.trim_end().lines().collect();
        assert!(matches(shown, &lines), "$ {command}\n{}", lines[..lines.len().min(40)].join("\n"));
    }
}
