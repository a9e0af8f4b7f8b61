//! Parts that were found and are not settled yet: which are kept, and which have nothing new.

use std::collections::{BTreeMap, HashMap};

use streamdb_storage::{JoinChange, JoinId, JoinPart, JoinsWriter};
use streamdb_types::{ConnKey, Direction};

use crate::join::Cover;
use crate::pieces::Found;

/// Most parts of one, and most of those that had nothing new.
const PARTS_OF_ONE: usize = 4096;
const SPARE: usize = 256;

/// What was found and is not settled yet.
#[derive(Default)]
pub(super) struct Gathered {
    /// What has parts that were not compared yet: so many had been.
    pub(super) touched: BTreeMap<JoinId, usize>,
    laid: BTreeMap<JoinId, Laid>,
    /// Parts that have nothing new, and are not kept once they are compared.
    pub(super) spare: BTreeMap<JoinId, Vec<JoinPart>>,
    pub(super) parts: usize,
}

/// The parts of a join that are kept.
#[derive(Default)]
struct Laid {
    cover: Cover,
    /// The place of each.
    places: HashMap<(ConnKey, Direction, u64, u64), usize>,
}

impl Gathered {
    /// Takes in a part.
    pub(super) fn add(&mut self, writer: &mut JoinsWriter, (id, of, part): Found) {
        if writer.known().get(id).is_none() {
            writer.change(JoinChange::New(id, of));
        }
        let Some(join) = writer.known().get(id) else { return };
        let laid = self.laid.entry(id).or_insert_with(|| {
            let mut laid = Laid::default();
            join.parts.iter().for_each(|part| laid.add(part));
            laid
        });
        self.parts += 1;
        self.touched.entry(id).or_insert(join.parts.len());
        if let Some(known) = laid.places.get(&place(&part)).and_then(|place| join.parts.get(*place)) {
            if *known == part {
                return;
            }
            if known.runs != part.runs {
                self.laid.remove(&id);
                if join.made.is_some() {
                    // There is more of it by now: all is compared anew.
                    writer.change(JoinChange::Made(id, None));
                }
            }
            writer.change(JoinChange::Part(id, part));
            return;
        }
        let new = !part.runs.iter().all(|run| laid.cover.has(run));
        if !new && join.parts.len() >= SPARE {
            self.spare.entry(id).or_default().push(part);
        } else if join.parts.len() >= PARTS_OF_ONE {
            let mut more = join.more.clone();
            more.parts = more.parts.saturating_add(1);
            more.unchecked = more.unchecked.saturating_add(1);
            writer.change(JoinChange::More(id, more));
        } else {
            laid.add(&part);
            writer.change(JoinChange::Part(id, part));
        }
    }
}

impl Laid {
    fn add(&mut self, part: &JoinPart) {
        part.runs.iter().for_each(|run| self.cover.add(run));
        self.places.insert(place(part), self.places.len());
    }
}

/// What makes a part [the same](JoinPart::is) as an earlier or later record names.
const fn place(part: &JoinPart) -> (ConnKey, Direction, u64, u64) {
    (part.key, part.direction, part.begins.0, part.oid.index >> 32)
}
