//! The folders in which captures appear: opened while the process still may, watched by inotify(7), and looked through.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Access, Mode, OFlags};
use streamdb_storage::now;

use super::files::{Files, MOST, News, Next, Now, Shape};
use crate::commands::Error;
use crate::output::{complain, inform, printable};

/// How often the folders are looked through, whatever is heard.
const EACH: Duration = Duration::from_secs(10);
/// How long a folder is waited for at the start.
const ANSWERS: Duration = Duration::from_secs(5);
/// And by a process that is started anew, while nobody captures: one that answers later is taken from by the next.
const ANSWERS_SOON: Duration = Duration::from_secs(1);
/// Room for news: some hundred of them.
const ROOM: usize = 16 << 10;
/// How often news are read at once; those that are left wait in the kernel.
const READS: usize = 1000;

/// A folder.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) files: Files,
    /// By what the kernel names it in news; `None` when it says nothing of it.
    watch: Option<i32>,
    /// What was watched: another folder may come in its place.
    inode: u64,
    /// What is wrong with it, as it was said.
    trouble: Option<String>,
    /// It was said that it has more files than are looked at.
    crowded: bool,
}

/// All of them.
pub(crate) struct Folders {
    pub(super) all: Vec<Folder>,
    away: Vec<PathBuf>,
    inotify: Option<OwnedFd>,
    begun: Instant,
    looked: Option<Instant>,
    /// The last file that was to be taken could not be.
    pub(super) failed_last: bool,
}

impl Folders {
    /// Opens them; what happens in them from here on is heard. Those that do not answer are left out, and told of; where the process is
    /// started `anew`, so are those that are not as they should be.
    ///
    /// # Errors
    /// When one of them is not there, is no folder, is given twice, or is the data folder or in it.
    pub(crate) fn open(paths: &[PathBuf], data: &Path, anew: bool) -> Result<Self, Error> {
        let inotify = if paths.is_empty() { None } else { inotify() };
        let (mut all, mut away, mut known) = (Vec::<Folder>::new(), Vec::new(), Vec::new());
        let longest = if anew { ANSWERS_SOON } else { ANSWERS };
        for (path, answers) in paths.iter().zip(answer(paths, longest)) {
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            if !answers {
                complain(&format!(
                    "{}: this folder has not answered for {} s, as one of a file server that is away; all else goes on without it",
                    printable(&path.to_string_lossy()),
                    longest.as_secs()
                ));
                away.push(shown);
                continue;
            }
            let (real, about) = match looked_at(path, &known, Some(data)) {
                Ok(looked) => looked,
                Err(mistake) if anew => {
                    complain(&goes_on(&mistake));
                    away.push(shown);
                    continue;
                }
                Err(mistake) => return Err(mistake),
            };
            let watch = inotify.as_ref().and_then(|inotify| watch(inotify, &real));
            known.push(real);
            all.push(Folder {
                path: shown,
                files: Files::default(),
                watch,
                inode: about.ino(),
                trouble: None,
                crowded: false,
            });
        }
        Ok(Self { all, away, inotify, begun: Instant::now(), looked: None, failed_last: false })
    }

    /// What keeps captures from being taken from folders.
    pub(crate) fn mistakes(paths: &[PathBuf], data: Option<&Path>) -> Vec<Error> {
        let (mut known, mut mistakes) = (Vec::new(), Vec::new());
        for (path, answers) in paths.iter().zip(answer(paths, ANSWERS)) {
            let looked = if answers {
                looked_at(path, &known, data)
            } else {
                let shown = printable(&path.to_string_lossy());
                Err(Error::Other(format!("{shown}: this folder does not answer")))
            };
            match looked {
                Ok((real, _)) => known.push(real),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        mistakes
    }

    /// Those from which nothing can be taken now.
    pub(crate) fn away(&self) -> &[PathBuf] {
        &self.away
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty() && self.away.is_empty()
    }

    /// Those from which captures can be taken.
    pub(crate) fn answering(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().map(|folder| folder.path.as_path())
    }

    /// Whether this process may do there what it has to, once it has given up its other rights; those where it may not are left out where
    /// it is started `anew`.
    ///
    /// # Errors
    /// For the first one where it may not.
    pub(crate) fn check(&mut self, removes: bool, anew: bool) -> Result<(), Error> {
        for folder in std::mem::take(&mut self.all) {
            match is_allowed(&folder.path, removes) {
                Ok(()) => self.all.push(folder),
                Err(mistake) if anew => {
                    complain(&goes_on(&mistake));
                    self.away.push(folder.path);
                }
                Err(mistake) => return Err(mistake),
            }
        }
        Ok(())
    }

    /// How late it is.
    pub(super) fn now(&self) -> Now {
        Now { since: self.begun.elapsed(), clock: now().0.into() }
    }

    /// Takes in what is heard, and looks through the folders when it is time.
    pub(super) fn hear(&mut self) {
        let heard = |folder: &&Folder| folder.watch.is_some();
        let before = self.all.iter().filter(heard).count();
        let lost = self.read_news();
        if lost {
            self.all.iter_mut().for_each(|folder| folder.files.hear_nothing());
        }
        let gone = self.all.iter().filter(heard).count() < before;
        if lost || gone || self.looked.is_none_or(|looked| looked.elapsed() >= EACH) {
            let now = self.now();
            self.all.iter_mut().for_each(|folder| folder.look(now));
            self.looked = Some(Instant::now());
        }
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
        let all = self.all.iter().enumerate();
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

impl Folder {
    /// Something happened.
    fn news(&mut self, events: ReadFlags, name: Option<&OsStr>, now: Now) {
        let over = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        if events.intersects(over) {
            self.is_silent();
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
    fn is_silent(&mut self) {
        self.watch = None;
        self.files.hear_nothing();
    }

    /// Looks how a file is.
    pub(super) fn see(&mut self, name: &OsStr, now: Now) -> Option<Shape> {
        match fs::symlink_metadata(self.path.join(name)) {
            Ok(about) if about.is_file() => {
                let shape = Shape::of(&about);
                self.files.seen(name, shape, now);
                Some(shape)
            }
            Err(error) if error.kind() != ErrorKind::NotFound => None,
            // No link is followed, and no pipe or device waited for.
            _ => {
                self.files.heard(name, News::Gone, now);
                None
            }
        }
    }

    /// Looks how all of them are.
    fn look(&mut self, now: Now) {
        let looked = self.try_look(now);
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

    fn try_look(&mut self, now: Now) -> io::Result<()> {
        let inode = fs::metadata(&self.path)?.ino();
        if inode != self.inode {
            self.inode = inode;
            self.is_silent();
        }
        let entries = fs::read_dir(&self.path)?;
        self.files.begin_look();
        for entry in entries {
            let name = entry?.file_name();
            if super::files::is_wanted(&name) {
                self.see(&name, now);
            }
        }
        self.files.end_look();
        Ok(())
    }
}

impl Shape {
    /// That of a file of which this is known.
    pub(super) fn of(about: &Metadata) -> Self {
        let modified = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        Self { inode: about.ino(), length: about.len(), modified }
    }
}

/// Opens a file for reading, unless it is a link, without waiting for anybody.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Whether this process can take captures from a folder, beside these others.
///
/// # Errors
/// Why it cannot.
pub(crate) fn can_be_taken_from(path: &Path, others: &[PathBuf], data: &Path, removes: bool) -> Result<(), Error> {
    let others: Vec<PathBuf> = others.iter().filter_map(|other| fs::canonicalize(other).ok()).collect();
    looked_at(path, &others, Some(data))?;
    is_allowed(path, removes)
}

/// Whether this process may take captures from a folder that is there.
fn is_allowed(path: &Path, removes: bool) -> Result<(), Error> {
    let shown = printable(&path.to_string_lossy());
    if rustix::fs::access(path, Access::READ_OK | Access::EXEC_OK).is_err() {
        return Err(Error::Other(format!(
            "{shown}: the user that captures may not read this folder; let it, as by setfacl -m u:USER:rx {shown}, and let it \
             read the files that appear there"
        )));
    }
    if removes && rustix::fs::access(path, Access::WRITE_OK).is_err() {
        return Err(Error::Other(format!(
            "{shown}: the user that captures may not remove files of this folder; let it, as by setfacl -m u:USER:rwx {shown} \
             (and, under systemd, ReadWritePaths={shown}), or do without --spool-remove"
        )));
    }
    Ok(())
}

/// What there is to say of a folder from which nothing can be taken while all else goes on.
fn goes_on(mistake: &Error) -> String {
    format!("{mistake}; all else goes on without this folder, until captures can be taken from it")
}

/// A folder from which captures are to be taken, as it is there, and what is known of it.
fn looked_at(path: &Path, known: &[PathBuf], data: Option<&Path>) -> Result<(PathBuf, Metadata), Error> {
    let refused = |why: &str| Err(Error::Other(format!("{}: {why}", printable(&path.to_string_lossy()))));
    let real = match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return refused(
                "there is no such folder for captures to appear in; make it, and let those write there who capture",
            );
        }
        real => real.map_err(failed(path, "look for captures in it"))?,
    };
    if known.contains(&real) {
        return refused("this folder is given twice");
    }
    // It may be not there yet.
    if data.and_then(|data| fs::canonicalize(data).ok()).is_some_and(|data| real.starts_with(data)) {
        return refused("captures cannot appear in the data folder, where the store is; give another folder");
    }
    let about = fs::metadata(&real).map_err(failed(path, "look for captures in it"))?;
    if !about.is_dir() {
        return refused("this is no folder, so that no captures can appear in it");
    }
    Ok((real, about))
}

/// Which of these folders answer. Who asks a file server that is away may wait for as long as that likes, and so does a thread of this
/// process for good; another process can be killed. Where there is none to be had, a folder is taken for one that answers.
fn answer(paths: &[PathBuf], longest: Duration) -> Vec<bool> {
    let (since, pause) = (Instant::now(), Duration::from_millis(5));
    let asks = |path: &PathBuf| {
        let (stdin, stdout, stderr) = (Stdio::null(), Stdio::null(), Stdio::null());
        Command::new("test").arg("-d").arg(path).stdin(stdin).stdout(stdout).stderr(stderr).spawn().ok()
    };
    let mut all: Vec<Option<Child>> = paths.iter().map(asks).collect();
    let mut wait = |longest: Duration| {
        while all.iter().any(Option::is_some) && since.elapsed() < longest {
            thread::sleep(pause);
            for asks in &mut all {
                _ = asks.take_if(|asks| !matches!(asks.try_wait(), Ok(None)));
            }
        }
        all.iter_mut().for_each(|asks| _ = asks.as_mut().map(Child::kill));
        all.iter().map(Option::is_none).collect()
    };
    let answers = wait(longest);
    // One that was killed is over soon, or never.
    wait(longest + Duration::from_millis(200));
    answers
}

fn inotify() -> Option<OwnedFd> {
    let opened = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
    opened.inspect_err(|error| unwatched("the folders of captures", *error)).ok()
}

fn watch(inotify: &OwnedFd, path: &Path) -> Option<i32> {
    let flags = WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let watched = inotify::add_watch(inotify, path, flags);
    watched.inspect_err(|error| unwatched(&printable(&path.to_string_lossy()), *error)).ok()
}

fn unwatched(what: &str, error: rustix::io::Errno) {
    complain(&format!(
        "{what}: the kernel does not say what happens there: {error}; each file is taken when nothing has changed in it for \
         a minute"
    ));
}

fn failed(path: &Path, action: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let text = format!("{}: could not {action}", printable(&path.to_string_lossy()));
    move |error| Error::Other(format!("{text}: {error}"))
}
