//! Who sends: tries what is due, writes down what came of it, and waits for the next.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use streamdb_types::Timestamp;

use crate::error::Error;
use crate::folder;
use crate::hash::ContentHash;
use crate::job::{Job, Target};
use crate::queue::{Queue, SenderLock, now};
use crate::record::Event;
use crate::sandbox::Client;
use crate::settings::{Retry, Settings};

/// How often a sender looks for what other processes put into the queue, and for the lock.
const LOOK: Duration = Duration::from_secs(1);
/// How long a sender rests after the system refused it something.
const REST: Duration = Duration::from_secs(30);

/// What came of trying once.
pub(crate) enum Attempt {
    /// The target has it.
    Sent { said: String },
    /// Not this time.
    Later {
        why: String,
        /// What the target asks for.
        pause: Option<Duration>,
        /// Whether it is the target that is not there, so that the others need not be tried now.
        unreachable: bool,
    },
    /// The target does not want it.
    Refused { why: String },
}

/// Wakes a sender, or ends it.
#[derive(Clone, Debug, Default)]
pub struct Signal(Arc<(Mutex<Asked>, Condvar)>);

#[derive(Debug, Default)]
struct Asked {
    wake: bool,
    stop: bool,
}

impl Signal {
    /// There is something to send.
    pub fn wake(&self) {
        self.set(|asked| asked.wake = true);
    }

    /// No further submission is begun.
    pub fn stop(&self) {
        self.set(|asked| asked.stop = true);
    }

    fn set(&self, change: impl FnOnce(&mut Asked)) {
        let (asked, changed) = &*self.0;
        change(&mut asked.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    fn stopped(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).stop
    }

    /// Waits until it is woken, or so long. Whether to go on.
    fn wait(&self, time: Duration) -> bool {
        let (asked, changed) = &*self.0;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(asked, time, |asked| !asked.wake && !asked.stop);
        let (mut asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        asked.wake = false;
        !asked.stop
    }
}

/// Sends what is in a queue.
pub struct Sender {
    queue: Arc<Queue>,
    sandbox: Option<Client>,
    settings: Settings,
    signal: Signal,
    /// Until when targets that were not there are left alone.
    paused: BTreeMap<Target, Timestamp>,
    /// Kept once it is had.
    lock: Option<SenderLock>,
}

impl Sender {
    pub(crate) fn new(queue: Arc<Queue>, settings: Settings, signal: Signal) -> Self {
        let sandbox = settings.sandbox.clone().map(Client::new);
        Self { queue, sandbox, settings, signal, paused: BTreeMap::new(), lock: None }
    }

    /// Sends until it is stopped. `complain` gets a sentence for what needs a person: what was given up, and what the system
    /// refused.
    pub fn run(&mut self, complain: &mut dyn FnMut(&str)) {
        while !self.signal.stopped() {
            let pause = match self.round(complain) {
                Ok(_) => LOOK,
                Err(error) => {
                    complain(&format!("submissions rest for {} s: {error}", REST.as_secs()));
                    REST
                }
            };
            if !self.signal.wait(pause) {
                return;
            }
        }
    }

    /// Tries all that is due, once. `false` when another process sends.
    ///
    /// # Errors
    /// When the system refuses something; what was sent before is written down.
    pub fn round(&mut self, complain: &mut dyn FnMut(&str)) -> Result<bool, Error> {
        if self.lock.is_none() {
            self.lock = self.queue.sender()?;
        }
        if self.lock.is_none() {
            return Ok(false);
        }
        while !self.signal.stopped() {
            let time = now();
            self.paused.retain(|_, until| *until > time);
            let mut targets = self.settings.targets();
            targets.retain(|target| !self.paused.contains_key(target));
            let Some(job) = self.queue.due(&targets, time)? else { break };
            let event = self.try_once(&job);
            if let Event::Failed { why } = &event {
                complain(&format!("{}: given up after {} tries at the {}: {why}", job.oid, job.tries + 1, job.target));
            }
            self.queue.note(&job, event)?;
        }
        Ok(true)
    }

    fn try_once(&mut self, job: &Job) -> Event {
        let attempt = match self.copy(job) {
            Err(error) => {
                let why = format!("the copy in the queue cannot be used: {error}");
                match error.kind() {
                    // Neither comes back by waiting; all else may: too many open files, a disk that does not answer.
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Attempt::Refused { why },
                    _ => Attempt::Later { why, pause: None, unreachable: false },
                }
            }
            Ok(copy) => match (job.target, &self.sandbox, &self.settings.folder) {
                (Target::Sandbox, Some(client), _) => client.send(job, copy),
                (Target::Folder, _, Some(folder)) => folder::put(folder, job, copy),
                // Only configured targets are asked for.
                _ => Attempt::Later { why: "no such target".to_owned(), pause: None, unreachable: true },
            },
        };
        match attempt {
            Attempt::Sent { said } => Event::Sent { said },
            Attempt::Refused { why } => Event::Failed { why },
            Attempt::Later { why, .. } if job.tries + 1 >= self.settings.retry.tries => Event::Failed { why },
            Attempt::Later { why, pause, unreachable } => {
                let pause = pause_after(&self.settings.retry, job.tries, pause, random());
                let due = now().plus(i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX));
                if unreachable {
                    self.paused.insert(job.target, due);
                }
                Event::Tried { due, why }
            }
        }
    }

    /// The copy of a content, if it is still what it was.
    fn copy(&self, job: &Job) -> io::Result<File> {
        let mut file = File::open(self.queue.content(job.hash))?;
        let mut sha256 = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => sha256.update(buffer.get(..n).unwrap_or_default()),
            }
        }
        if ContentHash(sha256.finalize().into()) != job.hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
        }
        file.rewind()?;
        Ok(file)
    }
}

/// How long to wait after a try, of which there were `tries` before; `random` is in 0..1.
fn pause_after(retry: &Retry, tries: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = 2u32.checked_pow(tries).and_then(|factor| retry.pause.checked_mul(factor));
    let pause = doubled.map_or(retry.longest_pause, |pause| pause.min(retry.longest_pause));
    let pause = pause.mul_f64(1.0 - random / 2.0);
    // What the target asks for counts, within the same bound.
    asked.map_or(pause, |asked| pause.max(asked.min(retry.longest_pause)))
}

fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_bounds() {
        let seconds = Duration::from_secs;
        let retry = Retry { tries: 10, pause: seconds(10), longest_pause: seconds(3600) };
        let pause = |tries, asked: Option<u64>, random| pause_after(&retry, tries, asked.map(seconds), random);
        assert_eq!(pause(0, None, 0.0), seconds(10));
        assert_eq!(pause(0, None, 1.0), seconds(5));
        assert_eq!(pause(3, None, 0.0), seconds(80));
        for tries in [9, 31, 32, 1000, u32::MAX] {
            assert_eq!(pause(tries, None, 0.0), seconds(3600), "{tries}");
        }
        assert_eq!(pause(0, Some(60), 0.5), seconds(60));
        assert_eq!(pause(0, Some(1), 0.0), seconds(10));
        assert_eq!(pause(0, Some(u64::MAX), 0.0), seconds(3600));
    }
}
