//! What every match of an expression has in it: literals, which are looked for many bytes at a time, and how far before one a
//! match may begin.

use regex_automata::MatchKind;
use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::prefilter::Prefilter;
use regex_syntax::hir::literal::{Extractor, Literal, Seq, rank};
use regex_syntax::hir::{Hir, HirKind};

/// Most literals of which one is in each match; more are not looked for faster than the expression itself.
const MOST: usize = 64;
/// Places in a sequence at which literals are looked for, and parts that are put together from each.
const PARTS: usize = 32;
/// What makes a literal half as frequent, by weight.
const HALF: u32 = 40;
/// Literals that weigh less are everywhere: every thirtieth byte begins one.
const LIGHT: u32 = 5 * HALF;
/// What weighs more is rare enough.
const HEAVY: u32 = 40 * HALF;

/// Literals of which every match has one.
#[derive(Clone, Debug)]
pub(crate) struct Required {
    literals: Prefilter,
    /// Bytes of the longest.
    longest: usize,
    /// Most bytes that a match may have before it; `None` when there is no such number.
    reach: Option<usize>,
    /// Bytes that are in no match.
    apart: Box<[bool; 256]>,
}

/// Literals of which every text has one in which an expression matches.
pub(crate) struct Literals(Prefilter);

impl Literals {
    /// Those of an expression; `None` where there are none that can be found fast.
    pub(crate) fn of(hir: &Hir) -> Option<Self> {
        Self::new(choose(hir)?.literals.iter().map(Literal::as_bytes))
    }

    /// Of each of an expression's the longest piece without these bytes, where it is ASCII; `None` where one of them is shorter
    /// than three bytes, or within one of the texts of `not_of`, upper and lower case alike.
    pub(crate) fn pieces_of(hir: &Hir, without: &[u8], not_of: &[&str]) -> Option<Self> {
        let literals = choose(hir)?.literals;
        let longest = |literal: &Literal| {
            let pieces = literal.as_bytes().split(|byte| without.contains(byte));
            pieces.max_by_key(|piece| piece.len()).map(<[u8]>::to_vec).unwrap_or_default()
        };
        let pieces: Vec<Vec<u8>> = literals.iter().map(longest).collect();
        let usable = |piece: &Vec<u8>| {
            let within =
                |text: &&str| text.as_bytes().windows(piece.len()).any(|part| part.eq_ignore_ascii_case(piece));
            piece.len() >= 3 && piece.is_ascii() && !not_of.iter().any(within)
        };
        if pieces.iter().all(usable) { Self::new(pieces.iter().map(Vec::as_slice)) } else { None }
    }

    fn new<'l>(literals: impl Iterator<Item = &'l [u8]>) -> Option<Self> {
        let literals: Vec<&[u8]> = literals.collect();
        Prefilter::new(MatchKind::LeftmostFirst, &literals).filter(Prefilter::is_fast).map(Self)
    }

    /// Where the first of them from there on begins.
    pub(crate) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        self.0.find(bytes, (from.min(bytes.len())..bytes.len()).into()).map(|found| found.start)
    }
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// No match begins before.
    pub(crate) begins: usize,
    /// No match ends before; where a literal was found, its first byte is within.
    pub(crate) ends: usize,
}

impl Required {
    /// What is in every match of an expression and its automaton; `None` when it is nothing that can be found fast.
    pub(crate) fn of(hir: &Hir, automaton: &NFA) -> Option<Self> {
        // What is held at its beginning is decided there.
        if automaton.is_always_start_anchored() {
            return None;
        }
        let Choice { literals, reach, .. } = choose(hir)?;
        let longest = literals.iter().map(Literal::len).max()?;
        // Leftmost: the one that begins first is found.
        let needles: Vec<&[u8]> = literals.iter().map(Literal::as_bytes).collect();
        let literals = Prefilter::new(MatchKind::LeftmostFirst, &needles).filter(Prefilter::is_fast)?;
        Some(Self { literals, longest, reach, apart: apart(automaton) })
    }

    /// Whether no match goes over this byte.
    pub(crate) fn parts(&self, byte: u8) -> bool {
        self.apart.get(usize::from(byte)).is_some_and(|apart| *apart)
    }

    /// Where to go on in bytes in which every match that is to be found begins at `from` or later.
    pub(crate) fn next(&self, bytes: &[u8], from: usize) -> Next {
        let found = self.literals.find(bytes, (from..bytes.len()).into());
        // A literal may begin in the last bytes and end in those that come.
        let literal = found.map_or(bytes.len().saturating_sub(self.longest - 1), |found| found.start).max(from);
        let earliest = self.reach.map_or(0, |reach| literal.saturating_sub(reach)).max(from);
        let ends = found.map_or(bytes.len(), |found| found.start + 1);
        let until = if found.is_some() { literal } else { bytes.len() };
        let between = bytes.get(earliest..until).unwrap_or_default();
        let begins = between.iter().rposition(|byte| self.parts(*byte)).map_or(earliest, |at| earliest + at + 1);
        Next { begins, ends }
    }
}

/// Bytes over which an automaton goes in no match.
fn apart(automaton: &NFA) -> Box<[bool; 256]> {
    let mut apart = Box::new([true; 256]);
    let mut over = |first: u8, last: u8| {
        if let Some(bytes) = apart.get_mut(usize::from(first)..=usize::from(last)) {
            bytes.fill(false);
        }
    };
    // From where a match begins on; what comes before is gone over by states of its own.
    let mut seen = vec![false; automaton.states().len()];
    let mut ahead = vec![automaton.start_anchored()];
    while let Some(id) = ahead.pop() {
        match seen.get_mut(id.as_usize()) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        match automaton.state(id) {
            State::ByteRange { trans } => {
                over(trans.start, trans.end);
                ahead.push(trans.next);
            }
            State::Sparse(sparse) => {
                for trans in &*sparse.transitions {
                    over(trans.start, trans.end);
                    ahead.push(trans.next);
                }
            }
            State::Dense(dense) => {
                for (byte, next) in (0..=u8::MAX).filter_map(|byte| Some((byte, dense.matches_byte(byte)?))) {
                    over(byte, byte);
                    ahead.push(next);
                }
            }
            State::Look { next, .. } | State::Capture { next, .. } => ahead.push(*next),
            State::Union { alternates } => ahead.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => ahead.extend([*alt1, *alt2]),
            State::Fail | State::Match { .. } => {}
        }
    }
    apart
}

/// Literals that may be looked for.
struct Choice {
    literals: Vec<Literal>,
    reach: Option<usize>,
    /// The more, the rarer they are.
    weight: u32,
}

impl Choice {
    /// `None` when they are too many, or everywhere.
    fn of(literals: Vec<Literal>, reach: Option<usize>) -> Option<Self> {
        if literals.len() > MOST {
            return None;
        }
        let lightest = literals.iter().map(weight).min()?;
        let weight = lightest.saturating_sub(literals.len().ilog2() * HALF);
        (weight >= LIGHT).then_some(Self { literals, reach, weight })
    }

    fn further(self, before: Option<usize>) -> Self {
        let reach = self.reach.zip(before).and_then(|(reach, before)| reach.checked_add(before));
        Self { reach, ..self }
    }
}

/// How rare a literal is, by what bytes are mostly met.
fn weight(literal: &Literal) -> u32 {
    // The most frequent byte is about every sixth.
    let weight = |byte: &u8| 5 * HALF / 2 + u32::from(u8::MAX - rank(*byte));
    literal.as_bytes().iter().map(weight).sum::<u32>().min(HEAVY)
}

/// The rarest literals of which one is in every match.
fn choose(hir: &Hir) -> Option<Choice> {
    let within = match hir.kind() {
        HirKind::Concat(parts) => of_parts(parts),
        HirKind::Alternation(ways) => of_ways(ways),
        HirKind::Capture(capture) => choose(&capture.sub),
        // In the first of them.
        HirKind::Repetition(all) if all.min > 0 => choose(&all.sub),
        _ => None,
    };
    rarer(prefixes(hir), within)
}

fn rarer(one: Option<Choice>, other: Option<Choice>) -> Option<Choice> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.weight > one.weight { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Those with which every match begins.
fn prefixes(hir: &Hir) -> Option<Choice> {
    let mut literals = Extractor::new().extract(hir);
    literals.optimize_for_prefix_by_preference();
    Choice::of(all_of(&literals)?, Some(0))
}

fn all_of(literals: &Seq) -> Option<Vec<Literal>> {
    literals.literals().map(<[Literal]>::to_vec).filter(|literals| literals.iter().all(|literal| !literal.is_empty()))
}

/// At the place of a sequence at which they are the rarest.
fn of_parts(parts: &[Hir]) -> Option<Choice> {
    let mut before = Some(0usize);
    let mut best = None;
    for (at, part) in parts.iter().enumerate().take(PARTS) {
        let run: Vec<Hir> = parts.iter().skip(at).take(PARTS).cloned().collect();
        // The first of all are the prefixes of the whole, which are looked at as such; and a run of one is that one.
        let of_run = if at > 0 && run.len() > 1 { prefixes(&Hir::concat(run)) } else { None };
        let here = rarer(of_run, choose(part)).map(|choice| choice.further(before));
        best = rarer(best, here);
        before = before.zip(part.properties().maximum_len()).and_then(|(sum, most)| sum.checked_add(most));
    }
    best
}

/// Those of each alternative, together.
fn of_ways(ways: &[Hir]) -> Option<Choice> {
    let mut literals = Vec::new();
    let mut reach = Some(0);
    for way in ways {
        let of_way = choose(way)?;
        reach = reach.zip(of_way.reach).map(|(reach, other)| reach.max(other));
        literals.extend(of_way.literals);
    }
    Choice::of(literals, reach)
}
