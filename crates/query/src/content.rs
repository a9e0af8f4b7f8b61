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
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// Of each list of pieces, one after the other, whether the expression is in it; between them are holes.
    fn is_in_runs(text: &str, runs: &[Vec<&[u8]>]) -> (bool, usize) {
        let expression = BytesExpression::new(text).unwrap();
        let mut search = expression.search();
        // The second time with what the first one has learnt.
        let [first, second] = [(); 2].map(|()| {
            search.begin();
            for (n, pieces) in runs.iter().enumerate() {
                let hole = if n > 0 { search.hole() } else { ControlFlow::Continue(()) };
                let told = pieces.iter().fold(hole, |told, piece| match told {
                    ControlFlow::Continue(()) => search.feed(piece, &mut || true),
                    told => told,
                });
                if let ControlFlow::Break(decided) = told {
                    return decided == Decided::Found;
                }
            }
            search.end()
        });
        assert_eq!(first, second);
        (first, search.patience.ever)
    }

    fn is_in(text: &str, pieces: &[&[u8]]) -> bool {
        is_in_runs(text, &[pieces.to_vec()]).0
    }

    /// A content in pieces, cut at these places.
    fn cut<'c>(content: &'c [u8], cuts: &[usize]) -> Vec<&'c [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().copied().filter(|cut| *cut <= content.len()).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect()
    }

    fn twin(text: &str) -> regex::bytes::Regex {
        regex::bytes::RegexBuilder::new(text).unicode(false).build().unwrap()
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
        for (text, found) in [
            ("ab", false),
            ("^b", false),
            ("a$", false),
            ("a.b", false),
            ("a", true),
            ("^a", true),
            ("bc", true),
            ("c$", true),
        ] {
            let expression = BytesExpression::new(text).unwrap();
            let mut search = expression.search();
            search.begin();
            let mut told = search.feed(b"a", &mut || true);
            if told.is_continue() {
                told = search.hole();
            }
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
            r"(?s)([\x00-\x7f].{300}|[\x80-\xff].{310}){10}[^a-z]{9}[0-9A-F]{9}",
            r"(?s)(?:[a-m].{0,40}){90}[^a-z]{9}[0-9A-F]{9}",
            r"(?s)[^\x00].{9000}[^a-z]{9}[0-9A-F]{9}",
        ] {
            let expression = BytesExpression::new(dear).unwrap();
            assert!(expression.required.is_none(), "{dear}: the automaton has to go over all bytes");
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
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// What another engine of the same language says of the whole content at once.
        #[test]
        fn pieces_are_as_the_whole(
            text in proptest::sample::select(vec![
                "ab+c", "^a.*b$", "(?s)a.{2,5}b", "(?m)^b$", r"\bab\b", "(ab|ba)*c$", "[^a]{3}", "a\\z", r"\Bb", "(?i)AbC",
            ]),
            content in proptest::collection::vec(proptest::sample::select(b"abc \n".to_vec()), 0..60),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let pieces = cut(&content, &cuts);
            prop_assert_eq!(is_in(text, &pieces), twin(text).is_match(&content), "{:?} in {:?}", text, pieces);
        }

        /// So too where literals are looked for, in contents that have many of them, and nearly.
        #[test]
        fn literals_in_pieces_are_as_in_the_whole(
            text in proptest::sample::select(WITH_LITERALS.to_vec()),
            content in content(),
            cuts in proptest::collection::vec(0usize..25, 0..6),
        ) {
            let pieces = cut(&content, &cuts);
            prop_assert_eq!(is_in(text, &pieces), twin(text).is_match(&content), "{:?} in {:?}", text, pieces);
        }

        /// A hole is like a zero byte on either side, which none of these takes.
        #[test]
        fn holes_are_between_contents(
            text in proptest::sample::select(WITH_LITERALS.iter().filter(|text| !text.contains(['.', '^'])).copied().collect::<Vec<_>>()),
            contents in proptest::collection::vec((content(), proptest::collection::vec(0usize..25, 0..3)), 1..4),
        ) {
            let runs: Vec<Vec<&[u8]>> = contents.iter().map(|(content, cuts)| cut(content, cuts)).collect();
            let padded = contents.iter().map(|(content, _)| &content[..]).collect::<Vec<_>>().join(&0);
            prop_assert_eq!(is_in_runs(text, &runs).0, twin(text).is_match(&padded), "{:?} in {:?}", text, runs);
        }
    }

    /// Each has literals that are looked for: before, within, and behind what else is in it.
    const WITH_LITERALS: [&str; 24] = [
        "QZX",
        "QZX|ZQ#Z",
        "(?i)qzxq",
        "[a-c]{3,}QZ#",
        "[a-c]*QZX[a-c]*",
        "a.{3}QZX",
        "(?s)a.{0,3}QZX.{2}b",
        "(?s)QZX.*ZQ#",
        "(?s)a.*QZX",
        "(?s)(a|bc).+QZX",
        r"\bQZX\b",
        r"\BQZX",
        "(?m)^QZX",
        "(?m)QZX$",
        "QZX$",
        r"QZX\z",
        "(?m)^[a-c]+QZ#$",
        "[^b]+QZX",
        "[^b]{2}QZX[^c]b",
        "(QZ#|ZXQ)+a",
        "(a+QZ#|b+ZXQ)",
        "(a|bQ)+QZX(c|Z)",
        "a(QZ#)?ZXQ",
        "(?:QZX){2}",
    ];

    /// Contents with parts of those literals, and with what is around them.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let parts: [&[u8]; 12] =
            [b"QZX", b"ZQ#Z", b"qZx", b"QZ#", b"ZXQ", b"Q", b"Z", b"a", b"abc", b"b", b"\n", b"    "];
        // Short ones, as in a long one there is nearly always a match that no cut goes through.
        proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..9).prop_map(|parts| parts.concat())
    }

    #[test]
    fn what_has_no_literal_is_left_out() {
        let prose = b"What lies between is gone over many bytes at a time. ".repeat(2000);
        for text in WITH_LITERALS.iter().filter(|text| !text.contains("(?s)a.*") && !text.contains(").+")) {
            let (found, left_out) = is_in_runs(text, &[prose.chunks(50_000).collect()]);
            assert!(!found && left_out > prose.len() * 99 / 100, "{text}: {left_out} of {}", prose.len());
        }
        for text in ["(?i)this program cannot be run", "mimikatz|powershell", r"[a-z]{8,}\.exe", "[a-z]+=[0-9]+&zz="] {
            assert!(BytesExpression::new(text).unwrap().required.is_some(), "{text}");
        }
        // Nothing in it is rare, or it may begin anywhere, or only at the beginning.
        for text in ["[a-z]{4}", "e", "(e|a|i|o|u)[a-z]", "^QZX", ""] {
            assert!(BytesExpression::new(text).unwrap().required.is_none(), "{text}");
        }
    }

    #[test]
    fn literals_that_are_everywhere_are_not_looked_for_all_the_time() {
        let expression = BytesExpression::new("QZX[0-9]").unwrap();
        let mut search = expression.search();
        let close = b"QZXa".repeat(1 << 20);
        search.begin();
        assert!(search.feed(&close, &mut || true).is_continue());
        let tries = search.patience.tries;
        assert!((MET as usize..close.len() / 1000).contains(&tries), "{tries} in {}", close.len());
        // Where they are rare again, they are again.
        let rare = [vec![b' '; 1 << 20], b"QZX7 ".to_vec()].concat();
        assert_eq!(search.feed(&rare, &mut || true), ControlFlow::Break(Decided::Found));
        assert!(search.patience.ever > rare.len() / 2, "{}", search.patience.ever);
    }

    #[test]
    fn a_literal_that_is_far_is_not_looked_for_at_each_byte() {
        // A match may begin at each of them, and end behind the literal.
        let expression = BytesExpression::new("(?s)(a|bc).+QZX").unwrap();
        let far = [vec![b'x'; STRETCH - 3], b"QZX".to_vec()].concat().repeat(50);
        let mut search = expression.search();
        search.begin();
        assert!(search.feed(&far, &mut || true).is_continue());
        assert!((50..500).contains(&search.patience.tries), "{}", search.patience.tries);
    }

    #[test]
    fn however_literals_lie_it_takes_linear_time() {
        // Each is found at once, and none of them decides anything.
        let content = b"aQZ".repeat(1 << 20);
        for text in ["[aQZ]{8,}#", "(?s)a.*QZ#", "[aQZ]+QZ[0-9]", "(aQZ){9}QZ", "[^#]{50}QZ#", "(?s)QZ.{0,100}#"] {
            let expression = BytesExpression::new(text).unwrap();
            let mut search = expression.search();
            search.begin();
            let begun = Instant::now();
            assert!(search.feed(&content, &mut || true).is_continue());
            assert!(begun.elapsed() < Duration::from_secs(2), "{text}: {:?}", begun.elapsed());
        }
    }
}
