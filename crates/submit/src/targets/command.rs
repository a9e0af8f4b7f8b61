//! A program that is run for each content, without a shell: the file's path is an argument, the JSON its standard input.
//!
//! - it works on a copy of its own, in a folder of its own, which is its working directory
//! - exit status 0: it took the file; 65 (`EX_DATAERR`): it never will; anything else: later
//! - the first line of its output is the address of the result, if it is one
//! - `STREAMDB_TRY` counts the tries: from the second on, one before may have come to its end. `STREAMDB_KEY` is the same for
//!   all tries of a submission
//!
//! A process that is killed while it sends leaves its program at work. That one keeps its folder until its time would have been
//! over; the next process runs the program again, as the next try.
//!
//! When its time is over it is killed, and what it started with it: its process group, which no child leaves unless it wants to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Attempt, Deliver, Has, Later, Parcel, Sent};
use crate::job::Job;
use crate::record;

/// Most bytes of each of its outputs that are looked at. The rest is read and forgotten.
const MAX_OUTPUT: usize = 16 << 10;
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// `EX_DATAERR` of sysexits(3): the input was incorrect.
const NEVER: i32 = 65;

/// A program.
pub(super) struct Command {
    pub(super) words: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) given: PathBuf,
}

impl Deliver for Command {
    fn deliver(&self, parcel: &mut Parcel<'_>) -> Attempt {
        let folder = self.given.join(format!("{}-{}", parcel.job.short_key(), parcel.job.tries));
        let attempt = match self.prepare(&folder, parcel) {
            Ok((file, about)) => self.run(parcel.job, &folder, &file, about),
            Err(error) => later(format!("{}: could not make its copy: {error}", folder.display()), true, false),
        };
        // What cannot be removed now is removed as what a killed process left.
        let _ = fs::remove_dir_all(&folder);
        attempt
    }

    fn has(&self, _job: &Job) -> Has {
        Has::Unknown
    }
}

fn later(why: String, target: bool, doubt: bool) -> Attempt {
    Attempt::Later(Later { why: record::said(&why), pause: None, target, doubt })
}

impl Command {
    /// Its copy, and the JSON as a file to read from.
    fn prepare(&self, folder: &Path, parcel: &mut Parcel<'_>) -> io::Result<(PathBuf, File)> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.given)?;
        for left in fs::read_dir(&self.given)? {
            // What cannot be removed, as a file of another user's, is in nobody's way.
            let Ok(left) = left else { continue };
            let begun = left.metadata().and_then(|facts| facts.modified());
            if begun.is_ok_and(|begun| begun.elapsed().unwrap_or_default() > self.timeout) {
                let _ = fs::remove_dir_all(left.path());
            }
        }
        DirBuilder::new().mode(0o700).create(folder)?;
        let create = |name: &str| {
            let path = folder.join(name);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            file.map(|file| (path, file))
        };
        let (path, mut file) = create(&parcel.job.file_name())?;
        io::copy(&mut parcel.content, &mut file)?;
        let (about, mut file) = create("about.json")?;
        file.write_all(parcel.about.as_bytes())?;
        Ok((path, File::open(about)?))
    }

    fn run(&self, job: &Job, folder: &Path, file: &Path, about: File) -> Attempt {
        let Some((program, arguments)) = self.words.split_first() else {
            return later("no program is configured".to_owned(), true, false);
        };
        let file = file.to_string_lossy();
        let mut words: Vec<String> = arguments.iter().map(|word| word.replace("{}", &file)).collect();
        if !arguments.iter().any(|word| word.contains("{}")) {
            words.push(file.into_owned());
        }
        let started = std::process::Command::new(program)
            .args(words)
            .current_dir(folder)
            .env("STREAMDB_TRY", job.tries.to_string())
            .env("STREAMDB_KEY", job.key())
            .stdin(about)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its group has its number, so that all that it starts can be killed with it.
            .process_group(0)
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => return later(format!("{program}: could not be started: {error}"), true, false),
        };
        let (ended, output) = watch(child, self.timeout);
        let [out, err] = output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let status = match ended {
            Ok(Some(status)) => status,
            Ok(None) => {
                let seconds = self.timeout.as_secs_f64();
                return later(
                    format!("{program}: not done after {seconds} s, and killed: {}", err.trim()),
                    false,
                    true,
                );
            }
            Err(error) => return later(format!("{program}: could not be waited for: {error}"), false, true),
        };
        let ended = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        };
        // It says what is wrong on one of them.
        let words = [&err, &out].into_iter().map(|text| text.trim()).find(|text| !text.is_empty());
        let why = format!("{program}: {ended}: {}", words.unwrap_or_default());
        match status.code() {
            Some(0) => {
                let link = record::link(out.lines().next().unwrap_or_default());
                Attempt::Sent(Sent {
                    said: record::said(&format!("{ended}: {}", out.trim())),
                    link,
                    task: String::new(),
                })
            }
            Some(NEVER) => Attempt::Refused { why: record::said(&why) },
            Some(_) => later(why, false, false),
            None => later(why, false, true),
        }
    }
}

/// Waits for a program, and kills its group when it has ended or its time is over. Its end is `None` in the second case. Also
/// gives the beginnings of its two outputs.
fn watch(mut child: Child, timeout: Duration) -> (io::Result<Option<ExitStatus>>, [Vec<u8>; 2]) {
    let begun = Instant::now();
    let mut outputs = [Vec::new(), Vec::new()];
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(id) = id else { return (Err(io::Error::other("it has no number")), outputs) };
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let ended = loop {
        read(&mut out, &mut err, &mut outputs, LOOK);
        // It stays a zombie, so that its number, and its group's, are nobody else's yet.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(id), options) {
            Ok(None) if begun.elapsed() < timeout => {}
            Ok(ended) => break Ok(ended.is_some()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => break Err(io::Error::from(error)),
        }
    };
    // What it left running would go on with a file that is removed.
    let _ = kill_process_group(id, Signal::KILL);
    let status = child.wait();
    // What it said last. Who left its group may hold the pipes open, and is not waited for.
    while read(&mut out, &mut err, &mut outputs, Duration::ZERO) && begun.elapsed() < timeout {}
    let ended = ended.and_then(|ended| status.map(|status| ended.then_some(status)));
    (ended, outputs)
}

/// Reads what the outputs have, waiting so long for something. Whether there was something.
fn read(
    out: &mut Option<impl Read + AsFd>,
    err: &mut Option<impl Read + AsFd>,
    outputs: &mut [Vec<u8>; 2],
    time: Duration,
) -> bool {
    let ready = {
        let fds = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        if polled.is_empty() {
            std::thread::sleep(time);
            return false;
        }
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        if poll(&mut polled, Some(&time)).is_err() {
            return false;
        }
        let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
        fds.map(|fd| fd.is_some() && ready.next().unwrap_or_default())
    };
    let [first, second] = outputs;
    let [a, b] = ready;
    let a = a && read_one(out, first);
    let b = b && read_one(err, second);
    a || b
}

/// Reads once from an output that has something, or is at its end. Whether there was something.
fn read_one(pipe: &mut Option<impl Read>, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    let read = pipe.as_mut().map_or(0, |pipe| pipe.read(&mut buffer).unwrap_or(0));
    if read == 0 {
        *pipe = None;
        return false;
    }
    let room = MAX_OUTPUT.saturating_sub(output.len()).min(read);
    output.extend_from_slice(buffer.get(..room).unwrap_or_default());
    true
}
