//! What is missing of an object, drawn as a line and said in words.

use std::fmt::Write;
use std::ops::Range;

use streamdb_derive::Extent;

/// The length of the line, in its own units.
const LINE: u64 = 10_000;
/// The shortest hole that can be seen.
const SEEN: u64 = 40;
/// Most holes that are drawn apart.
const DRAWN: usize = 200;
/// Most holes that are told.
const TOLD: usize = 8;

/// A line with holes in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Where each begins on the line, and its length there.
    pub(super) holes: Vec<(u64, u64)>,
    /// The same in words, with all its bytes.
    pub(super) words: String,
}

impl Drawn {
    /// Nothing when there is no hole.
    pub(super) fn of(extent: &Extent) -> Option<Self> {
        let Extent { length, holes } = extent;
        if holes.is_empty() || *length == 0 {
            return None;
        }
        let place = |at: u64| u64::try_from(u128::from(at) * u128::from(LINE) / u128::from(*length)).unwrap_or(LINE);
        let mut drawn: Vec<Range<u64>> = Vec::new();
        for hole in holes {
            let start = place(hole.start).min(LINE - SEEN);
            let end = place(hole.end).clamp(start + SEEN, LINE);
            let full = drawn.len() == DRAWN;
            match drawn.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                // What lies behind is one.
                Some(last) if full => last.end = end,
                _ => drawn.push(start..end),
            }
        }
        Some(Self {
            holes: drawn.iter().map(|hole| (hole.start, hole.end - hole.start)).collect(),
            words: words(extent),
        })
    }
}

/// `missing: bytes 3 to 6, and 9, of 10 as sent`; bytes are counted from 0.
fn words(extent: &Extent) -> String {
    let mut words = "missing: bytes ".to_owned();
    for (n, hole) in extent.holes.iter().take(TOLD).enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        _ = match hole.end - hole.start {
            1 => write!(words, "{separator}{}", hole.start),
            _ => write!(words, "{separator}{} to {}", hole.start, hole.end.saturating_sub(1)),
        };
    }
    if extent.holes.len() > TOLD {
        _ = write!(words, " and {} holes more", extent.holes.len() - TOLD);
    }
    _ = write!(words, " of {} as sent", extent.length);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(length: u64, holes: &[Range<u64>]) -> Option<Drawn> {
        Drawn::of(&Extent { length, holes: holes.to_vec() })
    }

    #[test]
    fn holes_are_where_they_are() {
        assert_eq!(drawn(10, &[]), None);
        assert_eq!(drawn(0, std::slice::from_ref(&(0..0))), None);
        let Drawn { holes, words } = drawn(10, &[3..7, 9..10]).unwrap();
        assert_eq!(holes, [(3000, 4000), (9000, 1000)]);
        assert_eq!(words, "missing: bytes 3 to 6, 9 of 10 as sent");
        // The smallest can be seen, and stays on the line.
        let last = u64::MAX;
        assert_eq!(drawn(last, &[0..1, last - 1..last]).unwrap().holes, [(0, SEEN), (LINE - SEEN, SEEN)]);
    }

    #[test]
    fn many_holes_are_as_few_as_can_be_drawn() {
        let all: Vec<_> = (0..100_000_u64).map(|n| 3 * n..3 * n + 1).collect();
        let Drawn { holes, words } = drawn(300_000, &all).unwrap();
        assert_eq!(holes, [(0, LINE)]);
        assert!(words.contains("21 and 99992 holes more"), "{words}");
        let apart: Vec<_> = (0..250_u64).map(|n| 10 * n..10 * n + 1).collect();
        let holes = drawn(1_000_000, &apart).unwrap().holes;
        assert!(holes.len() <= DRAWN, "{}", holes.len());
    }
}
