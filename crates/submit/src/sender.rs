//! Who sends: tries what is due, writes down what came of it, and waits for the next.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use streamdb_types::Timestamp;

use crate::error::Error;
use crate::hash::ContentHash;
use crate::job::Job;
use crate::queue::{Next, Queue, SenderLock, now};
use crate::record::{self, Event};
use crate::settings::{Retry, Settings, Target, TargetName};
use crate::targets::{self, Attempt, Deliver, Has, Later, Parcel, Sent};

/// How often a sender looks for what other processes put into the queue, and for the lock.
const LOOK: Duration = Duration::from_secs(1);
/// Longer a target is not left alone, whatever it asks for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// Larger contents take longer to be looked at than a line takes to be durable.
const SMALL: u64 = 4 << 20;
/// How long a sender rests after the system refused it something.
const REST: Duration = Duration::from_secs(30);
/// After so many tries in a row that came to nothing, of whatever contents, it is the target that takes nothing.
const FAILED: u32 = 3;
/// How often that is told of a target at most: one that takes a few now and then is not told of each time.
const TOLD_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Wakes a sender, or ends it.
#[derive(Clone, Debug, Default)]
pub struct Signal(Arc<(Mutex<Asked>, Condvar)>);

#[derive(Debug, Default)]
struct Asked {
    /// How often.
    wakes: u64,
    stop: bool,
}

impl Signal {
    /// There is something to send.
    pub fn wake(&self) {
        self.set(|asked| asked.wakes = asked.wakes.wrapping_add(1));
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

    /// Waits until it is woken once more than was `seen`, or so long. Whether to go on.
    fn wait(&self, seen: &mut u64, time: Duration) -> bool {
        let (asked, changed) = &*self.0;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(asked, time, |asked| asked.wakes == *seen && !asked.stop);
        let (asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *seen = asked.wakes;
        !asked.stop
    }
}

/// Sends what is in a queue: each target has a thread, so that none waits for another.
pub struct Sender {
    queue: Arc<Queue>,
    lanes: Vec<Lane>,
    retry: Retry,
    signal: Signal,
    /// Kept once it is had.
    lock: Option<SenderLock>,
}

/// A target, as far as this process knows it.
struct Lane {
    name: TargetName,
    kind: Box<dyn Deliver>,
    /// Until when it is left alone, as it was not there.
    paused: Option<Timestamp>,
    /// How often it was not there, without having been there in between.
    absent: u32,
    /// How many tries in a row came to nothing there, without one that it took in between.
    failed: u32,
    /// Why the last of them did.
    why: String,
    /// It was told that it takes nothing.
    told: bool,
    /// When that was told last.
    told_at: Option<Instant>,
    /// What became of a job, when that could not be written down: done again, it might come to the target twice.
    unwritten: Option<(Job, Event)>,
}

impl Sender {
    pub(crate) fn new(queue: Arc<Queue>, settings: &Settings, signal: Signal) -> Self {
        let lane = |target: &Target| Lane {
            name: target.name.clone(),
            kind: targets::open(target, queue.given(&target.name)),
            paused: None,
            absent: 0,
            failed: 0,
            why: String::new(),
            told: false,
            told_at: None,
            unwritten: None,
        };
        let lanes = settings.targets.iter().map(lane).collect();
        Self { queue, lanes, retry: settings.retry, signal, lock: None }
    }

    /// Sends until it is stopped. `complain` gets a sentence for what needs a person: what was given up, a target that takes
    /// nothing, and what the system refused.
    pub fn run(&mut self, complain: &mut dyn FnMut(&str)) {
        let mut seen = 0;
        loop {
            let pause = match self.is_ours() {
                Ok(true) => break,
                Ok(false) => LOOK,
                Err(error) => {
                    complain(&resting(&error));
                    REST
                }
            };
            if !self.signal.wait(&mut seen, pause) {
                return;
            }
        }
        let ended = self.each_lane(complain, true, &|work, lane, told| {
            let mut seen = 0;
            loop {
                let pause = match work.all(lane, told) {
                    Ok(()) => LOOK,
                    Err(error) => {
                        told(resting(&error));
                        REST
                    }
                };
                if !work.signal.wait(&mut seen, pause) {
                    return Ok(());
                }
            }
        });
        if let Err(error) = ended {
            complain(&error.to_string());
        }
    }

    /// Tries all that is due, once. `false` when another process sends.
    ///
    /// # Errors
    /// When the system refuses something; what was sent before is written down.
    pub fn round(&mut self, complain: &mut dyn FnMut(&str)) -> Result<bool, Error> {
        if !self.is_ours()? {
            return Ok(false);
        }
        self.each_lane(complain, false, &|work, lane, told| work.all(lane, told))?;
        Ok(true)
    }

    /// Whether this process is the one that sends.
    fn is_ours(&mut self) -> Result<bool, Error> {
        if self.lock.is_none() {
            self.lock = self.queue.sender()?;
        }
        Ok(self.lock.is_some())
    }

    /// Does something for each target, on a thread of its own, and waits until all have done it. Gives the first error.
    fn each_lane(&mut self, complain: &mut dyn FnMut(&str), goes_on: bool, work: &LaneWork) -> Result<(), Error> {
        let shared = Work { queue: &self.queue, retry: &self.retry, signal: &self.signal, goes_on };
        let lanes = &mut self.lanes;
        thread::scope(|scope| {
            let (told, sentences) = mpsc::channel();
            let mut begun = Vec::new();
            for lane in lanes {
                let told = told.clone();
                let thread = thread::Builder::new().name(format!("to {}", lane.name));
                // If one cannot be started the others do their work all the same.
                begun.push(thread.spawn_scoped(scope, move || work(shared, lane, &|said| drop(told.send(said)))));
            }
            drop(told);
            sentences.iter().for_each(|sentence: String| complain(&sentence));
            begun.into_iter().try_for_each(|thread| {
                let ended = thread.map_err(Error::Thread)?.join();
                ended.unwrap_or_else(|_| Err(Error::Thread(io::Error::other("it ended in the middle"))))
            })
        })
    }
}

/// What is done for a target; sentences for a person go to the last.
type LaneWork = dyn Fn(Work<'_>, &mut Lane, &dyn Fn(String)) -> Result<(), Error> + Sync;

fn resting(error: &Error) -> String {
    format!("submissions rest for {} s: {error}", REST.as_secs())
}

/// What the threads share.
#[derive(Clone, Copy)]
struct Work<'w> {
    queue: &'w Queue,
    retry: &'w Retry,
    signal: &'w Signal,
    /// Whether it is tried again: then a target that is not there is told of, and else what is left is.
    goes_on: bool,
}

impl Lane {
    /// Whether it is to be told that it takes nothing: it says so itself, or it took nothing of several.
    fn is_to_be_told(&self) -> bool {
        let takes_nothing = self.absent > 0 || self.failed >= FAILED;
        takes_nothing && !self.told && self.told_at.is_none_or(|at| at.elapsed() >= TOLD_AGAIN)
    }

    /// What came of a try there.
    fn came(&mut self, attempt: &Attempt) {
        match attempt {
            Attempt::Sent(_) => self.failed = 0,
            // It looked at that one, which says nothing of the others.
            Attempt::Refused { .. } => {}
            Attempt::Later(later) => self.took_nothing(&later.why),
        }
        if !matches!(attempt, Attempt::Later(Later { target: true, .. })) {
            self.absent = 0;
        }
    }

    /// A try came to nothing there, or a question about one.
    fn took_nothing(&mut self, why: &str) {
        self.failed = self.failed.saturating_add(1);
        why.clone_into(&mut self.why);
    }
}

impl Work<'_> {
    /// Tries all that is due at a target now, each once.
    fn all(&self, lane: &mut Lane, complain: &dyn Fn(String)) -> Result<(), Error> {
        let (now, settle) = (now(), nanos(self.retry.pause));
        lane.paused = lane.paused.filter(|until| *until > now);
        let goes_on = |lane: &Lane| lane.paused.is_none() && !self.signal.stopped();
        // What is small is announced with the line on the one before it. The rest is looked at first, which takes its time.
        let may = |job: &Job| !job.in_doubt() && job.size <= SMALL;
        let mut announced = None;
        if let Some((job, event)) = lane.unwritten.take() {
            self.ends(lane, job, event, None)?;
        }
        loop {
            let (job, is_announced) = match announced.take() {
                Some(job) => (job, true),
                None if !goes_on(lane) => return Ok(()),
                None => match self.queue.due(&lane.name, now, settle)? {
                    Some(job) => (job, false),
                    None => return Ok(()),
                },
            };
            let event = self.try_once(lane, &job, is_announced)?;
            match &event {
                Event::Tried { .. } if self.goes_on && lane.is_to_be_told() => {
                    lane.told = true;
                    lane.told_at = Some(Instant::now());
                    complain(format!(
                        "{}: this target takes nothing now; what is submitted there waits, and is tried again: {}",
                        lane.name, lane.why
                    ));
                }
                Event::Sent { .. } if std::mem::take(&mut lane.told) => {
                    complain(format!("{}: this target takes what is submitted again", lane.name));
                }
                _ => {}
            }
            if let Event::Failed { why, .. } = &event {
                let tries = job.tries.saturating_add(1);
                complain(format!("{}: given up after {tries} tries at {}: {why}", job.name(), job.target));
            }
            let next = goes_on(lane).then_some(Next { now, settle, may: &may });
            announced = self.ends(lane, job, event, next)?;
        }
    }

    /// Writes down what became of a job, now or before anything else is tried at this target.
    fn ends(&self, lane: &mut Lane, job: Job, event: Event, next: Option<Next<'_>>) -> Result<Option<Job>, Error> {
        let written = self.queue.ends(&job, event.clone(), next);
        if written.is_err() {
            lane.unwritten = Some((job, event));
        }
        written
    }

    /// Tries a job once; `announced` when it is written down already that this try begins.
    fn try_once(&self, lane: &mut Lane, job: &Job, announced: bool) -> Result<Event, Error> {
        let mut again = false;
        if job.in_doubt() {
            match lane.kind.has(job) {
                Has::Yes(sent) => {
                    lane.failed = 0;
                    return Ok(sent.into());
                }
                Has::No => {}
                Has::Unknown => again = true,
                Has::Later(later) => {
                    lane.took_nothing(&later.why);
                    return Ok(self.later(lane, job.tries, later));
                }
            }
        }
        // One whose every try ends the process is not tried for ever.
        if job.trying.is_some() && job.tries >= self.retry.tries {
            let why = "the last try was broken off, as those before it came to nothing".to_owned();
            return Ok(Event::Failed { why, kept: true });
        }
        let (content, about) = match self.copy(job) {
            Ok(copy) => copy,
            Err(error) => {
                let why = format!("the copy in the queue cannot be used: {error}");
                return Ok(match error.kind() {
                    // Neither comes back by waiting; all else may: too many open files, a disk that does not answer.
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Event::Failed { why, kept: false },
                    _ => self.later(lane, job.tries, Later { why, doubt: job.in_doubt(), ..Later::default() }),
                });
            }
        };
        if !announced {
            self.queue.begins(job)?;
        }
        let before = job.tries;
        let job = Job { tries: before.saturating_add(1), ..job.clone() };
        let mut parcel = Parcel { job: &job, content, about: &about };
        let attempt = lane.kind.deliver(&mut parcel);
        lane.came(&attempt);
        Ok(match attempt {
            Attempt::Sent(mut sent) => {
                if again {
                    sent.said =
                        record::said(&format!("{} (an earlier try was broken off: it may be there twice)", sent.said));
                }
                sent.into()
            }
            // No other try would fare better: its copy goes, its line stays.
            Attempt::Refused { why } => Event::Failed { why, kept: false },
            Attempt::Later(later) => {
                // What was in doubt before a try stays so, unless the target was asked.
                let doubt = later.doubt || again;
                self.later(lane, before, Later { doubt, ..later })
            }
        })
    }

    /// What becomes of a job that is to be tried again, of which so many tries came before this one.
    fn later(&self, lane: &mut Lane, before: u32, later: Later) -> Event {
        let Later { why, pause, target, doubt } = later;
        if before.saturating_add(1) >= self.retry.tries {
            return Event::Failed { why, kept: true };
        }
        let (now, random) = (now(), random());
        let due = |tries| now.plus(nanos(pause_after(self.retry, tries, pause, random)));
        if target {
            // A job that was tried often, as only it is turned away, does not keep the others waiting for as long.
            lane.paused = Some(due(before.min(lane.absent)));
            lane.absent = lane.absent.saturating_add(1);
        }
        Event::Tried { due: due(before), why, doubt }
    }

    /// The copy of a content, if it is still what it was, and what is told beside it.
    fn copy(&self, job: &Job) -> io::Result<(File, String)> {
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
        Ok((file, self.queue.about(job)?))
    }
}

impl From<Sent> for Event {
    fn from(Sent { said, link, task }: Sent) -> Self {
        Self::Sent { said, link, task }
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// How long to wait after a try, of which there were `tries` before; `random` is in 0..1.
fn pause_after(retry: &Retry, tries: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = 2u32.checked_pow(tries).and_then(|factor| retry.pause.checked_mul(factor));
    let pause = doubled.map_or(retry.longest_pause, |pause| pause.min(retry.longest_pause));
    let pause = pause.mul_f64(1.0 - random / 2.0);
    // What the target asks for counts, within a day: it may be mistaken.
    asked.map_or(pause, |asked| pause.max(asked.min(LONGEST_ASKED)))
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
        assert_eq!(pause(0, Some(7200), 0.0), seconds(7200));
        assert_eq!(pause(0, Some(u64::MAX), 0.0), seconds(86_400));
    }
}
