//! Which streams a search finds, and which of their objects.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use streamdb_derive::{Error, Rows, Store, StreamInfo};
use streamdb_query::{Filter, Looking, Troubles, find_streams, page};
use streamdb_types::{Oid, Timestamp};

/// How long objects are looked through for one answer.
const LOOKING: Duration = Duration::from_secs(30);

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Streams, shown or not.
    pub count: u64,
    /// When the first and the last of them began.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Those that are shown.
    pub streams: Vec<StreamInfo>,
    /// Their objects that are wanted; `None`: all.
    pub wanted: Option<HashSet<Oid>>,
    /// What could not be read, and what was not looked at: one sentence each.
    pub remarks: Vec<String>,
}

/// Finds; when there is nothing, once more with the two ends exchanged, as logs disagree on who is the source.
pub(super) fn find(store: &Store, filter: &Filter) -> Result<Found, Error> {
    let mut found = find_once(store, filter)?;
    if found.count == 0
        && let Some(swapped) = filter.swapped()
    {
        let remarks = std::mem::take(&mut found.remarks);
        found = find_once(store, &swapped)?;
        if found.remarks.is_empty() {
            found.remarks = remarks;
        }
    }
    Ok(found)
}

fn find_once(store: &Store, filter: &Filter) -> Result<Found, Error> {
    if !filter.objects.is_empty() {
        return look(store, filter);
    }
    let page = page(store, filter, filter.limit.unwrap_or(u64::MAX))?;
    let mut troubles = Troubles::default();
    page.damaged.iter().for_each(|error| troubles.add(error));
    Ok(Found {
        count: page.found,
        times: page.times,
        streams: page.streams,
        wanted: None,
        remarks: troubles.sentences().collect(),
    })
}

/// Through the objects of every stream that the other terms select.
fn look(store: &Store, filter: &Filter) -> Result<Found, Error> {
    let begun = Instant::now();
    let (mut found, mut wanted, mut troubles) = (Found::default(), HashSet::new(), Troubles::default());
    let all = Filter { offset: 0, limit: None, ..filter.clone() };
    let looking =
        Looking { made: Rows::in_a_hurry(), go_on: &mut || begun.elapsed() <= LOOKING, troubles: &mut troubles };
    let looked = find_streams(store, &all, looking, &mut |stream, objects| {
        found.count += 1;
        let (first, last) = found.times.unwrap_or((stream.first, stream.first));
        found.times = Some((first.min(stream.first), last.max(stream.first)));
        let room = filter.limit.is_none_or(|limit| (found.streams.len() as u64) < limit);
        if found.count > filter.offset && room {
            found.streams.push(stream.clone());
            wanted.extend(objects.iter().map(|row| row.oid));
        }
        ControlFlow::Continue(())
    })?;
    found.remarks = troubles.sentences().collect();
    if looked.stopped {
        found.remarks.push(format!(
            "only the first {} streams were looked at, in {} seconds; narrow the search by address or time",
            looked.streams,
            LOOKING.as_secs()
        ));
    }
    found.wanted = Some(wanted);
    Ok(found)
}
