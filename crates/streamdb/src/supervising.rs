//! Processes of this program that are started again when they die, until all of them are to end.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::account::Account;
use crate::commands::Error;
use crate::output::complain;

/// How soon a process that died is started again; it doubles with each death.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One that ran so long did not die of how it was started.
const RAN_WELL: Duration = Duration::from_secs(60);
/// How long all may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How often it is said, for others, how the processes go.
const TELL: Duration = Duration::from_secs(2);
/// The variable that says to a process which other one looks after it.
const SUPERVISOR: &str = "STREAMDB_SUPERVISOR";

/// A process to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) reload: Reload,
}

/// How a process takes over another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It reads it when it gets SIGHUP.
    Hangup,
    /// It ends, and is started again.
    Again,
}

/// Starts the jobs and keeps them running until a signal says to end. `again` says what there is to do when SIGHUP comes.
pub(crate) fn supervise(
    jobs: Vec<Job>,
    mut account: Account,
    again: &mut dyn FnMut() -> Result<Vec<Job>, Error>,
) -> Result<ExitCode, Error> {
    let mut signals = Signals::new()?;
    let program = std::env::current_exe()
        .map_err(|e| Error::Other(format!("could not find the program of this process: {e}")))?;
    let mut children: Vec<Child> = jobs.into_iter().map(|job| Child::new(program.clone(), job)).collect();
    while signals.ends() == 0 {
        if signals.hung_up() {
            match again() {
                Ok(jobs) => children.iter_mut().zip(jobs).for_each(|(child, job)| child.take_over(job)),
                Err(error) => {
                    complain(&format!("the configuration is as it was, as the new one is not right: {error}"))
                }
            }
        }
        children.iter_mut().for_each(|child| child.look(&mut account));
        account.tell();
        let due = children.iter().filter_map(Child::due).min().unwrap_or(TELL);
        signals.wait(due.min(TELL));
    }
    end(&mut children, &mut signals);
    Ok(ExitCode::SUCCESS)
}

/// Ends all: each seals what it has. The second signal, and time, end them at once.
fn end(children: &mut [Child], signals: &mut Signals) {
    let began = Instant::now();
    children.iter_mut().for_each(|child| child.tell(Signal::TERM));
    let mut told = 1;
    while children.iter_mut().any(Child::runs) {
        if signals.ends() > told {
            told = signals.ends();
            children.iter_mut().for_each(|child| child.tell(Signal::TERM));
        }
        if began.elapsed() >= DRAIN {
            for child in children.iter_mut().filter_map(|child| child.runs().then_some(child)) {
                complain(&format!("{} did not end within {} s, and is killed", child.job.name, DRAIN.as_secs()));
                child.tell(Signal::KILL);
                child.reap();
            }
        }
        signals.wait(DRAIN.saturating_sub(began.elapsed()));
    }
}

/// A process, or one that is to be started.
struct Child {
    program: PathBuf,
    job: Job,
    process: Option<process::Child>,
    since: Instant,
    /// When it is started, while it does not run.
    start: Instant,
    pause: Duration,
    /// Whether it was told to end, to be started again.
    expected: bool,
}

impl Child {
    fn new(program: PathBuf, job: Job) -> Self {
        let now = Instant::now();
        Self { program, job, process: None, since: now, start: now, pause: PAUSE, expected: false }
    }

    /// Starts it if it is time, and sees whether it died.
    fn look(&mut self, account: &mut Account) {
        if self.process.is_none() {
            if Instant::now() >= self.start {
                self.begin();
                if self.process.is_some() {
                    account.began(self.job.name);
                }
            }
            return;
        }
        let Some(status) = self.ended() else { return };
        self.process = None;
        let now = Instant::now();
        if std::mem::take(&mut self.expected) {
            self.start = now;
            return;
        }
        account.died(self.job.name);
        if self.since.elapsed() >= RAN_WELL {
            self.pause = PAUSE;
        }
        self.start = now + self.pause;
        complain(&format!(
            "{} died ({status}); it is started again in {:.1} s",
            self.job.name,
            self.pause.as_secs_f64()
        ));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn begin(&mut self) {
        self.since = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&self.job.arguments).env(SUPERVISOR, process::id().to_string());
        // Ctrl-C in a terminal is for this process alone, which tells the others.
        match command.process_group(0).stdin(process::Stdio::null()).spawn() {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                self.start = self.since + LONGEST_PAUSE;
                complain(&format!(
                    "{}: {} could not be started: {error}",
                    Path::new(&self.program).display(),
                    self.job.name
                ));
            }
        }
    }

    /// In how long it is to be started, while it does not run.
    fn due(&self) -> Option<Duration> {
        self.process.is_none().then(|| self.start.saturating_duration_since(Instant::now()))
    }

    /// How it ended, if it did.
    fn ended(&mut self) -> Option<process::ExitStatus> {
        self.process.as_mut()?.try_wait().ok().flatten()
    }

    fn runs(&mut self) -> bool {
        if self.ended().is_some() {
            self.process = None;
        }
        self.process.is_some()
    }

    fn tell(&mut self, signal: Signal) {
        if let Some(process) = self.process.as_ref() {
            // It may have ended by now; as nobody waited for it yet, its number is nobody else's.
            _ = kill_process(Pid::from_child(process), signal);
        }
    }

    fn reap(&mut self) {
        if let Some(mut process) = self.process.take() {
            _ = process.wait();
        }
    }

    /// Goes on as this job, with what its configuration says by now.
    fn take_over(&mut self, job: Job) {
        self.job = job;
        match self.job.reload {
            Reload::Hangup => self.tell(Signal::HUP),
            Reload::Again => {
                self.expected = self.process.is_some();
                self.tell(Signal::TERM);
            }
        }
    }
}

/// A process that another one looks after ends when that one dies, however it dies.
pub(crate) fn end_with_supervisor() {
    let said = std::env::var(SUPERVISOR).ok().and_then(|text| text.parse().ok());
    let Some(supervisor) = said.and_then(Pid::from_raw) else { return };
    // Without it, it would be found out later: when the next one finds the data folder in use.
    _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid() != Some(supervisor) {
        complain("the process that looks after this one is gone");
        process::exit(1);
    }
}

/// What came by signal: a byte for each.
struct Signals {
    ending: UnixStream,
    hanging_up: UnixStream,
    dying: UnixStream,
    ends: usize,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let all = || {
            Ok(Self {
                ending: bytes_of(&[SIGINT, SIGTERM])?,
                hanging_up: bytes_of(&[SIGHUP])?,
                dying: bytes_of(&[SIGCHLD])?,
                ends: 0,
            })
        };
        all().map_err(|e: std::io::Error| Error::Other(format!("could not set up the signals: {e}")))
    }

    /// How many times it was said to end.
    fn ends(&mut self) -> usize {
        self.ends += taken(&mut self.ending);
        self.ends
    }

    fn hung_up(&mut self) -> bool {
        taken(&mut self.hanging_up) > 0
    }

    /// Waits for a signal, and no longer than this.
    fn wait(&mut self, longest: Duration) {
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: longest.subsec_nanos().into(),
        };
        let mut all = [&self.ending, &self.hanging_up, &self.dying].map(|bytes| PollFd::new(bytes, PollFlags::IN));
        // One that interrupts it left its byte.
        _ = poll(&mut all, Some(&timeout));
        taken(&mut self.dying);
    }
}

/// Gets a byte for each of these signals.
fn bytes_of(signals: &[i32]) -> std::io::Result<UnixStream> {
    let (bytes, writer) = UnixStream::pair()?;
    bytes.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, writer.try_clone()?)?;
    }
    Ok(bytes)
}

/// How many bytes came.
fn taken(bytes: &mut UnixStream) -> usize {
    let (mut all, mut buffer) = (0, [0; 64]);
    while let Ok(n @ 1..) = bytes.read(&mut buffer) {
        all += n;
    }
    all
}
