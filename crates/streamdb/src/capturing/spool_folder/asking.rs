//! Who asks a folder: a thread for each, as one that asks a file server which is away may wait for as long as that likes. The worker
//! waits for an answer as long as something comes of it, and else goes on with the other folders.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use rustix::fs::{Mode, OFlags};
use streamdb_capture::fingerprint_of;

use super::GRACE;
use super::files::{MOST, Shape, is_wanted};
use super::folders::ANSWERS;
use crate::commands::Error;
use crate::limiting::come_as_others;
use crate::reporting::Seen;

/// How often it is looked whether something comes of a question.
const STEP: Duration = Duration::from_millis(100);
/// How long an answer is waited for when all is to end.
const ENDS: Duration = Duration::from_secs(1);
/// So much of a file is asked for at once.
const PART: usize = 128 << 10;

type Question = Box<dyn FnOnce() + Send>;

/// Who asks one folder.
#[derive(Clone)]
pub(super) struct Asker {
    questions: Sender<Question>,
    pace: Arc<Pace>,
    waits: Waits,
}

/// What who waits for answers says, and hears.
#[derive(Clone, Default)]
pub(super) struct Waits {
    pub(super) seen: Arc<Seen>,
    pub(super) ending: Arc<AtomicBool>,
}

/// How it goes with the questions to a folder.
#[derive(Debug)]
pub(super) struct Pace {
    /// Those that have no answer.
    open: AtomicUsize,
    /// One of them was given up.
    given_up: AtomicBool,
    /// When something came of one last.
    last: Mutex<Instant>,
}

/// A question.
pub(super) struct Asked<T> {
    answer: Receiver<T>,
    pace: Arc<Pace>,
    waits: Waits,
}

impl Asker {
    /// Begins the thread.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(super) fn start(waits: Waits) -> Result<Self, Error> {
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
        let pace =
            Pace { open: AtomicUsize::new(0), given_up: AtomicBool::new(false), last: Mutex::new(Instant::now()) };
        Ok(Self { questions, pace: Arc::new(pace), waits })
    }

    /// Asks something, which may take a while as long as it says now and then that it goes on.
    pub(super) fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Pace) -> T + Send + 'static) -> Asked<T> {
        let (tell, answer) = bounded(1);
        let pace = Arc::clone(&self.pace);
        pace.goes_on();
        pace.open.fetch_add(1, Ordering::AcqRel);
        let question = move || {
            let told = question(&pace);
            pace.goes_on();
            pace.open.fetch_sub(1, Ordering::AcqRel);
            // Who gave it up wants it no more.
            _ = tell.send(told);
        };
        // Where the thread is gone, nothing answers.
        _ = self.questions.send(Box::new(question));
        Asked { answer, pace: Arc::clone(&self.pace), waits: self.waits.clone() }
    }

    /// Whether the folder did not answer, and still does not.
    pub(super) fn is_silent(&self) -> bool {
        if self.pace.open.load(Ordering::Acquire) == 0 {
            self.pace.given_up.store(false, Ordering::Release);
        }
        self.pace.given_up.load(Ordering::Acquire)
    }
}

impl Pace {
    /// Something comes of a question.
    fn goes_on(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn silent(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl<T> Asked<T> {
    /// Waits for the answer, as long as something comes of the question. `None` where nothing does, and the folder is silent.
    pub(super) fn wait(self) -> Option<T> {
        let Self { answer, pace, waits } = self;
        loop {
            match answer.recv_timeout(STEP) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    pace.given_up.store(true, Ordering::Release);
                    return None;
                }
            }
            if waits.ending.load(Ordering::Relaxed) && pace.silent() >= ENDS || pace.silent() >= ANSWERS {
                pace.given_up.store(true, Ordering::Release);
                return None;
            }
            waits.seen.goes_on();
        }
    }
}

/// What there is in a folder.
pub(super) struct Listing {
    /// Which folder it is.
    pub(super) inode: u64,
    pub(super) files: Vec<(OsString, Shape)>,
    /// There are more than are looked at.
    pub(super) crowded: bool,
}

/// Looks what there is in a folder.
pub(super) fn list(folder: &Path, pace: &Pace) -> io::Result<Listing> {
    let inode = fs::metadata(folder)?.ino();
    let mut listing = Listing { inode, files: Vec::new(), crowded: false };
    for entry in fs::read_dir(folder)? {
        pace.goes_on();
        let name = entry?.file_name();
        if !is_wanted(&name) {
            continue;
        }
        let Ok(Some(shape)) = shape(&folder.join(&name)) else { continue };
        if listing.files.len() >= MOST {
            listing.crowded = true;
            break;
        }
        listing.files.push((name, shape));
    }
    Ok(listing)
}

/// How a file is; `None` of what is none. No link is followed, and no pipe or device waited for.
///
/// # Errors
/// When that cannot be told.
pub(super) fn shape(path: &Path) -> io::Result<Option<Shape>> {
    match fs::symlink_metadata(path) {
        Ok(about) => Ok(about.is_file().then(|| Shape::of(&about))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file with its fingerprint, at its begin; nothing when it is another one by now, or none.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(path: &Path, wanted: Shape) -> io::Result<Option<(File, String)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mut file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    let is_same = file.metadata().is_ok_and(|about| about.is_file() && Shape::of(&about) == wanted);
    if !is_same {
        return Ok(None);
    }
    let fingerprint = fingerprint_of(&mut file)?;
    file.rewind()?;
    Ok(Some((file, fingerprint)))
}

/// Removes a file, if it is the one that is meant: another one may have its name by now, or nobody.
///
/// # Errors
/// When it is there still.
pub(super) fn remove(path: &Path, meant: Shape) -> io::Result<()> {
    match shape(path)? {
        Some(shape) if shape == meant => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl Shape {
    /// That of a file of which this is known.
    pub(super) fn of(about: &Metadata) -> Self {
        let modified = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Self { inode: about.ino(), length: about.len(), modified }
    }
}

/// Why no more of a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All is to end, and there was no time for more.
    Ends,
    /// Its folder does not answer.
    Silent,
    /// The system says why.
    Failed(String),
}

/// A file that is read. What comes next is asked for ahead. A capture may have much in it that is nothing to take, in few bytes:
/// whoever reads it says that it goes on, and stops when there is no time left.
pub(super) struct Reading {
    asker: Asker,
    ahead: Option<Asked<Part>>,
    bytes: Vec<u8>,
    /// What of them was taken.
    taken: usize,
    cut: Arc<Mutex<Option<Cut>>>,
    /// When all has to be over, once it is to end.
    pub(super) ends_at: Option<Instant>,
}

/// Some bytes of a file, how many they are, and the file for more.
struct Part(File, Vec<u8>, io::Result<usize>);

impl Reading {
    /// Reads from where the file is now.
    pub(super) fn new(asker: &Asker, file: File) -> Self {
        let asker = asker.clone();
        let ahead = Some(ask_part(&asker, file, Vec::new()));
        Self { asker, ahead, bytes: Vec::new(), taken: 0, cut: Arc::default(), ends_at: None }
    }

    /// Where it is said why no more was read, if anything kept it from that.
    pub(super) fn cut(&self) -> Arc<Mutex<Option<Cut>>> {
        Arc::clone(&self.cut)
    }

    /// No more is read.
    fn is_cut(&mut self, why: Cut) -> io::Error {
        self.ahead = None;
        let text = match &why {
            Cut::Ends => "the capture is to end",
            Cut::Silent => "its folder does not answer",
            Cut::Failed(text) => text,
        };
        let error = io::Error::other(text.to_owned());
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        error
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Waits { seen, ending } = &self.asker.waits;
        seen.goes_on();
        if ending.load(Ordering::Relaxed)
            && Instant::now() >= *self.ends_at.get_or_insert_with(|| Instant::now() + GRACE)
        {
            return Err(self.is_cut(Cut::Ends));
        }
        if self.taken >= self.bytes.len() {
            let Some(ahead) = self.ahead.take() else { return Ok(0) };
            let Some(Part(file, mut bytes, read)) = ahead.wait() else {
                let ends = self.asker.waits.ending.load(Ordering::Relaxed);
                return Err(self.is_cut(if ends { Cut::Ends } else { Cut::Silent }));
            };
            match read {
                Ok(0) => return Ok(0),
                Ok(read) => bytes.truncate(read),
                Err(error) => return Err(self.is_cut(Cut::Failed(error.to_string()))),
            }
            let before = std::mem::replace(&mut self.bytes, bytes);
            self.taken = 0;
            self.ahead = Some(ask_part(&self.asker, file, before));
        }
        let mut rest = self.bytes.get(self.taken..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

/// Asks for the next bytes of a file, in this memory.
fn ask_part(asker: &Asker, mut file: File, mut bytes: Vec<u8>) -> Asked<Part> {
    asker.ask(move |_| {
        bytes.resize(PART, 0);
        let read = loop {
            match file.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        Part(file, bytes, read)
    })
}
