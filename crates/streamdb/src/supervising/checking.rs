//! Another process that looks whether a configuration can be gone on by: what it names may be large, or on a file server that is away,
//! and nothing here waits for that.

use std::ffi::OsString;
use std::io::{self, Read};
use std::mem;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::looked_after;
use crate::commands::Error;

/// How long it may take: rules are compiled.
const LONGEST: Duration = Duration::from_secs(60);
/// Most bytes of what it says.
const MOST: u64 = 16 << 10;

/// The process.
pub(super) struct Checking {
    process: io::Result<Child>,
    began: Instant,
}

impl Checking {
    /// Starts this program with these arguments.
    pub(super) fn begin(program: &Path, arguments: &[OsString]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        looked_after(&mut command);
        Self { process: command.spawn(), began: Instant::now() }
    }

    /// In how long it has to be over.
    pub(super) fn due(&self) -> Duration {
        LONGEST.saturating_sub(self.began.elapsed())
    }

    /// What it came to, once it is over.
    pub(super) fn outcome(&mut self) -> Option<Result<(), Error>> {
        let could_not = |error: &io::Error| Some(Err(Error::Other(format!("it could not be looked at: {error}"))));
        let process = match &mut self.process {
            Ok(process) => process,
            Err(error) => return could_not(error),
        };
        let status = match process.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) if self.began.elapsed() < LONGEST => return None,
            Ok(None) => {
                let seconds = LONGEST.as_secs();
                return Some(Err(Error::Other(format!("what it names could not be looked at within {seconds} s"))));
            }
            Err(error) => return could_not(&error),
        };
        if status.success() {
            return Some(Ok(()));
        }
        let mut said = Vec::new();
        // All that wrote there is over.
        if let Some(stderr) = &mut process.stderr {
            _ = stderr.take(MOST).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let sentence = said.trim().strip_prefix("streamdb: ").unwrap_or(said.trim());
        Some(Err(Error::Other(if sentence.is_empty() { status.to_string() } else { sentence.to_owned() })))
    }
}

impl Drop for Checking {
    /// One that is not over is killed; that it is over then is not waited for here, as it may be at what cannot be interrupted.
    fn drop(&mut self) {
        let gone = io::Error::other("it is over");
        let Ok(mut process) = mem::replace(&mut self.process, Err(gone)) else { return };
        if !matches!(process.try_wait(), Ok(Some(_))) {
            _ = process.kill();
            // Without a thread it is a zombie until this process ends.
            _ = thread::Builder::new().name("wait".into()).spawn(move || process.wait());
        }
    }
}
