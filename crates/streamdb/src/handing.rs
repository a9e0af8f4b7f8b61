//! What a process does with objects beside what it is there for: it looks into new contents, hands objects on to where rules want
//! them, and sends them there.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use streamdb_scan::{Scanners, Settings as Scan};
use streamdb_storage::Store;
use streamdb_submit::{
    Error as SubmitError, Fresh, Job, Kind, Queue, Sender, Settings as Submit, Signal, State, Submissions,
};

use crate::commands::Error;
use crate::output::{complain, inform};
use crate::rights::{Needs, Network};
use crate::scanning::{Handed, Nobody, Scanning, Tally};

/// How long the last submission may take when the process ends.
const LAST: Duration = Duration::from_secs(10);

/// How long what is due may take to be tried once more when the process ends.
const ONCE_MORE: Duration = Duration::from_secs(60);

/// The threads, until they are told to end.
pub(crate) struct Handing {
    scanning: Option<Scanning>,
    /// Whether there is something to scan by.
    scans: bool,
    submissions: Option<Submissions>,
    sending: Option<Sending>,
}

/// Opens the queue of submissions, if there are any. What becomes of an object that cannot be taken is said.
///
/// # Errors
/// When the system refuses something.
pub(crate) fn submissions(folder: &Path, settings: Option<Submit>) -> Result<Option<Submissions>, Error> {
    let opened = settings.map(|settings| Submissions::open(folder, settings)).transpose()?;
    Ok(opened.map(|submissions| submissions.telling(complain)))
}

/// What a process needs that looks into contents and hands them on.
pub(crate) fn needs(folder: &Path, submit: Option<&Submit>) -> Needs {
    let mut needs = Needs {
        reads: vec![folder.to_owned()],
        writes: vec![folder.join("derived"), folder.join("queue")],
        network: Network::All,
        programs: false,
    };
    for target in submit.iter().flat_map(|submit| &submit.targets) {
        match &target.kind {
            Kind::Folder { path, .. } => needs.writes.push(path.clone()),
            Kind::Command { .. } => needs.programs = true,
            Kind::Cape(_) | Kind::Cuckoo(_) | Kind::Post(_) => {}
        }
    }
    needs
}

impl Handing {
    /// Begins. Without rules nothing is handed on, and without anything to scan by, only what rules want is looked at; who
    /// `sends` in any case sends what others submit, too.
    ///
    /// # Errors
    /// When the store cannot be read, or what is found cannot be kept there.
    pub(crate) fn start(
        folder: &Path,
        scanners: Option<Scanners>,
        submissions: Option<Submissions>,
        sends: bool,
    ) -> Result<Self, Error> {
        let rules = submissions.clone().filter(Submissions::has_rules);
        let scans = scanners.is_some();
        if scans && rules.is_none() && others_have_rules(folder) {
            complain(
                "rules have submitted objects of this data folder, and this process has no rules: what it scans waits for one that has; give all \
                 processes on one data folder the same configuration",
            );
        }
        let scanners = match (&rules, scanners) {
            (Some(_), None) => Some(Scanners::open(Scan::default())?),
            (_, scanners) => scanners,
        };
        let sends = sends || rules.is_some();
        let handed: Box<dyn Handed> = match rules {
            Some(submissions) => Box::new(Rules(submissions)),
            None => Box::new(Nobody),
        };
        let scanning = Scanning::start(folder, scanners, handed)?;
        let sending = submissions.as_ref().filter(|_| sends).map(Sending::begin).transpose()?;
        Ok(Self { scanning, scans, submissions, sending })
    }

    /// All rows are kept: what there is to look at is looked at, and what is to go is tried once more. What was found is said.
    pub(crate) fn finish(self) {
        let done = self.scanning.map(Scanning::finish);
        if let Some(Tally { contents, found, in_part, .. }) = done.filter(|_| self.scans) {
            let word = if contents == 1 { "content" } else { "contents" };
            let part = match in_part {
                0 => String::new(),
                _ => format!("; {in_part} could be looked at in part only (too large, or a scanner gave up)"),
            };
            inform(&format!("{contents} {word} scanned, something was found in {found}{part}"));
        }
        let Some(sending) = self.sending else { return };
        sending.end();
        let Some(submissions) = self.submissions else { return };
        match Sending::once(&submissions) {
            Ok(last) => last.finish(),
            Err(error) => complain(&error.to_string()),
        }
        let waits = |job: &&Job| matches!(job.state, State::Waits { .. });
        match submissions.jobs().map(|(jobs, _)| jobs.iter().filter(waits).count()) {
            Ok(0) => {}
            Ok(1) => complain("1 submission still waits; whoever sends here next tries it again"),
            Ok(count) => complain(&format!("{count} submissions still wait; whoever sends here next tries them again")),
            Err(error) => complain(&error.to_string()),
        }
    }

    /// The next start goes on where this ends.
    pub(crate) fn stop(self) {
        if let Some(scanning) = self.scanning {
            scanning.stop();
        }
        if let Some(sending) = self.sending {
            sending.end();
        }
    }
}

/// Whether rules of another process, or of an earlier one, put something into the queue.
fn others_have_rules(folder: &Path) -> bool {
    let jobs = || Queue::open(folder).and_then(|queue| queue.jobs());
    Queue::is_there(folder) && jobs().is_ok_and(|(jobs, _)| jobs.iter().any(|job| !job.rule.is_empty()))
}

/// Hands objects to where the rules want them.
struct Rules(Submissions);

impl Handed for Rules {
    fn handed(&mut self, store: &Store, objects: &[Fresh<'_>]) -> Result<(), String> {
        self.0.handed(store, objects).map_err(|error| error.to_string())
    }
}

/// The thread that sends what is submitted.
struct Sending {
    signal: Signal,
    ended: Receiver<()>,
}

impl Sending {
    fn begin(submissions: &Submissions) -> Result<Self, Error> {
        Self::on(submissions.sender(), submissions.signal().clone(), |sender| {
            sender.run(&mut complain);
            Ok(())
        })
    }

    /// Tries all that is due once more. The signal of the others has ended those.
    fn once(submissions: &Submissions) -> Result<Self, Error> {
        let signal = Signal::default();
        Self::on(submissions.sender_until(signal.clone()), signal, |sender| sender.round(&mut complain).map(drop))
    }

    fn on(
        mut sender: Sender,
        signal: Signal,
        work: impl FnOnce(&mut Sender) -> Result<(), SubmitError> + Send + 'static,
    ) -> Result<Self, Error> {
        let (end, ended) = channel();
        let started = thread::Builder::new().name("submissions".to_owned()).spawn(move || {
            if let Err(error) = work(&mut sender) {
                complain(&error.to_string());
            }
            // Whoever waits may send by itself then.
            drop(sender);
            // Nobody may wait for it any more.
            let _ = end.send(());
        });
        started.map_err(|e| Error::Other(format!("could not start the thread that sends submissions: {e}")))?;
        Ok(Self { signal, ended })
    }

    /// Waits until it is done by itself, for some time.
    fn finish(self) {
        if self.ended.recv_timeout(ONCE_MORE).is_err() {
            self.end();
        }
    }

    /// Begins no other submission. The one that is on its way may come to its end, for some time; after that it is in
    /// doubt, and settled when somebody sends again.
    fn end(self) {
        self.signal.stop();
        let _ = self.ended.recv_timeout(LAST);
    }
}
