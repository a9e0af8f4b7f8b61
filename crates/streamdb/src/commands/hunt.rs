//! `streamdb hunt`: rules, lists and clamd over what is stored already.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use streamdb_derive::{Joined, Rows};
use streamdb_query::{
    Filter, JoinLine, Looking, ObjectLine, Troubles, Wording, find_joins, find_objects, joined_row, json_line, meta,
    not_of_joins,
};
use streamdb_scan::{Scanners, Settings};
use streamdb_storage::Store;
use streamdb_types::{ConnKey, ObjectRow, Timestamp, Verdict};

use super::Error;
use super::finding::count;
use crate::cli::Hunt;
use crate::output::{Output, complain, printable};
use crate::scanning::contents::{Look, each_content, joined_content};
use crate::stop::stop_flag;

/// How often it is said how far it came.
const SAY: Duration = Duration::from_secs(10);

pub(super) fn run(args: &Hunt) -> Result<ExitCode, Error> {
    let (mut terms, rules) = what(&args.what);
    terms.extend(args.start.iter().map(|time| format!("start={time}")));
    terms.extend(args.end.iter().map(|time| format!("end={time}")));
    let filter = Filter::parse_words(&terms)?;
    let default = Settings::default();
    let settings = Settings {
        rules,
        hash_lists: args.hash_list.clone(),
        clamd: args.clamd.clone(),
        max_bytes: args.max_bytes.unwrap_or(default.max_bytes),
        timeout: args.timeout.and_then(|time| u64::try_from(time).ok()).map_or(default.timeout, Duration::from_nanos),
        ..default
    };
    if !settings.any() {
        return Err(Error::Other("nothing to hunt for: name rule files or folders, --hash-list or --clamd".to_owned()));
    }
    let mut scanners = Scanners::open(settings)?;
    scanners.ask_version()?;
    let store = Store::open(&args.data.folder)?;
    let stop = stop_flag()?;
    let out = Output::open(None)?;
    let failed = out.error();
    let mut hunting = Hunting {
        store: &store,
        scanners,
        stop: &stop,
        out,
        json: args.json,
        connection: Vec::new(),
        came: Came::default(),
        said: Instant::now(),
    };
    let mut troubles = Troubles::default();
    let go_on = &|| !stop.load(Ordering::Relaxed);
    let looking = Looking { made: Rows::new(), go_on, troubles: &mut troubles };
    // First: whoever goes on at a time that is said goes on with all that is left.
    hunting.joined(&filter)?;
    let looked = find_objects(&store, &filter, looking, &mut |row| hunting.row(row))?;
    // Those of the last connection wait.
    let _ = hunting.look();
    let Hunting { mut out, came: Came { tally, troubles: unread, ended, .. }, .. } = hunting;
    if let Some(Ended::Output(error)) = ended {
        return Err(failed(error));
    }
    out.flush().map_err(failed)?;
    troubles.sentences().chain(unread.sentences()).for_each(|trouble| complain(&trouble));
    let stopped = looked.stopped || stop.load(Ordering::Relaxed);
    complain(&tally.sentence(stopped));
    if let Some(Ended::Scanner(error)) = ended {
        return Err(Error::Other(error));
    }
    Ok(if troubles.is_empty() && unread.is_empty() && !stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which of the words are terms of a filter, and which name rules: files that are there, and what has no `=` and no `!`.
fn what(words: &[String]) -> (Vec<String>, Vec<PathBuf>) {
    let is_term = |word: &&String| word.contains(['=', '!']) && !PathBuf::from(word).exists();
    let (terms, rules): (Vec<&String>, Vec<&String>) = words.iter().partition(is_term);
    (terms.into_iter().cloned().collect(), rules.into_iter().map(PathBuf::from).collect())
}

/// How far it came.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    contents: u64,
    objects: u64,
    matching: u64,
    in_part: u64,
    /// When the stream of the last object began.
    until: Option<Timestamp>,
}

impl Tally {
    fn sentence(&self, stopped: bool) -> String {
        let Self { contents, objects, matching, in_part, until } = *self;
        let matches = if matching == 1 { "matches" } else { "match" };
        let (contents, objects) = (count(contents, "content"), count(objects, "object"));
        let mut said = format!("{contents} of {objects} looked into; {} {matches}", count(matching, "object"));
        if in_part > 0 {
            said += &format!("; {} too large or too slow to be looked into whole", count(in_part, "content"));
        }
        if stopped {
            said += "; it was told to end";
            said += &until.map(|time| format!(", and `start={time}` goes on from there")).unwrap_or_default();
        }
        said
    }
}

/// Why it ended before it was done.
enum Ended {
    Output(std::io::Error),
    Scanner(String),
}

struct Hunting<'h> {
    store: &'h Store,
    scanners: Scanners,
    stop: &'h AtomicBool,
    out: Output,
    json: bool,
    /// Objects of one connection: that is taken apart once for all of them.
    connection: Vec<ObjectRow>,
    came: Came,
    said: Instant,
}

/// What came of the contents.
#[derive(Default)]
struct Came {
    /// The first half of the digest of each content in which nothing was found.
    clean: HashSet<[u8; 16]>,
    found: HashMap<[u8; 32], Vec<Verdict>>,
    tally: Tally,
    troubles: Troubles,
    ended: Option<Ended>,
}

impl Came {
    fn is_known(&self, sha256: &[u8; 32]) -> bool {
        self.clean.contains(&half(sha256)) || self.found.contains_key(sha256)
    }

    /// Takes in what came of one, unless that ends it all.
    fn take(&mut self, row: &ObjectRow, look: Look) -> ControlFlow<()> {
        let Some(digests) = row.digests else { return ControlFlow::Continue(()) };
        match look {
            Look::At(outcome, _) => {
                self.tally.contents += 1;
                self.tally.in_part += u64::from(!outcome.whole);
                if outcome.verdicts.is_empty() {
                    self.clean.insert(half(&digests.sha256));
                } else {
                    self.found.insert(digests.sha256, outcome.verdicts);
                }
            }
            Look::Unreadable(why) => self.troubles.add(&format!("{}: {why}", row.oid)),
            Look::Later(error) => {
                self.ended = Some(Ended::Scanner(error));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Most objects of a connection that are looked at together.
const TOGETHER: usize = 1024;

impl Hunting<'_> {
    fn row(&mut self, row: &ObjectRow) -> ControlFlow<()> {
        let key: Option<ConnKey> = self.connection.first().map(|row| row.key);
        if key.is_some_and(|key| key != row.key) || self.connection.len() >= TOGETHER {
            self.look()?;
        }
        self.connection.push(row.clone());
        ControlFlow::Continue(())
    }

    /// Looks into what waits, and prints what matches.
    fn look(&mut self) -> ControlFlow<()> {
        if self.came.ended.is_some() || self.stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        let rows = std::mem::take(&mut self.connection);
        let mut met = HashSet::new();
        let came = &self.came;
        let is_new = |row: &&ObjectRow| {
            row.digests.is_some_and(|digests| !came.is_known(&digests.sha256) && met.insert(digests.sha256))
        };
        let new: Vec<&ObjectRow> = rows.iter().filter(is_new).collect();
        let Self { store, scanners, stop, came, .. } = self;
        each_content(store, scanners, &new, &mut |row, look| {
            came.take(row, look)?;
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        for row in &rows {
            let verdicts = row.digests.and_then(|digests| self.came.found.get(&digests.sha256));
            if let Some(verdicts) = verdicts {
                let (json, out) = (self.json, &mut self.out);
                let printed = if json { line(out, row, verdicts) } else { text(out, row, verdicts) };
                self.printed(printed);
            }
            self.done(Some(row.start));
        }
        self.say();
        if self.came.ended.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Looks into what is joined of several objects: it has no place among them.
    fn joined(&mut self, filter: &Filter) -> Result<(), Error> {
        let stop = self.stop;
        let go_on = || !stop.load(Ordering::Relaxed);
        if self.came.ended.is_some() || not_of_joins(filter).is_some() {
            return Ok(());
        }
        let store = self.store;
        find_joins(store, filter, None, &go_on, &mut |joined| self.join(joined))?;
        Ok(())
    }

    fn join(&mut self, mut joined: Joined<'_>) -> ControlFlow<()> {
        let Some(row) = joined_row(&joined) else { return ControlFlow::Continue(()) };
        let Some(digests) = row.digests else { return ControlFlow::Continue(()) };
        let is_known = self.came.is_known(&digests.sha256);
        if !is_known {
            let look = joined_content(&mut joined, &mut self.scanners, &row);
            self.came.take(&row, look)?;
        }
        if let Some(verdicts) = self.came.found.get(&digests.sha256) {
            let (json, out) = (self.json, &mut self.out);
            let of = JoinLine { verdicts: verdicts.iter().map(ToString::to_string).collect(), ..JoinLine::of(&joined) };
            let printed = if json { joined_line(out, of, verdicts) } else { joined_text(out, &of) };
            self.printed(printed);
        }
        if !is_known && !row.complete {
            // Only lists were asked, and it may come again as what is certain.
            self.came.clean.remove(&half(&digests.sha256));
            self.came.found.remove(&digests.sha256);
        }
        self.done(None);
        self.say();
        if self.came.ended.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// One that matches is printed; somebody may be waiting for it.
    fn printed(&mut self, printed: std::io::Result<()>) {
        self.came.tally.matching += 1;
        if let Err(error) = printed.and_then(|()| self.out.flush()) {
            self.came.ended = Some(Ended::Output(error));
        }
    }

    fn done(&mut self, start: Option<Timestamp>) {
        if self.came.ended.is_none() {
            self.came.tally.objects += 1;
            self.came.tally.until = start.or(self.came.tally.until);
        }
    }

    /// Says now and then how far it came.
    fn say(&mut self) {
        if self.said.elapsed() > SAY {
            self.said = Instant::now();
            let tally = &self.came.tally;
            let until = tally.until.map(|time| format!(", until {time}")).unwrap_or_default();
            complain(&format!("{}{until}", tally.sentence(false)));
        }
    }
}

/// As much of a digest as tells contents apart.
fn half(sha256: &[u8; 32]) -> [u8; 16] {
    sha256.first_chunk().copied().unwrap_or_default()
}

/// What matches, as `--json` prints it: an object, or a joined content.
#[derive(Serialize)]
struct Line<'r, What> {
    #[serde(flatten)]
    what: What,
    found: Vec<Found<'r>>,
}

#[derive(Serialize)]
struct Found<'r> {
    scanner: &'static str,
    name: &'r str,
    details: &'r str,
}

fn line(out: &mut Output, row: &ObjectRow, verdicts: &[Verdict]) -> std::io::Result<()> {
    let said = verdicts.iter().map(ToString::to_string).collect();
    json_line(out, &Line { what: ObjectLine { verdicts: said, ..ObjectLine::of(row) }, found: found(verdicts) })
}

fn joined_line(out: &mut Output, of: JoinLine, verdicts: &[Verdict]) -> std::io::Result<()> {
    json_line(out, &Line { what: of, found: found(verdicts) })
}

fn found(verdicts: &[Verdict]) -> Vec<Found<'_>> {
    let mut found = Vec::with_capacity(verdicts.len());
    for Verdict { scanner, name, details } in verdicts {
        found.push(Found { scanner: scanner.word(), name, details });
    }
    found
}

/// A joined content for people: when its first part came, what matches, of how many parts, where from, what it is, and its digest.
fn joined_text(out: &mut Output, of: &JoinLine) -> std::io::Result<()> {
    let parts = of.parts.len() as u64 + of.more_parts;
    let (url, what) = (printable(&of.url), printable(of.description.as_deref().unwrap_or_default()));
    let (found, sha256) = (printable(&of.verdicts.join(",")), of.sha256.as_deref().unwrap_or_default());
    writeln!(out, "{} {found} joined of {parts} parts {url} {what} {sha256}", of.first_seen)
}

/// One object for people: when, what matches, who, which way, what it is, its digest and its name.
fn text(out: &mut Output, row: &ObjectRow, verdicts: &[Verdict]) -> std::io::Result<()> {
    let arrow = if row.direction.letter() == 'c' { "<-" } else { "->" };
    let found: Vec<String> = verdicts.iter().map(|verdict| printable(&verdict.to_string())).collect();
    let sha256 = row.digests.map(|digests| streamdb_query::hex(&digests.sha256)).unwrap_or_default();
    let what = printable(&meta(row, Wording::Current));
    let (client, server) = (row.tuple.client, row.tuple.server);
    writeln!(out, "{} {} {client} {arrow} {server} {what} {sha256} {}", row.start, found.join(","), row.oid)
}
