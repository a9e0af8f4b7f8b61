//! Which streams a search finds, and which of their objects.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use streamdb_derive::{Error, Rows, Store, StreamInfo};
use streamdb_query::{Filter, Looking, Searched, Tally, Troubles, find_streams};
use streamdb_types::Oid;

/// How long is looked for one answer.
const LOOKING: Duration = Duration::from_secs(30);

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Streams, shown or not.
    pub tally: Tally,
    /// Those that are shown.
    pub streams: Vec<StreamInfo>,
    /// Their objects that are wanted; `None`: all.
    pub wanted: Option<HashSet<Oid>>,
    /// What could not be read, and what was not looked at: one sentence each.
    pub remarks: Vec<String>,
}

/// Finds; when there is nothing, once more with the two ends exchanged, as logs disagree on who is the source.
pub(super) fn find(store: &Store, filter: &Filter, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Found, Error> {
    let mut found = find_once(store, filter, go_on)?;
    if found.tally.found == 0
        && let Some(swapped) = filter.swapped()
    {
        let remarks = std::mem::take(&mut found.remarks);
        found = find_once(store, &swapped, go_on)?;
        if found.remarks.is_empty() {
            found.remarks = remarks;
        }
    }
    Ok(found)
}

fn find_once(store: &Store, filter: &Filter, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Found, Error> {
    let begun = Instant::now();
    let (mut found, mut wanted, mut troubles) = (Found::default(), HashSet::new(), Troubles::default());
    let all = Filter { offset: 0, limit: None, ..filter.clone() };
    let late = AtomicBool::new(false);
    let go_on = &|| {
        if begun.elapsed() > LOOKING {
            late.store(true, Ordering::Relaxed);
        }
        !late.load(Ordering::Relaxed) && go_on()
    };
    let looking = Looking { made: Rows::in_a_hurry(), go_on, troubles: &mut troubles };
    let limit = filter.limit.unwrap_or(u64::MAX);
    let counted = filter.offset.saturating_add(limit).saturating_add(Tally::MOST);
    found.tally.exact = true;
    let looked = find_streams(store, &all, looking, &mut |stream, objects| {
        if found.tally.found == counted {
            found.tally.exact = false;
            return ControlFlow::Break(());
        }
        found.tally.add(stream.first);
        if found.tally.found > filter.offset && (found.streams.len() as u64) < limit {
            found.streams.push(stream.clone());
            wanted.extend(objects.iter().map(|row| row.oid));
        }
        ControlFlow::Continue(())
    })?;
    found.remarks = troubles.sentences().collect();
    if !found.tally.exact {
        found.remarks.push(format!("there are more than {counted} streams: they were not counted further"));
    }
    if looked.stopped {
        found.tally.exact = false;
        let into = match (filter.objects.pcre.is_some(), looked.searched) {
            (true, Searched { objects, bytes, .. }) => {
                format!(", and {bytes} bytes of {objects} objects in them looked into")
            }
            (false, _) => String::new(),
        };
        found.remarks.push(format!(
            "only the first {} streams were looked at{into}, in {} seconds; narrow the search by address or time",
            looked.streams,
            LOOKING.as_secs()
        ));
    }
    found.wanted = (!filter.objects.is_empty()).then_some(wanted);
    Ok(found)
}
