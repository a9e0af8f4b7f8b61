//! Whether parts that have the same bytes of a content have the same there.

use std::ops::{ControlFlow, Range};

use streamdb_storage::{Join, JoinChange, JoinId, JoinMade, JoinPart, JoinsWriter, Store};

use crate::digest::Taking;
use crate::error::Error;
use crate::join::{append, plan};
use crate::joined::Joined;

/// Most places that are told in which parts differ.
const CONFLICTS: usize = 64;

/// Compares the parts of a join from this one on with those before them, where they have the same bytes.
pub(super) fn compare(
    joined: &mut Joined<'_>,
    join: &Join,
    compared: usize,
    made: &mut JoinMade,
    damaged: &mut dyn FnMut(&Error),
) {
    // Over all that were seen: what retention took before it was compared is not known to be equal.
    let plan = plan(join.parts.iter().map(|part| part.runs.as_slice()));
    let here: Vec<bool> = joined.parts().map(|(_, here)| here).collect();
    if plan.unchecked {
        made.compared = false;
        return;
    }
    for (range, part, other) in plan.checks.into_iter().filter(|(_, part, _)| *part >= compared) {
        let here = [part, other].iter().all(|part| here.get(*part).is_some_and(|here| *here));
        let differ = match (join.parts.get(part), join.parts.get(other)) {
            (Some(part), Some(other)) if here => differ(joined, &range, [part, other], damaged),
            _ => None,
        };
        match differ {
            Some(true) => conflict(&mut made.conflicts, range),
            Some(false) => {}
            None => made.compared = false,
        }
    }
}

/// Compares parts that are not kept with those that are, which have all that they have.
pub(super) fn compare_spare(
    store: &Store,
    writer: &mut JoinsWriter,
    id: JoinId,
    parts: &[JoinPart],
    damaged: &mut dyn FnMut(&Error),
) {
    let Some(join) = writer.known().get(id).cloned() else { return };
    let mut joined = Joined::new(store, &join).map_err(|error| damaged(&error)).ok();
    let mut more = join.more.clone();
    for part in parts {
        more.parts = more.parts.saturating_add(1);
        if part.conflict {
            part.runs.iter().for_each(|run| conflict(&mut more.conflicts, run.clone()));
        }
        let mut all = joined.is_some();
        if let Some(joined) = &mut joined {
            for run in &part.runs {
                let mut equal = 0;
                for (range, other) in joined.plan().taken_in(run) {
                    let Some(other) = join.parts.get(other) else { continue };
                    match differ(joined, &range, [part, other], damaged) {
                        Some(true) => conflict(&mut more.conflicts, range.clone()),
                        Some(false) => {}
                        None => continue,
                    }
                    equal += range.end - range.start;
                }
                all &= equal == run.end - run.start;
            }
        }
        more.unchecked = more.unchecked.saturating_add(u64::from(!all));
    }
    writer.change(JoinChange::More(id, more));
}

/// Whether two parts differ in a range; `None` when that cannot be told, as one of them cannot be read there.
fn differ(
    joined: &mut Joined<'_>,
    range: &Range<u64>,
    parts: [&JoinPart; 2],
    damaged: &mut dyn FnMut(&Error),
) -> Option<bool> {
    let mut digest = |part: &JoinPart| {
        let mut taking = Taking::holding(Vec::new());
        let read = joined.read(part, range.clone(), &mut |piece| {
            taking.piece(piece, 0);
            ControlFlow::Continue(())
        });
        let _ = read.map_err(|error| damaged(&error)).ok()?;
        taking.finish().sha256
    };
    let [one, other] = parts;
    Some(digest(one)? != digest(other)?)
}

/// Adds a place in which parts differ to those that are known.
fn conflict(conflicts: &mut Vec<Range<u64>>, range: Range<u64>) {
    if conflicts.len() >= CONFLICTS {
        return;
    }
    conflicts.push(range);
    conflicts.sort_by_key(|range| range.start);
    let mut all = Vec::with_capacity(conflicts.len());
    conflicts.drain(..).for_each(|range| append(&mut all, range));
    *conflicts = all;
}
