//! How much of an object is there: its bytes as they were sent as a line, and the holes in it.

use std::ops::Range;

use crate::conversation::Conversation;
use crate::object::Named;
use crate::parts::is_plain;

/// An object's bytes as they were sent, in the framing of its message where it has one, with what is known to be missing at its
/// end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many there are, holes included.
    pub length: u64,
    /// What is not there: ascending, and apart from each other.
    pub holes: Vec<Range<u64>>,
}

impl Conversation {
    /// How much of what an oid names is there. Of what lies in coded content: of that.
    pub fn extent(&self, named: &Named) -> Extent {
        let message = named.message();
        let mut extent = match named.outermost().filter(|_| is_plain(message)) {
            None => {
                let start = message.body.start;
                let holes = self.body_gaps(message).map(|gap| gap.offset.since(start)..gap.end().since(start));
                Extent { length: message.body.len(), holes: holes.collect() }
            }
            Some(part) => {
                let mut extent = Extent::default();
                for range in &part.content {
                    let range = range.start..range.end.min(message.body.len()).max(range.start);
                    let holes = self.holes_in(message, &range).into_iter();
                    let moved = |at: u64| extent.length.saturating_add(at);
                    let holes: Vec<_> = holes.map(|gap| moved(gap.offset.0)..moved(gap.end().0)).collect();
                    extent.holes.extend(holes);
                    extent.length = moved(range.end - range.start);
                }
                extent
            }
        };
        let known = extent.holes.iter().map(|hole| hole.end - hole.start).fold(0, u64::saturating_add);
        if let Some(more) = named.missing().checked_sub(known).filter(|more| *more > 0) {
            let end = extent.length.saturating_add(more);
            extent.holes.push(extent.length..end);
            extent.length = end;
        }
        extent
    }
}
