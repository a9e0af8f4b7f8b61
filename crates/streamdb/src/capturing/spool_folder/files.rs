//! Which files of a folder are complete, and which is next. What is heard of a file says it: its writer closed it, or it was moved
//! in. Of one of which nothing is heard, as it was there before or comes over a network, it is that nothing has changed for a while.
//! No clock and no file here.
//!
//! ```text
//!              modified                 closed, moved in
//!  unheard -----------------> written -------------------> complete --+
//!     |                          ^                                    |
//!     |    quiet for a minute    |  modified                          v
//!     +--------------------------|-----------------------------> taken, unheard
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// A file of which nothing is heard is complete when nothing has changed for so long.
pub(super) const QUIET: Duration = Duration::from_secs(60);
/// The most files of a folder that are known.
pub(super) const MOST: usize = 200_000;

/// How late it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Since some moment before; it never goes back.
    pub(super) since: Duration,
    /// By the clock, in nanoseconds since 1970.
    pub(super) clock: i128,
}

/// By what a file and its content are known again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) inode: u64,
    pub(super) length: u64,
    /// When it was written to last, in nanoseconds since 1970.
    pub(super) modified: i128,
}

/// What is heard of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Somebody writes to it.
    Modified,
    /// Who wrote to it closed it, or it was moved in.
    Complete,
    /// It was removed, or moved away.
    Gone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    Modified,
    Complete,
}

/// A file.
#[derive(Clone, Copy, Debug)]
struct File {
    shape: Shape,
    heard: Heard,
    /// Since when it waits.
    first: Duration,
    /// When its shape was seen to be another one.
    changed: Duration,
    /// The shape in which it was taken.
    taken: Option<Shape>,
    /// The shape in which it is known that the store has not got it.
    is_new: Option<Shape>,
    /// It could not be taken as it is, and is not tried before this.
    not_before: Option<Duration>,
    /// Of the files that are there it was so when it was looked last.
    is_there: bool,
    /// Where it is among those that wait, if it is.
    waits_as: Option<Place>,
}

/// Where a file is among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// With those that were not tried yet, by when it was written to last.
    First(i128),
    /// With those that could not be taken, by when they are tried again.
    Again(Duration),
}

impl File {
    const fn new(now: Now) -> Self {
        Self {
            shape: Shape { inode: 0, length: 0, modified: 0 },
            heard: Heard::Nothing,
            first: now.since,
            changed: now.since,
            taken: None,
            is_new: None,
            not_before: None,
            is_there: true,
            waits_as: None,
        }
    }

    /// Whether it is to be taken, now or later.
    fn waits(&self) -> bool {
        self.shape.length > 0 && self.heard != Heard::Modified && self.taken != Some(self.shape)
    }

    /// Where it belongs among those that wait.
    fn place(&self) -> Option<Place> {
        self.waits().then(|| self.not_before.map_or(Place::First(self.shape.modified), Place::Again))
    }

    fn is_complete(&self, now: Now) -> bool {
        let quiet = || {
            now.since.saturating_sub(self.changed) >= QUIET
                || now.clock.saturating_sub(self.shape.modified) >= QUIET.as_nanos().cast_signed()
        };
        self.heard == Heard::Complete || quiet()
    }
}

/// Whether a file of this name is one that is looked at: what is hidden or unfinished by its name is not.
pub(super) fn is_wanted(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let unfinished = [&b".tmp"[..], b".part"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    !name.starts_with(b".") && !unfinished
}

/// What is to be done with the next file, which is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is complete, and taken.
    Take(Shape),
    /// It may be complete, and nobody knows whether the store has it: then it holds up no other one.
    Ask(Shape),
}

/// Those that are to be taken, now or later.
#[derive(Debug, Default, PartialEq, Eq)]
struct Waiting {
    /// When they were written to last, and the name.
    first: BTreeSet<(i128, OsString)>,
    /// Those that could not be taken: when they are tried again, and the name.
    again: BTreeSet<(Duration, OsString)>,
}

impl Waiting {
    fn insert(&mut self, place: Place, name: OsString) {
        _ = match place {
            Place::First(modified) => self.first.insert((modified, name)),
            Place::Again(then) => self.again.insert((then, name)),
        };
    }

    fn remove(&mut self, place: Place, name: OsString) {
        _ = match place {
            Place::First(modified) => self.first.remove(&(modified, name)),
            Place::Again(then) => self.again.remove(&(then, name)),
        };
    }
}

/// The files of a folder, by name.
#[derive(Debug, Default)]
pub(super) struct Files {
    all: BTreeMap<OsString, File>,
    waiting: Waiting,
    /// There are more than are known.
    pub(super) crowded: bool,
}

impl Files {
    /// Something is heard of a file.
    pub(super) fn heard(&mut self, name: &OsStr, news: News, now: Now) {
        if news == News::Gone {
            if let Some(place) = self.all.remove(name).and_then(|file| file.waits_as) {
                self.waiting.remove(place, name.to_owned());
            }
        } else if let Some(file) = self.file(name, now) {
            file.heard = if news == News::Modified { Heard::Modified } else { Heard::Complete };
            self.sort(name);
        }
    }

    /// It was lost what was heard, or nothing is heard any more.
    pub(super) fn hear_nothing(&mut self) {
        let mut waiting = Waiting::default();
        for (name, file) in &mut self.all {
            file.heard = Heard::Nothing;
            file.waits_as = file.place();
            if let Some(place) = file.waits_as {
                waiting.insert(place, name.clone());
            }
        }
        self.waiting = waiting;
    }

    /// It is about to be said of each file that is there how it is.
    pub(super) fn begin_look(&mut self) {
        self.all.values_mut().for_each(|file| file.is_there = false);
        self.crowded = false;
    }

    /// How a file is.
    pub(super) fn seen(&mut self, name: &OsStr, shape: Shape, now: Now) {
        let Some(file) = self.file(name, now) else { return };
        file.is_there = true;
        if file.shape != shape {
            if file.taken == Some(file.shape) {
                file.first = now.since;
            }
            file.changed = now.since;
            file.shape = shape;
            file.not_before = None;
            self.sort(name);
        }
    }

    /// Of this one it is known otherwise.
    pub(super) fn keep(&mut self, name: &OsStr) {
        if let Some(file) = self.all.get_mut(name) {
            file.is_there = true;
        }
    }

    /// All that are there were said.
    pub(super) fn end_look(&mut self) {
        let Self { all, waiting, .. } = self;
        all.retain(|name, file| {
            if let Some(place) = file.waits_as.filter(|_| !file.is_there) {
                waiting.remove(place, name.clone());
            }
            file.is_there
        });
    }

    /// This is done with a file as long as it is so: it is in the store, or is none that could be.
    pub(super) fn taken(&mut self, name: &OsStr, shape: Shape) {
        if let Some(file) = self.all.get_mut(name) {
            file.taken = Some(shape);
            file.not_before = None;
            // What comes to it from now on has to be heard again. What was heard meanwhile still counts.
            if file.heard == Heard::Complete && file.shape == shape {
                file.heard = Heard::Nothing;
            }
            self.sort(name);
        }
    }

    /// The store has not got it as it is so.
    pub(super) fn is_new(&mut self, name: &OsStr, shape: Shape) {
        if let Some(file) = self.all.get_mut(name) {
            file.is_new = Some(shape);
        }
    }

    /// It could not be taken now, and may be after this.
    pub(super) fn not_before(&mut self, name: &OsStr, then: Duration) {
        if let Some(file) = self.all.get_mut(name) {
            file.not_before = Some(then);
            self.sort(name);
        }
    }

    /// How many are to be taken, now or later.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.first.len() + self.waiting.again.len()
    }

    /// The file that is to be taken and was not tried yet: the one that was written to longest ago, if it is complete. One that may be before long holds
    /// up those after it for a while, so that connections go on from it to them.
    pub(super) fn next(&self, now: Now) -> Option<(i128, &OsStr, Next)> {
        for (modified, name) in &self.waiting.first {
            let Some(file) = self.all.get(name) else { continue };
            if file.is_complete(now) {
                return Some((*modified, name, Next::Take(file.shape)));
            }
            if file.is_new != Some(file.shape) {
                return Some((*modified, name, Next::Ask(file.shape)));
            }
            if now.since.saturating_sub(file.first) < QUIET {
                return None;
            }
        }
        None
    }

    /// The file that could not be taken, and is to be tried again: the one for which it is time the longest.
    pub(super) fn again(&self, now: Now) -> Option<(Duration, &OsStr, Next)> {
        let due = self.waiting.again.iter().take_while(|(then, _)| *then <= now.since);
        let mut due = due.filter_map(|(then, name)| Some((*then, name.as_os_str(), self.all.get(name)?)));
        let (then, name, file) = due.find(|(_, _, file)| file.is_complete(now))?;
        Some((then, name, Next::Take(file.shape)))
    }

    /// Puts a file among those that wait, or takes it out, as it is now.
    fn sort(&mut self, name: &OsStr) {
        let Some(file) = self.all.get_mut(name) else { return };
        let waits = file.place();
        let before = std::mem::replace(&mut file.waits_as, waits);
        if before == waits {
            return;
        }
        if let Some(place) = before {
            self.waiting.remove(place, name.to_owned());
        }
        if let Some(place) = waits {
            self.waiting.insert(place, name.to_owned());
        }
    }

    fn file(&mut self, name: &OsStr, now: Now) -> Option<&mut File> {
        if !is_wanted(name) {
            return None;
        }
        if !self.all.contains_key(name) {
            if self.all.len() >= MOST {
                self.crowded = true;
                return None;
            }
            self.all.insert(name.to_owned(), File::new(now));
        }
        self.all.get_mut(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: i128 = 1_000_000_000_000;

    /// So many seconds after the begin.
    fn at(seconds: u64) -> Now {
        Now { since: Duration::from_secs(seconds), clock: CLOCK + i128::from(seconds) * 1_000_000_000 }
    }

    /// Written to so many seconds after the begin.
    fn shape(length: u64, seconds: i64) -> Shape {
        Shape { inode: 7, length, modified: CLOCK + i128::from(seconds) * 1_000_000_000 }
    }

    fn next(files: &Files, seconds: u64) -> Option<&str> {
        let mut waiting = Waiting::default();
        for (name, file) in &files.all {
            if let Some(place) = file.place() {
                waiting.insert(place, name.clone());
            }
        }
        assert_eq!(waiting, files.waiting);
        if let Some((_, name, _)) = files.again(at(seconds)) {
            return name.to_str();
        }
        let (_, name, Next::Take(_)) = files.next(at(seconds))? else { return None };
        name.to_str()
    }

    /// It is asked for all of those of which it is not known, and the store has none of them.
    fn all_new(files: &mut Files, seconds: u64) {
        while let Some((name, shape)) = match files.next(at(seconds)) {
            Some((_, name, Next::Ask(shape))) => Some((name.to_owned(), shape)),
            _ => None,
        } {
            files.is_new(&name, shape);
        }
    }

    fn seen(files: &mut Files, name: &str, shape: Shape, seconds: u64) {
        files.seen(name.as_ref(), shape, at(seconds));
    }

    fn heard(files: &mut Files, name: &str, news: News, seconds: u64) {
        files.heard(name.as_ref(), news, at(seconds));
    }

    #[test]
    fn who_closes_a_file_says_that_it_is_complete() {
        let mut files = Files::default();
        heard(&mut files, "a", News::Modified, 1);
        seen(&mut files, "a", shape(10, 1), 1);
        assert_eq!((next(&files, 500), files.waiting()), (None, 0), "its writer may be slow");
        heard(&mut files, "a", News::Complete, 501);
        seen(&mut files, "a", shape(10, 1), 501);
        assert_eq!((next(&files, 501), files.waiting()), (Some("a"), 1));
        files.taken("a".as_ref(), shape(10, 1));
        assert_eq!((next(&files, 900), files.waiting()), (None, 0));
        // Somebody opened it for writing, and wrote nothing.
        heard(&mut files, "a", News::Complete, 901);
        seen(&mut files, "a", shape(10, 1), 901);
        assert_eq!(next(&files, 901), None);
    }

    #[test]
    fn a_name_that_is_used_again_is_another_content() {
        let mut files = Files::default();
        heard(&mut files, "a", News::Complete, 1);
        seen(&mut files, "a", shape(10, 1), 1);
        files.taken("a".as_ref(), shape(10, 1));
        heard(&mut files, "a", News::Modified, 2);
        seen(&mut files, "a", shape(4, 2), 3);
        assert_eq!(next(&files, 300), None);
        heard(&mut files, "a", News::Complete, 301);
        seen(&mut files, "a", shape(10, 301), 301);
        assert_eq!(next(&files, 301), Some("a"));
    }

    #[test]
    fn what_is_heard_while_it_is_taken_is_not_forgotten() {
        let mut files = Files::default();
        heard(&mut files, "a", News::Complete, 1);
        seen(&mut files, "a", shape(10, 1), 1);
        heard(&mut files, "a", News::Modified, 2);
        heard(&mut files, "a", News::Complete, 3);
        seen(&mut files, "a", shape(20, 3), 3);
        files.taken("a".as_ref(), shape(10, 1));
        assert_eq!(next(&files, 3), Some("a"));
    }

    #[test]
    fn one_of_which_nothing_is_heard_is_complete_when_it_rests() {
        let mut files = Files::default();
        seen(&mut files, "old", shape(10, -60), 0);
        assert_eq!(next(&files, 0), Some("old"));
        files.taken("old".as_ref(), shape(10, -60));
        // Over a network it grows, and its time is another machine's.
        for second in [1, 30, 59, 80] {
            seen(&mut files, "new", shape(second, 10_000), second);
            assert_eq!(next(&files, second), None);
        }
        assert_eq!((next(&files, 139), files.waiting()), (None, 1));
        assert_eq!(next(&files, 140), Some("new"));
        files.taken("new".as_ref(), shape(80, 10_000));
        // After it was taken nothing is heard of a change, either.
        seen(&mut files, "new", shape(90, 10_001), 141);
        assert_eq!(next(&files, 141), None);
        assert_eq!(next(&files, 201), Some("new"));
    }

    #[test]
    fn after_news_were_lost_nothing_is_known_of_writers() {
        let mut files = Files::default();
        heard(&mut files, "closed", News::Complete, 1);
        seen(&mut files, "closed", shape(10, 1), 1);
        heard(&mut files, "written", News::Modified, 1);
        seen(&mut files, "written", shape(10, 1), 1);
        files.hear_nothing();
        assert_eq!(next(&files, 2), None);
        assert_eq!(next(&files, 61), Some("closed"));
        files.taken("closed".as_ref(), shape(10, 1));
        assert_eq!(next(&files, 61), Some("written"));
    }

    #[test]
    fn the_oldest_goes_first_and_holds_up_the_others_for_a_while() {
        let mut files = Files::default();
        for (name, second) in [("c", 2), ("b", 1), ("a", 2)] {
            heard(&mut files, name, News::Complete, 3);
            seen(&mut files, name, shape(10, second), 3);
        }
        // It was there before, and may be what these go on from.
        seen(&mut files, "before", shape(10, 0), 3);
        assert_eq!(files.next(at(3)).unwrap().2, Next::Ask(shape(10, 0)));
        all_new(&mut files, 3);
        assert_eq!(files.next(at(59)), None);
        seen(&mut files, "before", shape(11, 0), 59);
        assert_eq!(next(&files, 60), Some("before"));
        seen(&mut files, "before", shape(11, 50), 60);
        let mut order = Vec::new();
        while let Some((name, shape)) = match files.next(at(61)) {
            Some((_, name, Next::Take(shape))) => Some((name.to_owned(), shape)),
            _ => None,
        } {
            files.taken(&name, shape);
            order.push(name);
        }
        assert_eq!(order, ["b", "a", "c"]);
        // One that never rests holds up nobody for longer.
        seen(&mut files, "before", shape(12, 10), 62);
        heard(&mut files, "d", News::Complete, 62);
        seen(&mut files, "d", shape(10, 62), 62);
        seen(&mut files, "before", Shape { modified: CLOCK + 61_000_000_000, ..shape(13, 0) }, 63);
        all_new(&mut files, 63);
        assert_eq!(next(&files, 63), Some("d"));
    }

    #[test]
    fn what_the_store_has_holds_up_nobody() {
        let mut files = Files::default();
        seen(&mut files, "known", shape(10, 0), 1);
        heard(&mut files, "a", News::Complete, 2);
        seen(&mut files, "a", shape(10, 2), 2);
        assert_eq!(files.next(at(2)), Some((shape(10, 0).modified, "known".as_ref(), Next::Ask(shape(10, 0)))));
        files.taken("known".as_ref(), shape(10, 0));
        assert_eq!(next(&files, 2), Some("a"));
    }

    #[test]
    fn what_is_hidden_unfinished_or_empty_is_let_be() {
        let mut files = Files::default();
        for name in [".a", "a.tmp", "a.pcap.part", "A.PART", "empty"] {
            heard(&mut files, name, News::Complete, 1);
            seen(&mut files, name, shape(u64::from(name != "empty"), 1), 1);
        }
        assert_eq!((next(&files, 100), files.waiting()), (None, 0));
        heard(&mut files, "a.tmp.pcap", News::Complete, 100);
        seen(&mut files, "a.tmp.pcap", shape(1, 1), 100);
        assert_eq!(next(&files, 100), Some("a.tmp.pcap"));
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_failed_is_tried_later() {
        let mut files = Files::default();
        for name in ["a", "b", "c"] {
            seen(&mut files, name, shape(10, -100), 1);
        }
        files.not_before("a".as_ref(), Duration::from_secs(50));
        assert_eq!(next(&files, 2), Some("b"));
        heard(&mut files, "b", News::Gone, 2);
        assert_eq!(next(&files, 2), Some("c"));
        files.begin_look();
        seen(&mut files, "a", shape(10, -100), 3);
        files.end_look();
        assert_eq!((next(&files, 49), next(&files, 50)), (None, Some("a")));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let mut files = Files::default();
        (0..=MOST).for_each(|n| seen(&mut files, &n.to_string(), shape(1, -100), 1));
        assert!(files.crowded && files.waiting() == MOST);
        files.begin_look();
        seen(&mut files, "0", shape(1, -100), 2);
        files.end_look();
        assert!(!files.crowded && files.waiting() == 1);
    }
}
