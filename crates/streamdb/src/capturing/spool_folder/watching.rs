//! The folders in which captures appear while they are taken: what is heard of them, and what there is when they are looked through.
//! Nobody waits for a folder to say that, and no file of it is read meanwhile; what is heard then counts more than what is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{ReadFlags, Reader};
use streamdb_storage::now;

use super::asking::{Asked, Asker, Waits};
use super::files::{Files, MOST, News, Next, Now, Shape, is_wanted};
use super::folders::{ANSWERS, Folder, Folders};
use super::questions::{Listing, list, shape};
use crate::commands::Error;
use crate::output::{complain, inform, printable};

/// How often the folders are looked through, whatever is heard.
const EACH: Duration = Duration::from_secs(10);
/// Room for news: some hundred of them.
const ROOM: usize = 16 << 10;
/// How often news are read at once; those that are left wait in the kernel.
const READS: usize = 1000;
/// How long answers are waited for that mostly come at once.
const AT_ONCE: Duration = Duration::from_millis(20);
/// How long a sign of a folder is waited for at most.
const LONGEST: Duration = Duration::from_secs(60);
/// So many times as long as others waited for a folder, they come first.
const REST: u32 = 4;

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
    listing: Option<Asked<io::Result<Listing>>>,
    /// What it lists is not what there is any more, as news were lost since it was asked.
    is_void: bool,
    /// When it was listed last; `None` when it is time to do it.
    listed: Option<Instant>,
    /// Of which files something was heard since the listing was asked for.
    heard: BTreeSet<OsString>,
    seeing: Option<Asked<Shapes>>,
    /// The files that it was asked for there.
    seen: ToSee,
    /// Those that are to be asked for next.
    to_see: ToSee,
    /// How often it was given up since a file of it was taken.
    given_up: u32,
    /// Until when the others come first, as they had to wait for it.
    pub(super) rests_until: Option<Instant>,
}

/// Files of which it is to be seen how they are; and whether it was heard that they are complete.
type ToSee = BTreeMap<OsString, bool>;
/// How files are; nothing of what is none.
type Shapes = Vec<(OsString, io::Result<Option<Shape>>)>;

/// All of them.
pub(super) struct Watching {
    pub(super) all: Vec<Watched>,
    inotify: Option<OwnedFd>,
    begun: Instant,
    /// The folder of the file that is read: it is asked for nothing else.
    pub(super) reading: Option<usize>,
    /// The last file that was to be taken could not be.
    pub(super) failed_last: bool,
}

impl Watching {
    /// Begins to watch them, for who waits for answers so.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(super) fn new(folders: Folders, waits: &Waits) -> Result<Self, Error> {
        let Folders { all, inotify, .. } = folders;
        let watched = |Folder { path, watch, inode }| {
            Ok(Watched {
                asker: Asker::start(&path, waits.clone())?,
                path,
                files: Files::default(),
                watch,
                inode,
                trouble: None,
                crowded: false,
                listing: None,
                is_void: false,
                listed: None,
                heard: BTreeSet::new(),
                seeing: None,
                seen: ToSee::new(),
                to_see: ToSee::new(),
                given_up: 0,
                rests_until: None,
            })
        };
        let all = all.into_iter().map(watched).collect::<Result<_, Error>>()?;
        Ok(Self { all, inotify, begun: Instant::now(), reading: None, failed_last: false })
    }

    /// How late it is.
    pub(super) fn now(&self) -> Now {
        Now { since: self.begun.elapsed(), clock: now().0.into() }
    }

    /// Takes in what is heard, and what folders answer, and looks through them when it is time.
    pub(super) fn hear(&mut self) {
        if self.read_news() {
            self.all.iter_mut().for_each(Watched::hear_nothing);
        }
        let now = self.now();
        let reading = self.reading;
        let asked: Vec<bool> =
            self.all.iter_mut().enumerate().map(|(at, folder)| Some(at) != reading && folder.ask()).collect();
        let soon = Instant::now();
        for (folder, asked) in self.all.iter_mut().zip(asked) {
            folder.take_answers(if asked { soon + AT_ONCE } else { soon }, now);
        }
    }

    /// How long a sign of a folder is waited for: twice as long each time that this was too short, so that its files are taken in the
    /// end; and for long where nobody else waits.
    pub(super) fn patience(&self, at: usize) -> Duration {
        let given_up = self.all.get(at).map_or(0, |folder| folder.given_up);
        let longer = ANSWERS.saturating_mul(1 << given_up.min(8)).min(LONGEST);
        if self.all.len() > 1 { longer } else { LONGEST }
    }

    /// There was no sign of a folder for so long: the others come first for a while.
    pub(super) fn gave_up(&mut self, at: usize) {
        let rest = self.patience(at).saturating_mul(REST);
        let is_alone = self.all.len() == 1;
        if let Some(folder) = self.all.get_mut(at) {
            folder.given_up += 1;
            folder.rests_until = (!is_alone).then(|| Instant::now() + rest);
        }
    }

    /// A file of a folder was taken.
    pub(super) fn was_taken_from(&mut self, at: usize) {
        if let Some(folder) = self.all.get_mut(at) {
            folder.given_up = 0;
        }
    }

    /// Whether no folder is asked how its files are.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.all.iter().all(|folder| !folder.is_asked() && folder.to_see.is_empty())
    }

    /// How many files are to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.all.iter().map(|folder| folder.files.waiting()).sum()
    }

    /// The next file of all: its folder, its name, and what is to be done with it; of a folder that is at something, none. One that could not be taken before is tried again
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
        let all = self.all.iter().enumerate().filter(|(_, folder)| folder.may_be_taken_from());
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
            self.watch = None;
            self.hear_nothing();
        }
        let Some(name) = name.filter(|name| is_wanted(name)) else { return };
        if self.to_see.len() >= MOST || self.heard.len() >= MOST {
            return self.hear_nothing();
        }
        if self.listing.is_some() {
            self.heard.insert(name.to_owned());
        }
        if events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.files.heard(name, News::Gone, now);
            self.seen.remove(name);
            self.to_see.remove(name);
        } else if events.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
            self.to_see.insert(name.to_owned(), true);
        } else if events.contains(ReadFlags::MODIFY) {
            self.files.heard(name, News::Modified, now);
            for to_see in [&mut self.seen, &mut self.to_see] {
                to_see.entry(name.to_owned()).and_modify(|is_complete| *is_complete = false);
            }
        } else {
            // It is made, or linked to from elsewhere.
            self.see(name);
        }
    }

    /// News were lost, or there are none any more: what there is, is what is listed.
    fn hear_nothing(&mut self) {
        self.files.hear_nothing();
        self.to_see.clear();
        self.seen.clear();
        self.heard.clear();
        self.is_void = self.listing.is_some();
        self.listed = None;
    }

    /// Whether it is at nothing, and answers, and the others did not wait for it.
    fn may_be_taken_from(&self) -> bool {
        !self.is_asked() && !self.asker.is_silent() && self.rests_until.is_none_or(|then| then <= Instant::now())
    }

    /// It is to be seen how a file is.
    pub(super) fn see(&mut self, name: &OsStr) {
        self.to_see.entry(name.to_owned()).or_default();
    }

    /// Whether it is asked how its files are.
    const fn is_asked(&self) -> bool {
        self.listing.is_some() || self.seeing.is_some()
    }

    /// Asks how files are, when there is something to ask, and it answers; whether there was.
    fn ask(&mut self) -> bool {
        if self.asker.answers_again() {
            self.listed = None;
        }
        if self.asker.is_silent() {
            return false;
        }
        let mut asks = false;
        if self.seeing.is_none() && !self.to_see.is_empty() {
            self.seen = std::mem::take(&mut self.to_see);
            let (folder, names) = (self.path.clone(), self.seen.keys().cloned().collect::<Vec<_>>());
            asks = true;
            self.seeing = Some(self.asker.ask(move |pace| {
                let see = |name: OsString| {
                    pace.goes_on();
                    let shape = shape(&folder.join(&name));
                    (name, shape)
                };
                names.into_iter().map(see).collect()
            }));
        }
        if self.listing.is_none() && self.listed.is_none_or(|listed| listed.elapsed() >= EACH) {
            let folder = self.path.clone();
            self.heard.clear();
            asks = true;
            self.listing = Some(self.asker.ask(move |pace| list(&folder, pace)));
        }
        asks
    }

    /// It says that this is what there is in it, when it is said.
    #[cfg(test)]
    pub(super) fn list_as(&mut self, listing: impl FnOnce() -> Listing + Send + 'static) {
        self.listing = Some(self.asker.ask(move |_| Ok(listing())));
    }

    /// Takes the answers that there are by then.
    fn take_answers(&mut self, then: Instant, now: Now) {
        match self.seeing.take().map(|asked| asked.by(then)) {
            Some(Ok(shapes)) => self.take_shapes(shapes, now),
            Some(Err(asked)) => self.seeing = asked,
            None => {}
        }
        match self.listing.take().map(|asked| asked.by(then)) {
            Some(Ok(_)) if std::mem::take(&mut self.is_void) => {}
            Some(Ok(listing)) => {
                self.look(listing, now);
                self.listed = Some(Instant::now());
            }
            Some(Err(asked)) => self.listing = asked,
            None => {}
        }
    }

    /// So these files were.
    fn take_shapes(&mut self, shapes: Shapes, now: Now) {
        let mut asked = std::mem::take(&mut self.seen);
        for (name, shape) in shapes {
            // Of what is gone, or news were lost.
            let Some(is_complete) = asked.remove(&name) else { continue };
            if let Some(complete) = self.to_see.get_mut(&name) {
                // It is to be seen anew.
                *complete |= is_complete;
                continue;
            }
            match shape {
                Ok(Some(shape)) => {
                    if is_complete {
                        self.files.heard(&name, News::Complete, now);
                    }
                    self.files.seen(&name, shape, now);
                }
                Ok(None) => self.files.heard(&name, News::Gone, now),
                // That it is complete nobody says a second time.
                Err(_) if is_complete => _ = self.to_see.insert(name, true),
                Err(_) => {}
            }
        }
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
            self.watch = None;
            self.files.hear_nothing();
        }
        let heard = std::mem::take(&mut self.heard);
        self.files.begin_look();
        files
            .iter()
            .filter(|(name, _)| !heard.contains(name))
            .for_each(|(name, shape)| self.files.seen(name, *shape, now));
        heard.iter().for_each(|name| self.files.keep(name));
        // What is not listed may be there all the same.
        if !crowded {
            self.files.end_look();
        }
        self.files.crowded |= crowded;
    }
}

#[cfg(test)]
mod tests {
    use streamdb_testkit::TestFolder;

    use super::*;

    /// Nobody says it a second time.
    #[test]
    fn that_a_file_is_complete_is_not_forgotten() {
        let folder = TestFolder::new("spool-folder-complete");
        let path = folder.path().join("a");
        std::fs::write(&path, b"bytes").unwrap();
        let folders = Folders::open(&[folder.path().to_owned()], &folder.path().join("data"), false).unwrap();
        let mut watching = Watching::new(folders, &Waits::default()).unwrap();
        let (now, name) = (watching.now(), OsStr::new("a"));
        let watched = &mut watching.all[0];
        let seen = |watched: &mut Watched, shape: io::Result<Option<Shape>>| {
            watched.take_shapes(vec![(name.to_owned(), shape)], now);
        };
        let shape = || shape(&path);
        watched.news(ReadFlags::MODIFY, Some(name), now);
        watched.news(ReadFlags::CLOSE_WRITE, Some(name), now);
        // It is asked, and cannot be told for a while.
        watched.seen = std::mem::take(&mut watched.to_see);
        seen(watched, Err(io::Error::other("for a while")));
        // It is asked again, and somebody else wants to know before the answer.
        watched.seen = std::mem::take(&mut watched.to_see);
        watched.see(name);
        seen(watched, shape());
        assert_eq!(watched.files.waiting(), 0);
        watched.seen = std::mem::take(&mut watched.to_see);
        seen(watched, shape());
        assert_eq!(watched.files.waiting(), 1);
        // Somebody writes to it while it is asked.
        watched.news(ReadFlags::CLOSE_WRITE, Some(name), now);
        watched.seen = std::mem::take(&mut watched.to_see);
        watched.news(ReadFlags::MODIFY, Some(name), now);
        seen(watched, shape());
        assert_eq!(watched.files.waiting(), 0);
    }
}
