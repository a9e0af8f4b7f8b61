//! The spool: captures that were handed to the process that writes, as a folder of files.
//!
//! ```text
//! spool/
//!   <job>.new/    being copied, by somebody who has its job.json locked
//!   <job>/        to be stored: job.json, and the captures as 0, 1, ...
//!   <job>.done    what came of it, for whoever waits
//! ```
//!
//! A job's name is when it was handed over and by which process. It is durable before anybody is told that it is handed over,
//! and goes when the store has it, durable: dying in between stores it anew, and what was stored of it before goes first. Who
//! dies after the last byte is stored, and before the job is done, finds it known at the next start; one that was wanted
//! `--again` is then there once more than wanted.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::commands::Error;
use crate::ingesting::Source;
use crate::settings::Settings;

const FOLDER: &str = "spool";
const JOB: &str = "job.json";
const NEW: &str = "new";
const DONE: &str = "done";
/// A description is not longer.
const MAX_JOB: u64 = 16 << 20;
/// A copy is locked a moment after it is begun.
const BEGINNING: Duration = Duration::from_secs(60);
/// What came of a job is kept so long when nobody asks.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The spool of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// What is to be stored, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What the captures are called.
    pub(crate) names: Vec<String>,
    pub(crate) settings: Settings,
    /// Whether they may have been ingested before.
    pub(crate) again: bool,
    /// Whether somebody waits for what comes of it.
    pub(crate) waits: bool,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// As `--json` prints it; nothing when nothing was stored.
    pub(crate) report: Option<serde_json::Value>,
    /// As it is printed for people.
    pub(crate) summary: Option<String>,
    /// What is not as it should be, a sentence each.
    pub(crate) errors: Vec<String>,
}

impl Spool {
    /// That of this data folder. It is made when something is handed over.
    pub(crate) fn of(data: &Path) -> Self {
        Self { folder: data.join(FOLDER) }
    }

    /// Copies captures into it. When this returns they are durable, and the job has this name.
    pub(crate) fn hand_over(&self, sources: &[Source], job: &Job) -> Result<String, Error> {
        match fs::create_dir(&self.folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(&self.folder, "make the spool")(e)),
            _ => {}
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{:020}-{}", since.as_nanos(), std::process::id());
        let new = self.path(&name, NEW);
        fs::create_dir(&new).map_err(failed(&new, "make a job"))?;
        let copied = copy(&new, sources, job);
        let made = copied.and_then(|_lock| {
            let job = self.folder.join(&name);
            fs::rename(&new, &job).and_then(|()| sync(&self.folder)).map_err(failed(&job, "hand over the job"))
        });
        if made.is_err() {
            // Nobody was told of it.
            let _ = fs::remove_dir_all(&new);
        }
        made.map(|()| name)
    }

    /// The jobs that are to be done, those that were handed over first before the others.
    pub(crate) fn jobs(&self) -> Result<Vec<String>, Error> {
        let names = self.names()?;
        let is_done = |name: &String| names.contains(&format!("{name}.{DONE}"));
        let mut jobs: Vec<String> = names.iter().filter(|name| !name.contains('.')).cloned().collect();
        jobs.retain(|name| !is_done(name));
        jobs.sort_unstable();
        Ok(jobs)
    }

    /// What a job is about.
    pub(crate) fn read(&self, name: &str) -> Result<(Job, Vec<Source>), Error> {
        let folder = self.folder.join(name);
        let path = folder.join(JOB);
        let mut text = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_JOB).read_to_end(&mut text))
            .map_err(failed(&path, "read the job"))?;
        let job: Job = serde_json::from_slice(&text).map_err(|e| failed(&path, "read the job")(e.into()))?;
        let source = |(at, name): (usize, &String)| Source::new(folder.join(at.to_string()), name.clone());
        let sources = job.names.iter().enumerate().map(source).collect::<Result<_, _>>()?;
        Ok((job, sources))
    }

    /// The job is done: from now on nobody does it again.
    pub(crate) fn done(&self, name: &str, outcome: &Outcome) -> Result<(), Error> {
        let (path, new) = (self.path(name, DONE), self.path(name, "tmp"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(outcome)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync(&self.folder)
        };
        write().map_err(failed(&path, "write what came of the job"))?;
        // Where its maker's rights do not let us, its maker does it.
        let _ = fs::remove_dir_all(self.folder.join(name));
        Ok(())
    }

    /// The same, of one for which nobody waits.
    pub(crate) fn done_for_nobody(&self, name: &str, outcome: &Outcome) -> Result<(), Error> {
        self.done(name, outcome)?;
        self.forget(name);
        Ok(())
    }

    /// What came of a job, for whoever handed it over; nothing as long as it is not done. It is forgotten then.
    pub(crate) fn outcome(&self, name: &str) -> Result<Option<Outcome>, Error> {
        let path = self.path(name, DONE);
        let text = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(failed(&path, "read what came of the job"))?,
        };
        let outcome =
            serde_json::from_slice(&text).map_err(|e| failed(&path, "read what came of the job")(e.into()))?;
        self.forget(name);
        Ok(Some(outcome))
    }

    /// Removes what nobody needs any more: copies whose maker died, and what came of jobs for which nobody waits.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        for name in self.names()? {
            let path = self.folder.join(&name);
            let Some((job, kind)) = name.rsplit_once('.') else { continue };
            match kind {
                NEW if is_abandoned(&path) => drop(fs::remove_dir_all(&path)),
                DONE if is_older(&path, KEPT) => self.forget(job),
                _ => {}
            }
        }
        Ok(())
    }

    fn forget(&self, name: &str) {
        // In this order: without the word that it is done, it would be done again. What cannot be removed is old soon.
        if remove_if_there(&self.folder.join(name)).is_ok() {
            let _ = fs::remove_file(self.path(name, DONE));
        }
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let list = || fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
        let names = match list() {
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            names => names.map_err(failed(&self.folder, "list the spool"))?,
        };
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}.{kind}"))
    }
}

/// The copy is whole; as long as its description is locked nobody takes it for one whose maker died.
fn copy(new: &Path, sources: &[Source], job: &Job) -> Result<File, Error> {
    let path = new.join(JOB);
    let mut description = File::create_new(&path).map_err(failed(&path, "write the job"))?;
    description.try_lock().map_err(|e| failed(&path, "lock the job")(e.into()))?;
    for (at, source) in sources.iter().enumerate() {
        let path = new.join(at.to_string());
        let copy_from = |input: &mut dyn Read| {
            let mut file = File::create_new(&path)?;
            io::copy(input, &mut file)?;
            file.sync_all()
        };
        let copied = if source.path == Path::new("-") {
            copy_from(&mut io::stdin().lock())
        } else {
            File::open(&source.path).and_then(|mut file| copy_from(&mut file))
        };
        copied.map_err(failed(&path, &format!("copy {} to it", source.name)))?;
    }
    serde_json::to_vec(job)
        .map_err(io::Error::from)
        .and_then(|text| description.write_all(&text))
        .and_then(|()| description.sync_all())
        .and_then(|()| sync(new))
        .map_err(failed(&path, "write the job"))?;
    Ok(description)
}

/// Whether whoever makes this copy has died.
fn is_abandoned(new: &Path) -> bool {
    match File::open(new.join(JOB)) {
        Ok(file) => is_older(new, BEGINNING) && file.try_lock().is_ok(),
        // Without it, it was made a moment ago, or somebody died just then.
        Err(_) => is_older(new, BEGINNING),
    }
}

fn is_older(path: &Path, than: Duration) -> bool {
    let age = fs::metadata(path).and_then(|metadata| Ok(metadata.modified()?.elapsed().unwrap_or_default()));
    age.is_ok_and(|age| age > than)
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, action: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let text = format!("{}: could not {action}", path.display());
    move |error| Error::Other(format!("{text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamdb_testkit::TestFolder;

    #[test]
    fn what_nobody_needs_any_more_goes() {
        let data = TestFolder::new("spool-sweep");
        let spool = Spool::of(data.path());
        assert!(spool.jobs().unwrap().is_empty() && spool.sweep().is_ok(), "no spool is an empty one");
        let folder = data.path().join(FOLDER);
        let make = |name: &str| {
            fs::create_dir_all(folder.join(name)).unwrap();
            File::create(folder.join(name).join(JOB)).unwrap()
        };
        let aged = |name: &str, age: Duration| {
            File::open(folder.join(name)).unwrap().set_modified(SystemTime::now() - age).unwrap();
        };
        let (minutes, days) = (BEGINNING * 2, KEPT * 2);
        // Being copied for a while; its maker died; begun a moment ago.
        let copying = make("1-1.new");
        copying.try_lock().unwrap();
        for name in ["2-2.new", "3-3.new"] {
            drop(make(name));
        }
        aged("1-1.new", minutes);
        aged("2-2.new", minutes);
        // To be done; done, and somebody may still ask; done, and nobody did.
        drop(make("4-4"));
        let outcome = Outcome { report: None, summary: None, errors: vec!["damaged".into()] };
        for name in ["5-5", "6-6"] {
            drop(make(name));
            spool.done(name, &outcome).unwrap();
        }
        aged("6-6.done", days);
        spool.sweep().unwrap();
        let mut names = spool.names().unwrap();
        names.sort_unstable();
        assert_eq!(names, ["1-1.new", "3-3.new", "4-4", "5-5.done"]);
        assert_eq!(spool.jobs().unwrap(), ["4-4"]);
        assert_eq!(spool.outcome("4-4").unwrap().map(|outcome| outcome.errors), None);
        assert_eq!(spool.outcome("5-5").unwrap().map(|outcome| outcome.errors), Some(outcome.errors));
        assert!(!spool.names().unwrap().contains(&"5-5.done".to_owned()));
    }
}
