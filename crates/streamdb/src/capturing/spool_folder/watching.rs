//! The folders in which captures appear while they are taken: what is heard of them, and what there is when they are looked through.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{ReadFlags, Reader};
use streamdb_storage::now;

use super::asking::{Asked, Asker, Listing, Waits, list, shape};
use super::files::{Files, MOST, News, Next, Now, Shape};
use super::folders::{ANSWERS, Folder, Folders, not_answering};
use crate::commands::Error;
use crate::output::{complain, inform, printable};

/// How often the folders are looked through, whatever is heard.
const EACH: Duration = Duration::from_secs(10);
/// Room for news: some hundred of them.
const ROOM: usize = 16 << 10;
/// How often news are read at once; those that are left wait in the kernel.
const READS: usize = 1000;

/// A folder.
pub(super) struct Watched {
    pub(super) path: PathBuf,
    pub(super) asker: Asker,
    pub(super) files: Files,
    watch: Option<i32>,
    inode: u64,
    /// What is wrong with it, as it was said.
    trouble: Option<String>,
    /// It was said that it has more files than are looked at.
    crowded: bool,
    /// It was said that it does not answer.
    silent: bool,
}

/// All of them.
pub(super) struct Watching {
    pub(super) all: Vec<Watched>,
    /// How many could not be used from the start.
    away: usize,
    inotify: Option<OwnedFd>,
    begun: Instant,
    looked: Option<Instant>,
    /// The last file that was to be taken could not be.
    pub(super) failed_last: bool,
}

impl Watching {
    /// Begins to watch them, for who waits for answers so.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(super) fn new(folders: Folders, waits: &Waits) -> Result<Self, Error> {
        let away = folders.away().len();
        let Folders { all, inotify, .. } = folders;
        let watched = |Folder { path, watch, inode }| {
            Ok(Watched {
                path,
                asker: Asker::start(waits.clone())?,
                files: Files::default(),
                watch,
                inode,
                trouble: None,
                crowded: false,
                silent: false,
            })
        };
        let all = all.into_iter().map(watched).collect::<Result<_, Error>>()?;
        Ok(Self { all, away, inotify, begun: Instant::now(), looked: None, failed_last: false })
    }

    /// How late it is.
    pub(super) fn now(&self) -> Now {
        Now { since: self.begun.elapsed(), clock: now().0.into() }
    }

    /// Takes in what is heard, and looks through the folders when it is time.
    pub(super) fn hear(&mut self) {
        let heard = |folder: &&Watched| folder.watch.is_some();
        let again = self.all.iter_mut().filter_map(|folder| folder.tell_silence().then_some(())).count() > 0;
        let before = self.all.iter().filter(heard).count();
        let lost = self.read_news();
        if lost {
            self.all.iter_mut().for_each(|folder| folder.files.hear_nothing());
        }
        let gone = self.all.iter().filter(heard).count() < before;
        if lost || gone || again || self.looked.is_none_or(|looked| looked.elapsed() >= EACH) {
            let now = self.now();
            // All are asked before one is waited for.
            let asked: Vec<_> = self.all.iter().map(Watched::ask_what_there_is).collect();
            for (folder, asked) in self.all.iter_mut().zip(asked) {
                if let Some(looked) = asked.and_then(Asked::wait) {
                    folder.look(looked, now);
                }
                folder.tell_silence();
            }
            self.looked = Some(Instant::now());
        }
    }

    /// From how many folders nothing can be taken, and how many of them do not answer.
    pub(super) fn away(&self) -> (usize, usize) {
        let silent = self.all.iter().filter(|folder| folder.silent).count();
        (self.away + silent, silent)
    }

    /// How many files are to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.all.iter().map(|folder| folder.files.waiting()).sum()
    }

    /// The next file of all: its folder, its name, and what is to be done with it. One that could not be taken before is tried again
    /// when it is time, but not two of them in a row while there are others.
    pub(super) fn next(&self) -> Option<(usize, PathBuf, Next)> {
        let now = self.now();
        let first = || self.first(|files| files.next(now));
        let again = || self.first(|files| files.again(now));
        if self.failed_last { first().or_else(again) } else { again().or_else(first) }
    }

    /// Of those that the folders have for it the first.
    fn first<'f, K: Ord>(
        &'f self,
        next: impl Fn(&'f Files) -> Option<(K, &'f OsStr, Next)>,
    ) -> Option<(usize, PathBuf, Next)> {
        let all = self.all.iter().enumerate().filter(|(_, folder)| !folder.asker.is_silent());
        let all = all.filter_map(|(at, folder)| next(&folder.files).map(|(key, name, next)| ((key, name, at), next)));
        let ((_, name, at), next) = all.min_by(|(one, _), (other, _)| one.cmp(other))?;
        Some((at, name.into(), next))
    }

    /// Reads what there is; whether some was lost.
    fn read_news(&mut self) -> bool {
        let now = self.now();
        let Self { all, inotify: Some(inotify), .. } = self else { return false };
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut reader = Reader::new(&*inotify, &mut room);
        let mut lost = false;
        for _ in 0..READS {
            loop {
                // Nothing more, for now or for good: the folders are looked through all the same.
                let Ok(event) = reader.next() else { return lost };
                lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                if let Some(folder) = all.iter_mut().find(|folder| folder.watch == Some(event.wd())) {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    folder.news(event.events(), name, now);
                }
                if reader.is_buffer_empty() {
                    break;
                }
            }
        }
        lost
    }
}

impl Watched {
    /// Something happened.
    fn news(&mut self, events: ReadFlags, name: Option<&OsStr>, now: Now) {
        let over = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        if events.intersects(over) {
            self.hear_no_more();
        }
        let Some(name) = name else { return };
        if events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.files.heard(name, News::Gone, now);
        } else if events.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
            self.files.heard(name, News::Complete, now);
            self.see(name, now);
        } else if events.contains(ReadFlags::MODIFY) {
            self.files.heard(name, News::Modified, now);
        } else {
            // It is made, or linked to from elsewhere.
            self.see(name, now);
        }
    }

    /// From now on nothing is heard of it.
    fn hear_no_more(&mut self) {
        self.watch = None;
        self.files.hear_nothing();
    }

    /// Looks how a file is. Of a folder that does not answer, that is seen when it does.
    pub(super) fn see(&mut self, name: &OsStr, now: Now) -> Option<Shape> {
        if self.asker.is_silent() {
            return None;
        }
        let path = self.path.join(name);
        match self.asker.ask(move |_| shape(&path)).wait()? {
            Ok(Some(shape)) => {
                self.files.seen(name, shape, now);
                Some(shape)
            }
            Ok(None) => {
                self.files.heard(name, News::Gone, now);
                None
            }
            Err(_) => None,
        }
    }

    /// Says once that it does not answer, and that it does; whether it does again.
    fn tell_silence(&mut self) -> bool {
        let silent = self.asker.is_silent();
        if silent == std::mem::replace(&mut self.silent, silent) {
            return false;
        }
        if silent {
            complain(&not_answering(&self.path, ANSWERS));
        } else {
            inform(&format!("{}: this folder answers again", printable(&self.path.to_string_lossy())));
        }
        !silent
    }

    /// Asks what there is in it, unless it does not answer.
    fn ask_what_there_is(&self) -> Option<Asked<io::Result<Listing>>> {
        let path = self.path.clone();
        (!self.asker.is_silent()).then(|| self.asker.ask(move |pace| list(&path, pace)))
    }

    /// This is what there is in it.
    fn look(&mut self, looked: io::Result<Listing>, now: Now) {
        let looked = looked.map(|listing| self.take_in(listing, now));
        let shown = printable(&self.path.to_string_lossy());
        match looked {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    inform(&format!("{shown}: captures are taken from this folder again"));
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    complain(&format!(
                        "{shown}: no captures can be taken from this folder: {error}; it is looked for each {} s, and one \
                         that is made anew may need a new start of the capture",
                        EACH.as_secs()
                    ));
                    self.trouble = Some(text);
                }
            }
        }
        let crowded = self.files.crowded;
        if crowded && !self.crowded {
            complain(&format!(
                "{shown}: there are more than {MOST} files in this folder; those beyond are not looked at until some are \
                 moved away"
            ));
        }
        self.crowded = crowded;
    }

    fn take_in(&mut self, listing: Listing, now: Now) {
        let Listing { inode, files, crowded } = listing;
        if inode != self.inode {
            self.inode = inode;
            self.hear_no_more();
        }
        self.files.begin_look();
        files.iter().for_each(|(name, shape)| self.files.seen(name, *shape, now));
        self.files.end_look();
        self.files.crowded |= crowded;
    }
}
