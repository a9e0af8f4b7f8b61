//! The objects of connections, each made once for both of its streams.

use std::collections::VecDeque;

use streamdb_derive::{Error, Rows, objects_of};
use streamdb_storage::Store;
use streamdb_storage::index::Listed;
use streamdb_types::{BucketId, ConnKey, ObjectRow};

/// Connections that are kept in mind: the two streams of one do not always come one after the other.
const REMEMBERED: usize = 64;

/// The objects of the connections that were asked for last.
pub(crate) struct Objects {
    made: Rows,
    known: VecDeque<(ConnKey, BucketId, Vec<ObjectRow>)>,
}

impl Objects {
    pub(crate) const fn new(made: Rows) -> Self {
        Self { made, known: VecDeque::new() }
    }

    /// All objects of a stream's connection.
    pub(crate) fn of(&mut self, store: &Store, listed: &Listed) -> Result<&[ObjectRow], Error> {
        let id = (listed.stream.key, listed.newest);
        let at = match self.known.iter().position(|(key, bucket, _)| (*key, *bucket) == id) {
            Some(at) => at,
            None => {
                let rows = objects_of(store, &listed.stream, listed.newest, &mut self.made)?;
                self.known.truncate(REMEMBERED - 1);
                self.known.push_front((id.0, id.1, rows));
                0
            }
        };
        Ok(self.known.get(at).map(|(_, _, rows)| rows.as_slice()).unwrap_or_default())
    }
}
