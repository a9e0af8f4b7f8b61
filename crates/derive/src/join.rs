//! Which part of a content is taken where, what of it is missing, and which parts have to be compared. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

/// Most stretches in which parts are compared: beyond that nobody can say that they are equal.
const CHECKS: usize = 1 << 16;

/// What is made of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What is there, in order and apart from each other: which part it is taken from. Of several the first one.
    pub(crate) taken: Vec<(Range<u64>, usize)>,
    /// Where a part has what another one is taken for: the part, and that other one.
    pub(crate) checks: Vec<(Range<u64>, usize, usize)>,
    /// Whether there are more checks than are made.
    pub(crate) unchecked: bool,
}

/// Lays parts over each other: each by where it has bytes, in order and apart from each other.
pub(crate) fn plan<'p>(parts: impl Iterator<Item = &'p [Range<u64>]>) -> Plan {
    let mut plan = Plan::default();
    for (part, runs) in parts.enumerate() {
        runs.iter().for_each(|run| plan.add(run.clone(), part));
    }
    plan
}

impl Plan {
    fn add(&mut self, run: Range<u64>, part: usize) {
        let first = self.taken.partition_point(|(range, _)| range.end <= run.start);
        let behind = self.taken.partition_point(|(range, _)| range.start < run.end);
        let mut at = run.start;
        let mut new = Vec::new();
        for (range, owner) in self.taken.get(first..behind).unwrap_or_default() {
            if at < range.start {
                new.push((at..range.start, part));
            }
            let same = range.start.max(run.start)..range.end.min(run.end);
            at = same.end;
            if self.checks.len() < CHECKS {
                self.checks.push((same, part, *owner));
            } else {
                self.unchecked = true;
            }
        }
        if at < run.end {
            new.push((at..run.end, part));
        }
        if first == behind {
            self.taken.splice(first..first, new);
        } else if !new.is_empty() {
            let mut all: Vec<_> =
                self.taken.get(first..behind).unwrap_or_default().iter().cloned().chain(new).collect();
            all.sort_by_key(|(range, _)| range.start);
            self.taken.splice(first..behind, all);
        }
    }

    /// What of a range is there, and which part each is taken from.
    pub(crate) fn taken_in(&self, run: &Range<u64>) -> Vec<(Range<u64>, usize)> {
        let first = self.taken.partition_point(|(range, _)| range.end <= run.start);
        let taken = self.taken.get(first..).unwrap_or_default().iter().take_while(|(range, _)| range.start < run.end);
        taken.map(|(range, part)| (range.start.max(run.start)..range.end.min(run.end), *part)).collect()
    }

    /// What of a content of this length is not there; of one whose length nobody knows, what lies between its parts.
    pub(crate) fn missing(&self, total: Option<u64>) -> Vec<Range<u64>> {
        let end = total.unwrap_or_else(|| self.taken.last().map_or(0, |(range, _)| range.end));
        let mut missing = Vec::new();
        let mut at = 0;
        for next in self.taken.iter().map(|(range, _)| range.clone()).chain(std::iter::once(end..end)) {
            append(&mut missing, at..next.start.min(end).max(at));
            at = next.end.min(end).max(at);
        }
        missing
    }
}

/// Which bytes of a content any of its parts has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cover(BTreeMap<u64, u64>);

impl Cover {
    /// Takes in where a part has bytes.
    pub(crate) fn add(&mut self, run: &Range<u64>) {
        if run.is_empty() {
            return;
        }
        let mut all = run.clone();
        while let Some((start, end)) = self.0.range(..=all.end).next_back().map(|(start, end)| (*start, *end))
            && end >= all.start
        {
            self.0.remove(&start);
            all = all.start.min(start)..all.end.max(end);
        }
        self.0.insert(all.start, all.end);
    }

    /// Whether each of these bytes is in one of them.
    pub(crate) fn has(&self, run: &Range<u64>) -> bool {
        run.is_empty() || self.0.range(..=run.start).next_back().is_some_and(|(_, end)| *end >= run.end)
    }
}

/// Adds a range to those that are in order and apart from each other, after all of them.
pub(crate) fn append(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ if range.start < range.end => ranges.push(range),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The runs that some bytes are.
    fn runs(has: &[bool]) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        for (at, _) in has.iter().enumerate().filter(|(_, has)| **has) {
            append(&mut runs, at as u64..at as u64 + 1);
        }
        runs
    }

    proptest! {
        /// Byte by byte, too.
        #[test]
        fn what_is_covered_is_what_was_added(
            added in prop::collection::vec((0u64..50, 0u64..12), 0..20),
            asked in prop::collection::vec((0u64..60, 0u64..12), 20),
        ) {
            let mut cover = Cover::default();
            let mut has = [false; 80];
            for (start, length) in added {
                cover.add(&(start..start + length));
                (start..start + length).for_each(|at| has[at as usize] = true);
                prop_assert!(cover.0.iter().zip(cover.0.iter().skip(1)).all(|((_, end), (start, _))| end < start));
            }
            for (start, length) in asked {
                let all = (start..start + length).all(|at| has[at as usize]);
                prop_assert_eq!(cover.has(&(start..start + length)), all);
            }
        }

        /// Byte by byte: the first part that has it, and all others that have it too.
        #[test]
        fn a_plan_is_what_each_byte_says(
            parts in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.6), 40), 0..8),
            total in 30usize..60,
        ) {
            let all: Vec<Vec<Range<u64>>> = parts.iter().map(|has| runs(has)).collect();
            let plan = plan(all.iter().map(Vec::as_slice));
            let mut owner = [None; 60];
            let mut checks = vec![vec![None; 60]; parts.len()];
            for (part, has) in parts.iter().enumerate() {
                for at in (0..40).filter(|at| has[*at]) {
                    match owner[at] {
                        None => owner[at] = Some(part),
                        Some(owner) => checks[part][at] = Some(owner),
                    }
                }
            }
            let mut taken = [None; 60];
            for (range, part) in &plan.taken {
                prop_assert!(!range.is_empty());
                for at in range.clone() {
                    prop_assert!(taken[at as usize].replace(*part).is_none());
                }
            }
            prop_assert!(plan.taken.windows(2).all(|two| two[0].0.end <= two[1].0.start));
            prop_assert_eq!(taken, owner);
            let mut checked = vec![vec![None; 60]; parts.len()];
            for (range, part, other) in &plan.checks {
                for at in range.clone() {
                    prop_assert!(checked[*part][at as usize].replace(*other).is_none());
                }
            }
            prop_assert_eq!(checked, checks);
            let mut missing = [false; 60];
            for at in plan.missing(Some(total as u64)).into_iter().flatten() {
                missing[at as usize] = true;
            }
            for at in 0..60 {
                prop_assert_eq!(missing[at], at < total && owner[at].is_none(), "{}", at);
            }
        }
    }

    /// CVE-2024-38536 (Suricata): a range that came when the memory for ranges was used up ended the program.
    #[test]
    fn what_is_compared_is_bounded() {
        let one: Vec<Range<u64>> = (0..300).map(|n| n * 10..n * 10 + 5).collect();
        let all = 0..3000;
        let parts = vec![one.as_slice(); 1];
        let wide = vec![std::slice::from_ref(&all); 300];
        let plan = plan(parts.into_iter().chain(wide));
        assert!(plan.unchecked && plan.checks.len() == CHECKS);
        assert_eq!(plan.missing(Some(3001)), std::slice::from_ref(&(3000..3001)));
    }
}
