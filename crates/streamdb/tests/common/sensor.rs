//! A sensor as an operator runs it, and what it says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::{PATIENCE, until, wait};

/// What a sensor says when all that it usually has runs.
pub const RUN: &str = "capture runs, derive runs, serve runs";

/// A running sensor; it ends with the test, and its processes with it.
pub struct Sensor {
    pub child: Child,
    lines: Receiver<String>,
}

impl Sensor {
    pub fn start(config: &Path) -> Self {
        Self::start_as(super::command(["run", "--config"]).arg(config))
    }

    /// Starts it by this command.
    pub fn start_as(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let (line, lines) = channel();
        std::thread::spawn(move || err.lines().map_while(Result::ok).for_each(|said| _ = line.send(said)));
        Self { child, lines }
    }

    /// Waits until it says something with this in it.
    pub fn says(&self, what: &str) -> String {
        let [line] = self.says_all([what]);
        line
    }

    /// Waits until it has said something with each of these in it, in whatever order.
    pub fn says_all<const N: usize>(&self, what: [&str; N]) -> [String; N] {
        let began = Instant::now();
        let mut all: Vec<String> = Vec::new();
        loop {
            let said = what.map(|what| all.iter().find(|line| line.contains(what)).cloned());
            if said.iter().all(Option::is_some) {
                return said.map(Option::unwrap);
            }
            match self.lines.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(line) => all.push(line),
                Err(error) => panic!("it does not say {what:?} ({error}): {all:#?}"),
            }
        }
    }

    /// Ends it well, and hands out what it said and nobody asked for.
    pub fn end(mut self) -> Vec<String> {
        self.signal("-TERM");
        assert!(wait(&mut self.child).success());
        self.lines.iter().collect()
    }

    pub fn signal(&self, name: &str) {
        kill(name, self.child.id());
    }

    /// The process that does this.
    pub fn process(&self, command: &str) -> u32 {
        let id = self.child.id();
        until("the process runs", || {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
            let children = children.split_whitespace().map(|child| child.parse().unwrap());
            let does = |child: &u32| {
                let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).nth(1) == Some(command.as_bytes())
            };
            { children }.find(does)
        })
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn kill(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
