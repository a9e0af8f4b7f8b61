//! Expressions that are looked for in contents, piece by piece: nothing is held, however large a content is, and what it
//! takes is bounded from outside, as the caller is asked all the time whether to go on.
//!
//! An automaton goes over the bytes, one after the other. Where nothing that it has seen can be part of a match, and every
//! match has one of a few literals in it, those are looked for first, many bytes at a time, and the automaton goes on where a
//! match with the next of them may begin. So what it finds is the same, and each byte is gone over a fixed number of times.

use std::ops::ControlFlow;
use std::sync::Arc;

use regex_automata::Anchored;
use regex_automata::hybrid::dfa::{Builder, Cache, Config, DFA};
use regex_automata::hybrid::{BuildError, LazyStateID};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::{start, syntax};

use crate::existence::trimmed;
use crate::pattern::{TOO_LARGE, no_linear_time, within_length};
use crate::required::Required;

/// Most memory of a compiled expression; for one byte, so much is gone through at worst.
const COMPILED: usize = 1 << 20;
/// Memory of the states that were met; when it is full, they are found anew.
const STATES: usize = 4 << 20;
/// Bytes of the automaton after which the caller is asked.
const STEP: usize = 1024;
/// Bytes after which the caller is asked where literals are looked for: it takes no longer.
const STRETCH: usize = 32 << 10;
/// So many literals are met before it is looked at what they were good for.
const MET: u32 = 64;
/// Bytes that have to lie between them on the average; it takes about as long to find one as to go over these.
const WORTH: usize = 64;
/// Where they lie closer, they are not looked for in so many bytes.
const PLAIN: usize = 128 << 10;

/// A compiled expression over bytes; two are equal when they were written the same.
#[derive(Clone, Debug)]
pub struct BytesExpression {
    text: String,
    automaton: Arc<DFA>,
    /// What is in each match, if it is anything that is worth to be looked for.
    required: Option<Arc<Required>>,
}

impl BytesExpression {
    /// A regular expression over bytes, with `\xff` for any byte, anywhere in them. Look-around and back-references, with
    /// which the time for a byte has no bound, are refused, and so is an expression that takes much memory.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        within_length(text)?;
        // PCRE matches bytes unless told otherwise, so `.` is a byte and not a character here.
        let parse = |unicode| {
            let read = syntax::parse_with(text, &syntax::Config::new().utf8(false).unicode(unicode));
            read.map_err(|error| no_linear_time(&error.to_string()))
        };
        let parsed = trimmed(parse(false).or_else(|_| parse(true))?);
        let thompson =
            thompson::Config::new().utf8(false).nfa_size_limit(Some(COMPILED)).which_captures(WhichCaptures::None);
        let compiled = thompson::Compiler::new().configure(thompson).build_from_hir(&parsed);
        let compiled: NFA = compiled.map_err(|error| match error.size_limit() {
            Some(_) => TOO_LARGE.to_owned(),
            None => no_linear_time(&error.to_string()),
        })?;
        let required = Required::of(&parsed, &compiled).map(Arc::new);
        let states = Config::new().cache_capacity(STATES).skip_cache_capacity_check(true);
        // To be told of them costs time; only who looks for literals then needs to know.
        let states = states.specialize_start_states(required.is_some());
        let automaton = Builder::new().configure(states).build_from_nfa(compiled);
        let automaton = automaton.map_err(|error: BuildError| no_linear_time(&error.to_string()))?;
        Ok(Self { text: text.to_owned(), automaton: Arc::new(automaton), required })
    }

    /// A search for it, to be used for one content after the other.
    pub fn search(&self) -> ContentSearch<'_> {
        ContentSearch {
            cache: self.automaton.create_cache(),
            automaton: &self.automaton,
            required: self.required.as_deref(),
            state: None,
            apart: false,
            unasked: 0,
            patience: Patience::default(),
        }
    }
}

impl PartialEq for BytesExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for BytesExpression {}

/// Why a search needs no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The expression is there.
    Found,
    /// Whatever comes, it will not be there: it had to be at the beginning.
    Never,
    /// The caller did not want to go on.
    Stopped,
}

/// An expression that is being looked for.
pub struct ContentSearch<'e> {
    automaton: &'e DFA,
    required: Option<&'e Required>,
    cache: Cache,
    /// Where the automaton is after all bytes so far; `None` before the first ones, and after what [`Decided`] says.
    state: Option<LazyStateID>,
    /// Whether no match that is still to be found begins in the bytes so far.
    apart: bool,
    /// Bytes that the automaton went over since the caller was asked.
    unasked: usize,
    patience: Patience,
}

impl ContentSearch<'_> {
    /// Begins with another content.
    pub fn begin(&mut self) {
        self.patience = Patience::default();
        self.start_behind(None);
    }

    /// Bytes are missing here: nothing is found that would go across, nor taken for a beginning or an end. To what lies
    /// before and behind, it is like a zero byte that is in no match.
    pub fn hole(&mut self) -> ControlFlow<Decided> {
        let Some(state) = self.state else { return ControlFlow::Continue(()) };
        // A match that has its last byte is told of with the one behind it.
        self.next(state, 0).map_continue(|_| self.start_behind(Some(0)))
    }

    fn start_behind(&mut self, byte: Option<u8>) {
        let start = start::Config::new().anchored(Anchored::No).look_behind(byte);
        self.state = self.automaton.start_state(&mut self.cache, &start).ok();
        self.apart = true;
    }

    /// Goes on with the next bytes of the content; breaks when they decide it. `go_on` is asked at least every KiB that the
    /// automaton goes over, and every 32 KiB in which literals are looked for.
    pub fn feed(&mut self, bytes: &[u8], go_on: &mut dyn FnMut() -> bool) -> ControlFlow<Decided> {
        for stretch in bytes.chunks(STRETCH) {
            self.unasked = 0;
            if !go_on() {
                return self.decide(Decided::Stopped);
            }
            let mut at = 0;
            while at < stretch.len() {
                let (begins, least) = self.skip(stretch, at);
                at = self.walk(stretch, begins, least, go_on)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Leaves out what no match can begin in: says where to go on, and until where no literal has to be looked for.
    fn skip(&mut self, bytes: &[u8], at: usize) -> (usize, usize) {
        let Some(required) = self.required else { return (at, bytes.len()) };
        if !self.apart {
            return (at, at);
        }
        if let Some(plain) = self.patience.plain(bytes.len() - at) {
            return (at, at + plain);
        }
        let next = required.next(bytes, at);
        self.patience.met(next.begins - at, next.ends < bytes.len());
        if next.begins > at
            && let Some(before) = bytes.get(next.begins - 1)
        {
            self.start_behind(Some(*before));
        }
        (next.begins, next.ends)
    }

    /// Lets the automaton go over bytes from `at` on: to `least`, and on from there to where no match goes across, or to
    /// their end. Says where that is.
    fn walk(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        least: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> ControlFlow<Decided, usize> {
        let Some(mut state) = self.state else { return ControlFlow::Break(Decided::Never) };
        while at < bytes.len() {
            if self.unasked >= STEP {
                self.unasked = 0;
                if !go_on() {
                    return self.decide(Decided::Stopped);
                }
            }
            self.apart = false;
            let step = bytes.len().min(at + STEP - self.unasked);
            let (from, until) = (at, least.clamp(at, step));
            state = self.run(state, bytes.get(at..until).unwrap_or_default())?;
            at = until;
            for byte in bytes.get(until..step).unwrap_or_default() {
                state = self.next(state, *byte)?;
                at += 1;
                if state.is_start() || self.required.is_some_and(|required| required.parts(*byte)) {
                    self.apart = true;
                    break;
                }
            }
            self.unasked += at - from;
            if self.apart {
                break;
            }
        }
        self.state = Some(state);
        ControlFlow::Continue(at)
    }

    /// Where the automaton goes with these bytes.
    fn run(&mut self, mut state: LazyStateID, bytes: &[u8]) -> ControlFlow<Decided, LazyStateID> {
        if self.required.is_some() {
            for byte in bytes {
                state = self.next(state, *byte)?;
            }
            return ControlFlow::Continue(state);
        }
        for byte in bytes {
            // Nearly always a state is of no special kind; between two of those a step is cheaper, by a fifth.
            if !state.is_tagged() {
                let next = self.automaton.next_state_untagged(&self.cache, state, *byte);
                if !next.is_tagged() {
                    state = next;
                    continue;
                }
            }
            state = self.next(state, *byte)?;
        }
        ControlFlow::Continue(state)
    }

    /// Where the automaton goes with a byte.
    #[inline(always)]
    fn next(&mut self, state: LazyStateID, byte: u8) -> ControlFlow<Decided, LazyStateID> {
        // Only a search that counts how often the states were thrown away can fail.
        let Ok(next) = self.automaton.next_state(&mut self.cache, state, byte) else {
            return self.decide(Decided::Stopped);
        };
        if next.is_tagged() {
            if next.is_match() {
                return self.decide(Decided::Found);
            }
            if next.is_dead() || next.is_quit() {
                return self.decide(Decided::Never);
            }
        }
        ControlFlow::Continue(next)
    }

    /// The content is over: whether the expression is there after all, for one that asks for the end.
    pub fn end(&mut self) -> bool {
        let Some(state) = self.state.take() else { return false };
        self.automaton.next_eoi_state(&mut self.cache, state).is_ok_and(|state| state.is_match())
    }

    fn decide<T>(&mut self, decided: Decided) -> ControlFlow<Decided, T> {
        self.state = None;
        ControlFlow::Break(decided)
    }
}

/// Whether it is worth to look for literals: where they are everywhere, it costs more than it saves.
#[derive(Debug, Default)]
struct Patience {
    /// Literals that were met since it was looked at that.
    met: u32,
    /// Bytes that were left out meanwhile.
    left_out: usize,
    /// Bytes in which they are not looked for.
    plain: usize,
    /// All bytes that were left out of this content.
    #[cfg(test)]
    ever: usize,
    /// How often literals were looked for in it.
    #[cfg(test)]
    tries: usize,
}

impl Patience {
    /// How many of these bytes are gone over without looking for literals, if any.
    fn plain(&mut self, bytes: usize) -> Option<usize> {
        let plain = self.plain.min(bytes);
        self.plain -= plain;
        (plain > 0).then_some(plain)
    }

    /// So many bytes were left out; and whether there was a literal behind them.
    fn met(&mut self, left_out: usize, literal: bool) {
        self.met += u32::from(literal);
        self.left_out += left_out;
        #[cfg(test)]
        {
            self.ever += left_out;
            self.tries += 1;
        }
        if self.met >= MET {
            self.plain = if self.left_out < MET as usize * WORTH { PLAIN } else { 0 };
            (self.met, self.left_out) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests;
