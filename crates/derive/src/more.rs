//! What more is known of an object: facts of its content, what is wrapped in it, and how it departs from the rules of its protocol,
//! where it can be read all the same. As text, a line for each.

use std::fmt::{Display, Write};

use streamdb_extract::{BodyOutcome, Problem};
use streamdb_sniff::{FACTS_LOOK, facts, wrapped};
use streamdb_types::ObjectRow;

use crate::parts::Place;
use crate::range::content_range;

/// Most bytes of the facts of one object.
const MOST: usize = 4096;
/// Room for the line that says how many more there are.
const LAST: usize = 16;

/// How many first bytes of large content are asked for.
pub(crate) const LOOK: usize = FACTS_LOOK;

/// The facts of an object, given the first bytes of its content.
pub(crate) fn more(place: Place<'_>, outcome: &BodyOutcome, content: &[u8]) -> String {
    let mut lines = Lines::default();
    if let Some((range, total)) = place.range().and_then(content_range) {
        let last = range.end.saturating_sub(1);
        match total {
            Some(total) => lines.say("range", format_args!("bytes {} to {last} of {total}", range.start)),
            None => lines.say("range", format_args!("bytes {} to {last}", range.start)),
        }
    }
    if place.part.is_none() {
        let (deviations, found) = place.message.notes.apart();
        deviations.words().for_each(|word| lines.say("deviation", word));
        found.words().for_each(|word| lines.say("framing", word));
    }
    if let Some(problem) = outcome.problem.as_ref().filter(|problem| is_odd(problem)) {
        lines.say("deviation", problem);
    }
    if outcome.what.xor_key.is_none() {
        for fact in facts(content) {
            lines.say(fact.name, fact.value);
        }
    }
    if let Some(wrapping) = wrapped(content) {
        lines.say("wraps", wrapping.kind.description);
    }
    lines.finish()
}

/// One more fact of an object.
pub(crate) fn add_fact(row: &mut ObjectRow, name: &str, value: impl Display) {
    // Writing to a string cannot fail.
    _ = writeln!(row.facts, "{name}: {value}");
}

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'b>(pub(crate) &'b [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether it is odd, and the content whole all the same.
const fn is_odd(problem: &Problem) -> bool {
    !problem.spoils()
}

#[derive(Default)]
struct Lines {
    text: String,
    left_out: usize,
}

impl Lines {
    fn say(&mut self, name: &str, value: impl Display) {
        let before = self.text.len();
        // Writing to a string cannot fail.
        _ = writeln!(self.text, "{name}: {value}");
        if self.text.len() > MOST - LAST || self.left_out > 0 {
            self.text.truncate(before);
            self.left_out += 1;
        }
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 {
            _ = writeln!(self.text, "more: {}", self.left_out);
        }
        self.text.shrink_to_fit();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_bound() {
        let mut lines = Lines::default();
        for n in 0..1000 {
            lines.say("name", format_args!("{n:0100}"));
        }
        let text = lines.finish();
        assert!(text.len() <= MOST && text.len() > MOST - 200, "{}", text.len());
        let shown = text.lines().count() - 1;
        assert!(text.ends_with(&format!("\nmore: {}\n", 1000 - shown)), "{text}");
        assert_eq!(Lines::default().finish(), "");
    }
}
