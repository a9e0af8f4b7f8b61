//! Who asks a folder: a thread for each, as one that asks a file server which is away may wait for as long as that likes. What is asked
//! may take a while, as long as something comes of it; a folder of which nothing does is silent until something does. Files of it are
//! closed there, too.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::GRACE;
use super::files::Shape;
use super::folders::{ANSWERS, not_answering};
use crate::commands::Error;
use crate::limiting::come_as_others;
use crate::output::{complain, inform, printable};
use crate::reporting::Seen;

/// How often it is looked whether something comes of a question.
const STEP: Duration = Duration::from_millis(100);
/// How long a sign is waited for when all is to end.
const ENDS: Duration = Duration::from_secs(1);

type Question = Box<dyn FnOnce() + Send>;

/// What all who wait for answers of folders have in common.
#[derive(Clone, Default)]
pub(super) struct Waits {
    pub(super) seen: Arc<Seen>,
    pub(super) ending: Arc<AtomicBool>,
    /// When it was to end, and for so long after that.
    pub(super) ends_at: Arc<OnceLock<Instant>>,
    /// Folders that could not be used from the start.
    pub(super) away: usize,
    /// Those that are silent.
    pub(super) silent: Arc<AtomicUsize>,
}

impl Waits {
    /// Whether all is to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Whether it is, and there is no time left for the file at hand, either.
    pub(super) fn time_is_up(&self) -> bool {
        self.is_ending() && Instant::now() >= *self.ends_at.get_or_init(|| Instant::now() + GRACE)
    }

    /// From how many folders nothing can be taken, and how many of them are silent.
    pub(super) fn away(&self) -> (usize, usize) {
        let silent = self.silent.load(Ordering::Acquire);
        (self.away + silent, silent)
    }

    /// A folder fell silent, or is not any more.
    fn changed(&self, silent: bool) {
        if silent {
            self.silent.fetch_add(1, Ordering::AcqRel);
        } else {
            self.silent.fetch_sub(1, Ordering::AcqRel);
        }
        let (away, silent) = self.away();
        self.seen.say_away(away, silent);
    }
}

/// Who asks one folder.
#[derive(Clone)]
pub(super) struct Asker {
    questions: Sender<Question>,
    pub(super) pace: Arc<Pace>,
}

/// How it goes with the questions to a folder.
pub(super) struct Pace {
    folder: PathBuf,
    pub(super) waits: Waits,
    /// Questions that have no answer.
    open: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// When something came of a question last, or the first of those that are open was asked.
    last: Instant,
    silent: bool,
    /// It was silent, and nobody has looked since what came meanwhile.
    again: bool,
}

/// A question.
pub(super) struct Asked<T> {
    answer: Receiver<T>,
    pace: Arc<Pace>,
}

impl Asker {
    /// Begins the thread.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(super) fn start(folder: &Path, waits: Waits) -> Result<Self, Error> {
        let (questions, asked) = unbounded::<Question>();
        let ask = move || {
            // Files wait for it.
            come_as_others();
            asked.into_iter().for_each(|question| question());
        };
        let thread = thread::Builder::new().name("spool asks".into()).spawn(ask);
        thread.map_err(|e| {
            Error::Other(format!("could not set up who asks the folders in which captures appear: {e}"))
        })?;
        let state = Mutex::new(State { last: Instant::now(), silent: false, again: false });
        let pace = Pace { folder: folder.to_owned(), waits, open: AtomicUsize::new(0), state };
        Ok(Self { questions, pace: Arc::new(pace) })
    }

    /// Asks something, which may take a while as long as it says now and then that it goes on.
    pub(super) fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Pace) -> T + Send + 'static) -> Asked<T> {
        let (tell, answer) = bounded(1);
        self.pace.asked();
        let pace = Arc::clone(&self.pace);
        let question = move || {
            let told = question(&pace);
            pace.answered();
            // Who gave it up wants it no more.
            _ = tell.send(told);
        };
        // Where the thread is gone, nothing answers.
        _ = self.questions.send(Box::new(question));
        Asked { answer, pace: Arc::clone(&self.pace) }
    }

    /// Whether nothing comes of what the folder is asked.
    pub(super) fn is_silent(&self) -> bool {
        self.pace.is_silent()
    }

    /// Whether it answers again since this was asked.
    pub(super) fn answers_again(&self) -> bool {
        std::mem::take(&mut self.pace.state().again)
    }
}

impl Pace {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) {
        let mut state = self.state();
        if self.open.fetch_add(1, Ordering::AcqRel) == 0 {
            state.last = Instant::now();
        }
    }

    fn answered(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.goes_on();
    }

    /// Something comes of a question.
    pub(super) fn goes_on(&self) {
        let mut state = self.state();
        state.last = Instant::now();
        if std::mem::take(&mut state.silent) {
            state.again = true;
            self.waits.changed(false);
            drop(state);
            inform(&format!("{}: this folder answers again", printable(&self.folder.to_string_lossy())));
        }
    }

    /// For how long nothing has come of a question.
    fn nothing_for(&self) -> Duration {
        self.state().last.elapsed()
    }

    /// Whether nothing comes of any question; that is said once.
    fn is_silent(&self) -> bool {
        let mut state = self.state();
        let is_silent = self.open.load(Ordering::Acquire) > 0 && state.last.elapsed() >= ANSWERS;
        // At the end nobody is interested any more.
        if is_silent && !state.silent && !self.waits.is_ending() {
            state.silent = true;
            self.waits.changed(true);
            drop(state);
            complain(&not_answering(&self.folder, ANSWERS));
            return true;
        }
        state.silent
    }
}

impl<T> Asked<T> {
    /// Waits for the answer, until nothing has come of the question for so long, or all is to end.
    pub(super) fn wait(self, patience: Duration) -> Option<T> {
        let Self { answer, pace } = self;
        loop {
            match answer.recv_timeout(STEP) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            let nothing_for = pace.nothing_for();
            pace.is_silent();
            let waits = &pace.waits;
            if nothing_for >= patience || waits.is_ending() && (nothing_for >= ENDS || waits.time_is_up()) {
                return None;
            }
            waits.seen.goes_on();
        }
    }

    /// The answer, if there is one by then; else the question again, unless it is answered by nobody.
    pub(super) fn by(self, then: Instant) -> Result<T, Option<Self>> {
        match self.answer.recv_deadline(then) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                self.pace.is_silent();
                Err(Some(self))
            }
            Err(RecvTimeoutError::Disconnected) => Err(None),
        }
    }
}

/// A file of the folder, which is closed by who asks that, as this may take as long as any question.
pub(super) struct Held {
    file: Option<File>,
    questions: Sender<Question>,
}

impl Held {
    pub(super) fn new(file: File, asker: &Asker) -> Self {
        Self { file: Some(file), questions: asker.questions.clone() }
    }

    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.read(bytes))
    }

    /// How it is now.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(super) fn shape(&self) -> io::Result<Option<Shape>> {
        self.file.as_ref().map(|file| Ok(Shape::of(&file.metadata()?))).transpose()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let file = self.file.take();
        _ = self.questions.send(Box::new(move || drop(file)));
    }
}
