//! The folders in which captures appear: opened while the process still may, and watched by inotify(7) from then on.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::commands::Error;
use crate::output::{complain, printable};

/// How long a folder is waited for.
pub(super) const ANSWERS: Duration = Duration::from_secs(5);
/// And by a process that is started anew, while nobody captures: one that answers later is taken from by the next.
const ANSWERS_SOON: Duration = Duration::from_secs(1);

/// A folder.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// By what the kernel names it in news; `None` when it says nothing of it.
    pub(super) watch: Option<i32>,
    /// What was watched: another folder may come in its place.
    pub(super) inode: u64,
}

/// All of them.
pub(crate) struct Folders {
    pub(super) all: Vec<Folder>,
    away: Vec<PathBuf>,
    pub(super) inotify: Option<OwnedFd>,
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
                complain(&not_answering(path, longest));
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
            all.push(Folder { path: shown, watch, inode: about.ino() });
        }
        Ok(Self { all, away, inotify })
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

/// What there is to say of a folder that has not answered for so long.
pub(super) fn not_answering(path: &Path, longest: Duration) -> String {
    format!(
        "{}: this folder has not answered for {} s, as one of a file server that is away; all else goes on without it",
        printable(&path.to_string_lossy()),
        longest.as_secs()
    )
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
