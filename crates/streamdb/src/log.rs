//! What a line on standard error looks like, and how often the same kind of sentence is said.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use serde::Serialize;
use streamdb_types::Timestamp;

use crate::output::printable;

/// So many sentences of a kind are said within [`WINDOW`]; of the others their number, when it is over, and the last.
const SAID: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// So many kinds are told apart; those beyond are one.
const KINDS: usize = 256;
/// What two sentences of a kind have in common is looked for in so many first bytes.
const LONGEST_KIND: usize = 160;

/// What a sentence is about; the number is that of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// It ends a process.
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// How a sentence is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// As an object of JSON.
    pub(crate) json: bool,
    /// With its level in front, as journald reads it (sd-daemon(3)).
    pub(crate) journal: bool,
}

/// Who says something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speaker {
    /// What the process does: the command.
    pub(crate) process: String,
    /// Whether there are others beside it that write to the same place, so that each says who it is.
    pub(crate) is_one_of_several: bool,
}

/// Makes lines of sentences.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) style: Style,
    pub(crate) speaker: Speaker,
    /// `None`: each sentence is said, as somebody asked for all of them.
    pub(crate) limits: Option<Limits>,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: Level,
    process: &'a str,
    message: &'a str,
}

impl Log {
    /// The lines to write, each with its end: those that are due, and this one, unless too many were like it.
    pub(crate) fn lines(&mut self, now: Instant, time: Timestamp, level: Level, sentence: &str) -> String {
        let mut text = self.due(now, time);
        if self.limits.as_mut().is_none_or(|limits| limits.take(now, level, sentence)) {
            text.push_str(&self.line(time, level, sentence));
        }
        text
    }

    /// What there is to say of sentences that were not said, when their time is over.
    pub(crate) fn due(&mut self, now: Instant, time: Timestamp) -> String {
        let over = self.limits.as_mut().map(|limits| limits.over(now)).unwrap_or_default();
        over.iter().map(|(level, sentence)| self.line(time, *level, sentence)).collect()
    }

    /// The same for all of them, as nothing comes any more.
    pub(crate) fn end(&mut self, time: Timestamp) -> String {
        let all = self.limits.as_mut().map(Limits::end).unwrap_or_default();
        all.iter().map(|(level, sentence)| self.line(time, *level, sentence)).collect()
    }

    fn line(&self, time: Timestamp, level: Level, sentence: &str) -> String {
        let message = printable(sentence);
        let Speaker { process, is_one_of_several } = &self.speaker;
        let text = match self.style {
            Style { json: true, .. } => {
                let line = Line { time: time.to_string(), level, process, message: &message };
                // Texts alone are in it.
                serde_json::to_string(&line).unwrap_or(message)
            }
            // journald has the program's name.
            Style { journal: true, .. } if *is_one_of_several => format!("{process}: {message}"),
            Style { journal: true, .. } => message,
            _ if *is_one_of_several => format!("streamdb {process}: {message}"),
            _ => format!("streamdb: {message}"),
        };
        if self.style.journal { format!("<{}>{text}\n", level as u8) } else { format!("{text}\n") }
    }
}

/// How often each kind of sentence was said.
#[derive(Debug, Default)]
pub(crate) struct Limits(HashMap<(Level, String), Kind>);

/// What was said of a kind since its window began.
#[derive(Debug)]
struct Kind {
    since: Instant,
    said: u32,
    held: u64,
    last: String,
}

impl Limits {
    /// Whether this one is to be said.
    fn take(&mut self, now: Instant, level: Level, sentence: &str) -> bool {
        let mut key = (level, kind(sentence));
        if self.0.len() >= KINDS && !self.0.contains_key(&key) {
            key.1.clear();
        }
        let kind = self.0.entry(key).or_insert_with(|| Kind { since: now, said: 0, held: 0, last: String::new() });
        if kind.said < SAID {
            kind.said += 1;
            return true;
        }
        kind.held += 1;
        sentence.clone_into(&mut kind.last);
        false
    }

    /// Ends the windows whose time is over.
    fn over(&mut self, now: Instant) -> Vec<(Level, String)> {
        let mut told = Vec::new();
        self.0.retain(|(level, _), kind| {
            let goes_on = now.saturating_duration_since(kind.since) < WINDOW;
            if !goes_on {
                told.extend(kind.held().map(|sentence| (*level, sentence)));
            }
            goes_on
        });
        told
    }

    fn end(&mut self) -> Vec<(Level, String)> {
        self.0.drain().filter_map(|((level, _), kind)| Some((level, kind.held()?))).collect()
    }

    /// When there is something to say of sentences that were not said, if there are any.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().filter(|kind| kind.held > 0).map(|kind| kind.since + WINDOW).min()
    }
}

impl Kind {
    fn held(&self) -> Option<String> {
        (self.held > 0).then(|| format!("{} more like this, which is the last: {}", self.held, self.last))
    }
}

/// The sentence without what differs in those that are like it: each word with a digit in it.
fn kind(sentence: &str) -> String {
    let mut kind = String::new();
    for word in sentence.split_whitespace() {
        if kind.len() + word.len() > LONGEST_KIND {
            break;
        }
        kind.push_str(if word.bytes().any(|b| b.is_ascii_digit()) { "#" } else { word });
        kind.push(' ');
    }
    kind
}

/// Whether standard error is a stream of journald's, as `JOURNAL_STREAM` says (systemd.exec(5)).
pub(crate) fn is_journal() -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let said = std::env::var("JOURNAL_STREAM").ok();
    let said = said.as_deref().and_then(|text| text.split_once(':'));
    let Some((Some(device), Some(inode))) = said.map(|(device, inode)| (number(device), number(inode))) else {
        return false;
    };
    let same = io::stderr().as_fd().try_clone_to_owned().and_then(|file| File::from(file).metadata());
    same.is_ok_and(|file| file.dev() == device && file.ino() == inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp(1_500_000_000);

    fn log(style: Style, is_one_of_several: bool) -> Log {
        Log { style, speaker: Speaker { process: "capture".into(), is_one_of_several }, limits: None }
    }

    fn said(style: Style, is_one_of_several: bool) -> String {
        log(style, is_one_of_several).lines(Instant::now(), TIME, Level::Warning, "a \x1b[2J\nb \"c\" \u{9b}")
    }

    #[test]
    fn a_sentence_is_one_line_in_every_style() {
        let (plain, json) = (Style::default(), Style { json: true, journal: false });
        let journal = Style { json: false, journal: true };
        let sentence = r#"a \u{1b}[2J\nb "c" \u{9b}"#;
        assert_eq!(said(plain, false), format!("streamdb: {sentence}\n"));
        assert_eq!(said(plain, true), format!("streamdb capture: {sentence}\n"));
        assert_eq!(said(journal, false), format!("<4>{sentence}\n"));
        assert_eq!(said(journal, true), format!("<4>capture: {sentence}\n"));
        let line = said(json, true);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let wanted = serde_json::json!({
            "time": "1970-01-01T00:00:01.500000000Z", "level": "warning", "process": "capture", "message": sentence,
        });
        assert_eq!(value, wanted);
        assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        assert_eq!(said(Style { json: true, journal: true }, true), format!("<4>{line}"));
    }

    #[test]
    fn of_many_sentences_of_a_kind_some_are_said_and_the_others_counted() {
        let mut log = Log { limits: Some(Limits::default()), ..log(Style::default(), false) };
        let begun = Instant::now();
        let mut say = |after: u64, level: Level, sentence: &str| {
            log.lines(begun + Duration::from_secs(after), TIME, level, sentence)
        };
        for n in 0..100 {
            let line = say(1, Level::Warning, &format!("bucket {n}: damaged at 0x{n:x}"));
            assert_eq!(line.is_empty(), n >= u64::from(SAID), "{n}: {line}");
        }
        assert_eq!(say(2, Level::Warning, "something else 7"), "streamdb: something else 7\n");
        assert_eq!(say(2, Level::Info, "bucket 1: damaged at 0x1"), "streamdb: bucket 1: damaged at 0x1\n");
        let all = say(62, Level::Warning, "bucket 7: damaged at 0x7");
        assert_eq!(
            all,
            "streamdb: 90 more like this, which is the last: bucket 99: damaged at 0x63\nstreamdb: bucket 7: damaged at 0x7\n"
        );
    }

    #[test]
    fn what_was_not_said_is_said_at_the_end_and_it_is_known_when_it_is_due() {
        let mut log = Log { limits: Some(Limits::default()), ..log(Style::default(), false) };
        let begun = Instant::now();
        for _ in 0..SAID {
            log.lines(begun, TIME, Level::Info, "a");
        }
        assert_eq!(log.limits.as_ref().unwrap().next(), None);
        assert_eq!(log.lines(begun, TIME, Level::Info, "a"), "");
        assert_eq!(log.limits.as_ref().unwrap().next(), Some(begun + WINDOW));
        assert_eq!(log.due(begun, TIME), "");
        assert_eq!(log.end(TIME), "streamdb: 1 more like this, which is the last: a\n");
        assert_eq!(log.end(TIME), "");
    }

    #[test]
    fn kinds_are_bounded() {
        let mut limits = Limits::default();
        let now = Instant::now();
        let letters = |n: usize| -> String { format!("{n:012b}").replace('0', "a").replace('1', "b") };
        let said = (0..4096).filter(|n| limits.take(now, Level::Warning, &letters(*n))).count();
        assert_eq!((said, limits.0.len()), (KINDS + SAID as usize, KINDS + 1));
        let word = "x".repeat(10_000);
        assert!(kind(&word).len() <= LONGEST_KIND + 1);
        assert_ne!(kind("a"), kind("b"));
    }

    #[test]
    fn without_limits_all_is_said() {
        let mut log = log(Style::default(), false);
        assert!((0..1000).all(|_| log.lines(Instant::now(), TIME, Level::Warning, "a") == "streamdb: a\n"));
    }
}
