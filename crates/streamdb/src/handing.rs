//! What a process does with objects beside what it is there for: it looks into new contents, hands objects on to where rules want
//! them, and sends them there.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use streamdb_scan::{Scanners, Settings as Scan};
use streamdb_storage::Store;
use streamdb_submit::{Settings as Submit, Signal, Submissions};
use streamdb_types::{ObjectRow, Verdict};

use crate::commands::Error;
use crate::output::complain;
use crate::scanning::{Handed, Nobody, Scanning, Tally};

/// How long the last submission may take when the process ends.
const LAST: Duration = Duration::from_secs(10);

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
            complain(&format!("{contents} {word} scanned, something was found in {found}{part}"));
        }
        let Some(sending) = self.sending else { return };
        sending.end();
        let last = self.submissions.map(|submissions| submissions.sender().round(&mut complain));
        if let Some(Err(error)) = last {
            complain(&error.to_string());
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

/// Hands objects to where the rules want them.
struct Rules(Submissions);

impl Handed for Rules {
    fn handed(&mut self, store: &Store, row: &ObjectRow, first_seen: bool, verdicts: &[Verdict]) -> Result<(), String> {
        self.0.handed(store, row, first_seen, verdicts).map_err(|error| error.to_string())
    }
}

/// The thread that sends what is submitted.
struct Sending {
    signal: Signal,
    ended: Receiver<()>,
}

impl Sending {
    fn begin(submissions: &Submissions) -> Result<Self, Error> {
        let (end, ended) = channel();
        let mut sender = submissions.sender();
        let started = thread::Builder::new().name("submissions".to_owned()).spawn(move || {
            sender.run(&mut complain);
            // Nobody may wait for it any more.
            let _ = end.send(());
        });
        started.map_err(|e| Error::Other(format!("could not start the thread that sends submissions: {e}")))?;
        Ok(Self { signal: submissions.signal().clone(), ended })
    }

    /// Begins no other submission. The one that is on its way may come to its end, for some time; after that it is in
    /// doubt, and settled when somebody sends again.
    fn end(self) {
        self.signal.stop();
        let _ = self.ended.recv_timeout(LAST);
    }
}
