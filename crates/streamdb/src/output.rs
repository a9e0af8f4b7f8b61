//! Standard output and standard error: text from captures never reaches a terminal raw.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use streamdb_types::Timestamp;

use crate::log::{Level, Limits, Log, Speaker, Style, is_journal};

/// What all that is said on standard error goes through.
static LOG: OnceLock<Mutex<Log>> = OnceLock::new();

/// Whether there may be a thread that says later what was too much. Changed while the log is locked.
static MAY_WAIT: AtomicBool = AtomicBool::new(false);

/// Says one sentence on standard error: of something that somebody should look at.
pub(crate) fn complain(sentence: &str) {
    say(Level::Warning, sentence);
}

/// Says one sentence on standard error: of what goes on.
pub(crate) fn inform(sentence: &str) {
    say(Level::Info, sentence);
}

/// Says what the process ends with.
pub(crate) fn give_up(sentence: &str) {
    say(Level::Error, sentence);
}

/// From now on the process speaks as this one, in this style if it is not the journal that listens; and if it runs for as long as
/// nobody ends it, it says no kind of sentence too often.
pub(crate) fn speak(speaker: Speaker, json: bool, forever: bool) {
    let mut log = log();
    *log = Log { style: Style { json, journal: is_journal() }, speaker, limits: forever.then(Limits::default) };
    drop(log);
    if forever {
        // As one line among the others.
        std::panic::set_hook(Box::new(|panic| give_up(&panic.to_string().replace('\n', " "))));
    }
}

/// From now on sentences are objects of JSON, or are not.
pub(crate) fn speak_json(json: bool) {
    log().style.json = json;
}

/// From now on there may be a thread that says later what was too much. Before that a process may be about to give up rights, which
/// each of its threads would have to: what is held back until then waits for it.
pub(crate) fn may_wait() {
    let log = log();
    if !MAY_WAIT.swap(true, Ordering::Relaxed) && next(&log).is_some() {
        begin_to_wait();
    }
}

/// Says what there is to say of sentences that were too many.
pub(crate) fn say_the_rest() {
    let text = log().end(now());
    print(&text);
}

fn log() -> MutexGuard<'static, Log> {
    LOG.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn say(level: Level, sentence: &str) {
    let mut log = log();
    let waits = next(&log).is_some();
    let text = log.lines(Instant::now(), now(), level, sentence);
    // Printed while it is locked, so that one comes after the other.
    print(&text);
    if !waits && next(&log).is_some() && MAY_WAIT.load(Ordering::Relaxed) {
        begin_to_wait();
    }
}

fn begin_to_wait() {
    // Where there is no thread to be had, the next sentence, or the end, brings it.
    _ = thread::Builder::new().name("log".into()).spawn(wait);
}

/// When there is something to say of sentences that were too many.
fn next(log: &Log) -> Option<Instant> {
    log.limits.as_ref().and_then(Limits::next)
}

/// Says it when it is time, as long as there is something.
fn wait() {
    loop {
        let Some(then) = next(&log()) else { return };
        thread::sleep(then.saturating_duration_since(Instant::now()));
        let mut log = log();
        print(&log.due(Instant::now(), now()));
    }
}

/// In one piece: several processes write to one place.
fn print(text: &str) {
    if !text.is_empty() {
        // When standard error is gone there is nobody to tell.
        _ = io::stderr().write_all(text.as_bytes());
    }
}

/// The text with its control characters made visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A file, or standard output for `-` and for nothing.
pub(crate) struct Output {
    writer: BufWriter<Box<dyn Write>>,
    /// What errors call it.
    pub(crate) name: PathBuf,
}

impl Output {
    /// Opens it.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, crate::commands::Error> {
        let (writer, name): (Box<dyn Write>, PathBuf) = match path.filter(|path| *path != Path::new("-")) {
            None => (Box::new(io::stdout().lock()), "standard output".into()),
            Some(path) => {
                let file = File::create(path).map_err(|e| crate::commands::Error::output(path, e))?;
                (Box::new(file), path.to_owned())
            }
        };
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, writer), name })
    }

    /// What an I/O error means here.
    pub(crate) fn error(&self) -> impl Fn(io::Error) -> crate::commands::Error + use<> {
        let name = self.name.clone();
        move |error| crate::commands::Error::output(&name, error)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("größe"), "größe");
    }
}
