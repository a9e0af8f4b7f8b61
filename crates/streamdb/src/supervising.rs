//! Processes of this program that are started again when they die, until all of them are to end.

mod checking;
mod line;
mod manager;
mod signals;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use self::checking::Checking;
use self::line::Line;
pub(crate) use self::line::{alive, ready};
use self::manager::{Manager, VARIABLES};
use self::signals::Signals;
use crate::account::Account;
use crate::commands::Error;
use crate::output::{complain, inform};

/// How soon a process that died is started again; it doubles with each death.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One that ran so long did not die of how it was started.
const RAN_WELL: Duration = Duration::from_secs(60);
/// One that has said nothing for so long stands still.
const SILENT: Duration = Duration::from_secs(60);
/// And for so long, it is killed. A disk may take as long to come back, and what waits for it would be lost.
const TOO_LONG: Duration = Duration::from_secs(180);
/// How long all may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// And those that are killed. Who waits for a device or a file server that does not answer ends when that does, or never.
const KILLED: Duration = Duration::from_secs(2);
/// How often it is said, for others, how the processes go.
const TELL: Duration = Duration::from_secs(2);
/// The exit code of a process that wants to be started again, as it may not do itself what there is to do: no death.
pub(crate) const AGAIN: u8 = 75;
/// Between two starts of such a process is so much time.
const SPACE: Duration = Duration::from_secs(1);
/// What the kernel takes before the process that captures when there is no memory left (proc(5), `oom_score_adj`).
const LESS_NEEDED: &str = "500";
/// The variable that says to a process which other one looks after it.
const SUPERVISOR: &str = "STREAMDB_SUPERVISOR";
/// The variable that says to a process that it is started anew, while others go on.
const ANEW: &str = "STREAMDB_ANEW";

/// A process to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) reload: Reload,
    /// What of it holds from the start of a process on, whatever comes later.
    pub(crate) fixed: Vec<String>,
}

/// How a process takes over another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It reads it when it gets SIGHUP.
    Hangup,
    /// It ends, and is started again.
    Again,
}

/// Starts the jobs and keeps them running until a signal says to end. When SIGHUP comes this program is started with `check`, and if
/// that ends well, `again` says what there is to do. One that cannot even begin, while not all of them have, ends all: whoever starts a
/// sensor is to see that.
pub(crate) fn supervise(
    jobs: Vec<Job>,
    mut account: Account,
    check: &[OsString],
    again: &mut dyn FnMut() -> Result<Vec<Job>, Error>,
) -> Result<ExitCode, Error> {
    let mut signals = Signals::new()?;
    let mut manager = Manager::new();
    let program = std::env::current_exe()
        .map_err(|e| Error::Other(format!("could not find the program of this process: {e}")))?;
    let mut children: Vec<Child> = jobs.into_iter().map(|job| Child::new(program.clone(), job)).collect();
    let mut failed = None;
    let mut checking: Option<Checking> = None;
    // Whether all have been ready at once, and whether the manager waits for that.
    let (mut begun, mut awaited) = (false, true);
    while signals.ends() == 0 && failed.is_none() {
        if signals.hung_up() {
            manager.reloading();
            checking = Some(Checking::begin(&program, check));
        }
        if let Some(outcome) = checking.as_mut().and_then(Checking::outcome) {
            checking = None;
            awaited = true;
            match outcome.and_then(|()| again()) {
                Ok(jobs) => take_over(&mut children, jobs, &program, &mut account),
                Err(error) => {
                    complain(&format!("the configuration is as it was, as the new one is not right: {error}"))
                }
            }
        }
        children.retain_mut(|child| !child.is_over || child.runs());
        children.iter_mut().for_each(|child| child.look(begun, &mut account));
        if awaited && checking.is_none() && children.iter().all(|child| child.ready) {
            if !begun {
                inform(&status(&children));
            }
            (begun, awaited) = (true, false);
            manager.ready();
        }
        failed = children.iter().find_map(Child::failed);
        manager.status(&status(&children));
        // What is to be known is whether this loop goes on: of the others it takes care itself.
        manager.well();
        account.tell();
        let due =
            children.iter().filter_map(Child::due).chain(manager.due()).chain(checking.iter().map(Checking::due)).min();
        signals.wait(due.unwrap_or(TELL).min(TELL), children.iter().filter_map(Child::line));
    }
    manager.stopping();
    end(&mut children, &mut signals);
    match failed {
        Some(sentence) => Err(Error::Other(sentence)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Goes on with these jobs: what is new among them begins, and what is not among them any more ends.
fn take_over(children: &mut Vec<Child>, jobs: Vec<Job>, program: &Path, account: &mut Account) {
    for child in children.iter_mut().filter(|child| jobs.iter().all(|job| job.name != child.job.name)) {
        account.ended(child.job.name);
        child.is_over = true;
        child.line = None;
        child.tell(Signal::TERM);
    }
    for job in jobs {
        match children.iter_mut().find(|child| child.job.name == job.name && !child.is_over) {
            Some(child) => child.take_over(job),
            None => children.push(Child::new(program.to_owned(), job)),
        }
    }
}

/// How all of them are, in few words.
fn status(children: &[Child]) -> String {
    let words: Vec<_> = children.iter().map(Child::status).collect();
    words.join(", ")
}

/// Ends all: each seals what it has. The second signal, and time, kill them: the next start makes whole what they leave.
fn end(children: &mut [Child], signals: &mut Signals) {
    let began = Instant::now();
    children.iter_mut().for_each(|child| child.tell(Signal::TERM));
    // Where it is no signal that ends them, the first one is in haste.
    let mut told = signals.ends().min(1);
    while children.iter_mut().any(Child::runs) {
        if signals.ends() > told {
            told = signals.ends();
            children.iter_mut().for_each(|child| child.tell(Signal::KILL));
        }
        if began.elapsed() >= DRAIN {
            for child in children.iter_mut().filter_map(|child| child.runs().then_some(child)) {
                complain(&format!("{} did not end within {} s, and is killed", child.job.name, DRAIN.as_secs()));
                child.tell(Signal::KILL);
            }
            break;
        }
        signals.wait(DRAIN.saturating_sub(began.elapsed()), std::iter::empty());
    }
    let killed = Instant::now();
    while children.iter_mut().any(Child::runs) {
        if killed.elapsed() >= KILLED {
            for child in children.iter_mut().filter_map(|child| child.runs().then_some(child)) {
                complain(&format!(
                    "{} was killed and does not end, as it waits for a disk or a file server that does not answer: until it does, \
                     nothing can be captured into this data folder",
                    child.job.name
                ));
            }
            return;
        }
        signals.wait(KILLED.saturating_sub(killed.elapsed()), std::iter::empty());
    }
}

/// A process, or one that is to be started.
#[derive(Debug)]
struct Child {
    program: PathBuf,
    job: Job,
    process: Option<process::Child>,
    /// What it was started with, of what holds from then on.
    fixed: Vec<String>,
    since: Instant,
    /// When it is started, while it does not run.
    start: Instant,
    pause: Duration,
    /// Whether it was told to end, to be started again.
    expected: bool,
    /// What it says comes here.
    line: Option<Line>,
    /// Whether it said that it does what it is there for, since it was started or told to read its configuration.
    ready: bool,
    /// Whether it has been ready since it was started, and so hears signals.
    hears: bool,
    /// When it last said that it goes on, if it does that.
    alive: Option<Instant>,
    /// Whether it was told that nothing is heard of it.
    silent: bool,
    /// Whether it was told to end, and there is no such job any more.
    is_over: bool,
    /// How often it died.
    deaths: u64,
    /// How it ended before it ever was ready, when nothing ran yet.
    failed: Option<process::ExitStatus>,
}

impl Child {
    fn new(program: PathBuf, job: Job) -> Self {
        let now = Instant::now();
        Self {
            program,
            job,
            process: None,
            fixed: Vec::new(),
            since: now,
            start: now,
            pause: PAUSE,
            expected: false,
            line: None,
            ready: false,
            hears: false,
            alive: None,
            silent: false,
            is_over: false,
            deaths: 0,
            failed: None,
        }
    }

    /// Starts it if it is time, hears what it says, kills it if it stands still, and sees whether it died: if not all have `begun` yet, and it
    /// has not, it is not started again.
    fn look(&mut self, begun: bool, account: &mut Account) {
        if self.is_over {
            return;
        }
        if self.hear() {
            account.began(self.job.name);
        }
        if self.process.is_none() {
            if Instant::now() >= self.start {
                self.begin(begun);
            }
            return;
        }
        let Some(status) = self.ended() else { return };
        self.process = None;
        self.line = None;
        let was_ready = std::mem::take(&mut self.ready);
        let now = Instant::now();
        // Who is killed while it ends has died all the same.
        let ends_as_told = status.signal().is_none_or(|signal| signal == Signal::TERM.as_raw());
        if std::mem::take(&mut self.expected) && ends_as_told {
            self.start = now;
            return;
        }
        if !begun && !was_ready {
            self.failed = Some(status);
            return;
        }
        account.died(self.job.name);
        if was_ready && status.code() == Some(i32::from(AGAIN)) {
            self.start = now.max(self.since + SPACE);
            return;
        }
        if self.since.elapsed() >= RAN_WELL {
            self.pause = PAUSE;
        }
        self.start = now + self.pause;
        self.deaths += 1;
        complain(&format!(
            "{} died ({status}); it is started again in {:.1} s",
            self.job.name,
            self.pause.as_secs_f64()
        ));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Starts it; `anew` while others go on.
    fn begin(&mut self, anew: bool) {
        self.since = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&self.job.arguments);
        looked_after(&mut command);
        if anew {
            command.env(ANEW, "1");
        }
        VARIABLES.iter().for_each(|variable| _ = command.env_remove(variable));
        // Ctrl-C in a terminal is for this process alone, which tells the others.
        command.process_group(0);
        let spawned = Line::new().and_then(|(line, input)| {
            self.line = Some(line);
            command.stdin(input).spawn()
        });
        match spawned {
            Ok(process) => {
                if self.job.name != "capture" {
                    // Where that cannot be said, the kernel chooses.
                    _ = std::fs::write(format!("/proc/{}/oom_score_adj", process.id()), LESS_NEEDED);
                }
                self.process = Some(process);
                self.fixed.clone_from(&self.job.fixed);
                (self.ready, self.hears, self.silent, self.alive) = (false, false, false, None);
            }
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

    /// Hears what it says, and kills it if that is nothing for too long. Whether it is ready for the first time since it was started.
    fn hear(&mut self) -> bool {
        let Some(line) = &mut self.line else { return false };
        let heard = line.hear();
        self.ready |= heard.ready;
        let began = heard.ready && !self.hears;
        self.hears |= heard.ready;
        if heard.over {
            self.line = None;
        }
        if heard.alive {
            self.alive = Some(Instant::now());
            if std::mem::take(&mut self.silent) {
                inform(&format!("{} goes on", self.job.name));
            }
            return began;
        }
        let (name, silent) = (self.job.name, self.alive.map(|last| last.elapsed()).unwrap_or_default());
        if silent >= SILENT && !std::mem::replace(&mut self.silent, true) {
            complain(&format!("{name} does not go on: it has said nothing for {} s", SILENT.as_secs()));
        }
        if silent >= TOO_LONG {
            complain(&format!("{name} is killed, as it has said nothing for {} s", silent.as_secs()));
            self.alive = None;
            self.tell(Signal::KILL);
        }
        began
    }

    /// What there is to say when it did not even begin.
    fn failed(&self) -> Option<String> {
        let status = self.failed?;
        Some(format!("{} could not begin ({status}), so nothing runs", self.job.name))
    }

    /// How it is.
    fn status(&self) -> String {
        let how = match &self.process {
            None => "is started again",
            Some(_) if self.silent => "does not go on",
            Some(_) if self.ready => "runs",
            Some(_) => "begins",
        };
        let died = match self.deaths {
            0 => String::new(),
            1 => " (died once)".to_owned(),
            deaths => format!(" (died {deaths} times)"),
        };
        format!("{} {how}{died}", self.job.name)
    }

    fn line(&self) -> Option<&UnixStream> {
        self.line.as_ref().map(|line| &line.0)
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

    /// Goes on as this job, with what its configuration says by now.
    fn take_over(&mut self, job: Job) {
        self.job = job;
        self.ready = false;
        match self.job.reload {
            Reload::Hangup if self.hears => {
                if self.job.fixed != self.fixed {
                    complain(
                        "what [capture] and [store] say beside the filter is not what the capture began with, and holds when it begins \
                         anew: streamdb needs a restart for that",
                    );
                }
                self.tell(Signal::HUP);
            }
            // One that begins would die of the signal, or read what there was before.
            Reload::Hangup | Reload::Again => {
                // One that died a moment ago has, whatever comes after it; one that was told to end before has not.
                self.expected |= self.process.is_some() && self.ended().is_none();
                self.tell(Signal::TERM);
            }
        }
    }
}

/// What is started by this command ends with this process.
pub(crate) fn looked_after(command: &mut Command) {
    command.env(SUPERVISOR, process::id().to_string()).env_remove(ANEW);
}

/// Whether this process is started anew while others go on: what it does not find as it should be is to keep none of the rest from
/// being done.
pub(crate) fn is_anew() -> bool {
    std::env::var_os(ANEW).is_some()
}

/// Which process looks after this one, if any does.
fn supervisor() -> Option<Pid> {
    std::env::var(SUPERVISOR).ok()?.parse().ok().and_then(Pid::from_raw)
}

/// Whether another process looks after this one.
pub(crate) fn is_supervised() -> bool {
    supervisor().is_some()
}

/// A process that another one looks after ends when that one dies, however it dies.
pub(crate) fn end_with_supervisor() {
    let Some(supervisor) = supervisor() else { return };
    line::begin();
    // Without it, it would be found out later: when the next one finds the data folder in use.
    _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid() != Some(supervisor) {
        complain("the process that looks after this one is gone");
        process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use streamdb_testkit::TestFolder;

    #[test]
    fn one_that_does_not_hear_signals_yet_is_started_again_with_what_is_new() {
        let folder = TestFolder::new("supervising");
        let job = Job { name: "derive", arguments: vec!["60".into()], reload: Reload::Hangup, fixed: Vec::new() };
        let mut child = Child::new("/bin/sleep".into(), job.clone());
        child.begin(false);
        child.take_over(job.clone());
        assert!(child.expected);
        assert_eq!(child.process.as_mut().unwrap().wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        child.look(false, &mut Account::open(folder.path()));
        assert_eq!((child.failed(), child.deaths), (None, 0));

        child.begin(false);
        child.hears = true;
        child.take_over(job);
        assert!(!child.expected);
        assert_eq!(child.process.as_mut().unwrap().wait().unwrap().signal(), Some(Signal::HUP.as_raw()));
    }

    #[test]
    fn one_that_wants_to_be_started_again_has_not_died() {
        let folder = TestFolder::new("supervising-again");
        let mut account = Account::open(folder.path());
        for (code, deaths) in [(AGAIN, 0), (1, 1)] {
            let arguments = vec!["-c".into(), format!("exit {code}").into()];
            let mut child = Child::new(
                "/bin/sh".into(),
                Job { name: "capture", arguments, reload: Reload::Hangup, fixed: Vec::new() },
            );
            child.begin(false);
            child.line = None;
            child.ready = true;
            while child.process.is_some() {
                child.look(true, &mut account);
            }
            assert_eq!((child.deaths, child.pause == PAUSE), (deaths, deaths == 0), "{code}");
            assert!(child.due().unwrap() <= SPACE);
        }
    }

    #[test]
    fn one_that_dies_as_the_configuration_changes_has_died() {
        let folder = TestFolder::new("supervising-both");
        let mut account = Account::open(folder.path());
        let job = Job { name: "derive", arguments: vec!["60".into()], reload: Reload::Again, fixed: Vec::new() };
        for dies_first in [true, false] {
            let mut child = Child::new("/bin/sleep".into(), job.clone());
            child.begin(false);
            child.ready = true;
            child.tell(Signal::KILL);
            if dies_first {
                child.process.as_mut().unwrap().wait().unwrap();
            }
            child.take_over(job.clone());
            child.process.as_mut().unwrap().wait().unwrap();
            child.look(true, &mut account);
            assert_eq!((child.deaths, child.process.is_none()), (1, true), "{dies_first}");
        }
    }

    #[test]
    fn one_that_ended_as_it_was_told_has_not_died_though_it_is_told_again() {
        let folder = TestFolder::new("supervising-twice");
        let job = Job { name: "derive", arguments: vec!["60".into()], reload: Reload::Again, fixed: Vec::new() };
        let mut child = Child::new("/bin/sleep".into(), job.clone());
        child.begin(false);
        child.ready = true;
        child.take_over(job.clone());
        child.process.as_mut().unwrap().wait().unwrap();
        child.take_over(job);
        child.look(true, &mut Account::open(folder.path()));
        assert_eq!((child.deaths, child.process.is_none()), (0, true));
    }

    #[test]
    fn one_that_says_nothing_any_more_is_killed_and_started_again() {
        let folder = TestFolder::new("supervising-silent");
        let mut account = Account::open(folder.path());
        let job = Job { name: "capture", arguments: vec!["60".into()], reload: Reload::Hangup, fixed: Vec::new() };
        let mut child = Child::new("/bin/sleep".into(), job);
        child.begin(false);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        child.line = Some(Line(ours));
        child.since = Instant::now().checked_sub(SILENT / 2).unwrap();
        theirs.write_all(b"r").unwrap();
        child.look(false, &mut account);
        assert!(child.ready && !child.silent, "it never said that it goes on, and is not expected to");
        theirs.write_all(b"a").unwrap();
        child.look(true, &mut account);
        child.alive = Instant::now().checked_sub(SILENT / 2);
        child.look(true, &mut account);
        assert!(!child.silent);
        child.alive = Instant::now().checked_sub(SILENT);
        child.look(true, &mut account);
        assert!(child.silent && child.runs());
        theirs.write_all(b"a").unwrap();
        child.look(true, &mut account);
        assert!(!child.silent);
        child.alive = Instant::now().checked_sub(TOO_LONG);
        child.look(true, &mut account);
        // Its end may have been seen by then.
        if let Some(process) = &mut child.process {
            assert_eq!(process.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
            child.look(true, &mut account);
        }
        assert_eq!((child.process.is_none(), child.deaths), (true, 1));
    }
}
