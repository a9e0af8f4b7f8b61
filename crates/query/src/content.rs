//! Expressions that are looked for in contents, piece by piece: nothing is held, however large a content is, and what it
//! takes is bounded from outside, as the caller is asked every KiB whether to go on.

use std::ops::ControlFlow;
use std::sync::Arc;

use regex_automata::Anchored;
use regex_automata::hybrid::dfa::{Builder, Cache, Config, DFA};
use regex_automata::hybrid::{BuildError, LazyStateID};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::{start, syntax};

use crate::pattern::{TOO_LARGE, no_linear_time, within_length};

/// Most memory of a compiled expression; for one byte, so much is gone through at worst.
const COMPILED: usize = 1 << 20;
/// Memory of the states that were met; when it is full, they are found anew.
const STATES: usize = 4 << 20;
/// Bytes after which the caller is asked.
const STEP: usize = 1024;

/// A compiled expression over bytes; two are equal when they were written the same.
#[derive(Clone, Debug)]
pub struct BytesExpression {
    text: String,
    automaton: Arc<DFA>,
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
        let parsed = parse(false).or_else(|_| parse(true))?;
        let thompson =
            thompson::Config::new().utf8(false).nfa_size_limit(Some(COMPILED)).which_captures(WhichCaptures::None);
        let compiled = thompson::Compiler::new().configure(thompson).build_from_hir(&parsed);
        let compiled: NFA = compiled.map_err(|error| match error.size_limit() {
            Some(_) => TOO_LARGE.to_owned(),
            None => no_linear_time(&error.to_string()),
        })?;
        let states = Config::new().cache_capacity(STATES).skip_cache_capacity_check(true);
        let automaton = Builder::new().configure(states).build_from_nfa(compiled);
        let automaton = automaton.map_err(|error: BuildError| no_linear_time(&error.to_string()))?;
        Ok(Self { text: text.to_owned(), automaton: Arc::new(automaton) })
    }

    /// A search for it, to be used for one content after the other.
    pub fn search(&self) -> ContentSearch<'_> {
        ContentSearch { cache: self.automaton.create_cache(), automaton: &self.automaton, state: None }
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
    cache: Cache,
    /// `None` before the first bytes, and after what [`Decided`] says.
    state: Option<LazyStateID>,
}

impl ContentSearch<'_> {
    /// Begins with another content.
    pub fn begin(&mut self) {
        self.start_behind(None);
    }

    /// Bytes are missing here: nothing is found that would go across, nor taken for a beginning or an end.
    pub fn hole(&mut self) {
        if self.state.is_some() {
            self.start_behind(Some(0));
        }
    }

    fn start_behind(&mut self, byte: Option<u8>) {
        let start = start::Config::new().anchored(Anchored::No).look_behind(byte);
        self.state = self.automaton.start_state(&mut self.cache, &start).ok();
    }

    /// Goes on with the next bytes of the content; breaks when they decide it. `go_on` is asked every KiB.
    pub fn feed(&mut self, bytes: &[u8], go_on: &mut dyn FnMut() -> bool) -> ControlFlow<Decided> {
        for step in bytes.chunks(STEP) {
            if !go_on() {
                return self.decide(Decided::Stopped);
            }
            let Some(mut state) = self.state else { return ControlFlow::Break(Decided::Never) };
            for byte in step {
                // Only a search that counts how often the states were thrown away can fail.
                let Ok(next) = self.automaton.next_state(&mut self.cache, state, *byte) else {
                    return self.decide(Decided::Stopped);
                };
                state = next;
                if state.is_tagged() {
                    if state.is_match() {
                        return self.decide(Decided::Found);
                    }
                    if state.is_dead() || state.is_quit() {
                        return self.decide(Decided::Never);
                    }
                }
            }
            self.state = Some(state);
        }
        ControlFlow::Continue(())
    }

    /// The content is over: whether the expression is there after all, for one that asks for the end.
    pub fn end(&mut self) -> bool {
        let Some(state) = self.state.take() else { return false };
        self.automaton.next_eoi_state(&mut self.cache, state).is_ok_and(|state| state.is_match())
    }

    fn decide(&mut self, decided: Decided) -> ControlFlow<Decided> {
        self.state = None;
        ControlFlow::Break(decided)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn is_in(text: &str, pieces: &[&[u8]]) -> bool {
        let expression = BytesExpression::new(text).unwrap();
        let mut search = expression.search();
        // The second time with what the first one has learnt.
        let [first, second] = [(); 2].map(|()| {
            search.begin();
            for piece in pieces {
                match search.feed(piece, &mut || true) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(decided) => return decided == Decided::Found,
                }
            }
            search.end()
        });
        assert_eq!(first, second);
        first
    }

    #[test]
    fn bytes_and_what_is_refused() {
        let is = |text: &str, bytes: &[u8]| is_in(text, &[bytes]);
        assert!(is(r"\xff\xd8.", b"..\xff\xd8\xff"));
        assert!(is("(?i)cannot be RUN", b"This program cannot be run in DOS mode"));
        assert!(!is("^MZ", b"xMZ"));
        assert!(is("^MZ", b"MZx"));
        assert!(is("x$", b"MZx"));
        assert!(!is("Z$", b"MZx"));
        assert!(is("", b""));
        assert!(is("\u{e9}", "caf\u{e9}".as_bytes()));
        assert!(is(r"\p{Greek}+", "\u{3b1}".as_bytes()));
        for refused in [r"(?=a)", r"(a)\1", "(", r"\p{Greek}\b"] {
            let why = BytesExpression::new(refused).unwrap_err();
            assert!(why.starts_with("a regular expression that takes linear time"), "{why}");
            assert!(!why.contains('\n'));
        }
        assert_eq!(BytesExpression::new("a{1000}{1000}").unwrap_err(), "an expression that needs less memory");
        assert!(BytesExpression::new(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn nothing_goes_across_a_hole() {
        for (text, found) in [("ab", false), ("^b", false), ("a$", false), ("bc", true), ("c$", true)] {
            let expression = BytesExpression::new(text).unwrap();
            let mut search = expression.search();
            search.begin();
            let mut told = search.feed(b"a", &mut || true);
            search.hole();
            if told.is_continue() {
                told = search.feed(b"bc", &mut || true);
            }
            assert_eq!(told == ControlFlow::Break(Decided::Found) || search.end(), found, "{text}");
        }
    }

    #[test]
    fn whoever_has_no_time_is_asked() {
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise: Vec<u8> = noise.take(1 << 20).collect();
        // About as large as is taken, and with as many ways at each byte.
        for dear in [
            r"(?s)([\x00-\x7f].{300}|[\x80-\xff].{310}){10}\x00nowhere",
            r"(?s)(?:[a-m].{0,40}){90}nowhere",
            r"(?s)[^\x00].{9000}nowhere",
        ] {
            let expression = BytesExpression::new(dear).unwrap();
            let mut search = expression.search();
            search.begin();
            let begun = Instant::now();
            let told = search.feed(&noise, &mut || begun.elapsed() < Duration::from_millis(300));
            println!("{dear}: {told:?} after {:?}", begun.elapsed());
            // Asked in time, the last step included, on a machine that has other things to do, too.
            assert!(begun.elapsed() < Duration::from_secs(10), "{dear}: {:?}", begun.elapsed());
        }
    }

    proptest! {
        /// What another engine of the same language says of the whole content at once.
        #[test]
        fn pieces_are_as_the_whole(
            text in proptest::sample::select(vec![
                "ab+c", "^a.*b$", "(?s)a.{2,5}b", "(?m)^b$", r"\bab\b", "(ab|ba)*c$", "[^a]{3}", "a\\z", r"\Bb", "(?i)AbC",
            ]),
            content in proptest::collection::vec(proptest::sample::select(b"abc \n".to_vec()), 0..60),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= content.len()).collect();
            cuts.extend([0, content.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect();
            let twin = regex::bytes::RegexBuilder::new(text).unicode(false).build().unwrap();
            prop_assert_eq!(is_in(text, &pieces), twin.is_match(&content), "{:?} in {:?}", text, pieces);
        }
    }
}
